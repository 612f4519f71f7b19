"""One stream of a libp2p connection over asyncio: back-pressure, half-close, reset.

Must not buffer beyond what the machine holds: ``write`` waits for room, and reading is what opens
the peer's window. Spec: libp2p-quic section 5.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from wraith.errors import LocalProtocolError, RemoteProtocolError, StreamReset
from wraith.libp2p.codes import Libp2pCode, code_words
from wraith.libp2p.connection import ConnectionState
from wraith.types import Buffer

if TYPE_CHECKING:
    from types import TracebackType

    from wraith.aio.libp2p.connection import Libp2pConnection

READ_BYTES: Final = 65_536


class Libp2pStream:
    """A bidirectional stream. Made by ``Libp2pConnection``; belongs to its event loop.

    One task may read while another writes. Leaving ``async with`` normally finishes this side and
    gives up reading; leaving it by an exception resets the stream.

    Attributes:
        stream_id: QUIC's number.
        protocol: what multistream agreed on; empty for a raw stream.
    """

    def __init__(self, connection: Libp2pConnection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.protocol = ""
        self._machine = connection.machine
        self._pushed_back = b""
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._watch_readable: Callable[[], None] | None = None
        self._watch_writable: Callable[[], None] | None = None
        self._reset_code: int | None = None
        self._stop_code: int | None = None
        self._finished = False
        self._read_over = False

    def __repr__(self) -> str:
        return f"Libp2pStream({self.stream_id}, {self.protocol or 'raw'!r})"

    def watch(self, readable: Callable[[], None], writable: Callable[[], None]) -> None:
        """For whoever moves bytes without a task, by ``read_nowait`` and ``write_nowait``.

        Args:
            readable: called when something can be read again after nothing could, the peer's end
                or reset included.
            writable: called when there is room again after a write that was not taken whole, and
                when the peer wants no more.
        """
        self._watch_readable, self._watch_writable = readable, writable

    # --- reading ----------------------------------------------------------------------------

    async def read(self, n_max: int = READ_BYTES) -> bytes:
        """1 to ``n_max`` bytes, or ``b""`` at the end. Cancellation loses nothing.

        Raises:
            StreamReset: the peer reset the stream.
            TransportError: the connection ended without the stream's end; what had arrived
                before that is read first.
        """
        while True:
            data = self.read_nowait(n_max)
            if data is not None:
                return data
            if self._readable is not None:
                raise LocalProtocolError("another task is reading from this stream")
            self._readable = asyncio.get_running_loop().create_future()
            try:
                await self._readable
            finally:
                self._readable = None

    def read_nowait(self, n_max: int = READ_BYTES) -> bytes | None:
        """As :meth:`read`, ``None`` where that would wait."""
        if self._pushed_back:
            data, self._pushed_back = self._pushed_back[:n_max], self._pushed_back[n_max:]
            return data
        if self._reset_code is not None:
            raise StreamReset(self._reset_code, words=code_words(self._reset_code))
        if self._read_over:
            return b""
        machine = self._machine
        if machine.has_stream(self.stream_id):
            data = machine.stream_read(self.stream_id, n_max)
            if data:
                self.connection.wake()
                return data
            if machine.stream_at_end(self.stream_id):
                self._read_over = True
                self._forget_if_over()
                return b""
        if machine.state is not ConnectionState.CONNECTED:
            raise self.connection.error()
        return None

    @property
    def n_waiting(self) -> int:
        """Bytes that have arrived and can be read without waiting."""
        return len(self._pushed_back) + self._machine.stream_unread(self.stream_id)

    @property
    def has_arrived(self) -> bool:
        """Whether something is left to read, or everything up to the peer's end has come."""
        return (
            self._read_over
            or self.n_waiting > 0
            or self._machine.stream_finished_by_peer(self.stream_id)
        )

    async def read_exactly(self, n: int) -> bytes:
        """``n`` bytes, or fewer when the end comes first."""
        parts: list[bytes] = []
        missing = n
        while missing:
            data = await self.read(missing)
            if not data:
                break
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    async def read_all(self, n_max: int) -> bytes:
        """Everything up to the end. Raises :class:`RemoteProtocolError` beyond ``n_max`` bytes."""
        data = await self.read_exactly(n_max + 1)
        if len(data) > n_max:
            self.stop(Libp2pCode.PROTOCOL_VIOLATION)
            raise RemoteProtocolError(f"the peer sent more than {n_max} bytes")
        return data

    def push_back(self, data: bytes) -> None:
        """Puts bytes back to the front; used by the negotiation for what follows it."""
        self._pushed_back = data + self._pushed_back

    def stop(self, code: int = Libp2pCode.NO_ERROR) -> None:
        """Gives up reading; the peer is asked to stop sending."""
        self._read_over = True
        self._pushed_back = b""
        self._machine.stream_stop(self.stream_id, code)
        self._release(self._readable)
        self._forget_if_over()
        self.connection.wake()

    # --- writing ----------------------------------------------------------------------------

    async def write(self, data: Buffer) -> None:
        """Returns when all of ``data`` is in the send buffer, which is bounded.

        Raises:
            StreamReset: the peer does not want more.
            LocalProtocolError: after :meth:`close_write`, or while another task writes.
            TransportError: the connection is closed.
        """
        rest = memoryview(data)
        while True:
            n = self.write_nowait(bytes(rest[:READ_BYTES]))
            rest = rest[n:]
            if not rest:
                return
            if n:
                continue
            if self._writable is not None:
                raise LocalProtocolError("another task is writing to this stream")
            self._writable = asyncio.get_running_loop().create_future()
            try:
                await self._writable
            finally:
                self._writable = None

    def write_nowait(self, data: bytes, *, fin: bool = False) -> int:
        """Takes what there is room for and returns how much; ``fin`` ends this side if that was
        all. Raises as :meth:`write`."""
        if self._stop_code is not None:
            raise StreamReset(self._stop_code, words=code_words(self._stop_code))
        if self._finished:
            raise LocalProtocolError("this side of the stream is finished")
        if self._machine.state is not ConnectionState.CONNECTED:
            raise self.connection.error()
        n = self._machine.stream_write(self.stream_id, data, fin=fin)
        self.connection.wake()
        if fin and n == len(data):
            self._finished = True
            self._forget_if_over()
        return n

    async def close_write(self) -> None:
        """Ends this side: the peer reads everything and then the end. Reading goes on."""
        if self._finished or self._stop_code is not None:
            return
        self.write_nowait(b"", fin=True)

    def reset(self, code: int = Libp2pCode.NO_ERROR) -> None:
        """Gives up both directions; the peer sees ``code``."""
        if not self._finished:
            self._finished = True
            self._machine.stream_reset(self.stream_id, code)
            self._release(self._writable)
        self.stop(code)

    # --- called by the connection -----------------------------------------------------------

    def on_readable(self) -> None:
        self._release(self._readable)
        if self._watch_readable is not None:
            self._watch_readable()

    def on_writable(self) -> None:
        self._release(self._writable)
        if self._watch_writable is not None:
            self._watch_writable()

    def on_reset(self, code: int) -> None:
        self._reset_code = code
        self.on_readable()

    def on_stopped(self, code: int) -> None:
        self._stop_code = code
        self.on_writable()

    def on_connection_closed(self) -> None:
        self._release(self._readable)
        self._release(self._writable)

    @staticmethod
    def _release(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _forget_if_over(self) -> None:
        ended = self._read_over or self._reset_code is not None
        if ended and (self._finished or self._stop_code is not None):
            self._machine.forget_stream(self.stream_id)
            self.connection.forget_stream(self)

    async def __aenter__(self) -> Libp2pStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.reset(Libp2pCode.NO_ERROR)
            return
        if not self._finished and self._machine.state is ConnectionState.CONNECTED:
            await self.close_write()
        if not self._read_over:
            self.stop(Libp2pCode.NO_ERROR)
