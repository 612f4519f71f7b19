"""Output buffers shared by all connections of an endpoint.

A burst is sealed straight into a buffer of the pool and handed out as a ``Transmit``; the buffers
come back all at once with the next ``datagrams_to_send``. So an endpoint with ten thousand
connections owns a handful of buffers, not ten thousand.
"""

from __future__ import annotations

BUFFER_BYTES = 65_536
BUFFERS_MAX = 32


class BufferPool:
    """At most ``n_buffers`` buffers of ``buffer_bytes``, made when first needed."""

    __slots__ = ("buffer_bytes", "_n_max", "_free", "_taken", "_n_made")

    def __init__(self, buffer_bytes: int = BUFFER_BYTES, n_buffers: int = BUFFERS_MAX) -> None:
        self.buffer_bytes = buffer_bytes
        self._n_max = n_buffers
        self._free: list[memoryview] = []
        self._taken: list[memoryview] = []
        self._n_made = 0

    def take(self) -> memoryview | None:
        """A writable buffer, all of it; ``None`` when all are out until the next ``reclaim``."""
        if self._free:
            buffer = self._free.pop()
        elif self._n_made < self._n_max:
            self._n_made += 1
            buffer = memoryview(bytearray(self.buffer_bytes))
        else:
            return None
        self._taken.append(buffer)
        return buffer

    def give_back(self, buffer: memoryview) -> None:
        """Returns the buffer that was taken last and not used."""
        if not self._taken or self._taken[-1] is not buffer:
            raise ValueError("only the buffer that was taken last can be given back")
        self._free.append(self._taken.pop())

    @property
    def is_exhausted(self) -> bool:
        return not self._free and self._n_made >= self._n_max

    def reclaim(self) -> None:
        """Takes all buffers back: what was handed out before is no longer valid."""
        self._free.extend(reversed(self._taken))
        self._taken.clear()
