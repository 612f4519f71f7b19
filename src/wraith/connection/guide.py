"""Carries out what the keeper of a session's roads decides: links are wished for, paths joined,
challenged, used and given up.

The initiator has one for each session that can have more than one road. It stands between
``roads/keeper.py``, which knows roads, and the connection, which knows paths.

Spec: docs/spec/roads.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from wraith.connection.deadlines import Deadline
from wraith.connection.links.table import LinkTable
from wraith.connection.links.wishes import ExplainSilence
from wraith.connection.moving import PathNews
from wraith.connection.roads.keeper import RoadKeeper
from wraith.connection.roads.reasons import RoadFailure
from wraith.connection.roads.steps import Activate, CloseRoad, Probe, StandBy, StartRoad, Step
from wraith.connection.roads.ways import RoadState, RoadStatus
from wraith.connection.routing import Route
from wraith.types import Address, Carrier, NetworkPath, Road


class RoadGuide(Deadline):
    """The roads of one session.

    Args:
        route: of the session.
        roads: all that are known.
        winner: the road that the session came on.
        local: where UDP is sent from, if that matters.
    """

    __slots__ = ("_keeper", "_links", "_local", "_news", "_paths", "_route")

    def __init__(
        self,
        route: Route,
        links: LinkTable,
        roads: Sequence[Road],
        winner: Road,
        *,
        local: Address,
        now: float,
    ) -> None:
        super().__init__()
        self._route = route
        self._links = links
        self._local = local
        self._keeper = RoadKeeper(roads, winner, now=now)
        #: Where each way of the keeper leads; a link that is being opened leads nowhere yet.
        self._paths: dict[int, NetworkPath | None] = {0: route.connection.path}
        self._news = route.connection.guided()

    @property
    def statuses(self) -> list[RoadStatus]:
        """Every known road as it stands, best first."""
        return self._keeper.statuses()

    @property
    def active_road(self) -> Road | None:
        """The road that data go on; ``None`` while none serves."""
        found = (one.road for one in self.statuses if one.state is RoadState.ACTIVE)
        return next(found, None)

    def next_time(self) -> float | None:
        """When ``run`` is due; never once the session is closing."""
        return self._keeper.next_time() if self._route.connection.is_open else None

    def run(self, now: float) -> None:
        """Takes what has happened on the paths, and does what is due. A session that is closing
        takes no road any more."""
        if not self._route.connection.is_open:
            return
        while self._news:
            news, path = self._news.popleft()
            id_ = self._id_of(path)
            if id_ is None:
                continue
            match news:
                case PathNews.ANSWER:
                    self._keeper.on_answer(id_, now)
                case PathNews.SUSPECT:
                    if path.link:
                        self._links.wishes.append(ExplainSilence(path))
                    self._keeper.on_suspect(id_, now)
                case PathNews.RECOVERED:
                    self._keeper.on_recovered(id_, now)
        due = self._keeper.next_time()
        if due is not None and due <= now:
            self._keeper.on_timer(now)
        while (step := self._keeper.next_step()) is not None:
            self._take(step, now)

    def on_link_opened(self, id_: int, path: NetworkPath, now: float) -> bool:
        """The link that was wished for is open. False: it is not of use any more."""
        if id_ not in self._paths or not self._route.connection.is_open:
            return False
        self._paths[id_] = path
        self._keeper.on_opened(id_)
        if not self._route.connection.join(path, now):
            self._fail(id_, None, now)
            return False
        return True

    def on_link_failed(self, id_: int, failure: RoadFailure, now: float) -> None:
        """The link cannot be had."""
        if id_ in self._paths:
            self._fail(id_, failure, now)

    def on_link_closed(self, path: NetworkPath, failure: RoadFailure, now: float) -> None:
        """A link has ended."""
        id_ = self._id_of(path)
        if id_ is not None:
            self._fail(id_, failure, now)

    def on_link_silent(self, path: NetworkPath, failure: RoadFailure) -> None:
        """What is known of why nothing is heard on a link."""
        id_ = self._id_of(path)
        if id_ is not None:
            self._keeper.on_explained(id_, failure)

    def on_network_changed(self, now: float) -> None:
        """Addresses or routes of this host are others."""
        self._keeper.network_changed(now)

    def set_roads(self, roads: Sequence[Road], now: float) -> None:
        """The peer listens elsewhere now."""
        self._keeper.set_roads(roads, now)

    def migrate(self, road: Road | None, now: float) -> None:
        """As ``RoadKeeper.migrate``."""
        self._keeper.migrate(road, now)

    # -- inside ----------------------------------------------------------------------------------

    def _take(self, step: Step, now: float) -> None:
        connection = self._route.connection
        match step:
            case StartRoad(id_, road):
                self._start(id_, road, now)
            case Probe(id_, is_loaded):
                path = self._paths.get(id_)
                if path is None or connection.probe(path, now, is_padded=is_loaded):
                    return
                if not path.link:
                    connection.join(path, now)  # the challenges there were in vain: anew
            case Activate(id_):
                if (path := self._paths.get(id_)) is not None:
                    connection.use(path, now)
            case StandBy(_):
                pass  # PATH_USE of the other path has said it
            case CloseRoad(id_):
                path = self._paths.pop(id_, None)
                self._links.drop(self._route, id_)
                if path is not None:
                    connection.leave(path, now)
                    if path.link:
                        self._links.close(path)

    def _start(self, id_: int, road: Road, now: float) -> None:
        if road.carrier is not Carrier.UDP:
            self._paths[id_] = None
            self._links.want(self._route, id_, road)
            return
        assert road.address is not None
        path = NetworkPath(self._local, road.address)
        self._paths[id_] = path
        if not self._route.connection.join(path, now):
            self._fail(id_, None, now)

    def _fail(self, id_: int, failure: RoadFailure | None, now: float) -> None:
        """``failure`` is ``None`` where no connection id is free: it says nothing of the road."""
        del self._paths[id_]
        self._keeper.on_failed(id_, failure, now)

    def _id_of(self, path: NetworkPath) -> int | None:
        """The newest way that leads along ``path``."""
        found: int | None = None
        for id_, known in self._paths.items():
            if known is None or known.link != path.link or known.remote != path.remote:
                continue
            found = id_
        return found
