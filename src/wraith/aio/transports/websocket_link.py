"""One link over WebSocket, at either end: asyncio moves the bytes (of TLS too), the shell knows
WebSocket, ``StreamLink`` knows the records in its messages.

It takes over where a handshake is done (``websocket_head``). Records leave in messages of up to
64 KiB, each written whole; asyncio holds what is left of one write, and what comes after that waits
in ``LinkSocket``, in front of which control frames do not push in.

Spec: docs/spec/carriers.md [CA-65] [CA-66] [CA-70] [CA-71] [CA-72].
"""

from __future__ import annotations

import asyncio
import random
import ssl
from typing import Final

from wraith.aio.transports.base import PEER_CLOSED
from wraith.aio.transports.link_socket import (
    LINGER_S,
    LinkSocket,
    Sheltering,
    reset_on_close,
)
from wraith.aio.transports.tcp_info import TcpInfo, read_tcp_info
from wraith.aio.transports.websocket_head import ShellT, WebSocketHead
from wraith.connection.links.link import LinkState, StreamLink
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import (
    LINK_PACKET_BYTES_MAX,
    Buffer,
    Carrier,
    NetworkPath,
    Transmit,
    TransportCharacteristics,
)

MESSAGE_BYTES_MAX: Final = 64 * 1024
#: nginx forgets a WebSocket after so long, unless it is told otherwise.
IDLE_LIMIT_S: Final = 60.0
_READ_BYTES: Final = 128 * 1024
#: Headers of IP, TCP and a message on the wire, about, and the length of the record.
_OVERHEAD_BYTES: Final = 78
_GOOD_ORDER: Final = 1000
_NO_CLOSE_FRAME: Final = 1006
_PROTOCOL_ERROR: Final = 1002


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


class WebSocketLink(LinkSocket, asyncio.BufferedProtocol):
    """One link over WebSocket. Takes over the connection of ``head``, which is open.

    Args:
        head: its shell and connection; nothing is read before ``start``.
        ping_after_s: least and most seconds without sending after which it pings. Only the
            dialler does. [CA-70]
    """

    def __init__(
        self,
        head: WebSocketHead[ShellT],
        link: StreamLink,
        path: NetworkPath,
        doorstep: Sheltering | None,
        *,
        ping_after_s: tuple[float, float] | None = None,
    ) -> None:
        transport = head.transport
        if transport is None:
            raise ValueError("the connection is gone")
        is_secure = transport.get_extra_info("ssl_object") is not None
        characteristics = characteristics_of(is_secure=is_secure)
        super().__init__(asyncio.get_running_loop(), link, path, characteristics, doorstep)
        self._shell = head.shell
        self._early = head.early
        self._transport = transport
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._is_full = self._is_lost = False
        self._sent_at = self._loop.time()
        self._ping_after_s = ping_after_s
        self._timer: asyncio.TimerHandle | None = None
        # At 0 asyncio's TLS would call itself full when it is empty.
        transport.set_write_buffer_limits(high=1, low=0)
        transport.set_protocol(self)
        if ping_after_s is not None:
            self._arm_ping()

    # --- asyncio's side ---------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_closed or self._is_discarding:
            return
        self.n_received += nbytes
        messages = self._shell.receive(self._buffer[:nbytes])
        # While the link is full no ping is answered: a peer that asks and does not read would have
        # us hold all the answers. [CA-72]
        if self._is_full and self._shell.close_code is None:
            self._shell.to_send()
        early, self._early = self._early, []
        self._take([*early, *messages])

    def eof_received(self) -> bool:
        self._tell_and_finish(str(RoadFailure(RoadReason.WS_CLOSED, _NO_CLOSE_FRAME)))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if exc is None:
            self.eof_received()
        else:
            self._failed(exc)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        # asyncio may call this from within our own write.
        self._loop.call_soon(self._writable)

    # --- what LinkSocket leaves to a carrier ------------------------------------------------

    @property
    def _held_bytes(self) -> int:
        return self._pending_bytes + self._held_by_asyncio

    @property
    def _held_by_asyncio(self) -> int:
        return 0 if self._is_lost else self._transport.get_write_buffer_size()

    def send(self, transmit: Transmit, /) -> None:
        """As ``StreamSocket.send``: whole records, as many as fit into messages of 64 KiB."""
        super().send(transmit)
        self._sent_at = self._loop.time()

    def _frame(self, transmit: Transmit) -> list[Buffer]:
        buffers = super()._frame(transmit)
        first, n_bytes = 0, 0
        for i in range(0, len(buffers), 2):
            n_record = len(buffers[i]) + len(buffers[i + 1])
            if n_bytes + n_record > MESSAGE_BYTES_MAX:
                self._shell.send(b"".join(buffers[first:i]))
                first, n_bytes = i, 0
            n_bytes += n_record
        if n_bytes:
            self._shell.send(b"".join(buffers[first:]))
        return [*self._shell.to_send()]

    def _begin_reading(self) -> None:
        if not self._is_closed:
            # What came with the head goes first, in a turn of its own.
            self._loop.call_soon(self._take_early)
            self._transport.resume_reading()

    def _write(self, buffers: list[Buffer]) -> list[Buffer]:
        if self._is_full:
            return buffers
        if self.characteristics.encrypted_outside:
            self._transport.writelines(buffers)
        else:
            # Its ``writelines`` in Python 3.12 and 3.13.0 never says that the kernel is full.
            self._transport.write(b"".join(buffers))
        return []

    def _tcp_info(self) -> TcpInfo | None:
        return read_tcp_info(self._transport.get_extra_info("socket"))

    def _call_when_writable(self) -> None:
        """asyncio calls ``resume_writing`` whenever it was full."""

    def _say_the_end(self) -> None:
        # What asyncio holds counts as not sent: the end follows when it has gone.
        if not self._is_full:
            super()._say_the_end()

    def _end_writing(self) -> None:
        self._shell.close()
        self._send_due()

    def _release(self, *, reset: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if reset:
            if not self._is_lost:
                reset_on_close(self._transport.get_extra_info("socket"))
            self._transport.abort()
            return
        self._transport.close()
        if self._held_by_asyncio:
            # The peer may never read the rest.
            self._loop.call_later(LINGER_S, self._transport.abort)

    def _failure_of(self, exc: BaseException | None) -> RoadFailure:
        if isinstance(exc, ssl.SSLError):
            return RoadFailure(RoadReason.TLS_ALERT, exc.reason)
        return super()._failure_of(exc)

    # --- messages ---------------------------------------------------------------------------

    @property
    def _is_discarding(self) -> bool:
        return self._link.state is LinkState.DISCARDING and not self._is_closing

    def _take_early(self) -> None:
        early, self._early = self._early, []
        has_come = bool(early) or self._shell.close_code is not None
        if has_come and not self._is_closed and not self._is_discarding:
            self._take(early)

    def _take(self, messages: list[bytes | bytearray]) -> None:
        """Delivers, then answers: what makes the link discard is not answered either. [CA-66]"""
        link = self._link
        for message in messages:
            if self._is_closed or link.state is LinkState.DISCARDING:
                break
            runs = link.feed(message)
            if link.state is LinkState.UNDECIDED:
                # The preface is at the head of the first message; what is shorter is none.
                link.discard()
            self._arrived(runs, 0)
            if link.state is LinkState.OPEN and not link.is_at_boundary:
                self._shell.fail()
                break
        self._turn_ended()
        if self._is_closed or self._is_discarding:
            return
        self._send_due()
        if self._shell.close_code == _GOOD_ORDER:
            self._tell_and_finish(PEER_CLOSED)
        elif self._shell.close_code is not None:
            self._tell_and_finish(str(RoadFailure(RoadReason.WS_CLOSED, self._shell.close_code)))

    def _send_due(self) -> None:
        """What the shell has to say of itself, behind what waits already."""
        due = self._shell.to_send()
        if due:
            self._send_buffers([*due])

    # --- the ping of the dialler ------------------------------------------------------------

    def _arm_ping(self) -> None:
        assert self._ping_after_s is not None
        after_s = random.SystemRandom().uniform(*self._ping_after_s)
        self._timer = self._loop.call_at(self._sent_at + after_s, self._on_ping_timer, after_s)

    def _on_ping_timer(self, after_s: float) -> None:
        """Sent something meanwhile: waits for the rest."""
        if self._is_closed or self._is_closing or self._is_discarding:
            return
        due_at = self._sent_at + after_s
        if due_at > self._loop.time():
            self._timer = self._loop.call_at(due_at, self._on_ping_timer, after_s)
            return
        if not self._is_full:
            self._shell.ping()
            self._send_due()
        self._sent_at = self._loop.time()
        self._arm_ping()
