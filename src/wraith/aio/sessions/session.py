"""One established connection, for people: streams, datagrams, facts, the end.

Turns events of the machine (``wraith.connection.Connection``) into results of awaitables and
methods into commands; decides nothing about the protocol. Spec: docs/reference/api.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from wraith.aio.deprecation import internal
from wraith.aio.opening import Opening
from wraith.aio.sessions.arguments import check_application_code
from wraith.aio.sessions.roads import SessionRoad, roads_of
from wraith.aio.sessions.stream import Stream
from wraith.aio.sessions.waiters import Waiters
from wraith.connection import events
from wraith.errors import (
    CloseCode,
    ConnectionLost,
    LocalProtocolError,
    PeerClosed,
    PeerFinished,
    WraithError,
)
from wraith.types import PeerKey, SecurityInfo, StreamId

if TYPE_CHECKING:
    from types import TracebackType

    from wraith.aio.sessions.endpoint import AsyncEndpoint
    from wraith.connection.connection import Connection
from wraith.connection.stats import ConnectionStats

#: Names that programs could see once, and that have an underscore now.
_INTERNAL: Final = frozenset(
    {
        *("handle", "fail", "wake", "now", "wait_ready", "forget_stream"),
        *("raise_if_closed", "closed_error"),
    }
)
#: Datagrams that the program has not taken yet; beyond this the oldest are dropped.
UNREAD_DATAGRAMS_MAX: Final = 1024


class Session:
    """A secure session with one peer. Not thread-safe: use it from its loop.

    Leaving ``async with`` cleanly waits until finished streams are acknowledged, then closes with
    code 0; leaving it with an exception closes at once.

    Attributes:
        connection: the machine underneath, for facts that have no method here. Provisional.
        n_datagrams_dropped: received datagrams that nobody took in time.
        suspect: the peer has not been heard of for a while, and the session looks for it.
        is_going_away: the peer has announced the end: no new streams, finish what is open.
    """

    def __init__(self, endpoint: AsyncEndpoint, connection: Connection) -> None:
        self.connection = connection
        self.n_datagrams_dropped = 0
        self._endpoint = endpoint
        self._streams: dict[StreamId, Stream] = {}
        self._unaccepted: deque[Stream] = deque()
        # Made for the first one: an empty deque takes 760 bytes, and few sessions use datagrams.
        self._datagrams: deque[bytes] | None = None
        self._waiters = Waiters()
        self._is_ready = False
        self._closed: events.Closed | None = None
        self._final_stats: ConnectionStats | None = None
        self._failure: WraithError | None = None
        self.suspect = False
        self.is_going_away = False

    def __repr__(self) -> str:
        peer = self.connection.peer
        state = "closed" if self.is_closed else "open"
        return f"Session(peer={peer.short if peer else None}, {state})"

    if not TYPE_CHECKING:  # else no misspelt name of this class would be found

        def __getattr__(self, name):
            return internal(self, name, _INTERNAL)

    # --- facts ------------------------------------------------------------------------------

    @property
    def security(self) -> SecurityInfo:
        """The terms that the handshake negotiated; the epoch is the present one."""
        return self.connection.security

    @property
    def peer(self) -> PeerKey | None:
        """The identity that the peer has proved."""
        return self.connection.peer

    @property
    def is_closed(self) -> bool:
        """True once the session can carry nothing any more."""
        return self._closed is not None or self._failure is not None

    @property
    def close_error(self) -> WraithError | None:
        """Why the session has ended: what waiting calls raise then. ``None`` while it is open.
        ``PeerFinished`` and ``LocalProtocolError`` (closed here) are no errors."""
        return self._closed_error() if self.is_closed else None

    @property
    def carrier(self) -> str:
        """What carries the session now: ``udp``, ``tcp``, ``ws`` or ``quic``."""
        return self.connection.path.carrier.name.lower()

    @property
    def roads(self) -> tuple[SessionRoad, ...]:
        """Every road that is known, best first, and what has become of it. The side that was
        dialled knows the one in use."""
        return roads_of(self._endpoint.machine.roads_of(self.connection), self.connection.path)

    def migrate(self, road: SessionRoad | None = None) -> None:
        """Begins to go to another road, or to ``road``, which is one of ``roads``. As soon as it
        answers, the session goes there, without losing a byte, and stays until it fails; given up
        after 8 s. ``carrier`` and ``roads`` say what has become of it.

        Raises:
            LocalProtocolError: this side was dialled, or knows one road only; or ``road`` is none.
            TransportError: the session is closed.
        """
        self._raise_if_closed()
        machine, target = self._endpoint.machine, None
        if road is not None:
            known = [status.road for status in machine.roads_of(self.connection)]
            if isinstance(road, SessionRoad):
                target = next((each for each in known if road._leads_along(each)), None)
            if target is None:
                raise LocalProtocolError("migrate goes to one of session.roads")
        machine.migrate(self.connection, target, self._now())
        self._wake()

    def stats(self) -> ConnectionStats:
        """Round-trip time, window, losses, bytes: a snapshot. Works on a closed session too."""
        return self._final_stats or self.connection.stats()

    def export_key(self, label: str, n: int = 32, *, context: bytes = b"") -> bytes:
        """``n`` bytes that only both ends of this session can derive.

        Args:
            label: names the use, which is a constant of the program.
            n: 1 to 65,535. A longer key begins with the shorter one of the same label and context.
            context: what else the key is bound to, at most 65,535 bytes; none when empty.

        Raises:
            ValueError: ``n``, ``label`` or ``context`` are out of range.
            LocalProtocolError: the session has ended.
        """
        return self.connection.export_key(label, n, context)

    # --- streams ----------------------------------------------------------------------------

    def open_stream(self, *, priority: int = 128, expedited: bool = False) -> Opening[Stream]:
        """Opens a stream; use with ``await`` or ``async with``. The peer learns of it with the
        first write. Waits while the peer allows no more streams; cancelled, nothing was opened.

        Args:
            priority: 0 is the most urgent.
            expedited: a stream of the urgent class, at priority 0.

        Raises:
            TransportError: the session is closed.
        """
        if expedited:
            priority = 0

        async def open_() -> Stream:
            self._raise_if_closed()
            while not self.connection.can_open_stream(expedited=expedited):
                await self._waiters.wait()
                self._raise_if_closed()
            sid = self.connection.open_stream(
                priority=priority, expedited=expedited, now=self._now()
            )
            stream = self._streams[sid] = Stream(self, sid)
            self._wake()
            return stream

        return Opening(open_, "Session.open_stream(...)")

    async def accept_stream(self) -> Stream:
        """The next stream that the peer opened. Several tasks may wait; cancellation is harmless.

        Raises:
            TransportError: the session is closed.
        """
        while not self._unaccepted:
            self._raise_if_closed()
            await self._waiters.wait()
        stream = self._unaccepted.popleft()
        self.connection.stream_taken(stream.id)
        self._wake()
        return stream

    def __aiter__(self) -> Session:
        return self

    async def __anext__(self) -> Stream:
        """``async for stream in session`` ends when the session was closed without an error."""
        try:
            return await self.accept_stream()
        except (PeerFinished, LocalProtocolError):
            raise StopAsyncIteration from None

    # --- datagrams --------------------------------------------------------------------------

    @property
    def max_datagram_bytes(self) -> int:
        """The largest message that ``send_datagram`` takes now; it grows with the path's MTU."""
        return self.connection.max_datagram_bytes

    def send_datagram(self, data: bytes) -> bool:
        """Sends one message that may be lost. False when the queue is full and it was dropped.

        Raises:
            LocalProtocolError: ``data`` is longer than ``max_datagram_bytes``.
            TransportError: the session is closed.
        """
        self._raise_if_closed()
        taken = self.connection.send_datagram(data, self._now())
        self._wake()
        return taken

    async def receive_datagram(self) -> bytes:
        """The next message of the peer. Several tasks may wait; cancellation is harmless.

        Raises:
            TransportError: the session is closed and nothing is left.
        """
        while not self._datagrams:
            self._raise_if_closed()
            await self._waiters.wait()
        return self._datagrams.popleft()

    async def datagrams(self) -> AsyncIterator[bytes]:
        """``async for data in session.datagrams()``: the peer's messages as they come. It ends when
        the session was closed without an error.

        Raises:
            TransportError: it ended in another way, and nothing is left.
        """
        while True:
            try:
                data = await self.receive_datagram()
            except (PeerFinished, LocalProtocolError):
                return
            yield data

    # --- the end ----------------------------------------------------------------------------

    async def drain(self) -> None:
        """Waits until every finished stream is acknowledged. Cancellation is harmless.

        Raises:
            TransportError: the session was lost first.
        """
        while any(stream._is_unsent for stream in self._streams.values()):
            self._raise_if_closed()
            await self._waiters.wait()

    async def close(self, code: int = CloseCode.NO_ERROR, reason: str = "") -> None:
        """Closes now: tells the peer and returns when that is with the kernel. Idempotent.

        What was written and not yet acknowledged may be lost; ``drain`` first if it matters.
        Cancelled, the session is closed.

        Args:
            code: 0, or a code of the application: 0x1000 (``CloseCode.APPLICATION``) to 0xFFFFFFFF.
            reason: for people; its first 64 bytes arrive. No secrets.

        Raises:
            LocalProtocolError: ``code`` is out of range; nothing was closed.
        """
        check_application_code(code)
        await self._close(code, reason)

    async def _close(self, code: int, reason: str) -> None:
        if not self.is_closed:
            self.connection.close(code, reason, self._now())
            self._wake()
            await self._endpoint.driver.flushed()
        self._endpoint.retire_if_unused()

    async def wait_closed(self) -> None:
        """Waits for the end, whoever causes it.

        Raises:
            WraithError: why, unless it was closed without error (code 0, by either side).
        """
        while not self.is_closed:
            await self._waiters.wait()
        error = self._closed_error()
        if self._closed is None or (self._closed.error is not None or self._closed.code):
            raise error

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            cancelled = issubclass(exc_type, asyncio.CancelledError)
            await self._close(CloseCode.NO_ERROR if cancelled else CloseCode.INTERNAL_ERROR, "")
            return
        try:
            if not self.is_closed:
                await self.drain()
        except WraithError:
            pass  # lost or closed by the peer meanwhile: leaving the block is no place to say so
        finally:
            await self.close()

    def _closed_error(self) -> WraithError:
        """Why the session can carry nothing any more, as an exception of its own to raise."""
        if self._failure is not None:
            return ConnectionLost(str(self._failure))
        closed = self._closed
        assert closed is not None
        if closed.error is not None:
            return closed.error
        if closed.by_peer:
            return PeerClosed.of(closed.code, closed.reason)
        return LocalProtocolError("this session is closed")

    def _raise_if_closed(self) -> None:
        """Raises ``_closed_error`` on a closed session."""
        if self.is_closed:
            raise self._closed_error()

    # --- shared with streams and the endpoint -----------------------------------------------

    def _now(self) -> float:
        """The loop's time, which is the machine's."""
        return self._endpoint.driver.now()

    def _wake(self) -> None:
        """Call after a command to ``connection``."""
        self._endpoint.driver.wake()

    def _forget_stream(self, sid: StreamId) -> None:
        """Both halves of this stream are over."""
        self._streams.pop(sid, None)
        self._waiters.notify()

    async def _wait_ready(self) -> None:
        """Initiator: waits until the responder has confirmed; raises why it did not."""
        while not self._is_ready:
            self._raise_if_closed()
            await self._waiters.wait()
        self._raise_if_closed()  # a refusal follows right behind the confirmation

    def _handle(self, event: events.Event) -> None:
        """Applies one event of the machine."""
        match event:
            case events.StreamReadable(sid):
                if (stream := self._streams.get(sid)) is not None:
                    stream._on_readable()
            case events.StreamWritable(sid):
                if (stream := self._streams.get(sid)) is not None:
                    stream._on_writable()
            case events.StreamOpened(sid):
                self._on_opened(sid)
            case events.StreamSent(sid):
                if (stream := self._streams.get(sid)) is not None:
                    stream._on_sent()
                self._waiters.notify()
            case events.StreamWasReset(sid, code):
                if (stream := self._streams.get(sid)) is not None:
                    stream._on_reset(code)
            case events.StreamWasStopped(sid, code):
                if (stream := self._streams.get(sid)) is not None:
                    stream._on_stopped(code)
            case events.DatagramReceived(data):
                self._on_datagram(data)
            case events.StreamsAvailable():
                self._waiters.notify()
            case events.Confirmed():
                self._is_ready = True
                self._waiters.notify()
            case events.GoingAway():
                self.is_going_away = True
                self._waiters.notify()
            case events.PathSuspect():
                self.suspect = True
            case events.PathRecovered():
                self.suspect = False
            case events.Closed():
                self._closed = event
                self._end()
            case _:
                pass  # facts that `security` and `stats` show: nobody waits for them

    def _fail(self, error: WraithError) -> None:
        """The endpoint is gone without a proper close."""
        if not self.is_closed:
            self._failure = error
            self._end()

    def _on_opened(self, sid: StreamId) -> None:
        stream = self._streams[sid] = Stream(self, sid)
        self._unaccepted.append(stream)
        self._waiters.notify()

    def _on_datagram(self, data: bytes) -> None:
        if self._datagrams is None:
            self._datagrams = deque()
        if len(self._datagrams) >= UNREAD_DATAGRAMS_MAX:
            self._datagrams.popleft()  # the newest is worth most to those who use datagrams
            self.n_datagrams_dropped += 1
        self._datagrams.append(data)
        self._waiters.notify()

    def _end(self) -> None:
        with contextlib.suppress(LocalProtocolError):  # nothing to tell: never established
            self._final_stats = self.connection.stats()
        for stream in list(self._streams.values()):
            stream._on_closed()
        self._waiters.notify()
