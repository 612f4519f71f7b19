"""The named timers of one connection. At most one deadline each, absolute monotonic seconds."""

from __future__ import annotations

from enum import IntEnum


class Timer(IntEnum):
    ACK = 0
    PACE = 1
    LOSS = 2
    IDLE = 3
    KEEPALIVE = 4
    DRAIN = 5
    REKEY = 6
    OLD_EPOCH = 7
    PATH = 8
    MTU = 9
    AUTHORISE = 10
    CONFIRM = 11
    SKIPPED_KEYS = 12
    SESSION_AGE = 13
    SESSION_END = 14
    END = 15


class Timers:
    """A handful of deadlines; small enough that a scan beats a heap."""

    __slots__ = ("_deadlines",)

    def __init__(self) -> None:
        self._deadlines: dict[Timer, float] = {}

    def set(self, timer: Timer, at: float | None) -> None:
        """Sets the deadline; ``None`` clears it."""
        if at is None:
            self._deadlines.pop(timer, None)
        else:
            self._deadlines[timer] = at

    def get(self, timer: Timer) -> float | None:
        return self._deadlines.get(timer)

    def clear(self) -> None:
        self._deadlines.clear()

    def next(self) -> float | None:
        """The earliest deadline."""
        return min(self._deadlines.values(), default=None)

    def pop_due(self, now: float) -> list[Timer]:
        """Clears and returns the timers that are due, in the order of ``Timer``."""
        due = sorted(timer for timer, at in self._deadlines.items() if at <= now)
        for timer in due:
            del self._deadlines[timer]
        return due
