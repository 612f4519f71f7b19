"""What was declared lost and comes after all: ledger, reordering window, undo."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.data.recovery import Recovery
from wraith.connection.data.sent import SentRun, SentSlice
from wraith.connection.paths.congestion import AckSample, Cubic, NewReno
from wraith.connection.paths.controllers import make_controller
from wraith.connection.paths.open_path import Path
from wraith.testing.established import EstablishedPair
from wraith.testing.one_path import one_path
from wraith.types import NetworkPath, Transmit

SIZE = 1200
RTT_S = 0.1


def new_recovery(controller: str = "cubic") -> tuple[Recovery, Path]:
    """With a round-trip time of 100 ms, and packet 0 sent and acknowledged."""
    recovery, path = Recovery(), one_path(make_controller(controller, SIZE))
    send(recovery, path, 0, 1, 0.0)
    recovery.on_ack(0, 0, [(0, 0)], 0.0, RTT_S)
    return recovery, path


def send(
    recovery: Recovery, path: Path, first_pn: int, n: int, time: float, *, epoch: int = 0
) -> None:
    recovery.on_sent(
        SentRun(
            path=path, epoch=epoch, first_pn=first_pn, n=n, time=time, datagram_bytes=SIZE,
            last_bytes=SIZE, sid=1, offset=first_pn * 1000, length=n * 1000, first_len=1000,
            per_len=1000, fin=False, lead=(), eliciting=True, in_flight=True,
        )
    )  # fmt: skip


def numbers(slices: list[SentSlice]) -> list[tuple[int, int]]:
    return [(s.run.first_pn + s.first, s.run.first_pn + s.last) for s in slices]


@pytest.mark.spec("RC-30")
def test_a_packet_that_was_declared_lost_and_comes_is_delivered_and_not_lost() -> None:
    recovery, path = new_recovery()
    send(recovery, path, 1, 10, 0.2)
    outcome = recovery.on_ack(0, 10, [(7, 10)], 0.0, 0.3)
    assert numbers(outcome.lost) == [(1, 6)]
    srtt, growing = path.rtt.srtt, path.controller.window
    outcome = recovery.on_ack(0, 10, [(7, 10), (3, 4)], 0.0, 0.301)
    assert numbers(outcome.late) == [(3, 4)]
    assert (outcome.acked, outcome.lost, outcome.sampled) == ([], [], None)
    assert recovery.lost_packets == 4
    assert path.bytes_in_flight == 0
    assert (path.rtt.srtt, path.controller.window) == (srtt, growing)
    assert numbers(recovery.on_ack(0, 10, [(2, 10)], 0.0, 0.302).late) == [(5, 6), (2, 2)]
    assert recovery.on_ack(0, 10, [(2, 10)], 0.0, 0.303).late == [], "told again is not late again"


@pytest.mark.spec("RC-30")
def test_lost_packets_are_forgotten_after_two_round_trips_and_a_probe_timeout() -> None:
    for wait_s, n_late in ((0.39, 1), (0.42, 0)):  # the probe timeout is longer here: 0.39 s
        recovery, path = new_recovery()
        send(recovery, path, 1, 10, 0.2)
        recovery.on_ack(0, 10, [(5, 10)], 0.0, 0.3)
        keep_s = max(2 * path.rtt.srtt, path.rtt.pto_s())
        assert 0.2 <= keep_s < 0.42
        wait_s = min(wait_s, keep_s - 0.001) if n_late else wait_s
        assert len(recovery.on_ack(0, 10, [(5, 10), (2, 2)], 0.0, 0.3 + wait_s).late) == n_late


@pytest.mark.spec("RC-30")
def test_at_most_4096_lost_ranges_are_remembered_and_the_oldest_go_first() -> None:
    recovery, path = new_recovery()
    n = 5_000
    for i in range(2 * n):
        send(recovery, path, 1 + i, 1, 0.2)
    recovery.on_ack(0, 2 * n, [(2 * k, 2 * k) for k in range(n, 0, -1)], 0.0, 0.3)
    assert recovery.lost_packets == n - 1  # each odd number but the newest
    late = recovery.on_ack(0, 2 * n, [(1, 2 * n)], 0.0, 0.301).late
    assert len(late) == 4_096
    assert min(numbers(late)) == (2 * (n - 1 - 4_096) + 1,) * 2


@pytest.mark.spec("RC-30")
@given(st.data())
def test_a_long_ledger_is_searched_for_exactly_what_is_acknowledged(data: st.DataObject) -> None:
    recovery, path = new_recovery()
    n = 60
    for i in range(2 * n):
        send(recovery, path, 1 + i, 1, 0.2)
    recovery.on_ack(0, 2 * n, [(2 * k, 2 * k) for k in range(n, 0, -1)], 0.0, 0.3)
    lost = set(range(1, 2 * n - 1, 2))
    for _ in range(3):
        bounds = sorted(data.draw(st.sets(st.integers(1, 2 * n), max_size=12)), reverse=True)
        ranges = [(low, high) for high, low in zip(bounds[::2], bounds[1::2], strict=False)]
        covered = {pn for low, high in ranges for pn in range(low, high + 1)}
        late = recovery.on_ack(0, 2 * n, ranges, 0.0, 0.301).late if ranges else []
        assert {pn for low, high in numbers(late) for pn in range(low, high + 1)} == covered & lost
        lost -= covered


@pytest.mark.spec("RC-31")
def test_the_window_in_packets_grows_to_the_distance_seen() -> None:
    recovery, path = new_recovery()
    send(recovery, path, 1, 100, 0.2)
    assert numbers(recovery.on_ack(0, 20, [(2, 20)], 0.0, 0.3).lost) == [(1, 1)]
    recovery.on_ack(0, 20, [(1, 20)], 0.0, 0.3)  # 19 behind the newest
    outcome = recovery.on_ack(0, 40, [(22, 40), (1, 20)], 0.0, 0.3)
    assert outcome.lost == [], "19 behind is not lost any more"
    outcome = recovery.on_ack(0, 41, [(22, 41), (1, 20)], 0.0, 0.3)
    assert numbers(outcome.lost) == [(21, 21)], "but 20 is"


@pytest.mark.spec("RC-31")
@pytest.mark.parametrize(("late_s", "share"), [(0.11, 1 / 8), (0.15, 0.5), (0.24, 1.0)])
def test_the_window_in_time_grows_to_the_delay_seen_and_to_one_round_trip(
    late_s: float, share: float
) -> None:
    recovery, path = new_recovery()
    send(recovery, path, 1, 10, 1.0)
    recovery.on_ack(0, 10, [(2, 10)], 0.0, 1.0 + RTT_S)
    recovery.on_ack(0, 10, [(1, 10)], 0.0, 1.0 + late_s)
    send(recovery, path, 11, 2, 2.0)
    assert recovery.on_ack(0, 12, [(12, 12)], 0.0, 2.0 + RTT_S).lost == []
    due = path.timer()
    assert due == pytest.approx(2.0 + (1 + share) * RTT_S, abs=0.001)


def one_round(recovery: Recovery, path: Path, pn: int, now: float) -> None:
    send(recovery, path, pn, 1, now)
    recovery.on_ack(0, pn, [(pn, pn)], 0.0, now + RTT_S)


@pytest.mark.spec("RC-32")
def test_the_window_falls_by_a_sixteenth_in_sixteen_quiet_round_trips() -> None:
    recovery, path = new_recovery()
    send(recovery, path, 1, 65, 0.2)
    recovery.on_ack(0, 65, [(2, 65)], 0.0, 0.3)
    recovery.on_ack(0, 65, [(1, 65)], 0.0, 0.5)
    window = path.reordering
    assert (window.packets, window.time_share) == (65, 1.0)
    pn, now = 66, 1.0
    seen = []
    for _ in range(16 * 100):
        one_round(recovery, path, pn, now)
        pn, now = pn + 1, now + 1.0
        seen.append(window.packets)
        assert window.packets >= 3 and window.time_share >= 1 / 8
    assert seen[:15] == [65] * 15 and seen[15:31] == [61] * 16
    assert seen[-1] == 3, "and in the end it is what it was"
    assert window.time_share == 1 / 8


@pytest.mark.spec("RC-32")
def test_while_the_window_in_time_falls_the_one_in_packets_stays_at_three() -> None:
    recovery, path = new_recovery()
    send(recovery, path, 1, 6, 0.2)
    recovery.on_ack(0, 6, [(2, 6)], 0.0, 0.3)
    recovery.on_ack(0, 6, [(1, 6)], 0.0, 0.5)
    for i in range(16 * 20):
        one_round(recovery, path, 7 + i, 1.0 + i)
    assert path.reordering.time_share > 1 / 8
    assert path.reordering.packets == 3


@pytest.mark.spec("RC-32")
def test_a_late_packet_keeps_the_window_up() -> None:
    recovery, path = new_recovery()
    pn, now = 1, 1.0
    for n in range(70, 110, 2):
        send(recovery, path, pn, n, now)
        recovery.on_ack(0, pn + n - 1, [(pn + 1, pn + n - 1)], 0.0, now + RTT_S)
        recovery.on_ack(0, pn + n - 1, [(pn, pn + n - 1)], 0.0, now + RTT_S)
        pn, now = pn + n, now + 1.0
        for _ in range(10):
            one_round(recovery, path, pn, now)
            pn, now = pn + 1, now + 1.0
            assert path.reordering.packets == n


@pytest.mark.spec("RC-33")
@pytest.mark.parametrize("controller", ["cubic", "newreno"])
def test_a_reduction_that_answered_only_late_packets_is_undone(controller: str) -> None:
    recovery, path = new_recovery(controller)
    before = path.controller.window
    send(recovery, path, 1, 12, 0.2)
    recovery.on_ack(0, 8, [(5, 8)], 0.0, 0.3)
    recovery.on_ack(0, 12, [(10, 12), (5, 8)], 0.0, 0.3)  # one more loss of the same round trip
    assert path.controller.window < before
    assert not path.controller.in_slow_start
    recovery.on_ack(0, 12, [(10, 12), (1, 8)], 0.0, 0.31)
    assert path.controller.window < before, "number 9 may still be lost"
    recovery.on_ack(0, 12, [(1, 12)], 0.0, 0.32)
    assert path.controller.window >= before
    assert path.controller.in_slow_start


@pytest.mark.spec("RC-33")
def test_a_reduction_stands_when_one_packet_was_lost() -> None:
    recovery, path = new_recovery()
    before = path.controller.window
    send(recovery, path, 1, 12, 0.2)
    recovery.on_ack(0, 12, [(5, 12)], 0.0, 0.3)
    recovery.on_ack(0, 12, [(5, 12), (1, 3)], 0.0, 0.31)
    assert path.controller.window < before
    assert recovery.lost_packets == 1


@pytest.mark.spec("RC-33")
def test_a_collapse_for_late_packets_is_undone_too() -> None:
    recovery, path = new_recovery()
    before = path.controller.window
    for i in range(1, 30):
        send(recovery, path, i, 1, 0.2 + i * 0.1)
    recovery.on_ack(0, 29, [(29, 29)], 0.0, 3.3)
    assert path.controller.window < 4 * SIZE, "nothing came through for three timeouts"
    recovery.on_ack(0, 29, [(1, 29)], 0.0, 3.31)
    assert path.controller.window >= before


@pytest.mark.spec("RC-33")
def test_only_the_last_reduction_is_undone() -> None:
    recovery, path = new_recovery()
    send(recovery, path, 1, 12, 0.2)
    recovery.on_ack(0, 12, [(5, 12)], 0.0, 0.3)
    send(recovery, path, 13, 12, 0.31)
    recovery.on_ack(0, 24, [(17, 24)], 0.0, 0.41)
    twice = path.controller.window
    recovery.on_ack(0, 24, [(17, 24), (1, 4)], 0.0, 0.42)
    assert path.controller.window == twice


def grown(controller: Cubic | NewReno) -> Cubic | NewReno:
    """In congestion avoidance, some way along the curve."""
    controller.on_ack(AckSample(200 * SIZE, 0.9, 1, 10, 0.05, 0.05, False, 1.0))
    controller.on_loss(SIZE, 1.0, 1.1, 0)
    for i in range(40):
        now = 1.2 + i * 0.05
        n_bytes = controller.window
        controller.on_ack(AckSample(n_bytes, now - 0.05, 1, 10, 0.05, 0.05, False, now))
    return controller


@pytest.mark.spec("RC-33")
@pytest.mark.parametrize("kind", [Cubic, NewReno])
def test_after_an_undone_reduction_the_curve_goes_on_as_if_nothing_had_been(
    kind: type[Cubic] | type[NewReno],
) -> None:
    disturbed, quiet = grown(kind(SIZE)), grown(kind(SIZE))
    assert disturbed.on_loss(SIZE, 3.2, 3.25, 0)
    assert disturbed.window < quiet.window
    disturbed.on_spurious()
    for i in range(40):
        now = 3.3 + i * 0.05
        sample = AckSample(50 * SIZE, now - 0.05, 1, 10, 0.05, 0.05, False, now)
        disturbed.on_ack(sample)
        quiet.on_ack(sample)
        assert disturbed.window == quiet.window
    assert disturbed.on_loss(SIZE, 3.2, 5.4, 0) == quiet.on_loss(SIZE, 3.2, 5.4, 0)


@pytest.mark.spec("RC-33")
@pytest.mark.parametrize("kind", [Cubic, NewReno])
def test_a_window_that_has_outgrown_the_reduction_stays(kind: type[Cubic] | type[NewReno]) -> None:
    controller = grown(kind(SIZE))
    before = controller.window
    controller.on_loss(SIZE, 3.2, 3.25, 0)
    now = 3.3
    while controller.window <= before:
        now += 0.05
        sample = AckSample(controller.window, now - 0.01, 1, 10, 0.05, 0.05, False, now)
        controller.on_ack(sample)
    larger = controller.window
    controller.on_spurious()
    assert controller.window == larger


@pytest.mark.spec("RC-34")
def test_a_new_path_and_new_keys_begin_without_memory() -> None:
    recovery, path = new_recovery()
    send(recovery, path, 1, 40, 0.2)
    recovery.on_ack(0, 40, [(35, 40)], 0.0, 0.3)
    recovery.on_ack(0, 40, [(35, 40), (1, 1)], 0.0, 0.31)
    assert path.reordering.packets == 40
    path, left = one_path(make_controller("cubic", SIZE)), path
    assert recovery.leave(left, path, 0.31) == []
    assert path.reordering.packets == 3
    assert recovery.on_ack(0, 40, [(1, 40)], 0.0, 0.311).late == []
    recovery, path = new_recovery()
    send(recovery, path, 1, 10, 0.2)
    recovery.on_ack(0, 10, [(5, 10)], 0.0, 0.3)
    recovery.forget_epoch(0)
    send(recovery, path, 1, 10, 0.301)
    assert recovery.on_ack(0, 10, [(1, 10)], 0.0, 0.31).late == []


@pytest.mark.spec("RC-30")
def test_what_a_late_packet_carried_is_not_sent_again() -> None:
    pair = EstablishedPair()
    sender, receiver = pair.i.connection, pair.r.connection
    sid = sender.open_stream(now=0.0)
    sender.stream_write(sid, bytes(8_000), fin=True, now=0.0)
    sent = split(sender.datagrams_to_send(0.0))
    assert len(sent) >= 6
    for datagram in sent[1:]:
        feed(receiver, datagram, pair, 0.01, is_back=False)
    pair.r.service(0.01)
    for datagram in split(receiver.datagrams_to_send(0.01)):
        feed(sender, datagram, pair, 0.02, is_back=True)
    assert sender.stats().lost_packets >= 1, "it has been given up"
    feed(receiver, sent[0], pair, 0.021, is_back=False)
    for datagram in split(receiver.datagrams_to_send(0.021)):
        feed(sender, datagram, pair, 0.03, is_back=True)
    sender.datagrams_to_send(0.03)
    assert sender.stats().retransmitted_bytes == 0
    assert sender.stats().lost_packets == 0


def split(transmits: list[Transmit]) -> list[bytes]:
    return [
        bytes(transmit.data[at : at + transmit.segment_bytes])
        for transmit in transmits
        for at in range(0, len(transmit.data), transmit.segment_bytes)
    ]


def feed(
    connection: object, datagram: bytes, pair: EstablishedPair, now: float, *, is_back: bool
) -> None:
    a, b = pair.i.address, pair.r.address
    path = NetworkPath(a, b) if is_back else NetworkPath(b, a)
    connection.receive_datagrams(datagram, len(datagram), path, now)  # type: ignore[attr-defined]


@pytest.mark.spec("RC-30")
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    acks=st.lists(
        st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5)), min_size=1, max_size=4),
        max_size=20,
    ),
)
def test_each_packet_is_acknowledged_once_or_late_once(
    sizes: list[int], acks: list[list[tuple[int, int]]]
) -> None:
    """Against a model with one entry per packet: outstanding, lost, or over."""
    recovery, path = new_recovery()
    state: dict[int, str] = {}
    pn = 1
    for i, n in enumerate(sizes):
        send(recovery, path, pn, n, 1 + i * 0.001)
        state |= dict.fromkeys(range(pn, pn + n), "outstanding")
        pn += n
    for step, spans in enumerate(acks):
        covered = {1 + (a + k) % (pn - 1) for a, n in spans for k in range(n + 1)}
        ranges: list[tuple[int, int]] = []
        for number in sorted(covered, reverse=True):
            if ranges and ranges[-1][0] == number + 1:
                ranges[-1] = (number, ranges[-1][1])
            else:
                ranges.append((number, number))
        outcome = recovery.on_ack(0, max(covered), ranges, 0.0, 1.05 + step * 0.0001)
        acked = [p for low, high in numbers(outcome.acked) for p in range(low, high + 1)]
        late = [p for low, high in numbers(outcome.late) for p in range(low, high + 1)]
        assert sorted(acked) == sorted(p for p in covered if state[p] == "outstanding")
        assert sorted(late) == sorted(p for p in covered if state[p] == "lost")
        state |= dict.fromkeys([*acked, *late], "over")
        for low, high in numbers(outcome.lost):
            for number in range(low, high + 1):
                assert state[number] == "outstanding"
                state[number] = "lost"
        assert recovery.lost_packets == sum(s == "lost" for s in state.values())
        assert path.n_eliciting == sum(s == "outstanding" for s in state.values())
