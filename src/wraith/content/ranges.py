"""A set of whole numbers kept as sorted, disjoint half-open ranges that never touch.

The one structure behind received packet numbers, acknowledged and lost stream bytes, what has
arrived out of order, and the chunks of a file that were verified. It knows nothing of packets,
streams or files. Adding at the upper end, which is what an orderly network and a sequential file
do, costs no search; everything else costs a search and what it changes, never a walk over the set:
a peer decides how many ranges there are.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, MutableSequence


class RangeSet:
    """Half-open ranges ``[start, end)`` of numbers from 0 to 2^64 - 1, ascending.

    ``total`` is how many numbers are in the set, ``len`` how many ranges.

    Args:
        ranges: what is in it from the beginning.
        packed: a range takes 16 bytes instead of up to 80, and a change a fifth more time.
    """

    __slots__ = ("_ends", "_starts", "total")

    def __init__(self, ranges: Iterable[tuple[int, int]] = (), *, packed: bool = False) -> None:
        self._starts: MutableSequence[int] = array("Q") if packed else []
        self._ends: MutableSequence[int] = array("Q") if packed else []
        self.total = 0
        for start, end in ranges:
            self.add(start, end)

    def __len__(self) -> int:
        """How many disjoint ranges there are."""
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __contains__(self, number: int) -> bool:
        i = bisect_right(self._starts, number) - 1
        return i >= 0 and number < self._ends[i]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # mutable

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

    def add(self, start: int, end: int) -> int:
        """Adds ``[start, end)``; returns how many numbers are new. An empty range changes
        nothing."""
        if end <= start:
            return 0
        starts, ends = self._starts, self._ends
        if not ends or start > ends[-1]:
            starts.append(start)
            ends.append(end)
            n_new = end - start
        elif start >= starts[-1]:  # touches only the last range
            n_new = end - ends[-1]
            if n_new <= 0:
                return 0
            ends[-1] = end
        else:
            n_new = self._merge(start, end)
        self.total += n_new
        return n_new

    def _merge(self, start: int, end: int) -> int:
        """Adds what lies before the end of the last range; returns how many numbers are new."""
        starts, ends = self._starts, self._ends
        low = bisect_left(ends, start)
        high = bisect_right(starts, end)
        if low == high:
            starts.insert(low, start)
            ends.insert(low, end)
            return end - start
        held = ends[low] - starts[low]
        if high - low > 1:
            held = sum(ends[low:high]) - sum(starts[low:high])
            ends[low] = ends[high - 1]
            del starts[low + 1 : high], ends[low + 1 : high]
        if start < starts[low]:
            starts[low] = start
        if end > ends[low]:
            ends[low] = end
        return ends[low] - starts[low] - held

    def remove(self, start: int, end: int) -> None:
        """Takes ``[start, end)`` out, as far as it is there."""
        starts, ends = self._starts, self._ends
        if end <= start or not starts or end <= starts[0] or start >= ends[-1]:
            return
        low = bisect_right(ends, start)
        high = bisect_left(starts, end)
        if low >= high:
            return
        lowest, highest = starts[low], ends[high - 1]
        if high - low > 1:
            self.total -= sum(ends[low:high]) - sum(starts[low:high])
        else:
            self.total -= highest - lowest
        if lowest < start:
            self.total += start - lowest
            if highest > end and high - low == 1:  # a hole in one range
                starts.insert(high, end)
                ends.insert(low, start)
                self.total += highest - end
                return
            ends[low] = start
            low += 1
        if highest > end:
            high -= 1
            starts[high] = end
            self.total += highest - end
        if low < high:
            del starts[low:high], ends[low:high]

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``[start, end)`` that are not in the set, ascending."""
        result: list[tuple[int, int]] = []
        starts, ends = self._starts, self._ends
        if not ends or start >= ends[-1]:
            return [(start, end)] if start < end else result
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
        self.total -= end - start
        return start, end

    def keep_highest(self, n_ranges: int) -> None:
        """Forgets all but the ``n_ranges`` highest ranges."""
        self._drop_lowest(len(self._starts) - n_ranges)

    def keep_from(self, number: int) -> None:
        """Forgets the ranges below the one that holds ``number``, or that lies next below it."""
        self._drop_lowest(bisect_right(self._starts, number) - 1)

    def _drop_lowest(self, n_ranges: int) -> None:
        if n_ranges > 0:
            self.total -= sum(self._ends[:n_ranges]) - sum(self._starts[:n_ranges])
            del self._starts[:n_ranges]
            del self._ends[:n_ranges]
