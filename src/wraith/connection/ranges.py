"""A set of integers kept as sorted disjoint half-open ranges.

The one structure behind received packet numbers, acknowledged and lost stream bytes and what has
arrived out of order. It knows nothing of packets or streams. Adding at the upper end, which is
what an orderly network does, costs no search.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """Half-open ranges ``[start, end)``, ascending, never touching each other."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

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
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> None:
        """Adds ``[start, end)``; an empty range changes nothing."""
        if end <= start:
            return
        starts, ends = self._starts, self._ends
        if not ends or start > ends[-1]:
            starts.append(start)
            ends.append(end)
            return
        if start >= starts[-1]:  # touches only the last range
            if end > ends[-1]:
                ends[-1] = end
            return
        low = bisect_left(ends, start)
        high = bisect_right(starts, end)
        if low < high:
            start = min(start, starts[low])
            end = max(end, ends[high - 1])
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
        starts[low:high] = [a for a, _ in kept]
        ends[low:high] = [b for _, b in kept]

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``[start, end)`` that are not in the set, ascending."""
        result: list[tuple[int, int]] = []
        for a, b in zip(
            self._starts[bisect_right(self._ends, start) :],
            self._ends[bisect_right(self._ends, start) :],
            strict=True,
        ):
            if a >= end:
                break
            if a > start:
                result.append((start, a))
            start = max(start, b)
        if start < end:
            result.append((start, end))
        return result

    def pop_first(self) -> tuple[int, int]:
        """Removes and returns the lowest range; the set must not be empty."""
        return self._starts.pop(0), self._ends.pop(0)

    def keep_highest(self, n_ranges: int) -> None:
        """Forgets all but the ``n_ranges`` highest ranges."""
        excess = len(self._starts) - n_ranges
        if excess > 0:
            del self._starts[:excess]
            del self._ends[:excess]

    def keep_from(self, value: int) -> None:
        """Forgets the ranges below the one that holds ``value``, or that lies next below it."""
        excess = bisect_right(self._starts, value) - 1
        if excess > 0:
            del self._starts[:excess]
            del self._ends[:excess]

    def clear(self) -> None:
        self._starts.clear()
        self._ends.clear()
