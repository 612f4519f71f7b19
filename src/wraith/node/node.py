"""One endpoint and the services at its port. How to drive it stands in the package's docstring.

::

    datagrams ──► FirstLook (of strangers) ──► Endpoint ── events ──► whose connection is it?
                                                  ▲                     │ accepted: its access key
                                                  │                     │ dialled: who dialled
                                                  └──── commands ──── Service (at most four listen)

The node decides to whom a connection belongs and nothing about what is said on it.

Spec: docs/adr/0021-services-are-chosen-by-access-key.md, handshake.md [HS-82].
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from wraith.connection.connection import Connection
from wraith.connection.endpoint import Endpoint
from wraith.connection.events import Confirmed, PeerAuthenticated, RoadFailed
from wraith.connection.handshake.endpoint_keys import ACCESS_KEYS_MAX, AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.links.link import StreamLink
from wraith.connection.links.wishes import LinkWish
from wraith.connection.roads.reasons import RoadFailure
from wraith.connection.state import OPEN_STATES
from wraith.connection.tickets.store import MemoryTickets
from wraith.errors import CloseCode, LocalProtocolError
from wraith.node.service import FirstLook, Service
from wraith.types import Buffer, Carrier, NetworkPath, Road, SuiteId, Transmit

AnyService = Service[Any]
ROAD_NEWS_MAX: Final = 64


class Node:
    """See the package.

    Args:
        endpoint: one without access keys. The node drives it from now on; nobody else may.
    """

    # A dialled session has a node of its own: what an empty one holds is paid for each.
    __slots__ = (
        "_keyed", "_listening", "_looks", "_now", "_services", "choose_roads", "endpoint",
        "known_to_fail", "road_news",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, *, now: float) -> None:
        self.endpoint = endpoint
        #: The roads of a record that may be tried; ``None``: its addresses over UDP.
        self.choose_roads: Callable[[NodeRecord], Sequence[Road]] | None = None
        #: Carriers that fail in this network, as far as is known.
        self.known_to_fail: frozenset[Carrier] = frozenset()
        #: How carriers have fared on direct roads since somebody took this list, oldest first;
        #: ``None``: nobody keeps it.
        self.road_news: list[tuple[Carrier, RoadFailure | None]] | None = None
        self._services: tuple[AnyService, ...] = ()
        #: Services by the public half of their access key, those too that only finish what they
        #: have begun.
        self._keyed: tuple[tuple[bytes, AnyService], ...] = ()
        self._listening: tuple[bytes, ...] = ()
        self._looks: tuple[FirstLook, ...] = ()
        self._now = now

    # --- services -------------------------------------------------------------------------------

    def add(self, service: AnyService, now: float, *, key: AccessKey | None = None) -> None:
        """Takes ``service`` in; with ``key`` it listens: whoever proves that key is its peer.

        Raises:
            LocalProtocolError: four services listen already, or another one has this key.
        """
        self._now = now
        if key is not None:
            if self._service_of(key.ak.public) is not None:
                raise LocalProtocolError("a service at this port listens with this access key")
            if len(self._listening) >= ACCESS_KEYS_MAX:
                raise LocalProtocolError(
                    f"{ACCESS_KEYS_MAX} services listen at this port already",
                    hint="close one of them, or listen at another port",
                )
            self.endpoint.add_access_key(key, now)
            self._keyed = (*self._keyed, (key.ak.public, service))
            self._listening = (*self._listening, key.ak.public)
        if service not in self._services:
            self._services = (*self._services, service)

    def stop_listening(self, service: AnyService) -> None:
        """Answers no more hellos of its key. What has begun goes on, half-open attempts too."""
        for public in self._keys_of(service):
            self.endpoint.remove_access_key(public)
            self._listening = tuple(one for one in self._listening if one != public)

    def go_away(self, service: AnyService, now: float) -> None:
        """Stops listening, and tells every peer of ``service`` that its connection will end."""
        self._now = now
        self.stop_listening(service)
        for connection in self.connections_of(service):
            if connection.authorised and connection.state in OPEN_STATES:
                connection.go_away(now)

    def end_all(self, service: AnyService, now: float) -> None:
        """Stops listening, and ends every connection of ``service`` as planned; it is told of each.
        Its half-open attempts end in silence."""
        self._now = now
        self.stop_listening(service)
        for public in self._keys_of(service):
            self.endpoint.end_attempts(public)
        for connection in self.connections_of(service):
            connection.end("", now)

    def remove(self, service: AnyService, now: float) -> None:
        """Takes ``service`` away with its key, as ``end_all`` does it. It is told nothing more.
        Harmless when it is gone already."""
        self.end_all(service, now)
        self._keyed = tuple(one for one in self._keyed if one[1] is not service)
        self._services = tuple(one for one in self._services if one is not service)

    def connections_of(self, service: AnyService) -> tuple[Connection, ...]:
        """Those of ``service``, with those that have closed and are not drained yet."""
        return tuple(c for c in self.endpoint.connections if c.owner is service)

    @property
    def services(self) -> tuple[AnyService, ...]:
        """All of them, in the order in which they came."""
        return self._services

    def look_first(self, look: FirstLook) -> None:
        """Shows datagrams of strangers to ``look`` before anybody else, after earlier ones."""
        self._looks = (*self._looks, look)

    def connect(
        self,
        service: AnyService,
        record: NodeRecord,
        now: float,
        *,
        require_pq: bool = True,
        suite: SuiteId | None = None,
        roads: Sequence[Road] | None = None,
        is_visit: bool = False,
        tickets: MemoryTickets | None = None,
    ) -> Connection:
        """Dials for ``service``; the events of the connection go to it.

        Raises:
            WraithError: as ``Endpoint.connect``.
        """
        self._now = now
        if roads is None and self.choose_roads is not None:
            roads = self.choose_roads(record)
        connection = self.endpoint.connect(
            record, now, require_pq=require_pq, suite=suite, roads=roads,
            known_to_fail=self.known_to_fail, is_visit=is_visit, tickets=tickets,
        )  # fmt: skip
        connection.owner = service
        return connection

    # --- bytes and time in ----------------------------------------------------------------------

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> None:
        """As ``Endpoint.receive_datagrams``. What came for a service has reached it by then."""
        self._now = now
        if self._looks and not self.endpoint.knows(b"", path):
            self._show_first(memoryview(data), segment_bytes, path, now)
        else:
            self.endpoint.receive_datagrams(data, segment_bytes, path, now)
        self.pump(now)

    def knows(self, datagram: Buffer, path: NetworkPath) -> bool:
        """As ``Endpoint.knows``."""
        return self.endpoint.knows(datagram, path)

    def handle_mtu_exceeded(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        """As ``Endpoint.handle_mtu_exceeded``."""
        self.endpoint.handle_mtu_exceeded(path, n_bytes, now)

    def hold(self, path: NetworkPath) -> None:
        """As ``Endpoint.hold``."""
        self.endpoint.hold(path)

    def release(self, path: NetworkPath) -> None:
        """As ``Endpoint.release``."""
        self.endpoint.release(path)

    def accept_link(self, path: NetworkPath, clock: Callable[[], float]) -> StreamLink | None:
        """As ``Endpoint.accept_link``."""
        return self.endpoint.accept_link(path, clock)

    def link_opened(self, wish_id: int, path: NetworkPath, now: float) -> None:
        """As ``Endpoint.link_opened``."""
        self.endpoint.link_opened(wish_id, path, now)
        self.pump(now)

    def link_failed(self, wish_id: int, failure: RoadFailure, now: float) -> None:
        """As ``Endpoint.link_failed``."""
        self.endpoint.link_failed(wish_id, failure, now)
        self.pump(now)

    def link_room(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        """As ``Endpoint.link_room``."""
        self.endpoint.link_room(path, n_bytes, now)

    def link_closed(self, path: NetworkPath, failure: RoadFailure, now: float) -> None:
        """As ``Endpoint.link_closed``."""
        self.endpoint.link_closed(path, failure, now)
        self.pump(now)

    def link_silent(self, path: NetworkPath, failure: RoadFailure, now: float) -> None:
        """As ``Endpoint.link_silent``."""
        self.endpoint.link_silent(path, failure, now)

    def network_changed(self, now: float, own: frozenset[bytes] | None = None) -> None:
        """As ``Endpoint.network_changed``."""
        self.endpoint.network_changed(now, own)
        self.pump(now)

    def next_wish(self) -> LinkWish | None:
        """As ``Endpoint.next_wish``."""
        return self.endpoint.next_wish()

    def handle_timer(self, now: float) -> None:
        """Does what is due at ``now``."""
        self._now = now
        self.endpoint.handle_timer(now)
        for service in self._services:
            service.handle_timer(now)
        self.pump(now)

    # --- bytes, facts and time out --------------------------------------------------------------

    def datagrams_to_send(self, now: float) -> list[Transmit]:
        """Bursts that are due now; again until there is none."""
        self._now = now
        for service in self._services:
            service.before_sending(now)
        transmits = self.endpoint.datagrams_to_send(now)
        if not transmits and self._take_events(now):  # sending may end a connection
            self.pump(now)
            transmits = self.endpoint.datagrams_to_send(now)
        return transmits

    def records_to_store(self) -> list[tuple[bytes, list[bytes]]]:
        """As ``Endpoint.records_to_store``."""
        return self.endpoint.records_to_store()

    def records_lost(self, ak_public: bytes) -> None:
        """As ``Endpoint.records_lost``."""
        self.endpoint.records_lost(ak_public)

    def next_event(self) -> tuple[AnyService, Any] | None:
        """The next fact of any service, with the service; of each the oldest first."""
        for service in self._services:
            event = service.next_event()
            if event is not None:
                return service, event
        return None

    def next_timer(self) -> float | None:
        """When to call ``handle_timer``."""
        first = self.endpoint.next_timer()
        for service in self._services:
            due = service.next_timer()
            if due is not None and (first is None or due < first):
                first = due
        return first

    def pump(self, now: float) -> None:
        """Events of the endpoint, then every service, until nothing moves: after all that comes in,
        and after commands of a service."""
        self._now = now
        while True:
            self._take_events(now)
            moved = False
            for service in self._services:
                moved = service.pump(now) or moved
            if not moved:
                return

    # --- inside ---------------------------------------------------------------------------------

    def _show_first(
        self, data: memoryview, segment_bytes: int, path: NetworkPath, now: float
    ) -> None:
        for at in range(0, len(data), max(segment_bytes, 1)):
            one = data[at : at + segment_bytes]
            if not self.endpoint.knows(one, path) and any(
                look.takes(one, path, now) for look in self._looks
            ):
                continue
            self.endpoint.receive_datagrams(one, len(one), path, now)

    def _take_events(self, now: float) -> bool:
        """Hands every event of the endpoint to its service; true if there was one."""
        moved = False
        next_event = self.endpoint.next_event
        while (pair := next_event()) is not None:
            moved = True
            connection, event = pair
            if connection is None:
                self._on_endpoint_event(event, now)
                continue
            if self.road_news is not None:
                self._note_road(self.road_news, connection, event)
            if connection.owner is None and type(event) is PeerAuthenticated:
                self._claim(connection, now)
            for service in self._services:
                if service is connection.owner:
                    service.on_event(connection, event, now)  # type: ignore[arg-type]
                    break
        return moved

    def _note_road(
        self,
        news: list[tuple[Carrier, RoadFailure | None]],
        connection: Connection,
        event: Any,
    ) -> None:
        """A road of a session that this node has dialled failed, or it has won. [RO-19]"""
        road: Road | None
        failure: RoadFailure | None = None
        match event:
            case RoadFailed(road, failure):
                pass
            case Confirmed():
                road = self.endpoint.road_of(connection)
            case _:
                return
        if road is not None and road.proxy is None and len(news) < ROAD_NEWS_MAX:
            news.append((road.carrier, failure))

    def _on_endpoint_event(self, event: Any, now: float) -> None:
        service = self._service_of(event.access_key)
        if service is not None:
            service.on_endpoint_event(event, now)

    def _claim(self, connection: Connection, now: float) -> None:
        """Finds whose peer somebody new is: the service whose key was proved."""
        connection.owner = self._service_of(connection.access_key)
        if connection.owner is None:  # the service went while this one was on its way
            with contextlib.suppress(LocalProtocolError):
                connection.refuse(now, CloseCode.CONNECTION_ERROR)

    def _service_of(self, ak_public: bytes | None) -> AnyService | None:
        return next((service for public, service in self._keyed if public == ak_public), None)

    def _keys_of(self, service: AnyService) -> list[bytes]:
        return [public for public, owner in self._keyed if owner is service]
