"""The sessions of a program at a node: what connect and listen share.

Turns ``(connection, event)`` pairs into calls on the right session and nothing else.
Spec: docs/reference/api.md.
"""

from __future__ import annotations

from collections.abc import Callable

from wraith.abc import Kem
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.entropy import OsRng
from wraith.aio.road_choice import RoadChoice
from wraith.aio.running import LINGER_S, RunningNode, run_node
from wraith.aio.sessions.log import SessionLog
from wraith.aio.sessions.policy import effective_config as effective_config
from wraith.aio.sessions.session import Session
from wraith.aio.settling import when_settled
from wraith.aio.transports.local import GivenSockets
from wraith.config import EndpointConfig
from wraith.connection import events
from wraith.connection.connection import Connection
from wraith.connection.endpoint import Endpoint
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.tickets.store import MemoryTickets
from wraith.crypto.ed25519 import Identity
from wraith.errors import ConfigError, ConnectionLost, WraithError
from wraith.node.session_service import SessionEvent, SessionService
from wraith.types import ANY_ADDRESS, Address, Role


class AsyncEndpoint:
    """The sessions of one program at a running node. Internal to ``wraith.aio``.

    Attributes:
        running: the node. ``owns_node``: it was made for this and ends with it.
        key: the access key to listen with; ``None`` only dials.
        on_accept: decides about an incoming connection that has proved the key, and is given the
            session once it is established.
        on_gone: called when nobody can come any more.
        private: it serves one outgoing session and ends with it.
    """

    __slots__ = (
        "_is_closed", "_is_lingering", "_log", "_owns_node", "driver", "key", "on_accept",
        "on_gone", "private", "running", "service", "sessions",
    )  # fmt: skip

    def __init__(
        self,
        running: RunningNode,
        *,
        key: AccessKey | None = None,
        replay: ReplayFiles | None = None,
        owns_node: bool,
    ) -> None:
        self.running = running
        self.driver = running.driver
        self.key = key
        self.service = SessionService()
        self.sessions: dict[Connection, Session] = {}
        self.on_accept: Callable[[Connection, events.Event], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self.private = False
        self._log = SessionLog(running.tracer)
        self._owns_node = owns_node
        self._is_lingering = False
        self._is_closed = False
        running.add(self.service, self, key=key, replay=replay)
        if key is not None:
            self._log.listening(running.port)

    @property
    def machine(self) -> Endpoint:
        """The pure endpoint; call ``driver.wake()`` after a command to it."""
        return self.running.node.endpoint

    @property
    def closed(self) -> bool:
        """True after ``close``, or when the node is gone."""
        return self._is_closed or self.driver.closed

    def connect(
        self, record: NodeRecord, *, require_pq: bool, tickets: MemoryTickets | None = None
    ) -> Session:
        """Begins to dial; raises as ``Endpoint.connect``."""
        connection = self.running.node.connect(
            self.service, record, self.driver.now(), require_pq=require_pq, tickets=tickets
        )
        connection.count_taken_streams()
        self.driver.wake()
        return self.adopt(connection)

    def adopt(self, connection: Connection) -> Session:
        """A session for ``connection``, which delivers its events from now on."""
        session = self.sessions[connection] = Session(self, connection)
        if self.key is not None and connection.role is Role.RESPONDER:
            self._log.opened(session, is_dialled=False)
        return session

    def refuse(self, connection: Connection, code: int, why: str) -> None:
        """Turns a peer away that has proved its key."""
        self._log.refused(connection, why)
        connection.refuse(self.driver.now(), code)

    # --- what the node tells (running.Shell) ----------------------------------------------------

    def on_event(self, pair: SessionEvent) -> None:
        """Delivers one event of the service."""
        connection, event = pair
        session = self.sessions.get(connection)
        if session is None:
            if self.on_accept is not None:
                self.on_accept(connection, event)
            return
        session._handle(event)
        if isinstance(event, events.Confirmed):
            self._log.opened(session, is_dialled=True)
        if isinstance(event, events.RoadFailed):
            self._log.road_failed(session, event)
        if isinstance(event, events.PathChanged):
            self._log.path_changed(session, event)
        if isinstance(event, events.Closed):
            del self.sessions[connection]
            self._log.closed(session, connection)
            self.retire_if_unused()

    def after_events(self) -> None:
        """Nothing waits for that."""

    def on_failed(self, error: Exception) -> None:
        """The node is gone: nothing can be said to peers any more."""
        words = str(error) if isinstance(error, WraithError) else f"internal error: {error!r}"
        self._fail_all(words)

    def on_record_lost(self, error: OSError) -> None:
        """The peer was not answered and dials again; the program is not told."""
        self.running.tracer.record("node.record_lost", warning=True, errno=error.errno)

    # --- the end --------------------------------------------------------------------------------

    def retire_if_unused(self) -> None:
        """A dialled session's own node goes once its machine has nothing left to say."""
        if not self.private or self.closed or self._is_lingering:
            return
        if all(session.is_closed for session in self.sessions.values()):
            self.linger()

    async def settled(self) -> None:
        """After everything was closed: answers late packets until each peer has said CLOSE too,
        or has had three probe timeouts for it; ``LINGER_S`` at most. Cancellation is harmless."""
        await self.running.settled(self.service)

    def linger(self) -> None:
        """Stays until the machine has nothing left to answer, then closes the sockets."""
        if not self._is_lingering and not self.closed:
            self._is_lingering = True
            connections = self.running.node.connections_of
            when_settled(self.driver, lambda: connections(self.service), LINGER_S, self.close)

    def close(self) -> None:
        """Closes the sockets at once. At a node of others it leaves, and peers are told.
        Idempotent."""
        if not self._is_closed and self.key is not None:
            self._log.closed_listener(self.running.port)
        self._is_closed = True
        if self._owns_node:
            self.driver.close()
        self._fail_all("the endpoint was closed")
        self.running.drop(self.service)

    def _fail_all(self, words: str) -> None:
        for connection, session in list(self.sessions.items()):
            session._fail(ConnectionLost(words))
            self._log.closed(session, connection)
        self.sessions.clear()
        if self.on_gone is not None:
            self.on_gone()


async def open_endpoint(
    *,
    config: EndpointConfig,
    identity: Identity | None,
    local: Address = ANY_ADDRESS,
    sock: GivenSockets | None = None,
    access: AccessKey | None = None,
    listening: bool,
    kem: Kem | None = None,
    replay: ReplayFiles | None = None,
    choice: RoadChoice | None = None,
) -> AsyncEndpoint:
    """The sessions of a node of their own, which binds ``local`` or takes ``sock`` over.

    Args:
        identity: who this node is; a fresh one when ``None``.
        access: the access key to listen with; a fresh one when ``None`` and ``listening``.
        replay: the replay records on disk of an access key that outlives the process. The caller
            closes them after the endpoint.
        choice: which roads it may take; UDP alone without one.

    Raises:
        TransportError: nothing could be bound.
        ConfigError: ``kem`` is one that only simulations may use, or a persistent access key has
            no replay files.
    """
    if access is None and listening:
        access = AccessKey.generate(OsRng(), with_psk=True)
    if access is not None and access.persistent and replay is None:
        raise ConfigError("replay_files", "nothing", "the files of each persistent access key")
    running = await run_node(
        config=config, identity=identity, local=local, sock=sock, kem=kem, choice=choice
    )
    return AsyncEndpoint(running, key=access, replay=replay, owns_node=True)


def local_for(record: NodeRecord) -> Address:
    """The narrowest wildcard that reaches the record's addresses: one socket when one will do."""
    lengths = {len(address.ip) for address in record.addresses}
    if lengths == {4}:
        return Address(bytes(4), 0)
    if lengths == {16}:
        return Address(bytes(16), 0)
    return ANY_ADDRESS
