"""Loss detection by runs (RFC 9002), against small hand-made histories and a per-packet model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.data.recovery import Recovery
from wraith.connection.data.sent import SentRun, SentSlice
from wraith.connection.paths.congestion import AckSample, Cubic
from wraith.connection.paths.controllers import make_controller
from wraith.connection.paths.open_path import PTO_MAX_S, TCP, Path
from wraith.errors import RemoteProtocolError
from wraith.testing.one_path import one_path


def new_recovery(name: str = "newreno") -> tuple[Recovery, Path]:
    return Recovery(), one_path(make_controller(name, 1200))


def run(
    path: Path,
    first_pn: int,
    n: int,
    time: float,
    *,
    epoch: int = 0,
    eliciting: bool = True,
    probe: bool = False,
) -> SentRun:
    return SentRun(
        path=path,
        epoch=epoch,
        first_pn=first_pn,
        n=n,
        time=time,
        datagram_bytes=1200,
        last_bytes=700,
        sid=1,
        offset=first_pn * 1000,
        length=(n - 1) * 1000 + 500,
        first_len=1000 if n > 1 else 500,
        per_len=1000,
        fin=False,
        lead=("token",),
        eliciting=eliciting,
        in_flight=eliciting,
        mtu_probe=probe,
    )


def shape(slices: list[SentSlice]) -> list[tuple[int, int]]:
    return [(s.run.first_pn + s.first, s.run.first_pn + s.last) for s in slices]


@pytest.mark.spec("RC-1")
def test_a_packet_is_lost_when_three_later_ones_are_acknowledged() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 10, 0.0))
    outcome = recovery.on_ack(0, 9, [(4, 9)], 0.0, 0.1)
    assert shape(outcome.acked) == [(4, 9)]
    assert shape(outcome.lost) == [(0, 3)]
    assert path.bytes_in_flight == 0
    assert recovery.lost_packets == 4


@pytest.mark.spec("RC-1")
def test_a_gap_of_two_is_not_yet_lost_but_sets_the_loss_timer() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 4, 0.0))
    outcome = recovery.on_ack(0, 3, [(2, 3)], 0.0, 0.1)
    assert shape(outcome.lost) == [(0, 0)]  # three behind the newest
    due = path.timer()
    assert due is not None
    assert due == pytest.approx(0.1 * 9 / 8)
    assert recovery.on_timer(path, due - 0.001) == ([], False)
    assert shape(recovery.on_timer(path, due).lost) == [(1, 1)]


@pytest.mark.spec("RC-2")
def test_the_order_across_epochs_is_that_of_sending() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 500, 2, 0.0, epoch=0))
    recovery.on_sent(run(path, 0, 3, 0.01, epoch=1))
    outcome = recovery.on_ack(1, 2, [(0, 2)], 0.0, 0.05)
    assert shape(outcome.lost) == [(500, 501)][:1]  # counters 0 and 1 against 4: 0 and 1 are <= 1
    assert path.n_eliciting == 0


def test_the_first_sample_sets_srtt_and_later_ones_smooth_it() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 1, 0.0))
    assert recovery.on_ack(0, 0, [(0, 0)], 0.0, 0.1).sampled
    assert [path.rtt.srtt, path.rtt.rttvar] == pytest.approx([0.1, 0.05])
    recovery.on_sent(run(path, 1, 1, 1.0))
    recovery.on_ack(0, 1, [(1, 1)], 0.02, 1.14)  # 140 ms, 20 of them the peer's delay
    assert path.rtt.srtt == pytest.approx(0.875 * 0.1 + 0.125 * 0.12)
    assert path.rtt.min_rtt == pytest.approx(0.1)


def test_an_acknowledgement_that_does_not_cover_its_largest_gives_no_sample() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 2, 0.0))
    recovery.on_ack(0, 1, [(1, 1)], 0.0, 0.1)
    assert not recovery.on_ack(0, 1, [(0, 1)], 0.0, 5.0).sampled
    assert path.rtt.srtt == pytest.approx(0.1)


@pytest.mark.spec("RC-3")
def test_a_number_never_sent_cannot_be_acknowledged() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 3, 0.0))
    with pytest.raises(RemoteProtocolError):
        recovery.on_ack(0, 3, [(0, 3)], 0.0, 0.1)
    assert path.n_eliciting == 3


@pytest.mark.spec("RC-4")
def test_probe_timeouts_double_up_to_the_cap() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 1, 0.0))
    waits = []
    now = 0.0
    for _ in range(8):
        due = path.timer()
        assert due is not None
        waits.append(due - now)
        assert recovery.on_timer(path, due).pto
        now = due
    # srtt 0.333 and rttvar half of it before any sample, and the peer's delay
    assert waits[0] == pytest.approx(0.333 + 4 * 0.1665 + 0.025)
    assert waits[1:3] == pytest.approx([2 * waits[0], 4 * waits[0]])
    assert waits[-1] == PTO_MAX_S == 5.0
    assert path.bytes_in_flight == 700, "a probe timeout is no loss"


def test_what_a_probe_repeats_is_the_oldest_and_stays_outstanding() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 4, 0.0))
    recovery.on_sent(run(path, 4, 4, 0.1))
    oldest = recovery.oldest(path, 2)
    assert oldest is not None
    assert oldest.stream_range() == (1, 0, 2000, False)
    assert path.n_eliciting == 8


@pytest.mark.spec("RC-5")
def test_a_lost_mtu_probe_is_no_congestion_signal() -> None:
    recovery, path = new_recovery()
    window = path.controller.window
    recovery.on_sent(run(path, 0, 1, 0.0, probe=True))
    recovery.on_sent(run(path, 1, 4, 0.0))
    outcome = recovery.on_ack(0, 4, [(1, 4)], 0.0, 0.1)
    assert shape(outcome.lost) == [(0, 0)]
    assert path.controller.window >= window
    assert recovery.lost_packets == 0


@pytest.mark.spec("RC-6")
def test_forgetting_an_epoch_returns_its_data_without_a_congestion_signal() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 5, 0.0, epoch=0))
    recovery.on_sent(run(path, 0, 2, 0.0, epoch=1))
    window = path.controller.window
    assert shape(recovery.forget_epoch(0)) == [(0, 4)]
    assert path.controller.window == window
    assert path.bytes_in_flight == 1200 + 700


@pytest.mark.spec("RC-7")
def test_persistent_congestion_collapses_the_window() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 1, 0.0))
    recovery.on_ack(0, 0, [(0, 0)], 0.0, 0.01)
    for i in range(1, 30):
        recovery.on_sent(run(path, i, 1, 0.02 + i * 0.05))
    recovery.on_ack(0, 29, [(29, 29)], 0.0, 1.6)
    assert path.controller.window == 2 * 1200 + 700, "and slow start begins with what came"


@pytest.mark.spec("RC-7")
@pytest.mark.parametrize("heard", ["nothing between", "two between", "no sample before"])
def test_congestion_persists_only_when_nothing_came_through_for_three_timeouts(heard: str) -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 1, 0.0))
    if heard != "no sample before":
        recovery.on_ack(0, 0, [(0, 0)], 0.0, 0.01)
    for i in range(1, 30):
        recovery.on_sent(run(path, i, 1, 0.02 + i * 0.0125))
    window = path.controller.window
    if heard == "two between":
        recovery.on_ack(0, 29, [(29, 29), (20, 20), (10, 10)], 0.0, 0.3925)
    else:
        recovery.on_ack(0, 29, [(29, 29)], 0.0, 0.3925)
    has_collapsed = path.controller.window < 5_000  # two datagrams and what was acknowledged
    assert has_collapsed == (heard == "nothing between")
    assert path.controller.window < window, "but it is a loss in any case"


@pytest.mark.spec("RC-12")
@pytest.mark.parametrize("name", ["cubic", "newreno"])
@pytest.mark.parametrize("in_slow_start", [True, False])
def test_a_window_that_is_not_used_does_not_grow(name: str, in_slow_start: bool) -> None:
    recovery, path = new_recovery(name)
    pn, now = 0, 0.0
    if not in_slow_start:
        for i in range(30):
            recovery.on_sent(run(path, i, 1, 0.0))
        recovery.on_ack(0, 29, [(10, 29)], 0.0, 0.1)
        pn, now = 30, 0.2
    assert path.controller.in_slow_start == in_slow_start
    for _ in range(100):  # flow control, say, lets four datagrams go per round trip
        recovery.on_sent(run(path, pn, 4, now))
        recovery.on_ack(0, pn + 3, [(pn, pn + 3)], 0.0, now + 0.1)
        pn, now = pn + 4, now + 0.1
    unused = path.controller.window
    assert unused <= 12_000
    for _ in range(100):
        first = pn
        while not path.is_window_full(1200):
            recovery.on_sent(run(path, pn, 1, now))
            pn += 1
        recovery.on_ack(0, pn - 1, [(first, pn - 1)], 0.0, now + 0.1)
        now += 0.1
        if path.controller.window > unused + 12_000:
            break
    else:
        pytest.fail("a window that is used grows")


@pytest.mark.spec("RC-12")
def test_all_that_was_in_flight_while_the_window_was_full_counts() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 5, 0.0))
    recovery.on_sent(run(path, 5, 6, 0.0))
    for pn in range(11):  # one acknowledgement each, and nothing more to send
        window = path.controller.window
        recovery.on_ack(0, pn, [(0, pn)], 0.0, 0.1)
        assert path.controller.window > window


@pytest.mark.spec("RC-38")
def test_a_large_window_is_not_filled_by_single_datagrams() -> None:
    _, path = new_recovery()
    path.controller.window = 800_000
    path.bytes_in_flight = 800_000 - 65_536
    assert not path.is_window_full(1200)
    path.bytes_in_flight += 1
    assert path.is_window_full(1200)
    path.controller.window, path.bytes_in_flight = 9_600, 8_400
    assert not path.is_window_full(1200) and path.is_window_full(1201)


def test_non_eliciting_runs_cost_nothing_and_are_never_lost() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 1, 0.0, eliciting=False))
    assert path.timer() is None
    recovery.on_sent(run(path, 1, 1, 0.0))
    assert shape(recovery.on_ack(0, 1, [(0, 1)], 0.0, 0.1).acked) == [(1, 1)]


def test_stream_ranges_of_slices_tile_the_run() -> None:
    whole = run(one_path(make_controller("cubic", 1200)), 7, 5, 0.0)
    pieces = [SentSlice(whole, k, k).stream_range() for k in range(5)]
    assert [p[2] for p in pieces] == [1000, 1000, 1000, 1000, 500]
    assert [p[1] for p in pieces] == [7000, 8000, 9000, 10000, 11000]
    assert SentSlice(whole, 1, 3).stream_range() == (1, 8000, 3000, False)
    assert SentSlice(whole, 0, 4).n_bytes == 4 * 1200 + 700


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    acks=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=20),
)
def test_the_ledger_equals_a_model_with_one_entry_per_packet(
    sizes: list[int], acks: list[tuple[int, int]]
) -> None:
    """Each packet is outstanding, acknowledged or lost; bytes in flight are those outstanding."""
    recovery, path = new_recovery()
    outstanding: dict[int, int] = {}
    pn = 0
    for i, n in enumerate(sizes):
        recovery.on_sent(run(path, pn, n, i * 0.001))
        for k in range(n):
            outstanding[pn + k] = 1200 if k < n - 1 else 700
        pn += n
    for step, (a, b) in enumerate(acks):
        first, last = sorted((a % pn, b % pn))
        outcome = recovery.on_ack(0, last, [(first, last)], 0.0, 0.02 + step * 0.0001)
        for low, high in shape(outcome.acked):
            for number in range(low, high + 1):
                assert first <= number <= last
                del outstanding[number]
        for low, high in shape(outcome.lost):
            for number in range(low, high + 1):
                del outstanding[number]
        assert not any(first <= number <= last for number in outstanding)
        assert path.bytes_in_flight == sum(outstanding.values())
        assert path.n_eliciting == len(outstanding)


@pytest.mark.spec("RC-36")
@pytest.mark.parametrize("is_new", [True, False], ids=["host", "port"])
def test_what_was_sent_to_where_the_peer_is_no_longer_goes_back_without_a_signal(
    is_new: bool,
) -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 10, 0.0))
    recovery.on_ack(0, 0, [(0, 0)], 0.0, 0.05)
    recovery.on_sent(run(path, 10, 3, 0.06, probe=True))
    window, srtt = path.controller.window, path.rtt.srtt
    left, path = path, one_path(make_controller("newreno", 1200)) if is_new else path
    assert shape(recovery.leave(left, path, 0.1)) == [(1, 9), (10, 12)], "all of it, at once"
    assert left.bytes_in_flight == left.n_eliciting == 0 and left.room() == window
    assert left.timer() is None and recovery.lost_packets == 0
    recovery.on_sent(run(path, 13, 5, 0.1))
    window, srtt = path.controller.window, path.rtt.srtt
    outcome = recovery.on_ack(0, 9, [(4, 9)], 0.0, 0.12)
    assert (outcome.acked, outcome.lost, shape(outcome.late)) == ([], [], [(4, 9)])
    assert outcome.sampled is None and path.rtt.srtt == srtt
    assert path.controller.window == window and path.reordering.packets == 3
    assert recovery.lost_packets == 0
    outcome = recovery.on_ack(0, 17, [(13, 17)], 0.0, 0.15)
    assert shape(outcome.acked) == [(13, 17)] and outcome.lost == []
    assert path.rtt.latest_rtt == pytest.approx(0.05)
    assert path.controller.window >= window
    assert path.bytes_in_flight == path.n_eliciting == 0


@pytest.mark.spec("RC-36")
def test_probe_timeouts_of_the_left_path_do_not_slow_the_new_one() -> None:
    recovery, path = new_recovery()
    recovery.on_sent(run(path, 0, 4, 0.0))
    while path.pto_count < 3:
        due = path.timer()
        assert due is not None
        recovery.on_timer(path, due)
    recovery.leave(path, path, 9.0)
    recovery.on_sent(run(path, 4, 1, 9.0))
    assert path.timer() == pytest.approx(9.0 + path.rtt.pto_s())


@pytest.mark.spec("RC-39")
def test_packets_of_one_path_say_nothing_of_those_of_another() -> None:
    recovery, slow = new_recovery()
    fast = one_path(make_controller("cubic", 1200))
    recovery.on_sent(run(slow, 0, 4, 0.0))
    recovery.on_sent(run(fast, 4, 8, 0.0))
    before = slow.controller.window
    outcome = recovery.on_ack(0, 11, [(4, 11)], 0.0, 0.02)
    assert shape(outcome.acked) == [(4, 11)] and outcome.lost == []
    assert outcome.sampled is fast and fast.rtt.latest_rtt == pytest.approx(0.02)
    assert slow.rtt.latest_rtt == 0 and slow.controller.window == before
    assert (slow.n_eliciting, fast.n_eliciting) == (4, 0)
    assert (slow.bytes_in_flight, fast.bytes_in_flight) == (3 * 1200 + 700, 0)
    assert slow.timer() is not None and fast.timer() is None
    recovery.on_sent(run(fast, 12, 6, 0.03))
    outcome = recovery.on_ack(0, 17, [(17, 17), (0, 0)], 0.0, 0.05)
    assert shape(outcome.lost) == [(12, 14)], "by the counter of their path alone"
    assert fast.controller.window < before + 8 * 1200 and slow.controller.window >= before
    oldest = recovery.oldest(slow, 2)
    assert oldest is not None and shape([oldest]) == [(1, 2)]


@pytest.mark.spec("RC-39")
def test_what_was_lost_on_two_paths_is_found_in_the_order_of_numbers() -> None:
    recovery, first = new_recovery()
    second = one_path(make_controller("newreno", 1200))
    recovery.on_sent(run(first, 0, 6, 0.0))
    recovery.on_sent(run(second, 6, 6, 0.0))
    assert shape(recovery.on_ack(0, 11, [(11, 11)], 0.0, 0.1).lost) == [(6, 8)]
    assert shape(recovery.on_ack(0, 11, [(11, 11), (5, 5)], 0.0, 0.11).lost) == [(0, 2)]
    outcome = recovery.on_ack(0, 11, [(11, 11), (7, 8), (5, 5), (1, 1)], 0.0, 0.12)
    assert sorted(shape(outcome.late)) == [(1, 1), (7, 8)]
    assert recovery.lost_packets == 3
    assert (first.reordering.packets, second.reordering.packets) == (5, 5)


@pytest.mark.spec("RC-39")
def test_what_another_path_sent_before_hides_no_loss() -> None:
    """The counters of the other path are beyond what was acknowledged on this one."""
    recovery, other = new_recovery()
    path = one_path(make_controller("newreno", 1200))
    recovery.on_sent(run(other, 0, 10, 0.0))
    recovery.on_sent(run(other, 10, 10, 0.0))
    recovery.on_sent(run(path, 20, 6, 0.0))
    outcome = recovery.on_ack(0, 25, [(25, 25)], 0.0, 0.1)
    assert shape(outcome.lost) == [(20, 22)]
    assert outcome.lost[0].run.path is path and other.n_eliciting == 20


def link() -> tuple[Recovery, Path]:
    return Recovery(), one_path(make_controller("cubic", 1200), traits=TCP)


@pytest.mark.spec("RC-41")
def test_silence_on_a_link_is_no_loss_but_a_question_every_two_seconds() -> None:
    recovery, path = link()
    recovery.on_sent(run(path, 0, 10, 1.0))
    assert path.timer() == 3.0
    assert recovery.on_timer(path, 2.9) == ([], False)
    assert recovery.on_timer(path, 3.0) == ([], True) and path.timer() == 5.0
    recovery.on_sent(run(path, 10, 1, 3.1))
    outcome = recovery.on_ack(0, 10, [(10, 10)], 0.0, 3.2)
    assert path.pto_count == 0 and path.n_eliciting == 10
    assert outcome.lost == [], "below the lowest range the peer may have forgotten what it has"
    assert path.timer() == 5.2
    assert shape(recovery.on_ack(0, 9, [(0, 9)], 0.0, 9.0).acked) == [(0, 9)]
    assert path.timer() is None


@pytest.mark.spec("RC-42")
def test_what_a_link_has_delivered_and_nobody_has_opened_is_gone_at_once() -> None:
    recovery, path = link()
    recovery.on_sent(run(path, 0, 10, 0.0))
    other = one_path(make_controller("cubic", 1200))
    recovery.on_sent(run(other, 10, 10, 0.0))
    recovery.on_sent(run(path, 20, 10, 0.0))
    window = path.controller.window
    outcome = recovery.on_ack(0, 25, [(24, 25), (8, 21), (1, 3)], 0.0, 0.05)
    assert shape(outcome.lost) == [(4, 7), (22, 23)]
    assert path.controller.window == window and path.n_eliciting == 1 + 4
    assert other.n_eliciting == 0


class Listening(Cubic):
    """Keeps what a controller is told, and asks for a rate of its own."""

    __slots__ = ("acks", "sent")

    pacing_rate: float | None = 123_000.0

    def __init__(self) -> None:
        super().__init__(1200)
        self.window = 1 << 30
        self.acks: list[AckSample] = []
        self.sent: list[tuple[int, int, float]] = []

    def on_sent(self, n_bytes: int, in_flight: int, now: float) -> None:
        self.sent.append((n_bytes, in_flight, now))

    def on_ack(self, ack: AckSample) -> None:
        self.acks.append(ack)


@pytest.mark.spec("RC-40")
def test_a_controller_hears_the_rate_of_delivery() -> None:
    """Ten datagrams every 10 ms over 100 ms: 1,150,000 bytes a second, however they are heard."""
    controller = Listening()
    recovery, path = Recovery(), one_path(controller)
    for i in range(40):
        recovery.on_sent(run(path, 10 * i, 10, i * 0.01))
        if i >= 10:
            recovery.on_ack(0, 10 * (i - 10) + 9, [(0, 10 * (i - 10) + 9)], 0.0, i * 0.01)
    rates = [ack.delivered_bytes / ack.interval_s for ack in controller.acks if ack.interval_s]
    assert len(rates) >= 29
    assert rates[-15:] == pytest.approx([1_150_000.0] * 15)
    # What was held back comes at once: the time to send it bounds the rate.
    recovery.on_ack(0, 399, [(0, 399)], 0.0, 0.4901)
    last = controller.acks[-1]
    assert last.delivered_bytes / last.interval_s == pytest.approx(1_150_000.0, rel=0.1)


@pytest.mark.spec("RC-40")
def test_time_without_anything_in_flight_is_no_delivery_time() -> None:
    controller = Listening()
    recovery, path = Recovery(), one_path(controller)
    recovery.on_sent(run(path, 0, 1, 0.0))
    recovery.on_ack(0, 0, [(0, 0)], 0.0, 0.1)
    recovery.on_sent(run(path, 1, 1, 50.0))
    recovery.on_ack(0, 1, [(1, 1)], 0.0, 50.1)
    assert controller.acks[-1].interval_s == pytest.approx(0.1)
    assert controller.acks[-1].delivered_bytes == 700


@pytest.mark.spec("RC-40")
def test_acknowledgements_that_come_together_do_not_raise_the_rate() -> None:
    controller = Listening()
    recovery, path = Recovery(), one_path(controller)
    recovery.on_sent(run(path, 0, 1, 0.0))
    recovery.on_sent(run(path, 1, 1, 0.5))
    recovery.on_ack(0, 0, [(0, 0)], 0.0, 1.0)
    recovery.on_sent(run(path, 2, 1, 1.0))
    recovery.on_ack(0, 2, [(0, 2)], 0.0, 1.1)
    assert controller.acks[-1].delivered_bytes == 1_400
    assert controller.acks[-1].interval_s == pytest.approx(1.0), "so long it took to send them"


def test_a_controller_hears_what_is_sent_and_may_set_the_pace() -> None:
    controller = Listening()
    recovery, path = Recovery(), one_path(controller)
    recovery.on_sent(run(path, 0, 2, 0.5))
    recovery.on_sent(run(path, 2, 1, 0.6, eliciting=False))
    recovery.on_sent(run(path, 3, 1, 0.7))
    assert controller.sent == [(1_900, 1_900, 0.5), (700, 2_600, 0.7)]
    assert path.pacer.rate == 123_000.0


@pytest.mark.spec("WF-17")
def test_slices_of_a_run_of_different_sizes_have_those_sizes() -> None:
    path = one_path(make_controller("cubic", 1200))
    sent = SentRun(
        path=path, epoch=0, first_pn=0, n=3, time=0.0, datagram_bytes=900, last_bytes=40,
        ends=(300, 1_200, 1_240), eliciting=True, in_flight=True,
    )  # fmt: skip
    assert [SentSlice(sent, k, k).n_bytes for k in range(3)] == [300, 900, 40]
    assert SentSlice(sent, 1, 2).n_bytes == 940
    recovery = Recovery()
    recovery.on_sent(sent)
    assert path.bytes_in_flight == 1_240
    recovery.on_ack(0, 1, [(1, 1)], 0.0, 0.1)
    assert path.bytes_in_flight == 340
