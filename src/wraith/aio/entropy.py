"""Randomness from the operating system: the only real implementation of ``wraith.abc.Rng``."""

from __future__ import annotations

import os
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

_READ_AHEAD_BYTES: Final = 4096
_STREAM_READS_MAX: Final = 128


class OsRng:
    """Two doors to the operating system's generator. Safe to share between tasks, not threads.

    Bytes that will be seen on the wire are the stream of a ChaCha20 key that the system gave, read
    ahead, and of a new key after 128 reads: a fast sender shows megabytes of them per second, and
    the system's generator takes ten times as long for each. Bytes that become keys come straight
    from the system and never wait in a buffer.
    """

    __slots__ = ("_at", "_buffer", "_n_left", "_stream")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._stream: CipherContext | None = None
        self._n_left = 0

    def public_bytes(self, n: int, /) -> bytes:
        """``n`` bytes that may be seen on the wire."""
        end = self._at + n
        if end <= len(self._buffer):
            taken = self._buffer[self._at : end]
            self._at = end
            return taken
        if n >= _READ_AHEAD_BYTES:
            return self._read_stream(n)
        self._buffer = self._read_stream(_READ_AHEAD_BYTES)
        self._at = n
        return self._buffer[:n]

    def _read_stream(self, n: int) -> bytes:
        if not self._n_left or self._stream is None:
            key = ChaCha20(os.urandom(32), bytes(16))
            self._stream = Cipher(key, mode=None).encryptor()
            self._n_left = _STREAM_READS_MAX
        self._n_left -= 1
        return self._stream.update(bytes(n))

    def secret_bytes(self, n: int, /) -> bytes:
        """``n`` bytes for keys, straight from the operating system."""
        return os.urandom(n)

    def forget(self) -> None:
        """Drops key and what was read ahead. Called in the child after a fork: both must not share
        them."""
        self._buffer = b""
        self._at = 0
        self._stream = None
        self._n_left = 0
