"""A set of whole numbers kept as sorted, disjoint, never touching ranges.

It holds what was verified of a file: sequential arrival costs one range however long the file is.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """Half-open ranges ``[start, end)``. Adding is O(log n) plus what merges. A range costs 16
    bytes."""

    __slots__ = ("_ends", "_starts", "n")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts = array("Q")
        self._ends = array("Q")
        self.n = 0
        for start, end in ranges:
            self.add(start, end)

    def add(self, start: int, end: int) -> int:
        """Adds ``[start, end)``; returns how many numbers are new."""
        if start >= end:
            return 0
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        covered = sum(
            min(self._ends[i], end) - max(self._starts[i], start) for i in range(low, high)
        )
        new_start = min(start, self._starts[low]) if low < high else start
        new_end = max(end, self._ends[high - 1]) if low < high else end
        self._starts[low:high] = array("Q", (new_start,))
        self._ends[low:high] = array("Q", (new_end,))
        self.n += end - start - covered
        return end - start - covered

    def __contains__(self, number: int) -> bool:
        i = bisect_right(self._starts, number) - 1
        return i >= 0 and number < self._ends[i]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # mutable

    def missing(self, end: int) -> list[tuple[int, int]]:
        """The gaps below ``end``, ascending."""
        gaps: list[tuple[int, int]] = []
        at = 0
        for start, stop in self:
            if at < start:
                gaps.append((at, min(start, end)))
            at = stop
            if at >= end:
                break
        if at < end:
            gaps.append((at, end))
        return [(a, b) for a, b in gaps if a < b]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"
