"""A libp2p host over asyncio: dial, listen, streams, identify and ping on one QUIC endpoint.

The machine is :class:`wraith.libp2p.endpoint.QuicEndpoint`; sockets and the loop are those of the
main transport (``udp.py``, ``driver.py``), so datagrams are drained before anything is sent. Must
not parse packets or decide policy.

::

    async with await Libp2pHost.create(identity, listen=["/ip4/127.0.0.1/udp/0/quic-v1"]) as host:
        connection = await host.dial("/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooW...")
        stream = await connection.open_stream("/wraith/echo/1.0.0")
        await stream.write(data); await stream.close_write(); reply = await stream.read_all(1 << 20)

Spec: libp2p-quic sections 5 and 6.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import wraith
from wraith.abc import Tracer
from wraith.aio.clock import SystemClock
from wraith.aio.driver import Driver
from wraith.aio.entropy import OsRng
from wraith.aio.fork import poison_after_fork
from wraith.aio.libp2p import protocols
from wraith.aio.libp2p.connection import Libp2pConnection
from wraith.aio.libp2p.protocols import StreamHandler
from wraith.aio.libp2p.sockets import Libp2pSockets, bind, parse_multiaddr, resolve
from wraith.aio.libp2p.stream import Libp2pStream
from wraith.aio.tracing import make_tracer
from wraith.aio.transports.interfaces import reachable_addresses
from wraith.crypto.ed25519 import Identity
from wraith.errors import (
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    LocalProtocolError,
    WraithError,
)
from wraith.libp2p import events, identify, ping
from wraith.libp2p.codes import Libp2pCode
from wraith.libp2p.config import QuicTransportConfig
from wraith.libp2p.connection import PeerConnection
from wraith.libp2p.endpoint import EndpointCounters, PeerEvent, QuicEndpoint
from wraith.libp2p.identify import IdentifyInfo
from wraith.libp2p.multiaddr import Multiaddr, quic_multiaddr
from wraith.libp2p.peer_id import PeerId
from wraith.libp2p.reset import reset_key
from wraith.types import Address, Role

__all__ = ["Libp2pConnection", "Libp2pHost", "Libp2pStream"]

PROTOCOL_VERSION: Final = "wraith/2"
CLOSE_MARGIN_S: Final = 0.5
"""Beyond ``close_flush_s``, for the last datagrams and the handlers' last steps."""


@dataclass(frozen=True, slots=True)
class _Dial:
    """Somebody waits for this connection; ``confirmed``: for the peer's word on it as well."""

    waiter: asyncio.Future[Libp2pConnection]
    confirmed: bool

    def succeed(self, connection: Libp2pConnection) -> None:
        if not self.waiter.done():
            self.waiter.set_result(connection)

    def fail(self, error: Exception) -> None:
        if not self.waiter.done():
            self.waiter.set_exception(error)


class Libp2pHost:
    """One endpoint with its sockets: many connections, both roles.

    Attributes:
        identity, peer_id: who this host is.
        on_connection: called with every connection that a peer opened.
        on_refused: called with the reason when an incoming handshake fails.
        on_raw_stream: set it to serve incoming streams without multistream negotiation.
        on_stream: the same without a task: called with every incoming stream, before its first
            bytes are looked at; nobody reads, ends or resets it but whoever is called.
    """

    def __init__(
        self,
        identity: Identity,
        config: QuicTransportConfig,
        sockets: Libp2pSockets,
        *,
        listening: bool,
        agent: str,
        tracer: Tracer,
        key_log: Callable[[str], None] | None = None,
    ) -> None:
        self.identity = identity
        self.config = config
        self.rng = OsRng()
        self.machine = QuicEndpoint(
            identity,
            config,
            rng=self.rng,
            clock=SystemClock(),
            tracer=tracer,
            listening=listening,
            key_log=key_log,
            # A host that only dials has another port after a restart: nobody would ask it.
            reset_key=reset_key(identity, sockets.addresses) if listening else None,
        )
        self.peer_id = self.machine.peer_id
        self.on_connection: Callable[[Libp2pConnection], None] | None = None
        self.on_refused: Callable[[WraithError], None] | None = None
        self.on_raw_stream: StreamHandler | None = None
        self.on_stream: Callable[[Libp2pStream], None] | None = None
        self._agent = agent
        self._sockets = sockets
        self._driver: Driver[PeerEvent] = Driver(
            self.machine, sockets, on_event=self._on_event, on_failed=self._on_failed, tracer=tracer
        )
        self._connections: dict[PeerConnection, Libp2pConnection] = {}
        #: Connections that are over and whose handlers still read what had arrived.
        self._reading_on: set[Libp2pConnection] = set()
        self._dials: dict[PeerConnection, _Dial] = {}
        self._closing = False
        self._handlers: dict[str, StreamHandler] = {
            ping.PROTOCOL: protocols.serve_ping,
            identify.PROTOCOL: self._serve_identify,
            identify.PUSH_PROTOCOL: self._serve_identify_push,
        }

    @classmethod
    async def create(
        cls,
        identity: Identity | None = None,
        *,
        listen: Sequence[str | Multiaddr] = (),
        config: QuicTransportConfig | None = None,
        agent: str | None = None,
        tracer: Tracer | None = None,
        key_log: Callable[[str], None] | None = None,
    ) -> Libp2pHost:
        """Binds and starts.

        Args:
            identity: the Ed25519 host key; a fresh one if ``None``.
            listen: ``/ip4/.../udp/.../quic-v1`` and ``/ip6/...``, at most one per family; empty for
                a host that only dials.
            config: policy REQUIRE and backend aioquic by default.
            key_log: gets every connection's secrets, a line each, in the format that packet
                analysers read (:class:`wraith.aio.key_log.KeyLog`). For debugging only.

        Raises:
            ConfigError: an address is not a literal QUIC v1 address.
            TransportError: an address cannot be bound.
            MissingExtra: the backend is not installed.
        """
        if identity is None:
            identity = Identity.generate(OsRng())
        config = config or QuicTransportConfig()
        tracer = tracer or make_tracer()
        host = cls(
            identity,
            config,
            Libp2pSockets(bind(listen, tracer).sockets),
            listening=bool(listen),
            agent=agent or f"wraith/{wraith.__version__}",
            tracer=tracer,
            key_log=key_log,
        )
        host.start()
        return host

    def start(self) -> None:
        """Begins to send and receive, on the running loop. ``create`` has called it."""
        self._driver.start()
        poison_after_fork(self)

    # --- facts ------------------------------------------------------------------------------

    @property
    def counters(self) -> EndpointCounters:
        """Datagrams, bytes, handshakes by group, refusals by reason."""
        return self.machine.counters

    @property
    def connections(self) -> list[Libp2pConnection]:
        return [each for each in self._connections.values() if each.is_open]

    @property
    def listen_addresses(self) -> list[Multiaddr]:
        """The addresses that peers dial, with our PeerId; a wildcard becomes all of this host."""
        if not self.machine.listening:
            return []
        found = []
        for each in self._sockets.sockets:
            port = each.local.port
            if each.local.ip:
                found.append(quic_multiaddr(each.local, self.peer_id))
                continue
            n_bytes = 4 if getattr(each, "family", None) == socket.AF_INET else 16
            for address in reachable_addresses(port):
                if len(address.ip) == n_bytes:
                    found.append(quic_multiaddr(address, self.peer_id))
        return found

    # --- commands ---------------------------------------------------------------------------

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """Serves ``protocol`` with ``handler`` on every connection."""
        self._handlers[protocol] = handler

    async def dial(
        self,
        multiaddr: str | Multiaddr,
        *,
        timeout_s: float | None = None,
        any_peer: bool = False,
        confirmed: bool = False,
    ) -> Libp2pConnection:
        """Connects and authenticates.

        Args:
            multiaddr: with its ``/p2p/<PeerId>``, which must then prove itself.
            timeout_s: for the handshake; the configuration's if ``None``.
            any_peer: accept whoever answers when the address names nobody.
            confirmed: return only when the peer has said that it completed the handshake as well,
                half a round trip later. Without it an overloaded peer may still give up; the
                connection then ends within ``timeout_s``.

        Raises:
            ConfigError: no QUIC address, or no PeerId and not ``any_peer``.
            PeerKeyMismatch: somebody else answered.
            HandshakeTimeout, ConnectFailed: nobody answered, or the peer refused.
            TlsAlert: we refused the peer; its hint says what would help.
        """
        if isinstance(multiaddr, str):
            multiaddr = parse_multiaddr(multiaddr)
        expected = multiaddr.peer_id
        if expected is None and not any_peer:
            raise ConfigError(
                "multiaddr", str(multiaddr), "an address that ends in /p2p/<PeerId of the peer>"
            )
        remote = await resolve(multiaddr)
        return await self._dial(remote, expected, timeout_s, confirmed)

    async def dial_anybody(
        self, remote: Address, *, timeout_s: float | None = None
    ) -> Libp2pConnection:
        """As :meth:`dial`, accepting whoever answers at ``remote``."""
        return await self._dial(remote, None, timeout_s, False)

    async def _dial(
        self, remote: Address, expected: PeerId | None, timeout_s: float | None, confirmed: bool
    ) -> Libp2pConnection:
        if self._closing or self._driver.closed:
            raise LocalProtocolError("this host is closed")
        loop = asyncio.get_running_loop()
        machine = self.machine.dial(
            remote, loop.time(), expected_peer=expected, timeout_s=timeout_s
        )
        waiter: asyncio.Future[Libp2pConnection] = loop.create_future()
        self._dials[machine] = _Dial(waiter, confirmed)
        self.wake()
        try:
            return await waiter
        except asyncio.CancelledError:
            machine.close()
            self.wake()
            raise
        finally:
            self._dials.pop(machine, None)

    async def rebind(self) -> int:
        """Moves to fresh UDP ports while connections live; returns the new port.

        For a host that only dials: what a NAT or an interface change does, on purpose.
        """
        self._sockets.replace(bind((), None))
        self.machine.path_changed(asyncio.get_running_loop().time())
        self.wake()
        return self._sockets.port

    async def close(self, code: int = Libp2pCode.SHUTDOWN, reason: str = "") -> None:
        """Closes every connection gracefully, tells the peers, frees the sockets. Idempotent.

        What streams have accepted is delivered first, and handlers that still have something to
        read go on, both for ``close_flush_s`` at most [LQ-71, LQ-72].
        """
        if self._driver.closed:
            return
        self._closing = True
        self.machine.close_all(code, reason)
        for dial in self._dials.values():
            dial.fail(ConnectionLost("this host was closed"))
        self.wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.close_flush_s + CLOSE_MARGIN_S):
                for connection in list(self._connections.values()):
                    await connection.wait_closed()
                await self._driver.flushed()
                if handlers := self._running_handlers():
                    await asyncio.wait(handlers)
        for task in self._running_handlers():
            task.cancel()
        self._driver.close()

    def stop_listening(self) -> None:
        """Admits nobody any more; connections go on."""
        self.machine.listening = False

    def fail_dials(self, error: WraithError) -> None:
        """Whoever waits in ``dial`` gets ``error``: something else has shown that it is in vain."""
        for dial in self._dials.values():
            dial.fail(error)

    def close_flushed(self) -> None:
        """Frees the sockets once what is due now has been sent; waits for no peer and needs no
        task. For a host whose connections are over, or are to be dropped without a word."""
        self._closing = True
        self._driver.watch(self._free)

    def _free(self) -> bool:
        self._driver.close()
        return True

    def _running_handlers(self) -> list[asyncio.Task[None]]:
        """All but the one that is asking: a handler may close its host."""
        asking = asyncio.current_task()
        return [
            task
            for connection in self._reading_on
            for task in connection.handlers
            if task is not asking
        ]

    # --- called by the driver and the connections -----------------------------------------------

    def wake(self) -> None:
        self._driver.wake()

    def forget_handlers(self, connection: Libp2pConnection) -> None:
        """The last handler of ``connection`` has ended."""
        self._reading_on.discard(connection)

    def poison(self) -> None:
        """In a forked child: never sends or reads again; two processes must not share keys."""
        self._driver.poison()

    async def serve(self, stream: Libp2pStream) -> None:
        """Negotiates an incoming stream among the handlers and runs the chosen one."""
        await protocols.serve_stream(stream, self._handlers)

    def _on_event(self, pair: PeerEvent) -> None:
        machine, event = pair
        if isinstance(event, events.Connected):
            connection = Libp2pConnection(self, machine)
            self._connections[machine] = connection
            dial = self._dials.get(machine)
            if dial is not None and not dial.confirmed:
                dial.succeed(connection)
            elif machine.role is Role.RESPONDER and self.on_connection is not None:
                self.on_connection(connection)
            return
        known = self._connections.get(machine)
        if isinstance(event, events.Confirmed) and known is not None and machine in self._dials:
            self._dials[machine].succeed(known)
        if isinstance(event, events.ConnectionClosed):
            self._connections.pop(machine, None)
            dial = self._dials.get(machine)
            if dial is not None:
                dial.fail(event.error or ConnectFailed("the peer closed at once"))
            elif known is None and event.error is not None and self.on_refused is not None:
                self.on_refused(event.error)
        if known is not None:
            known.on_event(event)
            if isinstance(event, events.ConnectionClosed) and known.handlers:
                self._reading_on.add(known)

    def _on_failed(self, failure: Exception) -> None:
        """A defect of the machine: everything that waits learns of it."""
        lost = ConnectionLost(f"internal error: {failure!r}")
        for dial in self._dials.values():
            dial.fail(lost)
        for connection in list(self._connections.values()):
            connection.on_event(events.ConnectionClosed(0, "", False, lost))
        self._connections.clear()

    def identify_info(self, connection: Libp2pConnection) -> IdentifyInfo:
        """What this host says about itself on ``connection``."""
        return IdentifyInfo(
            public_key=self.machine.host_key,
            listen_addresses=tuple(
                Multiaddr(tuple(part for part in each.components if part[0] != "p2p"))
                for each in self.listen_addresses
            ),
            protocols=tuple(sorted(self._handlers)),
            observed_address=quic_multiaddr(connection.machine.remote),
            protocol_version=PROTOCOL_VERSION,
            agent_version=self._agent,
        )

    async def _serve_identify(self, stream: Libp2pStream) -> None:
        await protocols.send_identify(stream, self.identify_info(stream.connection))

    async def _serve_identify_push(self, stream: Libp2pStream) -> None:
        await protocols.receive_identify(stream)  # checked; nothing here keeps a peer store

    async def __aenter__(self) -> Libp2pHost:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
