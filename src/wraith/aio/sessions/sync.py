"""The same sessions for programs without asyncio: every call blocks (``aio/blocking.py``)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from types import TracebackType

from wraith.aio.blocking import awaited as _awaited
from wraith.aio.blocking import call as _call
from wraith.aio.blocking import wait as _wait
from wraith.aio.deprecation import deprecated
from wraith.aio.sessions import dial as _dial
from wraith.aio.sessions import listener as _listener
from wraith.aio.sessions.roads import SessionRoad
from wraith.aio.sessions.session import Session as AsyncSession
from wraith.aio.sessions.stream import Stream as AsyncStream
from wraith.aio.transports.local import GivenSockets, LocalAddress
from wraith.config import EndpointConfig
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.stats import ConnectionStats
from wraith.connection.tickets.store import MemoryTickets
from wraith.crypto.ed25519 import Identity
from wraith.errors import CloseCode, LocalProtocolError, PeerFinished, WraithError
from wraith.types import Address, Buffer, PeerKey, SecurityInfo, SuiteId


class Stream:
    """A blocking stream; see ``wraith.Stream`` for what each method means."""

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self.id = stream.id

    def __repr__(self) -> str:
        return f"sync.{self._stream!r}"

    @property
    def n_accepted(self) -> int:
        """Bytes that ``write`` has handed over so far."""
        return self._stream.n_accepted

    def write(self, data: Buffer) -> None:
        """Blocks until all of ``data`` is within the send buffer."""
        _wait(self._stream.write(data))

    def write_nowait(self, data: Buffer) -> int:
        """Hands over as much of ``data`` as there is room for; returns how many bytes."""
        return _wait(_call(self._stream.write_nowait, data))

    def read(self, n_max: int = 65_536, *, timeout_s: float | None = None) -> bytes:
        """Up to ``n_max`` bytes; ``b""`` at the end; ``TimeoutError`` after ``timeout_s``."""
        return _wait(self._stream.read(n_max), timeout_s)

    def read_chunks(self, n_max: int = 65_536, *, timeout_s: float | None = None) -> list[Buffer]:
        """As ``read``, but the pieces as they arrived; ``[]`` at the end."""
        return _wait(self._stream.read_chunks(n_max), timeout_s)

    def read_exactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes; raises ``EOFError`` when the stream ends before."""
        return _wait(self._stream.read_exactly(n))

    def read_all(self, n_max: int = 16 * 1024 * 1024) -> bytes:
        """Everything up to the end of the stream."""
        return _wait(self._stream.read_all(n_max))

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read():
            yield data

    def finish(self) -> None:
        """Ends this side."""
        _wait(_call(self._stream.finish))

    def wait_sent(self) -> None:
        """Blocks until everything up to ``finish`` is acknowledged."""
        _wait(self._stream.wait_sent())

    def reset(self, code: int = CloseCode.APPLICATION) -> None:
        """Gives up sending."""
        _wait(_call(self._stream.reset, code))

    def stop(self, code: int = CloseCode.APPLICATION) -> None:
        """Wants no more."""
        _wait(_call(self._stream.stop, code))

    def set_priority(self, priority: int) -> None:
        """0 is the most urgent, 128 the default, 255 the least."""
        _wait(_call(self._stream.set_priority, priority))

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _wait(self._stream.__aexit__(exc_type, exc, traceback))


class Session:
    """A blocking session; see ``wraith.Session`` for what each method means."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def __repr__(self) -> str:
        return f"sync.{self._session!r}"

    @property
    def security(self) -> SecurityInfo:
        """The terms that the handshake negotiated."""
        return self._session.security

    @property
    def peer(self) -> PeerKey | None:
        """The identity that the peer has proved."""
        return self._session.peer

    @property
    def is_closed(self) -> bool:
        """True once the session can carry nothing any more."""
        return self._session.is_closed

    @property
    def close_error(self) -> WraithError | None:
        """Why the session has ended; ``None`` while it is open."""
        return _wait(_call(lambda: self._session.close_error))

    @property
    def is_going_away(self) -> bool:
        """The peer has announced the end: no new streams, finish what is open."""
        return self._session.is_going_away

    @property
    def suspect(self) -> bool:
        """The peer has not been heard of for a while, and the session looks for it."""
        return self._session.suspect

    @property
    def n_datagrams_dropped(self) -> int:
        """Received messages that nobody took in time."""
        return self._session.n_datagrams_dropped

    @property
    def max_datagram_bytes(self) -> int:
        """The largest message that ``send_datagram`` takes now."""
        return _wait(_call(lambda: self._session.max_datagram_bytes))

    @property
    def carrier(self) -> str:
        """What carries the session now."""
        return self._session.carrier

    @property
    def roads(self) -> tuple[SessionRoad, ...]:
        """Every road that is known, best first."""
        return _wait(_call(lambda: self._session.roads))

    def migrate(self, road: SessionRoad | None = None) -> None:
        """Begins to go to another road, or to ``road``."""
        _wait(_call(self._session.migrate, road))

    def stats(self) -> ConnectionStats:
        """Round-trip time, window, losses, bytes: a snapshot."""
        return _wait(_call(self._session.stats))

    def export_key(self, label: str, n: int = 32, *, context: bytes = b"") -> bytes:
        """``n`` bytes that only both ends of this session can derive."""
        return _wait(_call(self._session.export_key, label, n, context=context))

    def open_stream(self, *, priority: int = 128, expedited: bool = False) -> Stream:
        """Opens a stream."""
        opening = self._session.open_stream(priority=priority, expedited=expedited)
        return Stream(_wait(_awaited(opening)))

    def accept_stream(self, *, timeout_s: float | None = None) -> Stream:
        """Blocks for the next stream of the peer."""
        return Stream(_wait(self._session.accept_stream(), timeout_s))

    def __iter__(self) -> Iterator[Stream]:
        while True:
            try:
                yield Stream(_wait(self._session.__anext__()))
            except StopAsyncIteration:
                return

    def send_datagram(self, data: bytes) -> bool:
        """Sends one message that may be lost."""
        return _wait(_call(self._session.send_datagram, data))

    def receive_datagram(self, *, timeout_s: float | None = None) -> bytes:
        """Blocks for the next message."""
        return _wait(self._session.receive_datagram(), timeout_s)

    def datagrams(self) -> Iterator[bytes]:
        """The peer's messages as they come, until the session was closed without an error."""
        while True:
            try:
                data = self.receive_datagram()
            except (PeerFinished, LocalProtocolError):
                return
            yield data

    def drain(self) -> None:
        """Blocks until every finished stream is acknowledged."""
        _wait(self._session.drain())

    def close(self, code: int = CloseCode.NO_ERROR, reason: str = "") -> None:
        """Closes now."""
        _wait(self._session.close(code, reason))

    def wait_closed(self) -> None:
        """Blocks until the end; raises why."""
        _wait(self._session.wait_closed())

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _wait(self._session.__aexit__(exc_type, exc, traceback))


class Listener:
    """A blocking listener; see ``wraith.Listener`` for what each method means."""

    def __init__(self, listener: _listener.Listener) -> None:
        self._listener = listener

    def __repr__(self) -> str:
        return f"sync.{self._listener!r}"

    @property
    def port(self) -> int:
        """The UDP port."""
        return self._listener.port

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Addresses at which peers reach this node."""
        return _wait(_call(lambda: self._listener.addresses))

    @property
    def node_record(self) -> NodeRecord:
        """The record to dial this node with."""
        return _wait(_call(lambda: self._listener.node_record))

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that are open now."""
        return tuple(Session(each) for each in _wait(_call(lambda: self._listener.sessions)))

    @property
    def n_refused(self) -> int:
        """Peers that proved their key and were not let in."""
        return self._listener.n_refused

    @property
    def allow(self) -> frozenset[PeerKey] | set[PeerKey] | None:
        """The identities that may connect; assign a new set at any time."""
        return self._listener.allow

    @allow.setter
    def allow(self, keys: Iterable[PeerKey] | None) -> None:
        self.set_allow(keys)

    @property
    def code(self) -> str:
        """The code that ``connect`` takes. Give it to the peer privately."""
        return _wait(_call(lambda: self._listener.code))

    @property
    def record(self) -> str:
        """The same as ``code``, under the name that it had."""
        deprecated("Listener.record", "Listener.code")
        return self.code

    def set_allow(self, allow: Iterable[PeerKey] | None) -> None:
        """Who may connect from now on."""
        keys = None if allow is None else frozenset(allow)
        _wait(_call(setattr, self._listener, "allow", keys))

    def connect(self, code: str | NodeRecord) -> Session:
        """Dials from this node's own port and identity."""
        return Session(_wait(_awaited(self._listener.connect(code))))

    def accept(self, *, timeout_s: float | None = None) -> Session:
        """Blocks for the next session."""
        return Session(_wait(self._listener.accept(), timeout_s))

    def __iter__(self) -> Iterator[Session]:
        while True:
            try:
                yield self.accept()
            except (LocalProtocolError, CancelledError):
                return

    def close(self, grace_s: float = 0.0) -> None:
        """Closes; see ``wraith.Listener.close``."""
        _wait(self._listener.close(grace_s))

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(LocalProtocolError):
            self.close()


def connect(
    code: str | NodeRecord,
    *,
    identity: Identity | None = None,
    require_pq: bool = True,
    suites: tuple[SuiteId, ...] | None = None,
    config: EndpointConfig | None = None,
    local: LocalAddress | None = None,
    carriers: Sequence[str] | None = None,
    proxy: str = "auto",
    tickets: MemoryTickets | None = None,
) -> Session:
    """As ``wraith.connect``, blocking."""
    opening = _dial.connect(
        code,
        identity=identity,
        require_pq=require_pq,
        suites=suites,
        config=config,
        local=local,
        carriers=carriers,
        proxy=proxy,
        tickets=tickets,
    )
    return Session(_wait(_awaited(opening)))


def listen(
    local: LocalAddress | None = None,
    *,
    identity: Identity | None = None,
    require_pq: bool = True,
    allow: Iterable[PeerKey] | None = None,
    suites: tuple[SuiteId, ...] | None = None,
    config: EndpointConfig | None = None,
    max_pending_streams: int | None = None,
    access: str | os.PathLike[str] | None = None,
    sock: GivenSockets | None = None,
    carriers: Sequence[str] = ("udp",),
    ws: str | None = None,
    ws_listen: LocalAddress | None = None,
) -> Listener:
    """As ``wraith.listen``, blocking."""
    opening = _listener.listen(
        local,
        identity=identity,
        require_pq=require_pq,
        allow=allow,
        suites=suites,
        config=config,
        max_pending_streams=max_pending_streams,
        access=access,
        sock=sock,
        carriers=carriers,
        ws=ws,
        ws_listen=ws_listen,
    )
    return Listener(_wait(_awaited(opening)))
