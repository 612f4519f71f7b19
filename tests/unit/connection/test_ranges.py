from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.ranges import RangeSet

STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 12)), min_size=1, max_size=40
)


@given(STEPS)
def test_behaves_like_a_set_of_integers(steps: list[tuple[bool, int, int]]) -> None:
    ranges, model = RangeSet(), set[int]()
    for adds, start, length in steps:
        if adds:
            ranges.add(start, start + length)
            model |= set(range(start, start + length))
        else:
            ranges.remove(start, start + length)
            model -= set(range(start, start + length))
        got = [n for a, b in ranges for n in range(a, b)]
        assert got == sorted(model)
        bounds = list(ranges)
        assert all(b < c for (_, b), (c, _) in itertools.pairwise(bounds))
        assert ranges.total() == len(model)


@given(STEPS, st.integers(0, 60), st.integers(0, 30))
def test_gaps_are_the_complement(
    steps: list[tuple[bool, int, int]], start: int, length: int
) -> None:
    ranges = RangeSet()
    for _, a, n in steps:
        ranges.add(a, a + n)
    missing = [n for a, b in ranges.gaps(start, start + length) for n in range(a, b)]
    assert missing == [n for n in range(start, start + length) if n not in ranges]


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
    ranges = RangeSet()
    for start, end in ((5, 7), (10, 12), (20, 21)):
        ranges.add(start, end)
    ranges.keep_from(value)
    assert list(ranges) == left
    RangeSet().keep_from(value)  # nothing there, nothing to do


def test_keep_highest_forgets_the_lowest() -> None:
    ranges = RangeSet()
    for start in (0, 10, 20, 30):
        ranges.add(start, start + 1)
    ranges.keep_highest(2)
    assert list(ranges) == [(20, 21), (30, 31)]
    assert ranges.pop_first() == (20, 21)
    assert ranges.first == ranges.last == (30, 31)
