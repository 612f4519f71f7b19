"""A new name in one step, with the system's call and without it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wraith.aio.disk.existing import Choices, ExistsPolicy
from wraith.aio.disk.placing import Placer
from wraith.aio.disk.renaming import rename_to_new
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import OS_DISK, Disk, StrOrBytesPath
from wraith.transfer.listing import Entry, Kind

pytestmark = pytest.mark.spec("TR-139")


class _Refusing(Disk):
    """A disk whose ``renameat2`` says ``error``."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.is_killed_before_unlink = False

    def renameat2(self, fd: int, name: bytes, to_fd: int, new_name: bytes) -> int:
        return self.error

    def unlink(self, path: StrOrBytesPath, *, dir_fd: int | None = None) -> None:
        if self.is_killed_before_unlink:
            raise Killed
        os.unlink(path, dir_fd=dir_fd)


class Killed(Exception):
    """Stands for the process that is gone."""


@pytest.fixture(params=[0, errno.ENOSYS, errno.EINVAL, errno.EPERM])
def disk(request: pytest.FixtureRequest) -> Disk:
    """Of a system that has the call, and of those that say they have not."""
    return _Refusing(request.param) if request.param else OS_DISK


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A folder."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_free_name_is_taken(disk: Disk, fd: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("x")
    (tmp_path / "l").symlink_to("nowhere")
    for old, new in ((b"a", b"b"), (b"d", b"e"), (b"l", b"m")):
        rename_to_new(disk, fd, old, fd, new)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "e", "m"]
    assert (tmp_path / "e" / "x").read_text() == "x" and os.readlink(tmp_path / "m") == "nowhere"


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_a_name_that_is_taken_stays(disk: Disk, fd: int, tmp_path: Path, there: str) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "d").mkdir()
    if there == "file":
        (tmp_path / "b").write_text("mine")
    elif there == "folder":
        (tmp_path / "b").mkdir()
    else:
        (tmp_path / "b").symlink_to("nowhere")
    for old in (b"a", b"d"):
        with pytest.raises(FileExistsError):
            rename_to_new(disk, fd, old, fd, b"b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "d"]
    assert there != "file" or (tmp_path / "b").read_text() == "mine"


def test_two_names_of_one_file_become_the_new_one(disk: Disk, fd: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    os.link(tmp_path / "a", tmp_path / "b")
    rename_to_new(disk, fd, b"a", fd, b"b")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_other_errors_come_through(fd: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        rename_to_new(_Refusing(errno.EROFS), fd, b"a", fd, b"b")


FOLDER = Entry(Kind.FOLDER, 0o755, 0, 0, b"tree")
#: What is placed -> the entries of that name, itself first.
PLACED = {
    "a file of a merge": [FOLDER, Entry(Kind.FILE, 0o644, 0, 4, b"tree/x.txt")],
    "a file": [Entry(Kind.FILE, 0o644, 0, 4, b"x.txt")],
}


@pytest.mark.parametrize("what", PLACED)
def test_a_file_that_has_its_new_name_already_is_given_no_other_one(
    tmp_path: Path, what: str
) -> None:
    """A kill between link and unlink leaves both names."""
    for root in ("data", "out"):
        (tmp_path / root / "tree").mkdir(parents=True)
        (tmp_path / root / "tree" / "x.txt").write_text(root)
        (tmp_path / root / "x.txt").write_text(root)
    disk = _Refusing(errno.ENOSYS)
    data, out = (SafeTree(os.fsencode(tmp_path / root), disk=disk) for root in ("data", "out"))
    placer = Placer(data=data, out=out, choices=Choices(ExistsPolicy.RENAME), umask=0o022)
    placed = PLACED[what]
    top, path = placed[0], tmp_path / "out" / os.fsdecode(placed[-1].path)

    def entries(*, backwards: bool = False) -> Iterator[tuple[int, Entry]]:
        numbered = list(enumerate(placed))
        return iter(numbered[::-1] if backwards else numbered)

    disk.is_killed_before_unlink = True
    with pytest.raises(Killed):
        placer.place(0, top, top.path, entries, b"")
    disk.is_killed_before_unlink = False
    assert placer.choose_name(0, top) == (b"tree" if top is FOLDER else b"x (1).txt")
    placer.place(0, top, top.path, entries, b"")
    assert sorted(p.name for p in path.parent.glob("x*")) == ["x (1).txt", "x.txt"]
    assert (path.read_text(), path.with_name("x (1).txt").read_text()) == ("out", "data")
    data.close()
    out.close()
