"""RangeSet against a plain set of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wraith.content.ranges import RangeSet

Spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=25)


@given(Spans, st.integers(0, 80))
def test_it_is_the_set_of_all_numbers_added(spans: list[tuple[int, int]], end: int) -> None:
    held, plain = RangeSet(), set[int]()
    for start, n in spans:
        new = set(range(start, start + n)) - plain
        assert held.add(start, start + n) == len(new)
        plain |= new
    assert held.n == len(plain)
    assert {i for a, b in held for i in range(a, b)} == plain
    assert all(i in held for i in plain) and -1 not in held and 200 not in held
    gaps = {i for a, b in held.missing(end) for i in range(a, b)}
    assert gaps == set(range(end)) - plain
    ranges = list(held)
    assert all(a < b for a, b in ranges)
    assert all(x[1] < y[0] for x, y in pairwise(ranges))


def test_sequential_arrival_is_one_range() -> None:
    held = RangeSet()
    for i in range(1000):
        held.add(i, i + 1)
    assert list(held) == [(0, 1000)] and len(held) == 1
    assert held == RangeSet([(0, 1000)])
