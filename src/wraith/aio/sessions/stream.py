"""One stream of a session: an ordered, reliable flow of bytes in each direction.

Must not parse or keep data: bytes live in the machine until they are read, which bounds memory by
the machine's windows. Spec: docs/reference/api.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

from wraith.aio.deprecation import internal
from wraith.aio.sessions.arguments import check_application_code
from wraith.errors import CloseCode, LimitExceeded, LocalProtocolError, StreamReset
from wraith.types import Buffer, StreamId

if TYPE_CHECKING:
    from types import TracebackType

    from wraith.aio.sessions.session import Session

READ_BYTES: Final = 65_536
#: Names that programs could see once, and that have an underscore now.
_INTERNAL: Final = frozenset(
    {
        *("on_readable", "on_writable", "on_reset", "on_stopped", "on_sent", "on_closed"),
        "is_unsent",
    }
)


class Stream:
    """A bidirectional stream. Made by ``Session.open_stream`` and ``Session.accept_stream``.

    Not thread-safe: use it from the loop of its session. One task may read while another writes;
    two readers, or two writers, at one time raise ``LocalProtocolError``.

    Attributes:
        id: unique within the session, the same on both sides.
        n_accepted: bytes that ``write`` has handed over so far, over the stream's life.
    """

    def __init__(self, session: Session, sid: StreamId) -> None:
        self.id = sid
        self.n_accepted = 0
        self._session = session
        self._connection = session.connection
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._sent: asyncio.Future[None] | None = None
        self._reset_code: int | None = None
        self._stop_code: int | None = None
        self._finished = False
        self._is_sent = False
        self._at_end = False
        #: What was unread when the session ended: it may still be read, in order.
        self._left: deque[Buffer] = deque()
        self._left_ends = False

    def __repr__(self) -> str:
        return f"Stream(0x{self.id:08x})"

    if not TYPE_CHECKING:  # else no misspelt name of this class would be found

        def __getattr__(self, name):
            return internal(self, name, _INTERNAL)

    # --- writing ----------------------------------------------------------------------------

    async def write(self, data: Buffer) -> None:
        """Returns when all of ``data`` is within the send buffer (not: with the peer).

        ``bytes`` are kept by reference until acknowledged; other buffers are copied.

        Raises:
            asyncio.CancelledError: cancelled while waiting for room. The exception carries
                ``n_accepted``, how many bytes of *this* call were taken; those are sent.
            StreamReset: the peer wants no more of this stream, or it was reset here.
            LocalProtocolError: after ``finish``, or while another task writes.
            TransportError: the session is closed.
        """
        if self._writable is not None:
            raise LocalProtocolError("another task is writing to this stream")
        n_done = 0
        rest: Buffer = data if isinstance(data, bytes) else memoryview(data).cast("B")
        try:
            while True:
                n = self._write_nowait(rest, fin=False)
                n_done += n
                if n == len(rest):
                    return
                rest = memoryview(rest)[n:]
                await self._wait_writable()
        except asyncio.CancelledError as exc:
            exc.n_accepted = n_done  # type: ignore[attr-defined]
            raise

    def write_nowait(self, data: Buffer) -> int:
        """Hands over as much of ``data`` as there is room for; returns how many bytes. It waits for
        nothing, and raises as ``write`` does."""
        if self._writable is not None:
            raise LocalProtocolError("another task is writing to this stream")
        return self._write_nowait(data, fin=False)

    def finish(self) -> None:
        """Ends this side: the peer reads everything and then the end. Reading goes on.

        Returns at once; ``wait_sent`` tells when the peer has it all. Idempotent.
        """
        if self._finished or self._stop_code is not None:
            return
        if self._writable is not None:
            raise LocalProtocolError("another task is writing to this stream")
        self._write_nowait(b"", fin=True)
        self._finished = True

    async def wait_sent(self) -> None:
        """Waits until everything up to ``finish`` is acknowledged. Cancellation is harmless.

        Raises:
            LocalProtocolError: ``finish`` was not called.
            StreamReset, TransportError: it never will be.
        """
        if not self._finished:
            raise LocalProtocolError("finish() comes before wait_sent()")
        if self._is_sent:
            return
        self._raise_if_unwritable()
        if self._sent is None:
            self._sent = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._sent)

    def reset(self, code: int = CloseCode.APPLICATION) -> None:
        """Gives up sending; what was not delivered yet is dropped and the peer sees ``code``.

        Raises:
            LocalProtocolError: ``code`` is neither 0 nor of an application (0x1000 and up).
        """
        check_application_code(code)
        self._reset(code)

    def _reset(self, code: int) -> None:
        if self._session.is_closed or self._is_sent:
            return
        self._connection.stream_reset(self.id, code, self._session._now())
        self._finished = self._is_sent = True
        self._session._wake()
        self._release(StreamReset(code), writing=True)
        self._forget_if_done()

    def _write_nowait(self, data: Buffer, *, fin: bool) -> int:
        self._raise_if_unwritable()
        if self._finished:
            raise LocalProtocolError("this stream is finished")
        session = self._session
        n = self._connection.stream_write(self.id, data, fin=fin, now=session._now())
        self.n_accepted += n
        session._wake()
        return n

    def _raise_if_unwritable(self) -> None:
        if self._stop_code is not None:
            raise StreamReset(self._stop_code)
        self._session._raise_if_closed()

    async def _wait_writable(self) -> None:
        future = self._writable = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            self._writable = None

    # --- reading ----------------------------------------------------------------------------

    async def read(self, n_max: int = READ_BYTES) -> bytes:
        """Up to ``n_max`` bytes, as soon as there are any; ``b""`` at the end of the stream.

        Reading opens the window: a reader that stops reading stops the peer's writer. Cancelled,
        it has consumed nothing.

        Raises:
            StreamReset: the peer gave up; what was unread is gone.
            LocalProtocolError: while another task reads.
            TransportError: the session was closed before the stream's end.
        """
        while True:
            chunks = self._read_chunks_nowait(n_max)
            if chunks or self._at_end:
                return b"".join(chunks)
            await self._wait_readable()

    async def read_chunks(self, n_max: int = READ_BYTES) -> list[Buffer]:
        """As ``read``, but the pieces as they arrived, not joined; ``[]`` at the end.

        The pieces belong to the caller. For bulk data this saves a copy of everything.
        """
        while True:
            chunks = self._read_chunks_nowait(n_max)
            if chunks or self._at_end:
                return chunks
            await self._wait_readable()

    async def read_exactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes.

        Raises:
            EOFError: the stream ended before; what came is lost with the exception.
            as ``read`` otherwise. Cancelled, what was read so far is lost: do not cancel it.
        """
        pieces: list[bytes] = []
        missing = n
        while missing > 0:
            piece = await self.read(missing)
            if not piece:
                raise EOFError(f"the stream ended {missing} bytes too early")
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    async def read_all(self, n_max: int = 16 * 1024 * 1024) -> bytes:
        """Everything up to the end of the stream. Raises as ``read`` does, and also:

        Raises:
            LimitExceeded: there is more than ``n_max``.
        """
        pieces: list[bytes] = []
        total = 0
        while piece := await self.read():
            total += len(piece)
            if total > n_max:
                raise LimitExceeded(f"the stream has more than {n_max} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if not data:
            raise StopAsyncIteration
        return data

    def stop(self, code: int = CloseCode.APPLICATION) -> None:
        """Wants no more: what is unread is discarded and the peer's writer sees ``code``.

        Raises:
            LocalProtocolError: ``code`` is neither 0 nor of an application (0x1000 and up).
        """
        check_application_code(code)
        self._stop(code)

    def _stop(self, code: int) -> None:
        if self._session.is_closed or self._at_end:
            return
        self._connection.stream_stop(self.id, code, self._session._now())
        self._at_end = True
        self._session._wake()
        self._release(StreamReset(code), reading=True)
        self._forget_if_done()

    def set_priority(self, priority: int) -> None:
        """0 is the most urgent, 128 the default, 255 the least."""
        self._connection.set_priority(self.id, priority, self._session._now())
        self._session._wake()

    def _read_chunks_nowait(self, n_max: int) -> list[Buffer]:
        if self._readable is not None:
            raise LocalProtocolError("another task is reading from this stream")
        if self._reset_code is not None:
            raise StreamReset(self._reset_code)
        if self._at_end:
            return []
        if self._session.is_closed:
            return self._read_left(n_max)
        chunks = self._connection.stream_read_chunks(self.id, n_max, self._session._now())
        if chunks:
            if self._connection.has_announcements:
                self._session._wake()
        elif self._connection.stream_is_finished(self.id):
            self._at_end = True
            self._forget_if_done()
        return chunks

    def _read_left(self, n_max: int) -> list[Buffer]:
        """Reads on after the session's end, up to the bytes that did not arrive."""
        if not self._left:
            if not self._left_ends:
                raise self._session._closed_error()
            self._at_end = True
            return []
        piece = memoryview(self._left.popleft())
        if len(piece) > n_max:
            self._left.appendleft(piece[n_max:])
            piece = piece[:n_max]
        return [piece]

    async def _wait_readable(self) -> None:
        future = self._readable = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            self._readable = None

    # --- context ----------------------------------------------------------------------------

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Clean: finishes sending, wants no more. After an exception: resets both sides."""
        if self._session.is_closed:
            return
        if exc_type is None:
            self.finish()
            self._stop(CloseCode.NO_ERROR)
        else:
            self._reset(CloseCode.INTERNAL_ERROR)
            self._stop(CloseCode.INTERNAL_ERROR)

    # --- the session's side -----------------------------------------------------------------

    def _on_readable(self) -> None:
        """There are bytes or the end."""
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def _on_writable(self) -> None:
        """There is room again."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _on_sent(self) -> None:
        """All is acknowledged."""
        self._is_sent = True
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(None)
        self._forget_if_done()

    def _on_reset(self, code: int) -> None:
        """The peer gave up sending."""
        self._reset_code = code
        self._at_end = True
        self._release(StreamReset(code), reading=True)
        self._forget_if_done()

    def _on_stopped(self, code: int) -> None:
        """The peer wants no more; the machine has reset our side."""
        self._stop_code = code
        self._finished = self._is_sent = True
        self._release(StreamReset(code), writing=True)
        self._forget_if_done()

    def _on_closed(self) -> None:
        """The session has ended: keeps what arrived and was not read, which the windows bound;
        waiting tasks look again and see why."""
        if not self._at_end:
            with contextlib.suppress(LocalProtocolError):  # the machine may have erased all
                now = self._session._now()
                self._left.extend(self._connection.stream_read_chunks(self.id, 1 << 62, now))
                self._left_ends = self._connection.stream_is_finished(self.id)
        self._on_readable()
        self._on_writable()
        if self._sent is not None and not self._sent.done():
            self._sent.set_exception(self._session._closed_error())
            self._sent.exception()  # nobody may be waiting any more

    @property
    def _is_unsent(self) -> bool:
        """True between ``finish`` and the last acknowledgement."""
        return self._finished and not self._is_sent

    def _release(self, error: StreamReset, *, reading: bool = False, writing: bool = False) -> None:
        if reading and self._readable is not None and not self._readable.done():
            self._readable.set_exception(error)
        if writing and self._writable is not None and not self._writable.done():
            self._writable.set_exception(error)
        if writing and self._sent is not None and not self._sent.done():
            self._sent.set_exception(error)
            self._sent.exception()

    def _forget_if_done(self) -> None:
        if self._is_sent and self._at_end:
            self._session._forget_stream(self.id)
