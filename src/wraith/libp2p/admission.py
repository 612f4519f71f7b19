"""Whether a stranger may start a connection: limits, a rate, and Retry under load.

Must not keep anything per stranger: the only state is a count and a token bucket [LQ-41].
"""

from __future__ import annotations

from enum import Enum

from wraith.libp2p.config import QuicLimits


class Verdict(Enum):
    ACCEPT = "accept"
    RETRY = "retry"
    DROP = "drop"


class Admission:
    """One per endpoint. ``begun`` and ``ended`` bracket each half-open incoming connection."""

    def __init__(self, limits: QuicLimits) -> None:
        self._limits = limits
        self._tokens = float(limits.new_burst)
        self._updated: float | None = None
        self.pending = 0

    def judge(self, *, n_connections: int, has_token: bool, now: float) -> Verdict:
        """The verdict on one Initial. ``has_token``: it returned a valid Retry token."""
        limits = self._limits
        if n_connections >= limits.connections or self.pending >= limits.pending_in:
            return Verdict.DROP
        if not has_token and self.pending >= limits.retry_above_pending:
            return Verdict.RETRY
        if self._updated is not None:
            gained = (now - self._updated) * limits.new_per_s
            self._tokens = min(float(limits.new_burst), self._tokens + gained)
        self._updated = now
        if self._tokens < 1:
            return Verdict.DROP
        self._tokens -= 1
        return Verdict.ACCEPT

    def begun(self) -> None:
        self.pending += 1

    def ended(self) -> None:
        self.pending -= 1
