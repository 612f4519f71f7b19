"""The stamps of all entries of one listing, in a flat file of 40 bytes each.

A listing may have a million entries, so their stamps do not belong into memory.
"""

from __future__ import annotations

import os
from typing import Final

from wraith.aio.disk.descriptor import OwnsDescriptor
from wraith.aio.disk.failures import temporary_file
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.aio.disk.stamp import STAMP_BYTES, Stamp

_PENDING_BYTES: Final = 1 << 16


class StampFile(OwnsDescriptor):
    """Stamps by entry number, in an unnamed file. Written once, in order; not thread-safe."""

    def __init__(self, disk: Disk = OS_DISK) -> None:
        self.disk = disk
        self._pending = bytearray()
        self.fd = temporary_file(disk)

    def append(self, stamp: Stamp) -> None:
        """The stamp of the next entry."""
        self._pending += stamp.encode()
        if len(self._pending) >= _PENDING_BYTES:
            self._flush()

    def replace(self, number: int, stamp: Stamp) -> None:
        """Another stamp for an entry that has one."""
        self._flush()
        self.disk.pwrite(self.fd, stamp.encode(), number * STAMP_BYTES)

    def get(self, number: int) -> Stamp:
        """The stamp of an entry. Raises ``OSError`` when the disk says no."""
        self._flush()
        data = self.disk.pread(self.fd, STAMP_BYTES, number * STAMP_BYTES)
        if len(data) != STAMP_BYTES:
            raise OSError("the file with the stamps is cut off")
        return Stamp.decode(data)

    def copy_to(self, fd: int) -> None:
        """Writes all of them to ``fd``."""
        self._flush()
        at = 0
        while data := self.disk.pread(self.fd, _PENDING_BYTES, at):
            self.disk.write_all(fd, data)
            at += len(data)

    def differing(self, fd: int) -> list[int]:
        """Entries whose stamp is another one in the file ``fd``, which an earlier process wrote;
        an entry that it does not have counts as differing."""
        self._flush()
        found: list[int] = []
        step = _PENDING_BYTES // STAMP_BYTES * STAMP_BYTES
        at = 0
        while mine := self.disk.pread(self.fd, step, at):
            theirs = self.disk.pread(fd, step, at)
            if mine != theirs:
                found += [
                    (at + i) // STAMP_BYTES
                    for i in range(0, len(mine), STAMP_BYTES)
                    if mine[i : i + STAMP_BYTES] != theirs[i : i + STAMP_BYTES]
                ]
            at += len(mine)
        return found

    def _flush(self) -> None:
        if self._pending:
            self.disk.lseek(self.fd, 0, os.SEEK_END)
            self.disk.write_all(self.fd, self._pending)
            self._pending.clear()
