"""What is known of one road after the win, and of each way that is or was tried along it.

A *place* (``KnownRoad``) is a road with its schedule and its record. A *way* is one try at it, and
the path that the try becomes; a place has one, or two while a link that is suspect is dialled anew.
Nothing here decides: ``keeper.py`` does.

Spec: docs/spec/roads.md §1, §4 [RO-1] [RO-42] [RO-43].
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Carrier, Road

#: Seconds from one try to the next: 1, 2, 4, 8, 15, 30 s after the switch, then every 30 s.
TICKS_S: Final = (1.0, 1.0, 2.0, 4.0, 7.0, 15.0)
LAST_TICK_S: Final = 30.0
WAIT_S_MAX: Final = 300.0
PATIENCE_MAX: Final = 512
"""Above this even the first wait is ``WAIT_S_MAX``."""
PROVEN_S: Final = 60.0


class RoadState(StrEnum):
    """The states of a road, by the words that people see."""

    UNTRIED = "untried"
    TRYING = "trying"  # being opened, or no challenge has come back yet
    OPEN = "open"  # one challenge has come back
    ACTIVE = "active"
    STANDBY = "standby"
    SUSPECT = "suspect"  # it was active, and is silent
    CLOSED = "closed"
    FAILED = "failed"


class RoadStatus(NamedTuple):
    """One road as it stands: for FAILED, why, and when it is tried again (``None``: not now)."""

    road: Road
    state: RoadState
    failure: RoadFailure | None
    retry_at: float | None


class KnownRoad:
    """A road: when it is tried next, and how it has done."""

    __slots__ = (
        "failure",
        "is_excused",
        "n_ticks",
        "next_at",
        "patience",
        "returns_at",
        "road",
        "row",
        "taken_at",
        "was_open",
        "was_return",
    )

    def __init__(self, road: Road, row: int) -> None:
        self.road = road
        self.row = row  # 0 is the best; equal: neither is better
        self.next_at: float | None = None
        self.n_ticks = 0
        self.returns_at = 0.0  # answers that come earlier do not lead back to it
        self.patience = 1  # 2, 4, 8 ...: it was gone back to and failed, so often
        self.is_excused = False  # the network is another since
        self.taken_at = 0.0
        self.was_return = False
        self.failure: RoadFailure | None = None
        self.was_open = False

    @property
    def may_be_tried(self) -> bool:
        return self.failure is None or self.failure.reason is not RoadReason.POLICY

    def plan(self, now: float, *, once: bool = False) -> None:
        """The schedule begins anew with a try at once; ``once``: and the next after 30 s."""
        self.n_ticks = len(TICKS_S) if once else 0
        self.next_at = self.returns_at = now

    def plan_return(self, now: float) -> None:
        """The schedule begins with the first wait after a switch at ``now``. A try that is under
        way may be answered before, and counts, unless this road has to wait. [RO-42] [RO-43]"""
        self.n_ticks = 0
        first_at = self.tick(now, patience=self.waits)
        self.returns_at = first_at if self.waits > 1 else now

    @property
    def waits(self) -> int:
        """How many times as long as usual a return waits."""
        return 1 if self.is_excused else self.patience

    def tick(self, now: float, *, patience: int) -> float:
        """The try that was due is made. Returns when the next one is due."""
        step_s = TICKS_S[self.n_ticks] if self.n_ticks < len(TICKS_S) else LAST_TICK_S
        self.n_ticks += 1
        self.next_at = now + min(step_s * patience, WAIT_S_MAX)
        return self.next_at

    def on_taken(self, now: float, *, is_return: bool) -> None:
        """It is active. ``is_return``: it was gone back to, and nothing forced that."""
        self.taken_at = now
        self.was_return = is_return

    def on_left(self, now: float) -> None:
        """It failed at ``now``, and another road has been taken since. [RO-43]"""
        if now - self.taken_at >= PROVEN_S:
            self.patience = 1
        elif self.was_return:
            self.patience = min(self.patience * 2, PATIENCE_MAX)


class RoadWay:
    """One try, and the path that it becomes. ``id`` names it in every step and every report."""

    __slots__ = (
        "answered_at",
        "closes_at",
        "ends_at",
        "id",
        "is_connected",
        "is_loaded",
        "place",
        "probe_at",
        "started_at",
        "state",
    )

    def __init__(self, id_: int, place: KnownRoad, state: RoadState, now: float) -> None:
        self.id = id_
        self.place = place
        self.state = state
        self.started_at = now
        self.is_connected = False  # a link: it is open, but has not answered
        self.ends_at: float | None = None  # given up then, unless it answers
        self.closes_at: float | None = None  # no longer needed then
        self.answered_at: float | None = None  # the first challenge of a return
        self.probe_at: float | None = None  # the second one is due
        self.is_loaded = False  # the second one is under way

    @property
    def is_link(self) -> bool:
        return self.place.road.carrier is not Carrier.UDP

    @property
    def deadline(self) -> float | None:
        """The earliest of its times."""
        times = [at for at in (self.ends_at, self.closes_at, self.probe_at) if at is not None]
        return min(times, default=None)

    def silence(self) -> RoadFailure:
        """What its having been given up means."""
        if self.answered_at is not None:  # small packets came back, large ones do not
            return RoadFailure(RoadReason.FROZEN if self.is_link else RoadReason.MTU_HOLE)
        if not self.is_link:
            return RoadFailure(RoadReason.UDP_SILENT)
        reason = RoadReason.ACCEPTED_SILENT if self.is_connected else RoadReason.SYN_TIMEOUT
        return RoadFailure(reason)

    def forget_answers(self) -> None:
        """Whatever it has proved was before something changed."""
        self.answered_at = self.probe_at = self.ends_at = None
        self.is_loaded = False
