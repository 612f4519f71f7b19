"""The replay records of one access key on disk, so that a restart does not reopen old hellos.

An access key that outlives its process keeps every proven hello until its timestamp is out of
reach (spec: replay cache, restart). Two files, the older one removed at each rotation::

    replay-<n>.log
     0   8   b"WRAITHR1"
     8  16   boot id of the host when the file was begun (zero where there is none)
    24   8   u64, Unix seconds: the cache is not complete for timestamps at or below this
    32  24*  records: cache key 16 ‖ timestamp u64; a last record of 24 × 0xFF is the clean mark

A crash of the process loses nothing: the kernel has the bytes. A crash of the host may lose the
last ones, which shows as another boot id without the clean mark: then the records are still used,
and the caller is told from when on they are complete.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wraith.abc import WallClock
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.seam import OS_DISK, Disk

RECORD_BYTES: Final = 24
_MAGIC: Final = b"WRAITHR1"
_HEADER_BYTES: Final = 32
_CLEAN_MARK: Final = b"\xff" * RECORD_BYTES
_NAME: Final = re.compile(rb"replay-([0-9]{1,12})\.log")
_FILE_BYTES_MAX: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class ReplayHistory:
    """Records from the disk. ``complete_after`` is 0 when no hello can be missing; otherwise hellos
    with a timestamp at or below it must be refused, because their record may be lost."""

    records: tuple[bytes, ...]
    complete_after: float


class ReplayFiles:
    """The replay files of one access key, in a folder that the caller has locked.

    Args:
        folder: where the files are: a path, or an open folder, which stays the caller's.
        clock: calendar time.
        max_clock_skew_s: how far a hello's timestamp may be from the clock.
        fresh: the access key was made by this process just now, so nothing can be missing.
        boot_id: 16 bytes that change with every start of the host; asked for when ``None``.
        disk: on which a path lies; that of an open folder is known.
    """

    def __init__(
        self,
        folder: Path | PrivateFolder,
        clock: WallClock,
        *,
        max_clock_skew_s: float,
        fresh: bool,
        boot_id: bytes | None = None,
        disk: Disk = OS_DISK,
    ) -> None:
        self._given = folder if isinstance(folder, PrivateFolder) else None
        if isinstance(folder, Path):
            folder = PrivateFolder.open(folder, disk=disk)
        self._folder = folder
        self.disk = folder.disk
        self._clock = clock
        self._skew_s = max_clock_skew_s
        self._boot_id = self.disk.boot_id() if boot_id is None else boot_id
        self._descriptor: int | None = None
        self._number = 0
        self._begun = 0.0
        self._complete_after = 0.0
        self.is_fresh = fresh
        try:
            self.history = self._open(fresh)
        except BaseException:
            self._let_go()
            raise

    def append(self, records: Sequence[bytes], /) -> None:
        """Adds records; returns when a crash of this process can no longer lose them.

        Raises:
            OSError: they are not stored; the answers to these hellos must not be sent.
        """
        if self._descriptor is None:
            raise OSError("the replay file is closed")
        if self._clock.unix_time() - self._begun > 2 * self._skew_s:
            self._rotate()
        data = b"".join(records)
        if len(data) != RECORD_BYTES * len(records):
            raise ValueError("a replay record has 24 bytes")
        written = self.disk.write(self._descriptor, data)
        if written != len(data):
            # A torn record would shift all later ones; cut back to what was whole.
            n_whole = self.disk.fstat(self._descriptor).st_size - written
            self.disk.ftruncate(self._descriptor, n_whole)
            raise OSError("the disk is full")

    def close(self) -> None:
        """Writes the clean mark. Without it a crash of the host is assumed. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            self._let_go()
            return
        try:
            self.disk.fsync(descriptor)
            self.disk.write(descriptor, _CLEAN_MARK)
            self.disk.fsync(descriptor)
        except OSError:
            pass  # no mark: the next start is merely cautious
        finally:
            self.disk.close(descriptor)
            self._let_go()

    def _let_go(self) -> None:
        if self._given is None:
            self._folder.close()

    # --- files ------------------------------------------------------------------------------

    def _open(self, fresh: bool) -> ReplayHistory:
        """Reads everything, keeps what still matters in one new file (compaction)."""
        now = self._clock.unix_time()
        numbered = sorted(self._files())
        kept: list[bytes] = []
        complete_after = 0.0
        trusted = bool(numbered) or fresh
        for index, (_, name) in enumerate(numbered):
            loaded = self._load(name, last=index == len(numbered) - 1)
            if loaded is None:
                trusted = False
                continue
            records, after = loaded
            complete_after = max(complete_after, after)
            kept.extend(r for r in records if _timestamp(r) + 2 * self._skew_s >= now)
        if not trusted:
            complete_after = now + self._skew_s
        if complete_after + self._skew_s < now:
            complete_after = 0.0
        self._number = numbered[-1][0] + 1 if numbered else 1
        self._complete_after = complete_after
        self._begin(b"".join(kept))
        for _, name in numbered:
            self._folder.unlink(name)
        return ReplayHistory(tuple(kept), complete_after)

    def _load(self, name: bytes, *, last: bool) -> tuple[list[bytes], float] | None:
        """Records and completeness of one file, or None when it cannot be trusted at all.

        Only the newest file needs a mark or the same boot: the others were synced at rotation.
        """
        try:
            data = self._folder.read(name, _FILE_BYTES_MAX)
        except OSError:
            return None
        if len(data) < _HEADER_BYTES or data[:8] != _MAGIC:
            return None
        boot_id = data[8:24]
        complete_after = float(int.from_bytes(data[24:32], "big"))
        records = [
            data[at : at + RECORD_BYTES]
            for at in range(_HEADER_BYTES, len(data) - RECORD_BYTES + 1, RECORD_BYTES)
        ]
        clean = bool(records) and records[-1] == _CLEAN_MARK
        same_boot = boot_id == self._boot_id and any(boot_id)
        if last and not clean and not same_boot:
            complete_after = self._clock.unix_time() + self._skew_s
        return [record for record in records if record != _CLEAN_MARK], complete_after

    def _rotate(self) -> None:
        """Starts the next generation; the one before the last goes."""
        assert self._descriptor is not None
        self.disk.fsync(self._descriptor)
        self.disk.close(self._descriptor)
        self._descriptor = None
        self._number += 1
        self._begin(b"")
        for number, name in list(self._files()):
            if number < self._number - 1:
                self._folder.unlink(name)

    def _begin(self, records: bytes) -> None:
        self._begun = self._clock.unix_time()
        name = b"replay-%d.log" % self._number
        after = max(0, int(self._complete_after + 0.999)).to_bytes(8, "big")
        self._folder.write(name, _MAGIC + self._boot_id + after + records)
        self._descriptor = self._folder.open_file(name, os.O_WRONLY | os.O_APPEND)

    def _files(self) -> Iterator[tuple[int, bytes]]:
        for name in self._folder.names():
            found = _NAME.fullmatch(name)
            if found:
                yield int(found[1]), name


def _timestamp(record: bytes) -> int:
    return int.from_bytes(record[16:24], "big")
