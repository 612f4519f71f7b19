"""Which accepted links live on while nobody has vouched for them, and for how long.

::

    UNDECIDED ── preface proven ──► PROVEN ── something authenticated ──► (a session's)
        │ 5 s, or too many            │ 10 s since it came, or too many
        └──────────► DISCARDING ◄─────┘ ── 60 to 600 s, or too many ──► reset

Three pools with bounds of their own, so that what discards displaces nobody who may be honest.
A pool that is full gives up the oldest link of the prefix that has most: whoever floods gives up
his own. Giving up means to discard, which nobody sees; only what discards already is reset.
No sockets: it says what to do, by the link's number. Spec: carriers.md [CA-20 to CA-22].
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Final, NamedTuple

from wraith.abc import Rng
from wraith.connection.deadlines import Deadline, DeadlineHeap
from wraith.connection.handshake.budget import prefix_of
from wraith.types import Address

PREFACE_S: Final = 5.0
"""So long the 88 bytes may take."""
AUTHENTICATE_S: Final = 10.0
"""So long after it came a link may be without anything that authenticates."""
DISCARD_S: Final = (60.0, 600.0)
"""A link discards for a random time between these, however much comes."""
UNDECIDED_MAX: Final = 1_024
UNDECIDED_PER_PREFIX_MAX: Final = 16
PROVEN_MAX: Final = 4_096
PROVEN_PER_PREFIX_MAX: Final = 64
DISCARDING_MAX: Final = 1_024


class Stage(Enum):
    """What is known of a link."""

    UNDECIDED = "undecided"
    PROVEN = "proven"
    DISCARDING = "discarding"


class Order(NamedTuple):
    """What to do with a link: to discard it, or to reset it."""

    number: int
    reset: bool


class _Guest(Deadline):
    """A link in a pool; ``at`` is the end of its time there."""

    __slots__ = ("came_at", "number", "prefix", "stage")

    def __init__(self, number: int, prefix: bytes, now: float) -> None:
        super().__init__()
        self.number = number
        self.prefix = prefix
        self.stage = Stage.UNDECIDED
        self.came_at = now


class _Pool:
    """Links of one stage, oldest first, and how many each prefix has."""

    __slots__ = ("entries", "n_max", "per_prefix_max", "_counts")

    def __init__(self, n_max: int, per_prefix_max: int) -> None:
        self.n_max = n_max
        self.per_prefix_max = per_prefix_max
        self.entries: dict[int, _Guest] = {}
        self._counts: Counter[bytes] = Counter()

    def add(self, entry: _Guest) -> _Guest | None:
        """Takes ``entry``; returns the one that has to make room for it, if one has."""
        victim: _Guest | None = None
        # Behind a proxy that names no client there is no prefix to hold against. [CA-74]
        if entry.prefix and self._counts[entry.prefix] >= self.per_prefix_max:
            victim = self._oldest_of(entry.prefix)
        elif len(self.entries) >= self.n_max:
            victim = self._oldest_of(self._counts.most_common(1)[0][0])
        if victim is not None:
            self.remove(victim)
        self.entries[entry.number] = entry
        self._counts[entry.prefix] += 1
        return victim

    def remove(self, entry: _Guest) -> None:
        del self.entries[entry.number]
        self._counts[entry.prefix] -= 1
        if not self._counts[entry.prefix]:
            del self._counts[entry.prefix]

    def _oldest_of(self, prefix: bytes) -> _Guest:
        return next(entry for entry in self.entries.values() if entry.prefix == prefix)


class LinkPools:
    """The links of one endpoint that no session answers for.

    Args:
        rng: for the time that a link discards.
        files_max: how many files the process may have open: undecided and discarding links take an
            eighth of it each at most, proven ones a quarter, so all of them half.
    """

    __slots__ = ("_by_number", "_deadlines", "_pools", "_rng")

    def __init__(self, rng: Rng, files_max: int = 1 << 16) -> None:
        self._rng = rng
        eighth = max(1, files_max // 8)
        discarding = min(DISCARDING_MAX, eighth)
        self._pools = {
            Stage.UNDECIDED: _Pool(min(UNDECIDED_MAX, eighth), UNDECIDED_PER_PREFIX_MAX),
            Stage.PROVEN: _Pool(min(PROVEN_MAX, 2 * eighth), PROVEN_PER_PREFIX_MAX),
            Stage.DISCARDING: _Pool(discarding, discarding),
        }
        self._by_number: dict[int, _Guest] = {}
        self._deadlines = DeadlineHeap()

    def stage_of(self, number: int) -> Stage | None:
        """``None``: it is a session's, or gone."""
        entry = self._by_number.get(number)
        return None if entry is None else entry.stage

    def count(self, stage: Stage) -> int:
        """Links of that stage."""
        return len(self._pools[stage].entries)

    def add(self, number: int, remote: Address, now: float) -> list[Order]:
        """A link was accepted. Returns what becomes of others for it."""
        entry = _Guest(number, prefix_of(remote), now)
        self._by_number[number] = entry
        return self._place(entry, Stage.UNDECIDED, now, now + PREFACE_S)

    def proven(self, number: int, now: float) -> list[Order]:
        """Its preface is good. Returns what becomes of others."""
        entry = self._by_number.get(number)
        if entry is None or entry.stage is not Stage.UNDECIDED:
            return []
        self._pools[entry.stage].remove(entry)
        return self._place(entry, Stage.PROVEN, now, entry.came_at + AUTHENTICATE_S)

    def discard(self, number: int, remote: Address, now: float) -> list[Order]:
        """It discards from now on, whatever it was before. Returns what becomes of others."""
        entry = self._by_number.get(number)
        if entry is None:
            entry = self._by_number[number] = _Guest(number, prefix_of(remote), now)
        elif entry.stage is Stage.DISCARDING:
            return []
        else:
            self._pools[entry.stage].remove(entry)
        return self._discard(entry, now)

    def remove(self, number: int) -> None:
        """It is closed, or a session answers for it. One that is not here is no error."""
        entry = self._by_number.pop(number, None)
        if entry is not None:
            self._pools[entry.stage].remove(entry)
            self._deadlines.set(entry, None)

    def next_time(self) -> float | None:
        """When ``due`` has something to say."""
        return self._deadlines.next_time()

    def due(self, now: float) -> list[Order]:
        """Whose time is over."""
        orders: list[Order] = []
        while isinstance(entry := self._deadlines.pop_due(now), _Guest):
            self._pools[entry.stage].remove(entry)
            if entry.stage is Stage.DISCARDING:
                orders.append(self._end(entry))
            else:
                orders.append(Order(entry.number, reset=False))
                orders += self._discard(entry, now)
        return orders

    def _place(self, entry: _Guest, stage: Stage, now: float, until: float) -> list[Order]:
        entry.stage = stage
        self._deadlines.set(entry, until)
        victim = self._pools[stage].add(entry)
        if victim is None:
            return []
        if stage is Stage.DISCARDING:
            return [self._end(victim)]
        return [Order(victim.number, reset=False), *self._discard(victim, now)]

    def _discard(self, entry: _Guest, now: float) -> list[Order]:
        low, high = DISCARD_S
        draw = int.from_bytes(self._rng.public_bytes(8), "big") / (1 << 64)
        return self._place(entry, Stage.DISCARDING, now, now + low + draw * (high - low))

    def _end(self, entry: _Guest) -> Order:
        del self._by_number[entry.number]
        self._deadlines.set(entry, None)
        return Order(entry.number, reset=True)
