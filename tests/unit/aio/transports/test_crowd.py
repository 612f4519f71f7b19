"""A crowd that is full gives up the oldest of the prefix with most."""

from __future__ import annotations

import pytest

from wraith.aio.transports.crowd import Crowd


@pytest.mark.spec("CA-73")
def test_a_prefix_that_is_full_pushes_out_its_own_oldest() -> None:
    crowd: Crowd[str] = Crowd(100, 2)
    assert [crowd.admit(name, name[:1].encode()) for name in ("a1", "b1", "a2")] == [None] * 3
    assert crowd.admit("a3", b"a") == "a1"
    assert "a1" not in crowd and "b1" in crowd
    assert len(crowd) == 3


@pytest.mark.spec("CA-73")
def test_a_full_crowd_gives_up_the_oldest_of_the_prefix_with_most() -> None:
    crowd: Crowd[str] = Crowd(4)
    for name in ("b1", "a1", "a2", "a3"):
        assert crowd.admit(name, name[:1].encode()) is None
    assert crowd.admit("c1", b"c") == "a1"
    assert crowd.admit("c2", b"c") == "a2"
    assert sorted(crowd.clear()) == ["a3", "b1", "c1", "c2"]
    assert len(crowd) == 0


@pytest.mark.spec("CA-73")
def test_members_without_a_prefix_count_in_the_sum_alone() -> None:
    crowd: Crowd[int] = Crowd(10, 2)
    assert [crowd.admit(i, None) for i in range(10)] == [None] * 10
    assert crowd.admit(10, b"a") == 0
    assert crowd.admit(11, b"a") == 1


def test_who_leaves_makes_room() -> None:
    crowd: Crowd[str] = Crowd(2, 1)
    crowd.admit("a", b"a")
    crowd.remove("a")
    crowd.remove("a")
    assert crowd.admit("b", b"a") is None
    assert crowd._groups == {b"a": {"b": None}}
