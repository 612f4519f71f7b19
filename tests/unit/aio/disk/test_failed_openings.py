"""What could not be opened has nothing to close, and its destructor does not complain."""

from __future__ import annotations

import errno
import gc
import os
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from wraith.aio.disk.digest_file import DigestFile
from wraith.aio.disk.journal_file import Journal
from wraith.aio.disk.listing_file import ListingFile
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.aio.disk.stamp_file import StampFile
from wraith.transfer.reasons import DiskFailed

pytestmark = pytest.mark.spec("TR-127")


class _Shut(Disk):
    """Nothing can be opened."""

    def open(self, *_: object, **__: object) -> int:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def temporary(self, folder: bytes | None = None) -> int:
        return self.open(folder)


def _journal(tmp_path: Path) -> object:
    with PrivateFolder.open(tmp_path, disk=OS_DISK) as folder:
        folder.disk = _Shut()
        return Journal(folder)


OPENINGS: dict[str, Callable[[Path], object]] = {
    "stamps": lambda _: StampFile(_Shut()),
    "digests": lambda _: DigestFile(array("Q", [1]), disk=_Shut()),
    "journal": _journal,
    "listing": lambda path: ListingFile.temporary(os.fsencode(path), _Shut()),
    "tree": lambda path: SafeTree(os.fsencode(path), disk=_Shut()),
}


@pytest.mark.parametrize("what", OPENINGS)
def test_what_cannot_be_opened_is_dropped_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    with pytest.raises((PermissionError, DiskFailed)):
        OPENINGS[what](tmp_path)
    gc.collect()
    assert complaints == []


class _Failing(Disk):
    """Closes what it is asked to and says that it failed, as a network's file system may."""

    def __init__(self) -> None:
        self.closed: list[int] = []
        self.is_failing = False

    def close(self, fd: int) -> None:
        self.closed.append(fd)
        os.close(fd)
        if self.is_failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


OPENED: dict[str, Callable[[Path, Disk], object]] = {
    "stamps": lambda _, disk: StampFile(disk),
    "digests": lambda _, disk: DigestFile(array("Q", [1]), disk=disk),
    "listing": lambda path, disk: ListingFile.temporary(os.fsencode(path), disk),
    "tree": lambda path, disk: SafeTree(os.fsencode(path), disk=disk),
    "folder": lambda path, disk: PrivateFolder.open(path, disk=disk),
}


@pytest.mark.parametrize("what", OPENED)
def test_what_failed_to_close_is_closed_once(tmp_path: Path, what: str) -> None:
    """The number may be another file's by then."""
    disk = _Failing()
    opened = OPENED[what](tmp_path, disk)
    disk.closed.clear()
    disk.is_failing = True
    with pytest.raises(OSError):
        opened.close()  # type: ignore[attr-defined]
    del opened
    gc.collect()
    assert len(disk.closed) == 1
