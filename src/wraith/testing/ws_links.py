"""Two ends of a WebSocket link on loopback, for tests: real sockets, real records, no session.

``LinkEnd`` is the host of one link: it keeps what arrives and sends what it is told, no faster
than the link takes it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from wraith.aio.transports.base import StreamSocket
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.link_socket import reset_on_close
from wraith.aio.transports.websocket import PING_AFTER_S, Connect, open_link
from wraith.aio.transports.websocket_link import WebSocketLink
from wraith.aio.transports.websocket_listener import WebSocketListener
from wraith.aio.transports.websocket_shell import WebClientShell
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.links.link import StreamLink
from wraith.connection.links.preface import LinkKeys, make_preface, open_preface
from wraith.connection.links.ws_path import PathTokens, make_token
from wraith.testing.rng import SeededRng
from wraith.types import (
    Address,
    Carrier,
    NetworkPath,
    Road,
    Transmit,
)

UNIX_NOW = 1_800_000_000.0
LOOPBACK = Address(bytes([127, 0, 0, 1]), 0)
DEADLINE_S = 20.0


class LinkEnd:
    """The host of one link.

    Attributes:
        packets: what arrived, copied, unless ``on_packets`` takes it.
        n_bytes: of all that arrived.
        closed: the reason, once the link is gone.
        on_first: called once, when the first packet has come.
    """

    def __init__(self, made: WebSocketLink) -> None:
        self.socket = made
        self.packets: list[bytes] = []
        self.n_bytes = 0
        self.n_turns = 0
        self.closed: str | None = None
        self.on_first: Callable[[], None] | None = None
        self.on_packets: Callable[[memoryview, int], None] | None = None
        self._changed = asyncio.Event()
        made.start(self)

    def link_received(self, link: StreamSocket, data: memoryview, segment_bytes: int, /) -> None:
        del link
        first, self.on_first = self.on_first, None
        if first is not None:
            first()
        self.n_bytes += len(data)
        if self.on_packets is not None:
            self.on_packets(data, segment_bytes)
        else:
            step = range(0, len(data), segment_bytes)
            self.packets += [bytes(data[at : at + segment_bytes]) for at in step]

    def link_turn(self, link: StreamSocket, /) -> None:
        del link
        self.n_turns += 1
        self._changed.set()

    def link_room(self, link: StreamSocket, /) -> None:
        del link
        self._changed.set()

    def link_closed(self, link: StreamSocket, reason: str, /) -> None:
        del link
        assert self.closed is None, "told twice"
        self.closed = reason
        self._changed.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits, with a deadline, until something that happens on the link makes it so."""
        async with asyncio.timeout(DEADLINE_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    async def until_bytes(self, n_bytes: int) -> None:
        """Waits until so many have arrived in all."""
        await self.until(lambda: self.n_bytes >= n_bytes)

    async def until_closed(self) -> str:
        """Waits for the end of the link and returns its reason."""
        await self.until(lambda: self.closed is not None)
        assert self.closed is not None
        return self.closed

    async def send(self, data: bytes, segment_bytes: int) -> None:
        """All of ``data`` in packets, as fast as the link has room."""
        at, view = 0, memoryview(data)
        while at < len(view):
            n = min(len(view) - at, self.socket.room_bytes // segment_bytes * segment_bytes)
            if n == 0:
                await self.until(lambda: self.closed is not None or self.has_room(segment_bytes))
                assert self.closed is None, self.closed
                continue
            self.socket.send(Transmit(view[at : at + n], segment_bytes, self.socket.path))
            at += n

    def has_room(self, n_bytes: int) -> bool:
        return self.socket.room_bytes >= n_bytes


class WsServer:
    """A listener with one access key, and its door: accepts every proven preface.

    Attributes:
        lets_in: False refuses whoever showed a path.
        accepted: the links, as they come.
    """

    def __init__(
        self,
        *,
        prefix: str = "/share",
        tls: ssl.SSLContext | None = None,
        proxies: tuple[str, ...] = (),
    ) -> None:
        self.key = AccessKey.generate(SeededRng("ws listener"), with_psk=True)
        self.prefix = prefix
        self.lets_in = True
        self.accepted: asyncio.Queue[LinkEnd] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self.doorstep = Doorstep(loop, SeededRng("ws doorstep"))
        self._ends: list[LinkEnd] = []
        self._n_links = 0
        self._seen: set[bytes] = set()
        self._rng = SeededRng("ws tokens")
        self._tokens = PathTokens(
            self.key.ak.public, self.key.psk, unix_now=UNIX_NOW, used_before=False
        )
        self.listener = WebSocketListener.bind(
            LOOPBACK,
            prefix=prefix,
            accepts_token=lambda token: self._tokens.accepts(token, UNIX_NOW),
            tls=tls,
            proxies=proxies,
        )
        self.port = self.listener.local.port

    async def __aenter__(self) -> WsServer:
        self.listener.start(asyncio.get_running_loop(), self, self.doorstep)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.listener.close()
        for end in self._ends:
            end.socket.reset()
        self.doorstep.close()
        for _turn in range(3):  # what was ended is told in the next turns of the loop
            await asyncio.sleep(0)

    # --- its door -----------------------------------------------------------------------------

    def next_link_number(self) -> int:
        self._n_links += 1
        return self._n_links

    def accept_link(self, path: NetworkPath, /) -> StreamLink | None:
        del path
        return StreamLink.accepted(self.prove) if self.lets_in else None

    def link_accepted(self, link: StreamSocket, /) -> None:
        assert isinstance(link, WebSocketLink)
        end = LinkEnd(link)
        end.on_first = lambda: self.doorstep.settle(link.path.link)
        self._ends.append(end)
        self.accepted.put_nowait(end)

    def prove(self, preface: bytes) -> LinkKeys | None:
        """The keys of a right preface, each ephemeral once; does not judge the time."""
        opened = open_preface(self.key, preface, Carrier.WS)
        if opened is None or opened.e_public in self._seen:
            return None
        self._seen.add(opened.e_public)
        return opened.keys

    # --- who comes ----------------------------------------------------------------------------

    async def next(self) -> LinkEnd:
        async with asyncio.timeout(DEADLINE_S):
            return await self.accepted.get()

    def token(self) -> str:
        """A fresh one, as the owner of the code makes it."""
        return make_token(self.key.ak.public, self.key.psk, rng=self._rng, unix_now=UNIX_NOW)

    def preface(self, carrier: Carrier = Carrier.WS) -> tuple[bytes, LinkKeys]:
        """A preface for this listener and the keys of its maker."""
        return make_preface(
            self.key.ak.public, self.key.psk, carrier, rng=self._rng, unix_now=UNIX_NOW
        )

    def url(self, port: int | None = None, *, scheme: str = "ws", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port if port is None else port}{self.prefix}"

    async def dial(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        connect: Connect | None = None,
        proxy: str | None = None,
        ping_after_s: tuple[float, float] = PING_AFTER_S,
        timeout_s: float = DEADLINE_S,
    ) -> LinkEnd:
        """An open link to this listener, or to what stands in front of it at ``url``."""
        preface, keys = self.preface()
        made = await open_link(
            Road(Carrier.WS, url=url or self.url(), proxy=proxy),
            StreamLink.dialled(keys, preface),
            self.next_link_number(),
            token=self.token() if token is None else token,
            tls=tls,
            connect=connect,
            doorstep=self.doorstep,
            ping_after_s=ping_after_s,
            timeout_s=timeout_s,
        )
        self._ends.append(end := LinkEnd(made))
        return end

    async def pair(
        self, url: str | None = None, *, tls: ssl.SSLContext | None = None
    ) -> tuple[LinkEnd, LinkEnd]:
        """Both ends of a fresh link, dialler first."""
        dialler = await self.dial(url, tls=tls)
        return dialler, await self.next()


class RawDialler:
    """Who has the code and sends what no node sends. ``opened`` connects and is answered 101."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._shell: WebClientShell | None = None

    @classmethod
    async def opened(
        cls,
        server: WsServer,
        *,
        buffer_bytes: int | None = None,
    ) -> RawDialler:
        raw = socket.socket()
        if buffer_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", server.port))
        made = cls(*await asyncio.open_connection(sock=raw))
        path = f"{server.prefix}/{server.token()}"
        made._shell = shell = WebClientShell(
            secure=False, host="127.0.0.1", port=server.port, path=path
        )
        made.write(b"".join(shell.to_send()))
        async with asyncio.timeout(DEADLINE_S):
            while not shell.is_open:
                shell.receive(memoryview(await made._reader.read(1)))
        return made

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)

    def send(self, *messages: bytes) -> None:
        """Binary messages."""
        assert self._shell is not None
        for message in messages:
            self._shell.send(message)
        self.write(b"".join(self._shell.to_send()))

    async def drain(self) -> None:
        """Waits until the kernel has nearly all."""
        async with asyncio.timeout(DEADLINE_S):
            await self._writer.drain()

    async def read(self, n_bytes: int) -> bytes:
        """So many bytes as they come."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readexactly(n_bytes)

    async def rest(self) -> bytes:
        """Says that nothing more comes, and returns all that comes back before the end."""
        self._writer.write_eof()
        return await self.until_end()

    async def until_end(self) -> bytes:
        """All that comes back until the other side ends. Raises ``ConnectionResetError``."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.read()

    def leave(self) -> None:
        """Ends the connection at once."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """The same, so that the other side sees an error."""
        reset_on_close(self._writer.get_extra_info("socket"))
        self.leave()


async def exchange(port: int, request: bytes, *, half_close: bool = False) -> bytes:
    """What a plain TCP client is answered until the server closes; ``b""`` if it says nothing and
    the client gives up after the request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(DEADLINE_S):
            return await reader.read()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
