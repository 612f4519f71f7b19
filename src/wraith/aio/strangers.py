"""Datagrams of unknown senders, kept until those of known peers have been served.

A socket hands out datagrams in the order in which they came. Whoever floods it would therefore make
every peer wait for the work that the flood costs. The driver empties the socket into this queue
instead, feeds what belongs to a known peer at once, and comes back for the rest when there is time.

The queue is bounded in bytes and in age: what is older than ``AGE_S`` is forgotten, because a hello
is sent again by then. The oldest goes first, so a flood pushes out itself.
Spec: connection.md [CN-80].
"""

from __future__ import annotations

from collections import deque
from typing import Final

from wraith.types import NetworkPath

STRANGER_BYTES: Final = 16 * 1024 * 1024
AGE_S: Final = 0.5
#: What an entry holds beside its bytes: a tuple, a ``bytes`` and a place in the queue.
ENTRY_BYTES: Final = 160

_Entry = tuple[float, bytes, int, NetworkPath]


class Strangers:
    """A queue of bursts, oldest first. ``n_dropped`` counts datagrams that were forgotten."""

    __slots__ = ("_entries", "_n_bytes", "n_dropped")

    def __init__(self) -> None:
        # Made for the first stranger: an empty one takes 760 bytes, and every dialled session has
        # a driver of its own.
        self._entries: deque[_Entry] | None = None
        self._n_bytes = 0
        self.n_dropped = 0

    def __len__(self) -> int:
        return len(self._entries) if self._entries is not None else 0

    @property
    def n_bytes(self) -> int:
        """Bytes that are held, the queue's own overhead included: at most ``STRANGER_BYTES``."""
        return self._n_bytes

    def put(self, data: memoryview, segment_bytes: int, path: NetworkPath, now: float) -> None:
        """Copies a burst of ``segment_bytes`` datagrams; older ones make room."""
        if self._entries is None:
            self._entries = deque()
        self._entries.append((now, bytes(data), segment_bytes, path))
        self._n_bytes += len(data) + ENTRY_BYTES
        while self._n_bytes > STRANGER_BYTES:
            self._forget(self._pop(self._entries))

    def take(self, now: float) -> tuple[bytes, int, NetworkPath] | None:
        """The oldest burst that is not too old: its bytes, its segment size, its path."""
        while self._entries:
            entry = self._pop(self._entries)
            if now - entry[0] <= AGE_S:
                return entry[1:]
            self._forget(entry)
        return None

    def clear(self) -> None:
        """Forgets everything."""
        self._entries = None
        self._n_bytes = 0

    def _pop(self, entries: deque[_Entry]) -> _Entry:
        entry = entries.popleft()
        self._n_bytes -= len(entry[1]) + ENTRY_BYTES
        return entry

    def _forget(self, entry: _Entry) -> None:
        self.n_dropped += -(-len(entry[1]) // entry[2])
