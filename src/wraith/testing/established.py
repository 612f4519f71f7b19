"""Two connections that share a session without a handshake: what remains is the data phase.

``EstablishedPair`` drives them over the seeded links of ``netem``. The keys come from a fixed
secret, so nothing here is secure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from wraith.abc import Kem, NullTracer
from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.data.flow import WindowBudget
from wraith.connection.events import Event, PeerAuthenticated, StreamOpened
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.state import OPEN_STATES
from wraith.crypto.secret import Secret
from wraith.testing.clock import VirtualClock
from wraith.testing.netem import LinkConfig
from wraith.testing.pair import ADDRESS_A, ADDRESS_B, Pair
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import Address, NetworkPath, PeerKey, Role, StreamId, SuiteId
from wraith.wire.handshake import TransportParams

SESSION_SECRET = bytes(range(32))

E = TypeVar("E")


def params_of(config: EndpointConfig) -> TransportParams:
    """What an endpoint with this configuration promises."""
    return TransportParams(
        idle_s=config.idle_timeout_s,
        max_udp=config.max_udp_bytes,
        max_ack_delay_ms=config.max_ack_delay_ms,
        stream_window=config.stream_window,
        conn_window=config.conn_window,
        max_streams=config.max_streams,
    )


def handshake_results(
    config_i: EndpointConfig,
    config_r: EndpointConfig,
    *,
    suite: SuiteId = SuiteId.B,
    session_secret: bytes = SESSION_SECRET,
) -> tuple[HandshakeResult, HandshakeResult]:
    """The same finished handshake as both sides would have it: initiator's, responder's."""
    hmk_i, hmk_r = b"i" * 32, b"r" * 32
    ours = HandshakeResult(
        session_secret=Secret(session_secret),
        suite=suite,
        role=Role.INITIATOR,
        peer=PeerKey(b"R" * 32),
        peer_params=params_of(config_r),
        own_params=params_of(config_i),
        peer_hmk=None,
        own_hmks=(hmk_i,),
    )
    theirs = replace(
        ours,
        session_secret=Secret(session_secret),
        role=Role.RESPONDER,
        peer=PeerKey(b"I" * 32),
        peer_params=ours.own_params,
        own_params=ours.peer_params,
        peer_hmk=hmk_i,
        own_hmks=(hmk_r,),
    )
    return ours, theirs


@dataclass
class Side:
    """One connection with the events it has told so far."""

    connection: Connection
    address: Address
    events: list[Event] = field(default_factory=list)
    accepts: bool = True
    transfers: list[StreamCopy] = field(default_factory=list)

    def service(self, now: float) -> bool:
        """Collects events; accepts the peer if it is to be accepted."""
        busy = False
        while (event := self.connection.next_event()) is not None:
            self.events.append(event)
            if (
                isinstance(event, PeerAuthenticated)
                and self.connection.role is Role.RESPONDER
                and self.accepts
            ):
                self.connection.accept(now)
                busy = True
        for transfer in self.transfers:
            busy |= transfer.step(self, now)
        return busy

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]


class StreamCopy:
    """``data`` on one stream, from ``source`` to ``target``, written as room comes and read as it
    arrives (unless ``is_reading`` is false)."""

    def __init__(
        self,
        source: Side,
        target: Side,
        data: bytes,
        *,
        sid: StreamId,
        finish: bool = True,
        is_reading: bool = True,
    ) -> None:
        self.source = source
        self.target = target
        self.data = data
        self.sid = sid
        self.finish = finish
        self.is_reading = is_reading
        self.received = bytearray()
        self.n_written = 0
        self.is_written = False
        self.is_finished = False
        self._is_open = False

    def step(self, side: Side, now: float) -> bool:
        connection = side.connection
        if side.connection.state not in OPEN_STATES or not connection.authorised:
            return False
        return self._write(now) if side is self.source else self._read(now)

    def _write(self, now: float) -> bool:
        connection = self.source.connection
        if self.is_written or not connection.stream_room(self.sid):
            return False
        rest = memoryview(self.data)[self.n_written :]
        self.n_written += connection.stream_write(self.sid, rest, fin=self.finish, now=now)
        self.is_written = self.n_written == len(self.data)
        return True

    def _read(self, now: float) -> bool:
        connection = self.target.connection
        if not self.is_reading or self.is_finished:
            return False
        if not self._is_open:  # asked of every event so far, so only until it is
            self._is_open = any(e.sid == self.sid for e in self.target.of(StreamOpened))
        if not self._is_open:
            return False
        n_before = len(self.received)
        while data := connection.stream_read(self.sid, 1 << 20, now):
            self.received += data
        self.is_finished = connection.stream_is_finished(self.sid)
        return len(self.received) > n_before or self.is_finished

    @property
    def is_equal(self) -> bool:
        """Everything has arrived, and the end with it."""
        return self.is_finished and bytes(self.received) == self.data


class EstablishedPair:
    """Initiator ``i`` and responder ``r`` on a simulated path, established at time 0."""

    def __init__(
        self,
        *,
        config: EndpointConfig | None = None,
        config_r: EndpointConfig | None = None,
        link: LinkConfig | None = None,
        back: LinkConfig | None = None,
        seed: int = 1,
        suite: SuiteId = SuiteId.B,
        kem: Kem | None = None,
        kem_r: Kem | None = None,
        accepts: bool = True,
        budget: WindowBudget | None = None,
    ) -> None:
        config = config if config is not None else EndpointConfig()
        config_r = config_r if config_r is not None else config
        self.seed = seed
        self.clock = VirtualClock()
        kem = kem if kem is not None else HashKem()
        self.i = self._side(Role.INITIATOR, config, kem, ADDRESS_A, ADDRESS_B, None)
        kem_r = kem_r if kem_r is not None else kem
        self.r = self._side(Role.RESPONDER, config_r, kem_r, ADDRESS_B, ADDRESS_A, budget)
        self.r.accepts = accepts
        result_i, result_r = handshake_results(config, config_r, suite=suite)
        self.i.connection.establish(result_i, 0.0)
        self.r.connection.establish(result_r, 0.0)
        self.net = Pair(
            self.i.connection,
            self.r.connection,
            clock=self.clock,
            link=link if link is not None else LinkConfig(latency_s=0.01),
            back=back,
            seed=seed,
            service_a=self.i.service,
            service_b=self.r.service,
        )

    def _side(
        self,
        role: Role,
        config: EndpointConfig,
        kem: Kem,
        local: Address,
        remote: Address,
        budget: WindowBudget | None,
    ) -> Side:
        connection = Connection(
            role=role,
            path=NetworkPath(local, remote),
            config=config,
            rng=SeededRng(f"{self.seed}-{role.value}"),
            kem=kem,
            tracer=NullTracer(),
            now=0.0,
            budget=budget,
        )
        return Side(connection, local)

    @property
    def now(self) -> float:
        return self.clock.now

    def send(
        self,
        data: bytes,
        *,
        source: Side | None = None,
        priority: int | None = None,
        expedited: bool = False,
        finish: bool = True,
        is_reading: bool = True,
    ) -> StreamCopy:
        """Starts sending ``data`` on a new stream of ``source`` (the initiator by default)."""
        source = source if source is not None else self.i
        target = self.r if source is self.i else self.i
        sid = source.connection.open_stream(priority=priority, expedited=expedited, now=self.now)
        transfer = StreamCopy(source, target, data, sid=sid, finish=finish, is_reading=is_reading)
        source.transfers.append(transfer)
        target.transfers.append(transfer)
        return transfer

    def run(self, *, seconds: float = 60.0, until: Callable[[], bool] | None = None) -> bool:
        """``Simulation.run`` of this pair."""
        return self.net.run(seconds=seconds, until=until)

    def forge(self, sender: Side, payload: bytes, *, times: int = 1) -> None:
        """Delivers packets with exactly ``payload``, sealed with the keys of ``sender``: what a
        hostile but authenticated peer can send."""
        session = sender.connection._shared.parts
        assert session is not None
        target = self.r if sender is self.i else self.i
        sealer = session.keys.sealer
        for _ in range(times):
            out = bytearray(65_536)
            epoch = session.keys.send
            pn = sealer.next_pn(epoch)
            n_bytes, *_ = sealer.seal_run(
                epoch=session.keys.send,
                cid_index=session.paths.main.index,
                form=0,
                lead=payload,
                datagram_bytes=65_000,
                n_max=1,
                random=bytes(sealer.dummy_bytes),
                out=out,
            )
            session.recovery.on_unfollowed(epoch, pn)
            self.net.inject(bytes(out[:n_bytes]), sender.address, target.address)
