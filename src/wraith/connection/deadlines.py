"""One heap of deadlines for many owners, touched only when an owner's deadline moves.

A deadline that moves later costs nothing until its old time comes: the stale item is corrected
when it reaches the top. So ten thousand connections whose timers are pushed back by every
acknowledgement cost no heap work per acknowledgement.
"""

from __future__ import annotations

import heapq


class Deadline:
    """An owner's entry. Subclass or hold it; ``at`` is absolute monotonic seconds or ``None``."""

    __slots__ = ("at", "_queued")

    def __init__(self) -> None:
        self.at: float | None = None
        self._queued: float | None = None


class DeadlineHeap:
    """Orders deadlines by time, then by the order in which they were queued."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._order = 0

    def set(self, owner: Deadline, at: float | None) -> None:
        """Moves ``owner`` to ``at``; ``None`` takes it out."""
        owner.at = at
        if at is not None and (owner._queued is None or at < owner._queued):
            owner._queued = at
            self._order += 1
            heapq.heappush(self._heap, (at, self._order, owner))

    def next_time(self) -> float | None:
        """The earliest deadline."""
        heap = self._heap
        while heap:
            at, _, owner = heap[0]
            if owner._queued != at:
                heapq.heappop(heap)
            elif owner.at is None:
                heapq.heappop(heap)
                owner._queued = None
            elif owner.at > at:
                owner._queued = owner.at
                self._order += 1
                heapq.heapreplace(heap, (owner.at, self._order, owner))
            else:
                return at
        return None

    def pop_due(self, now: float) -> Deadline | None:
        """Takes out one owner whose deadline has come; its ``at`` becomes ``None``."""
        at = self.next_time()
        if at is None or at > now:
            return None
        owner = heapq.heappop(self._heap)[2]
        owner._queued = None
        owner.at = None
        return owner

    def __len__(self) -> int:
        return len(self._heap)
