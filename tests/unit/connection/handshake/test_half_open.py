"""What a responder keeps before FINISH is bounded per 4-tuple, per prefix, in all, and in time."""

from __future__ import annotations

from typing import cast

import pytest

from wraith.config import Budgets
from wraith.connection.handshake.half_open import (
    ATTEMPTS_PER_PATH,
    STRAYS_MAX,
    EarlyQueues,
    HalfOpen,
    HalfOpenTable,
    Strays,
)
from wraith.connection.handshake.responder import AwaitingHello
from wraith.types import Address, NetworkPath

LOCAL = Address(bytes((192, 0, 2, 1)), 443)
NO_STAGE = cast(AwaitingHello, object())


def path(i: int, port: int = 1) -> NetworkPath:
    return NetworkPath(LOCAL, Address(bytes((10, i >> 8, i & 255, 1)), port))


def entry(p: NetworkPath, key: bytes = b"k") -> HalfOpen:
    return HalfOpen(p, NO_STAGE, key=key, is_validated=False)


@pytest.mark.spec("HS-23")
def test_fourth_attempt_of_a_4_tuple_replaces_the_oldest() -> None:
    table = HalfOpenTable(Budgets())
    entries = [entry(path(1)) for _ in range(ATTEMPTS_PER_PATH + 1)]
    dropped = [table.insert(e) for e in entries]
    assert dropped == [[], [], [], [entries[0]]]
    assert table.on_path(path(1)) == tuple(entries[1:])


@pytest.mark.spec("HS-23")
def test_a_prefix_has_its_own_limit_and_pays_for_it_itself() -> None:
    table = HalfOpenTable(Budgets(half_open_per_prefix=4))
    other = entry(path(2))
    table.insert(other)
    first = [entry(path(1, port)) for port in range(5)]
    dropped = [d for e in first for d in table.insert(e)]
    assert dropped == [first[0]]
    assert table.on_path(path(2)) == (other,)


@pytest.mark.spec("HS-23")
def test_full_table_replaces_the_oldest_of_the_same_prefix_first() -> None:
    table = HalfOpenTable(Budgets(half_open_max=4))
    entries = [entry(path(i, port)) for i, port in ((1, 1), (2, 1), (2, 2), (3, 1))]
    for e in entries:
        table.insert(e)
    assert table.insert(entry(path(2, 3))) == [entries[1]]
    assert table.insert(entry(path(9, 1))) == [entries[0]]
    assert len(table) == 4


@pytest.mark.spec("HS-23")
def test_in_a_full_table_the_key_that_has_most_makes_room() -> None:
    table = HalfOpenTable(Budgets(half_open_max=4))
    others = [entry(path(1), b"a"), entry(path(2), b"b")]
    flood = [entry(path(3 + i), b"flood") for i in range(5)]
    for e in (*others, *flood[:2]):
        table.insert(e)
    assert [table.insert(e) for e in flood[2:]] == [[flood[0]], [flood[1]], [flood[2]]]
    assert table.insert(entry(path(99), b"c")) == [flood[3]]
    assert set(others) <= set(table)


@pytest.mark.spec("HS-23")
def test_each_key_has_its_own_attempts_on_a_path_and_in_a_prefix() -> None:
    table = HalfOpenTable(Budgets(half_open_per_prefix=4))
    one = entry(path(1), b"a")
    table.insert(one)
    for port in range(4):
        assert table.insert(entry(path(1, port), b"b")) == []
    for _ in range(ATTEMPTS_PER_PATH - 1):
        table.insert(entry(path(1), b"b"))
    assert one in table
    assert len(table.siblings(one)) == 0


def test_removing_twice_is_harmless_and_leaves_nothing_behind() -> None:
    table = HalfOpenTable(Budgets())
    one = entry(path(1))
    table.insert(one)
    table.remove(one)
    table.remove(one)
    assert len(table) == 0 and table.on_path(path(1)) == ()


@pytest.mark.spec("HS-24")
def test_unvalidated_addresses_get_three_times_what_they_sent() -> None:
    one = entry(path(1))
    one.bytes_received = 1_000
    assert one.may_send(3_000) and not one.may_send(3_001)
    one.bytes_sent = 2_000
    assert one.may_send(1_000) and not one.may_send(1_001)
    assert HalfOpen(path(1), NO_STAGE, key=b"k", is_validated=True).may_send(10**6)


class TestStrays:
    @pytest.mark.spec("HS-23")
    def test_one_per_4_tuple_for_250_ms(self) -> None:
        strays = Strays()
        strays.keep(path(1), b"first", 0.0)
        strays.keep(path(1), b"second", 0.1)
        assert strays.take(path(1), 0.2) == b"second"
        assert strays.take(path(1), 0.2) is None
        strays.keep(path(1), b"late", 0.0)
        assert strays.take(path(1), 0.25) is None

    @pytest.mark.spec("HS-23")
    def test_the_oldest_makes_room(self) -> None:
        strays = Strays()
        for i in range(STRAYS_MAX + 10):
            strays.keep(path(i), b"x", 0.0)
        assert len(strays) == STRAYS_MAX
        assert strays.take(path(0), 0.0) is None
        assert strays.take(path(STRAYS_MAX + 9), 0.0) == b"x"


class TestEarlyQueues:
    @pytest.mark.spec("HS-28")
    @pytest.mark.parametrize(
        ("limits", "n_kept"),
        [
            (Budgets(early_datagrams=3), 3),
            (Budgets(early_bytes=5_000), 5),
            (Budgets(early_bytes_total=4_000), 4),
        ],
    )
    def test_each_limit_drops_what_is_over(self, limits: Budgets, n_kept: int) -> None:
        queues = EarlyQueues(limits)
        kept = [queues.put(path(1), bytes(1_000), 0.0) for _ in range(10)]
        assert [queue is not None for queue in kept] == [True] * n_kept + [False] * (10 - n_kept)
        assert queues.n_bytes == 1_000 * n_kept

    @pytest.mark.spec("HS-28")
    def test_finish_takes_everything_in_order_and_frees_the_bytes(self) -> None:
        queues = EarlyQueues(Budgets())
        for i in range(3):
            queues.put(path(1), bytes([i]), 0.0)
        queues.put(path(2), b"other", 0.0)
        assert queues.take_all(path(1))[1] == [b"\0", b"\1", b"\2"]
        assert queues.take_all(path(1)) == (None, [])
        assert queues.n_bytes == 5

    @pytest.mark.spec("HS-28")
    def test_what_waited_250_ms_goes_on(self) -> None:
        queues = EarlyQueues(Budgets())
        queue = queues.put(path(1), b"a", 0.0)
        queues.put(path(1), b"b", 0.1)
        assert queue is not None
        assert queues.take_due(queue, 0.24) == []
        assert queues.take_due(queue, 0.25) == [b"a"]
        assert queues.next_time(queue) == pytest.approx(0.35)
        assert queues.take_due(queue, 1.0) == [b"b"]
        assert len(queues) == 0 and queues.n_bytes == 0
