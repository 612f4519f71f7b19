"""Notes, for a day, the codes that this user has received to the end.

A receiver that was killed after its receipt cannot tell: its state is gone, and so is the sender.
The note says it to the next run of the same command, which would else wait for nobody.

    HOME/complete/<32 hex>    BLAKE3 of the code; where things are; 0600

Spec: transfer §10 [TR-140].
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.errors import WraithError

FOLDER: Final = "complete"
LIFETIME_S: Final = 24 * 3600.0
_BYTES_MAX: Final = 1 << 20
_PATHS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class CompleteNote:
    """One transfer that is complete here. ``state`` is where it lived until then."""

    out: str
    paths: tuple[str, ...]
    state: str
    n_files: int
    bytes_total: int
    n_failed: int


class CompleteNotes:
    """The notes below ``home`` (``WRAITH_HOME``), which lies on ``disk``."""

    def __init__(self, home: Path, disk: Disk = OS_DISK) -> None:
        self._home = home
        self.disk = disk

    def write(self, code: str, note: CompleteNote, unix_time: float) -> None:
        """Notes that the transfer of ``code`` is complete here. A disk that does not take the note
        costs its use alone."""
        row = {
            "version": 1,
            "at": unix_time,
            "out": note.out,
            "paths": note.paths[:_PATHS_MAX],
            "state": note.state,
            "files": note.n_files,
            "bytes": note.bytes_total,
            "failed": note.n_failed,
        }
        with contextlib.suppress(OSError, WraithError), self._folder(create=True) as folder:
            self._remove_old(folder, unix_time)
            folder.write(_name(code), json.dumps(row).encode())

    def find(self, code: str, out: str, unix_time: float) -> CompleteNote | None:
        """The note about ``code`` received into ``out``, if all of it is still there."""
        with contextlib.suppress(OSError, WraithError), self._folder(create=False) as folder:
            return _still_true(folder.read(_name(code), _BYTES_MAX), out, unix_time, self.disk)
        return None

    def _folder(self, *, create: bool) -> PrivateFolder:
        with PrivateFolder.open(self._home, disk=self.disk) as home:
            return home.folder(os.fsencode(FOLDER), create=create)

    def _remove_old(self, folder: PrivateFolder, now: float) -> None:
        for name in folder.names():
            info = folder.disk.stat(name, dir_fd=folder.fd, follow_symlinks=False)
            if now - info.st_mtime > LIFETIME_S:
                folder.unlink(name)


def _name(code: str) -> bytes:
    return blake3(code.encode()).hexdigest()[:32].encode()


def _still_true(data: bytes, out: str, now: float, disk: Disk) -> CompleteNote | None:
    try:
        row = json.loads(data)
        paths: Sequence[str] = [str(path) for path in row["paths"]]
        found = CompleteNote(
            out=str(row["out"]),
            paths=tuple(paths),
            state=str(row["state"]),
            n_files=int(row["files"]),
            bytes_total=int(row["bytes"]),
            n_failed=int(row["failed"]),
        )
        is_young = 0 <= now - float(row["at"]) < LIFETIME_S
    except (ValueError, KeyError, TypeError):
        return None
    if not is_young or found.out != out or not paths:
        return None
    return found if all(disk.lexists(path) for path in paths) else None
