from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.paths.cid import ACCEPTED_MAX, CidIndices
from wraith.types import Role


@pytest.mark.spec("CN-30")
def test_accepts_one_behind_the_peer_and_seven_ahead_of_itself() -> None:
    cids = CidIndices(Role.INITIATOR)
    assert cids.accepted(0) == (0, 7)
    cids.on_received(5)
    assert cids.highest == 5 and cids.accepted(5) == (4, 12)
    assert cids.accepted(0) == (0, 12), "a path where the peer has not heard of it"


@pytest.mark.spec("CN-31")
@pytest.mark.parametrize(
    ("role", "taken"), [(Role.INITIATOR, [2, 4, 6]), (Role.RESPONDER, [1, 3, 5, 7])]
)
def test_never_more_than_seven_ahead_of_what_the_peer_has_seen(
    role: Role, taken: list[int]
) -> None:
    cids = CidIndices(role)
    assert [cids.take() for _ in range(6)] == taken + [None] * (6 - len(taken))
    cids.on_acked(3)
    assert cids.take() == taken[-1] + 2


@pytest.mark.spec("CN-31")
def test_two_sides_that_take_one_at_once_take_different_ones() -> None:
    ours, theirs = CidIndices(Role.INITIATOR), CidIndices(Role.RESPONDER)
    for _ in range(20):
        one, other = ours.take(), theirs.take()
        assert one is not None and other is not None and one != other
        ours.on_received(other)
        theirs.on_received(one)


@given(st.integers(0, 2**32))
def test_what_one_side_writes_the_other_accepts(seed: int) -> None:
    rnd = random.Random(seed)
    a, b = CidIndices(Role.INITIATOR), CidIndices(Role.RESPONDER)
    written = {a: 0, b: 0}  # one path, as each side sees it
    heard = {a: 0, b: 0}
    under_way: list[tuple[CidIndices, CidIndices, int]] = []
    for _ in range(200):
        source, target = (a, b) if rnd.random() < 0.5 else (b, a)
        if rnd.random() < 0.3 and (index := source.take()) is not None:
            written[source] = index
        if rnd.random() < 0.8:  # the rest is lost
            under_way.append((source, target, written[source]))
        while under_way and rnd.random() < 0.5:
            source, target, index = under_way.pop(0)
            low, high = target.accepted(heard[target])
            assert low <= index <= high
            assert high - low < ACCEPTED_MAX
            target.on_received(index)
            heard[target] = max(heard[target], index)
            written[target] = max(written[target], index)
            if rnd.random() < 0.5:
                source.on_acked(index)


@pytest.mark.spec("CN-31")
def test_the_index_of_a_silent_try_names_the_next_one_until_a_higher_one_is_known() -> None:
    side = CidIndices(Role.INITIATOR)
    for _ in range(100):
        index = side.take_silent() or side.take()
        assert index == 2
        side.on_silent(index)
    side.on_received(4)
    assert side.take_silent() is None
    assert side.take() == 6
