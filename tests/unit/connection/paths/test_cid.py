from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.paths.cid import ACCEPTED_MAX, AHEAD_MAX, CidIndices


@pytest.mark.spec("CN-30")
def test_accepts_one_behind_the_peer_and_seven_ahead_of_itself() -> None:
    cids = CidIndices()
    assert cids.accepted() == (0, 7)
    cids.on_received(5)
    assert cids.sent == 5 and cids.accepted() == (4, 12)


@pytest.mark.spec("CN-31")
def test_never_more_than_seven_ahead_of_what_the_peer_has_seen() -> None:
    cids = CidIndices()
    moved = [cids.advance() for _ in range(AHEAD_MAX + 3)]
    assert moved.count(True) == AHEAD_MAX and cids.sent == AHEAD_MAX
    cids.on_acked(3)
    assert cids.advance() and cids.sent == AHEAD_MAX + 1


@given(st.integers(0, 2**32))
def test_what_one_side_writes_the_other_accepts(seed: int) -> None:
    rnd = random.Random(seed)
    a, b = CidIndices(), CidIndices()
    under_way: list[tuple[CidIndices, CidIndices, int]] = []
    for _ in range(200):
        source, target = (a, b) if rnd.random() < 0.5 else (b, a)
        if rnd.random() < 0.3:
            source.advance()
        if rnd.random() < 0.8:  # the rest is lost
            under_way.append((source, target, source.sent))
        while under_way and rnd.random() < 0.5:
            source, target, index = under_way.pop(0)
            low, high = target.accepted()
            assert low <= index <= high
            assert high - low < ACCEPTED_MAX
            target.on_received(index)
            if rnd.random() < 0.5:
                source.on_acked(index)
