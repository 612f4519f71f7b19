"""One libp2p connection over asyncio: its streams, the protocols every host asks for, its end.

Must not know sockets or other connections: it issues commands to its machine and asks its host to
wake the driver. Spec: libp2p-quic sections 5 and 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from wraith.aio.libp2p import protocols
from wraith.aio.libp2p.stream import Libp2pStream
from wraith.errors import ConnectionLost, RemoteProtocolError, TransportError, WraithError
from wraith.libp2p import events, identify, ping
from wraith.libp2p.codes import Libp2pCode
from wraith.libp2p.connection import ConnectionState, PeerConnection
from wraith.libp2p.identify import IdentifyInfo
from wraith.libp2p.multiaddr import Multiaddr, quic_multiaddr
from wraith.libp2p.peer_id import PeerId
from wraith.types import Role

if TYPE_CHECKING:
    from wraith.aio.libp2p.host import Libp2pHost


class Libp2pConnection:
    """One authenticated connection. Made by ``Libp2pHost.dial`` and given to ``on_connection``."""

    def __init__(self, host: Libp2pHost, machine: PeerConnection) -> None:
        self.machine = machine
        self._host = host
        self._streams: dict[int, Libp2pStream] = {}
        self._tasks: dict[asyncio.Task[None], Libp2pStream] = {}
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._deliveries: list[asyncio.Future[None]] = []
        self._opening = asyncio.Lock()
        self._credit: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: WraithError | None = None
        self._watch_closed: Callable[[WraithError | None], None] | None = None

    # --- facts ------------------------------------------------------------------------------

    @property
    def security(self) -> events.QuicSecurity:
        """What the handshake reached: group, post-quantum or not, peer, timings."""
        assert self.machine.security is not None
        return self.machine.security

    @property
    def peer_id(self) -> PeerId | None:
        return self.security.peer_id

    @property
    def is_open(self) -> bool:
        return self.machine.state is ConnectionState.CONNECTED

    @property
    def is_initiator(self) -> bool:
        return self.machine.role is Role.INITIATOR

    @property
    def negotiation_timeout_s(self) -> float:
        """The configuration's; how long a peer may take over a stream's first words."""
        return self._host.config.negotiation_timeout_s

    @property
    def remote_multiaddr(self) -> Multiaddr:
        """Where the peer is now; follows its migration."""
        return quic_multiaddr(self.machine.remote, self.peer_id)

    def export_key(self, label: str, context: bytes = b"", n: int = 32) -> bytes:
        """Keying material bound to this connection (RFC 8446 §7.5)."""
        return self.machine.export_key(label, context, n)

    def error(self) -> WraithError:
        """Why the connection is not usable; for use in ``raise``."""
        return self._error or ConnectionLost("the connection is closed")

    # --- streams ----------------------------------------------------------------------------

    async def open_stream(self, *wanted: str) -> Libp2pStream:
        """A stream that speaks the first of ``wanted`` that the peer accepts.

        Waits while the peer allows no further stream, without limit: until others have ended.

        Raises:
            RemoteProtocolError: the peer accepts none of them.
            TransportError: the connection is closed.
        """
        await self.wait_stream_credit()
        stream = self.open_raw_stream()
        try:
            async with asyncio.timeout(self.negotiation_timeout_s):
                await protocols.negotiate_out(stream, wanted)
        except TransportError:  # the connection's own time-out is not that of the negotiation
            stream.reset(Libp2pCode.PROTOCOL_NEGOTIATION_FAILED)
            raise
        except TimeoutError:
            stream.reset(Libp2pCode.PROTOCOL_NEGOTIATION_FAILED)
            raise RemoteProtocolError("the peer did not answer the negotiation") from None
        except BaseException:
            stream.reset(Libp2pCode.PROTOCOL_NEGOTIATION_FAILED)
            raise
        return stream

    async def wait_stream_credit(self) -> None:
        """Waits until the peer allows another stream; who came first goes on first.

        Raises:
            TransportError: the connection is closed.
        """
        async with self._opening:
            while self.is_open and not self.machine.stream_credit:
                self._credit = asyncio.get_running_loop().create_future()
                self.machine.watch_credit()
                self.wake()
                await self._credit
        if not self.is_open:
            raise self.error()

    def open_raw_stream(self) -> Libp2pStream:
        """A stream without multistream negotiation, for peers that are no libp2p hosts.

        Raises:
            LocalProtocolError: the peer allows no further stream now; see
                :meth:`wait_stream_credit`.
            TransportError: the connection is closed.
        """
        if not self.is_open:
            raise self.error()
        stream = Libp2pStream(self, self.machine.open_stream())
        self._streams[stream.stream_id] = stream
        return stream

    # --- protocols --------------------------------------------------------------------------

    async def ping(self, count: int = 1) -> list[float]:
        """Round-trip times in seconds over ``/ipfs/ping/1.0.0``."""
        stream = await self.open_stream(ping.PROTOCOL)
        async with stream:
            return [await protocols.ping_once(stream, self._host.rng) for _ in range(count)]

    async def identify(self) -> IdentifyInfo:
        """What the peer says about itself; its key is checked against the certificate."""
        stream = await self.open_stream(identify.PROTOCOL)
        async with stream:
            return await protocols.receive_identify(stream)

    async def transport_ping(self) -> float:
        """Seconds until QUIC's own PING was acknowledged; proves that the path is alive."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiter: asyncio.Future[None] = loop.create_future()
        uid = self.machine.ping()
        self._pings[uid] = waiter
        self.wake()
        try:
            await waiter
        finally:
            self._pings.pop(uid, None)
        if not self.is_open:
            raise self.error()
        return loop.time() - began

    async def wait_delivered(self) -> None:
        """Waits until the peer has acknowledged everything that streams have accepted.

        Acknowledged is arrived at the peer's QUIC, not read by its application.

        Raises:
            TransportError: the connection ended before that.
        """
        if not self.is_open:
            raise self.error()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deliveries.append(waiter)
        self.machine.watch_delivery()
        self.wake()
        await waiter
        if not self.is_open:
            raise self.error()

    # --- end --------------------------------------------------------------------------------

    def close(self, code: int = Libp2pCode.NO_ERROR, reason: str = "") -> None:
        """Graceful close: nothing more can be written, and what streams have accepted is
        delivered first, for ``close_flush_s`` at most. Returns at once; see ``wait_closed``.
        """
        self.machine.close(code, reason)
        self.wake()

    async def wait_closed(self) -> WraithError | None:
        """Waits for the end; returns its error, ``None`` after a graceful close."""
        await asyncio.shield(self._closed)
        return self._error

    def abort(self, code: int = Libp2pCode.NO_ERROR) -> None:
        """Ends it at once: what is not delivered is lost. Idempotent."""
        self.machine.abandon(code, "", None, by_application=True)
        self.wake()

    def watch_closed(self, closed: Callable[[WraithError | None], None]) -> None:
        """For whoever waits without a task: ``closed`` is called at the end, with its error, or
        ``None`` after a graceful close. What had arrived before can still be read."""
        self._watch_closed = closed

    # --- called by the host and the streams ---------------------------------------------------

    def wake(self) -> None:
        self._host.wake()

    def forget_stream(self, stream: Libp2pStream) -> None:
        self._streams.pop(stream.stream_id, None)

    def on_event(self, event: events.Libp2pEvent) -> None:
        match event:
            case events.StreamOpened():
                self._accept(event.stream_id)
            case events.StreamReadable():
                if stream := self._streams.get(event.stream_id):
                    stream.on_readable()
            case events.StreamWritable():
                if stream := self._streams.get(event.stream_id):
                    stream.on_writable()
            case events.StreamWasReset():
                if stream := self._streams.get(event.stream_id):
                    stream.on_reset(event.code)
            case events.StreamWasStopped():
                if stream := self._streams.get(event.stream_id):
                    stream.on_stopped(event.code)
            case events.PingAnswered():
                waiter = self._pings.get(event.uid)
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
            case events.AllDelivered():
                self._release_deliveries()
            case events.StreamCredit():
                self._release_credit()
            case events.ConnectionClosed():
                self._on_closed(event.error)
            case _:
                pass

    def _accept(self, stream_id: int) -> None:
        stream = Libp2pStream(self, stream_id)
        self._streams[stream_id] = stream
        if self._host.on_stream is not None:
            self._host.on_stream(stream)
            return
        raw = self._host.on_raw_stream
        work = raw(stream) if raw is not None else self._host.serve(stream)
        task = asyncio.ensure_future(_contained(stream, work))
        self._tasks[task] = stream
        task.add_done_callback(self._on_handler_done)

    def _on_handler_done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not self._tasks:
            self._host.forget_handlers(self)

    def _release_credit(self) -> None:
        if self._credit is not None and not self._credit.done():
            self._credit.set_result(None)

    def _release_deliveries(self) -> None:
        waiters, self._deliveries = self._deliveries, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    @property
    def handlers(self) -> list[asyncio.Task[None]]:
        """The handlers of incoming streams that still run, also after the connection's end."""
        return list(self._tasks)

    def _on_closed(self, error: WraithError | None) -> None:
        self._error = error
        self._release_deliveries()
        self._release_credit()
        for stream in list(self._streams.values()):
            stream.on_connection_closed()
        for waiter in self._pings.values():
            if not waiter.done():
                waiter.set_result(None)
        for task, stream in self._tasks.items():
            # What arrived before the end is the handler's: it reads on, and the end of what there
            # is ends it [LQ-72]. One whose request was cut off has nothing to wait for.
            if not stream.has_arrived:
                task.cancel()
        if not self._closed.done():
            self._closed.set_result(None)
        if self._watch_closed is not None:
            self._watch_closed(error)


async def _contained(stream: Libp2pStream, work: object) -> None:
    """Runs a handler; what the peer or the network did to it ends with the stream."""
    assert asyncio.iscoroutine(work)
    try:
        await work
    except (RemoteProtocolError, TransportError):
        stream.reset(Libp2pCode.NO_ERROR)
    except WraithError:
        stream.reset(Libp2pCode.PROTOCOL_VIOLATION)
    except Exception:
        # A defect of the handler: the peer sees a reset, the loop's exception handler the error.
        stream.reset(Libp2pCode.NO_ERROR)
        raise
