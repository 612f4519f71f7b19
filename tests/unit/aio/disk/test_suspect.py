"""A disk that fails: that it did is on record before anything else is asked of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wraith.aio.disk.existing import ExistsPolicy
from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.file_target import FileTarget
from wraith.aio.disk.seam import Disk, StrOrBytesPath
from wraith.aio.disk.suspect import HOME_FOLDER, MARK
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.events import Aborted, Done
from wraith.transfer.reasons import DiskFailed

pytestmark = pytest.mark.spec("TR-138")


class _Dying(Disk):
    """Its ``nth`` flush of the file system fails; from then on nothing can be looked at, and
    nothing can be opened whose path ends as ``closed`` does, with these flags."""

    def __init__(self, nth: int, closed: bytes = b"nothing", flags: int = 0) -> None:
        self.left = nth
        self.closed = closed
        self.flags = flags

    def _fail(self) -> None:
        if not self.left:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def syncfs(self, fd: int) -> None:
        self.left = max(0, self.left - 1)
        self._fail()
        super().syncfs(fd)

    def stat(  # type: ignore[override]
        self, path: StrOrBytesPath, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        self._fail()
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def pread(self, fd: int, n: int, at: int) -> bytes:
        self._fail()
        return os.pread(fd, n, at)

    def open(
        self, path: StrOrBytesPath, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        if flags & self.flags and os.fsencode(path).endswith(self.closed):
            self._fail()
        return os.open(path, flags, mode, dir_fd=dir_fd)


def received(tmp_path: Path, policy: ExistsPolicy, disk: Disk | None = None) -> TransferPipe:
    source, home = tmp_path / "source", tmp_path / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    source.mkdir(exist_ok=True)
    (source / "file").write_bytes(b"x" * 100_000)
    target = FileTarget(tmp_path / "out", home=home, policy=policy, disk=disk or Disk())
    pipe = TransferPipe(FileSource.scan([source / "file"]), target)
    pipe.run()
    target.close()
    return pipe


def marks(tmp_path: Path) -> tuple[bool, bool]:
    """Whether there is one in the state folder, and one at home."""
    (state,) = (tmp_path / "out").glob(".wraith-*")
    at_home = tmp_path / "home" / HOME_FOLDER / state.name
    return (state / os.fsdecode(MARK)).exists(), at_home.exists()


@pytest.mark.parametrize("nth", [1, 2])
def test_a_disk_that_cannot_be_read_any_more_is_marked_too(tmp_path: Path, nth: int) -> None:
    first = received(tmp_path, ExistsPolicy.REFUSE, _Dying(nth))
    aborted = first.received_events[-1]
    assert isinstance(aborted, Aborted) and isinstance(aborted.error, DiskFailed)
    assert "internal" not in str(aborted.error)
    assert marks(tmp_path) == (True, True)
    again = received(tmp_path, ExistsPolicy.OVERWRITE)
    done = again.received_events[-1]
    assert isinstance(done, Done) and done.bytes_reused == 0


#: which -> (what cannot be opened, with which flags, the marks that are there then)
PLACES = {
    "folder": (MARK, os.O_CREAT, (False, True)),
    "home": (b"/home", os.O_DIRECTORY, (True, False)),
}


@pytest.mark.parametrize("which", PLACES)
def test_a_mark_in_one_place_does_not_need_the_other(tmp_path: Path, which: str) -> None:
    closed, flags, there = PLACES[which]
    received(tmp_path, ExistsPolicy.REFUSE, _Dying(1, closed, flags))
    assert marks(tmp_path) == there
