"""Output buffers shared by all connections of an endpoint.

A run is sealed straight into a buffer of the pool and handed out as a ``Transmit``; the buffers
come back all at once with the next ``datagrams_to_send``. So an endpoint with ten thousand
connections owns a handful of buffers, not ten thousand. There are three sizes. Single datagrams,
which are all that an idle connection sends, have small ones; the short runs of a young or narrow
window have medium ones: a large one costs its 256 page faults, which is more than to seal such a
run. An endpoint that moves no bulk owns no large one.
"""

from __future__ import annotations

BUFFER_BYTES = 16 * 65_536
MEDIUM_BUFFER_BYTES = 65_536
SMALL_BUFFER_BYTES = 4_096
BUFFERS_MAX = 32


class _Shelf:
    """At most ``n_left`` more buffers of one size."""

    __slots__ = ("buffer_bytes", "free", "n_left", "taken", "was_used")

    def __init__(self, buffer_bytes: int, n_buffers: int) -> None:
        self.buffer_bytes = buffer_bytes
        self.free: list[memoryview] = []
        self.taken: list[memoryview] = []
        self.n_left = n_buffers
        self.was_used = False

    def take(self) -> memoryview | None:
        if self.free:
            buffer = self.free.pop()
        elif self.n_left:
            self.n_left -= 1
            buffer = memoryview(bytearray(self.buffer_bytes))
        else:
            return None
        self.taken.append(buffer)
        return buffer

    def reclaim(self) -> None:
        if self.taken:
            self.was_used = True
            self.free.extend(reversed(self.taken))  # what is warm in the cache goes first again
            self.taken.clear()

    def trim(self) -> bool:
        """Lets its buffers go unless one was used since the last call; true when it did."""
        if self.was_used or self.taken:
            self.was_used = False
            return False
        self.n_left += len(self.free)
        self.free.clear()
        return True


class BufferPool:
    """At most ``n_buffers`` buffers of each of three sizes, in bytes, made when first needed."""

    __slots__ = ("_large", "_medium", "_small")

    def __init__(
        self,
        buffer_bytes: int = BUFFER_BYTES,
        n_buffers: int = BUFFERS_MAX,
        small_bytes: int = SMALL_BUFFER_BYTES,
        medium_bytes: int = MEDIUM_BUFFER_BYTES,
    ) -> None:
        self._large = _Shelf(buffer_bytes, n_buffers)
        self._medium = _Shelf(medium_bytes, n_buffers)
        self._small = _Shelf(small_bytes, n_buffers)

    def take(self, n_bytes: int) -> memoryview | None:
        """A writable buffer of the smallest size that holds ``n_bytes``, all of it; of the largest
        if none does. ``None`` when all of that size are out until the next ``reclaim``."""
        if n_bytes <= self._small.buffer_bytes:
            return self._small.take()
        if n_bytes <= self._medium.buffer_bytes:
            return self._medium.take()
        return self._large.take()

    @property
    def is_exhausted(self) -> bool:
        """Of one size nothing is left."""
        large, medium, small = self._large, self._medium, self._small
        return not (
            (large.free or large.n_left)
            and (medium.free or medium.n_left)
            and (small.free or small.n_left)
        )

    def reclaim(self) -> None:
        """Takes all buffers back: what was handed out before is no longer valid."""
        self._large.reclaim()
        self._medium.reclaim()
        self._small.reclaim()

    @property
    def owns_spare(self) -> bool:
        """There are large or medium buffers that ``trim`` may let go."""
        return bool(self._large.free or self._medium.free)

    def trim(self) -> bool:
        """Lets the large and the medium buffers go, those of a size of which one was used since the
        last call aside; true when both sizes are gone. Call it now and then: an endpoint that is
        idle after a bulk transfer keeps nothing."""
        is_large_gone = self._large.trim()
        return self._medium.trim() and is_large_gone
