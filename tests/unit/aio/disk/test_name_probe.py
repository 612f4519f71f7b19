"""The file that tries a target's names: gone afterwards, whatever happened in between."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wraith.aio.disk.file_target import FileTarget

LEFT = os.fsdecode(b".wraith-probe-e\xcc\x81")
KILLED = """
import os, signal, sys
from wraith.aio.disk.seam import OS_DISK
from wraith.aio.disk.file_target import FileTarget
unlink = OS_DISK.unlink
def dies(path, *rest, **options):
    if b"probe" in os.fsencode(path):
        os.kill(os.getpid(), signal.SIGKILL)
    unlink(path, *rest, **options)
OS_DISK.unlink = dies
FileTarget(sys.argv[1])
"""


def left_in(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(LEFT)]


def test_nothing_is_left_of_a_probe(tmp_path: Path) -> None:
    target = FileTarget(tmp_path)
    assert not target.rules.case_insensitive and not target.rules.normalises
    target.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.spec("TR-129")
def test_what_a_killed_probe_left_goes_with_the_next_one(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(left_in(tmp_path)) == 1
    FileTarget(tmp_path).close()
    assert left_in(tmp_path) == []


@pytest.mark.spec("TR-129")
def test_a_probe_in_use_and_files_of_others_stay(tmp_path: Path) -> None:
    in_use, theirs = tmp_path / f"{LEFT}inuse", tmp_path / f"{LEFT}notes"
    theirs.write_text("a user's file of that name")
    (tmp_path / f"{LEFT}link").symlink_to(theirs)
    with in_use.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        FileTarget(tmp_path).close()
        assert sorted(left_in(tmp_path)) == [f"{LEFT}inuse", f"{LEFT}link", f"{LEFT}notes"]
    FileTarget(tmp_path).close()
    assert not in_use.exists() and theirs.read_text()
