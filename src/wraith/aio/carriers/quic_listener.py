"""Listening for links over QUIC, on a UDP port of its own.

Whoever connects is at the doorstep from the end of the QUIC handshake on, with or without a stream.
Half-open connections are bounded by the libp2p endpoint, all others by the doorstep. Beyond that
this is no libp2p host: it has a fresh identity at each start, and serves neither ping nor identify.

Spec: docs/spec/carriers.md [CA-20 to CA-22, CA-80 to CA-83].
"""

from __future__ import annotations

from asyncio import AbstractEventLoop

from wraith.aio.carriers.quic_dial import make_host
from wraith.aio.carriers.quic_link import QuicSocket
from wraith.aio.libp2p import Libp2pConnection, Libp2pHost, Libp2pStream
from wraith.aio.libp2p.sockets import Libp2pSockets
from wraith.aio.transports.base import LinkDoor
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.socket_set import SocketSet
from wraith.connection.links.link import StreamLink
from wraith.libp2p.quic import load_backend
from wraith.types import Address, Carrier


class QuicListener:
    """The sockets of one listening QUIC endpoint: at most one per address family, on one port.

    Attributes:
        port: theirs, of UDP.
    """

    def __init__(self, sockets: SocketSet, backend: str) -> None:
        self.port = sockets.port
        self._sockets = sockets
        self._backend = backend
        self._host: Libp2pHost | None = None
        self._door: LinkDoor
        self._doorstep: Doorstep
        self._loop: AbstractEventLoop
        self._links: dict[Libp2pConnection, QuicSocket] = {}
        self._is_closed = False

    @classmethod
    def bind(cls, address: Address, backend: str) -> QuicListener:
        """As ``quic.bind_listener``."""
        load_backend(backend)
        return cls(SocketSet.bind(address), backend)

    def start(self, loop: AbstractEventLoop, door: LinkDoor, doorstep: Doorstep) -> None:
        """Accepts from now on; must run on ``loop``. What ``door`` refuses goes to the doorstep
        like what is wrong: who dialled sees no difference. [CA-21]"""
        self._loop, self._door, self._doorstep = loop, door, doorstep
        sockets = Libp2pSockets(self._sockets.sockets)
        self._host = host = make_host(sockets, self._backend, is_listening=True)
        host.on_connection = self._on_connection
        host.on_stream = self._on_stream
        host.start()

    def close(self) -> None:
        """Accepts nobody more; links that it accepted go on, and the port is free once the last of
        them has ended. Idempotent."""
        self._is_closed = True
        if self._host is None:
            self._sockets.close()
            return
        self._host.stop_listening()
        self._free_if_idle()

    def _free_if_idle(self) -> None:
        if self._is_closed and not self._links and self._host is not None:
            self._host.close_flushed()

    def _on_connection(self, connection: Libp2pConnection) -> None:
        assert self._host is not None
        path = self._host.machine.path_to(connection.machine.remote)._replace(
            carrier=Carrier.QUIC, link=self._door.next_link_number()
        )
        made = self._door.accept_link(path)
        link = QuicSocket(
            self._loop,
            connection,
            None,
            made or StreamLink.refused(),
            path,
            self._doorstep,
            lambda: self._on_released(connection),
        )
        self._links[connection] = link
        self._doorstep.came(link)
        if made is not None:
            self._door.link_accepted(link)
        else:
            link.discard()

    def _on_stream(self, stream: Libp2pStream) -> None:
        link = self._links.get(stream.connection)
        if link is not None:
            link.take_stream(stream)

    def _on_released(self, connection: Libp2pConnection) -> None:
        del self._links[connection]
        self._free_if_idle()
