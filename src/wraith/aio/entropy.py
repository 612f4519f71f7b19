"""Randomness from the operating system: the only real implementation of ``wraith.abc.Rng``."""

from __future__ import annotations

import os
from typing import Final

_READ_AHEAD_BYTES: Final = 4096


class OsRng:
    """Two doors to the operating system's generator. Safe to share between tasks, not threads.

    Bytes that will be seen on the wire are read ahead, because a system call per run of packets is
    measurable; bytes that become keys never wait in a buffer.
    """

    __slots__ = ("_at", "_buffer")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0

    def public_bytes(self, n: int, /) -> bytes:
        """``n`` bytes that may be seen on the wire."""
        end = self._at + n
        if end <= len(self._buffer):
            taken = self._buffer[self._at : end]
            self._at = end
            return taken
        if n >= _READ_AHEAD_BYTES:
            return os.urandom(n)
        self._buffer = os.urandom(_READ_AHEAD_BYTES)
        self._at = n
        return self._buffer[:n]

    def secret_bytes(self, n: int, /) -> bytes:
        """``n`` bytes for keys, straight from the operating system."""
        return os.urandom(n)

    def forget(self) -> None:
        """Drops what was read ahead. Called in the child after a fork: both must not share it."""
        self._buffer = b""
        self._at = 0
