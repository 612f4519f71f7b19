"""A node that runs: one port of this process, its driver, and who runs the services there.

::

    node = await open_node("0.0.0.0:4433", identity=...)
    listener = await wraith.listen(at=node)                  # at most four that listen
    transfer = await Transfer.open(source=..., node_config=..., access=key, at=node)
    await node.close()

``wraith.listen``, ``wraith.connect`` and ``Transfer.open`` make one of their own without ``at``.
Every service has a *shell*, which gets its events. A shell that goes takes its service, the key
and the peers with it; the others stay.

Spec: docs/adr/0021-services-are-chosen-by-access-key.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Protocol

from wraith.abc import Kem
from wraith.aio.assembly import BoundNode, bind_node
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.driver import Driver
from wraith.aio.fork import poison_after_fork
from wraith.aio.opening import Opening
from wraith.aio.road_choice import RoadChoice, choose_both, web_place
from wraith.aio.settling import settled
from wraith.aio.transports.interfaces import reachable_addresses
from wraith.aio.transports.local import GivenSockets, LocalAddress, local_address
from wraith.aio.transports.routes import is_loopback
from wraith.config import EndpointConfig
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.roads.proxies import AUTO
from wraith.crypto.ed25519 import Identity
from wraith.errors import LocalProtocolError, WraithError
from wraith.node.node import AnyService
from wraith.types import ANY_ADDRESS, Address

#: A node that closes answers late packets of its peers this long at most before its sockets go.
LINGER_S: Final = 3.0


class Shell(Protocol):
    """Who runs a service. Called on the loop; may issue commands."""

    def on_event(self, event: Any, /) -> None:
        """An event of the service."""
        ...

    def after_events(self) -> None:
        """All events that were there have been delivered."""
        ...

    def on_failed(self, error: Exception, /) -> None:
        """The node is gone without a proper end: ``error`` says why."""
        ...

    def on_record_lost(self, error: OSError, /) -> None:
        """The record of a hello for the key of this service could not be stored; its sender was not
        answered. Called inside a drain."""
        ...


class RunningNode:
    """See the module. Not thread-safe; belongs to the loop in which it was made.

    Attributes:
        node: the machine; call ``driver.wake()`` after a command to it.
        sockets: the bound ones.
        reached: on what others find it at its port.
    """

    __slots__ = (
        "__weakref__", "_keys", "_paths", "_replay", "_rng", "_shells", "driver", "node", "reached",
        "sockets", "tracer",
    )  # fmt: skip

    def __init__(self, bound: BoundNode) -> None:
        self.node = bound.node
        self.tracer = bound.tracer
        self._rng = bound.rng
        self._shells: tuple[tuple[AnyService, Shell], ...] = ()
        self._replay: tuple[tuple[bytes, ReplayFiles, Shell], ...] = ()
        self.sockets = bound.sockets
        self.reached = bound.reached
        self._paths = bound.paths
        self._keys: tuple[tuple[AnyService, AccessKey], ...] = ()
        self.driver: Driver[tuple[AnyService, Any]] = Driver(
            bound.node,
            bound.sockets,
            on_event=self._on_event,
            after_events=self._after_events,
            on_failed=self._on_failed,
            store=self._store,
            links=bound.links,
            tracer=bound.tracer,
        )
        bound.links.on_network_changed = self._on_network_changed
        poison_after_fork(self)

    def start(self) -> None:
        """Begins to drive: nothing was sent or answered before."""
        self.driver.start()

    @property
    def port(self) -> int:
        """The UDP port."""
        return self.sockets.port

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Addresses at which peers reach this node: the bound ones, or those of all interfaces."""
        bound = self.sockets.locals
        if all(any(each.ip) for each in bound):
            return bound
        return reachable_addresses(self.port)

    def record(self, addresses: Sequence[Address], *, key: AccessKey | None = None) -> NodeRecord:
        """What others need to dial this node at ``addresses`` with ``key``.

        Raises:
            LocalProtocolError: there is no access key.
        """
        named = self.reached.named(addresses)
        return self.node.endpoint.node_record(
            named.addresses, key=key, has_tcp=named.has_tcp, other_roads=named.other_roads
        )

    def add(
        self,
        service: AnyService,
        shell: Shell,
        *,
        key: AccessKey | None = None,
        replay: ReplayFiles | None = None,
    ) -> None:
        """Takes ``service`` in, unless it is there, and gives its events to ``shell``.

        Args:
            key: it listens with this one.
            replay: the key's records on disk, for a key that outlives the process. The caller
                closes them after ``remove``.
        Raises:
            LocalProtocolError: the node is closed, or four services listen there already.
        """
        now = self.driver.now()
        if self.driver.closed:
            raise LocalProtocolError("this node is closed")
        if service not in self.node.services:
            self.node.add(service, now, key=key)
        self._shells = (*self._shells, (service, shell))
        if key is None:
            return
        self._keys = (*self._keys, (service, key))
        self._tell_roads()
        self._paths.add(key, used_before=replay is not None and not replay.is_fresh)
        if replay is None:
            return
        self._replay = (*self._replay, (key.ak.public, replay, shell))
        # Without this the machine refuses what may be a replay: right for incomplete records.
        if not replay.history.complete_after:
            self.node.endpoint.load_replay_records(key.ak.public, replay.history.records, now)

    def drop(self, service: AnyService) -> None:
        """Takes ``service`` away: its peers are told, its shell hears nothing more, the others go
        on. Idempotent."""
        for one, key in self._keys:
            if one is service:
                self._paths.remove(key.ak.public)
        self._keys = tuple(pair for pair in self._keys if pair[0] is not service)
        gone = [shell for one, shell in self._shells if one is service]
        self._shells = tuple(one for one in self._shells if one[0] is not service)
        self._replay = tuple(one for one in self._replay if one[2] not in gone)
        if not self.driver.closed:
            self.node.remove(service, self.driver.now())
            self.driver.wake()

    async def settled(self, service: AnyService, limit_s: float = LINGER_S) -> None:
        """After the connections of ``service`` were closed: answers their late packets until each
        peer has said CLOSE too, or has had three probe timeouts for it; ``limit_s`` at most.
        Cancellation is harmless."""
        await settled(self.driver, lambda: self.node.connections_of(service), limit_s)

    async def close(self) -> None:
        """Ends every service, tells every peer, and closes the sockets. Idempotent."""
        try:
            if not self.driver.closed:
                for service in self.node.services:
                    self.node.end_all(service, self.driver.now())
                self.driver.wake()
                await self.driver.flushed()
                await asyncio.gather(*(self.settled(one) for one in self.node.services))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes the sockets at once, without a word to anyone. Idempotent."""
        self.driver.close()
        self._on_failed(LocalProtocolError("this node is closed"))

    def poison(self) -> None:
        """In a forked child: wipes the machine's copies of keys and never sends again."""
        self.node.endpoint.poison()
        self.driver.poison()
        self._rng.forget()

    async def __aenter__(self) -> RunningNode:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _tell_roads(self) -> None:
        """The peers of each key hear where this node is reached now. [RO-64]"""
        addresses, now = self.addresses, self.driver.now()
        for _, key in self._keys:
            record = self.record(addresses, key=key)
            self.node.endpoint.listens_at(key.ak.public, record.roads, now)

    # --- what the driver tells ------------------------------------------------------------------

    def _on_network_changed(self) -> None:
        """A host that nobody reaches at the moment tells nobody: that is soon over, and peers would
        forget the addresses that they know."""
        if not all(is_loopback(address) for address in self.addresses):
            self._tell_roads()

    def _on_event(self, told: tuple[AnyService, Any]) -> None:
        service, event = told
        for one, shell in self._shells:
            if one is service:
                shell.on_event(event)

    def _after_events(self) -> None:
        for _, shell in self._shells:
            shell.after_events()

    def _on_failed(self, error: Exception) -> None:
        shells, self._shells = self._shells, ()
        for _, shell in shells:
            shell.on_failed(error)

    def _store(self) -> None:
        """Puts replay records on disk before the answers leave. A disk that fails costs the peers
        of that key their answers, and nobody else anything."""
        if not self._replay:
            return  # only keys that outlive the process make records
        for public, records in self.node.records_to_store():
            for key, files, shell in self._replay:
                if key != public:
                    continue
                try:
                    files.append(records)
                except WraithError:
                    raise
                except OSError as exc:
                    self.node.records_lost(public)
                    shell.on_record_lost(exc)


def open_node(
    local: LocalAddress | None = None,
    *,
    identity: Identity | None = None,
    config: EndpointConfig | None = None,
    sock: GivenSockets | None = None,
    carriers: Sequence[str] = ("udp",),
    proxy: str = AUTO,
    ws: str | None = None,
    ws_listen: LocalAddress | None = None,
) -> Opening[RunningNode]:
    """A node for several services at one port: ``async with open_node() as node``.

    All of its services have one identity and one configuration. Who is a peer of two of them can
    tell that they are one node.

    Args:
        local: what to bind: ``"HOST:PORT"``, ``(host, port)`` or a port; every interface and a free
            port when ``None``.
        identity: who this node is; a fresh identity when ``None``.
        config: everything that can be set.
        sock: a UDP socket that is bound already, or one for each address family, in place of
            ``local``. The node takes it over and closes it.
        carriers: on what it listens, and goes to others: as for ``wraith.listen``.
        proxy: for its way to others over TCP and WebSocket: ``"auto"`` or ``"none"``, as for
            ``wraith.connect``; a URL is refused, since nobody would come that way.
        ws, ws_listen: as for ``wraith.listen``.

    Raises:
        TransportError: the address cannot be bound.
        ConfigError: one of these is something else.
        MissingExtra: a carrier or a proxy needs what is not installed.
    """

    async def open_() -> RunningNode:
        web = web_place(ws, None if ws_listen is None else local_address(ws_listen))
        return await run_node(
            config=config or EndpointConfig(),
            identity=identity,
            local=local_address(local),
            sock=sock,
            choice=choose_both(carriers, proxy, web=web),
        )

    return Opening(open_, "wraith.aio.open_node(...)")


async def run_node(
    *,
    config: EndpointConfig,
    identity: Identity | None = None,
    local: Address = ANY_ADDRESS,
    sock: GivenSockets | None = None,
    kem: Kem | None = None,
    choice: RoadChoice | None = None,
) -> RunningNode:
    """As ``bind_node``, and drives it."""
    bound = await bind_node(
        config=config, identity=identity, local=local, sock=sock, kem=kem, choice=choice
    )
    running = RunningNode(bound)
    running.start()
    return running
