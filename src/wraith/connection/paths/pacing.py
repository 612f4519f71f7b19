"""Decides when the next burst may leave: a token bucket fills at 1.25 × window / srtt.

A burst never exceeds max(10 datagrams, what one millisecond at the present rate holds), so that a
fast path is served by few large kernel bursts and a slow one is not flooded. A sender that was told
to wait and comes back late, because its processor had other sessions to serve, may make up for
that within half a kernel burst: otherwise the busier it is the smaller, and dearer, its runs
would be (docs/adr/0015).
"""

from __future__ import annotations

PACING_GAIN = 1.25
BURST_DATAGRAMS = 10
RATE_BURST_DATAGRAMS = 2
BURST_S = 0.001
LATE_S = 0.025
LATE_BURST_BYTES = 32_768


class Pacer:
    """Tokens are bytes. Call ``update`` when the window or the RTT has changed."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, datagram_bytes: int, now: float) -> None:
        self._burst = float(BURST_DATAGRAMS * datagram_bytes)
        self._tokens = self._burst
        self._rate = float("inf")
        self._at = now

    def update(self, window_bytes: int, srtt_s: float, datagram_bytes: int) -> None:
        rate = PACING_GAIN * window_bytes / max(srtt_s, 1e-6)
        self._set(rate, BURST_DATAGRAMS * datagram_bytes)

    def set_rate(self, bytes_per_s: float, datagram_bytes: int) -> None:
        """As ``update``, by a controller that says the rate itself, and that would take the wait
        behind a large burst for a queue of the path."""
        self._set(bytes_per_s, RATE_BURST_DATAGRAMS * datagram_bytes)

    def _set(self, bytes_per_s: float, least_burst_bytes: int) -> None:
        self._rate = bytes_per_s
        self._burst = max(float(least_burst_bytes), self._rate * BURST_S)

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self._rate

    @property
    def burst(self) -> int:
        """Bytes that may leave at once, at most."""
        return int(self._burst)

    def budget(self, now: float, due: float | None = None) -> int:
        """Bytes that may be sent at ``now``, by a sender that waited for ``due``, if for anything.

        For each second that it is late, up to ``LATE_S``, the burst may be larger by what the rate
        holds, up to ``LATE_BURST_BYTES``.
        """
        if now > self._at:
            most = self._burst
            if due is not None and due < now:
                late = most + min(now - due, LATE_S) * self._rate
                most = max(most, min(late, LATE_BURST_BYTES))
            self._tokens = min(most, self._tokens + (now - self._at) * self._rate)
            self._at = now
        return int(self._tokens)

    def on_sent(self, n_bytes: int, now: float) -> None:
        """Takes ``n_bytes``; the bucket may go below zero by one burst's rounding."""
        self.budget(now)
        self._tokens -= n_bytes

    def next_time(self, now: float, want_bytes: int) -> float:
        """When ``want_bytes`` (or a full burst, if that is less) will be there."""
        missing = min(float(want_bytes), self._burst) - self.budget(now)
        if missing <= 0:
            return now
        return now + missing / self._rate
