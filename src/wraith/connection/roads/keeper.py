"""The roads of a session that stands: leaves one that fails, and goes back to a better one.

::

    active ──suspect, closed, address gone──▶ all others start, 250 ms apart
    active ◀──the first one that answers───── nothing is active
    active ◀──two challenges, 1 s apart────── better roads: after 1, 2, 4, 8, 15, 30, 60 … s

The initiator has one for each session, from HANDSHAKE_CONFIRM on; the responder follows PATH_USE.
It sends nothing and opens nothing.

Driving it: report what happens with the methods below, call ``on_timer`` when ``next_time`` has
come, and after each of these carry out every ``next_step`` until it is ``None``. A report about an
id that is gone says nothing, so reports may cross steps. docs/spec/roads.md §5 has the table.

Spec: docs/spec/roads.md §3, §4 [RO-30 … RO-46].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from wraith.connection.roads.reasons import RoadFailure
from wraith.connection.roads.rows import DEFAULT_ORDER, Order, best_of, row_of, rows_of
from wraith.connection.roads.steps import Activate, CloseRoad, Probe, StandBy, StartRoad, Step
from wraith.connection.roads.ways import PROVEN_S, KnownRoad, RoadState, RoadStatus, RoadWay
from wraith.types import Carrier, Road

START_STEP_S: Final = 0.25
TRYING_MAX: Final = 4
TRYING_PER_CARRIER_MAX: Final = 2
LINKS_MAX: Final = 4
OPEN_MAX: Final = 4
PLACES_MAX: Final = 16
CONFIRM_TRY_S: Final = 2.0
TRY_S: Final = 8.0
TRY_S_MIN: Final = 2.0
"""A try that others wait for may take so long; else ``TRY_S``."""
SECOND_CHALLENGE_S: Final = 1.0


class RoadKeeper:
    """Which roads are tried, kept and used.

    Args:
        roads: what the code and ROADS frames name; the road that won may be among them.
        active: the road that won. Its way has the id 0.
        order: carriers, best first.
        now: monotonic seconds, when HANDSHAKE_CONFIRM has come: better roads are tried at once.
    """

    __slots__ = (
        "_active",
        "_confirm_ends",
        "_is_pinned",
        "_left",
        "_left_at",
        "_migrating_until",
        "_next_id",
        "_order",
        "_places",
        "_spaced_at",
        "_steps",
        "_target",
        "_ways",
    )

    def __init__(
        self, roads: Iterable[Road], active: Road, *, order: Order = DEFAULT_ORDER, now: float
    ) -> None:
        self._order = order
        self._ways: dict[int, RoadWay] = {}
        self._steps: deque[Step] = deque()
        self._next_id = 0
        self._spaced_at = now  # the next try starts then at the earliest
        self._confirm_ends = now + CONFIRM_TRY_S
        self._migrating_until: float | None = None  # migrate() is under way
        self._target: KnownRoad | None = None  # where it wants to go; None: anywhere else
        self._is_pinned = False
        self._left: KnownRoad | None = None  # what was active, while nothing is
        self._left_at = now
        place = KnownRoad(active, row_of(active, order))
        place.on_taken(now, is_return=False)
        place.was_open = True
        self._places = [place]
        self._active: RoadWay | None = self._new_way(place, RoadState.ACTIVE, now)
        self._set_places(roads)
        for place in self._wanted():
            place.plan(now, once=True)

    # -- what happens ----------------------------------------------------------------------------

    def next_step(self) -> Step | None:
        """The next thing to do, oldest first."""
        return self._steps.popleft() if self._steps else None

    def next_time(self) -> float | None:
        """When ``on_timer`` is due; what has passed already is due at once."""
        times = [at for way in self._ways.values() if (at := way.deadline) is not None]
        times += [at for place in self._places if (at := self._start_time(place)) is not None]
        if self._migrating_until is not None:
            times.append(self._migrating_until)
        return min(times, default=None)

    def on_timer(self, now: float) -> None:
        """What is due at ``now`` becomes steps."""
        if self._migrating_until is not None and self._migrating_until <= now:
            self._end_migration()
        for way in list(self._ways.values()):
            if way.closes_at is not None and way.closes_at <= now:
                self._close(way)
            elif way.ends_at is not None and way.ends_at <= now:
                way.place.failure = way.silence()
                self._close(way)
                if way.place is self._target:
                    self._end_migration()
            elif way.probe_at is not None and way.probe_at <= now:
                way.probe_at = None
                way.is_loaded = True
                self._steps.append(Probe(way.id, is_loaded=True))
        while due := [p for p in self._places if _is_due(self._start_time(p), now)]:
            self._try(min(due, key=self._rank), now)

    def on_opened(self, id_: int) -> None:
        """The link is connected. Says no more than why it may fail later."""
        if id_ in self._ways:
            self._ways[id_].is_connected = True

    def on_answer(self, id_: int, now: float) -> None:
        """The newest challenge that was sent there has come back from there."""
        way = self._ways.get(id_)
        if way is None or way is self._active:
            return
        place = way.place
        place.failure = None
        place.was_open = True
        if way.state is RoadState.TRYING:
            way.state = RoadState.OPEN
            way.ends_at = None
            self._close_suspects(place)
        if self._active is None or self._is_migrating_to(place):
            self._activate(way, now)
        elif not self._is_better(place) or now < place.returns_at:
            if way.state is not RoadState.STANDBY:
                self._stand_by(way, now)
        elif way.answered_at is None:
            way.state = RoadState.OPEN
            way.answered_at = now
            way.probe_at = now + SECOND_CHALLENGE_S
            way.ends_at = way.probe_at + TRY_S
            way.closes_at = None
        elif way.is_loaded:
            self._activate(way, now)
        self._limit_open()

    def on_failed(self, id_: int, failure: RoadFailure | None, now: float) -> None:
        """It is gone: the link was not opened or has ended, or the local address has vanished.
        What ICMP says of a path that has answered is no such thing. ``None``: it was not even
        tried, for want of room on this side, which says nothing about the road. After ``policy``
        it is not tried again."""
        way = self._ways.pop(id_, None)
        if way is None:
            return
        if failure is not None:
            way.place.failure = failure
        if way is self._active:
            self._leave(way.place, now)
        elif way.place is self._target:
            self._end_migration()

    def on_suspect(self, id_: int, now: float) -> None:
        """Nothing is acknowledged there any more. The path stays, and goes on being probed."""
        way = self._ways.get(id_)
        if way is None or way.state is RoadState.SUSPECT:
            return
        if way is not self._active:
            if way.state is not RoadState.TRYING:
                self._close(way)
            return
        way.state = RoadState.SUSPECT
        self._leave(way.place, now)

    def on_explained(self, id_: int, failure: RoadFailure) -> None:
        """Why nothing is acknowledged on a path that is suspect."""
        way = self._ways.get(id_)
        if way is not None and way.state is RoadState.SUSPECT:
            way.place.failure = failure

    def on_recovered(self, id_: int, now: float) -> None:
        """Something was acknowledged there again."""
        way = self._ways.get(id_)
        if way is not None and way.state is RoadState.SUSPECT:
            self.on_answer(id_, now)

    def network_changed(self, now: float) -> None:
        """Routes or addresses are others, or this host slept: nothing that was found out before
        is worth waiting for. [RO-44]"""
        for way in list(self._ways.values()):
            if way.state in (RoadState.TRYING, RoadState.OPEN):
                self._close(way)
            else:
                self._steps.append(Probe(way.id, is_loaded=False))
        self._spaced_at = self._confirm_ends = now
        for place in self._places:
            place.is_excused = True
        for place in self._wanted():
            place.plan(now)

    def migrate(self, road: Road | None, now: float) -> None:
        """Go to ``road``, or to any other one, as soon as it answers; given up after 8 s, or when
        ``road`` fails. The active one is used until then. Where this leads the session stays until
        that road fails: no better one is gone back to. [RO-45]

        Raises:
            ValueError: the road is not known.
        """
        target = next((place for place in self._places if place.road == road), None)
        if road is not None and target is None:
            raise ValueError("no such road is known")
        self._end_migration()
        if self._active is not None and target is self._active.place:
            self._is_pinned = True
            return
        self._migrating_until = now + TRY_S
        self._target = target
        self._spaced_at = self._confirm_ends = now
        for place in self._wanted():
            if self._is_migrating_to(place):
                place.plan(now)

    def set_roads(self, roads: Iterable[Road], now: float) -> None:
        """Replaces the roads that are known; those in use stay. At most 16 are kept."""
        before = set(self._places)
        self._set_places(roads)
        for place in self._wanted():
            if place not in before:
                place.plan(now)

    def statuses(self) -> list[RoadStatus]:
        """Every known road as it stands, best first."""
        shown = []
        for place in self._places:
            states = [way.state for way in self._ways_of(place)]
            if states:
                state = min(states, key=_SHOWN_FIRST.index)
            elif place.failure is not None:
                state = RoadState.FAILED
            else:
                state = RoadState.CLOSED if place.was_open else RoadState.UNTRIED
            retry_at = place.next_at if self._is_wanted(place) else None
            shown.append(RoadStatus(place.road, state, place.failure, retry_at))
        return shown

    # -- leaving and taking ----------------------------------------------------------------------

    def _leave(self, place: KnownRoad, now: float) -> None:
        """The active way does not serve any more: all roads start. [RO-32]"""
        self._active = None
        self._left, self._left_at = place, now
        place.is_excused = False
        self._spaced_at = self._confirm_ends = now
        for way in self._ways.values():
            way.forget_answers()  # one answer is enough now
            if way.state is RoadState.TRYING:
                way.ends_at = now + TRY_S
        for known in self._places:
            known.plan(now)

    def _activate(self, way: RoadWay, now: float) -> None:
        before, self._active = self._active, way
        place = way.place
        if place is not self._left:
            place.on_taken(now, is_return=before is not None and not self._is_migrating_to(place))
            if self._left is not None:
                self._left.on_left(self._left_at)
        self._left = None
        self._is_pinned = self._is_migrating_to(place)
        if self._is_pinned:
            self._end_migration()
        way.state = RoadState.ACTIVE
        way.forget_answers()
        way.closes_at = None
        self._steps.append(Activate(way.id))
        if before is not None:
            self._stand_by(before, now)
        for other in list(self._ways.values()):
            if other is way or other is before:
                continue
            if other.state in (RoadState.TRYING, RoadState.OPEN):
                if self._is_wanted(other.place):
                    continue
                if other.state is RoadState.TRYING:
                    self._close(other)
                else:
                    self._stand_by(other, now)
            else:
                other.closes_at = now + PROVEN_S
        for known in self._wanted():
            known.plan_return(now)

    def _stand_by(self, way: RoadWay, now: float) -> None:
        """It is kept until the active road has proved itself. [RO-46]"""
        way.state = RoadState.STANDBY
        way.forget_answers()
        way.closes_at = now + PROVEN_S
        self._steps.append(StandBy(way.id))

    def _is_migrating_to(self, place: KnownRoad) -> bool:
        if self._migrating_until is None:
            return False
        return self._target in (None, place)

    def _end_migration(self) -> None:
        self._migrating_until = None
        self._target = None

    # -- trying ----------------------------------------------------------------------------------

    def _is_wanted(self, place: KnownRoad) -> bool:
        """Whether its schedule counts."""
        if not place.may_be_tried:
            return False
        if self._active is None:
            return True
        if place is self._active.place:
            return False
        if self._is_migrating_to(place):
            return True
        if any(way.state is RoadState.SUSPECT for way in self._ways_of(place)):
            return True
        return self._is_better(place)

    def _is_better(self, place: KnownRoad) -> bool:
        """Whether the session goes back to ``place`` when that has proved itself."""
        if self._active is None:
            return True
        return place.row < self._active.place.row and not self._is_pinned

    def _wanted(self) -> list[KnownRoad]:
        return [place for place in self._places if self._is_wanted(place)]

    def _start_time(self, place: KnownRoad) -> float | None:
        if place.next_at is None or not self._is_wanted(place):
            return None
        if not self._needs_start(place):
            return place.next_at
        room_at, _ = self._room(place)
        if room_at is None:
            return None  # something that has a deadline is in the way
        return max(place.next_at, self._spaced_at, room_at)

    def _needs_start(self, place: KnownRoad) -> bool:
        """Whether a try is a new way. On UDP a suspect path is asked again. A link that hangs may
        do so for ever, since a NAT has forgotten it: where it is needed it is dialled anew as
        well."""
        ways = self._ways_of(place)
        if any(not way.is_link or way.state is not RoadState.SUSPECT for way in ways):
            return False
        return not ways or self._is_better(place)

    def _try(self, place: KnownRoad, now: float) -> None:
        needs_start = self._needs_start(place)
        place.tick(now, patience=1 if self._active is None else place.waits)
        for way in self._ways_of(place):
            is_opening = way.is_link and way.state is RoadState.TRYING
            if not is_opening and way.answered_at is None:
                self._steps.append(Probe(way.id, is_loaded=False))
        if not needs_start:
            return
        _, crowded_out = self._room(place)
        if crowded_out is not None:
            if crowded_out.state is RoadState.TRYING:
                crowded_out.place.failure = crowded_out.silence()
            self._close(crowded_out)
        way = self._new_way(place, RoadState.TRYING, now)
        way.ends_at = self._confirm_ends if now < self._confirm_ends else now + TRY_S
        self._spaced_at = now + START_STEP_S
        self._steps.append(StartRoad(way.id, place.road))

    def _rank(self, place: KnownRoad) -> tuple[bool, bool, int, bool]:
        """Who starts first of those that are due: where the user wants to go, then rows, what has
        just failed last. In a row the host that was reached last comes first: it is the one of
        its addresses that is known to work from here."""
        last = self._active.place if self._active is not None else self._left
        return (
            place is not self._target,
            place is self._left,
            place.row,
            last is None or _host(place.road) != _host(last.road),
        )

    def _room(self, place: KnownRoad) -> tuple[float | None, RoadWay | None]:
        """When ``place`` may start, and which way it crowds out: for a try that is given up, after
        it has had two seconds. ``None``: not before something else ends. [RO-34]"""
        carrier = place.road.carrier
        is_link = carrier is not Carrier.UDP
        trying = [way for way in self._ways.values() if way.state is RoadState.TRYING]
        same = [way for way in trying if way.place.road.carrier is carrier]
        links = [way for way in self._ways.values() if way.is_link]
        if len(same) >= TRYING_PER_CARRIER_MAX:
            return same[0].started_at + TRY_S_MIN, same[0]
        if is_link and len(links) >= LINKS_MAX:
            spare = [way for way in self._spare() if way.is_link]
            if spare and len(trying) < TRYING_MAX:
                return 0.0, spare[0]
            opening = [way for way in trying if way.is_link]
            if not opening:
                return None, None
            return opening[0].started_at + TRY_S_MIN, opening[0]
        if len(trying) >= TRYING_MAX:
            return trying[0].started_at + TRY_S_MIN, trying[0]
        return 0.0, None

    # -- ways and places -------------------------------------------------------------------------

    def _new_way(self, place: KnownRoad, state: RoadState, now: float) -> RoadWay:
        way = RoadWay(self._next_id, place, state, now)
        self._next_id += 1
        self._ways[way.id] = way  # in the order of starting: the first is the oldest
        return way

    def _ways_of(self, place: KnownRoad) -> list[RoadWay]:
        return [way for way in self._ways.values() if way.place is place]

    def _close(self, way: RoadWay) -> None:
        del self._ways[way.id]
        self._steps.append(CloseRoad(way.id))

    def _close_suspects(self, place: KnownRoad) -> None:
        """A new link stands where an old one hangs."""
        for way in self._ways_of(place):
            if way.state is RoadState.SUSPECT:
                self._close(way)

    def _limit_open(self) -> None:
        """At most four paths are open: what is not needed goes, or the latest to come. [RO-34]"""
        n_open = sum(way.state is not RoadState.TRYING for way in self._ways.values())
        coming = [way for way in self._ways.values() if way.state is RoadState.OPEN]
        goes_first = [*self._spare(), *reversed(coming)]
        for way in goes_first[: max(n_open - OPEN_MAX, 0)]:
            self._close(way)

    def _spare(self) -> list[RoadWay]:
        """What may be closed when something else needs its place: standby first, oldest first."""
        spare = [way for way in self._ways.values() if way.state in _SPARE]
        return sorted(spare, key=lambda way: (way.state is RoadState.SUSPECT, way.id))

    def _set_places(self, roads: Iterable[Road]) -> None:
        known = {place.road: place for place in self._places}
        in_use = [place.road for place in self._places if self._ways_of(place)]
        others = [road for road in roads if road not in in_use]
        kept = best_of(others, self._order, PLACES_MAX - len(in_use))
        ordered = rows_of([*in_use, *kept], self._order)
        self._places = [
            known.get(road) or KnownRoad(road, row_of(road, self._order))
            for row in ordered
            for road in row
        ]
        if self._target is not None and self._target not in self._places:
            self._end_migration()


_SPARE: Final = (RoadState.STANDBY, RoadState.SUSPECT)
#: Of several ways along one road the most telling one is shown.
_SHOWN_FIRST: Final = (
    RoadState.ACTIVE,
    RoadState.STANDBY,
    RoadState.OPEN,
    RoadState.SUSPECT,
    RoadState.TRYING,
)


def _is_due(at: float | None, now: float) -> bool:
    return at is not None and at <= now


def _host(road: Road) -> bytes | None:
    return road.address.ip if road.address is not None else None
