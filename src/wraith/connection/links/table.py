"""The links of an endpoint: whose they are, and which ones are being opened.

Tables and wishes, with the first bytes of each link; nothing is decided about sessions here.
Spec: docs/spec/carriers.md.
"""

from __future__ import annotations

from collections import deque

from wraith.abc import Rng, WallClock
from wraith.connection.deadlines import Deadline, DeadlineHeap
from wraith.connection.links.link import StreamLink
from wraith.connection.links.preface import make_preface
from wraith.connection.links.wishes import (
    CloseLink,
    DiscardLink,
    DropRoad,
    LinkWish,
    OpenRoad,
    SettleLink,
    ShortenLink,
)
from wraith.connection.links.ws_path import make_token
from wraith.connection.routing import Route
from wraith.types import Carrier, NetworkPath, Road

AUTHENTICATION_S = 10.0
"""A link on which nothing authenticates for so long is discarded."""


class LinkEntry(Deadline):
    """One open link. ``route`` is whose it is, once something has authenticated there;
    ``is_short``: it has urgent flows."""

    __slots__ = ("is_short", "path", "route")

    def __init__(self, path: NetworkPath) -> None:
        super().__init__()
        self.path = path
        self.route: Route | None = None
        self.is_short = False


class LinkTable:
    """The links that are open, by number, and those that are wished for, by id."""

    __slots__ = ("_by_number", "_clock", "_deadlines", "_n_wishes", "_rng", "_wanted", "wishes")

    def __init__(self, deadlines: DeadlineHeap, rng: Rng, clock: WallClock) -> None:
        self._deadlines = deadlines
        self._rng = rng
        self._clock = clock
        self._by_number: dict[int, LinkEntry] = {}
        #: By the id of the wish: for whom, and how he calls it.
        self._wanted: dict[int, tuple[Route, int]] = {}
        self._n_wishes = 0
        #: Taken by whoever drives the endpoint, oldest first.
        self.wishes: deque[LinkWish] = deque()

    def __len__(self) -> int:
        return len(self._by_number)

    def find(self, path: NetworkPath) -> LinkEntry | None:
        """The open link of ``path``."""
        return self._by_number.get(path.link)

    # -- opening

    def want(self, route: Route, id_: int, road: Road) -> None:
        """``route``, which was dialled here, wishes for a link to ``road``, which it calls ``id_``.
        The link proves the access key that was dialled. [CA-2]"""
        record, rng, unix_now = route.record, self._rng, self._clock.unix_time()
        assert record is not None
        key, psk = record.access_key, record.access_psk
        preface, keys = make_preface(key, psk, road.carrier, rng=rng, unix_now=unix_now)
        token = ""
        if road.carrier is Carrier.WS:
            token = make_token(key, psk, rng=rng, unix_now=unix_now)
        link = StreamLink.dialled(keys, preface)
        self._n_wishes += 1
        self._wanted[self._n_wishes] = route, id_
        self.wishes.append(OpenRoad(self._n_wishes, road, link, token))

    def answered(self, wish_id: int) -> tuple[Route, int] | None:
        """A wish has an answer: whose it was. ``None``: it was dropped meanwhile."""
        return self._wanted.pop(wish_id, None)

    def drop(self, route: Route, id_: int) -> None:
        """The link that ``route`` calls ``id_`` is of no use: it is not opened, or closed again."""
        for wish_id, (owner, name) in self._wanted.items():
            if owner is route and name == id_:
                del self._wanted[wish_id]
                self.wishes.append(DropRoad(wish_id))
                return

    def add(self, path: NetworkPath, now: float) -> LinkEntry:
        """``path`` is open; somebody has to authenticate there soon."""
        entry = self._by_number[path.link] = LinkEntry(path)
        self._deadlines.set(entry, now + AUTHENTICATION_S)
        return entry

    def belongs(self, path: NetworkPath, route: Route) -> None:
        """Something of ``route`` has authenticated on this link."""
        entry = self._by_number.get(path.link)
        if entry is not None and entry.route is not route:
            entry.route = route
            self._deadlines.set(entry, None)
            self.wishes.append(SettleLink(path))

    def shorten(self, path: NetworkPath, is_short: bool) -> None:
        """The session that sends on this link has urgent flows, or has none."""
        entry = self._by_number.get(path.link)
        if entry is not None and entry.is_short is not is_short:
            entry.is_short = is_short
            self.wishes.append(ShortenLink(path, is_short))

    # -- ending

    def gone(self, path: NetworkPath) -> LinkEntry | None:
        """The link has ended; returns what is known of it."""
        entry = self._by_number.pop(path.link, None)
        if entry is not None:
            self._deadlines.set(entry, None)
        return entry

    def discard(self, path: NetworkPath) -> LinkEntry | None:
        """Nothing more happens on this link, and its peer is not told."""
        entry = self.gone(path)
        if entry is not None:
            self.wishes.append(DiscardLink(path))
        return entry

    def close(self, path: NetworkPath) -> None:
        """Ends one link in good order."""
        if self.gone(path) is not None:
            self.wishes.append(CloseLink(path))

    def close_all_of(self, route: Route) -> None:
        """The session or the dial of ``route`` is over."""
        for entry in [one for one in self._by_number.values() if one.route is route]:
            self.close(entry.path)
        for wish_id in [id_ for id_, (owner, _) in self._wanted.items() if owner is route]:
            del self._wanted[wish_id]
            self.wishes.append(DropRoad(wish_id))
