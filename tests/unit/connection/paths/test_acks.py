from __future__ import annotations

import pytest

from wraith.connection.paths.acks import ACK_RANGES_MAX, ANSWER_RANGES, AckState
from wraith.wire.frames import decode_frames, encode_frame


def test_one_packet_waits_for_the_delay_and_two_do_not() -> None:
    acks = AckState(0.025)
    acks.on_received([(0, 0, 0, True)], 1, 1.0)
    assert not acks.is_due and acks.deadline == 1.025
    acks.on_received([(0, 1, 1, True)], 1, 1.01)
    assert acks.is_due


@pytest.mark.spec("RC-20")
def test_a_gap_is_told_at_once() -> None:
    acks = AckState(0.025)
    acks.on_received([(0, 0, 0, True)], 1, 1.0)
    acks.on_sent()
    assert acks.on_received([(0, 2, 2, True)], 1, 1.0)
    assert acks.is_due


def test_packets_that_ask_for_nothing_are_never_acknowledged_alone() -> None:
    acks = AckState(0.025)
    acks.on_received([(0, 0, 5, False)], 0, 1.0)
    assert not acks.is_due and acks.deadline is None and not acks.has_pending


@pytest.mark.spec("RC-21")
def test_the_frame_holds_all_ranges_descending_and_the_delay() -> None:
    acks = AckState(0.025)
    acks.on_received([(3, 0, 4, True), (3, 7, 7, True), (3, 9, 10, True)], 8, 1.0)
    (frame,) = acks.frames(1.008)
    assert frame.ranges == ((9, 10), (7, 7), (0, 4))
    assert (frame.epoch, frame.largest) == (3, 10)
    assert frame.delay_us8 in (999, 1_000)
    assert decode_frames(encode_frame(frame)) == [frame]


@pytest.mark.spec("RC-22")
def test_each_live_epoch_has_its_own_frame() -> None:
    acks = AckState(0.025)
    acks.on_received([(1, 5, 6, True), (2, 0, 0, True)], 3, 1.0)
    assert [(f.epoch, f.largest) for f in acks.frames(1.0)] == [(2, 0), (1, 6)]
    acks.drop_epoch(1)
    assert [f.epoch for f in acks.frames(1.0)] == [2]
    acks.drop_epoch(2)
    assert not acks.has_pending and not acks.is_due


@pytest.mark.spec("RC-23")
def test_ranges_stay_bounded_under_endless_loss() -> None:
    acks = AckState(0.025)
    for pn in range(0, 10_000, 2):
        acks.on_received([(0, pn, pn, True)], 1, 1.0)
    (frame,) = acks.frames(1.0)
    assert len(frame.ranges) == ACK_RANGES_MAX + 1
    assert frame.ranges[0] == (9_998, 9_998)


@pytest.mark.spec("RC-23")
def test_old_gaps_are_told_until_the_peer_is_known_to_have_heard() -> None:
    acks = AckState(0.025)
    acks.on_received([(4, 0, 2, True), (4, 5, 9, True)], 8, 1.0)
    told = acks.on_told()
    assert len(told) == 1
    acks.on_sent()
    acks.on_received([(4, 12, 12, True)], 1, 1.1)
    assert acks.frames(1.1)[0].ranges == ((12, 12), (5, 9), (0, 2))
    acks.on_heard(told[0])
    assert acks.frames(1.1)[0].ranges == ((12, 12), (5, 9))
    # A packet that comes after all is told of, wherever it belongs.
    acks.on_received([(4, 3, 3, True)], 1, 1.2)
    assert acks.frames(1.2)[0].ranges == ((12, 12), (5, 9), (3, 3))


@pytest.mark.spec("RC-23")
def test_with_many_gaps_one_acknowledgement_at_a_time_asks_for_an_answer() -> None:
    acks = AckState(0.025)
    for pn in range(0, 2 * ANSWER_RANGES, 2):
        acks.on_received([(0, pn, pn, True)], 1, 1.0)
    assert not acks.wants_answer
    acks.on_received([(0, 99, 99, True)], 1, 1.0)
    assert acks.wants_answer
    (told,) = acks.on_told()
    assert not acks.wants_answer
    acks.on_told_lost()
    assert acks.wants_answer
    acks.on_told()
    acks.on_heard(told)
    assert not acks.wants_answer and acks.frames(1.0)[0].ranges == ((99, 99),)


def test_without_gaps_there_is_nothing_to_forget() -> None:
    acks = AckState(0.025)
    acks.on_received([(4, 0, 9, True)], 10, 1.0)
    assert acks.on_told() == []
    acks.on_received([(4, 11, 11, True)], 1, 1.0)
    (told,) = acks.on_told()
    acks.drop_epoch(4)
    acks.on_heard(told)  # the epoch has gone meanwhile
    assert acks.frames(1.0) == []


def test_sending_settles_everything() -> None:
    acks = AckState(0.025)
    acks.on_received([(0, 0, 9, True)], 10, 1.0)
    acks.on_sent()
    assert not acks.is_due and not acks.has_pending and acks.frames(2.0) == []


@pytest.mark.spec("RC-20")
def test_a_late_packet_that_fills_a_gap_is_told_at_once() -> None:
    acks = AckState(0.025)
    acks.on_received([(0, 0, 0, True), (0, 2, 2, True)], 2, 1.0)
    acks.on_sent()
    assert not acks.is_due
    assert acks.on_received([(0, 1, 1, True)], 1, 1.1), "it came late"
    assert acks.is_due, "the peer decides on a loss by it"


@pytest.mark.spec("RC-35")
@pytest.mark.parametrize(
    ("srtt_s", "delay_s"), [(0.0004, 0.001), (0.01, 0.005), (0.04, 0.02), (0.2, 0.025)]
)
def test_an_acknowledgement_waits_for_half_a_round_trip_at_most(
    srtt_s: float, delay_s: float
) -> None:
    acks = AckState(0.025)
    acks.set_rtt(srtt_s)
    acks.on_received([(0, 0, 0, True)], 1, 1.0)
    assert acks.deadline == pytest.approx(1.0 + delay_s)
    eager = AckState(0.0)
    eager.set_rtt(srtt_s)
    eager.on_received([(0, 0, 0, True)], 1, 1.0)
    assert eager.deadline == 1.0, "what the configuration allows is the most"
