"""Tells whether a file is still the one that was looked at before.

A size and a modification time are what a sender tells; both can be set by whoever may write the
file (``touch -r``, ``rsync --inplace -t``, a database). The change time cannot be set, so an
in-place change shows in it, and device and inode show that another file has taken the name.

Spec: transfer §8 [TR-120].
"""

from __future__ import annotations

import os
import struct
from enum import Enum
from typing import Final, NamedTuple

_FORMAT: Final = struct.Struct(">QQQqq")
STAMP_BYTES: Final = _FORMAT.size
_U64: Final = (1 << 64) - 1


class Difference(Enum):
    """The fate of a file since its stamp was taken."""

    UNCHANGED = "unchanged"
    """The same bytes: nothing of it was written, and no attribute set."""

    TOUCHED = "touched"
    """The same file with the same size, but a time differs: its bytes may be the same or not, and
    only reading them tells."""

    REPLACED = "replaced"
    """Another file under the name, or another size: its bytes are not those of before."""


class Stamp(NamedTuple):
    """One state of one file; times in nanoseconds since 1970."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, info: os.stat_result) -> Stamp:
        """The stamp of what ``stat`` or ``fstat`` said."""
        return cls(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)

    def encode(self) -> bytes:
        """40 bytes, big-endian: device, inode, size (u64 each), mtime, ctime (i64 each)."""
        return _FORMAT.pack(self.device & _U64, self.inode, self.size, self.mtime_ns, self.ctime_ns)

    @classmethod
    def decode(cls, data: bytes) -> Stamp:
        """What ``encode`` made; exactly 40 bytes."""
        return cls(*_FORMAT.unpack(data))


def difference(noted: Stamp, found: Stamp) -> Difference:
    """Compares the stamp that was noted with the one found now. [TR-120]"""
    if noted == found:
        return Difference.UNCHANGED
    if (noted.device, noted.inode, noted.size) == (found.device, found.inode, found.size):
        return Difference.TOUCHED
    return Difference.REPLACED
