"""Links over TCP with asyncio's own transport, for loops without ``add_reader``: Windows' proactor.

Slower than ``tcp.py``: asyncio copies what the kernel does not take, and reads once a turn. Chosen
only where nothing else works.

Spec: carriers.md.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import AbstractEventLoop
from typing import cast

from wraith.aio.transports.link_socket import LinkSocket, Sheltering, reset_on_close
from wraith.aio.transports.tcp_info import TcpInfo, read_tcp_info
from wraith.connection.links.link import StreamLink
from wraith.types import Buffer, NetworkPath, TransportCharacteristics


class EndpointStream(LinkSocket, asyncio.BufferedProtocol):
    """One asyncio stream transport behind the shape that the driver knows. Made by ``over``."""

    _transport: asyncio.Transport

    @classmethod
    async def over(
        cls,
        loop: AbstractEventLoop,
        sock: socket.socket,
        link: StreamLink,
        path: NetworkPath,
        characteristics: TransportCharacteristics,
        doorstep: Sheltering | None,
    ) -> EndpointStream:
        """Takes over ``sock``, which is connected and does not block."""
        stream = cls(loop, link, path, characteristics, doorstep)
        await loop.create_connection(lambda: stream, sock=sock)
        return stream

    # --- asyncio's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.pause_reading()
        # Asyncio holds what is left of one write; what comes after that waits in this object,
        # where it is counted.
        self._transport.set_write_buffer_limits(high=0)
        self._is_full = self._wants_room = False

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._link.receive_room()

    def buffer_updated(self, nbytes: int) -> None:
        if not self._is_closed:
            self._arrived(self._link.received(nbytes), nbytes)
            self._turn_ended()

    def eof_received(self) -> bool:
        self._ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._ended()
        else:
            self._failed(exc)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._wants_room:
            self._wants_room = False
            self._writable()

    # --- what a carrier adds ----------------------------------------------------------------

    def _begin_reading(self) -> None:
        if not self._is_closed:
            self._transport.resume_reading()

    def _write(self, buffers: list[Buffer]) -> list[Buffer]:
        if self._is_full:
            return buffers
        self._transport.write(b"".join(buffers))
        return []

    def _tcp_info(self) -> TcpInfo | None:
        return read_tcp_info(self._transport.get_extra_info("socket"))

    def _call_when_writable(self) -> None:
        self._wants_room = True

    def _end_writing(self) -> None:
        self._transport.write_eof()

    def _release(self, *, reset: bool) -> None:
        if not reset:
            self._transport.close()
            return
        reset_on_close(self._transport.get_extra_info("socket"))
        self._transport.abort()
