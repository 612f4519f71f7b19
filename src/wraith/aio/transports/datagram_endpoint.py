"""UDP over asyncio's datagram endpoint, for loops without ``add_reader`` (Windows' proactor).

Several times slower than ``udp.py``, one datagram per loop turn, no local address per datagram;
chosen only where nothing else works. Implements ``udp.DatagramSocket``.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Final, cast

from wraith.aio.transports.addresses import from_sockaddr, to_sockaddr
from wraith.aio.transports.listening import listening_sockets
from wraith.aio.transports.socket_set import SocketSet
from wraith.aio.transports.udp import EndTurn, PutAside, ReceiveBurst, RefuseSize, UdpSocket
from wraith.aio.transports.udp_options import bound_socket
from wraith.errors import TransportError
from wraith.types import Address, NetworkPath, Transmit

_HIGH_WATER_BYTES: Final = 1024 * 1024
_PATHS_MAX: Final = 4096
_BIND_TRIES: Final = 16
PORT_MAX: Final = 65_535


class EndpointSocket(asyncio.DatagramProtocol):
    """One asyncio datagram transport behind the shape that the driver knows."""

    def __init__(self) -> None:
        self.local = Address(b"", 0)
        self.family: int = socket.AF_INET
        self.datagrams_dropped = 0
        self.on_refused_size: RefuseSize | None = None
        #: What is being handed to the transport: where it goes, and its size.
        self._sending: tuple[NetworkPath, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._receive: ReceiveBurst | None = None
        self._turn: EndTurn | None = None
        self._put_aside: PutAside | None = None
        self._resume: Callable[[], None] | None = None
        self._paths: dict[tuple[object, ...], NetworkPath] = {}
        self._full = False

    @classmethod
    async def bind(cls, address: Address) -> EndpointSocket:
        """Binds to ``address``. Raises ``TransportError`` when that fails."""
        return await cls.over(bound_socket(address))

    @classmethod
    async def over(cls, sock: socket.socket) -> EndpointSocket:
        """Takes over ``sock``, which is bound."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        try:
            _, protocol = await loop.create_datagram_endpoint(cls, sock=sock)
        except BaseException:
            sock.close()
            raise
        return protocol

    # --- asyncio's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's selector transport is one in all but name on Python 3.11
        self._transport = transport = cast(asyncio.DatagramTransport, transport)
        set_limits = getattr(transport, "set_write_buffer_limits", None)
        if set_limits is not None:  # there at run time, missing from the documented interface
            set_limits(high=_HIGH_WATER_BYTES)
        bound = from_sockaddr(transport.get_extra_info("sockname"))
        self.local = bound if any(bound.ip) else Address(b"", bound.port)
        self.family = socket.AF_INET6 if len(bound.ip) == 16 else socket.AF_INET

    def datagram_received(self, data: bytes, addr: tuple[object, ...]) -> None:
        if self._receive is None or self._turn is None or self._put_aside is None or not data:
            return
        path = self._paths.get(addr)
        if path is None:
            if len(self._paths) >= _PATHS_MAX:
                self._paths.clear()
            path = self._paths[addr] = NetworkPath(self.local, from_sockaddr(addr))
        if not self._put_aside(memoryview(data), len(data), path):
            self._receive(memoryview(data), len(data), path)
        self._turn(True)

    def error_received(self, exc: Exception) -> None:
        """ICMP errors and refused datagrams: what a lost datagram means, nothing."""
        self.datagrams_dropped += 1
        is_size = isinstance(exc, OSError) and exc.errno == errno.EMSGSIZE
        if is_size and self._sending is not None and self.on_refused_size is not None:
            self.on_refused_size(*self._sending)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()

    # --- the driver's side ------------------------------------------------------------------

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: ReceiveBurst,
        turn: EndTurn,
        put_aside: PutAside,
    ) -> None:
        """Begins to deliver. What arrived before is lost, as UDP may."""
        self._receive, self._turn, self._put_aside = receive, turn, put_aside

    def send(self, transmit: Transmit, start: int) -> int:
        """As ``DatagramSocket.send``. asyncio copies each datagram that it cannot send at once."""
        data, step = transmit.data, transmit.segment_bytes
        if self._transport is None:
            return len(data)
        sockaddr = to_sockaddr(transmit.path.remote)
        while start < len(data):
            if self._full:
                return start
            piece = bytes(data[start : start + step])
            self._sending = (transmit.path, len(piece))
            self._transport.sendto(piece, sockaddr)
            self._sending = None
            start += len(piece)
        return len(data)

    def when_writable(self, resume: Callable[[], None]) -> None:
        """As ``DatagramSocket.when_writable``."""
        assert self._resume is None
        if self._full:
            self._resume = resume
        else:
            asyncio.get_running_loop().call_soon(resume)

    def close(self) -> None:
        """Closes the transport. Idempotent."""
        transport, self._transport = self._transport, None
        self._receive = self._turn = self._put_aside = self._resume = None
        if transport is not None:
            transport.close()


async def bind_endpoints(address: Address) -> SocketSet:
    """The counterpart of ``SocketSet.bind`` for such a loop.

    Raises:
        TransportError: nothing could be bound.
    """
    if address.ip:
        return SocketSet([await EndpointSocket.bind(address)])
    first = await EndpointSocket.bind(Address(bytes(4), address.port))
    try:
        second = await EndpointSocket.bind(Address(bytes(16), first.local.port))
    except TransportError:
        return SocketSet([first])
    return SocketSet([first, second])


def supports_add_reader(loop: asyncio.AbstractEventLoop) -> bool:
    """False for the proactor loop; asked by trying, since other loops exist too."""
    probe, other = socket.socketpair()
    try:
        loop.add_reader(probe.fileno(), lambda: None)
    except NotImplementedError:
        return False
    else:
        loop.remove_reader(probe.fileno())
        return True
    finally:
        probe.close()
        other.close()


async def bind_sockets(
    address: Address, *, with_tcp: bool = False, with_quic: bool = False, with_udp: bool = True
) -> SocketSet:
    """The best sockets that the running loop allows, bound to ``address``.

    Args:
        with_tcp: sockets that listen on TCP beside them, on the same port. [CA-26]
        with_quic: sockets for QUIC beside them, on the next port; or, without ``with_udp``, in
            their place. [CA-86]

    Raises:
        TransportError: nothing could be bound, or no port that is free for all.
    """
    if not with_tcp and not with_quic:
        return await _bind_udp(address)
    for _ in range(_BIND_TRIES):
        sockets = await _bind_udp(address)
        try:
            if with_tcp:
                sockets.tcp = listening_sockets(address._replace(port=sockets.port))
            if with_quic:
                sockets.quic = await bind_quic(sockets, address, with_udp=with_udp)
            return sockets
        except TransportError:
            sockets.close()
            if address.port:
                raise
    raise TransportError("no port is free for all of the carriers")


async def bind_quic(sockets: SocketSet, address: Address, *, with_udp: bool) -> SocketSet:
    """Sockets for QUIC beside ``sockets``, which are bound to ``address``: at the next port, or
    theirs without ``with_udp``. [CA-86]

    Raises:
        TransportError: the next port is taken, or there is none.
    """
    if not with_udp:
        return sockets.hand_over()
    if sockets.port == PORT_MAX:
        raise TransportError("QUIC listens at the port after UDP's, and none comes after 65535")
    return await _bind_udp(address._replace(port=sockets.port + 1))


async def _bind_udp(address: Address) -> SocketSet:
    if supports_add_reader(asyncio.get_running_loop()):
        return SocketSet.bind(address)
    return await bind_endpoints(address)


async def take_sockets(socks: Sequence[socket.socket]) -> SocketSet:
    """As ``bind_sockets``, of sockets that are bound already; takes them over."""
    if supports_add_reader(asyncio.get_running_loop()):
        return SocketSet([UdpSocket(sock) for sock in socks])
    return SocketSet([await EndpointSocket.over(sock) for sock in socks])
