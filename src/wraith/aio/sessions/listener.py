"""``wraith.listen``: a node that others can dial."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from wraith.aio.argument_kinds import check_identity, peer_keys
from wraith.aio.clock import SystemClock
from wraith.aio.deprecation import deprecated
from wraith.aio.disk.kept_access import KeptAccess
from wraith.aio.entropy import OsRng
from wraith.aio.opening import Opening
from wraith.aio.road_choice import choose_listening, web_place
from wraith.aio.running import RunningNode
from wraith.aio.sessions.dial import dial
from wraith.aio.sessions.endpoint import AsyncEndpoint, effective_config, open_endpoint
from wraith.aio.sessions.session import Session
from wraith.aio.sessions.waiters import Waiters
from wraith.aio.transports.local import GivenSockets, LocalAddress, local_address
from wraith.config import EndpointConfig
from wraith.connection import events
from wraith.connection.connection import Connection
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.ed25519 import Identity
from wraith.errors import CloseCode, ConfigError, LocalProtocolError, WraithError
from wraith.node.codes import record_to_text, to_record
from wraith.types import Address, PeerKey, SuiteId

if TYPE_CHECKING:
    from types import TracebackType

UNACCEPTED_SESSIONS_MAX: Final = 64


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
    at: RunningNode | None = None,
    carriers: Sequence[str] = ("udp",),
    ws: str | None = None,
    ws_listen: LocalAddress | None = None,
) -> Opening[Listener]:
    """Listens: ``listener = await listen()`` or ``async with listen() as listener``.

    Args:
        local: what to bind: ``"HOST:PORT"``, ``(host, port)`` or a port; every interface and a free
            port when ``None``. Port 0 is any that is free.
        identity: who this node is; a fresh identity when ``None``.
        require_pq: refuse anything without post-quantum key exchange.
        allow: the only identities that may connect; ``None`` lets in whoever has the code.
        suites: as for ``connect``.
        config: as for ``connect``.
        max_pending_streams: so many streams of a peer wait to be accepted (1 … 16,384), of the
            urgent ones as many again; the peer opens no more before. ``None``: as
            ``config.max_streams`` says, 128 by default.
        access: a folder that keeps the access key, so that the code outlives this process; made on
            first use, and this process's alone while it listens. A fresh key when ``None``. The
            code stays the same with one ``identity``, and a port and address that stay.
        sock: a UDP socket that is bound already, or one for each address family, in place of
            ``local``: from systemd, or from a parent process. The listener takes it over.
        at: a node that runs already (``wraith.aio.open_node``): the listener has an access key of
            its own there, and shares the port with what else listens.
        carriers: on what it listens: ``"udp"``, and ``"tcp"`` at the same port. A TCP port that
            accepts is seen by whoever scans for it, though it never says a byte (ADR 23).
            ``"quic"``, with the extra ``quic``: on the next UDP port, or on this one without
            ``"udp"``; whoever speaks QUIC is answered there. ``"ws"`` needs the next two, and the
            extra ``ws``.
        ws: the URL (``ws://``, ``wss://``) at which a web server leads here; the code names it.
        ws_listen: where that server finds this node, ``"127.0.0.1:8080"`` for one.

    Raises:
        TransportError: the address cannot be bound.
        LocalProtocolError: four services listen at that node already, or another process listens
            with that access key.
        UntrustedPath, DiskFailed, NoSpace: the folder of ``access``, or its disk.
        PolicyRefused, ConfigError: what they say.
    """

    def _kept(chosen: EndpointConfig) -> KeptAccess | None:
        if access is None:
            return None
        if not isinstance(access, str | os.PathLike):
            raise ConfigError("access", access, "the path of a folder")
        skew_s = chosen.max_clock_skew_s
        return KeptAccess.open(access, OsRng(), SystemClock(), max_clock_skew_s=skew_s)

    async def open_() -> Listener:
        chosen = effective_config(config, require_pq=require_pq, suites=suites)
        check_identity(identity)
        web = web_place(ws, None if ws_listen is None else local_address(ws_listen))
        allowed = None if allow is None else peer_keys("allow", allow)
        if max_pending_streams is not None:
            chosen = replace(chosen, max_streams=max_pending_streams)
        if sock is not None and local is not None:
            raise ConfigError("local", local, "nothing beside sock: that is bound already")
        address = local_address(local)
        kept = _kept(chosen)
        try:
            endpoint = await open_endpoint(
                config=chosen,
                identity=identity,
                local=address,
                sock=sock,
                access=kept.key if kept is not None else None,
                listening=True,
                replay=kept.replay if kept is not None else None,
                choice=choose_listening(carriers, web=web),
            )
        except BaseException:
            if kept is not None:
                kept.close()
            raise
        return Listener(endpoint, allowed, require_pq=require_pq, kept=kept)

    async def open_at(node: RunningNode) -> Listener:
        for name, value in (
            ("local", local),
            ("sock", sock),
            ("identity", identity),
            ("suites", suites),
            ("config", config),
            ("max_pending_streams", max_pending_streams),
            ("ws", ws),
            ("ws_listen", ws_listen),
        ):
            if value is not None:
                raise ConfigError(
                    name, "given with at", "nothing: the node that is there has its own"
                )
        if not isinstance(node, RunningNode):
            raise ConfigError("at", node, "what wraith.aio.open_node opened")
        allowed = None if allow is None else peer_keys("allow", allow)
        config_there = effective_config(node.node.endpoint.config, require_pq=require_pq)
        kept = _kept(config_there)
        key = kept.key if kept is not None else AccessKey.generate(OsRng(), with_psk=True)
        replay = kept.replay if kept is not None else None
        try:
            endpoint = AsyncEndpoint(node, key=key, replay=replay, owns_node=False)
        except BaseException:
            if kept is not None:
                kept.close()
            raise
        return Listener(endpoint, allowed, require_pq=require_pq, kept=kept)

    return Opening(open_ if at is None else lambda: open_at(at), "wraith.listen(...)")


class Listener:
    """A listening node. ``async for session in listener``. Not thread-safe.

    Sessions that the program has not taken wait in a queue of 64; further peers are refused.

    Attributes:
        allow: the identities that may connect; assign a new set at any time. ``None`` lets in
            everybody who has the code. Sessions that are open already stay open.
        n_refused: peers that proved their key and were not let in.
    """

    def __init__(
        self,
        endpoint: AsyncEndpoint,
        allow: frozenset[PeerKey] | None,
        *,
        require_pq: bool,
        kept: KeptAccess | None = None,
    ) -> None:
        self.allow: frozenset[PeerKey] | set[PeerKey] | None = allow
        self.n_refused = 0
        self._endpoint = endpoint
        self._require_pq = require_pq
        self._kept = kept
        self._unaccepted: deque[Session] = deque()
        self._waiters = Waiters()
        self._closed = False
        self._closing = False
        endpoint.on_accept = self._on_incoming
        endpoint.on_gone = self._waiters.notify

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._endpoint.sessions)} sessions"
        return f"Listener(port={self.port}, {state})"

    # --- facts ------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The UDP port."""
        return self._endpoint.running.port

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Addresses at which peers reach this node: the bound ones, or those of all interfaces."""
        return self._endpoint.running.addresses

    @property
    def node_record(self) -> NodeRecord:
        """The record to dial this node with. Whoever has it can make the node answer."""
        endpoint = self._endpoint
        return endpoint.running.record(self.addresses, key=endpoint.key)

    @property
    def code(self) -> str:
        """The code that ``connect`` takes: ``node_record`` as one word. Give it to the peer
        privately."""
        return record_to_text(self.node_record)

    @property
    def record(self) -> str:
        """The same as ``code``, under the name that it had."""
        deprecated("Listener.record", "Listener.code")
        return self.code

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that are open now, accepted by the program or not."""
        return tuple(self._endpoint.sessions.values())

    # --- sessions ---------------------------------------------------------------------------

    async def accept(self) -> Session:
        """The next session. Several tasks may wait; cancellation is harmless.

        Raises:
            LocalProtocolError: the listener is closed.
        """
        while not self._unaccepted:
            if self._closed or self._closing or self._endpoint.closed:
                raise LocalProtocolError("this listener is closed")
            await self._waiters.wait()
        return self._unaccepted.popleft()

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Session:
        """``async for`` ends when the listener is closed."""
        try:
            return await self.accept()
        except LocalProtocolError:
            raise StopAsyncIteration from None

    def connect(self, code: str | NodeRecord) -> Opening[Session]:
        """As ``wraith.connect``, from this node's own port and identity."""

        async def open_() -> Session:
            record = to_record(code)
            return await dial(self._endpoint, record, require_pq=self._require_pq)

        return Opening(open_, "Listener.connect(...)")

    # --- the end ----------------------------------------------------------------------------

    async def close(self, grace_s: float = 0.0) -> None:
        """Lets nobody in any more, waits up to ``grace_s`` for sessions to end, closes the rest.

        Peers are told at the beginning of the grace time and open no more streams. Returns when
        every peer knows of the end, or three probe timeouts later; 3 s at most.
        Idempotent. Cancelled during the grace time, it closes at once.
        """
        if self._closed:
            return
        self._closing = True
        self._waiters.notify()
        endpoint = self._endpoint
        try:
            if grace_s > 0 and endpoint.sessions and not endpoint.closed:
                endpoint.running.node.go_away(endpoint.service, endpoint.driver.now())
                endpoint.driver.wake()
                waits = [self._quietly(session) for session in self.sessions]
                await asyncio.wait_for(asyncio.gather(*waits), grace_s)
        except TimeoutError:
            pass
        finally:
            self._closed = True
            try:
                if not endpoint.closed:
                    endpoint.running.node.end_all(endpoint.service, endpoint.driver.now())
                    endpoint.driver.wake()
                    await endpoint.driver.flushed()
                    await endpoint.settled()
            finally:
                endpoint.close()
                if self._kept is not None:
                    self._kept.close()
                self._unaccepted.clear()

    @staticmethod
    async def _quietly(session: Session) -> None:
        with contextlib.suppress(WraithError):  # how a session ended is for its owner
            await session.wait_closed()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- the endpoint's side ----------------------------------------------------------------

    def _on_incoming(self, connection: Connection, event: events.Event) -> None:
        """Events of connections that are not sessions yet."""
        now = self._endpoint.driver.now()
        match event:
            case events.PeerAuthenticated(peer):
                if self.allow is not None and peer not in self.allow:
                    self.n_refused += 1
                    self._endpoint.refuse(
                        connection, CloseCode.AUTHENTICATION_FAILED, "it is not among the allowed"
                    )
                elif self._closing or len(self._unaccepted) >= UNACCEPTED_SESSIONS_MAX:
                    self.n_refused += 1
                    why = "the listener is closing" if self._closing else "too many sessions wait"
                    self._endpoint.refuse(connection, CloseCode.CONNECTION_ERROR, why)
                else:
                    connection.count_taken_streams()
                    connection.accept(now)
                self._endpoint.driver.wake()
            case events.Established():
                session = self._endpoint.adopt(connection)
                self._unaccepted.append(session)
                self._waiters.notify()
            case _:
                pass  # a connection that was refused or lost before it was a session
