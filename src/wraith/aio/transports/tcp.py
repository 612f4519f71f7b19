"""Links over TCP: dialling, and one connection as fast as the kernel allows.

A raw non-blocking socket. A read goes straight into the room of the ``StreamLink``; a write is one
gather call over headers and packets, none of them copied. The kernel holds at most 128 KiB that it
has not sent, so what is urgent waits behind no more. Loops without ``add_reader`` get the asyncio
version of ``stream_endpoint.py``.

Spec: carriers.md [CA-23, CA-24]; Linux ``tcp(7)``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import sys
import time
from asyncio import AbstractEventLoop
from ipaddress import ip_address
from typing import Final

from wraith.aio.transports.addresses import family_of, from_sockaddr, to_sockaddr
from wraith.aio.transports.base import UNSENT_BYTES_MAX, OpenFailed
from wraith.aio.transports.datagram_endpoint import supports_add_reader
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.link_socket import LinkSocket, reset_on_close
from wraith.aio.transports.proxy import connect_through
from wraith.aio.transports.stream_endpoint import EndpointStream
from wraith.aio.transports.tcp_info import TcpInfo, read_tcp_info
from wraith.connection.links.link import StreamLink
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.hotpath import RECORD_HEADER_BYTES
from wraith.types import (
    ANY_ADDRESS,
    LINK_PACKET_BYTES_MAX,
    Address,
    Buffer,
    Carrier,
    NetworkPath,
    Road,
    TransportCharacteristics,
)

CONNECT_S: Final = 10.0
#: So long the kernel goes on without an acknowledgement.
USER_TIMEOUT_S: Final = 20.0
READS_PER_TURN: Final = 64
#: A turn of reading also ends after this long, for the sake of everybody else.
TURN_S: Final = 0.002
#: The most buffers of one gather call (``IOV_MAX``).
_GATHER_MAX: Final = 1_024
_TCP_NOTSENT_LOWAT: Final = {"linux": 25, "darwin": 0x201}.get(sys.platform)
_SIOCOUTQNSD: Final = 0x894B
_TCP_USER_TIMEOUT: Final = {"linux": 18}.get(sys.platform)
#: TCP with time stamps, and the IP header.
_SEGMENT_BYTES: Final = {socket.AF_INET: 52, socket.AF_INET6: 72}
_UNREACHABLE: Final = frozenset(
    (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
)


class TcpSocket(LinkSocket):
    """A link over a connected TCP socket, which it takes over."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        link: StreamLink,
        path: NetworkPath,
        characteristics: TransportCharacteristics,
        doorstep: Doorstep | None = None,
    ) -> None:
        super().__init__(loop, link, path, characteristics, doorstep)
        self._sock = sock
        self._is_reading = False

    def _begin_reading(self) -> None:
        if not self._is_reading and not self._is_closed:
            self._is_reading = True
            self._loop.add_reader(self._sock.fileno(), self._read_turn)

    def _read_turn(self) -> None:
        link, receive = self._link, self._sock.recv_into
        stop_at = time.monotonic() + TURN_S
        for _ in range(READS_PER_TURN):
            room = link.receive_room()
            try:
                n = receive(room)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as exc:
                self._failed(exc)
                return
            if n == 0:
                self._turn_ended()
                self._ended()
                return
            self._arrived(link.received(n), n)
            if n < len(room) or self._is_closed or time.monotonic() >= stop_at:
                break  # what did not fill the room has emptied the socket, as a rule
        self._turn_ended()

    def _write(self, buffers: list[Buffer]) -> list[Buffer]:
        send, at = self._sock.sendmsg, 0
        while at < len(buffers):
            batch = buffers[at : at + _GATHER_MAX]
            try:
                n = send(batch)
            except (BlockingIOError, InterruptedError):
                break
            if n == sum(map(len, batch)):  # as a rule
                at += len(batch)
                continue
            for buffer in batch:
                if n < len(buffer):
                    # The kernel is full: no second call to hear so.
                    return [memoryview(buffer)[n:], *buffers[at + 1 :]]
                n -= len(buffer)
                at += 1
        return buffers[at:]

    @property
    def _kernel_room(self) -> int:
        return max(0, self._unsent_max - unsent_bytes(self._sock))

    def keep_short(self, is_short: bool) -> None:
        """As ``base.StreamSocket.keep_short``."""
        super().keep_short(is_short)
        if not self._is_closed:
            set_unsent_max(self._sock, self._unsent_max)

    def _call_when_writable(self) -> None:
        self._loop.add_writer(self._sock.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        self._writable()

    def _tcp_info(self) -> TcpInfo | None:
        return read_tcp_info(self._sock)

    def _end_writing(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def _release(self, *, reset: bool) -> None:
        if reset:
            reset_on_close(self._sock)
        descriptor = self._sock.fileno()
        if descriptor >= 0 and not self._loop.is_closed():
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
        self._sock.close()


async def open_link(
    road: Road,
    link: StreamLink,
    number: int,
    *,
    timeout_s: float = CONNECT_S,
    doorstep: Doorstep | None = None,
    local: Address = ANY_ADDRESS,
) -> LinkSocket:
    """Connects to the address of ``road``, through its proxy if it has one: then the path of the
    link leads to the proxy.

    Args:
        link: the dialler's end. Its preface leaves with the first record, not before.
        number: of the link, unique in the endpoint.
        doorstep: keeps the link when it discards.
        local: where to connect from; empty, and towards a proxy: the kernel chooses.

    Raises:
        OpenFailed: no connection within ``timeout_s``, or a refusal, with the reason.
        MissingExtra: the road has a proxy, and what speaks to one is not installed.
        ValueError: the road has no address.
    """
    if road.address is None:
        raise ValueError("a road over TCP has an address")
    if road.proxy is None:
        sock = await connect(road.address, timeout_s=timeout_s, local=local)
    else:
        deadline = asyncio.get_running_loop().time() + timeout_s
        host = str(ip_address(road.address.ip))
        sock = await connect_through(road.proxy, host, road.address.port, deadline=deadline)
        set_options(sock)
    return await link_over(sock, link, number, doorstep=doorstep)


async def connect(
    address: Address, *, timeout_s: float = CONNECT_S, local: Address = ANY_ADDRESS
) -> socket.socket:
    """A connected socket with the options of a link, the caller's. Raises ``OpenFailed``."""
    try:
        sock = socket.socket(family_of(address), socket.SOCK_STREAM)
    except OSError as exc:  # the host lacks the family
        raise OpenFailed(RoadFailure(RoadReason.UNREACHABLE, exc.strerror)) from None
    try:
        sock.setblocking(False)
        set_options(sock)
        if local.ip:
            sock.bind(to_sockaddr(local))
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, to_sockaddr(address))
    except TimeoutError:  # ours, or the kernel's ETIMEDOUT
        sock.close()
        raise OpenFailed(RoadFailure(RoadReason.SYN_TIMEOUT)) from None
    except OSError as exc:
        sock.close()
        raise OpenFailed(_connect_failure(exc)) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_failure(exc: OSError) -> RoadFailure:
    if exc.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
        return RoadFailure(RoadReason.REFUSED)
    detail = None if exc.errno in _UNREACHABLE else exc.strerror
    return RoadFailure(RoadReason.UNREACHABLE, detail)


async def link_over(
    sock: socket.socket, link: StreamLink, number: int, *, doorstep: Doorstep | None = None
) -> LinkSocket:
    """The link over ``sock``, which is connected, to the peer or through a proxy; takes it over."""
    loop = asyncio.get_running_loop()
    try:
        path, characteristics = describe(sock, number)
        if takes_readers(loop):
            return TcpSocket(loop, sock, link, path, characteristics, doorstep)
        return await EndpointStream.over(loop, sock, link, path, characteristics, doorstep)
    except OSError as exc:  # it was reset before it could be looked at
        sock.close()
        raise OpenFailed(RoadFailure(RoadReason.REFUSED, exc.strerror)) from None
    except BaseException:
        sock.close()
        raise


def describe(sock: socket.socket, number: int) -> tuple[NetworkPath, TransportCharacteristics]:
    """Path and characteristics of a connected socket. Raises ``OSError``: it is not any more."""
    local, remote = from_sockaddr(sock.getsockname()), from_sockaddr(sock.getpeername())
    characteristics = TransportCharacteristics(
        carrier=Carrier.TCP,
        is_reliable=True,
        is_ordered=True,
        packet_bytes_max=LINK_PACKET_BYTES_MAX,
        overhead_bytes=RECORD_HEADER_BYTES + _SEGMENT_BYTES[family_of(remote)],
        setup_rtts=1,
    )
    return NetworkPath(local, remote, Carrier.TCP, number), characteristics


def set_options(sock: socket.socket) -> None:
    """No delay, little that waits in the kernel, and an end to waiting; what a kernel lacks is
    left out."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _TCP_USER_TIMEOUT is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(USER_TIMEOUT_S * 1000))
    set_unsent_max(sock, UNSENT_BYTES_MAX)


def set_unsent_max(sock: socket.socket, n_bytes: int) -> None:
    """The kernel holds no more than so much that it has not sent."""
    if _TCP_NOTSENT_LOWAT is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, n_bytes)
            return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, n_bytes)


def unsent_bytes(sock: socket.socket) -> int:
    """What the kernel holds of this connection and has not sent once; where it does not say so, as
    much as it takes at most."""
    if sys.platform != "linux":
        return UNSENT_BYTES_MAX
    import fcntl

    (n_bytes,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4)))
    return int(n_bytes)


def takes_readers(loop: AbstractEventLoop) -> bool:
    """Whether ``TcpSocket`` works on this loop and system."""
    return hasattr(socket.socket, "sendmsg") and supports_add_reader(loop)
