"""RangeSet against a plain set of numbers, in both of its forms."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.content.ranges import RangeSet

STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 12)), min_size=1, max_size=40
)


@given(STEPS, st.booleans())
def test_it_is_the_set_of_all_numbers_added(
    steps: list[tuple[bool, int, int]], packed: bool
) -> None:
    ranges, model = RangeSet(packed=packed), set[int]()
    for adds, start, length in steps:
        numbers = set(range(start, start + length))
        if adds:
            assert ranges.add(start, start + length) == len(numbers - model)
            model |= numbers
        else:
            ranges.remove(start, start + length)
            model -= numbers
        got = [n for a, b in ranges for n in range(a, b)]
        assert got == sorted(model)
        bounds = list(ranges)
        assert all(a < b for a, b in bounds)
        assert all(b < c for (_, b), (c, _) in pairwise(bounds))
        assert ranges.total == len(model)
        assert len(ranges) == len(bounds) and bool(ranges) is bool(bounds)
    assert all(n in ranges for n in model) and -1 not in ranges and 200 not in ranges


@given(STEPS, st.integers(0, 60), st.integers(0, 30), st.booleans())
def test_gaps_are_the_complement(
    steps: list[tuple[bool, int, int]], start: int, length: int, packed: bool
) -> None:
    ranges = RangeSet(((a, a + n) for _, a, n in steps), packed=packed)
    missing = [n for a, b in ranges.gaps(start, start + length) for n in range(a, b)]
    assert missing == [n for n in range(start, start + length) if n not in ranges]


@pytest.mark.parametrize("packed", [False, True])
def test_arrival_in_order_is_one_range(packed: bool) -> None:
    ranges = RangeSet(packed=packed)
    for i in range(1000):
        ranges.add(i, i + 1)
    assert list(ranges) == [(0, 1000)] and len(ranges) == 1
    assert ranges == RangeSet([(0, 1000)], packed=packed)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (4, [(5, 7), (10, 12), (20, 21)]),
        (5, [(5, 7), (10, 12), (20, 21)]),
        (9, [(5, 7), (10, 12), (20, 21)]),
        (11, [(10, 12), (20, 21)]),
        (99, [(20, 21)]),
    ],
)
def test_keep_from_forgets_what_lies_below(value: int, left: list[tuple[int, int]]) -> None:
    ranges = RangeSet([(5, 7), (10, 12), (20, 21)])
    ranges.keep_from(value)
    assert list(ranges) == left
    assert ranges.total == sum(b - a for a, b in left)
    RangeSet().keep_from(value)  # nothing there, nothing to do


def test_keep_highest_forgets_the_lowest() -> None:
    ranges = RangeSet()
    for start in (0, 10, 20, 30):
        ranges.add(start, start + 1)
    ranges.keep_highest(2)
    assert list(ranges) == [(20, 21), (30, 31)]
    assert ranges.pop_first() == (20, 21)
    assert ranges.first == ranges.last == (30, 31)
