"""One link over WebSocket, at either end: asyncio moves the bytes (of TLS too), the shell knows
WebSocket, ``StreamLink`` knows the records in its messages.

This file joins the three, and says how full the link is. It opens nothing: ``websocket`` dials and
``websocket_listener`` answers. It does not import the library; who makes a shell has done so.

Spec: docs/spec/carriers.md [CA-66] [CA-70] [CA-71] [CA-72].
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from wraith.aio.transports.addresses import from_sockaddr
from wraith.aio.transports.base import PENDING_BYTES_MAX, UNSENT_BYTES_MAX, LinkHost
from wraith.connection.links.link import LinkState, StreamLink
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import (
    ANY_ADDRESS,
    LINK_PACKET_BYTES_MAX,
    Buffer,
    Carrier,
    NetworkPath,
    Transmit,
    TransportCharacteristics,
)

if TYPE_CHECKING:
    from wraith.aio.transports.websocket_shell import WebSocketShell

MESSAGE_BYTES_MAX: Final = 64 * 1024
#: Both ends have so long to say goodbye, and what is pending so long to leave.
CLOSE_WAIT_S: Final = 10.0
DISCARD_S: Final = (60.0, 600.0)
IDLE_LIMIT_S: Final = 60.0
_HEAD_READ_BYTES: Final = 4_096
_READ_BYTES: Final = 128 * 1024
#: Headers of IP, TCP and a message on the wire, about, and the length of the record.
_OVERHEAD_BYTES: Final = 66
_TCP_USER_TIMEOUT_MS: Final = 20_000
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_NO_CLOSE_FRAME: Final = 1006


def characteristics_of(*, is_secure: bool) -> TransportCharacteristics:
    """What a link over WebSocket promises."""
    return TransportCharacteristics(
        Carrier.WS,
        is_reliable=True,
        is_ordered=True,
        packet_bytes_max=LINK_PACKET_BYTES_MAX,
        overhead_bytes=_OVERHEAD_BYTES,
        setup_rtts=4 if is_secure else 2,
        encrypted_outside=is_secure,
        idle_limit_s=IDLE_LIMIT_S,
    )


class WebSocketLink(asyncio.BufferedProtocol):
    """One link over WebSocket, from either side: a ``base.StreamSocket``, and asyncio's protocol.

    Until the handshake is done it belongs to whoever opens it, who hears of that by ``on_head``;
    ``take`` then gives it its records, and ``start`` begins to deliver.

    Args:
        shell: its end of the WebSocket.
        on_head: called after every read until ``take``, ``refuse`` or ``close``, and if the
            connection ends before that.
    """

    def __init__(self, shell: WebSocketShell, on_head: Callable[[WebSocketLink], None]) -> None:
        self.shell = shell
        self.path = NetworkPath(ANY_ADDRESS, ANY_ADDRESS, Carrier.WS)
        self.characteristics = characteristics_of(is_secure=False)
        self.n_received = 0
        #: Called when the connection is gone, for whoever keeps account of it.
        self.on_lost: Callable[[], None] | None = None
        #: Why it ended; ``None`` as long as it lives.
        self.failure: RoadFailure | None = None
        self._on_head: Callable[[WebSocketLink], None] | None = on_head
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        # Strangers are read in small pieces.
        self._buffer = memoryview(bytearray(_HEAD_READ_BYTES))
        self._held_max = PENDING_BYTES_MAX
        self._link: StreamLink | None = None
        self._host: LinkHost | None = None
        self._early: list[bytes | bytearray] = []
        self._is_full = False
        self._is_discarding = False
        self._is_closed = False  # by ``close``: nobody is told anything any more
        self._ping_after_s: tuple[float, float] | None = None
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    # --- asyncio's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        is_secure = transport.get_extra_info("ssl_object") is not None
        self.characteristics = characteristics_of(is_secure=is_secure)
        self.path = NetworkPath(
            from_sockaddr(transport.get_extra_info("sockname")),
            from_sockaddr(transport.get_extra_info("peername")),
            Carrier.WS,
        )
        _set_options(transport.get_extra_info("socket"))
        # Over TLS asyncio has two buffers behind each other and counts the first.
        self._held_max = PENDING_BYTES_MAX // 2 if is_secure else PENDING_BYTES_MAX
        transport.set_write_buffer_limits(high=self._held_max // 2, low=self._held_max // 4)
        self._write_due()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.n_received += nbytes
        if self._is_discarding:
            return
        messages = self.shell.receive(self._buffer[:nbytes])
        if self._on_head is not None:
            self._early += messages
            self._on_head(self)
            self._write_due()
            return
        # While the link is full no ping is answered: a peer that asks and does not read would have
        # us hold all the answers. [CA-72]
        if self._is_full and self.shell.close_code is None:
            self.shell.to_send()
        # Before anything is written: what makes the link discard must not be answered either.
        self._deliver(messages)
        self._write_due()
        if self.shell.close_code is not None:
            self._end(RoadFailure(RoadReason.WS_CLOSED, self.shell.close_code))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        self._tell_end(_of_loss(exc, self.n_received))
        self._transport = None
        if self.on_lost is not None:
            self.on_lost()
        if self._on_head is not None:
            self._on_head(self)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        # asyncio may call this from within our own write.
        self._loop.call_soon(self._tell_room)

    # --- the opener's side ------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        """The connection is gone."""
        return self._transport is None and self.failure is not None

    def take(
        self,
        link: StreamLink,
        path: NetworkPath,
        *,
        ping_after_s: tuple[float, float] | None = None,
    ) -> None:
        """The handshake is done: ``link`` has the records from now on, and ``path`` is its name.
        Nothing is read before ``start``. Only the dialler pings."""
        self._on_head = None
        self._link = link
        self.path = path
        self._buffer = memoryview(bytearray(_READ_BYTES))
        if self._transport is not None:
            self._transport.pause_reading()
        if ping_after_s is not None:
            self._ping_after_s = ping_after_s
            self._on_sent()
            self._arm_ping()

    def refuse(self, linger_s: float) -> None:
        """Sends what the shell has to say, then nothing, and closes soon: what still comes is read,
        since closing over unread bytes would destroy the answer on its way."""
        self._write_due()
        self._on_head = None
        self._is_discarding = True
        transport = self._transport
        if transport is not None:
            if transport.can_write_eof():
                transport.write_eof()
            self._end_timer = self._loop.call_later(linger_s, transport.close)

    # --- the driver's side ------------------------------------------------------------------

    @property
    def room_bytes(self) -> int:
        """As ``StreamSocket.room_bytes``: what asyncio holds is bounded by it."""
        if self._transport is None or self._is_over:
            return 0
        return max(0, self._held_max - self._transport.get_write_buffer_size())

    def start(self, host: LinkHost, /) -> None:
        """As ``StreamSocket.start``."""
        self._loop.call_soon(self._start, host)

    def send(self, transmit: Transmit, /) -> None:
        """As ``StreamSocket.send``: whole records, as many as fit into messages of 64 KiB."""
        if self._link is None or self._is_over:
            return
        buffers = self._link.frame(transmit.data, transmit.segment_bytes)
        first, n_bytes = 0, 0
        for i in range(0, len(buffers), 2):
            n_record = len(buffers[i]) + len(buffers[i + 1])
            if n_bytes + n_record > MESSAGE_BYTES_MAX:
                self._send_message(buffers[first:i])
                first, n_bytes = i, 0
            n_bytes += n_record
        if n_bytes:
            self._send_message(buffers[first:])
        self._on_sent()

    def settle(self) -> None:
        """Nothing to do: the listener has looked after it until its head had come."""

    def discard(self) -> None:
        """As ``StreamSocket.discard``."""
        if self._is_discarding or self._is_closed:
            return
        self._is_discarding = True
        self._early.clear()
        if self._link is not None:
            self._link.discard()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.resume_reading()
            wait_s = random.SystemRandom().uniform(*DISCARD_S)
            self._end_timer = self._loop.call_later(wait_s, self.reset)

    def close(self) -> None:
        """As ``StreamSocket.close``."""
        if self._is_closed:
            return
        self._is_closed = True
        self._on_head = None
        if self._is_discarding or not self.shell.is_open:
            self.reset()
            return
        self.shell.close()
        self._write_due()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.resume_reading()
            self._end_timer = self._loop.call_later(CLOSE_WAIT_S, self.reset)

    def reset(self) -> None:
        """Ends the connection at once, with a reset. Idempotent."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    # --- inside -----------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._is_discarding or self._is_closed or self.failure is not None

    def _start(self, host: LinkHost) -> None:
        if self._is_closed:
            return
        self._host = host
        early, self._early = self._early, []
        self._deliver(early)
        self._write_due()
        if self.failure is not None:
            host.link_closed(self, str(self.failure))
        elif self.shell.close_code is not None:
            self._end(RoadFailure(RoadReason.WS_CLOSED, self.shell.close_code))
        elif self._transport is not None:
            self._transport.resume_reading()

    def _deliver(self, messages: list[bytes | bytearray]) -> None:
        link, host = self._link, self._host
        if link is None or host is None or not messages:
            return
        for message in messages:
            if self._is_over:
                break
            for data, segment_bytes in link.feed(message):
                host.link_received(self, data, segment_bytes)
            # The preface is at the head of the first message, so what is shorter is none.
            if link.state is not LinkState.OPEN:
                self.discard()
            elif not link.is_at_boundary and not self._is_over:
                self.shell.fail()
                break
        if not self._is_closed:
            host.link_turn(self)

    def _send_message(self, buffers: list[Buffer]) -> None:
        self.shell.send(b"".join(buffers))
        self._write_due()

    def _write_due(self) -> None:
        due = self.shell.to_send()
        if self._transport is None or self._is_discarding:
            return
        for piece in due:
            self._transport.write(piece)

    def _tell_room(self) -> None:
        if self._host is not None and not self._is_over and not self._is_full:
            self._host.link_room(self)

    def _end(self, failure: RoadFailure) -> None:
        """The WebSocket has ended: what is pending leaves, then the connection goes."""
        self._tell_end(failure)
        if self._transport is not None:
            self._transport.close()
            if self._end_timer is None:
                self._end_timer = self._loop.call_later(CLOSE_WAIT_S, self.reset)

    def _tell_end(self, failure: RoadFailure) -> None:
        if self.failure is None:
            self.failure = failure
            if self._host is not None and not self._is_closed:
                self._host.link_closed(self, str(failure))

    # --- the ping of the dialler ------------------------------------------------------------

    def _on_sent(self) -> None:
        self._sent_at = self._loop.time()

    def _arm_ping(self) -> None:
        assert self._ping_after_s is not None
        after_s = random.SystemRandom().uniform(*self._ping_after_s)
        self._timer = self._loop.call_at(self._sent_at + after_s, self._on_ping_timer, after_s)

    def _on_ping_timer(self, after_s: float) -> None:
        """Sent something meanwhile: waits for the rest. [CA-70]"""
        if self._is_over:
            return
        due_at = self._sent_at + after_s
        if due_at > self._loop.time():
            self._timer = self._loop.call_at(due_at, self._on_ping_timer, after_s)
            return
        if not self._is_full:
            self.shell.ping()
            self._write_due()
        self._on_sent()
        self._arm_ping()


def _set_options(sock: socket.socket) -> None:
    """Options of TCP that not every kernel has. asyncio has set TCP_NODELAY."""
    for name, value in (
        ("TCP_NOTSENT_LOWAT", UNSENT_BYTES_MAX),
        ("TCP_USER_TIMEOUT", _TCP_USER_TIMEOUT_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _of_loss(exc: Exception | None, n_received: int) -> RoadFailure:
    """Why a connection was lost without a close frame."""
    if exc is None:
        return RoadFailure(RoadReason.WS_CLOSED, _NO_CLOSE_FRAME)
    if isinstance(exc, ssl.SSLError):
        return RoadFailure(RoadReason.TLS_ALERT, exc.reason)
    if isinstance(exc, OSError) and exc.errno == errno.ETIMEDOUT:
        return RoadFailure(RoadReason.FROZEN, n_received)
    return RoadFailure(RoadReason.RESET_LATER, n_received)
