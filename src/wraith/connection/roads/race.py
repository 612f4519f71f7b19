"""One ``connect()``: which road is tried when, until one of them has won.

::

    row 0  UDP    a₀ ──250 ms── a₁ ──250 ms── a₂ …          (IPv6 and IPv4 in turn)
    row 1  TCP    └─ 250 ms ─▶ b₀ ──250 ms── b₁ …           100 ms: row 0 is known to fail here
    row 2  WS                  └─ 250 ms ─▶ c₀ …            10 ms: all of row 1 has failed hard

A row is a carrier; the rows of proxies come after all others. This decides when to start, and when
to stop, an attempt. It opens nothing, sends nothing and does not know what a hello is: on UDP the
repeats of a hello belong to the attempt.

Driving it: ``on_timer`` at the beginning and whenever ``next_time`` has come; start what it
returns, and let what it has set aside send nothing more. ``on_failed`` when an attempt fails,
``on_won`` when one has a valid RESPONSE. Drain ``on_timer`` after each of them.

Spec: docs/spec/roads.md §2 [RO-10 … RO-18].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.rows import DEFAULT_ORDER, Order, rows_of
from wraith.types import Carrier, Road

ROW_STEP_S: Final = 0.25
KNOWN_STEP_S: Final = 0.1
HURRY_S: Final = 0.01
RETRY_S: Final = 2.0
IN_FLIGHT_MAX: Final = 4
IN_FLIGHT_PER_CARRIER_MAX: Final = 2
ROADS_MAX: Final = 8
ATTEMPTS_MAX: Final = 16
TRIES_MAX: Final = 2


class Attempt(NamedTuple):
    """One attempt at ``road``, to be started now. ``id`` is its number in this race."""

    id: int
    road: Road


class Due(NamedTuple):
    """What ``on_timer`` wants: attempts to ``start``, and the ids of those ``set_aside``, which
    send nothing more and whose answers still count."""

    start: list[Attempt]
    set_aside: list[int]


class _RacedRoad:
    """One road of a row, and the latest attempt at it."""

    __slots__ = ("failure", "id", "n_tries", "retry_at", "road", "started_at")

    def __init__(self, road: Road) -> None:
        self.road = road
        self.n_tries = 0
        self.id = -1
        self.started_at: float | None = None  # while it is in flight
        self.retry_at: float | None = None
        self.failure: RoadFailure | None = None

    @property
    def counts(self) -> bool:
        """Whether it takes one of the places. A road that this host cannot reach at all leaves
        its place to another: half of all addresses may be IPv6, and this host may have none."""
        failure = self.failure
        unreachable = failure is not None and failure.reason is RoadReason.UNREACHABLE
        return self.n_tries > 0 and not unreachable


class _Row:
    __slots__ = ("entries", "first_at", "n_begun", "next_at", "out_at", "step_s")

    def __init__(self, roads: Iterable[Road], step_s: float) -> None:
        self.entries = [_RacedRoad(road) for road in roads]
        self.step_s = step_s  # how long the next row waits for this one
        self.n_begun = 0
        self.first_at: float | None = None
        self.next_at = float("inf")
        self.out_at = float("inf")  # all of it has failed hard: the next row need not wait

    @property
    def is_out(self) -> bool:
        begun = self.entries[: self.n_begun]
        return all(entry.failure is not None and entry.failure.is_hard for entry in begun)


class Race:
    """Which road is tried when.

    Args:
        roads: the roads of the peer, best first within a carrier.
        order: carriers, best first.
        known_to_fail: carriers that have failed in this network last time. The row after such a
            one waits for it for 100 ms only; nothing is left out. Says nothing about proxies.
        now: monotonic seconds; the first road is due at once.
    """

    __slots__ = ("_attempts", "_is_over", "_n_attempts", "_rows", "_starts_at")

    def __init__(
        self,
        roads: Iterable[Road],
        *,
        order: Order = DEFAULT_ORDER,
        known_to_fail: frozenset[Carrier] = frozenset(),
        now: float,
    ) -> None:
        self._rows = [
            _Row(row, KNOWN_STEP_S if _is_known(row[0], known_to_fail) else ROW_STEP_S)
            for row in rows_of(roads, order)[:ROADS_MAX]
        ]
        self._attempts: dict[int, tuple[_Row, _RacedRoad]] = {}
        self._n_attempts = 0
        self._starts_at = now
        self._is_over = False

    def next_time(self) -> float | None:
        """When ``on_timer`` is due; ``None``: nothing will be started any more."""
        turn = self._next_turn()
        return turn[0] if turn is not None else None

    def on_timer(self, now: float) -> Due:
        """What is due at ``now``. What it sets aside, it has set aside."""
        due = Due([], [])
        while (turn := self._next_turn()) is not None and turn[0] <= now:
            _, row, entry = turn
            aside = self._crowded_out_by(entry.road.carrier)
            if aside is not None:
                aside.started_at = None
                aside.retry_at = now + RETRY_S
                due.set_aside.append(aside.id)
            due.start.append(self._start(row, entry, now))
        return due

    def on_failed(self, id_: int, failure: RoadFailure, now: float) -> None:
        """The attempt failed, or the network says so: on UDP it may still be answered. An id that
        is not the latest of its road says nothing. [RO-12]"""
        row, entry = self._attempts[id_]
        if entry.id != id_ or self._is_over:
            return
        entry.failure = failure
        entry.started_at = None
        # A hello is repeated by the attempt itself, whatever ICMP said; a link has to be dialled.
        if entry.road.carrier is not Carrier.UDP:
            entry.retry_at = now + RETRY_S if not failure.is_final else None
        if not failure.is_hard:
            return
        if row.n_begun < len(row.entries) and self._has_place():
            row.next_at = min(row.next_at, now + HURRY_S)
        elif row.is_out:
            row.out_at = now + HURRY_S

    def on_won(self, id_: int) -> Road:
        """A valid RESPONSE came to the attempt: nothing is started any more. Returns its road."""
        self._is_over = True
        return self._attempts[id_][1].road

    @property
    def is_hopeless(self) -> bool:
        """Nothing that was started can still be answered, and nothing is left to start. Never
        true once a hello has left over UDP: what ICMP says ends no attempt."""
        if self.next_time() is not None:
            return False
        begun = [entry for row in self._rows for entry in row.entries if entry.n_tries]
        return all(e.failure is not None and e.road.carrier is not Carrier.UDP for e in begun)

    def outcomes(self) -> list[tuple[Road, RoadFailure | None]]:
        """The roads that were tried, in the order of rows, and how the latest attempt at each has
        failed, if it has."""
        entries = [entry for row in self._rows for entry in row.entries]
        return [(entry.road, entry.failure) for entry in entries if entry.n_tries]

    # -- turns -----------------------------------------------------------------------------------

    def _next_turn(self) -> tuple[float, _Row, _RacedRoad] | None:
        """The earliest attempt that is to be started, and when."""
        if self._is_over:
            return None
        turns: list[tuple[float, _Row, _RacedRoad]] = []
        before: _Row | None = None
        for row in self._rows:
            if row.first_at is None:
                at = self._starts_at
                if before is not None and before.first_at is not None:
                    at = min(before.first_at + before.step_s, before.out_at)
                turns.append((at, row, row.entries[0]))
                break  # what comes after waits for this row's first attempt
            if row.n_begun < len(row.entries) and self._has_place():
                turns.append((row.next_at, row, row.entries[row.n_begun]))
            before = row
        turns += self._retries()
        return min(turns, key=lambda turn: turn[0], default=None)

    def _retries(self) -> list[tuple[float, _Row, _RacedRoad]]:
        """Second attempts. They never crowd out what has been in flight for less than a retry
        waits: an answer over a long way needs that time."""
        turns: list[tuple[float, _Row, _RacedRoad]] = []
        for row in self._rows:
            for entry in row.entries[: row.n_begun]:
                at = entry.retry_at
                if at is None or entry.n_tries >= TRIES_MAX or not self._has_attempt():
                    continue
                if not (entry.counts or self._has_place()):
                    continue
                crowded_out = self._crowded_out_by(entry.road.carrier)
                if crowded_out is not None and crowded_out.started_at is not None:
                    at = max(at, crowded_out.started_at + RETRY_S)
                turns.append((at, row, entry))
        return turns

    def _start(self, row: _Row, entry: _RacedRoad, now: float) -> Attempt:
        if not entry.n_tries:
            row.n_begun += 1
            if row.first_at is None:
                row.first_at = now
            row.next_at = now + ROW_STEP_S
        entry.id = self._n_attempts
        entry.n_tries += 1
        entry.started_at = now
        entry.retry_at = None
        entry.failure = None
        self._n_attempts += 1
        self._attempts[entry.id] = row, entry
        return Attempt(entry.id, entry.road)

    # -- limits ----------------------------------------------------------------------------------

    def _in_flight(self) -> list[_RacedRoad]:
        """Oldest first."""
        entries = [entry for row in self._rows for entry in row.entries]
        flying = [(e.started_at, e.id, e) for e in entries if e.started_at is not None]
        return [entry for _, _, entry in sorted(flying, key=lambda item: item[:2])]

    def _crowded_out_by(self, carrier: Carrier) -> _RacedRoad | None:
        """Who makes room for one more attempt over ``carrier``. [RO-14]"""
        flying = self._in_flight()
        same = [entry for entry in flying if entry.road.carrier is carrier]
        if len(same) >= IN_FLIGHT_PER_CARRIER_MAX:
            return same[0]
        return flying[0] if len(flying) >= IN_FLIGHT_MAX else None

    def _n_waiting_rows(self) -> int:
        return sum(row.first_at is None for row in self._rows)

    def _has_attempt(self) -> bool:
        """Beside one for each row that has not begun. [RO-15]"""
        return self._n_attempts + self._n_waiting_rows() < ATTEMPTS_MAX

    def _has_place(self) -> bool:
        """Whether one more road may be tried, beside one of each row that has not begun."""
        n_places = sum(entry.counts for r in self._rows for entry in r.entries)
        return n_places + self._n_waiting_rows() < ROADS_MAX and self._has_attempt()


def _is_known(road: Road, known_to_fail: frozenset[Carrier]) -> bool:
    return road.proxy is None and road.carrier in known_to_fail
