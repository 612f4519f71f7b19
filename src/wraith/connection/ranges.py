"""A set of integers kept as sorted disjoint half-open ranges.

The one structure behind received packet numbers, acknowledged and lost stream bytes and what has
arrived out of order. It knows nothing of packets or streams. Adding at the upper end, which is
what an orderly network does, costs no search; everything else costs a search and what it changes,
never a walk over the set: the peer decides how many ranges there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """Half-open ranges ``[start, end)``, ascending, never touching each other."""

    __slots__ = ("_ends", "_starts", "_total")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._total = 0

    def __len__(self) -> int:
        """How many disjoint ranges there are."""
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"

    @property
    def first(self) -> tuple[int, int]:
        """The lowest range; the set must not be empty."""
        return self._starts[0], self._ends[0]

    @property
    def last(self) -> tuple[int, int]:
        """The highest range; the set must not be empty."""
        return self._starts[-1], self._ends[-1]

    def __contains__(self, value: int) -> bool:
        i = bisect_right(self._starts, value) - 1
        return i >= 0 and value < self._ends[i]

    def total(self) -> int:
        """How many integers are in the set."""
        return self._total

    def add(self, start: int, end: int) -> None:
        """Adds ``[start, end)``; an empty range changes nothing."""
        if end <= start:
            return
        starts, ends = self._starts, self._ends
        if not ends or start > ends[-1]:
            starts.append(start)
            ends.append(end)
            self._total += end - start
            return
        if start >= starts[-1]:  # touches only the last range
            if end > ends[-1]:
                self._total += end - ends[-1]
                ends[-1] = end
            return
        low = bisect_left(ends, start)
        high = bisect_right(starts, end)
        if low < high:
            start = min(start, starts[low])
            end = max(end, ends[high - 1])
            self._total -= sum(ends[low:high]) - sum(starts[low:high])
        self._total += end - start
        starts[low:high] = [start]
        ends[low:high] = [end]

    def remove(self, start: int, end: int) -> None:
        """Takes ``[start, end)`` out, as far as it is there."""
        starts, ends = self._starts, self._ends
        if end <= start or not starts or end <= starts[0] or start >= ends[-1]:
            return
        low = bisect_right(ends, start)
        high = bisect_left(starts, end)
        if low >= high:
            return
        kept: list[tuple[int, int]] = []
        if starts[low] < start:
            kept.append((starts[low], start))
        if ends[high - 1] > end:
            kept.append((end, ends[high - 1]))
        self._total -= sum(ends[low:high]) - sum(starts[low:high])
        self._total += sum(b - a for a, b in kept)
        starts[low:high] = [a for a, _ in kept]
        ends[low:high] = [b for _, b in kept]

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``[start, end)`` that are not in the set, ascending."""
        result: list[tuple[int, int]] = []
        starts, ends = self._starts, self._ends
        for i in range(bisect_right(ends, start), bisect_left(starts, end)):
            if starts[i] > start:
                result.append((start, starts[i]))
            start = ends[i]
        if start < end:
            result.append((start, end))
        return result

    def pop_first(self) -> tuple[int, int]:
        """Removes and returns the lowest range; the set must not be empty."""
        start, end = self._starts.pop(0), self._ends.pop(0)
        self._total -= end - start
        return start, end

    def keep_highest(self, n_ranges: int) -> None:
        """Forgets all but the ``n_ranges`` highest ranges."""
        self._drop_lowest(len(self._starts) - n_ranges)

    def keep_from(self, value: int) -> None:
        """Forgets the ranges below the one that holds ``value``, or that lies next below it."""
        self._drop_lowest(bisect_right(self._starts, value) - 1)

    def _drop_lowest(self, n_ranges: int) -> None:
        if n_ranges > 0:
            self._total -= sum(self._ends[:n_ranges]) - sum(self._starts[:n_ranges])
            del self._starts[:n_ranges]
            del self._ends[:n_ranges]

    def clear(self) -> None:
        self._starts.clear()
        self._ends.clear()
        self._total = 0
