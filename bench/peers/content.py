"""What every bulk peer sends and expects, and the socket buffers that every one of them gets.

The sender repeats the file that ``BULK_BLOCK`` names; its length is prime, so that no datagram,
page or write falls into step with it. The receiver compares every byte with what must come: one
``memcmp`` of bytes that are in the cache, the same for all.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

BUFFER_BYTES = 8 << 20
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
WRITE_BYTES = 256 * 1024


def enlarge(sock: Any) -> None:
    """8 MiB both ways, beyond the system's limit where that is allowed, as WRAITH asks for."""
    for forced, ordinary in (
        (SO_RCVBUFFORCE, socket.SO_RCVBUF),
        (SO_SNDBUFFORCE, socket.SO_SNDBUF),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, ordinary, BUFFER_BYTES)


def block() -> bytes:
    """One repetition; something to look at by hand where the suite gave none."""
    path = os.environ.get("BULK_BLOCK")
    return Path(path).read_bytes() if path else os.urandom(262_139)


def pieces(n_bytes: int) -> Iterator[bytes]:
    """``n_bytes`` of repetitions in pieces of at most 256 KiB that are made once."""
    whole = block()
    parts = [whole[at : at + WRITE_BYTES] for at in range(0, len(whole), WRITE_BYTES)]
    for part in cycle(parts):
        if len(part) >= n_bytes:
            yield part[:n_bytes]
            return
        n_bytes -= len(part)
        yield part


class Expected:
    """Compares a stream with the repetitions of the block. ``equal`` stays true while it fits."""

    def __init__(self) -> None:
        content = block()
        self._length = len(content)
        self._table = content * (2 + (8 << 20) // self._length)
        self._at = 0
        self.equal = True

    def take(self, chunk: Any) -> None:
        """The next bytes of the stream, at most 8 MiB."""
        if not self._table.startswith(chunk, self._at):
            self.equal = False
        self._at = (self._at + len(chunk)) % self._length
