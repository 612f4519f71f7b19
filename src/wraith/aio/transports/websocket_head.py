"""A connection on which the handshake of a WebSocket is under way, at either end.

It reads little at a time, and whoever opens or listens hears after each read how far the shell is.
What comes of it: a link (``websocket_link``), a refusal, or a stranger who is only read.

Spec: docs/spec/carriers.md [CA-64] [CA-73].
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from wraith.aio.transports.addresses import from_sockaddr
from wraith.aio.transports.link_socket import reset_on_close
from wraith.aio.transports.tcp import set_options
from wraith.types import ANY_ADDRESS

if TYPE_CHECKING:
    from wraith.aio.transports.websocket_shell import WebSocketShell

_READ_BYTES: Final = 4_096

ShellT = TypeVar("ShellT", bound="WebSocketShell")


class WebSocketHead(asyncio.BufferedProtocol, Generic[ShellT]):
    """One connection until its head is decided: asyncio's protocol for so long.

    Args:
        shell: its end of the WebSocket.
        on_change: called after each read, and once when the connection is gone.

    Attributes:
        early: messages that came in one read with the head.
        error: why the connection is gone, ``None`` for a plain end; only if ``is_gone``.
        local, remote: once it is connected.
    """

    def __init__(self, shell: ShellT, on_change: Callable[[], None]) -> None:
        self.shell = shell
        self.early: list[bytes | bytearray] = []
        self.error: Exception | None = None
        self.is_gone = False
        self.local = self.remote = ANY_ADDRESS
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._is_discarding = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        self.local = from_sockaddr(transport.get_extra_info("sockname"))
        self.remote = from_sockaddr(transport.get_extra_info("peername"))
        set_options(transport.get_extra_info("socket"))
        self._write_due()

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_discarding:
            return
        self.early += self.shell.receive(self._buffer[:nbytes])
        self._write_due()
        if self.shell.is_open and self._transport is not None:
            self._transport.pause_reading()
        self._on_change()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone, self.error, self._transport = True, exc, None
        if self._timer is not None:
            self._timer.cancel()
        self._on_change()

    @property
    def transport(self) -> asyncio.Transport | None:
        """For the link that takes over; ``None`` when there is no connection."""
        return self._transport

    def refuse(self, linger_s: float) -> None:
        """What the shell had to say is on its way; closes after a while. What still comes is read:
        closing over unread bytes would destroy the answer."""
        self._is_discarding = True
        if self._transport is not None:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._timer = self._loop.call_later(linger_s, self._transport.close)

    def discard(self, wait_s: float) -> None:
        """Reads and throws away until the peer closes; after ``wait_s`` seconds it is reset."""
        self._is_discarding = True
        self._timer = self._loop.call_later(wait_s, self.reset)

    def reset(self) -> None:
        """Ends the connection at once, so that the peer sees an error. Idempotent."""
        if self._transport is not None:
            reset_on_close(self._transport.get_extra_info("socket"))
            self._transport.abort()

    def _write_due(self) -> None:
        for piece in self.shell.to_send():
            if self._transport is not None:
                self._transport.write(piece)
