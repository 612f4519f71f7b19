"""One link over QUIC: a stream of a libp2p connection that belongs to the link alone.

::

    dialled:  connected ── the protocol is agreed ──► a QuicSocket with its stream
    accepted: connected ──► a QuicSocket without a stream, on the doorstep
                  └── the peer's first stream asks for the protocol ──► answered, and read

An accepted stream that asks for anything else gets no answer at all, and its link discards like one
with a wrong preface. Further streams are never read: what they hold is bounded by the connection's
window. The connection is the link's: it ends with it.

Spec: docs/spec/carriers.md [CA-80 to CA-85].
"""

from __future__ import annotations

import contextlib
import errno
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final

from wraith.aio.libp2p.connection import Libp2pConnection
from wraith.aio.libp2p.stream import Libp2pStream
from wraith.aio.transports.base import UNSENT_BYTES_MAX
from wraith.aio.transports.link_socket import LinkSocket, Sheltering
from wraith.connection.links.link import ROOM_BYTES_MIN, StreamLink
from wraith.errors import ConnectionLost, StreamReset, WraithError
from wraith.hotpath import RECORD_HEADER_BYTES
from wraith.libp2p.closing import NOTHING_HEARD
from wraith.libp2p.codes import Libp2pCode
from wraith.libp2p.config import MIB, QuicLimits, QuicTransportConfig
from wraith.libp2p.multistream import HEADER, encode_message
from wraith.types import (
    LINK_PACKET_BYTES_MAX,
    Buffer,
    Carrier,
    NetworkPath,
    TransportCharacteristics,
)

PROTOCOL: Final = "/wraith/carrier/1.0.0"
#: What a dialler says first on its stream, and what the listener answers: the same bytes.
AGREEMENT: Final = encode_message(HEADER) + encode_message(PROTOCOL)
#: The code of a reset: libp2p's word for a connection that nobody uses.
RESET_CODE: Final = Libp2pCode.GARBAGE_COLLECTED
WINDOW_BYTES: Final = 2 * MIB
#: As the kernel of a TCP link: without a sign of life for so long the connection is over.
IDLE_TIMEOUT_S: Final = 20.0
#: A turn of reading ends after this long, for the sake of everybody else.
TURN_S: Final = 0.002
#: Of QUIC's short header, frame and tag, with IP and UDP around it, by the length of addresses.
_DATAGRAM_BYTES: Final = {4: 28 + 40, 16: 48 + 40}


def configuration(backend: str) -> QuicTransportConfig:
    """The settings of a carrier's endpoint, by ``backend``: aioquic or qh3.

    Key exchange is hybrid or there is none. One stream is allowed and fills its connection's
    window; of what it was given at most 128 KiB wait to be sent, the rest is on its way. [CA-84]
    """
    return QuicTransportConfig(
        backend=backend,
        idle_timeout_s=IDLE_TIMEOUT_S,
        keepalive_s=IDLE_TIMEOUT_S / 4,
        stream_window=WINDOW_BYTES,
        connection_window=WINDOW_BYTES,
        send_buffer_bytes=2 * WINDOW_BYTES,
        unsent_bytes_max=UNSENT_BYTES_MAX,
        limits=QuicLimits(streams=1),
    )


def characteristics_of(path: NetworkPath) -> TransportCharacteristics:
    """What a link over QUIC promises."""
    return TransportCharacteristics(
        carrier=Carrier.QUIC,
        is_reliable=True,
        is_ordered=True,
        packet_bytes_max=LINK_PACKET_BYTES_MAX,
        overhead_bytes=RECORD_HEADER_BYTES + _DATAGRAM_BYTES[len(path.remote.ip)],
        setup_rtts=2,
    )


class QuicSocket(LinkSocket):
    """A link over a libp2p connection, which it takes over.

    Args:
        stream: on which the protocol is agreed; ``None`` on an accepted connection, whose stream
            comes by ``take_stream``.
        released: called once when the connection is over.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        connection: Libp2pConnection,
        stream: Libp2pStream | None,
        link: StreamLink,
        path: NetworkPath,
        doorstep: Sheltering | None,
        released: Callable[[], None],
    ) -> None:
        super().__init__(loop, link, path, characteristics_of(path), doorstep)
        self._connection = connection
        self._stream = stream
        #: What the peer still has to say before its records; a dialled link has heard it.
        self._expected = b"" if stream is not None else AGREEMENT
        self._released = released
        self._is_reading = self._wants_room = self._is_read_called = False
        self._is_over = False
        self._error: WraithError | None = None
        connection.watch_closed(self._on_closed)
        if stream is not None:
            stream.watch(self._read_turn, self._on_writable)

    def take_stream(self, stream: Libp2pStream) -> None:
        """The peer opened a stream: the first is the link's, others are left alone. [CA-82]"""
        if self._stream is None:
            self._stream = stream
            stream.watch(self._read_turn, self._on_writable)

    # --- reading ----------------------------------------------------------------------------

    def _begin_reading(self) -> None:
        self._is_reading = True
        self._read_soon()

    def _read_soon(self) -> None:
        if not self._is_read_called and not self._is_closed:
            self._is_read_called = True
            self._loop.call_soon(self._read_called)

    def _read_called(self) -> None:
        self._is_read_called = False
        self._read_turn()

    def _read_turn(self) -> None:
        if self._is_closed:
            return
        if self._stream is not None:
            if self._expected and not self._agree():
                return
            if self._is_reading and not self._read():
                return
        if self._is_over and (self._is_reading or self._stream is None):
            self._connection_ended()

    def _agree(self) -> bool:
        """Reads no byte more than the protocol's name takes, whether somebody takes the link's
        records yet or not. True when what follows it may be read. [CA-81]"""
        while self._expected and (data := self._next(len(self._expected))) is not None:
            if not data:
                self._ended()
                return False
            if not self._expected.startswith(data):
                self._expected = b""
                self._link.discard()
                self._arrived([], len(data))
                return not self._is_closed
            self._expected = self._expected[len(data) :]
            if not self._expected:
                with contextlib.suppress(OSError):  # a connection that is over says so itself
                    self._stream_write(AGREEMENT)
        if self._expected and self._is_over:
            self._connection_ended()
        return not self._expected

    def _read(self) -> bool:
        """Hands on what has arrived. False when that was not all, or the link is closed."""
        stop_at = time.monotonic() + TURN_S
        while (data := self._next(ROOM_BYTES_MIN)) is not None:
            if not data:
                self._turn_ended()
                self._ended()
                return False
            self._arrived(self._link.feed(data), len(data))
            if self._is_closed:
                return False
            if time.monotonic() >= stop_at:
                self._turn_ended()
                self._read_soon()
                return False
        self._turn_ended()
        return not self._is_closed

    def _next(self, n_max: int) -> bytes | None:
        """As ``read_nowait``; a connection that is over has nothing more, and is told of when its
        host says why."""
        assert self._stream is not None
        try:
            return self._stream.read_nowait(n_max)
        except StreamReset:
            self._failed(ConnectionResetError(errno.ECONNRESET, "the stream was reset"))
        except WraithError:
            pass
        return None

    def _on_closed(self, error: WraithError | None) -> None:
        self._is_over, self._error = True, error
        self._read_turn()

    def _connection_ended(self) -> None:
        """The peer, or the network, ended the connection; everything from before is read."""
        if self._error is None:
            self._ended()
        elif isinstance(self._error, ConnectionLost) and self._error.reason == NOTHING_HEARD:
            self._failed(TimeoutError(errno.ETIMEDOUT, NOTHING_HEARD))
        else:
            self._failed(ConnectionResetError(errno.ECONNRESET, "the connection was ended"))

    # --- writing ----------------------------------------------------------------------------

    def _write(self, buffers: list[Buffer]) -> list[Buffer]:
        if not buffers:
            return []
        # One copy: the library takes bytes, and records are joined for it anyway.
        data = b"".join(buffers)
        n = self._stream_write(data)
        return [memoryview(data)[n:]] if n < len(data) else []

    def _stream_write(self, data: bytes, *, fin: bool = False) -> int:
        assert self._stream is not None
        try:
            return self._stream.write_nowait(data, fin=fin)
        except WraithError as exc:
            raise BrokenPipeError(errno.EPIPE, str(exc)) from None

    def _call_when_writable(self) -> None:
        self._wants_room = True

    def _on_writable(self) -> None:
        if self._wants_room:
            self._wants_room = False
            self._writable()

    # --- the end ----------------------------------------------------------------------------

    def _end_writing(self) -> None:
        if self._stream is None or self._expected:
            raise BrokenPipeError(errno.EPIPE, "the peer has opened no stream")
        self._stream_write(b"", fin=True)

    def _release(self, *, reset: bool) -> None:
        if self._is_over:
            self._released()
            return
        self._connection.watch_closed(lambda error: self._released())
        if reset:
            self._connection.abort(RESET_CODE)
        else:
            self._connection.close()
