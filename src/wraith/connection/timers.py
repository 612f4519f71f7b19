"""The named timers of one connection. At most one deadline each, absolute monotonic seconds.

What a part of the session keeps the time of itself (acknowledgements, loss, rekey, the validation
of a path) is no timer here: ``Connection.next_timer`` asks the part.
"""

from __future__ import annotations

from enum import IntEnum


class Timer(IntEnum):
    """In the order in which timers that are due at the same time are served."""

    PACE = 0
    IDLE = 1
    KEEPALIVE = 2
    DRAIN = 3
    OLD_EPOCH = 4
    MTU_BEGIN = 5
    """The search for larger datagrams begins by itself; it goes on with what is sent."""
    AUTHORISE = 6
    CONFIRM = 7
    SKIPPED_KEYS = 8
    SESSION_AGE = 9
    SESSION_END = 10
    END = 11
    QUIET = 12
    """Stream bytes came, and then nothing more did."""
    ROADS_ASKED = 13
    """The peer has not said which first flights it has seen."""


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
