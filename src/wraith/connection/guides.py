"""The guides of an endpoint: every session that it has dialled gets one as soon as its peer has
accepted it, if there is more than one road or the one that won is a link.

Spec: docs/spec/roads.md [RO-30] [RO-65].
"""

from __future__ import annotations

from collections.abc import Sequence

from wraith.connection.deadlines import DeadlineHeap
from wraith.connection.guide import RoadGuide
from wraith.connection.links.table import LinkTable
from wraith.connection.links.wishes import WatchNetwork
from wraith.connection.named_roads import ChooseRoads, roads_after
from wraith.connection.routing import Dialled, Route
from wraith.types import Carrier, Road


class Guides:
    """The guides by the place of their session. The network is watched while there is one, or a
    peer that could take another road if it heard of it."""

    __slots__ = ("_by_route", "_deadlines", "_is_watching", "_links", "_told")

    def __init__(self, links: LinkTable, deadlines: DeadlineHeap) -> None:
        self._by_route: dict[Route, RoadGuide] = {}
        self._links = links
        self._deadlines = deadlines
        #: Sessions whose peers were told where this side listens.
        self._told: set[Route] = set()
        self._is_watching = False

    def of(self, route: Route | None) -> RoadGuide | None:
        """The guide of a session; ``None`` for no session, and for one that needs no guide."""
        return None if route is None else self._by_route.get(route)

    def serve(self, route: Route, choose: ChooseRoads | None, now: float) -> None:
        """The session of ``route`` was touched: gives it a guide when it is time, tells that of
        roads which the peer has named, and lets it do what is due.

        Args:
            choose: as for ``roads_after``.
        """
        if route.dialled is not None and route.connection.knows_endpoint:
            self._look_after(route, route.dialled, choose, now)
        if (guide := self._by_route.get(route)) is not None:
            self.run(guide, now)

    def run(self, guide: RoadGuide, now: float) -> None:
        """Does what is due."""
        guide.run(now)
        self._deadlines.set(guide, guide.next_time())

    def forget(self, route: Route) -> None:
        """The session is over."""
        guide = self._by_route.pop(route, None)
        if guide is not None:
            self._deadlines.set(guide, None)
        self._told.discard(route)
        self._watch()

    def told(self, route: Route) -> None:
        """The peer of this session was told where this side listens. [RO-64]"""
        self._told.add(route)
        self._watch()

    def _watch(self) -> None:
        wanted = bool(self._by_route or self._told)
        if wanted is not self._is_watching:
            self._is_watching = wanted
            self._links.wishes.append(WatchNetwork(wanted))

    def _look_after(
        self, route: Route, dialled: Dialled, choose: ChooseRoads | None, now: float
    ) -> None:
        connection = route.connection
        named = connection.road_reports.take_named()
        if named is None and route.is_settled:
            return
        route.is_settled = True
        if not connection.has_roads:
            route.dialled = None
            return
        guide = self._by_route.get(route)
        roads: Sequence[Road] = dialled.roads
        if named is not None:
            active = dialled.winner if guide is None else guide.active_road
            is_direct = active is not None and active.proxy is None
            remote = connection.path.remote if is_direct else None
            roads = roads_after(dialled.roads, named, choose=choose, remote=remote)
        if guide is not None:
            guide.set_roads(roads, now)
        elif dialled.winner.carrier is not Carrier.UDP or set(roads) - {dialled.winner}:
            self._by_route[route] = RoadGuide(
                route, self._links, roads, dialled.winner, local=dialled.local, now=now
            )
            self._watch()
