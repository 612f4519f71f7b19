"""The seam to the QUIC packet layer: one interface, two libraries, our own TLS engine in both.

Packets, loss recovery, congestion control and stream reassembly come from a library (aioquic by
default, qh3 as the optional native one); each has one module of its own, and its types do not leave
it. This module is what both have in common: the interface, the events and the TLS adapter.

::

    endpoint -> PacketConnection -> library -> TlsAdapter -> TlsEngine (wraith.libp2p.tls)

The library draws connection ids, its own timers' jitter and retry keys from the operating system,
so a run is reproducible only up to this door. Versions are pinned and the contract test runs on
every backend.

Spec: libp2p-quic section 4 [LQ-40] to [LQ-45]; RFC 9000, RFC 9001.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wraith.libp2p.config import QuicTransportConfig
from wraith.libp2p.tls.alerts import TlsAlert
from wraith.libp2p.tls.client import TlsClient
from wraith.libp2p.tls.codec import CipherSuite
from wraith.libp2p.tls.engine import Level, TlsEngine, TlsState
from wraith.libp2p.tls.server import TlsServer
from wraith.types import Address

QUIC_CID_BYTES = 8
QUIC_V1 = 1
QUIC_TRANSPORT_PARAMETERS = 57
INTERNAL_ERROR = 0x01
PROTOCOL_VIOLATION = 0x0A
INITIAL_DATAGRAM_BYTES = 1200
"""Smallest datagram that may begin a connection (RFC 9000 §14.1)."""

EngineFactory = Callable[[], TlsEngine]
TokenOfCid = Callable[[bytes], bytes]
"""The stateless reset token of one of our own connection ids."""


# ---- events ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """Keys are installed and the peer is authenticated; facts are in ``engine.negotiated``."""


@dataclass(frozen=True, slots=True)
class StreamData:
    stream_id: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class StreamResetReceived:
    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class StopReceived:
    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class DatagramFrameReceived:
    data: bytes


@dataclass(frozen=True, slots=True)
class PingAcknowledged:
    uid: int


@dataclass(frozen=True, slots=True)
class CidIssued:
    cid: bytes


@dataclass(frozen=True, slots=True)
class CidRetired:
    cid: bytes


@dataclass(frozen=True, slots=True)
class Closing:
    """Either side ended the connection; comes at once, before the draining period.

    ``by_application`` tells a code of the application from one of the transport; ``alert`` is the
    precise local reason when our own engine refused; ``here``: this side's packet layer found that
    the peer broke the rules.
    """

    code: int
    by_application: bool
    reason: str
    alert: TlsAlert | None
    here: bool = False


@dataclass(frozen=True, slots=True)
class Terminated:
    """The draining period is over; the object can be dropped."""


PacketEvent = (
    HandshakeCompleted
    | StreamData
    | StreamResetReceived
    | StopReceived
    | DatagramFrameReceived
    | PingAcknowledged
    | CidIssued
    | CidRetired
    | Closing
    | Terminated
)


class PacketConnection(Protocol):
    """One QUIC connection. Errors of the library never leave; they become ``Closing``."""

    @property
    def engine(self) -> TlsEngine: ...

    @property
    def host_cid(self) -> bytes: ...

    @property
    def is_confirmed(self) -> bool:
        """Whether the peer is known to have completed the handshake (RFC 9001 §4.1.2)."""
        ...

    @property
    def is_address_validated(self) -> bool:
        """Whether the peer has shown that it hears at its address."""
        ...

    @property
    def peer_reset_token(self) -> bytes | None:
        """The stateless reset token of the id that packets go to; ``None`` if it has none."""
        ...

    @property
    def remote(self) -> Address | None:
        """Where datagrams go now; changes when the peer migrates."""
        ...

    def connect(self, remote: Address, now: float) -> None: ...

    def receive_datagrams(
        self, datagrams: Sequence[bytes], remote: Address, now: float
    ) -> None: ...

    def handle_timer(self, now: float) -> None: ...

    def next_timer(self) -> float | None: ...

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]: ...

    def next_event(self) -> PacketEvent | None: ...

    def next_stream_id(self) -> int:
        """The id that the next bidirectional stream of ours gets."""
        ...

    def streams_allowed(self) -> int:
        """How many bidirectional streams of ours the peer allows, since the beginning."""
        ...

    def stream_write(self, stream_id: int, data: bytes, fin: bool) -> None: ...

    def stream_buffered(self, stream_id: int) -> int:
        """Bytes taken by ``stream_write`` that the library still holds. One that does not tell
        counts those that it has not sent once."""
        ...

    def stream_unsent(self, stream_id: int) -> int:
        """Bytes taken by ``stream_write`` that have not been sent once."""
        ...

    def has_undelivered(self) -> bool:
        """Whether bytes or ends that ``stream_write`` took are not acknowledged yet.

        Ask after ``datagrams_to_send``; a library may count its own frames as well.
        """
        ...

    def stream_consumed(self, stream_id: int, n: int) -> None:
        """The application has read ``n`` bytes: flow control may move."""
        ...

    def stream_reset(self, stream_id: int, code: int) -> None: ...

    def stream_stop(self, stream_id: int, code: int) -> None: ...

    def send_datagram(self, data: bytes) -> None: ...

    def ping(self, uid: int) -> None: ...

    def change_cid(self) -> None:
        """Switches to a fresh connection id of the peer, for a new path."""
        ...

    def close(self, code: int, reason: str, *, by_application: bool) -> None: ...


# ---- the TLS adapter -------------------------------------------------------------------------


_KEY_LOG_LABELS = {
    (Level.HANDSHAKE, True): "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    (Level.HANDSHAKE, False): "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    (Level.APPLICATION, True): "CLIENT_TRAFFIC_SECRET_0",
    (Level.APPLICATION, False): "SERVER_TRAFFIC_SECRET_0",
}
"""By level and whether the client sends under it; what packet analysers read [LQ-77]."""


class TlsAdapterBase:
    """Gives a library our engine under the attribute names that both libraries use.

    ``tls`` is the library's module: its states, epochs, directions and alerts are what it compares
    with. Must not decide anything.
    """

    def __init__(self, tls: Any, engine: TlsEngine, context: Any) -> None:
        self._tls = tls
        self.engine = engine
        #: ``[(57, transport parameters)]``; the library may replace it before a server answers.
        self.handshake_extensions = context.handshake_extensions
        self.alpn_cb = context.alpn_cb
        self.update_traffic_key_cb = context.update_traffic_key_cb
        self.received_extensions: list[tuple[int, bytes]] | None = None
        self.alpn_negotiated: str | None = None
        self.early_data_accepted = False
        self.session_resumed = False
        self.legacy_session_id = b""
        self.client_random = engine.client_random
        self.failure: TlsAlert | None = None
        self.level = Level.INITIAL
        states = tls.State
        self.state = states.CLIENT_HANDSHAKE_START
        if not engine.is_client:
            self.state = states.SERVER_EXPECT_CLIENT_HELLO

    def run(self, data: bytes, output: dict[Any, Any]) -> None:
        """Feeds the engine and moves its secrets and messages on. Raises the library's alert.

        A failed engine is fed no more: a library hands on what else is in the burst, and the first
        reason is the one that counts.
        """
        if self.failure is None:
            try:
                self._drive(data, output)
            except TlsAlert as alert:
                self.failure = alert
        if self.failure is not None:
            refused = self._tls.Alert(str(self.failure))
            refused.description = self._tls.AlertDescription(int(self.failure.alert))
            raise refused from self.failure

    def _drive(self, data: bytes, output: dict[Any, Any]) -> None:
        engine = self.engine
        states = self._tls.State
        if isinstance(engine, TlsClient) and engine.state is TlsState.START:
            engine.start(self._own_parameters())
            self.state = states.CLIENT_EXPECT_SERVER_HELLO
            self._flush(output)
            return
        engine.receive(self.level, data)
        while engine.advance():
            self._install_secrets()
            if engine.peer_quic_parameters is not None and self.received_extensions is None:
                self.client_random = engine.client_random
                self.received_extensions = [
                    (QUIC_TRANSPORT_PARAMETERS, engine.peer_quic_parameters)
                ]
                self.alpn_negotiated = engine.alpn
                self.alpn_cb(engine.alpn)
            if isinstance(engine, TlsServer) and engine.state is TlsState.ANSWER:
                engine.answer(self._own_parameters())
                self._install_secrets()
                self.state = states.SERVER_EXPECT_FINISHED
            elif engine.is_client and engine.state is TlsState.ENCRYPTED_EXTENSIONS:
                self.state = states.CLIENT_EXPECT_ENCRYPTED_EXTENSIONS
        if engine.is_connected:
            self.state = (
                states.CLIENT_POST_HANDSHAKE if engine.is_client else states.SERVER_POST_HANDSHAKE
            )
        self._flush(output)

    def _own_parameters(self) -> bytes:
        return next(
            bytes(body)
            for kind, body in self.handshake_extensions
            if kind == QUIC_TRANSPORT_PARAMETERS
        )

    def _install_secrets(self) -> None:
        for level, sending, suite, secret in self.engine.take_secrets():
            if self.engine.key_log is not None:
                label = _KEY_LOG_LABELS[level, sending == self.engine.is_client]
                random = self.engine.client_random.hex()
                self.engine.key_log(f"{label} {random} {secret.reveal().hex()}")
            self.update_traffic_key_cb(
                self._tls.Direction.ENCRYPT if sending else self._tls.Direction.DECRYPT,
                self._tls.Epoch(int(level)),
                self._suite(suite),
                secret.reveal(),
            )
            secret.wipe()

    def _suite(self, suite: CipherSuite) -> Any:
        return self._tls.CipherSuite(int(suite))

    def _flush(self, output: dict[Any, Any]) -> None:
        for level, message in self.engine.take_output():
            output[self._tls.Epoch(int(level))].push_bytes(message)


# ---- addresses and the choice of backend -----------------------------------------------------

_LIBRARY_ADDRESSES: dict[Address, tuple[str, int]] = {}
_ADDRESSES: dict[tuple[str, int], Address] = {}
_CACHE_MAX = 4096


def library_address(address: Address) -> tuple[str, int]:
    """``("192.0.2.1", 4001)``: what both libraries compare and hand back."""
    known = _LIBRARY_ADDRESSES.get(address)
    if known is None:
        if len(_LIBRARY_ADDRESSES) >= _CACHE_MAX:
            _LIBRARY_ADDRESSES.clear()
            _ADDRESSES.clear()
        known = (str(_ip(address.ip)), address.port)
        _LIBRARY_ADDRESSES[address] = known
        _ADDRESSES[known] = address
    return known


def address_of(known: tuple[Any, ...]) -> Address:
    """Inverse of :func:`library_address`."""
    found = _ADDRESSES.get((known[0], known[1]))
    return found if found is not None else Address(_ip(known[0]).packed, known[1])


def _ip(value: bytes | str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(value)


class _Backend(Protocol):
    def __call__(
        self,
        make_engine: EngineFactory,
        config: QuicTransportConfig,
        *,
        is_client: bool,
        original_cid: bytes | None = None,
        retry_cid: bytes | None = None,
        reset_token: TokenOfCid | None = None,
    ) -> PacketConnection: ...


def load_backend(name: str) -> _Backend:
    """The connection class of a backend; imports its library, once.

    Raises:
        MissingExtra: the backend's library is not installed.
    """
    if name == "qh3":
        from wraith.libp2p.quic_qh3 import Qh3Connection

        return Qh3Connection
    from wraith.libp2p.quic_aioquic import AioquicConnection

    return AioquicConnection
