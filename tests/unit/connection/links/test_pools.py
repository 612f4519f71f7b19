"""Links that nobody vouches for: their bounds, their time, and who makes room for whom."""

from __future__ import annotations

import pytest

from wraith.connection.links.pools import (
    AUTHENTICATE_S,
    DISCARD_S,
    DISCARDING_MAX,
    PREFACE_S,
    UNDECIDED_MAX,
    UNDECIDED_PER_PREFIX_MAX,
    LinkPools,
    Order,
    Stage,
)
from wraith.testing.rng import SeededRng
from wraith.types import ANY_ADDRESS, Address


def pools(files_max: int = 1 << 16, seed: str = "pools") -> LinkPools:
    return LinkPools(SeededRng(seed), files_max)


def remote(prefix: int, host: int = 1) -> Address:
    return Address(bytes((10, prefix >> 8, prefix & 0xFF, host)), 4433)


@pytest.mark.spec("CA-20")
def test_a_preface_has_five_seconds() -> None:
    links = pools()
    assert links.add(1, remote(1), 100.0) == []
    assert links.next_time() == 100 + PREFACE_S == 105
    assert links.due(104.9) == []
    assert links.due(105.0) == [Order(1, reset=False)]
    assert links.stage_of(1) is Stage.DISCARDING


@pytest.mark.spec("CA-20")
def test_something_must_authenticate_within_ten_seconds_of_its_coming() -> None:
    links = pools()
    for number in (1, 2):
        links.add(number, remote(1), 100.0)
        assert links.proven(number, 104.0) == []
    links.remove(2)  # a session answers for it
    assert links.next_time() == 100 + AUTHENTICATE_S == 110
    assert links.due(110.0) == [Order(1, reset=False)]
    assert links.stage_of(1) is Stage.DISCARDING and links.stage_of(2) is None


@pytest.mark.spec("CA-21")
def test_a_link_discards_for_a_random_time_and_is_reset() -> None:
    times = []
    for seed in range(200):
        links = pools(seed=str(seed))
        links.discard(7, remote(1), 50.0)
        at = links.next_time()
        assert at is not None and links.due(at - 0.001) == []
        assert links.due(at) == [Order(7, reset=True)]
        assert links.next_time() is None and links.stage_of(7) is None
        times.append(at - 50)
    assert DISCARD_S == (60, 600) and min(times) >= 60 and max(times) <= 600
    assert min(times) < 80 and max(times) > 580 and len(set(times)) == 200


@pytest.mark.spec("CA-22")
def test_a_prefix_has_sixteen_undecided_links() -> None:
    links = pools()
    for number in range(UNDECIDED_PER_PREFIX_MAX):
        assert links.add(number, remote(1, number), 0.0) == []
    assert links.add(99, remote(2), 0.0) == []
    assert links.add(16, remote(1, 77), 1.0) == [Order(0, reset=False)], "the oldest of its own"
    assert links.stage_of(0) is Stage.DISCARDING
    assert links.stage_of(99) is Stage.UNDECIDED
    assert links.count(Stage.UNDECIDED) == 17


@pytest.mark.spec("CA-22")
def test_a_full_pool_gives_up_the_oldest_of_the_prefix_with_most() -> None:
    links = pools()
    links.add(0, remote(0), 0.0)
    for number in range(1, 16):
        links.add(number, remote(1), 0.0)
    for number in range(16, UNDECIDED_MAX):
        assert links.add(number, remote(number), 0.0) == []
    assert links.add(5_000, remote(5_000), 0.0) == [Order(1, reset=False)]
    assert links.stage_of(0) is Stage.UNDECIDED, "older, but alone in its prefix"
    assert links.count(Stage.UNDECIDED) == UNDECIDED_MAX == 1_024


@pytest.mark.spec("CA-22")
def test_what_discards_displaces_nobody_undecided_and_is_bounded() -> None:
    links = pools()
    links.add(1, remote(1), 0.0)
    resets = []
    for number in range(10, 10 + DISCARDING_MAX + 5):
        resets += links.discard(number, remote(2 + number % 3), 0.0)
    assert len(resets) == 5 and all(order.reset for order in resets)
    assert links.count(Stage.DISCARDING) == DISCARDING_MAX
    assert links.stage_of(1) is Stage.UNDECIDED


@pytest.mark.spec("CA-22")
def test_proven_links_without_a_session_are_bounded_per_prefix() -> None:
    links = pools()
    orders = []
    for number in range(65):
        links.add(number, remote(1), 0.0)
        orders += links.proven(number, 0.0)
    assert orders == [Order(0, reset=False)]
    assert links.count(Stage.PROVEN) == 64


@pytest.mark.spec("CA-22")
def test_they_take_half_of_the_files_at_most() -> None:
    links = pools(files_max=256)
    for number in range(500):
        links.add(number, remote(number), 0.0)
        if number % 2:
            links.proven(number, 0.0)
    assert 120 <= sum(links.count(stage) for stage in Stage) <= 128


def test_what_is_unknown_or_twice_changes_nothing() -> None:
    links = pools()
    links.remove(5)
    assert links.proven(5, 0.0) == []
    links.add(1, remote(1), 0.0)
    links.proven(1, 0.0)
    assert links.proven(1, 1.0) == []
    links.discard(1, remote(1), 1.0)
    assert links.discard(1, remote(1), 2.0) == [] and links.proven(1, 2.0) == []
    links.remove(1)
    assert links.next_time() is None and links.due(10_000.0) == []


def test_the_victims_of_a_time_out_are_told_too() -> None:
    """A time-out moves a link into a full pool of discarding ones: somebody there is reset."""
    links = pools(files_max=16)  # two places each
    for number in (1, 2):
        links.discard(number, remote(number), 0.0)
    links.add(3, remote(3), 0.0)
    assert links.due(5.0) == [Order(3, reset=False), Order(1, reset=True)]


@pytest.mark.spec("CA-74")
def test_where_nobody_is_known_the_sum_alone_is_bounded() -> None:
    links = pools()
    n = 3 * UNDECIDED_PER_PREFIX_MAX
    assert [links.add(number, ANY_ADDRESS, 100.0) for number in range(n)] == [[]] * n
    assert links.count(Stage.UNDECIDED) == n
