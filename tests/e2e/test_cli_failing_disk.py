"""A disk that failed to write: nothing of that transfer is believed in the next run.

The failure is one call that a preloaded library lets fail once, because that is what Linux does: it
tells of lost pages once and calls them clean afterwards.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from wraith.testing.demo import compare_trees
from wraith.testing.two_homes import TwoHomes, code_of, finish, number

MIB = 1 << 20


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that lets calls fail."""
    compiler = shutil.which("cc")
    if compiler is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs a C compiler")
    library = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


def failing(
    shim: Path, call: str, nth: int, path: str = "", code: int = errno.EIO
) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(shim),
        "FAIL_CALL": call,
        "FAIL_NTH": str(nth),
        "FAIL_PATH": path,
        "FAIL_ERRNO": str(code),
    }


def tree(homes: TwoHomes) -> Path:
    homes.file("tree/big.bin", 8 * MIB)
    homes.file("tree/sub/small.txt", 3_000)
    return homes.source / "tree"


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


CASES = [
    pytest.param("fsync", 1, "/data/", id="fsync of a file"),
    pytest.param("syncfs", 1, "", id="the flush before anything is in its place"),
    pytest.param("syncfs", 2, "", id="the flush after that"),
    pytest.param("fsync", 1, "/journal", id="the flush of the journal"),
    pytest.param("pwritev", 3, "/data/", id="a write"),
]


@pytest.mark.spec("TR-138")
@pytest.mark.parametrize(("call", "nth", "path"), CASES)
def test_after_a_failed_flush_everything_is_fetched_into_new_files(
    homes: TwoHomes, shim: Path, tmp_path: Path, call: str, nth: int, path: str
) -> None:
    source = tree(homes)
    sender = homes.send(source)
    code = code_of(sender)
    first = homes.receive(code, environment=failing(shim, call, nth, path))
    error = first.wait_event("error")
    assert (error["code"], first.wait_exit()) == ("disk-error", 1)
    told = sender.wait_event("gave_up")
    assert told["reason"] == "disk" and os.strerror(errno.EIO).lower() in str(told["message"])
    # Held open, so that their inode numbers are not given to new files.
    old = [file.open("rb") for file in files(homes.out) if file.name in ("big.bin", "small.txt")]
    inodes = {os.fstat(file.fileno()).st_ino for file in old}
    assert inodes
    trace = tmp_path / "trace"
    strace = (
        "strace",
        "-f",
        "-qq",
        "-o",
        str(trace),
        "-e",
        "trace=rename,renameat,renameat2,link,linkat",
    )
    again = homes.receive(code, under=strace)
    assert finish(again, sender) == (0, 0), again.story()
    done = again.last("done")
    assert (done["bytes_reused"], done["bytes_unread"]) == (0, 0)
    assert done["bytes_transferred"] == done["bytes_total"]
    assert os.strerror(errno.EIO).lower() in str(again.last("kept_void")["reason"])
    assert compare_trees(source, homes.out / "tree") == []
    assert inodes.isdisjoint(file.stat().st_ino for file in files(homes.out))
    moved = re.findall(r"(?:rename|link)\w*\(.*\) += 0", trace.read_text())
    assert moved and not any("data.old" in line for line in moved)
    assert homes.leftovers() == []
    assert not list((homes.work / "home-receiver" / "suspect").iterdir())
    for file in old:
        file.close()


@pytest.mark.spec("TR-138")
def test_the_mark_at_home_counts_when_the_one_in_the_folder_is_lost(
    homes: TwoHomes, shim: Path
) -> None:
    sender = homes.send(homes.file("a.bin", 4 * MIB))
    code = code_of(sender)
    first = homes.receive(code, environment=failing(shim, "fsync", 1, "/data/"))
    assert first.wait_event("error")["code"] == "disk-error"
    first.wait_exit()
    (state,) = homes.leftovers()
    (state / "suspect").unlink()
    again = homes.receive(code)
    assert finish(again, sender) == (0, 0)
    assert again.last("done")["bytes_reused"] == 0


@pytest.mark.spec("TR-138")
def test_what_changed_since_the_failure_is_not_replaced(homes: TwoHomes, shim: Path) -> None:
    """The failed run had put it there; then its owner wrote into it."""
    sender = homes.send(homes.file("a.bin", 4 * MIB))
    code = code_of(sender)
    first = homes.receive(code, environment=failing(shim, "syncfs", 2))
    assert first.wait_event("error")["code"] == "disk-error"
    first.wait_exit()
    (homes.out / "a.bin").write_bytes(b"mine now")
    again = homes.receive(code)
    assert again.wait_event("error")["code"] == "name-exists"
    assert (homes.out / "a.bin").read_bytes() == b"mine now"


@pytest.mark.spec("TR-138")
@pytest.mark.parametrize("code_", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_failed_one(homes: TwoHomes, shim: Path, code_: int) -> None:
    sender = homes.send("--limit", "12M", homes.file("a.bin", 8 * MIB))
    code = code_of(sender)
    first = homes.receive(code, environment=failing(shim, "pwritev", 4, "/data/", code_))
    assert first.wait_event("error")["code"] == "no-space"
    assert first.wait_exit() == 19
    told = sender.wait_event("gave_up")
    assert told["reason"] == "no_space" and "space" in str(told["message"])
    (state,) = homes.leftovers()
    assert not (state / "suspect").exists()
    again = homes.receive(code)
    assert finish(again, sender) == (0, 0)
    assert number(again.last("done"), "bytes_reused") > 0
