"""Which first flights arrived: the two ends compare, and silence gets a direction.

Without this "UDP is blocked on the way out" and "the answers do not come back" look the same. The
responder tells it to whoever was let in over another road, by ids that only the maker of a flight
can know: so nobody can ask about somebody else's.

Spec: docs/spec/roads.md §8 [RO-80] [RO-81] [RO-82].
"""

from __future__ import annotations

from typing import Final

from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Carrier, Road
from wraith.wire.road_frames import TRIED_MAX, RoadSeen, RoadTried

SEEN_MAX: Final = 1_024


class FlightsSeen:
    """The responder's side, one for each endpoint: the last 1,024 first flights that were
    proven."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}  # in the order of arrival

    def note(self, id_: bytes) -> None:
        """A hello or a preface has proved itself; ``id_`` has 8 bytes."""
        self._ids.pop(id_, None)
        self._ids[id_] = None
        if len(self._ids) > SEEN_MAX:
            del self._ids[next(iter(self._ids))]

    def answer(self, tried: RoadTried) -> RoadSeen:
        return RoadSeen(tuple((id_, id_ in self._ids) for id_ in tried.ids))


class FlightsTried:
    """The initiator's side, one for each ``connect()``: which flights went along which road."""

    __slots__ = ("_roads",)

    def __init__(self) -> None:
        self._roads: dict[bytes, Road] = {}

    def note(self, road: Road, id_: bytes) -> None:
        """A first flight has left along ``road``; ``id_`` has 8 bytes. The latest 16 are kept."""
        self._roads[id_] = road
        if len(self._roads) > TRIED_MAX:
            del self._roads[next(iter(self._roads))]

    def frame(self) -> RoadTried:
        """What to ask over the road that won."""
        return RoadTried(tuple(self._roads))

    def judge(self, seen: RoadSeen, winner: Road) -> list[tuple[Road, RoadFailure]]:
        """What the answer says about UDP roads that were tried in vain.

        Blocked: the winner leads to the same host, and none of these flights has arrived there.
        One way: some have. Where the winner leads to another host, or through a proxy or a web
        server, that none arrived says nothing: the address may not be that of the peer from here.
        """
        arrived: dict[Road, list[bool]] = {}
        for id_, is_seen in seen.seen:
            road = self._roads.get(id_)
            if road is not None and road != winner and road.carrier is Carrier.UDP:
                arrived.setdefault(road, []).append(is_seen)
        found: list[tuple[Road, RoadFailure]] = []
        for road, flights in arrived.items():
            if any(flights):
                found.append((road, RoadFailure(RoadReason.UDP_ONEWAY, sum(flights))))
            elif _leads_to_host_of(winner, road):
                found.append((road, RoadFailure(RoadReason.UDP_BLOCKED, len(flights))))
        return found


def _leads_to_host_of(winner: Road, road: Road) -> bool:
    if winner.proxy is not None or winner.address is None or road.address is None:
        return False
    return winner.address.ip == road.address.ip
