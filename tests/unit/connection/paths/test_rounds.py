"""Rounds and the loss floor by themselves."""

from __future__ import annotations

import pytest

from wraith.connection.paths.congestion import AckSample
from wraith.connection.paths.rounds import FLOOR_MAX, FLOOR_PACKETS, LossFloor, Round, Rounds

SIZE = 1_000


def ack(counter: int, next_counter: int, now: float) -> AckSample:
    return AckSample(
        n_bytes=SIZE, sent_time=now - 0.1, counter=counter, next_counter=next_counter, rtt=0.1,
        srtt=0.1, app_limited=False, now=now,
    )  # fmt: skip


@pytest.mark.spec("RC-52")
def test_a_round_is_settled_when_the_one_after_it_has_ended() -> None:
    rounds = Rounds()
    first = rounds.current
    assert rounds.advance(ack(0, 10, 0.1))
    second = rounds.current
    assert rounds.settled is None
    assert not rounds.advance(ack(9, 15, 0.15))  # sent before the second began
    assert rounds.advance(ack(10, 20, 0.2))
    assert rounds.settled is first
    assert rounds.advance(ack(20, 30, 0.3))
    assert rounds.settled is second


@pytest.mark.spec("RC-52")
def test_what_is_acknowledged_belongs_to_the_round_in_which_it_left() -> None:
    rounds = Rounds()
    first = rounds.current
    rounds.advance(ack(0, 10, 0.1))
    second = rounds.current
    rounds.advance(ack(10, 20, 0.2))
    assert rounds.of(0.05) is first
    assert rounds.of(0.1) is second
    assert rounds.of(0.19) is second
    assert rounds.of(0.25) is rounds.current


def full(delivered_bytes: int) -> Round:
    one = Round(0.0)
    one.is_full = True
    one.acked_bytes = one.sent_bytes = delivered_bytes
    return one


def quiet(n: int, n_lost: int, *, rtt_s: float = 0.1) -> Round:
    one = Round(0.0)
    one.sent_bytes, one.lost_bytes = n * SIZE, n_lost * SIZE
    one.acked_bytes = (n - n_lost) * SIZE
    one.rtts = [rtt_s]
    return one


def floor_after(*rounds: Round, now: float = 1.0) -> float:
    floor = LossFloor()
    for one in rounds:
        floor.take(one, SIZE, rtt_most_s=0.11, now=0.0)
    return floor.value(now)


HALF, ALL = FLOOR_PACKETS // 2, FLOOR_PACKETS


@pytest.mark.spec("RC-53")
def test_four_hundred_packets_of_quiet_rounds_make_a_floor() -> None:
    base = full(2 * ALL * SIZE)
    assert floor_after(base, quiet(HALF, 20)) == 0.0
    assert floor_after(base, quiet(HALF, 20), quiet(HALF, 0)) == pytest.approx(0.05)
    assert floor_after(base, quiet(ALL, 40), quiet(ALL, 20)) == pytest.approx(0.05)
    assert floor_after(base, quiet(ALL, 300)) == FLOOR_MAX


@pytest.mark.spec("RC-53")
def test_a_round_that_could_fill_a_queue_says_nothing() -> None:
    assert floor_after(full(ALL * SIZE), quiet(ALL, 40)) == 0.0, "it sent too much"
    assert floor_after(full(2 * ALL * SIZE), quiet(ALL, 40, rtt_s=0.12)) == 0.0, "it waited"
    assert floor_after(quiet(ALL, 40)) == 0.0, "nothing to compare with"


@pytest.mark.spec("RC-53")
def test_a_floor_is_forgotten() -> None:
    rounds = full(2 * ALL * SIZE), quiet(ALL, 40)
    assert floor_after(*rounds, now=15.0) == pytest.approx(0.1)
    assert floor_after(*rounds, now=15.1) == 0.0
