"""After a failed write or flush: nothing of that transfer is believed any more.

When a disk fails to write back, Linux tells it once, to one flush, and calls the pages clean
afterwards: the next flush succeeds and reading them again gives what never reached the disk. So
reading is no cure. A mark in the state folder, and one in ``WRAITH_HOME`` in case that folder
cannot be written, says so; the next run throws everything away and fetches it into new files.

A full disk or quota is no such failure: the write was refused, and nobody was told otherwise.

Spec: transfer §7 [TR-138].
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import Disk
from wraith.errors import WraithError

MARK: Final = b"suspect"
HOME_FOLDER: Final = "suspect"
"""The folder in ``WRAITH_HOME`` that holds one mark per state folder, under its name."""
_REPLACES: Final = b"replaces"
_BYTES_MAX: Final = 4 * 1024 * 1024
_NAMES_MAX: Final = 10_000


class FlushFailed(OSError):
    """Written data may never reach the disk."""


def flush(disk: Disk, fd: int) -> None:
    """``fsync``. Raises ``FlushFailed``."""
    try:
        disk.fsync(fd)
    except OSError as exc:
        raise FlushFailed(exc.errno, exc.strerror) from None


def is_void_after(exc: OSError) -> bool:
    """True if this error of a write or a flush means that earlier writes may be lost."""
    return isinstance(exc, FlushFailed) or exc.errno == errno.EIO


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why the state is void. ``placed``: the new names that the failed run had put into the target
    folder, with device and inode; what was changed after ``at_ns`` (nanoseconds since 1970) is
    somebody else's."""

    why: str
    at_ns: int = 0
    placed: frozenset[tuple[bytes, int, int]] = frozenset()

    def placed_it(self, tree: SafeTree, path: bytes, info: os.stat_result) -> bool:
        """What lies at ``path`` in the target folder ``tree`` is what the failed run put there, and
        nobody has changed it since. Of a folder only that it is the same one."""
        top = path.partition(b"/")[0]
        there = info if top == path else tree.lstat(top)
        if there is None or (top, there.st_dev, there.st_ino) not in self.placed:
            return False
        return stat.S_ISDIR(info.st_mode) or info.st_ctime_ns <= self.at_ns


class SuspicionMarks:
    """The marks of one state folder. ``home``: ``WRAITH_HOME``, if there is one."""

    def __init__(self, folder: PrivateFolder, home: Path | None) -> None:
        self._folder = folder
        self._home = home

    def read(self) -> Suspicion | None:
        """What a failed run has said, if one has."""
        found = _read(self._folder, MARK)
        if found is None:
            with self._in_home() as home:
                found = _read(home, self._name) if home is not None else None
        return found

    def write(self, why: str, placed: Iterable[tuple[bytes, os.stat_result]]) -> None:
        """Says that the state is void, in both places, as far as they can be written.

        Args:
            placed: asked of the disk only once both marks are there, because one that cannot
                write may be unable to read as well.
        """
        at_ns = time.time_ns()
        self._write(Suspicion(why, at_ns))
        rows: list[tuple[bytes, int, int]] = []
        with contextlib.suppress(OSError, WraithError):
            for name, info in itertools.islice(placed, _NAMES_MAX):
                rows.append((name, info.st_dev, info.st_ino))
        if rows:
            self._write(Suspicion(why, at_ns, frozenset(rows)))

    def _write(self, suspicion: Suspicion) -> None:
        """One place does not depend on the other."""
        data = _encode(suspicion)
        _write(self._folder, MARK, data)
        with contextlib.suppress(OSError, WraithError), self._in_home(create=True) as home:
            if home is not None:
                _write(home, self._name, data)

    def replaced(self) -> Suspicion | None:
        """What an earlier run has put into the target before its disk failed, after ``clear``."""
        return _read(self._folder, _REPLACES)

    def clear(self, suspicion: Suspicion) -> None:
        """The state is void no more: all of it was thrown away, and that is on the disk. What was
        put into the target is still to be replaced.

        Raises:
            OSError: the disk says no; the marks stay.
        """
        if suspicion.placed:
            self._folder.write(_REPLACES, _encode(suspicion))
        flush(self._folder.disk, self._folder.fd)
        self._folder.unlink(MARK)
        with self._in_home() as home:
            if home is not None:
                home.unlink(self._name)

    @property
    def _name(self) -> bytes:
        return os.path.basename(self._folder.path)

    @contextlib.contextmanager
    def _in_home(self, *, create: bool = False) -> Iterator[PrivateFolder | None]:
        """The folder of the marks at home; ``None`` when there is none, or none can be made."""
        folder = None
        if self._home is not None:
            with (
                contextlib.suppress(OSError, WraithError),
                PrivateFolder.open(self._home, disk=self._folder.disk) as home,
            ):
                folder = home.folder(os.fsencode(HOME_FOLDER), create=create)
        try:
            yield folder
        finally:
            if folder is not None:
                folder.close()


def _write(folder: PrivateFolder, name: bytes, data: bytes) -> None:
    """Its mere presence is the message, so it is not taken back when its own flush fails."""
    disk = folder.disk
    with contextlib.suppress(OSError, WraithError):
        fd = folder.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            disk.write_all(fd, data)
            disk.fsync(fd)
            disk.fsync(folder.fd)
        finally:
            disk.close(fd)


def _encode(suspicion: Suspicion) -> bytes:
    placed = [(name.hex(), device, inode) for name, device, inode in suspicion.placed]
    row = {"version": 1, "why": suspicion.why, "at_ns": suspicion.at_ns, "placed": placed}
    return json.dumps(row).encode()


def _read(folder: PrivateFolder, name: bytes) -> Suspicion | None:
    try:
        data = folder.read(name, _BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as exc:
        return Suspicion(f"its mark cannot be read ({(exc.strerror or '').lower()})")
    try:
        row = json.loads(data)
        placed = [(bytes.fromhex(n), int(dev), int(ino)) for n, dev, ino in row["placed"]]
        return Suspicion(str(row["why"])[:400], int(row["at_ns"]), frozenset(placed))
    except (ValueError, KeyError, TypeError):
        return Suspicion("its mark was cut off")
