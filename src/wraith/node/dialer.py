"""Decides when to dial again and when to give up. Pure time arithmetic, no connections.

Spec: docs/spec/transfer.md §10 [TR-95].
"""

from __future__ import annotations

from wraith.node.config import NodeConfig

BACKOFF_MIN_S = 0.25
BACKOFF_MAX_S = 5.0
PATIENCE_S = 1.0
ROADS_PATIENCE_S = 3.0
"""So long may a silent peer be silent before it is dialled anew. A path that loses a fifth of all
packets falls silent and comes back within that time again and again, and what is under way on it
is worth more than a fresh start."""


class DialPlan:
    """One transfer's dialling. ``record`` is kept by the caller.

    Before anyone ever answered the time limit is ``connect_timeout_s`` from the start, afterwards
    ``wait_s`` from the moment the last connection was lost.
    """

    def __init__(self, config: NodeConfig, now: float) -> None:
        self._config = config
        self.since = now
        self._said_trying = False
        self._next_at: float | None = now
        self._backoff_s = BACKOFF_MIN_S
        self.attempts = 0
        self.was_connected = False

    @property
    def deadline(self) -> float | None:
        """The time at which to give up; ``None``: never."""
        if not self.was_connected:
            return self.since + self._config.connect_timeout_s
        return None if self._config.wait_s is None else self.since + self._config.wait_s

    def next_timer(self, *, trying: bool) -> float | None:
        """``trying``: there is no connection, and one is wanted."""
        times = [] if self._next_at is None else [self._next_at]
        if trying:
            if self.deadline is not None:
                times.append(self.deadline)
            if not self._said_trying and not self.was_connected:
                times.append(self.since + self._config.still_trying_s)
        return min(times) if times else None

    def is_due(self, now: float) -> bool:
        """True if it is time to dial: the caller does, and says how it went."""
        if self._next_at is None or now < self._next_at:
            return False
        self._next_at = None
        self.attempts += 1
        return True

    def is_over(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    def takes_long(self, now: float) -> float | None:
        """Once: the seconds since the start, when it is time to say something."""
        if self._said_trying or self.was_connected:
            return None
        if now < self.since + self._config.still_trying_s:
            return None
        self._said_trying = True
        return now - self.since

    def on_failed(self, now: float) -> None:
        """An attempt failed: the next one comes a little later each time."""
        self._next_at = now + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)

    def on_connected(self) -> None:
        self.was_connected = True
        self._next_at = None
        self._backoff_s = BACKOFF_MIN_S

    def on_silent(self, now: float, *, has_roads: bool = False) -> None:
        """The peer fell silent: dial after ``PATIENCE_S``, count the wait from here. A session that
        ``has_roads`` beside this one gets ``ROADS_PATIENCE_S`` to find one that is open: a new
        session would read again what is under way."""
        self.since = now
        self._next_at = now + (ROADS_PATIENCE_S if has_roads else PATIENCE_S)
        self._backoff_s = BACKOFF_MIN_S

    def on_recovered(self) -> None:
        """The silent peer is heard again: nobody is dialled any more."""
        self._next_at = None
        self._backoff_s = BACKOFF_MIN_S

    def on_lost(self, since: float, now: float) -> None:
        """The connection is gone: dial at once, count the wait from ``since``."""
        self.since = since
        self._next_at = now if self._next_at is None else min(self._next_at, now)
        self._backoff_s = BACKOFF_MIN_S
