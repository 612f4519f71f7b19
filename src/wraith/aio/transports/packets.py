"""Single packets over any carrier: the ``Transport`` of programs and tests.

A thin layer over a link or over a UDP socket. What nobody takes is bounded: UDP loses the oldest
datagram, as its kernel would; a link, which may lose nothing, is ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from wraith.aio.transports.base import StreamSocket
from wraith.aio.transports.udp import UdpSocket
from wraith.errors import TransportError
from wraith.types import (
    Address,
    Carrier,
    NetworkPath,
    Transmit,
    TransportCharacteristics,
)

UNREAD_BYTES_MAX: Final = 4 * 1024 * 1024
UDP_PACKET_BYTES: Final = 1_200
"""What fits every network; larger ones may be refused."""


class _Inbox:
    """Packets that have come and were not taken yet, and why there will be no more."""

    def __init__(self) -> None:
        self._packets: deque[bytes] = deque()
        self._n_bytes = 0
        self._changed = asyncio.Event()
        self.closed: str | None = None

    @property
    def is_full(self) -> bool:
        return self._n_bytes > UNREAD_BYTES_MAX

    def put(self, data: memoryview, segment_bytes: int) -> None:
        for at in range(0, len(data), segment_bytes):
            self._packets.append(bytes(data[at : at + segment_bytes]))
        self._n_bytes += len(data)
        self._changed.set()

    def drop_oldest(self) -> None:
        self._n_bytes -= len(self._packets.popleft())

    def end(self, reason: str) -> None:
        self.closed = self.closed or reason
        self._changed.set()

    async def take(self, buffer: memoryview) -> int:
        while not self._packets:
            if self.closed is not None:
                raise TransportError(f"the transport is closed: {self.closed}")
            self._changed.clear()
            await self._changed.wait()
        packet = self._packets[0]
        if len(packet) > len(buffer):
            raise TransportError(f"a packet of {len(packet)} bytes needs a larger buffer")
        self.drop_oldest()
        buffer[: len(packet)] = packet
        return len(packet)


class LinkTransport:
    """A ``Transport`` over one link, whose host it is."""

    def __init__(self, link: StreamSocket) -> None:
        self._link = link
        self._inbox = _Inbox()
        self._room = asyncio.Event()
        link.start(self)

    # --- as the host of the link

    def link_received(self, link: StreamSocket, data: memoryview, segment_bytes: int) -> None:
        del link
        self._inbox.put(data, segment_bytes)

    def link_turn(self, link: StreamSocket) -> None:
        del link
        if self._inbox.is_full:
            self._inbox.end("nobody takes its packets")
            self.close()

    def link_room(self, link: StreamSocket) -> None:
        del link
        self._room.set()

    def link_closed(self, link: StreamSocket, reason: str) -> None:
        del link
        self._inbox.end(reason)
        self._room.set()

    # --- as a transport

    async def send(self, packet: bytes) -> None:
        """As ``Transport.send``."""
        if len(packet) > self.mtu():
            raise TransportError(f"a packet of {len(packet)} bytes is too large")
        while self._inbox.closed is None and self._link.room_bytes < len(packet):
            self._room.clear()
            await self._room.wait()
        if self._inbox.closed is not None:
            raise TransportError(f"the transport is closed: {self._inbox.closed}")
        self._link.send(Transmit(memoryview(packet), len(packet), self._link.path))

    async def recv(self, buffer: memoryview) -> int:
        """As ``Transport.recv``."""
        return await self._inbox.take(buffer)

    def characteristics(self) -> TransportCharacteristics:
        """As ``Transport.characteristics``."""
        return self._link.characteristics

    def mtu(self) -> int:
        """As ``Transport.mtu``."""
        return self._link.characteristics.packet_bytes_max

    def local_addr(self) -> Address:
        """As ``Transport.local_addr``."""
        return self._link.path.local

    def peer_addr(self) -> Address:
        """As ``Transport.peer_addr``."""
        return self._link.path.remote

    def close(self) -> None:
        """As ``Transport.close``."""
        self._link.close()
        self._inbox.end("by this side")
        self._room.set()


class UdpTransport:
    """A ``Transport`` over a UDP socket, which it takes over, to one peer. Datagrams from elsewhere
    are dropped."""

    def __init__(self, sock: UdpSocket, peer: Address) -> None:
        self._sock = sock
        self._path = NetworkPath(sock.local, peer)
        self._inbox = _Inbox()
        sock.start(asyncio.get_running_loop(), self._receive, lambda _: None, lambda *_: False)

    def _receive(self, data: memoryview, segment_bytes: int, path: NetworkPath) -> None:
        if path.remote == self._path.remote:
            self._inbox.put(data, segment_bytes)
        while self._inbox.is_full:
            self._inbox.drop_oldest()

    async def send(self, packet: bytes) -> None:
        """As ``Transport.send``."""
        if len(packet) > self.mtu():
            raise TransportError(f"a packet of {len(packet)} bytes is too large")
        transmit = Transmit(memoryview(packet), max(1, len(packet)), self._path)
        while True:
            if self._inbox.closed is not None:
                raise TransportError(f"the transport is closed: {self._inbox.closed}")
            if self._sock.send(transmit, 0) == len(packet):
                return
            writable = asyncio.Event()
            self._sock.when_writable(writable.set)
            await writable.wait()

    async def recv(self, buffer: memoryview) -> int:
        """As ``Transport.recv``."""
        return await self._inbox.take(buffer)

    def characteristics(self) -> TransportCharacteristics:
        """As ``Transport.characteristics``."""
        return TransportCharacteristics(
            carrier=Carrier.UDP,
            is_reliable=False,
            is_ordered=False,
            packet_bytes_max=UDP_PACKET_BYTES,
            overhead_bytes=28 if len(self._path.remote.ip) == 4 else 48,
            setup_rtts=0,
        )

    def mtu(self) -> int:
        """As ``Transport.mtu``."""
        return UDP_PACKET_BYTES

    def local_addr(self) -> Address:
        """As ``Transport.local_addr``."""
        return self._path.local

    def peer_addr(self) -> Address:
        """As ``Transport.peer_addr``."""
        return self._path.remote

    def close(self) -> None:
        """As ``Transport.close``."""
        self._sock.close()
        self._inbox.end("by this side")
