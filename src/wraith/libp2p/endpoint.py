"""Many QUIC connections on one UDP socket, in both roles at once: a pure machine.

Must not open sockets, read clocks or parse packets beyond their first header. It routes datagrams
by connection id, admits strangers within limits, keeps every connection's timer in one heap, and
sends only when it is asked to: the driver drains the socket first, so that an acknowledgement never
costs a padded Initial of its own [LQ-42].

Datagrams that are not QUIC are returned to the caller untouched: the same socket can carry another
protocol beside this one.

Spec: libp2p-quic section 5; RFC 9000 §5.2, §8.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from wraith.abc import NullTracer, Rng, Tracer, WallClock
from wraith.crypto.ed25519 import Identity
from wraith.errors import LimitExceeded
from wraith.libp2p import events, quic
from wraith.libp2p.admission import QuicAdmission, QuicVerdict
from wraith.libp2p.certificate import CertificateKey, host_key_of, make_certificate
from wraith.libp2p.codes import Libp2pCode
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.libp2p.connection import ConnectionState, PeerConnection
from wraith.libp2p.first_packets import (
    Header,
    RetryTokens,
    read_header,
    version_negotiation,
)
from wraith.libp2p.peer_id import PeerId
from wraith.libp2p.reset import ResetReceiver, ResetSender
from wraith.libp2p.tls.alerts import TlsAlert
from wraith.libp2p.tls.client import TlsClient
from wraith.libp2p.tls.codec import SignatureScheme
from wraith.libp2p.tls.engine import TlsEngine, TlsSettings
from wraith.libp2p.tls.server import TlsServer
from wraith.types import ANY_ADDRESS, Address, Buffer, NetworkPath, Role, Transmit

ROTATE_BEFORE_S = 7 * 86_400
"""A certificate that ends within this time is replaced; the PeerId stays [LQ-8]."""
RUN_BYTES_MAX = 60_000
LOCALS_MAX = 4096
TIMER_GRANULARITY_S = 0.001
"""RFC 9002 section 6.1.2."""
PeerEvent = tuple[PeerConnection, events.Libp2pEvent]


@dataclass(slots=True)
class EndpointCounters:
    """Countable facts; ``handshakes`` is per negotiated group, ``refusals`` per alert or limit."""

    datagrams_received: int = 0
    datagrams_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    unclaimed: int = 0
    retries_sent: int = 0
    resets_sent: int = 0
    classical: int = 0
    handshakes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)


class QuicEndpoint:
    """The sans-I/O contract over many connections. See the module for what it does.

    Args:
        identity: the Ed25519 host key; its PeerId names this endpoint.
        config: policy, backend, limits.
        rng: key material, certificate serials, Retry ids.
        clock: calendar time, for certificates only.
        listening: whether strangers may connect.
        reset_key: 32 bytes that a restart keeps (:func:`wraith.libp2p.reset.reset_key`); datagrams
            for connections that are not known get a stateless reset. ``None``, for a socket that
            carries another protocol as well, sends none.
        key_log: gets the secrets of every connection, a line each; for debugging only.
    """

    def __init__(
        self,
        identity: Identity,
        config: QuicTransportConfig,
        *,
        rng: Rng,
        clock: WallClock,
        tracer: Tracer | None = None,
        listening: bool = True,
        reset_key: bytes | None = None,
        key_log: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.peer_id = PeerId.from_public_key(host_key_of(identity))
        self.host_key = host_key_of(identity)
        self.counters = EndpointCounters()
        self.listening = listening
        self._identity = identity
        self._rng = rng
        self._key_log = key_log
        self._clock = clock
        self._tracer = tracer or NullTracer()
        self._credentials: tuple[CertificateKey, ...] = ()
        self._admission = QuicAdmission(config.limits)
        self._retry = RetryTokens()
        # qh3 draws its tokens itself: resets of ours would mean nothing to its peers.
        sends_resets = reset_key is not None and config.backend == "aioquic"
        self._resets = ResetSender(reset_key, rng) if reset_key and sends_resets else None
        self._peer_resets: ResetReceiver[PeerConnection] = ResetReceiver(rng)
        self._connections: dict[int, PeerConnection] = {}
        self._numbers: dict[PeerConnection, int] = {}
        self._by_cid: dict[bytes, PeerConnection] = {}
        self._events: deque[PeerEvent] = deque()
        self._touched: dict[PeerConnection, None] = {}
        self._timers: list[tuple[float, int]] = []
        self._armed: dict[int, float] = {}
        #: By remote address whose way out is full: who waits until there is room.
        self._held: dict[Address, dict[PeerConnection, None]] = {}
        self._replies: list[tuple[bytes, NetworkPath]] = []
        self._locals: dict[Address, Address] = {}
        self._next_number = 0
        self._make_connection = quic.load_backend(config.backend)
        self._token_of_cid = None if self._resets is None else self._resets.token

    # ---- facts -----------------------------------------------------------------------------------

    @property
    def connections(self) -> list[PeerConnection]:
        """Every connection that is not drained, oldest first."""
        return list(self._connections.values())

    def connections_to(self, peer: PeerId) -> list[PeerConnection]:
        return [
            each for each in self._connections.values() if each.is_open and each.peer_id == peer
        ]

    def path_to(self, remote: Address) -> NetworkPath:
        """From where datagrams to ``remote`` leave: where its last ones arrived, if any have."""
        return NetworkPath(self._locals.get(remote, ANY_ADDRESS), remote)

    def knows(self, datagram: Buffer, path: NetworkPath) -> bool:
        """Every datagram counts as a known peer's: strangers are sorted out by their connection
        ids and by the admission rules, in the order in which they come."""
        return True

    # ---- the contract ----------------------------------------------------------------------------

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> list[int]:
        """Takes a burst; ``data`` is borrowed. Returns the indices that are not QUIC's."""
        remote = path.remote
        unclaimed: list[int] = []
        run: list[bytes] = []
        owner: PeerConnection | None = None
        view = memoryview(data)
        self.counters.bytes_received += len(view)
        for index, start in enumerate(range(0, len(view), segment_bytes)):
            datagram = bytes(view[start : start + segment_bytes])
            self.counters.datagrams_received += 1
            header = read_header(datagram)
            connection = None if header is None else self._by_cid.get(header.destination_cid)
            if connection is None:
                connection = None if header is None else self._admit(header, datagram, path, now)
                if connection is None:
                    if (header is None or not header.is_long) and not self._is_reset(datagram):
                        self._answer_unknown(header, datagram, path, now)
                        unclaimed.append(index)
                        self.counters.unclaimed += 1
                    continue
            if connection is not owner:
                if owner is not None:
                    self._feed(owner, run, remote, now)
                owner, run = connection, []
            run.append(datagram)
        if owner is not None:
            self._remember_local(path)
            self._feed(owner, run, remote, now)
        return unclaimed

    def handle_mtu_exceeded(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        """Nothing changes: datagrams have the configured size, and no path is searched for a
        larger one. Recovery sends again what was lost."""

    def hold(self, path: NetworkPath) -> None:
        """The way out to ``path`` is full: its connections wait until ``release``."""
        self._held.setdefault(path.remote, {})

    def release(self, path: NetworkPath) -> None:
        """The way out to ``path`` has room again."""
        for connection in self._held.pop(path.remote, ()):
            self._touch(connection)

    def handle_timer(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            when, number = heapq.heappop(self._timers)
            if self._armed.get(number) != when:
                continue
            del self._armed[number]
            connection = self._connections.get(number)
            if connection is None:
                continue
            connection.packet.handle_timer(now)
            connection.take_packet_events(now)
            connection.check_timers(now)
            self._touch(connection)

    def next_timer(self) -> float | None:
        while self._timers and self._armed.get(self._timers[0][1]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def datagrams_to_send(self, now: float) -> list[Transmit]:
        """Everything that is due, one burst per run of equal datagrams to one peer."""
        due: list[Transmit] = []
        for reply, path in self._replies:
            due.append(self._transmit(reply, len(reply), path))
        self._replies.clear()
        while self._touched:
            connection = next(iter(self._touched))
            del self._touched[connection]
            if self._held and (waiting := self._held.get(connection.remote)) is not None:
                waiting[connection] = None
                continue
            if connection.state is not ConnectionState.DRAINED:
                self._pack(connection.packet.datagrams_to_send(now), due)
                connection.take_packet_events(now)
                connection.after_send(now)
            self._follow_cids(connection)
            if connection.state is ConnectionState.DRAINED:
                self._drop(connection)
            else:
                self._arm(connection, now)
        return due

    def next_event(self) -> PeerEvent | None:
        return self._events.popleft() if self._events else None

    # ---- commands --------------------------------------------------------------------------------

    def dial(
        self,
        remote: Address,
        now: float,
        *,
        expected_peer: PeerId | None,
        timeout_s: float | None = None,
    ) -> PeerConnection:
        """Begins a connection; ``Connected`` or ``ConnectionClosed`` tells how it went.

        Args:
            expected_peer: who must answer; ``None`` accepts anybody and must be wanted.
            timeout_s: for the handshake; ``handshake_timeout_s`` of the configuration if ``None``.

        Raises:
            LimitExceeded: too many connections, or too many dials under way.
        """
        limits = self.config.limits
        dialling = sum(
            each.role is Role.INITIATOR and each.state is ConnectionState.HANDSHAKING
            for each in self._connections.values()
        )
        if len(self._connections) >= limits.connections or dialling >= limits.pending_out:
            raise LimitExceeded("too many connections of this endpoint are open or being dialled")
        connection = self._new_connection(Role.INITIATOR, remote, expected_peer, timeout_s, now)
        connection.packet = self._make_connection(
            lambda: self._client_engine(expected_peer),
            self.config,
            is_client=True,
            reset_token=self._token_of_cid,
        )
        connection.packet.connect(remote, now)
        connection.take_packet_events(now)
        self._register(connection)
        return connection

    def path_changed(self, now: float) -> None:
        """This host's address changed (or its socket was replaced): tell every peer."""
        del now
        self._locals.clear()
        for connection in self._connections.values():
            connection.path_changed()

    def close_all(self, code: int = Libp2pCode.SHUTDOWN, reason: str = "") -> None:
        """Closes every connection gracefully [LQ-71] and admits nobody any more."""
        self.listening = False
        for connection in list(self._connections.values()):
            connection.close(code, reason)

    # ---- stateless reset -------------------------------------------------------------------------

    def _is_reset(self, datagram: bytes) -> bool:
        """A peer that forgot us says so; its connection is over at once [LQ-75]."""
        connection = self._peer_resets.owner_of(datagram)
        if connection is None:
            return False
        connection.forgotten_by_peer()
        return True

    def _answer_unknown(
        self, header: Header | None, datagram: bytes, path: NetworkPath, now: float
    ) -> None:
        if header is None or self._resets is None:
            return
        reset = self._resets.reset_for(header.destination_cid, len(datagram), now)
        if reset is not None:
            self.counters.resets_sent += 1
            self._replies.append((reset, path))

    def _follow_reset_token(self, connection: PeerConnection) -> None:
        token = connection.packet.peer_reset_token
        if token == connection.watched_token:
            return
        if connection.watched_token is not None:
            self._peer_resets.forget(connection.watched_token)
        if token is not None:
            self._peer_resets.watch(token, connection)
        connection.watched_token = token

    # ---- admission -------------------------------------------------------------------------------

    def _admit(
        self, header: Header, datagram: bytes, path: NetworkPath, now: float
    ) -> PeerConnection | None:
        """A datagram for nobody: a new connection, an answer without state, or a drop [LQ-41]."""
        if not self.listening or not header.is_long or header.version == 0:
            return None
        if len(datagram) < quic.INITIAL_DATAGRAM_BYTES:
            return None
        if header.version != quic.QUIC_V1:
            self._replies.append((version_negotiation(header), path))
            return None
        if not header.is_initial:
            return None
        original_cid, retry_cid = header.destination_cid, None
        if header.token:
            found = self._retry.original_cid(header, path.remote, now)
            if found is None:
                self.counters.refusals["bad token"] += 1
                return None
            original_cid, retry_cid = found, header.destination_cid
        has_token = retry_cid is not None
        verdict, limit = self._admission.judge(
            remote=path.remote, n_connections=len(self._connections), has_token=has_token, now=now
        )
        if verdict is QuicVerdict.RETRY:
            self.counters.retries_sent += 1
            new_cid = self._rng.public_bytes(quic.QUIC_CID_BYTES)
            packet = self._retry.retry_packet(header, new_cid, path.remote, now)
            self._replies.append((packet, path))
            return None
        if verdict is QuicVerdict.DROP:
            self.counters.refusals[limit] += 1
            return None
        connection = self._new_connection(Role.RESPONDER, path.remote, None, None, now)
        connection.packet = self._make_connection(
            self._server_engine,
            self.config,
            is_client=False,
            original_cid=original_cid,
            retry_cid=retry_cid,
            reset_token=self._token_of_cid,
        )
        connection.cids.add(header.destination_cid)
        connection.place = self._admission.begun(path.remote, has_token=has_token)
        self._register(connection)
        return connection

    def _new_connection(
        self,
        role: Role,
        remote: Address,
        expected_peer: PeerId | None,
        timeout_s: float | None,
        now: float,
    ) -> PeerConnection:
        return PeerConnection(
            role,
            self.config,
            remote,
            expected_peer=expected_peer,
            emit=self._on_connection_event,
            touch=self._touch,
            timeout_s=self.config.handshake_timeout_s if timeout_s is None else timeout_s,
            now=now,
        )

    def _register(self, connection: PeerConnection) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        self._connections[number] = connection
        self._numbers[connection] = number
        connection.cids.add(connection.packet.host_cid)
        self._follow_cids(connection)
        self._touch(connection)

    # ---- engines ---------------------------------------------------------------------------------

    def _settings(self, expected_peer: PeerId | None) -> TlsSettings:
        policy = self.config.policy
        return TlsSettings(
            groups=policy.groups,
            shares=policy.groups,
            alpn=self.config.offered_alpn,
            credentials=self._current_credentials(),
            private_extension=(
                self.config.private_extension if policy is PqPolicy.PRIVATE_EXT else None
            ),
            expected_peer=expected_peer,
            require_client_certificate=self.config.require_client_certificate,
        )

    def _client_engine(self, expected_peer: PeerId | None) -> TlsEngine:
        engine = TlsClient(self._settings(expected_peer), self._rng, self._clock.unix_time())
        engine.key_log = self._key_log
        return engine

    def _server_engine(self) -> TlsEngine:
        engine = TlsServer(self._settings(None), self._rng, self._clock.unix_time())
        engine.key_log = self._key_log
        return engine

    def _current_credentials(self) -> tuple[CertificateKey, ...]:
        now = self._clock.unix_time()
        if not self._credentials or self._credentials[0].not_after - now < ROTATE_BEFORE_S:
            self._credentials = tuple(
                make_certificate(self._identity, self._rng, now, scheme=scheme)
                for scheme in (SignatureScheme.ED25519, SignatureScheme.ECDSA_SECP256R1_SHA256)
            )
        return self._credentials

    # ---- inside ----------------------------------------------------------------------------------

    def _feed(
        self, connection: PeerConnection, run: list[bytes], remote: Address, now: float
    ) -> None:
        connection.packet.receive_datagrams(run, remote, now)
        connection.take_packet_events(now)
        connection.after_receive(now)
        # New ids must route before the next datagram of the same burst.
        self._follow_cids(connection)
        self._follow_reset_token(connection)
        self._touch(connection)

    def _touch(self, connection: PeerConnection) -> None:
        if connection in self._numbers:
            self._touched[connection] = None

    def _follow_cids(self, connection: PeerConnection) -> None:
        """Keeps the routing table equal to the connection's own set of ids."""
        if connection.cids == connection.routed_cids:
            return
        for cid in connection.routed_cids - connection.cids:
            if self._by_cid.get(cid) is connection:
                del self._by_cid[cid]
        for cid in connection.cids - connection.routed_cids:
            self._by_cid.setdefault(cid, connection)
        connection.routed_cids = set(connection.cids)

    def _arm(self, connection: PeerConnection, now: float) -> None:
        number = self._numbers[connection]
        times = [
            when
            for when in (connection.packet.next_timer(), connection.own_timer())
            if when is not None
        ]
        if not times:
            self._armed.pop(number, None)
            return
        when = min(times)
        if when <= now:
            # Still due after it was handled: it waits for rounding or for room. No busy loop.
            when = now + TIMER_GRANULARITY_S
        if self._armed.get(number) != when:
            self._armed[number] = when
            heapq.heappush(self._timers, (when, number))

    def _drop(self, connection: PeerConnection) -> None:
        number = self._numbers.pop(connection)
        self._connections.pop(number, None)
        self._armed.pop(number, None)
        if connection.watched_token is not None:
            self._peer_resets.forget(connection.watched_token)
        connection.cids.clear()
        self._follow_cids(connection)

    def _on_connection_event(self, connection: PeerConnection, event: events.Libp2pEvent) -> None:
        match event:
            case events.Connected():
                self._on_connected(connection, event.security)
                if connection.state is not ConnectionState.CONNECTED:
                    return
            case events.ConnectionClosed():
                self._on_closed(connection, event)
            case _:
                pass
        self._events.append((connection, event))

    def _on_connected(self, connection: PeerConnection, security: events.QuicSecurity) -> None:
        within_share = connection.place is None or self._admission.connected(connection.place)
        self.counters.handshakes[security.group] += 1
        if not security.post_quantum:
            self.counters.classical += 1
            # Never silent: an operator who chose PREFER sees what it let through [LQ-14].
            self._tracer.record(
                "libp2p.classical",
                warning=self.config.policy is PqPolicy.PREFER,
                peer=security.peer_id,
                group=security.group,
            )
        peer = security.peer_id
        same = [] if peer is None else self.connections_to(peer)
        if not within_share:
            self._refuse_surplus(connection, "prefix", "network")
        elif len(same) > self.config.limits.connections_per_peer:
            self._refuse_surplus(connection, "peer", "peer")

    def _refuse_surplus(self, connection: PeerConnection, counted: str, whose: str) -> None:
        self.counters.refusals[f"connections per {counted}"] += 1
        connection.abandon(
            Libp2pCode.RESOURCE_LIMIT_EXCEEDED,
            f"too many connections from one {whose}",
            LimitExceeded(f"too many connections with one {whose}"),
            by_application=True,
        )

    def _on_closed(self, connection: PeerConnection, event: events.ConnectionClosed) -> None:
        if connection.place is not None:
            self._admission.ended(connection.place)
        if event.error is not None:
            alert = event.error.alert if isinstance(event.error, TlsAlert) else None
            self.counters.refusals[alert.word if alert else event.error.code] += 1
            self._tracer.record("libp2p.closed", error=event.error, address=connection.remote)

    def _pack(self, datagrams: list[tuple[bytes, Address]], due: list[Transmit]) -> None:
        """Joins neighbours of one size to one peer; the last of a burst may be shorter."""
        start = 0
        while start < len(datagrams):
            first, remote = datagrams[start]
            size = len(first)
            parts = [first]
            total = size
            end = start + 1
            while end < len(datagrams):
                data, other = datagrams[end]
                if other != remote or len(data) > size or total + len(data) > RUN_BYTES_MAX:
                    break
                parts.append(data)
                total += len(data)
                end += 1
                if len(data) < size:
                    break
            due.append(self._transmit(b"".join(parts), size, self.path_to(remote)))
            start = end

    def _transmit(self, data: bytes, segment_bytes: int, path: NetworkPath) -> Transmit:
        self.counters.datagrams_sent += -(-len(data) // segment_bytes)
        self.counters.bytes_sent += len(data)
        return Transmit(memoryview(data), segment_bytes, path)

    def _remember_local(self, path: NetworkPath) -> None:
        """Answers leave from the address that was asked; bounded, for peers that keep moving."""
        if path.remote not in self._locals and len(self._locals) >= LOCALS_MAX:
            self._locals.clear()
        self._locals[path.remote] = path.local
