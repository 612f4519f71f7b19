"""Many connections behind one socket: routing, first contact, timers and a fair share of output.

::

    receive_datagrams ─ 4-tuple → connection(s) ──────────────┐ claimed
                        │ unclaimed, per datagram             │
                        ├ connection id, form B ──────────────┤
                        ├ own connect() attempts (Dial)       │
                        ├ half-open, just completed (Admission)
                        └ hello path, only if listening (Admission)

Stream connections (links) bring the same packets: ``accept_link`` and ``link_…`` tell of them,
``next_wish`` asks for them. Only the side that dials opens links.

The endpoint decides to whom a datagram goes and nothing about what is in it. Work per call is
proportional to what was touched: connections with news are marked, timers live in one heap.

The driver's drain, after every call: ``next_event`` until ``None``, then ``records_to_store``, then
``datagrams_to_send`` until it returns nothing, again if that made events, then ``next_wish`` until
``None``, then ``next_timer``.

Spec: handshake.md [HS-40] [HS-41] [HS-42], connection.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush

from wraith.abc import Kem, Rng, Tracer, WallClock
from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.data.flow import WindowBudget
from wraith.connection.deadlines import Deadline, DeadlineHeap
from wraith.connection.endpoint_events import EndpointEvent
from wraith.connection.events import Event
from wraith.connection.guide import RoadGuide
from wraith.connection.guides import Guides
from wraith.connection.handshake.admission import Admission, CompletedHandshake, LateFinish
from wraith.connection.handshake.dialing import Dial, DialOutcome, Outbox
from wraith.connection.handshake.endpoint_keys import AccessKey, EndpointKeys
from wraith.connection.handshake.half_open import EarlyQueue, HalfOpen
from wraith.connection.handshake.handshake import HandshakeContext, Proposal
from wraith.connection.handshake.header_masks import HeaderMaskKeys
from wraith.connection.handshake.negotiate import SuitePolicy, responder_suites
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.handshake.visits import STAY_S, Visits
from wraith.connection.links.link import StreamLink
from wraith.connection.links.preface import (
    LinkKeys,
    OpenedPreface,
    decode_ephemeral,
    open_preface,
)
from wraith.connection.links.table import LinkEntry, LinkTable
from wraith.connection.links.wishes import CloseLink, LinkWish
from wraith.connection.named_roads import ChooseRoads, OwnRoads
from wraith.connection.paths.shaper import Shaper
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.ways import RoadStatus
from wraith.connection.routing import SESSIONS_PER_PATH, Dialled, Route, RoutingTable
from wraith.connection.state import OPEN_STATES
from wraith.connection.ticketing import TicketIssuing, TicketKeeping, Tickets
from wraith.connection.tickets.desk import TicketDesk
from wraith.connection.tickets.store import MemoryTickets, TicketName
from wraith.errors import CloseCode, ConnectFailed, LocalProtocolError, WraithError
from wraith.types import (
    ANY_ADDRESS,
    Address,
    Buffer,
    Carrier,
    NetworkPath,
    Road,
    Role,
    SuiteId,
    Transmit,
)

TRIM_S = 2.0
"""After so long without a large output buffer the endpoint lets those that it has go."""

TRANSMITS_MAX = 32
CALL_BYTES = 128 * 1024
"""Transmits per ``datagrams_to_send``, and bytes after which none is added: what is left over comes
with the next call, while this much is still in the processor's cache."""


DELAYED_MAX = 1_024
"""Handshake datagrams that may wait for their time; further ones leave at once."""


class _Trim(Deadline):
    """When to look whether the output buffers are still in use."""


class Endpoint:
    """One socket's worth of connections, sans-I/O. See the module for the order of calls.

    Args:
        keys: identity, static key and the access keys to listen with.
        rng, clock, kem, tracer: the seams to the world.
        listening: whether hellos are answered at all.
        now: monotonic seconds.
        shaper: decides sizes and release times of what leaves, handshakes included.
    """

    def __init__(
        self,
        *,
        config: EndpointConfig,
        keys: EndpointKeys,
        rng: Rng,
        clock: WallClock,
        kem: Kem,
        tracer: Tracer,
        listening: bool,
        now: float,
        shaper: Shaper | None = None,
    ) -> None:
        self.config = config
        self.keys = keys
        self._rng = rng
        self._kem = kem
        self._tracer = tracer
        self._now = now
        self._is_poisoned = False
        self._routing = RoutingTable()
        self._routes: dict[Connection, Route] = {}
        self._dials: dict[Route, Dial] = {}
        #: The settings of whoever owns this endpoint, for roads that peers name; ``None``: the
        #: carriers that were dialled.
        self.choose_roads: ChooseRoads | None = None
        self._own_roads = OwnRoads()
        self._visits = Visits()
        self._dials_by_remote: dict[Address, list[Route]] = {}
        self._deadlines = DeadlineHeap()
        self._dirty: list[Route] = []
        self._ready: deque[Route] = deque()
        #: Of paths whose way out is full: what waits there until there is room.
        self._held: dict[NetworkPath, list[Route]] = {}
        self._eventful: deque[Route] = deque()
        self._events: deque[EndpointEvent] = deque()
        self._outbox: Outbox = deque()
        self._shaper = shaper
        #: Handshake datagrams that the shaper lets go later, by time.
        self._delayed: list[tuple[float, int, bytes, NetworkPath]] = []
        self._n_delayed = 0
        self._links = LinkTable(self._deadlines, rng, clock)
        self._guides = Guides(self._links, self._deadlines)
        self._pool = BufferPool()
        self._trim = _Trim()
        self._windows = WindowBudget(config.window_sum, config.send_memory_sum)
        self._tickets = TicketDesk(rng, clock, self._deadlines)
        self._hmks = HeaderMaskKeys(rng, now)
        self._deadlines.set(self._hmks, self._hmks.next_time())
        self._context = HandshakeContext(
            config=config,
            keys=keys,
            rng=rng,
            kem=kem,
            clock=clock,
            hmks=self._hmks,
            windows=self._windows,
            shaper=shaper,
        )
        self._admission = Admission(
            context=self._context,
            deadlines=self._deadlines,
            events=self._events,
            tracer=tracer,
            tickets=self._tickets,
            listening=listening,
            now=now,
        )

    # -- bytes and time in -----------------------------------------------------------------------

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> None:
        """Takes a burst of datagrams of ``segment_bytes`` each, the last one possibly shorter.

        ``data`` is borrowed for the call. Whatever it holds, nothing is raised and nothing that is
        not authenticated changes more than a counter.
        """
        self._enter(now)
        if not data or segment_bytes < 1:
            return  # an empty datagram is legal UDP
        routes = self._routing.on_path(path)
        if path.link and self._links.find(path) is None:
            return  # it was given up, and this was on its way
        if len(routes) == 1:
            route = routes[0]
            n_broken = route.connection.n_broken
            unclaimed: Sequence[int] = self._deliver(route, data, segment_bytes, path, now)
            if path.link and (unclaimed or route.connection.n_broken > n_broken):
                self._break_link(route, path, now)
                return
            if not unclaimed:
                return
        else:
            unclaimed = range(-(-len(data) // segment_bytes))
        view = memoryview(data)
        for index in unclaimed:
            datagram = bytes(view[index * segment_bytes : (index + 1) * segment_bytes])
            # The datagram before this one may have completed a handshake on this path.
            routes = self._routing.on_path(path)
            if routes and self._deliver_to_one_of(routes, datagram, path, now):
                continue
            self._receive_unclaimed(datagram, path, now)

    def knows(self, datagram: Buffer, path: NetworkPath) -> bool:
        """Whether a datagram from ``path`` seems to belong to a connection, a dial or a handshake
        of this endpoint: by its 4-tuple, else by its connection id. A few microseconds whatever it
        holds. Whoever forges a peer's address is told apart only when it is opened. [CN-80]"""
        if self._routing.on_path(path) or path.remote in self._dials_by_remote:
            return True
        if self._admission.knows(path):
            return True
        return self._routing.find_by_cid(datagram, self._hmks.live) is not None

    def handle_mtu_exceeded(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        """The host's network refused a single datagram of ``n_bytes`` on ``path`` for its size
        (EMSGSIZE). It is lost; smaller ones follow. [CN-37]"""
        self._enter(now)
        for route in self._routing.on_path(path):
            route.connection.handle_mtu_exceeded(path, n_bytes, now)

    def hold(self, path: NetworkPath) -> None:
        """The way out to ``path`` is full: its connections wait until ``release``. Answers of
        handshakes are single datagrams and are handed out all the same."""
        self._held.setdefault(path, [])

    def release(self, path: NetworkPath) -> None:
        """The way out to ``path`` has room again."""
        self._ready.extend(self._held.pop(path, ()))

    def handle_timer(self, now: float) -> None:
        """Does what is due at ``now``."""
        self._enter(now)
        self._flush()
        while (owner := self._deadlines.pop_due(now)) is not None:
            match owner:
                case Route():
                    owner.connection.handle_timer(now)
                    self._touch(owner)
                case Dial():
                    self._on_dial(owner, owner.on_timer(now))
                case HalfOpen() | LateFinish():
                    self._admission.on_expired(owner)
                case EarlyQueue():
                    self._admission.on_early_expired(owner, now)
                case _Trim():
                    if not self._pool.trim():
                        self._deadlines.set(owner, now + TRIM_S)
                case RoadGuide():
                    self._guides.run(owner, now)
                case LinkEntry():
                    self._links.discard(owner.path)
                case TicketDesk():
                    owner.on_timer(now)
                case HeaderMaskKeys():
                    owner.on_timer(now)
                    self._deadlines.set(owner, owner.next_time())
                case _:
                    raise AssertionError(f"a deadline without an owner: {owner!r}")

    # -- bytes, events and time out --------------------------------------------------------------

    def datagrams_to_send(self, now: float) -> list[Transmit]:
        """What is due now, at most ``TRANSMITS_MAX``; call again until it returns none.

        Handshakes first, then connections in turn, one call each per round, so that a bulk
        transfer delays the others by one run at most.
        """
        self._enter(now)
        self._pool.reclaim()
        if self._trim.at is None and self._pool.owns_spare:
            self._deadlines.set(self._trim, now + TRIM_S)
        transmits: list[Transmit] = []
        while self._delayed and self._delayed[0][0] <= now and len(transmits) < TRANSMITS_MAX:
            _, _, datagram, path = heappop(self._delayed)
            transmits.append(Transmit(memoryview(datagram), len(datagram), path))
        shaper = self._shaper
        while self._outbox and len(transmits) < TRANSMITS_MAX:
            datagram, path = self._outbox.popleft()
            if shaper is None or not self._delays(shaper, datagram, path, now):
                transmits.append(Transmit(memoryview(datagram), len(datagram), path))
        answers = self._admission.outbox
        if answers and not self._admission.has_records:
            while answers and len(transmits) < TRANSMITS_MAX:
                datagram, path, _ = answers.popleft()
                if shaper is None or not self._delays(shaper, datagram, path, now):
                    transmits.append(Transmit(memoryview(datagram), len(datagram), path))
        ready, pool, n_bytes = self._ready, self._pool, 0
        while (
            ready
            and len(transmits) < TRANSMITS_MAX
            and n_bytes < CALL_BYTES
            and not pool.is_exhausted
        ):
            route = ready.popleft()
            connection = route.connection
            if self._held and (waiting := self._held.get(connection.path)) is not None:
                waiting.append(route)
                continue
            bursts = connection.datagrams_to_send(now, pool)
            if bursts:
                transmits += bursts
                n_bytes += sum([len(burst.data) for burst in bursts])
            if connection.has_more:
                ready.append(route)
            else:
                route.is_ready = False
            self._mark(route)
        return transmits

    def records_to_store(self) -> list[tuple[bytes, list[bytes]]]:
        """Replay records that must be on disk before this drain's datagrams leave: per access key
        (its public half) records of 24 bytes. Answers to hellos of persistent access keys are
        withheld until this has been called. [HS-33]"""
        return self._admission.take_records()

    def records_lost(self, ak_public: bytes) -> None:
        """What ``records_to_store`` returned last for this key could not be stored: the hellos of
        it are not answered, nor are their parts that come later. Every attempt of the key that is
        half open ends; its initiator may begin anew. Those of other keys go on. [HS-33]"""
        self._admission.end_attempts(ak_public)

    def end_attempts(self, ak_public: bytes) -> None:
        """Ends every attempt of this key that is half open, in silence. Connections stay."""
        self._admission.end_attempts(ak_public)

    def next_event(self) -> tuple[Connection | None, Event | EndpointEvent] | None:
        """The next fact, with the connection that it is about (``None``: the endpoint).

        A connection that is new to the caller was accepted by this endpoint: it is the responder,
        and its first event is ``PeerAuthenticated``.
        """
        if self._events:
            return None, self._events.popleft()
        while self._eventful:
            route = self._eventful[0]
            event = route.connection.next_event()
            if event is not None:
                if route.is_hidden:
                    continue
                return route.connection, event
            self._eventful.popleft()
            route.is_eventful = False
            if route.connection.is_drained:
                self._forget(route)
        return None

    def next_timer(self) -> float | None:
        """When to call ``handle_timer``: absolute monotonic seconds. The present moment while
        something waits to be sent."""
        self._flush()
        if self._ready or self._outbox:
            return self._now
        if self._admission.outbox and not self._admission.has_records:
            return self._now
        due = self._deadlines.next_time()
        if self._delayed and (due is None or self._delayed[0][0] < due):
            return self._delayed[0][0]
        return due

    # -- links -----------------------------------------------------------------------------------

    def accept_link(self, path: NetworkPath, clock: Callable[[], float]) -> StreamLink | None:
        """A stranger has opened a stream connection. Returns what its bytes go through, which says
        nothing and keeps little until a preface proves an access key; ``None``: nobody listens.

        Args:
            path: of the new link; its number is unique in this endpoint.
            clock: the monotonic time, when the preface has come.
        """
        if self._is_poisoned or not self._admission.is_listening:
            return None
        return StreamLink.accepted(lambda preface: self._prove(preface, path, clock()))

    def _prove(self, preface: bytes, path: NetworkPath, now: float) -> LinkKeys | None:
        self._enter(now)
        e_public = decode_ephemeral(preface)

        def open_with(key: AccessKey) -> OpenedPreface | None:
            return open_preface(key, preface, path.carrier, e_public=e_public)

        opened = self._admission.prove_link(path, e_public, open_with, now)
        if opened is None:
            return None
        self._links.add(path, now)
        return opened.keys

    def link_opened(self, wish_id: int, path: NetworkPath, now: float) -> None:
        """The link that was wished for is open."""
        self._enter(now)
        found = self._links.answered(wish_id)
        self._links.add(path, now)
        if found is None:
            self._links.close(path)
            return
        route, id_ = found
        dial, guide = self._dials.get(route), self._guides.of(route)
        if guide is not None:
            is_used = guide.on_link_opened(id_, path, now)
            self._routing.use_path(route, path)
            self._routing.use_path(route, route.connection.path)
            self._touch(route)
        else:
            is_used = dial is not None and dial.on_link_opened(id_, path, now)
        if not is_used:
            self._links.close(path)
            return
        self._links.belongs(path, route)
        if dial is not None:
            self._deadlines.set(dial, dial.next_time())

    def link_failed(self, wish_id: int, failure: RoadFailure, now: float) -> None:
        """The link that was wished for cannot be had."""
        self._enter(now)
        found = self._links.answered(wish_id)
        if found is None:
            return
        route, id_ = found
        dial, guide = self._dials.get(route), self._guides.of(route)
        if guide is not None:
            guide.on_link_failed(id_, failure, now)
            self._touch(route)
        elif dial is not None:
            self._on_dial(dial, dial.on_link_failed(id_, failure, now))

    def link_room(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        """The link of ``path`` takes ``n_bytes`` more."""
        self._enter(now)
        for route in self._routing.on_path(path):
            if route.connection.on_link_room(path, n_bytes):
                self._touch(route)

    def link_closed(self, path: NetworkPath, failure: RoadFailure, now: float) -> None:
        """The link of ``path`` is gone, whoever ended it. No session ends by that."""
        self._enter(now)
        if (entry := self._links.gone(path)) is not None and entry.route is not None:
            if failure.reason is RoadReason.BROKEN and path in entry.route.connection.paths:
                self._links.wishes.append(CloseLink(path))
            self._on_link_gone(entry.route, path, failure, now)

    def link_silent(self, path: NetworkPath, failure: RoadFailure, now: float) -> None:
        """Why nothing is heard on the link of ``path``, as far as the system knows."""
        self._enter(now)
        entry = self._links.find(path)
        route = None if entry is None else entry.route
        guide = self._guides.of(route)
        if guide is not None:
            guide.on_link_silent(path, failure)

    def next_wish(self) -> LinkWish | None:
        """What is to be done outside, oldest first."""
        self._flush()
        return self._links.wishes.popleft() if self._links.wishes else None

    def _break_link(self, route: Route, path: NetworkPath, now: float) -> None:
        """Something came on the link of a session that does not open: somebody has changed it.
        Nothing on this link can be believed in any more; the session goes on elsewhere. A peer that
        has proved itself there sees the end, so that it does the same at once. [CN-90]"""
        if self._links.find(path) is None:
            return
        if path in route.connection.paths:
            self._links.close(path)
        else:
            self._links.discard(path)
        self._on_link_gone(route, path, RoadFailure(RoadReason.BROKEN), now)

    def _on_link_gone(
        self, route: Route, path: NetworkPath, failure: RoadFailure, now: float
    ) -> None:
        self._routing.leave(route, path)
        dial = self._dials.get(route)
        if dial is not None:
            self._on_dial(dial, dial.on_link_closed(path, failure, now))
        route.connection.on_link_closed(path, now)
        if (guide := self._guides.of(route)) is not None:
            guide.on_link_closed(path, failure, now)
        self._touch(route)

    def network_changed(self, now: float, own: frozenset[bytes] | None = None) -> None:
        """Addresses or routes of this host have changed: every session looks at its roads anew.

        ``own`` are the addresses that the host has now, 4 or 16 bytes each. A dialled link that
        leaves from another one is over, whether or not the kernel says so. ``None``: not known.

        UDP leaves from another address by itself then; so each session that was dialled here names
        itself in its next packet, which is how its peer finds it there. [CN-41] [RO-44]
        """
        self._enter(now)
        for route in tuple(self._routes.values()):
            connection = route.connection
            if route.dialled is None or connection.state not in OPEN_STATES:
                continue
            for path in connection.paths:
                is_gone = own is not None and path.link > 0 and path.local.ip not in own
                if is_gone and self._links.discard(path) is not None:
                    self._on_link_gone(route, path, RoadFailure(RoadReason.UNREACHABLE), now)
            connection.ask(now)
            if (guide := self._guides.of(route)) is not None:
                guide.on_network_changed(now)
            self._touch(route)

    def roads_of(self, connection: Connection) -> list[RoadStatus]:
        """The roads of a connection that this endpoint has dialled, best first; empty where there
        is only one."""
        guide = self._guides.of(self._routes.get(connection))
        return [] if guide is None else guide.statuses

    def road_of(self, connection: Connection) -> Road | None:
        """The road on which a connection that was dialled here began; ``None`` before one won."""
        route = self._routes.get(connection)
        if route is None:
            return None
        if (dial := self._dials.get(route)) is not None:
            return dial.winner
        return None if route.dialled is None else route.dialled.winner

    def flights_of(self, connection: Connection) -> tuple[tuple[Road, bytes], ...]:
        """The first flights of a dial that goes on which may still be answered: where each went,
        and its name of 8 bytes, which a peer may be asked about. [RO-61]"""
        route = self._routes.get(connection)
        dial = None if route is None else self._dials.get(route)
        return () if dial is None else dial.flights

    def migrate(self, connection: Connection, road: Road | None, now: float) -> None:
        """Moves a connection to ``road``, or to any other, as soon as it answers there.

        Raises:
            LocalProtocolError: this side has not dialled it, or it has one road only.
            ValueError: no such road is known.
        """
        self._enter(now)
        route = self._routes.get(connection)
        guide = self._guides.of(route)
        if route is None or guide is None:
            raise LocalProtocolError(
                "this session has one road only",
                hint="the side that dials moves, where the code names more than one road",
            )
        guide.migrate(road, now)
        self._touch(route)

    # -- commands --------------------------------------------------------------------------------

    def connect(
        self,
        record: NodeRecord,
        now: float,
        *,
        local: Address = ANY_ADDRESS,
        require_pq: bool = True,
        suite: SuiteId | None = None,
        anonymous: bool = False,
        roads: Sequence[Road] | None = None,
        known_to_fail: frozenset[Carrier] = frozenset(),
        is_visit: bool = False,
        tickets: MemoryTickets | None = None,
    ) -> Connection:
        """Begins a connection to the node that ``record`` describes; events tell how it went.

        Args:
            local: the local address to send from, if that matters.
            require_pq: refuse any suite without post-quantum key exchange.
            suite: use this one only.
            anonymous: do not show this endpoint's identity; most responders refuse that.
            roads: where to try, best first within a carrier; ``None``: the record's addresses over
                UDP.
            known_to_fail: carriers that have failed in this network before: others need not wait
                for them.
            is_visit: only look at the roads: the peer shows nobody that this side was there, and
                nothing of what a code is good for is used up. Open no streams. [RO-66]
            tickets: where tickets for this node are kept; one that fits is used. It fits if it is
                this identity's, for this access key, the node that is pinned, and the suite that a
                full handshake would begin with. Not with ``anonymous`` or ``is_visit``. [HS-74]
        Raises:
            PolicyRefused: no suite of the record is allowed here.
            ConfigError: ``suite`` is the reserved one.
            ConnectFailed: the record has no address.
            LocalProtocolError: four connections to its addresses exist; a fifth could not be told
                apart by its 4-tuple. Close one, or dial from another endpoint. [HS-40]
        """
        self._enter(now)
        if roads is None:
            roads = [Road(Carrier.UDP, address) for address in record.addresses]
        if not roads:
            raise ConnectFailed("this node record has no address")
        if all(
            road.carrier is Carrier.UDP
            and road.address is not None
            and self._is_crowded(road.address)
            for road in roads
        ):
            raise LocalProtocolError(
                "four connections to this address are open already",
                hint="close one of them, or dial from another socket",
            )
        policy = SuitePolicy.of(self.config, require_pq=require_pq, suite=suite)
        proposal = Proposal.first(
            record, policy, anonymous=anonymous, is_visit=is_visit,
            keeps_tickets=tickets is not None,
        )  # fmt: skip
        keeping: TicketKeeping | None = None
        if tickets is not None and proposal.keeps_tickets:
            proposal = self._with_ticket(proposal, tickets)
            keeping = TicketKeeping(
                tickets, own=self.keys.identity.public.raw, access_key=record.access_key,
                clock=self._context.clock,
            )  # fmt: skip
        route = Route()
        first = NetworkPath(local, roads[0].address or ANY_ADDRESS)
        route.connection = connection = self._new_connection(
            route, Role.INITIATOR, first, now, keeping, is_resuming=proposal.ticket is not None
        )
        dial = Dial(
            self._context, roads, proposal, connection, self._outbox, local=local,
            known_to_fail=known_to_fail, now=now,
        )  # fmt: skip
        route.record = record
        self._routes[connection] = route
        self._dials[route] = dial
        for remote in dial.remotes:
            self._dials_by_remote.setdefault(remote, []).append(route)
        self._on_dial(dial, DialOutcome.TAKEN)
        return connection

    def _with_ticket(self, proposal: Proposal, tickets: MemoryTickets) -> Proposal:
        """``proposal`` with a ticket, which leaves the store, if there is one that fits."""
        own = self.keys.identity.public.raw
        name = TicketName(own, proposal.access_key, proposal.suite)
        ticket = tickets.take(name, self._context.clock.unix_time())
        if ticket is None:
            return proposal
        if proposal.peer is not None and proposal.peer != ticket.peer:
            ticket.wipe()
            return proposal
        return proposal.resuming(ticket)

    def add_access_key(self, key: AccessKey, now: float) -> None:
        """Listens with one more access key.

        Raises:
            LocalProtocolError: four are in use already, or this one is.
        """
        self._enter(now)
        self._admission.add_key(key, now)

    def remove_access_key(self, ak_public: bytes) -> None:
        """Stops answering hellos of this key; unknown keys are ignored. Connections stay. What it
        has answered stays remembered for four times the clock skew. [HS-72]"""
        self._admission.remove_key(ak_public, self._now)
        self._own_roads.forget(ak_public)

    def listens_at(self, ak_public: bytes, roads: Sequence[Road], now: float) -> None:
        """Where peers of this access key reach the endpoint now: what its codes name. Those that
        were accepted are told, and so is who comes later. [RO-64]"""
        self._enter(now)
        if self._own_roads.set(ak_public, roads):
            for route in self._routes.values():
                self._touch(route)

    def load_replay_records(self, ak_public: bytes, records: Sequence[bytes], now: float) -> None:
        """Completes the replay cache of a persistent access key from its file. [HS-32]

        Args:
            records: all that the file holds; none for a file that has just been made. Not called
                at all when the file is missing, unreadable, or was not closed before the host
                itself went down: then only hellos younger than this process are answered.
        """
        self._enter(now)
        self._admission.load_records(ak_public, records, now)

    def node_record(
        self,
        addresses: Sequence[Address],
        *,
        key: AccessKey | None = None,
        has_tcp: bool = False,
        other_roads: Sequence[Road] = (),
    ) -> NodeRecord:
        """What others need to dial this endpoint, with its newest access key unless ``key`` says.
        ``has_tcp``: links are accepted at the same addresses.

        Raises:
            LocalProtocolError: there is no access key.
        """
        if key is None:
            if not self._admission.keys:
                raise LocalProtocolError("an endpoint without an access key cannot be dialled")
            key = self._admission.keys[-1]
        return NodeRecord(
            access_key=key.ak.public,
            peer=self.keys.identity.public,
            suites=responder_suites(self.config),
            access_psk=key.psk,
            addresses=tuple(addresses),
            has_tcp=has_tcp,
            other_roads=tuple(other_roads),
        )

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All connections that have not ended, in the order in which they began."""
        return tuple(c for c, route in self._routes.items() if not route.is_hidden)

    def go_away(self, now: float) -> None:
        """Tells every peer that its connection will end, and stops listening. [CN-8]"""
        self._enter(now)
        self._admission.stop()
        for connection in tuple(self._routes):
            if connection.authorised and connection.state in OPEN_STATES:
                connection.go_away(now)

    def close_all(self, now: float, code: int = CloseCode.NO_ERROR, reason: str = "") -> None:
        """Closes every connection and stops listening. Without an error it is a planned end:
        GOAWAY goes before CLOSE. [CN-8]"""
        self._enter(now)
        self._admission.stop()
        for connection in tuple(self._routes):
            if code == CloseCode.NO_ERROR:
                connection.end(reason, now)
            else:
                connection.close(code, reason, now)

    def poison(self) -> None:
        """Refuses everything from now on: after a fork both processes would use the same keys and
        nonces, so the copy must not go on."""
        self._is_poisoned = True
        self._tickets.wipe()
        for connection in self._routes:
            connection.poison()

    @property
    def counters(self) -> dict[str, int]:
        """What was dropped before authentication, by reason. For diagnosis; never on the wire."""
        return dict(self._admission.counters)

    # -- inside ----------------------------------------------------------------------------------

    def _enter(self, now: float) -> None:
        if self._is_poisoned:
            raise LocalProtocolError("this process was forked; the endpoint cannot be used here")
        self._now = now

    def _delays(self, shaper: Shaper, datagram: bytes, path: NetworkPath, now: float) -> bool:
        """Whether the shaper wants this handshake datagram to leave later: then it waits."""
        at = shaper.handshake_time(path, len(datagram), now)
        if at <= now or len(self._delayed) >= DELAYED_MAX:
            return False
        self._n_delayed += 1
        heappush(self._delayed, (at, self._n_delayed, datagram, path))
        return True

    def _is_crowded(self, remote: Address) -> bool:
        dials = self._dials_by_remote.get(remote, ())
        n_dials = sum(not route.paths for route in dials)  # those with a path are counted there
        return self._routing.n_towards(remote) + n_dials >= SESSIONS_PER_PATH

    def _new_connection(
        self,
        route: Route,
        role: Role,
        path: NetworkPath,
        now: float,
        tickets: Tickets | None,
        *,
        is_resuming: bool = False,
    ) -> Connection:
        return Connection(
            role=role,
            path=path,
            config=self.config,
            rng=self._rng,
            kem=self._kem,
            tracer=self._tracer,
            now=now,
            budget=self._windows,
            pool=self._pool,
            wake=partial(self._touch, route),
            shaper=self._shaper,
            tickets=tickets,
            is_resuming=is_resuming,
        )

    def _deliver(
        self, route: Route, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> list[int]:
        connection = route.connection
        unclaimed = connection.receive_datagrams(data, segment_bytes, path, now)
        reports = connection.road_reports
        if reports.questions:
            reports.answer(partial(self._admission.has_seen, ak_public=connection.access_key))
        self._touch(route)
        return unclaimed

    def _deliver_to_one_of(
        self, routes: Sequence[Route], datagram: bytes, path: NetworkPath, now: float
    ) -> bool:
        """Several connections on one 4-tuple: one whose connection id fits comes before one whose
        header merely looks right."""
        fitting = [route for route in routes if route.connection.fits(datagram)]
        claiming = fitting or [route for route in routes if route.connection.claims(datagram)]
        if not claiming:
            return False
        self._deliver(claiming[0], datagram, len(datagram), path, now)
        if fitting:
            self._routing.use_path(claiming[0], path)
        return True

    def _deliver_from_elsewhere(
        self, route: Route, datagram: bytes, path: NetworkPath, now: float
    ) -> None:
        """A packet that was found by its connection id. Only once it has authenticated may the next
        ones, in form A, be found by this 4-tuple: a copy sent by somebody else must not lead there.
        """
        before = route.connection.n_authenticated
        self._deliver(route, datagram, len(datagram), path, now)
        if route.connection.n_authenticated > before and not route.connection.is_drained:
            self._routing.use_path(route, path)
            self._routing.use_path(route, route.connection.path)
            if path.link:
                self._links.belongs(path, route)

    def _receive_unclaimed(self, datagram: bytes, path: NetworkPath, now: float) -> None:
        route = self._routing.find_by_cid(datagram, self._hmks.live)
        if route is not None:
            self._deliver_from_elsewhere(route, datagram, path, now)
            return
        owner = entry.route if (entry := self._links.find(path)) is not None else None
        if owner is not None:  # nobody else speaks on a link that this side has opened
            self._offer(owner, datagram, path, now)
            return
        for dialling in tuple(self._dials_by_remote.get(path.remote, ())):
            if self._offer(dialling, datagram, path, now):
                return
        found = self._admission.receive_known(datagram, path, now)
        if found is None:
            self._admission.receive_hello(datagram, path, now)
        elif isinstance(found, CompletedHandshake):
            self._accept(found, path, now)

    def _offer(self, dialling: Route, datagram: bytes, path: NetworkPath, now: float) -> bool:
        """Whether ``datagram`` is an answer to the dial of ``dialling``, if that goes on."""
        dial = self._dials.get(dialling)
        if dial is None:
            return False
        outcome = dial.receive(datagram, path, now)
        if outcome is DialOutcome.IGNORED:
            return False
        if outcome is DialOutcome.ESTABLISHED:
            self._routing.use_path(dialling, path)
        self._on_dial(dial, outcome)
        return True

    def _accept(self, done: CompletedHandshake, path: NetworkPath, now: float) -> None:
        """FINISH was valid, or the ticket of a resumption is used: the connection comes into
        being."""
        if len(self._routes) >= self.config.budgets.connections_max:
            self._admission.count("connections_max")
            return
        route = Route()
        connection = self._new_connection(
            route, Role.RESPONDER, path, now, TicketIssuing(self._tickets),
            is_resuming=done.first_packet is not None,
        )  # fmt: skip
        route.connection = connection
        self._routes[connection] = route
        connection.establish(done.result, now)
        if done.refusal is not None:
            # Nothing for the application to decide: it never hears of this connection.
            route.is_hidden = True
            self._admission.count("not_authorised")
            connection.refuse(now, done.refusal)
        elif done.result.peer_params.is_visit:
            route.is_hidden = True
            if self._visits.admit(path.remote, done.result.peer, now):
                self._admission.count("visit")
                connection.stay(now + STAY_S)
            else:
                self._admission.count("visit_refused")
                connection.refuse(now, CloseCode.CONNECTION_ERROR)
        self._routing.use_path(route, path)
        if path.link:
            self._links.belongs(path, route)
        self._admission.on_accepted(done, connection, now)
        self._touch(route)
        self._flush()
        if done.first_packet is not None:
            self.receive_datagrams(done.first_packet, len(done.first_packet), path, now)
        for early in self._admission.take_early(path):
            self.receive_datagrams(early, len(early), path, now)

    def _on_dial(self, dial: Dial, outcome: DialOutcome) -> None:
        route = self._routes.get(dial.connection)
        if route is None or route not in self._dials:
            return
        if outcome is DialOutcome.FAILED:
            error = dial.error
            assert isinstance(error, WraithError)
            self._end_dial(route)
            route.connection.fail(error)
        else:
            self._take_wishes(route, dial)
            self._deadlines.set(dial, dial.next_time())
        self._touch(route)

    def _take_wishes(self, route: Route, dial: Dial) -> None:
        """Links that the dial needs, and those that it does not need any more."""
        while dial.roads_dropped:
            self._links.drop(route, dial.roads_dropped.popleft())
        for path in dial.spare_links():
            self._links.close(path)
        while dial.roads_wanted:
            self._links.want(route, *dial.roads_wanted.popleft())

    def _end_dial(self, route: Route) -> None:
        """Drops what only the handshake needed; the connection goes on without it."""
        dial = self._dials.pop(route)
        if dial.winner is not None:
            route.dialled = Dialled(dial.roads, dial.winner, dial.local)
        for remote in dial.remotes:
            waiting = self._dials_by_remote.get(remote, [])
            if route in waiting:
                waiting.remove(route)
            if not waiting:
                self._dials_by_remote.pop(remote, None)
        dial.wipe()
        self._deadlines.set(dial, None)

    def _touch(self, route: Route) -> None:
        """Something happened to this connection: it may have output, events, another deadline."""
        self._mark(route)
        if not route.is_ready:
            route.is_ready = True
            self._ready.append(route)

    def _mark(self, route: Route) -> None:
        if not route.is_dirty:
            route.is_dirty = True
            self._dirty.append(route)
        if not route.is_eventful:
            route.is_eventful = True
            self._eventful.append(route)

    def _flush(self) -> None:
        """Brings the tables in line with the connections that were touched: once per drain, when
        the next wish or the next deadline is asked for, and before timers are looked at."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, []
        for route in dirty:
            route.is_dirty = False
            connection = route.connection
            if connection not in self._routes:
                continue
            self._deadlines.set(route, connection.next_timer())
            if connection.cid_range != route.cid_range:
                self._routing.set_cids(route, connection.live_cids())
                route.cid_range = connection.cid_range
            if connection.path.link:
                self._links.shorten(connection.path, connection.has_urgent_flows(self._now))
            if route.paths and route.paths[-1] != connection.path:
                self._routing.use_path(route, connection.path)
            if route in self._dials and (connection.confirmed or connection.is_drained):
                self._end_dial(route)
            if route.named_until != self._own_roads.seq:
                before = route.named_until
                route.named_until = self._own_roads.tell(connection, before)
                if route.named_until != before and connection.has_roads:
                    self._guides.told(route)
            self._guides.serve(route, self.choose_roads, self._now)

    def _forget(self, route: Route) -> None:
        if self._routes.pop(route.connection, None) is None:
            return
        if route in self._dials:
            self._end_dial(route)
        self._guides.forget(route)
        self._links.close_all_of(route)
        self._routing.remove(route)
        self._deadlines.set(route, None)
