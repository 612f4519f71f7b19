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

from wraith.aio.digest_file import DigestFile
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.aio.disk.stamp_file import StampFile
from wraith.aio.file_journal import Journal
from wraith.aio.listing_file import ListingFile
from wraith.aio.safe_tree import SafeTree
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
