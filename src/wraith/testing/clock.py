"""Virtual time: one number that only a simulation moves, and calendars that follow it."""

from __future__ import annotations

SIMULATION_EPOCH = 1_800_000_000.0
"""Unix time at virtual second 0: any fixed moment will do."""


class VirtualClock:
    """Monotonic seconds from 0. ``advance`` is the only way forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def advance(self, to: float) -> None:
        if to < self.now:
            raise ValueError(f"time cannot run back from {self.now} to {to}")
        self.now = to


class VirtualCalendar:
    """A ``WallClock`` on top of a ``VirtualClock``, wrong by ``skew_s`` on purpose."""

    def __init__(self, clock: VirtualClock, skew_s: float = 0.0) -> None:
        self._clock = clock
        self.skew_s = skew_s

    def unix_time(self) -> float:
        return SIMULATION_EPOCH + self._clock.now + self.skew_s
