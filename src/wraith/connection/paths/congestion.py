"""Congestion controllers behind one seam: CUBIC (RFC 9438) with HyStart++ (RFC 9406), NewReno.

Windows are bytes. A controller is told once per run, per acknowledgement frame and per loss event,
never per packet. It knows nothing of packets, streams or sockets.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

INITIAL_WINDOW_DATAGRAMS = 10
INITIAL_WINDOW_BYTES_MAX = 14_720
MINIMUM_WINDOW_DATAGRAMS = 2
WINDOW_MAX_BYTES = 32 << 20

# HyStart++ (RFC 9406 §4.3); growth is not capped per round because sending is paced.
MIN_RTT_THRESH_S = 0.004
MAX_RTT_THRESH_S = 0.016
MIN_RTT_DIVISOR = 8
N_RTT_SAMPLE = 8
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5

# CUBIC (RFC 9438 §4)
CUBIC_C = 0.4
CUBIC_BETA = 0.7
CUBIC_ALPHA = 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA)

NEWRENO_BETA = 0.5


class AckSample(NamedTuple):
    """The news of one acknowledgement frame. ``counter`` is the send counter of the newest datagram
    it covers, ``next_counter`` the one that the next datagram will get; ``rtt`` 0 = no sample.

    ``delivered_bytes`` arrived during the ``interval_s`` that ends now and began when the newest
    datagram was sent: their quotient is the delivery rate (draft-ietf-ccwg-bbr-06 §4.1). The
    interval is 0 where it says nothing, because it is shorter than the smallest round trip.
    ``in_flight`` bytes are still under way.
    """

    n_bytes: int
    sent_time: float
    counter: int
    next_counter: int
    rtt: float
    srtt: float
    app_limited: bool
    now: float
    delivered_bytes: int = 0
    interval_s: float = 0.0
    in_flight: int = 0


class Controller(Protocol):
    """Decides the window of one path and, if it likes, the rate of sending."""

    window: int
    pacing_rate: float | None
    """Bytes per second; ``None``: the pacer follows window and round-trip time. [RC-11]"""

    @property
    def in_slow_start(self) -> bool: ...

    def on_sent(self, n_bytes: int, in_flight: int, now: float, /) -> None:
        """``n_bytes`` have left, and ``in_flight`` are under way with them."""
        ...

    def on_ack(self, ack: AckSample, /) -> None: ...

    def on_loss(self, n_bytes: int, sent_time: float, now: float, in_flight: int, /) -> bool:
        """``sent_time`` is that of the newest lost datagram: one reduction per round trip. True
        when this loss begins one."""
        ...

    def on_spurious(self) -> None:
        """Nothing that the last reduction answered was lost: it is taken back, unless the window
        has outgrown it."""
        ...

    def on_persistent(self) -> None: ...

    def set_datagram_bytes(self, datagram_bytes: int, /) -> None: ...


def initial_window(datagram_bytes: int) -> int:
    """RFC 9002 §7.2."""
    return min(
        INITIAL_WINDOW_DATAGRAMS * datagram_bytes, max(INITIAL_WINDOW_BYTES_MAX, 2 * datagram_bytes)
    )


class HyStart:
    """Leaves slow start when the round-trip time rises, before the queue overflows (RFC 9406)."""

    __slots__ = (
        "_current_min",
        "_last_min",
        "_n_samples",
        "_round_end",
        "baseline",
        "css_rounds",
        "done",
    )

    def __init__(self) -> None:
        self._round_end = 0
        self._n_samples = 0
        self._current_min = float("inf")
        self._last_min = float("inf")
        self.baseline = float("inf")
        self.css_rounds = 0
        self.done = False

    @property
    def in_css(self) -> bool:
        return self.baseline != float("inf")

    def growth(self, ack: AckSample) -> int:
        """Bytes to add to the window for ``ack``; sets ``done`` when slow start is over."""
        if ack.counter >= self._round_end:
            self._next_round(ack.next_counter)
            if self.done:
                return 0
        if ack.rtt > 0:
            self._n_samples += 1
            self._current_min = min(self._current_min, ack.rtt)
            self._judge()
        return ack.n_bytes // CSS_GROWTH_DIVISOR if self.in_css else ack.n_bytes

    def _next_round(self, next_counter: int) -> None:
        if self.in_css:
            self.css_rounds += 1
            if self.css_rounds >= CSS_ROUNDS:
                self.done = True
        self._round_end = next_counter
        self._last_min = self._current_min
        self._current_min = float("inf")
        self._n_samples = 0

    def _judge(self) -> None:
        if self._n_samples < N_RTT_SAMPLE:
            return
        if self.in_css:
            if self._current_min < self.baseline:  # the rise was noise: back to slow start
                self.baseline = float("inf")
                self.css_rounds = 0
            return
        if self._last_min == float("inf"):
            return
        threshold = min(max(self._last_min / MIN_RTT_DIVISOR, MIN_RTT_THRESH_S), MAX_RTT_THRESH_S)
        if self._current_min >= self._last_min + threshold:
            self.baseline = self._current_min
            self.css_rounds = 0


class WindowController:
    """What controllers by window have in common: nothing depends on what was just sent, and the
    pacer takes its rate from the window."""

    __slots__ = ()

    pacing_rate: float | None = None

    def on_sent(self, n_bytes: int, in_flight: int, now: float) -> None:
        """Acknowledgements and losses say all that the window needs."""


class NewReno(WindowController):
    """RFC 9002 §7, with HyStart++ in slow start."""

    __slots__ = (
        "_acked",
        "_before",
        "_datagram_bytes",
        "_hystart",
        "_recovery_start",
        "_ssthresh",
        "_window_max",
        "window",
    )

    def __init__(self, datagram_bytes: int, window_max: int = WINDOW_MAX_BYTES) -> None:
        self._datagram_bytes = datagram_bytes
        self._window_max = window_max
        self.window = initial_window(datagram_bytes)
        self._ssthresh = float("inf")
        self._recovery_start = -1.0
        self._acked = 0
        self._before: tuple[int, float, float, int] | None = None
        self._hystart = HyStart()

    @property
    def in_slow_start(self) -> bool:
        return self.window < self._ssthresh

    def set_datagram_bytes(self, datagram_bytes: int) -> None:
        self._datagram_bytes = datagram_bytes

    def on_ack(self, ack: AckSample) -> None:
        if ack.app_limited or ack.sent_time <= self._recovery_start:
            return
        if self.in_slow_start:
            self.window = min(self.window + self._hystart.growth(ack), self._window_max)
            if self._hystart.done:
                self._ssthresh = self.window
            return
        self._acked += ack.n_bytes
        if self._acked >= self.window:
            self._acked -= self.window
            self.window = min(self.window + self._datagram_bytes, self._window_max)

    def on_loss(self, n_bytes: int, sent_time: float, now: float, in_flight: int) -> bool:
        del n_bytes, in_flight
        if sent_time <= self._recovery_start:
            return False
        self._before = (self.window, self._ssthresh, self._recovery_start, self._acked)
        self._recovery_start = now
        self._acked = 0
        self.window = max(
            int(self.window * NEWRENO_BETA), MINIMUM_WINDOW_DATAGRAMS * self._datagram_bytes
        )
        self._ssthresh = self.window
        return True

    def on_spurious(self) -> None:
        before, self._before = self._before, None
        if before is not None and before[0] > self.window:
            self.window, self._ssthresh, self._recovery_start, self._acked = before

    def on_persistent(self) -> None:
        self.window = MINIMUM_WINDOW_DATAGRAMS * self._datagram_bytes
        self._recovery_start = -1.0


class _CubicState(NamedTuple):
    """The values that a reduction changes."""

    window: float
    ssthresh: float
    recovery_start: float
    epoch_start: float | None
    k: float
    w_max: float
    w_est: float


class Cubic(WindowController):
    """RFC 9438, with HyStart++ in slow start."""

    __slots__ = (
        "_before",
        "_datagram_bytes",
        "_epoch_start",
        "_hystart",
        "_idle_since",
        "_k",
        "_recovery_start",
        "_ssthresh",
        "_w_est",
        "_w_max",
        "_window",
        "_window_max",
        "window",
    )

    def __init__(self, datagram_bytes: int, window_max: int = WINDOW_MAX_BYTES) -> None:
        self._datagram_bytes = datagram_bytes
        self._window_max = window_max
        self._window = float(initial_window(datagram_bytes))
        self.window = int(self._window)
        self._ssthresh = float("inf")
        self._recovery_start = -1.0
        self._epoch_start: float | None = None
        self._idle_since: float | None = None
        self._k = 0.0
        self._w_max = 0.0
        self._w_est = 0.0
        self._before: _CubicState | None = None
        self._hystart = HyStart()

    @property
    def in_slow_start(self) -> bool:
        return self._window < self._ssthresh

    def set_datagram_bytes(self, datagram_bytes: int) -> None:
        self._datagram_bytes = datagram_bytes

    def on_ack(self, ack: AckSample) -> None:
        if ack.app_limited:
            # Time in which the window was not the limit must not count as growth (RFC 9438 §5.8).
            if self._idle_since is None:
                self._idle_since = ack.now
            return
        if self._idle_since is not None:
            if self._epoch_start is not None:
                self._epoch_start += ack.now - self._idle_since
            self._idle_since = None
        if ack.sent_time <= self._recovery_start:
            return
        if self.in_slow_start:
            self._window += self._hystart.growth(ack)
            if self._hystart.done:
                self._ssthresh = self._window
        else:
            self._avoid_congestion(ack)
        self._window = min(self._window, float(self._window_max))
        self.window = int(self._window)

    def _avoid_congestion(self, ack: AckSample) -> None:
        mss = self._datagram_bytes
        if self._epoch_start is None:
            self._begin_epoch(ack.now)
        assert self._epoch_start is not None
        elapsed = ack.now - self._epoch_start
        acked = ack.n_bytes / mss
        current = self._window / mss
        # Reno-friendly estimate (RFC 9438 §4.3). The section lets alpha become 1 above the window
        # of the last loss; under independent loss that puts the mean window 45 % over the response
        # function (bench/loss_response.py), so alpha stays, and with it the rate of plain Reno.
        self._w_est += CUBIC_ALPHA * acked / current
        cubic = CUBIC_C * (elapsed - self._k) ** 3 + self._w_max
        if cubic < self._w_est:
            self._window = max(self._w_est, current) * mss
            return
        target = CUBIC_C * (elapsed + ack.srtt - self._k) ** 3 + self._w_max
        target = min(max(target, current), 1.5 * current)
        self._window += (target - current) / current * acked * mss

    def _begin_epoch(self, now: float) -> None:
        current = self._window / self._datagram_bytes
        self._epoch_start = now
        if self._w_max <= current:
            self._w_max = current
            self._k = 0.0
        else:
            self._k = ((self._w_max - current) / CUBIC_C) ** (1 / 3)
        self._w_est = current

    def on_loss(self, n_bytes: int, sent_time: float, now: float, in_flight: int) -> bool:
        del n_bytes, in_flight
        if sent_time <= self._recovery_start:
            return False
        if self._idle_since is not None and self._epoch_start is not None:
            self._epoch_start += now - self._idle_since
        self._before = _CubicState(
            self._window, self._ssthresh, self._recovery_start, self._epoch_start, self._k,
            self._w_max, self._w_est,
        )  # fmt: skip
        self._recovery_start = now
        current = self._window / self._datagram_bytes
        if current < self._w_max:  # fast convergence (RFC 9438 §4.7)
            self._w_max = current * (1 + CUBIC_BETA) / 2
        else:
            self._w_max = current
        self._window = max(
            self._window * CUBIC_BETA, float(MINIMUM_WINDOW_DATAGRAMS * self._datagram_bytes)
        )
        self._ssthresh = self._window
        self._epoch_start = None
        self._idle_since = None
        self.window = int(self._window)
        return True

    def on_spurious(self) -> None:
        """RFC 9438 §4.9.2: everything is as before, so the curve goes on where it was."""
        before, self._before = self._before, None
        if before is None or before.window <= self._window:
            return
        self._window, self._ssthresh, self._recovery_start = before[:3]
        self._epoch_start, self._k, self._w_max, self._w_est = before[3:]
        self.window = int(self._window)

    def on_persistent(self) -> None:
        self._window = float(MINIMUM_WINDOW_DATAGRAMS * self._datagram_bytes)
        self.window = int(self._window)
        self._recovery_start = -1.0
        self._epoch_start = None
