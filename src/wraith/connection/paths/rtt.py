"""The round-trip time of one path (RFC 9002 §5) and the probe timeout that follows from it."""

from __future__ import annotations

GRANULARITY_S = 0.001


class RttEstimator:
    """Seconds throughout, under the names of RFC 9002.

    Args:
        initial_s: assumed until the first sample.
        max_ack_delay_s: the peer's promise; enters the PTO and caps reported delays.
    """

    __slots__ = (
        "first_sample_time",
        "latest_rtt",
        "max_ack_delay_s",
        "min_rtt",
        "rttvar",
        "srtt",
    )

    def __init__(self, initial_s: float, max_ack_delay_s: float) -> None:
        self.max_ack_delay_s = max_ack_delay_s
        self.srtt = initial_s
        self.rttvar = initial_s / 2
        self.latest_rtt = 0.0
        self.min_rtt = 0.0
        self.first_sample_time: float | None = None

    def pto_s(self) -> float:
        """One probe timeout without back-off (RFC 9002 §6.2.1)."""
        return self.srtt + max(4 * self.rttvar, GRANULARITY_S) + self.max_ack_delay_s

    def update(self, sample_s: float, ack_delay_s: float, now: float) -> None:
        """Takes one sample; ``ack_delay_s`` of it the peer says it has waited."""
        sample_s = max(sample_s, 1e-6)
        self.latest_rtt = sample_s
        if self.first_sample_time is None:
            self.first_sample_time = now
            self.min_rtt = sample_s
            self.srtt = sample_s
            self.rttvar = sample_s / 2
            return
        self.min_rtt = min(self.min_rtt, sample_s)
        delay = min(ack_delay_s, self.max_ack_delay_s)
        adjusted = sample_s - delay if sample_s >= self.min_rtt + delay else sample_s
        self.rttvar = 0.75 * self.rttvar + 0.25 * abs(self.srtt - adjusted)
        self.srtt = 0.875 * self.srtt + 0.125 * adjusted
