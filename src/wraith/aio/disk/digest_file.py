"""Chunk digests of one listing, as a flat file of 32 bytes per chunk.

A gigabyte has 128 KiB of digests, so they do not belong into memory. A digest that was never
written reads as zeros. The file may vanish at any time: everything in it can be computed again.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterable
from itertools import accumulate

from wraith.aio.disk.descriptor import OwnsDescriptor
from wraith.aio.disk.failures import temporary_file
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.content.chunking import DIGEST_BYTES, Cut, FileIdHasher, parts_digest, runs_of

_READ_DIGESTS = (1 << 20) // DIGEST_BYTES
_PENDING_BYTES = 1 << 16
_NONE = bytes(DIGEST_BYTES)


class DigestFile(OwnsDescriptor):
    """Digests by (entry, chunk). An entry of unknown size must be the last one with chunks."""

    def __init__(self, sizes: array[int], fd: int | None = None, *, disk: Disk = OS_DISK) -> None:
        """Takes ``fd`` over, open for reading and writing; ``None``: a file without a name."""
        self.disk = disk
        self._pending = bytearray()
        self._pending_at = 0
        self.fd = fd if fd is not None else temporary_file(disk)
        counts = (Cut(size).n_listed for size in sizes)
        self._base = array("Q", accumulate(counts, initial=0))

    def close(self) -> None:
        if self.fd >= 0:
            with contextlib.suppress(OSError):  # a full disk; what is missing is computed again
                self._flush()
        super().close()

    def put(self, entry: int, first: int, digests: bytes) -> None:
        """Digests of consecutive chunks from ``first``, joined. Neighbours are written together:
        thousands of small files in a row cost few calls."""
        at = (self._base[entry] + first) * DIGEST_BYTES
        if at != self._pending_at + len(self._pending) or len(self._pending) >= _PENDING_BYTES:
            self._flush()
            self._pending_at = at
        self._pending += digests

    def forget(self, entry: int, n: int) -> None:
        """Drops the digests of an entry of ``n`` chunks."""
        for first, some in runs_of(0, n, _READ_DIGESTS):
            self.put(entry, first, bytes(some * DIGEST_BYTES))
        self._flush()

    def forget_all(self) -> None:
        """Drops every digest."""
        self._pending.clear()
        self.disk.ftruncate(self.fd, 0)

    def sync(self) -> None:
        """Has all of it on the disk. Raises ``OSError`` when the disk says no."""
        self._flush()
        self.disk.fsync(self.fd)

    def _flush(self) -> None:
        if self._pending:
            self.disk.pwrite(self.fd, self._pending, self._pending_at)
            self._pending_at += len(self._pending)
            self._pending.clear()

    def get(self, entry: int, first: int, n: int) -> bytes:
        """``n`` digests, joined; zeros where there is none."""
        self._flush()
        want = n * DIGEST_BYTES
        data = self.disk.pread(self.fd, want, (self._base[entry] + first) * DIGEST_BYTES)
        return data + bytes(want - len(data))

    def missing(self, entry: int, first: int, n: int) -> list[int]:
        """Chunks of this range that have no digest here."""
        data = self.get(entry, first, n)
        if _NONE not in data:  # a false hit across two digests only costs the loop below
            return []
        return [
            first + i for i in range(n) if data[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] == _NONE
        ]

    def file_id(self, entry: int, size: int) -> bytes:
        """The id of a file all of whose digests are here."""
        hasher = FileIdHasher(size)
        for first, n in runs_of(0, Cut(size).n_chunks, _READ_DIGESTS):
            hasher.update(self.get(entry, first, n))
        return hasher.digest()

    def summary(self, entry: int, ranges: Iterable[tuple[int, int]]) -> bytes:
        """One digest over those of ``ranges`` ``(first, n)``: what a HAVE item carries."""
        return parts_digest(
            self.get(entry, at, some)
            for first, n in ranges
            for at, some in runs_of(first, n, _READ_DIGESTS)
        )
