"""Pairs of TLS engines and of QUIC endpoints in memory, for the tests of ``wraith.libp2p``.

``TlsPair`` moves handshake messages between two engines and lets a tap see, change or lose each of
them. ``QuicPair`` puts two endpoints on the seeded links of :mod:`wraith.testing.pair`. The QUIC
library draws randomness of its own, so a seed fixes the network's fate, not the packets' bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from wraith.abc import Rng
from wraith.crypto.ed25519 import Identity
from wraith.libp2p import events, private_ext
from wraith.libp2p.certificate import CertificateKey, make_certificate
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.libp2p.connection import PeerConnection
from wraith.libp2p.endpoint import QuicEndpoint
from wraith.libp2p.tls.client import TlsClient
from wraith.libp2p.tls.engine import Level, TlsEngine, TlsSettings, TlsState
from wraith.libp2p.tls.server import TlsServer
from wraith.testing.clock import SIMULATION_EPOCH, VirtualCalendar, VirtualClock
from wraith.testing.netem import LinkConfig
from wraith.testing.pair import Simulation
from wraith.testing.rng import SeededRng
from wraith.types import Address

NOW = SIMULATION_EPOCH
CLIENT_ADDRESS = Address(bytes((10, 0, 0, 1)), 4001)
SERVER_ADDRESS = Address(bytes((10, 0, 0, 2)), 4002)
MovedMessage = tuple[str, Level, bytes]
MessageTap = Callable[[str, Level, bytes], "bytes | None"]
"""Sees ``("client" | "server", level, message)``; returns what goes on, ``None`` to lose it."""


def tls_settings(policy: PqPolicy, *credentials: CertificateKey) -> TlsSettings:
    """Settings as the endpoint makes them for ``policy``."""
    private = policy is PqPolicy.PRIVATE_EXT
    return TlsSettings(
        groups=policy.groups,
        shares=policy.groups,
        alpn=(private_ext.ALPN if private else "libp2p",),
        credentials=credentials,
        private_extension=private_ext.DEFAULT_CODE_POINT if private else None,
    )


class TlsPair:
    """Two engines with identities of their own. Change ``client`` or ``server`` before ``run``."""

    def __init__(
        self,
        client: PqPolicy = PqPolicy.REQUIRE,
        server: PqPolicy | None = None,
        *,
        seed: int | str = 1,
        rng: Rng | None = None,
        client_settings: Callable[[TlsSettings], TlsSettings] = lambda s: s,
        server_settings: Callable[[TlsSettings], TlsSettings] = lambda s: s,
    ) -> None:
        self.rng = rng or SeededRng(seed)
        self.client_identity = Identity.generate(self.rng)
        self.server_identity = Identity.generate(self.rng)
        self.client_credential = make_certificate(self.client_identity, self.rng, NOW)
        self.server_credential = make_certificate(self.server_identity, self.rng, NOW)
        own = client_settings(tls_settings(client, self.client_credential))
        other = server_settings(tls_settings(server or client, self.server_credential))
        self.client = TlsClient(own, self.rng, NOW)
        self.server = TlsServer(other, self.rng, NOW)
        self.moved: list[MovedMessage] = []
        self.secrets: dict[str, list[bytes]] = {"client": [], "server": []}
        self.tap: MessageTap = lambda sender, level, message: message

    def run(self) -> TlsPair:
        """Moves messages until both are silent. Raises what an engine raises."""
        self.client.start(b"client transport parameters")
        self._take_secrets()
        while self._move("client", self.client, self.server) + self._move(
            "server", self.server, self.client
        ):
            pass
        return self

    def _move(self, sender: str, source: TlsEngine, target: TlsEngine) -> int:
        messages = source.take_output()
        for level, message in messages:
            self.moved.append((sender, level, message))
            passed = self.tap(sender, level, message)
            if passed is not None:
                target.receive(level, passed)
            while target.advance():
                self._take_secrets()
            if isinstance(target, TlsServer) and target.state is TlsState.ANSWER:
                target.answer(b"server transport parameters")
                self._take_secrets()
        return len(messages)

    def _take_secrets(self) -> None:
        for name, engine in (("client", self.client), ("server", self.server)):
            self.secrets[name] += [each.secret.reveal() for each in engine.take_secrets()]

    def messages_of(self, sender: str) -> list[bytes]:
        return [message for who, _, message in self.moved if who == sender]

    @property
    def n_bytes(self) -> int:
        """All handshake bytes of both directions."""
        return sum(len(message) for _, _, message in self.moved)


@dataclass
class EventLog:
    """Answers nothing; keeps every event. ``on_event`` may issue commands and returns true then."""

    endpoint: QuicEndpoint
    seen: list[tuple[PeerConnection, events.Libp2pEvent]] = field(default_factory=list)
    on_event: Callable[[PeerConnection, events.Libp2pEvent, float], bool] | None = None

    def serve(self, now: float) -> bool:
        issued = False
        while (pair := self.endpoint.next_event()) is not None:
            self.seen.append(pair)
            if self.on_event is not None:
                issued |= self.on_event(*pair, now)
        return issued

    def closed(self) -> events.ConnectionClosed | None:
        """The first end of a connection that was seen."""
        return next((e for _, e in self.seen if isinstance(e, events.ConnectionClosed)), None)

    def security(self) -> events.QuicSecurity | None:
        found = [event for _, event in self.seen if isinstance(event, events.Connected)]
        return found[0].security if found else None


class QuicPair:
    """A client and a server endpoint on seeded links in virtual time."""

    def __init__(
        self,
        config: QuicTransportConfig | None = None,
        server_config: QuicTransportConfig | None = None,
        *,
        link: LinkConfig | None = None,
        seed: int = 1,
    ) -> None:
        config = config or QuicTransportConfig()
        self.clock = VirtualClock()
        calendar = VirtualCalendar(self.clock)
        self.simulation = Simulation(self.clock, seed=seed)
        self.simulation.set_links(link or LinkConfig(latency_s=0.005))
        rng = SeededRng(seed)
        self.client = QuicEndpoint(
            Identity.generate(rng), config, rng=rng, clock=calendar, listening=False
        )
        self.server = QuicEndpoint(
            Identity.generate(rng), server_config or config, rng=rng, clock=calendar
        )
        self.client_log = EventLog(self.client)
        self.server_log = EventLog(self.server)
        self.simulation.add_host(self.client, CLIENT_ADDRESS, self.client_log.serve)
        self.simulation.add_host(self.server, SERVER_ADDRESS, self.server_log.serve)
        self.connection: PeerConnection | None = None

    @property
    def now(self) -> float:
        return self.simulation.now

    def dial(self) -> PeerConnection:
        self.connection = self.client.dial(
            SERVER_ADDRESS, self.now, expected_peer=self.server.peer_id
        )
        self.simulation.settle()
        return self.connection

    def run(self, seconds: float = 30.0, until: Callable[[], bool] | None = None) -> bool:
        return self.simulation.run(seconds=seconds, until=until)

    def connect(self, seconds: float = 30.0) -> PeerConnection:
        """Dials and runs until both sides are connected."""
        connection = self.dial()
        reached = self.run(
            seconds, lambda: None not in (self.client_log.security(), self.server_log.security())
        )
        assert reached, (self.client_log.closed(), self.server_log.closed())
        return connection

    def move_client(self, port: int) -> None:
        """The client's address changes, as behind a NAT that forgot it."""
        host = self.simulation.hosts.pop(CLIENT_ADDRESS)
        moved = Address(CLIENT_ADDRESS.ip, port)
        host.address = moved
        self.simulation.hosts[moved] = host
        self.client.path_changed(self.now)
        self.simulation.settle()


class EchoServer:
    """Sends every stream back as it comes; put ``serve`` into an ``EventLog``'s ``on_event``."""

    def __init__(self) -> None:
        self._pending: dict[tuple[PeerConnection, int], bytes] = {}

    def on_event(self, connection: PeerConnection, event: events.Libp2pEvent, now: float) -> bool:
        del now
        if not isinstance(event, events.StreamReadable | events.StreamWritable):
            return False
        if not connection.has_stream(event.stream_id):
            return False
        key = (connection, event.stream_id)
        pending = self._pending.get(key, b"")
        while len(pending) < 1 << 20 and (data := connection.stream_read(event.stream_id, 1 << 16)):
            pending += data
        at_end = connection.stream_at_end(event.stream_id)
        taken = connection.stream_write(event.stream_id, pending, fin=at_end)
        self._pending[key] = pending[taken:]
        if at_end and not self._pending[key]:
            del self._pending[key]
            connection.forget_stream(event.stream_id)
        return True


class Upload:
    """Writes ``data`` to one stream and reads the answer; for an ``EventLog``'s ``on_event``."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.received = bytearray()
        self.at_end = False
        self._sent = 0
        self._stream_id: int | None = None

    def begin(self, connection: PeerConnection) -> None:
        self._stream_id = connection.open_stream()
        self._go_on(connection)

    def _go_on(self, connection: PeerConnection) -> None:
        assert self._stream_id is not None
        self._sent += connection.stream_write(self._stream_id, self.data[self._sent :], fin=True)

    def on_event(self, connection: PeerConnection, event: events.Libp2pEvent, now: float) -> bool:
        del now
        match event:
            case events.StreamWritable():
                self._go_on(connection)
            case events.StreamReadable():
                while data := connection.stream_read(event.stream_id, 1 << 16):
                    self.received += data
                if connection.stream_at_end(event.stream_id):
                    self.at_end = True
                    connection.forget_stream(event.stream_id)
            case _:
                return False
        return True


def with_backend(config: QuicTransportConfig, backend: str) -> QuicTransportConfig:
    """The same configuration on another packet library."""
    return replace(config, backend=backend)
