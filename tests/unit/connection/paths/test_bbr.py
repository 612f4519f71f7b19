"""BBR with its loss floor, alone and beside others, on a bottleneck in virtual time."""

from __future__ import annotations

import math

import pytest

from wraith.connection.paths.bbr import BETA, STARTUP_GAIN, Bbr, BbrState
from wraith.connection.paths.congestion import AckSample
from wraith.connection.paths.controllers import make_controller
from wraith.testing.bottleneck import (
    DATAGRAM_BYTES,
    Bottleneck,
    LightSender,
    Policer,
    run_senders,
)

RATE_BPS = 10e6
RTT_S = 0.04
BDP_BYTES = RATE_BPS / 8 * RTT_S


def alone(name: str, link: Bottleneck, *, seconds: float) -> LightSender:
    sender = LightSender(make_controller(name, DATAGRAM_BYTES), link, rtt_s=RTT_S)
    run_senders([sender], seconds)
    return sender


def share(sender: LightSender, start_s: float, end_s: float) -> float:
    """Of what the link lets arrive."""
    carried = sender.link.rate_bps * (1 - sender.link.loss)
    return sender.rate_bps(start_s, end_s) / carried


def controller_of(sender: LightSender) -> Bbr:
    assert isinstance(sender.controller, Bbr)
    return sender.controller


@pytest.mark.spec("RC-50")
@pytest.mark.parametrize(("loss", "least"), [(0.0, 0.95), (0.01, 0.9), (0.05, 0.85)])
def test_a_lossy_link_is_filled(loss: float, least: float) -> None:
    sender = alone("bbr", Bottleneck(RATE_BPS, BDP_BYTES, loss=loss, seed=7), seconds=12)
    assert share(sender, 4, 12) >= least


@pytest.mark.slow
@pytest.mark.spec("RC-53")
@pytest.mark.parametrize("loss", [0.1, 0.2])
def test_a_link_that_loses_much_is_filled_once_its_floor_is_known(loss: float) -> None:
    sender = alone("bbr", Bottleneck(RATE_BPS, BDP_BYTES, loss=loss, seed=7), seconds=30)
    assert share(sender, 12, 30) >= 0.85
    assert abs(controller_of(sender).floor - loss) < 0.06


def test_cubic_is_far_behind_where_one_in_a_hundred_is_lost() -> None:
    """So that the figures above say something."""
    sender = alone("cubic", Bottleneck(RATE_BPS, BDP_BYTES, loss=0.01, seed=7), seconds=12)
    assert share(sender, 4, 12) < 0.3


@pytest.mark.spec("RC-51")
def test_a_deep_queue_stays_short_and_nothing_is_dropped() -> None:
    link = Bottleneck(RATE_BPS, 4 * BDP_BYTES)
    sender = alone("bbr", link, seconds=12)
    assert share(sender, 4, 12) >= 0.95
    assert link.wait_s(4) <= 0.25 * RTT_S
    assert not link.n_dropped


@pytest.mark.spec("RC-53", "RC-55")
@pytest.mark.parametrize("saved_s", [0.2, 1.0])
def test_a_policer_is_not_taken_for_a_lossy_link(saved_s: float) -> None:
    """What it drops is ours: at half the rate it drops nothing."""
    rate_bps = 0.4 * RATE_BPS
    policer = Policer(rate_bps, rate_bps / 8 * saved_s)
    link = Bottleneck(RATE_BPS, BDP_BYTES, policer=policer)
    floors: list[float] = []
    sender = LightSender(Bbr(DATAGRAM_BYTES), link, rtt_s=RTT_S)
    for second in range(1, 13):
        run_senders([sender], second)
        floors.append(controller_of(sender).floor)
    assert max(floors) < 0.05
    assert sender.rate_bps(6, 12) >= 0.8 * rate_bps


@pytest.mark.spec("RC-55")
def test_a_floor_does_not_count_where_no_queue_can_be_filled() -> None:
    """Random loss in front of a policer: the floor is known, and nothing is added for it."""
    rate_bps = 0.5 * RATE_BPS
    policer = Policer(rate_bps, rate_bps / 8 * RTT_S)
    link = Bottleneck(RATE_BPS, BDP_BYTES, loss=0.08, policer=policer, seed=2)
    sender = LightSender(Bbr(DATAGRAM_BYTES), link, rtt_s=RTT_S)
    bbr = controller_of(sender)
    n_seen = 0
    for tenth in range(1, 150):
        run_senders([sender], tenth / 10)
        if bbr.floor > 0.02 and bbr.state is BbrState.CRUISE and bbr.pacing_rate is not None:
            n_seen += 1
            assert bbr.pacing_rate <= bbr.bandwidth
    assert n_seen


@pytest.mark.spec("RC-50", "RC-51")
def test_the_rate_of_the_link_is_followed_down_and_up() -> None:
    link = Bottleneck(RATE_BPS, BDP_BYTES)
    sender = LightSender(Bbr(DATAGRAM_BYTES), link, rtt_s=RTT_S)
    run_senders([sender], 5)
    link.rate_bps = RATE_BPS / 5
    run_senders([sender], 12)
    assert sender.rate_bps(8, 12) >= 0.9 * RATE_BPS / 5
    link.rate_bps = RATE_BPS
    run_senders([sender], 20)
    assert sender.rate_bps(16, 20) >= 0.9 * RATE_BPS


@pytest.mark.spec("RC-50")
def test_a_link_that_becomes_five_times_as_fast_is_filled() -> None:
    link = Bottleneck(RATE_BPS / 5, BDP_BYTES)
    sender = LightSender(Bbr(DATAGRAM_BYTES), link, rtt_s=RTT_S)
    run_senders([sender], 5)
    link.rate_bps = RATE_BPS
    run_senders([sender], 12)
    assert sender.rate_bps(9, 12) >= 0.9 * RATE_BPS


@pytest.mark.slow
def test_beside_cubic_each_has_a_quarter_at_least() -> None:
    link = Bottleneck(RATE_BPS, BDP_BYTES)
    senders = [
        LightSender(make_controller(name, DATAGRAM_BYTES), link, rtt_s=RTT_S, start_s=start_s)
        for name, start_s in (("bbr", 0.0), ("cubic", 0.5))
    ]
    run_senders(senders, 60)
    rates = [sender.rate_bps(10, 60) / RATE_BPS for sender in senders]
    assert min(rates) >= 0.25, rates
    assert sum(rates) >= 0.93, rates
    assert controller_of(senders[0]).floor < 0.005


@pytest.mark.slow
def test_two_that_began_together_share_the_link() -> None:
    link = Bottleneck(RATE_BPS, BDP_BYTES)
    senders = [LightSender(Bbr(DATAGRAM_BYTES), link, rtt_s=RTT_S) for _ in range(2)]
    run_senders(senders, 60)
    assert min(sender.rate_bps(10, 60) for sender in senders) >= 0.25 * RATE_BPS


# -- by single acknowledgements


class Feed:
    """Acknowledgements as a path of one rate would bring them, a round at a time."""

    def __init__(self, bbr: Bbr, *, rate_bps: float = RATE_BPS, rtt_s: float = RTT_S) -> None:
        self.bbr = bbr
        self.bytes_per_s = rate_bps / 8
        self.rtt_s = rtt_s
        self.now = 0.0
        self.counter = 0

    def round(self, *, app_limited: bool = False, lost_bytes: int = 0, in_flight: int = 0) -> None:
        """What was sent at the beginning of this round has arrived at its end."""
        sent_time, n_bytes = self.now, int(self.bytes_per_s * self.rtt_s)
        self.bbr.on_sent(n_bytes + lost_bytes, n_bytes, self.now)
        self.now += self.rtt_s
        if lost_bytes:
            assert not self.bbr.on_loss(lost_bytes, sent_time, self.now, in_flight)
        self.counter += 10
        self.bbr.on_ack(
            AckSample(
                n_bytes=n_bytes, sent_time=sent_time, counter=self.counter,
                next_counter=self.counter + 1, rtt=self.rtt_s, srtt=self.rtt_s,
                app_limited=app_limited, now=self.now, delivered_bytes=n_bytes,
                interval_s=self.rtt_s, in_flight=in_flight,
            )
        )  # fmt: skip


def in_cruise(**options: float) -> Feed:
    feed = Feed(Bbr(DATAGRAM_BYTES), **options)
    for _ in range(30):
        feed.round()
        if feed.bbr.state is BbrState.CRUISE:
            break
    assert feed.bbr.state is BbrState.CRUISE
    return feed


@pytest.mark.spec("RC-51")
def test_startup_ends_when_the_rate_has_not_grown_for_three_rounds() -> None:
    feed = Feed(Bbr(DATAGRAM_BYTES))
    states: list[BbrState] = []
    for _ in range(7):
        feed.round(in_flight=10 * int(BDP_BYTES))
        states.append(feed.bbr.state)
    assert states[0] is BbrState.STARTUP
    assert BbrState.DRAIN in states
    assert feed.bbr.pacing_rate == pytest.approx(0.5 * 0.99 * RATE_BPS / 8)


@pytest.mark.spec("RC-56")
def test_the_pace_is_bound_to_what_arrives() -> None:
    feed = Feed(Bbr(DATAGRAM_BYTES))
    feed.round()
    assert feed.bbr.pacing_rate is not None
    assert feed.bbr.pacing_rate <= STARTUP_GAIN * max(
        feed.bytes_per_s, feed.bbr.window / feed.rtt_s
    )
    cruising = in_cruise()
    assert cruising.bbr.pacing_rate == pytest.approx(0.99 * cruising.bytes_per_s)


@pytest.mark.spec("RC-56")
def test_the_window_is_two_products_and_never_beyond_its_bound() -> None:
    feed = in_cruise()
    for _ in range(5):
        feed.round()
    assert 1.5 * BDP_BYTES <= feed.bbr.window <= 3.5 * BDP_BYTES
    bounded = Bbr(DATAGRAM_BYTES, 20_000)
    feed = Feed(bounded)
    for _ in range(20):
        feed.round()
        assert bounded.window <= 20_000


@pytest.mark.spec("RC-54")
def test_loss_without_a_longer_round_trip_shortens_nothing_before_the_floor_is_known() -> None:
    feed = in_cruise()
    before = feed.bbr.bandwidth
    feed.bytes_per_s *= 0.9
    for _ in range(6):
        feed.round(lost_bytes=int(0.1 * BDP_BYTES))
    assert feed.bbr.bandwidth == before


@pytest.mark.spec("RC-54")
def test_loss_with_a_longer_round_trip_shortens_the_rate() -> None:
    feed = in_cruise()
    before = feed.bbr.bandwidth
    feed.rtt_s, feed.bytes_per_s = 2 * RTT_S, 0.5 * RATE_BPS / 8
    for _ in range(4):
        feed.round(lost_bytes=int(0.1 * BDP_BYTES))
    assert feed.bbr.bandwidth <= BETA * before


@pytest.mark.spec("RC-54")
def test_loss_of_half_is_never_the_paths_own() -> None:
    feed = in_cruise()
    before = feed.bbr.bandwidth
    feed.bytes_per_s /= 2
    for _ in range(4):
        feed.round(lost_bytes=int(BDP_BYTES))
    assert feed.bbr.bandwidth <= BETA * before


@pytest.mark.spec("RC-12", "RC-50")
def test_a_sender_with_little_to_say_does_not_lower_the_rate() -> None:
    feed = in_cruise()
    before = feed.bbr.bandwidth
    feed.bytes_per_s /= 10
    for _ in range(400):  # several cycles of probing
        feed.round(app_limited=True)
    assert feed.bbr.bandwidth == before


@pytest.mark.spec("RC-51")
def test_without_a_new_least_round_trip_the_queue_is_let_run_empty() -> None:
    feed = in_cruise()
    feed.rtt_s = 1.05 * RTT_S
    windows: list[float] = []
    for _ in range(200):
        feed.round()
        if feed.bbr.state is BbrState.PROBE_RTT:
            windows.append(feed.bbr.window)
    assert windows
    assert max(windows) <= 0.6 * BDP_BYTES


def test_persistent_congestion_leaves_four_datagrams_which_grow_again() -> None:
    feed = in_cruise()
    feed.bbr.on_persistent()
    assert feed.bbr.window == 4 * DATAGRAM_BYTES
    feed.round()
    assert feed.bbr.window > 20 * DATAGRAM_BYTES
    assert math.isfinite(feed.bbr.window)
