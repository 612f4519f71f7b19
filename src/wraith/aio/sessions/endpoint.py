"""One pure ``Endpoint`` with its sockets, driver and sessions: what connect and listen share.

Turns ``(connection, event)`` pairs into calls on the right session and nothing else.
Spec: docs/reference/api.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from wraith.abc import Kem
from wraith.aio.assembly import bind_endpoint
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.driver import Driver
from wraith.aio.entropy import OsRng
from wraith.aio.fork import poison_after_fork
from wraith.aio.sessions.session import Session
from wraith.aio.settling import settled, when_settled
from wraith.config import EndpointConfig
from wraith.connection import events
from wraith.connection.connection import Connection
from wraith.connection.endpoint import Endpoint
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.ed25519 import Identity
from wraith.errors import ConfigError, ConnectionLost, PolicyRefused
from wraith.types import ANY_ADDRESS, Address, SuiteId

ConnectionEvent = tuple[Connection | None, object]
#: A closed endpoint answers late packets of its peers this long at most before its sockets go.
LINGER_S: Final = 3.0


def effective_config(
    config: EndpointConfig | None, *, require_pq: bool, suites: tuple[SuiteId, ...] | None = None
) -> EndpointConfig:
    """The configuration with the caller's suites: without post-quantum key exchange only where the
    caller says so twice, by ``suites`` and by ``require_pq``.

    Raises:
        PolicyRefused: a suite without post-quantum key exchange together with ``require_pq``.
    """
    if config is None:
        default = (SuiteId.A, SuiteId.B) if require_pq else (SuiteId.A, SuiteId.B, SuiteId.D)
        config = EndpointConfig(suites=suites or default)
    elif suites is not None:
        config = replace(config, suites=suites)
    if require_pq and SuiteId.D in config.suites:
        raise PolicyRefused(
            "suite D has no post-quantum key exchange",
            hint="pass require_pq=False as well if that is really wanted",
        )
    return config


class AsyncEndpoint:
    """Sockets, driver, machine and sessions. Made by ``open_endpoint``; internal to ``wraith.aio``.

    Attributes:
        machine: the pure endpoint; call ``driver.wake()`` after a command to it.
        on_accept: decides about an incoming connection that has proved its key, and is given the
            session once it is established; ``None`` at an endpoint that only dials.
        private: the endpoint serves one outgoing session and ends with it.
    """

    def __init__(
        self,
        machine: Endpoint,
        rng: OsRng,
    ) -> None:
        self.machine = machine
        self.sessions: dict[Connection, Session] = {}
        self.on_accept: Callable[[Connection, events.Event], None] | None = None
        self.on_endpoint_event: Callable[[object], None] | None = None
        self.private = False
        self.driver: Driver[ConnectionEvent]
        self._rng = rng
        self._is_lingering = False
        poison_after_fork(self)

    def poison(self) -> None:
        """In a forked child: wipes the machine's copies of keys and never sends again."""
        self.machine.poison()
        self.driver.poison()
        self._rng.forget()

    def adopt(self, connection: Connection) -> Session:
        """A session for ``connection``, which delivers its events from now on."""
        session = self.sessions[connection] = Session(self, connection)
        return session

    def on_event(self, pair: ConnectionEvent) -> None:
        """Delivers one event of the machine."""
        connection, event = pair
        if connection is None:
            if self.on_endpoint_event is not None:
                self.on_endpoint_event(event)
            return
        session = self.sessions.get(connection)
        if session is None:
            if self.on_accept is not None:
                self.on_accept(connection, event)  # type: ignore[arg-type]
            return
        session.handle(event)  # type: ignore[arg-type]
        if isinstance(event, events.Closed):
            del self.sessions[connection]
            self.retire_if_unused()

    def on_failed(self, error: Exception) -> None:
        """The machine raised: nothing can be said to peers any more."""
        for session in list(self.sessions.values()):
            session.fail(ConnectionLost(f"internal error: {error!r}"))
        self.sessions.clear()

    def retire_if_unused(self) -> None:
        """A dialled session's own endpoint goes once its machine has nothing left to say."""
        if not self.private or self.driver.closed or self._is_lingering:
            return
        if all(session.is_closed for session in self.sessions.values()):
            self.linger()

    async def settled(self) -> None:
        """After everything was closed: answers late packets until each peer has said CLOSE too,
        or has had three probe timeouts for it; ``LINGER_S`` at most. Cancellation is harmless."""
        await settled(self.driver, self.machine, LINGER_S)

    def linger(self) -> None:
        """Stays until the machine has nothing left to answer, then closes the sockets."""
        if not self._is_lingering and not self.driver.closed:
            self._is_lingering = True
            when_settled(self.driver, self.machine, LINGER_S, self.close)

    def close(self) -> None:
        """Closes the sockets at once. Idempotent."""
        self.driver.close()
        for session in list(self.sessions.values()):
            session.fail(ConnectionLost("the endpoint was closed"))
        self.sessions.clear()


async def open_endpoint(
    *,
    config: EndpointConfig,
    identity: Identity | None,
    local: Address = ANY_ADDRESS,
    access: tuple[AccessKey, ...] | None = None,
    listening: bool,
    kem: Kem | None = None,
    replay_files: Mapping[bytes, ReplayFiles] | None = None,
) -> AsyncEndpoint:
    """Binds sockets to ``local`` and starts driving a new endpoint.

    Args:
        identity: who this node is; a fresh one when ``None``.
        access: the access keys to listen with; one fresh key when ``None`` and ``listening``.
        replay_files: for each access key that outlives the process (by its public half) its
            replay records on disk. The caller closes them after the endpoint.

    Raises:
        TransportError: nothing could be bound.
        ConfigError: ``kem`` is one that only simulations may use, or a persistent access key has
            no replay files.
    """
    if getattr(kem, "insecure", False):
        raise ConfigError("kem", getattr(kem, "name", kem), "a KEM that keeps secrets")
    if access is None:
        access = (AccessKey.generate(OsRng(), with_psk=True),) if listening else ()
    stores = dict(replay_files or {})
    for key in access:
        if key.persistent and key.ak.public not in stores:
            raise ConfigError("replay_files", "nothing", "the files of each persistent access key")
    bound = await bind_endpoint(
        config=config,
        identity=identity,
        access=access,
        replay_files=stores,
        local=local,
        kem=kem,
    )
    machine = bound.machine

    def store() -> None:
        failure: OSError | None = None
        for access_key, records in machine.records_to_store():
            try:
                if access_key in stores:
                    stores[access_key].append(records)
            except OSError as exc:  # of this key alone: the others' answers leave all the same
                machine.records_lost(access_key)
                failure = exc
        if failure is not None:
            raise failure

    endpoint = AsyncEndpoint(machine, bound.rng)
    endpoint.driver = Driver(
        machine,
        bound.sockets,
        on_event=endpoint.on_event,
        on_failed=endpoint.on_failed,
        store=store if stores else None,
        tracer=bound.tracer,
    )
    endpoint.driver.start()
    return endpoint


def local_for(record: NodeRecord) -> Address:
    """The narrowest wildcard that reaches the record's addresses: one socket when one will do."""
    lengths = {len(address.ip) for address in record.addresses}
    if lengths == {4}:
        return Address(bytes(4), 0)
    if lengths == {16}:
        return Address(bytes(16), 0)
    return ANY_ADDRESS
