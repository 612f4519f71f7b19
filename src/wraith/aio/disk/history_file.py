"""Keeps the history of transfers: one line of JSON for each that came to its end.

    HOME/history.jsonl    0600; the last 1,000, for 90 days

It is a convenience and never a condition: a disk that does not take a line costs that line, and a
line that cannot be read is passed over. Other processes with the same home wait for each other.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from wraith.aio.disk.failures import told
from wraith.aio.disk.home_folder import HOME_HINT, FolderLock, HomeFolder
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.errors import WraithError

FILE: Final = "history.jsonl"
ENTRIES_MAX: Final = 1_000
LIFETIME_S: Final = 90 * 24 * 3600.0
_NAME_MAX: Final = 1_024
_BYTES_MAX: Final = ENTRIES_MAX * (6 * _NAME_MAX + 1_024)
"""A character of a name takes up to six bytes in JSON."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One transfer.

    Attributes:
        at: when it was complete; seconds since 1970.
        direction: ``sent`` or ``received``.
        what: as the offer was called.
        peer: the other side's key, as text; empty where it showed none.
        digest: hex; of the content where it is one file, else of the listing; empty for a text and
            for a stream that was sent.
        digest_of: ``file`` or ``listing``; empty without a digest.
    """

    at: float
    direction: str
    what: str
    n_files: int
    n_bytes: int
    n_failed: int
    peer: str
    digest: str = ""
    digest_of: str = ""


class HistoryFile:
    """The file in the folder of ``home``. Every method is short and blocking."""

    def __init__(self, home: HomeFolder) -> None:
        self._home = home

    def append(self, entry: HistoryEntry) -> None:
        """Keeps ``entry``, and of the others those that are young and among the last. A disk that
        does not take it costs the entry alone."""
        with (
            contextlib.suppress(OSError, WraithError),
            self._open() as folder,
            FolderLock(folder),
        ):
            entries = [*_read(folder, entry.at), entry][-ENTRIES_MAX:]
            _write(folder, entries)

    def entries(self, unix_time: float) -> list[HistoryEntry]:
        """Those that are young enough at ``unix_time``, oldest first.

        Raises:
            DiskFailed: the file cannot be read.
        """
        with told(self._home.home / FILE, HOME_HINT), self._open() as folder:
            return _read(folder, unix_time)

    def clear(self) -> None:
        """Removes the file, if it is there.

        Raises:
            DiskFailed: the disk says no.
        """
        with told(self._home.home / FILE, HOME_HINT), self._open() as folder, FolderLock(folder):
            folder.unlink(FILE.encode())

    def _open(self) -> PrivateFolder:
        return PrivateFolder.open(self._home.home, hint=HOME_HINT, disk=self._home.disk)


def _read(folder: PrivateFolder, now: float) -> list[HistoryEntry]:
    try:
        data = folder.read(FILE.encode(), _BYTES_MAX)
    except FileNotFoundError:
        return []
    found = [entry for line in data.splitlines() if (entry := _parsed(line)) is not None]
    return [entry for entry in found if now - entry.at < LIFETIME_S][-ENTRIES_MAX:]


def _write(folder: PrivateFolder, entries: list[HistoryEntry]) -> None:
    rows = [json.dumps(asdict(entry), ensure_ascii=True) for entry in entries]
    with folder.replacing(FILE.encode()) as fd:
        folder.disk.write_all(fd, "".join(f"{row}\n" for row in rows).encode())


def _parsed(line: bytes) -> HistoryEntry | None:
    """One line; ``None`` if it is torn or not ours."""
    try:
        row: Mapping[str, Any] = json.loads(line)
        return HistoryEntry(
            at=float(row["at"]),
            direction=str(row["direction"]),
            what=str(row["what"])[:_NAME_MAX],
            n_files=int(row["n_files"]),
            n_bytes=int(row["n_bytes"]),
            n_failed=int(row["n_failed"]),
            peer=str(row["peer"]),
            digest=str(row["digest"]),
            digest_of=str(row["digest_of"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
