"""A transfer that runs: a service of a node on sockets, with its disk, as a stream of events.

::

    transfer = await Transfer.open(source=source, identity=..., access=..., config=...)
    text = transfer.code(addresses)            # a listening side shows it
    transfer.start()
    async for event in transfer.events():      # node.events; the last one is Finished
        ...                                    # accept(event.offer_id), decline(), stop()
    await transfer.close()

It decides nothing: policies come in as configuration, questions go out as events.

Spec: transfer §10.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from wraith.aio.assembly import bind_node
from wraith.aio.disk.failures import disk_error
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.disk.store_worker import StoreWorker
from wraith.aio.road_choice import Reached, RoadChoice
from wraith.aio.road_memory import RoadMemory
from wraith.aio.running import RunningNode
from wraith.aio.transports.socket_set import SocketSet
from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.ed25519 import Identity
from wraith.errors import LocalProtocolError, WraithError
from wraith.node.codes import code_of
from wraith.node.config import NodeConfig
from wraith.node.events import Connected, Finished, LinkLost, NodeEvent, PathChanged, Refused
from wraith.node.transfer_service import TransferService
from wraith.transfer.code import encode_code
from wraith.transfer.events import Accepted, Declined
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import PathRules
from wraith.transfer.sender import Outgoing
from wraith.transfer.wishes import Fulfils
from wraith.types import ANY_ADDRESS, Address

#: After the end: how long late packets of the peer are still answered.
LINGER_S: Final = 1.0
#: A read from a terminal or a pipe may never end; a disk should.
_STORE_END_S: Final = 5.0
#: The events of a transfer that a log without details has too.
_TOLD: Final = (Connected, Accepted, Declined, LinkLost, PathChanged, Finished)
#: Anybody can forge an ICMP error.
_REFUSED_MAX: Final = 16
_NO_RECORDS: Final = "mend the disk of WRAITH_HOME and run the same command again; it goes on there"


class SourceStore(Fulfils, Protocol):
    """A source: the files that are sent."""

    @property
    def outgoing(self) -> Outgoing: ...


class TargetStore(Fulfils, Protocol):
    """Where what is received goes."""

    @property
    def rules(self) -> PathRules: ...


class InternalError(WraithError):
    """Something went wrong inside wraith; please report it."""

    code = "internal-error"


class Transfer:
    """See the module. Made by ``open``; belongs to one event loop; ``close`` it.

    The caller closes the store and the replay files afterwards.

    Attributes:
        service: the machine; ``accept``, ``decline`` and ``stop`` are here.
    """

    def __init__(
        self,
        running: RunningNode,
        service: TransferService,
        store: Fulfils,
        *,
        replay: ReplayFiles | None,
        access: AccessKey | None,
        owns_node: bool,
        memory: RoadMemory | None = None,
    ) -> None:
        self.service = service
        self._running = running
        self._driver = running.driver
        self._access = access
        self._owns_node = owns_node
        self._memory = memory if owns_node else None
        self._tracer = running.tracer
        self._events: asyncio.Queue[NodeEvent | Exception] = asyncio.Queue()
        self._store = store
        self._worker: StoreWorker | None = None
        self._refused: set[tuple[Address, int]] = set()
        running.add(service, self, key=access, replay=replay)

    @classmethod
    async def open(
        cls,
        *,
        source: SourceStore | None = None,
        target: TargetStore | None = None,
        identity: Identity | None = None,
        endpoint_config: EndpointConfig | None = None,
        node_config: NodeConfig,
        access: AccessKey | None = None,
        replay: ReplayFiles | None = None,
        local: Address = ANY_ADDRESS,
        preferred_port: int = 0,
        sockets: SocketSet | None = None,
        at: RunningNode | None = None,
        choice: RoadChoice | None = None,
        memory: RoadMemory | None = None,
    ) -> Transfer:
        """Binds sockets and makes the node; nothing is sent or answered before ``start``. At a node
        that runs already (``at``) peers may come in at once.

        Args:
            source, target: exactly one: what is sent, or where to receive.
            identity, endpoint_config, local: as for ``open_node``; not together with ``at``.
            access: listen with this key; ``None`` only dials.
            replay: the key's records on disk, for a key that outlives the process.
            preferred_port: with port 0 in ``local``, taken if it is free.
            sockets: those that are bound already (``aio/ports.py``).
            at: the node to listen at, or to dial from.
            choice: which roads it may take; UDP alone without one. Not together with ``at``.
            memory: of the network, for who dials; not used with ``at``.
        Raises:
            TransportError: the address cannot be bound.
            LocalProtocolError: four services listen at that node already.
        """
        store = source if source is not None else target
        if store is None or (source is not None and target is not None):
            raise ValueError("a transfer either sends or receives")
        if at is not None and (identity, endpoint_config, local) != (None, None, ANY_ADDRESS):
            raise ValueError("a node that runs has an identity and an address of its own")
        running = at
        if running is None:
            bound = await bind_node(
                config=endpoint_config or EndpointConfig(),
                identity=identity,
                local=local,
                preferred_port=preferred_port,
                sockets=sockets,
                choice=choice,
            )
            running = RunningNode(bound)
        try:
            service = TransferService(
                running.node,
                key=access,
                offer=source.outgoing if source is not None else None,
                rules=target.rules if target is not None else None,
                config=node_config,
                now=running.driver.now(),
            )
            return cls(
                running, service, store, replay=replay, access=access, owns_node=at is None,
                memory=memory,
            )  # fmt: skip
        except BaseException:
            if at is None:
                running.abandon()
            raise

    @property
    def port(self) -> int:
        """The port that it is bound to."""
        return self._running.port

    @property
    def reached(self) -> Reached:
        """On what others find it at its port."""
        return self._running.reached

    @property
    def connection(self) -> Connection | None:
        """For figures of the connection in use."""
        return self.service.connection

    def code(self, addresses: Sequence[Address], *, maker_receives: bool = False) -> str:
        """The code that leads here. It is a secret: whoever holds it may take part."""
        if self._access is None:
            raise LocalProtocolError("only who listens has a code")
        record = self._running.record(addresses, key=self._access)
        return encode_code(code_of(record, maker_receives=maker_receives))

    # --- running --------------------------------------------------------------------------------

    def start(self, record: NodeRecord | None = None) -> None:
        """Begins to listen, or to dial ``record``."""
        driver = self._driver
        self._worker = StoreWorker(
            self.service, self._store, now=lambda: driver.now(), on_answered=driver.wake
        )
        if self._owns_node:
            self._running.start()
        if record is not None:
            if self._owns_node:  # errors are the socket's, and cannot be told apart by service
                self._running.sockets.tell_errors(self._on_icmp_error)
            if self._memory is not None:
                self._memory.begin(self._running.node)
            self.service.dial(record, driver.now())
        driver.wake()

    @property
    def is_closed(self) -> bool:
        """The node is gone, or nothing was begun: no event will come any more."""
        return self._driver.closed or self._worker is None

    async def events(self) -> AsyncIterator[NodeEvent]:
        """Everything that happens; ends after ``Finished``.

        Raises:
            InternalError: a defect of ours ended it.
            LocalProtocolError: the node was closed under it.
        """
        while True:
            event = await self._events.get()
            if isinstance(event, WraithError):
                raise event
            if isinstance(event, Exception):
                raise InternalError(f"internal error: {type(event).__name__}: {event}")
            yield event
            if isinstance(event, Finished):
                return

    def accept(self, offer_id: bytes) -> None:
        """Accepts the offer that ``OfferReceived`` told of under this ``offer_id``.

        Raises:
            StateViolation: that offer is gone; one that came after it stays pending.
        """
        self.service.accept(offer_id, self._driver.now())
        self._driver.wake()

    def decline(self, reason: Reason = Reason.DECLINED) -> None:
        """Refuses the offer; does nothing when it has gone meanwhile."""
        with contextlib.suppress(LocalProtocolError):
            self.service.decline(self._driver.now(), reason=reason)
        self._driver.wake()

    def stop(self, error: WraithError | None = None) -> None:
        """Ends everything; the peer is told and what is verified stays. ``Finished`` follows."""
        if not self._driver.closed:
            self.service.stop(self._driver.now(), error)
            self._driver.wake()

    async def close(self) -> None:
        """Lets last packets leave, then closes sockets and the disk thread; at a node of others it
        leaves, and peers that are still there are told. Idempotent."""
        if not self._owns_node:
            self._running.drop(self.service)
        self._keep_news()
        await self._driver.flushed()
        await self._running.settled(self.service, LINGER_S)
        if self._owns_node:
            self._running.drop(self.service)
            self._driver.close()
        if self._worker is not None:
            await self._worker.closed(_STORE_END_S)

    def _keep_news(self) -> None:
        if self._memory is not None:
            self._memory.note(self._running.node)

    def abandon(self) -> bool:
        """Closes the sockets at once, without a word to anyone; at a node of others it leaves.
        Blocks until the disk's thread has ended, and returns whether it has: while it runs, the
        store must stay open."""
        if self._owns_node:
            self._driver.close()
        self._running.drop(self.service)
        return self._worker is None or self._worker.joined(_STORE_END_S)

    # --- what the node tells (running.Shell) ----------------------------------------------------

    def on_event(self, event: NodeEvent) -> None:
        """Hands on one event."""
        # The kind alone: what an event holds may be private.
        if self._owns_node and isinstance(event, Connected):
            self._running.sockets.tell_errors(None)
            self._keep_news()
        told = isinstance(event, _TOLD)
        self._tracer.record("transfer.event", kind=type(event).__name__, info=told)
        self._events.put_nowait(event)

    def _on_icmp_error(self, address: Address, number: int) -> None:
        if (address, number) not in self._refused and len(self._refused) < _REFUSED_MAX:
            self._refused.add((address, number))
            self._events.put_nowait(Refused(address, number))

    def after_events(self) -> None:
        """Hands on wishes."""
        if self._worker is not None:
            self._worker.pump()

    def on_failed(self, error: Exception) -> None:
        """The node is gone."""
        self._events.put_nowait(error)

    def on_record_lost(self, error: OSError) -> None:
        """Nobody may be answered any more under this code, so waiting on is useless: the person is
        told, and so is a peer who is here."""
        failed = disk_error(error, where="the record of who called", hint=_NO_RECORDS)
        # Not now: this is inside a drain.
        asyncio.get_running_loop().call_soon(self.stop, failed)
