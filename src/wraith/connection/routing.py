"""Finds the connection of a datagram. Tables only; nothing is decided about its content.

Two tables: by 4-tuple, and by connection id for packets in form B, whose id is masked with this
endpoint's own key. Connection ids lie at one of 14 offsets, which the layouts allow; a lookup
costs one mask per live key and 14 dictionary probes, whatever arrives.

Spec: handshake.md [HS-40] [HS-41].
"""

from __future__ import annotations

from typing import NamedTuple

from wraith.connection.connection import Connection
from wraith.connection.deadlines import Deadline
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.kdf import keyed_hash
from wraith.crypto.session_keys import CID_BYTES
from wraith.types import Address, Buffer, NetworkPath, Road
from wraith.wire.packet import FIXED_OVERHEAD_MIN, PAYLOAD_BYTES_MIN, SAMPLE_BYTES

SESSIONS_PER_PATH = 4
PATHS_PER_SESSION = 4
CID_OFFSETS = 14
PACKET_BYTES_MIN = FIXED_OVERHEAD_MIN + PAYLOAD_BYTES_MIN
_HEAD_BYTES = CID_OFFSETS - 1 + CID_BYTES
_MASK = (1 << (8 * CID_BYTES)) - 1
_SHIFTS = tuple(8 * (CID_OFFSETS - 1 - offset) for offset in range(CID_OFFSETS))


class Dialled(NamedTuple):
    """How a connection was dialled: the roads, the one that won, and where UDP is sent from."""

    roads: tuple[Road, ...]
    winner: Road
    local: Address


class Route(Deadline):
    """One connection's place in the endpoint: its timer, its table entries, its queues."""

    __slots__ = (
        "connection",
        "dialled",
        "is_settled",
        "named_until",
        "record",
        "paths",
        "cid_range",
        "cid_keys",
        "is_dirty",
        "is_ready",
        "is_eventful",
        "is_hidden",
    )

    #: Set once, right after the connection has been made with this route's wake-up.
    connection: Connection

    def __init__(self) -> None:
        super().__init__()
        #: Initiator: how the peer is dialled, for links that are opened later.
        self.record: NodeRecord | None = None
        #: Initiator, once a road has won, if both sides know more than one path.
        self.dialled: Dialled | None = None
        #: Its roads are looked after since the peer has accepted.
        self.is_settled = False
        #: Responder: the change of this endpoint's own roads that the peer has heard of.
        self.named_until = 0
        self.paths: list[NetworkPath] = []
        self.cid_range = (0, -1)
        self.cid_keys: tuple[int, ...] = ()
        self.is_dirty = False
        self.is_ready = False
        self.is_eventful = False
        self.is_hidden = False


class RoutingTable:
    """4-tuple → its connections (last used first), and connection id → connection."""

    __slots__ = ("_by_path", "_by_cid", "_n_towards")

    def __init__(self) -> None:
        self._by_path: dict[NetworkPath, tuple[Route, ...]] = {}
        self._n_towards: dict[Address, int] = {}
        self._by_cid: dict[int, Route] = {}

    def on_path(self, path: NetworkPath) -> tuple[Route, ...]:
        """The connections that use ``path``; normally one, at most four."""
        return self._by_path.get(path, ())

    def n_towards(self, remote: Address) -> int:
        """The number of connections that use a path to ``remote``."""
        return self._n_towards.get(remote, 0)

    def use_path(self, route: Route, path: NetworkPath) -> None:
        """Puts ``route`` first on ``path``. The fifth connection on a path pushes the last one out
        of this table; it stays reachable by connection id."""
        routes = self._by_path.get(path, ())
        if routes and routes[0] is route:
            return
        kept = tuple(other for other in routes if other is not route)
        for dropped in kept[SESSIONS_PER_PATH - 1 :]:
            dropped.paths.remove(path)
            self._count(path, -1)
        self._by_path[path] = (route, *kept[: SESSIONS_PER_PATH - 1])
        if path in route.paths:
            route.paths.remove(path)
        else:
            self._count(path, 1)
        route.paths.append(path)
        if len(route.paths) > PATHS_PER_SESSION:
            self._leave_path(route, route.paths.pop(0))

    def set_cids(self, route: Route, cids: tuple[bytes, ...]) -> None:
        """Replaces the connection ids of ``route``. One that another connection has is left out:
        this connection stays reachable by 4-tuple and by its other ids."""
        table = self._by_cid
        for key in route.cid_keys:
            if table.get(key) is route:
                del table[key]
        keys = tuple(int.from_bytes(cid, "big") for cid in cids)
        for key in keys:
            table.setdefault(key, route)
        route.cid_keys = keys

    def find_by_cid(self, datagram: Buffer, hmks: tuple[bytes, ...]) -> Route | None:
        """The connection that ``datagram`` addresses in form B, if there is one.

        Args:
            hmks: this endpoint's live header-mask keys (32 bytes each), at most two.
        """
        if not self._by_cid or len(datagram) < PACKET_BYTES_MIN:
            return None
        sample = bytes(datagram[-SAMPLE_BYTES:])
        head = int.from_bytes(datagram[:_HEAD_BYTES], "big")
        for hmk in hmks:
            mask = int.from_bytes(keyed_hash(hmk, sample)[:CID_BYTES], "big")
            cids = [(head >> shift & _MASK) ^ mask for shift in _SHIFTS]
            if self._by_cid.keys().isdisjoint(cids):
                continue  # nearly always: it is not in form B
            for offset, cid in enumerate(cids):
                route = self._by_cid.get(cid)
                if (
                    route is not None
                    and route.connection.cid_offset == offset
                    and route.connection.claims(datagram)
                ):
                    return route
        return None

    def remove(self, route: Route) -> None:
        """Forgets ``route`` in both tables."""
        for path in route.paths:
            self._leave_path(route, path)
        route.paths.clear()
        self.set_cids(route, ())

    def leave(self, route: Route, path: NetworkPath) -> None:
        """``route`` is not at ``path`` any more."""
        if path in route.paths:
            route.paths.remove(path)
            self._leave_path(route, path)

    def _count(self, path: NetworkPath, change: int) -> None:
        if path.link:
            return  # a link has one session, and as many links as one likes lead to a remote
        n = self._n_towards.get(path.remote, 0) + change
        if n:
            self._n_towards[path.remote] = n
        else:
            self._n_towards.pop(path.remote, None)

    def _leave_path(self, route: Route, path: NetworkPath) -> None:
        self._count(path, -1)
        routes = tuple(other for other in self._by_path.get(path, ()) if other is not route)
        if routes:
            self._by_path[path] = routes
        else:
            self._by_path.pop(path, None)

    @property
    def n_paths(self) -> int:
        return len(self._by_path)

    @property
    def n_cids(self) -> int:
        return len(self._by_cid)
