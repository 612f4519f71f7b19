"""Listening for links over TCP, beside UDP on the same port.

A listener answers nobody who is unproven, and closes on nobody either: the ``Doorstep`` keeps them.

Spec: carriers.md [CA-20 to CA-22, CA-26].
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from typing import Final

from wraith.aio.transports.base import LinkDoor
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.link_socket import LinkSocket
from wraith.aio.transports.listening import BACKLOG, listening_sockets
from wraith.aio.transports.stream_endpoint import EndpointStream
from wraith.aio.transports.tcp import TcpSocket, describe, set_options, takes_readers
from wraith.connection.links.link import StreamLink
from wraith.types import ANY_ADDRESS, Address, NetworkPath, TransportCharacteristics

#: Where the process has no file left for a connection, accepting rests so long.
_NO_FILES_S: Final = 1.0


class TcpListener:
    """Listening sockets of one endpoint: at most one per address family, all on one port.

    Attributes:
        port: theirs.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = list(sockets)
        self._accepting: list[_Accepting] = []
        self.port: int = self._sockets[0].getsockname()[1]

    @classmethod
    def bind(cls, address: Address = ANY_ADDRESS) -> TcpListener:
        """Listens at ``address``, or with an empty ``ip`` on every interface of both families; a
        family that the host does not have is no error. Connections wait until ``start``.

        Raises:
            TransportError: the port is taken in one of the families, or nothing could be bound.
        """
        return cls(listening_sockets(address))

    def start(self, loop: AbstractEventLoop, door: LinkDoor, doorstep: Doorstep) -> None:
        """Accepts from now on. What ``door`` refuses goes to the doorstep like what is wrong: who
        dialled sees no difference. [CA-21]"""
        self._accepting = [_Accepting(loop, sock, door, doorstep) for sock in self._sockets]

    def close(self) -> None:
        """Stops listening; connections that it accepted go on. Idempotent."""
        for accepting in self._accepting:
            accepting.stop()
        if not self._accepting:
            for sock in self._sockets:
                sock.close()


class _Accepting:
    """Takes what arrives at one listening socket."""

    def __init__(
        self, loop: AbstractEventLoop, sock: socket.socket, door: LinkDoor, doorstep: Doorstep
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._door = door
        self._doorstep = doorstep
        self._rest: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        if takes_readers(loop):
            self._resume()
        else:
            self._task = loop.create_task(self._accept_with_asyncio())

    def stop(self) -> None:
        """Accepts nothing more, and closes the socket."""
        if self._task is not None:
            # Not before asyncio has let go of it: another socket may get its number at once.
            self._task.add_done_callback(lambda _: self._sock.close())
            self._task.cancel()
            return
        if self._rest is not None:
            self._rest.cancel()
        if self._sock.fileno() >= 0 and not self._loop.is_closed():
            self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _resume(self) -> None:
        self._rest = None
        self._loop.add_reader(self._sock.fileno(), self._accept_turn)

    def _accept_turn(self) -> None:
        for _ in range(BACKLOG):
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError:
                # Out of files: what waits stays in the kernel, and is not asked for in a circle.
                self._loop.remove_reader(self._sock.fileno())
                self._rest = self._loop.call_later(_NO_FILES_S, self._resume)
                return
            arrival = self._ask(sock)
            if arrival is not None:
                link, path, characteristics, is_welcome = arrival
                self._take(
                    TcpSocket(self._loop, sock, link, path, characteristics, self._doorstep),
                    is_welcome,
                )

    async def _accept_with_asyncio(self) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(self._sock)
            except OSError:
                await asyncio.sleep(_NO_FILES_S)
                continue
            arrival = self._ask(sock)
            if arrival is not None:
                link, path, characteristics, is_welcome = arrival
                self._take(
                    await EndpointStream.over(
                        self._loop, sock, link, path, characteristics, self._doorstep
                    ),
                    is_welcome,
                )

    def _ask(
        self, sock: socket.socket
    ) -> tuple[StreamLink, NetworkPath, TransportCharacteristics, bool] | None:
        """The link of a connection, and whether the door lets it in."""
        sock.setblocking(False)
        set_options(sock)
        try:
            path, characteristics = describe(sock, self._door.next_link_number())
        except OSError:  # gone already
            sock.close()
            return None
        link = self._door.accept_link(path)
        return link or StreamLink.refused(), path, characteristics, link is not None

    def _take(self, link: LinkSocket, is_welcome: bool) -> None:
        self._doorstep.came(link)
        if is_welcome:
            self._door.link_accepted(link)
        else:
            link.discard()
