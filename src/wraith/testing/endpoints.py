"""Endpoints for simulations: seeded keys, virtual time, and a log of what each one told.

``EndpointHost`` is an endpoint with its event log; ``linked`` puts two of them on a ``Pair``. The
responder accepts every peer unless told otherwise. Nothing here is secure, on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wraith.abc import Kem, NullTracer, Rng
from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.endpoint import Endpoint
from wraith.connection.endpoint_events import EndpointEvent
from wraith.connection.events import Closed, Confirmed, Event, PeerAuthenticated
from wraith.connection.handshake.endpoint_keys import AccessKey, EndpointKeys
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.paths.shaper import Shaper
from wraith.connection.tickets.store import MemoryTickets
from wraith.errors import WraithError
from wraith.testing.clock import VirtualCalendar, VirtualClock
from wraith.testing.established import Side, StreamCopy
from wraith.testing.netem import Link, LinkConfig
from wraith.testing.pair import ADDRESS_A, ADDRESS_B, Pair
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import Address, Road, Role, SuiteId


@dataclass(frozen=True, slots=True)
class Told:
    """One event: when, about which connection (``None``: the endpoint), what."""

    at: float
    connection: Connection | None
    event: Event | EndpointEvent


@dataclass(slots=True)
class EndpointHost:
    """An endpoint that writes down what it tells, and answers ``PeerAuthenticated``."""

    endpoint: Endpoint
    calendar: VirtualCalendar
    accepts: bool | None = True
    told: list[Told] = field(default_factory=list)
    stored: dict[bytes, list[bytes]] = field(default_factory=dict)
    on_event: Callable[[Connection | None, Event | EndpointEvent, float], None] | None = None
    sides: dict[Connection, Side] = field(default_factory=dict)

    def service(self, now: float) -> bool:
        """For ``Pair``: stores replay records, reads events, accepts or refuses."""
        busy = False
        for ak_public, records in self.endpoint.records_to_store():
            self.stored.setdefault(ak_public, []).extend(records)
            busy = True
        while (item := self.endpoint.next_event()) is not None:
            busy = True
            connection, event = item
            self.told.append(Told(now, connection, event))
            is_new = connection is not None and connection.role is Role.RESPONDER
            if is_new and isinstance(event, PeerAuthenticated) and self.accepts is not None:
                assert connection is not None
                if self.accepts:
                    connection.accept(now)
                else:
                    connection.refuse(now)
            if connection is not None and connection in self.sides:
                self.sides[connection].events.append(event)  # type: ignore[arg-type]
            if self.on_event is not None:
                self.on_event(connection, event, now)
        for side in self.sides.values():
            for transfer in side.transfers:
                if busy or transfer.source is side:  # reading without news would never rest
                    busy |= transfer.step(side, now)
        return busy

    @property
    def incoming(self) -> list[Connection]:
        """Connections that others began, in order."""
        about = [told.connection for told in self.told if told.connection is not None]
        return list(dict.fromkeys(c for c in about if c.role is Role.RESPONDER))

    def events(self, kind: type, connection: Connection | None = None) -> list[Told]:
        """Everything of one kind that was told, about one connection or all."""
        return [
            told
            for told in self.told
            if isinstance(told.event, kind)
            and (connection is None or told.connection is connection)
        ]

    def is_confirmed(self, connection: Connection) -> bool:
        return bool(self.events(Confirmed, connection))

    def error_of(self, connection: Connection) -> WraithError | None:
        """The error that ``connection`` ended with; ``None`` if it lives or ended plainly."""
        for told in self.events(Closed, connection):
            assert isinstance(told.event, Closed)
            return told.event.error
        return None


def endpoint_host(
    clock: VirtualClock,
    seed: int | str | bytes,
    *,
    config: EndpointConfig | None = None,
    keys: EndpointKeys | None = None,
    access: Sequence[AccessKey] | None = None,
    listening: bool = False,
    kem: Kem | None = None,
    rng: Rng | None = None,
    skew_s: float = 0.0,
    accepts: bool | None = True,
    shaper: Shaper | None = None,
) -> EndpointHost:
    """An endpoint whose keys and choices follow from ``seed``."""
    rng = SeededRng(seed) if rng is None else rng
    calendar = VirtualCalendar(clock, skew_s)
    if keys is None:
        keys = EndpointKeys.generate(rng, listening=listening)
    if access is not None:
        keys.access = tuple(access)
    endpoint = Endpoint(
        config=config if config is not None else EndpointConfig(),
        keys=keys,
        rng=rng,
        clock=calendar,
        kem=HashKem() if kem is None else kem,
        tracer=NullTracer(),
        listening=listening,
        now=clock.now,
        shaper=shaper,
    )
    return EndpointHost(endpoint, calendar, accepts)


class LinkedEndpoints(Pair):
    """Host ``i`` dials host ``r`` over one link each way."""

    def __init__(
        self,
        clock: VirtualClock,
        i: EndpointHost,
        r: EndpointHost,
        *,
        link: LinkConfig | None = None,
        seed: int = 1,
    ) -> None:
        super().__init__(
            i.endpoint,
            r.endpoint,
            clock=clock,
            link=link if link is not None else LinkConfig(latency_s=0.02),
            seed=seed,
            service_a=i.service,
            service_b=r.service,
        )
        self.i = i
        self.r = r
        # Only hosts in their first place have links: what moves house is dialled over UDP.
        self.pipes.machines = {ADDRESS_A: i.endpoint, ADDRESS_B: r.endpoint}

    def record(self, *addresses: Address) -> NodeRecord:
        """The node record of ``r``."""
        return self.r.endpoint.node_record(addresses or (ADDRESS_B,))

    def dial(
        self,
        record: NodeRecord | None = None,
        *,
        require_pq: bool = True,
        suite: SuiteId | None = None,
        anonymous: bool = False,
        roads: Sequence[Road] | None = None,
        tickets: MemoryTickets | None = None,
    ) -> Connection:
        """``i`` begins a connection now."""
        return self.i.endpoint.connect(
            record if record is not None else self.record(),
            self.now,
            require_pq=require_pq,
            suite=suite,
            anonymous=anonymous,
            roads=roads,
            tickets=tickets,
        )

    def send_stream(self, source: EndpointHost, connection: Connection, data: bytes) -> StreamCopy:
        """Begins to send ``data`` on a new stream of ``connection``, which is the only one of
        ``source``; the other side reads it."""
        target = self.r if source is self.i else self.i
        (other,) = target.endpoint.connections
        ours = source.sides.setdefault(connection, Side(connection, ADDRESS_A))
        theirs = target.sides.setdefault(other, Side(other, ADDRESS_B))
        sid = connection.open_stream(now=self.now)
        transfer = StreamCopy(ours, theirs, data, sid=sid)
        ours.transfers.append(transfer)
        theirs.transfers.append(transfer)
        return transfer

    def run_until_confirmed(self, connection: Connection, seconds: float = 15.0) -> bool:
        """Whether ``connection`` was confirmed in time; stops early when it fails."""

        def ended() -> bool:
            return self.i.is_confirmed(connection) or connection.is_drained

        self.run(seconds=seconds, until=ended)
        return self.i.is_confirmed(connection)


def watch(*links: Link) -> list[bytes]:
    """A list that fills with everything that is sent over ``links``, lost or not."""
    seen: list[bytes] = []

    def tap(datagram: bytes) -> bytes:
        seen.append(datagram)
        return datagram

    for link in links:
        link.taps.insert(0, tap)
    return seen


def linked(
    *,
    seed: int = 1,
    link: LinkConfig | None = None,
    config: EndpointConfig | None = None,
    config_r: EndpointConfig | None = None,
    kem: Kem | None = None,
    shaper: Shaper | None = None,
) -> LinkedEndpoints:
    """Two endpoints, one of them listening, ready to ``dial``; ``shaper`` is that of both."""
    clock = VirtualClock()
    i = endpoint_host(clock, f"i{seed}", config=config, kem=kem, shaper=shaper)
    r = endpoint_host(
        clock,
        f"r{seed}",
        config=config_r if config_r is not None else config,
        kem=kem,
        listening=True,
        shaper=shaper,
    )
    return LinkedEndpoints(clock, i, r, link=link, seed=seed)


__all__ = [
    "ADDRESS_A",
    "ADDRESS_B",
    "EndpointHost",
    "LinkedEndpoints",
    "endpoint_host",
    "linked",
    "watch",
]
