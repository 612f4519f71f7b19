"""A set of half-open integer ranges with a hard bound on how many there are.

Stands in for a library's own set where a peer chooses what goes in: finding a place costs the
logarithm of the number of ranges, and one range too many is an error of the peer's. Must not know
what the numbers mean. Spec: libp2p-quic section 4 [LQ-70].
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable


class BoundedRanges:
    """Sorted, disjoint ranges that do not touch; ``start`` is in, ``stop`` is not.

    The names are those that aioquic calls on its own ``RangeSet``.

    Args:
        ranges_max: how many ranges may be held.
        exceeded: makes what :meth:`add` raises for one more. The set is then of no further use.
    """

    __slots__ = ("_exceeded", "_ranges_max", "_starts", "_stops")

    def __init__(self, ranges_max: int, exceeded: Callable[[], Exception]) -> None:
        self._ranges_max = ranges_max
        self._exceeded = exceeded
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Adds ``start <= n < stop`` and joins what now touches. Not empty: ``start < stop``."""
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = (start,)
        self._stops[first:last] = (stop,)
        if len(self._starts) > self._ranges_max:
            raise self._exceeded()

    def shift(self) -> range:
        """Takes the lowest range out. Raises :class:`IndexError` when there is none."""
        return range(self._starts.pop(0), self._stops.pop(0))

    def __getitem__(self, index: int) -> range:
        return range(self._starts[index], self._stops[index])

    def __len__(self) -> int:
        return len(self._starts)
