"""BBR (draft-ietf-ccwg-bbr-06) behind the seam of ``congestion.py``, with a loss floor.

The controller models the path by the rate that arrives and the least round-trip time, and sends at
that rate; the window only bounds what may be under way. It departs from the draft where that takes
any loss for congestion: a round's loss is judged against the floor (``rounds.py``), and together
with its round-trip time. Everything is decided once per round, never per packet.

::

    STARTUP ──rate stops growing, or too much loss──► DRAIN ──queue is gone──► DOWN
    DOWN ──queue is gone──► CRUISE ──2 to 3 s──► REFILL ──1 round──► UP ──no more comes──► DOWN
    any ──5 s without a least round-trip time──► PROBE_RTT ──200 ms──► CRUISE, or STARTUP

Spec: docs/spec/recovery.md [RC-50] to [RC-56].
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from wraith.connection.paths.congestion import WINDOW_MAX_BYTES, AckSample, initial_window
from wraith.connection.paths.rounds import RTTS_KEPT, LossFloor, Round, Rounds

PACING_MARGIN: Final = 0.99
STARTUP_GAIN: Final = 2.77
DRAIN_GAIN: Final = 0.5
QUIET_GAIN: Final = 0.5
UP_GAIN: Final = 1.25
WINDOW_GAIN: Final = 2.0
UP_WINDOW_GAIN: Final = 2.25
BETA: Final = 0.7
HEADROOM: Final = 0.15
LOSS_THRESHOLD: Final = 0.02
LOSS_PER_FLOOR: Final = 1.25
LOSS_ALWAYS: Final = 0.30
"""More loss than this is never the path's own."""
STARTUP_LOSSES: Final = 6
MINIMUM_DATAGRAMS: Final = 4
FULL_GROWTH: Final = 1.25
FULL_ROUNDS: Final = 3
UP_GROWTH: Final = 1.1
PROBE_ROUNDS_MAX: Final = 63
PROBE_WAIT_S: Final = (2.0, 3.0)
QUIET_EVERY: Final = 4
"""One round in so many is quiet while a floor is looked for."""
QUIET_LOSS: Final = 0.01
MIN_RTT_LIFE_S: Final = 10.0
PROBE_RTT_EVERY_S: Final = 5.0
PROBE_RTT_S: Final = 0.2
PROBE_RTT_GAIN: Final = 0.5
EXTRA_ROUNDS: Final = 5
GOLDEN: Final = 0.6180339887498949


class BbrState(Enum):
    """What the sender is finding out."""

    STARTUP = "startup"
    DRAIN = "drain"
    DOWN = "down"
    CRUISE = "cruise"
    REFILL = "refill"
    UP = "up"
    PROBE_RTT = "probe-rtt"


_PACING: Final = {
    BbrState.STARTUP: STARTUP_GAIN,
    BbrState.DRAIN: DRAIN_GAIN,
    BbrState.DOWN: 0.9,
    BbrState.CRUISE: 1.0,
    BbrState.REFILL: 1.0,
    BbrState.UP: UP_GAIN,
    BbrState.PROBE_RTT: 1.0,
}
_AT_FULL_RATE: Final = frozenset((BbrState.CRUISE, BbrState.REFILL))


def _luck(share: float, n: float) -> float:
    """How far the loss of ``n`` datagrams may lie above ``share`` by chance: two deviations."""
    return 2 * math.sqrt(share * (1 - share) / n)


class Bbr:
    """See the module. Rates are bytes per second.

    Attributes:
        state: what it does now.
        min_rtt_s: the least round-trip time of the last ten seconds; 0 before the first.
        floor: the share of loss that is taken for the path's own.
    """

    __slots__ = (
        "_bw_cycles",
        "_bw_short",
        "_cycle_s",
        "_datagram_bytes",
        "_extra",
        "_extra_acked",
        "_extra_start",
        "_full_bw",
        "_full_rounds",
        "_inflight_long",
        "_inflight_short",
        "_is_floor_shown",
        "_is_full",
        "_is_quiet",
        "_loss",
        "_loss_floor",
        "_min_rtt_at",
        "_n_rates",
        "_n_rounds",
        "_probe_rtt_at",
        "_probe_rtt_until",
        "_rate_sum",
        "_rounds",
        "_rounds_in_state",
        "_up_growth",
        "_wait_s",
        "_was_lossy",
        "_window_max",
        "floor",
        "min_rtt_s",
        "pacing_rate",
        "state",
        "window",
    )

    def __init__(self, datagram_bytes: int, window_max: int = WINDOW_MAX_BYTES) -> None:
        self._datagram_bytes = datagram_bytes
        self._window_max = window_max
        self.window = initial_window(datagram_bytes)
        self.pacing_rate: float | None = None
        self.state = BbrState.STARTUP
        self.min_rtt_s = 0.0
        self.floor = 0.0
        self._rounds = Rounds()
        self._loss_floor = LossFloor()
        self._n_rounds = self._rounds_in_state = 0
        #: The best rate of this cycle of probing and of the one before.
        self._bw_cycles = [0.0, 0.0]
        #: Of this round: the greatest of many samples would be luck, where loss is random.
        self._rate_sum = 0.0
        self._n_rates = 0
        self._bw_short = self._inflight_short = math.inf
        self._inflight_long = math.inf
        self._full_bw = 0.0
        self._full_rounds = 0
        self._is_full = False
        self._min_rtt_at = self._probe_rtt_at = 0.0
        self._probe_rtt_until: float | None = None
        self._cycle_s = 0.0
        self._wait_s = PROBE_WAIT_S[0]
        self._up_growth = 0
        self._is_quiet = False
        #: Up raised the round-trip time when it divided by the floor: we fill a queue that way.
        self._is_floor_shown = False
        self._loss = 0.0
        self._was_lossy = False
        self._extra = [0.0, 0.0]
        self._extra_acked = 0
        self._extra_start = 0.0

    # -- the seam

    @property
    def in_slow_start(self) -> bool:
        return self.state is BbrState.STARTUP

    @property
    def bandwidth(self) -> float:
        """What the path is taken to carry, in bytes that arrive each second."""
        return min(max(self._bw_cycles), self._bw_short)

    def set_datagram_bytes(self, datagram_bytes: int) -> None:
        self._datagram_bytes = datagram_bytes

    def on_sent(self, n_bytes: int, in_flight: int, now: float) -> None:
        """Counts what leaves in this round."""
        del in_flight, now
        self._rounds.current.sent_bytes += n_bytes

    def on_loss(self, n_bytes: int, sent_time: float, now: float, in_flight: int) -> bool:
        """Counts; the round is judged when it is settled. Nothing is reduced at once."""
        del now, in_flight
        self._rounds.of(sent_time).lost_bytes += n_bytes
        return False

    def on_spurious(self) -> None:
        """No single loss was answered."""

    def on_persistent(self) -> None:
        """Nothing arrived for three probe timeouts: what comes back opens the window again."""
        self.window = MINIMUM_DATAGRAMS * self._datagram_bytes

    def on_ack(self, ack: AckSample) -> None:
        sent_in = self._rounds.of(ack.sent_time)
        sent_in.acked_bytes += ack.n_bytes
        self._take_rtt(ack, sent_in)
        if ack.interval_s > 0.0:
            self._take_rate(ack.delivered_bytes / ack.interval_s, ack)
        if self._rounds.advance(ack):
            self._on_round(self._rounds.settled, ack)
            self._rounds.current.is_full = self.state in _AT_FULL_RATE and not self._is_quiet
        self._follow_queue(ack)
        self._probe_rtt(ack)
        self._set_rate()
        self._set_window(ack)

    # -- the model

    def _take_rtt(self, ack: AckSample, sent_in: Round) -> None:
        if ack.rtt <= 0.0:
            return
        if len(sent_in.rtts) < RTTS_KEPT:
            sent_in.rtts.append(ack.rtt)
        if not self.min_rtt_s:
            self._probe_rtt_at = ack.now
        if (
            not self.min_rtt_s
            or ack.rtt <= self.min_rtt_s
            or ack.now > self._min_rtt_at + MIN_RTT_LIFE_S
        ):
            self.min_rtt_s, self._min_rtt_at = ack.rtt, ack.now
            self._probe_rtt_at = ack.now

    def _take_rate(self, rate: float, ack: AckSample) -> None:
        if not ack.app_limited or rate > max(self._bw_cycles):  # [RC-50]
            self._rate_sum += rate
            self._n_rates += 1
            if not self._is_full:
                self._bw_cycles[1] = max(self._bw_cycles[1], rate)
        # What arrives beyond the rate comes in a heap: the window must cover it.
        expected = self.bandwidth * (ack.now - self._extra_start)
        if self._extra_acked <= expected:
            self._extra_acked, self._extra_start, expected = 0, ack.now, 0.0
        self._extra_acked += ack.n_bytes
        extra = min(self._extra_acked - expected, float(self.window))
        self._extra[1] = max(self._extra[1], extra)

    @property
    def _margin_s(self) -> float:
        """A rise of the round-trip time by more than this is a queue."""
        return max(self.min_rtt_s / 10, 0.001)

    def _has_risen(self, one: Round) -> bool:
        return one.rtt_s > self.min_rtt_s + 1.25 * self._margin_s

    def _bdp(self, gain: float = 1.0) -> float:
        return gain * self.bandwidth * self.min_rtt_s / (1.0 - self._divisor())

    def _divisor(self) -> float:
        """The floor where it counts: in Up always, elsewhere once Up has shown a queue."""
        return self.floor if self._is_floor_shown or self.state is BbrState.UP else 0.0

    # -- once a round

    def _on_round(self, settled: Round | None, ack: AckSample) -> None:
        self._n_rounds += 1
        self._rounds_in_state += 1
        latest = self._rate_sum / self._n_rates if self._n_rates else 0.0
        self._rate_sum, self._n_rates = 0.0, 0
        self._bw_cycles[1] = max(self._bw_cycles[1], latest)
        if self._n_rounds % EXTRA_ROUNDS == 0:
            self._extra = [self._extra[1], 0.0]
        if settled is not None and settled.settled_bytes:
            self._loss_floor.take(
                settled, self._datagram_bytes,
                rtt_most_s=self.min_rtt_s + self._margin_s, now=ack.now,
            )  # fmt: skip
            self._loss += (settled.loss - self._loss) / 4
        is_new = not self.floor
        self.floor = self._loss_floor.value(ack.now)
        if is_new and self.floor > QUIET_LOSS and self.state is BbrState.CRUISE:
            self._wait_s = 0.0  # a trial shows whether it is to be believed
        too_much = settled is not None and self._is_too_much(settled)
        is_probing = self.state in (BbrState.REFILL, BbrState.UP)
        if too_much and not is_probing and settled is not None and settled.is_full:
            self._shorten(latest, ack)
        match self.state:
            case BbrState.STARTUP:
                self._look_for_full(latest, ack)
                if too_much and settled is not None:
                    self._is_full = True
                    self._inflight_long = max(self._bdp(), float(settled.acked_bytes))
                if self._is_full:
                    self._enter(BbrState.DRAIN, ack)
            case BbrState.CRUISE:
                self._plan_round(ack)
            case BbrState.REFILL:
                self._enter(BbrState.UP, ack)
            case BbrState.UP:
                self._on_up_round(latest, settled, too_much, ack)

    def _is_too_much(self, settled: Round) -> bool:
        """Loss beyond the floor, and one more reason to take it for ours. [RC-54]"""
        n = max(settled.settled_bytes / self._datagram_bytes, 1.0)
        threshold = LOSS_THRESHOLD + LOSS_PER_FLOOR * self.floor + _luck(self.floor, n)
        is_lossy = settled.loss > threshold
        was_lossy, self._was_lossy = self._was_lossy, is_lossy
        if not is_lossy:
            return False
        if self.state is BbrState.STARTUP and n * settled.loss < STARTUP_LOSSES:
            return False  # a small window raises the round-trip time by its own bursts
        if self._has_risen(settled) or settled.loss > LOSS_ALWAYS + _luck(LOSS_ALWAYS, n):
            return True
        # Without a floor nobody knows yet whose loss it is: quiet rounds find out first.
        return was_lossy and self._loss_floor.is_known and self.state is not BbrState.STARTUP

    def _look_for_full(self, latest: float, ack: AckSample) -> None:
        if latest >= self._full_bw * FULL_GROWTH:
            self._full_bw, self._full_rounds = latest, 0
        elif not ack.app_limited:
            self._full_rounds += 1
            self._is_full = self._full_rounds >= FULL_ROUNDS

    def _shorten(self, latest: float, ack: AckSample) -> None:
        """Too much was lost while nothing was probed: for now the path carries less."""
        if self._bw_short == math.inf:
            self._bw_short = max(self._bw_cycles)
            self._inflight_short = float(self.window)
        self._bw_short = max(latest, BETA * self._bw_short)
        self._inflight_short = max(float(ack.delivered_bytes), BETA * self._inflight_short)

    def _plan_round(self, ack: AckSample) -> None:
        """In Cruise: probes when it is time, and looks for the floor where there is loss."""
        self._is_quiet = (
            not self._loss_floor.is_known
            and self._loss > QUIET_LOSS
            and self._bw_short == math.inf
            and self._rounds_in_state % QUIET_EVERY == 0
        )
        n_rounds = min(PROBE_ROUNDS_MAX, self._bdp() / self._datagram_bytes)
        if ack.now - self._cycle_s >= self._wait_s or self._rounds_in_state >= max(n_rounds, 1):
            self._enter(BbrState.REFILL, ack)

    def _on_up_round(
        self, latest: float, settled: Round | None, too_much: bool, ack: AckSample
    ) -> None:
        if self._rounds_in_state < 2:
            return  # what is settled now left before Up began
        if settled is not None and self.floor:
            self._is_floor_shown = self._has_risen(settled)
        if too_much:
            self._inflight_long = max(
                BETA * self._bdp(), float(settled.acked_bytes if settled else 0)
            )
            self._end_cycle(ack)
            return
        if latest >= self._full_bw * UP_GROWTH:
            self._full_bw, self._full_rounds = latest, 0
        else:
            self._full_rounds += 1
        has_queue = settled is not None and self._has_risen(settled)
        if has_queue and self._full_rounds > 1:
            self._end_cycle(ack)
        elif self.window + self._datagram_bytes > self._inflight_long:
            self._inflight_long += (1 << self._up_growth) * self._datagram_bytes
            self._up_growth = min(self._up_growth + 1, 16)
        elif self._full_rounds >= FULL_ROUNDS or (
            self._full_rounds and ack.in_flight >= self._bdp(UP_GAIN)
        ):
            self._end_cycle(ack)

    # -- states

    def _enter(self, state: BbrState, ack: AckSample) -> None:
        self.state = state
        self._rounds_in_state = 0
        self._is_quiet = False
        if state is BbrState.REFILL:
            self._bw_short = self._inflight_short = math.inf
        elif state is BbrState.UP:
            self._full_bw, self._full_rounds = self.bandwidth, 0
            self._up_growth = 0
        elif state is BbrState.DOWN:
            self._cycle_s = ack.now
            # Sessions that began together must not probe together; their counters differ.
            least, most = PROBE_WAIT_S
            self._wait_s = least + (most - least) * ((ack.next_counter * GOLDEN) % 1.0)

    def _end_cycle(self, ack: AckSample) -> None:
        """Up is over: what it has found holds for this cycle and the next."""
        self._bw_cycles = [self._bw_cycles[1], 0.0] if self._bw_cycles[1] else self._bw_cycles
        self._enter(BbrState.DOWN, ack)

    def _follow_queue(self, ack: AckSample) -> None:
        """Drain and Down last until what is under way fits into the path."""
        if self.state is BbrState.DRAIN:
            if ack.in_flight <= self._bdp():
                self._enter(BbrState.DOWN, ack)
        elif self.state is BbrState.DOWN:
            room = self._inflight_long * (1 - HEADROOM)
            if ack.in_flight <= min(self._bdp(), room) or self._rounds_in_state > FULL_ROUNDS:
                self._enter(BbrState.CRUISE, ack)

    def _probe_rtt(self, ack: AckSample) -> None:
        """Lets the queue run empty where no round-trip time was the least for a while."""
        if self.state is not BbrState.PROBE_RTT:
            if self.min_rtt_s and ack.now > self._probe_rtt_at + PROBE_RTT_EVERY_S:
                self._enter(BbrState.PROBE_RTT, ack)
                self._probe_rtt_until = None
            return
        if self._probe_rtt_until is None:
            if ack.in_flight <= self._probe_window():
                self._probe_rtt_until = ack.now + PROBE_RTT_S
                self._rounds_in_state = 0
        elif ack.now >= self._probe_rtt_until and self._rounds_in_state:
            self._probe_rtt_at = ack.now
            self._bw_short = self._inflight_short = math.inf
            if self._is_full:
                self._enter(BbrState.DOWN, ack)
                self._enter(BbrState.CRUISE, ack)
            else:
                self._enter(BbrState.STARTUP, ack)

    # -- what may leave

    def _probe_window(self) -> float:
        return max(self._bdp(PROBE_RTT_GAIN), float(MINIMUM_DATAGRAMS * self._datagram_bytes))

    def _set_rate(self) -> None:
        gain = QUIET_GAIN if self._is_quiet else _PACING[self.state]
        bandwidth = self.bandwidth
        if not bandwidth:
            if self.min_rtt_s:
                self.pacing_rate = STARTUP_GAIN * self.window / self.min_rtt_s
            return
        rate = gain * bandwidth * PACING_MARGIN / (1.0 - self._divisor())
        if self._is_full or self.pacing_rate is None or rate > self.pacing_rate:
            self.pacing_rate = rate

    def _set_window(self, ack: AckSample) -> None:
        size = self._datagram_bytes
        gain = UP_WINDOW_GAIN if self.state is BbrState.UP else WINDOW_GAIN
        most = self._bdp(gain) + max(self._extra) + 2 * MINIMUM_DATAGRAMS * size
        if self._is_full:
            window = min(self.window + ack.n_bytes, most)
        else:
            window = float(self.window)
            if window < most or not self._bw_cycles[1]:
                window += ack.n_bytes
        bound = math.inf
        if self.state in (BbrState.CRUISE, BbrState.PROBE_RTT, BbrState.DOWN):
            bound = self._inflight_long * (1 - HEADROOM)
        elif self.state is not BbrState.STARTUP:
            bound = self._inflight_long
        window = min(window, bound, self._inflight_short)
        if self.state is BbrState.PROBE_RTT:
            window = min(window, self._probe_window())
        window = max(window, float(MINIMUM_DATAGRAMS * size))
        self.window = int(min(window, float(self._window_max)))
