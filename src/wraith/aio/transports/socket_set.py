"""The sockets of one endpoint, as the driver sees them: one thing that sends and delivers."""

from __future__ import annotations

import errno
import socket
from asyncio import AbstractEventLoop

from wraith.abc import Tracer
from wraith.aio.transports.udp import (
    DatagramSocket,
    EndTurn,
    PutAside,
    ReceiveBurst,
    RefuseSize,
    TellError,
    UdpSocket,
)
from wraith.errors import TransportError
from wraith.types import ANY_ADDRESS, Address, NetworkPath, Transmit


class SocketSet:
    """The sockets of one endpoint: at most one per address family, on one port where possible.

    A family that the host does not have is no error; having none is.
    """

    def __init__(self, sockets: list[DatagramSocket]) -> None:
        self.sockets = sockets
        #: Those that listen on TCP at the same port, until a node takes them.
        self.tcp: list[socket.socket] = []
        #: The same, for WebSocket, at an address of their own.
        self.web: list[socket.socket] = []
        #: The same, for QUIC: the next port, or this one where ``hand_over`` gave it away.
        self.quic: SocketSet | None = None
        #: What ``hand_over`` gave away was bound to.
        self._named: tuple[Address, ...] = ()
        #: UDP is off: the sockets hold the port, and nothing leaves or is read.
        self.is_mute = False
        self._tell_refused_size: RefuseSize | None = None
        #: By the length of the addresses that a socket can send to.
        self._by_size: dict[int, DatagramSocket] = {
            4 if sock.family == socket.AF_INET else 16: sock for sock in sockets
        }

    @classmethod
    def bind(
        cls,
        address: Address = ANY_ADDRESS,
        *,
        offload: bool = True,
        tracer: Tracer | None = None,
    ) -> SocketSet:
        """Binds to ``address``, or with an empty ``ip`` to every interface of both families.

        Raises:
            TransportError: nothing could be bound.
        """
        if address.ip:
            return cls([UdpSocket.bind(address, offload=offload, tracer=tracer)])
        last: TransportError | None = None
        for _ in range(8):  # a port that is free for IPv4 may be taken for IPv6
            sockets: list[DatagramSocket] = []
            port = address.port
            for ip in (bytes(4), bytes(16)):
                try:
                    sock = UdpSocket.bind(Address(ip, port), offload=offload, tracer=tracer)
                except TransportError as exc:
                    last = exc
                    continue
                sockets.append(sock)
                port = sock.local.port
            clashed = len(sockets) == 1 and last is not None and _is_port_clash(last)
            if sockets and not (clashed and address.port == 0):
                return cls(sockets)
            for bound in sockets:
                bound.close()
        assert last is not None
        raise last

    def tell_refused_size(self, tell: RefuseSize) -> None:
        """``tell`` is called for each single datagram that the host refuses for its size."""
        self._tell_refused_size = tell
        for sock in self.sockets:
            sock.on_refused_size = tell

    def tell_errors(self, tell: TellError | None) -> None:
        """``tell`` hears of ICMP errors, where the host tells them; ``None`` ends it."""
        for sock in self.sockets:
            if isinstance(sock, UdpSocket):
                sock.tell_errors(tell)

    @property
    def port(self) -> int:
        """The UDP port of the first socket."""
        return self.locals[0].port

    @property
    def locals(self) -> tuple[Address, ...]:
        """What the sockets are bound to, or were before ``hand_over``."""
        return tuple(sock.local for sock in self.sockets) or self._named

    def hand_over(self) -> SocketSet:
        """Gives its sockets away, to who listens on another carrier over UDP there: this set keeps
        the names of port and addresses, sends nothing and hears nothing."""
        self._named = self.locals
        given = SocketSet(self.sockets)
        self.sockets, self._by_size, self.is_mute = [], {}, True
        return given

    def send(self, transmit: Transmit, start: int) -> int:
        """As ``DatagramSocket.send``; a burst for a missing family is dropped."""
        sock = None if self.is_mute else self.socket_for(transmit.path)
        return len(transmit.data) if sock is None else sock.send(transmit, start)

    def socket_for(self, path: NetworkPath) -> DatagramSocket | None:
        """The socket that leads to ``path``; ``None`` for a missing family."""
        return self._by_size.get(len(path.remote.ip))

    def start(
        self,
        loop: AbstractEventLoop,
        receive: ReceiveBurst,
        turn: EndTurn,
        put_aside: PutAside,
    ) -> None:
        """Begins to deliver from every socket."""
        if self.is_mute:
            return
        for sock in self.sockets:
            sock.start(loop, receive, turn, put_aside)

    def close(self) -> None:
        """Closes every socket. Idempotent."""
        for sock in self.sockets:
            sock.close()
        for listening in (*self.tcp, *self.web):
            listening.close()
        if self.quic is not None:
            self.quic.close()


def _is_port_clash(error: TransportError) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EADDRINUSE, errno.EACCES)
