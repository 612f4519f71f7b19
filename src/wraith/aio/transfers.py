"""A transfer that runs: one node on sockets, with its disk, as a stream of events.

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

from wraith.aio.assembly import BoundEndpoint, bind_endpoint
from wraith.aio.disk.failures import disk_error
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.disk.store_worker import StoreWorker
from wraith.aio.driver import Driver, StoreFailureTold
from wraith.aio.fork import poison_after_fork
from wraith.aio.settling import settled
from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.ed25519 import Identity
from wraith.errors import LocalProtocolError, WraithError
from wraith.node.codes import code_of
from wraith.node.config import NodeConfig
from wraith.node.events import Finished, NodeEvent
from wraith.node.node import Node
from wraith.transfer.code import encode_code
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import PathRules
from wraith.transfer.sender import Outgoing
from wraith.transfer.wishes import Fulfils
from wraith.types import ANY_ADDRESS, Address

#: After the end: how long late packets of the peer are still answered.
LINGER_S: Final = 1.0
#: A read from a terminal or a pipe may never end; a disk should.
_STORE_END_S: Final = 5.0
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
    """

    def __init__(
        self,
        node: Node,
        store: Fulfils,
        bound: BoundEndpoint,
        *,
        replay: ReplayFiles | None,
        access: AccessKey | None,
    ) -> None:
        self.node = node
        self._access = access
        self._replay = replay
        self._rng = bound.rng
        self._tracer = bound.tracer
        self._events: asyncio.Queue[NodeEvent | Exception] = asyncio.Queue()
        self._store = store
        self._worker: StoreWorker | None = None
        self._port = bound.sockets.port
        self._driver: Driver[NodeEvent] = Driver(
            node,
            bound.sockets,
            on_event=self._on_event,
            after_events=self._hand_on_wishes,
            on_failed=self._events.put_nowait,
            store=self._store_records,
            tracer=self._tracer,
        )
        poison_after_fork(self)

    @classmethod
    async def open(
        cls,
        *,
        source: SourceStore | None = None,
        target: TargetStore | None = None,
        identity: Identity,
        endpoint_config: EndpointConfig,
        node_config: NodeConfig,
        access: AccessKey | None = None,
        replay: ReplayFiles | None = None,
        local: Address = ANY_ADDRESS,
        preferred_port: int = 0,
    ) -> Transfer:
        """Binds sockets and makes the node; nothing is sent or answered before ``start``.

        Args:
            source, target: exactly one: what is sent, or where to receive.
            access: listen with this key; ``None`` only dials.
            replay: the key's records on disk, for a key that outlives the process.
            local: the address to bind; its port 0 takes any.
            preferred_port: with port 0 in ``local``, taken if it is free.
        Raises:
            TransportError: the address cannot be bound.
        """
        store = source if source is not None else target
        if store is None or (source is not None and target is not None):
            raise ValueError("a transfer either sends or receives")
        bound = await bind_endpoint(
            config=endpoint_config,
            identity=identity,
            access=(access,) if access is not None else (),
            replay_files={access.ak.public: replay} if access and replay else None,
            local=local,
            preferred_port=preferred_port,
        )
        try:
            node = Node(
                bound.machine,
                offer=source.outgoing if source is not None else None,
                rules=target.rules if target is not None else None,
                config=node_config,
                now=asyncio.get_running_loop().time(),
            )
        except BaseException:
            bound.sockets.close()
            raise
        return cls(node, store, bound, replay=replay, access=access)

    @property
    def port(self) -> int:
        """The UDP port that it is bound to."""
        return self._port

    @property
    def connection(self) -> Connection | None:
        """For figures of the connection in use."""
        return self.node.connection

    def code(self, addresses: Sequence[Address], *, maker_receives: bool = False) -> str:
        """The code that leads here. It is a secret: whoever holds it may take part."""
        if self._access is None:
            raise LocalProtocolError("only who listens has a code")
        record = self.node.endpoint.node_record(addresses, key=self._access)
        return encode_code(code_of(record, maker_receives=maker_receives))

    # --- running --------------------------------------------------------------------------------

    def start(self, record: NodeRecord | None = None) -> None:
        """Begins to listen, or to dial ``record``."""
        driver = self._driver
        self._worker = StoreWorker(
            self.node, self._store, now=lambda: driver.now(), on_answered=driver.wake
        )
        driver.start()
        if record is not None:
            self.node.dial(record, self._driver.now())
            self._driver.wake()

    async def events(self) -> AsyncIterator[NodeEvent]:
        """Everything that happens; ends after ``Finished``.

        Raises:
            InternalError: a defect of ours ended it.
        """
        while True:
            event = await self._events.get()
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
        self.node.accept(offer_id, self._driver.now())
        self._driver.wake()

    def decline(self, reason: Reason = Reason.DECLINED) -> None:
        """Refuses the offer; does nothing when it has gone meanwhile."""
        with contextlib.suppress(LocalProtocolError):
            self.node.decline(self._driver.now(), reason=reason)
        self._driver.wake()

    def stop(self, error: WraithError | None = None) -> None:
        """Ends everything; the peer is told and what is verified stays. ``Finished`` follows."""
        if not self._driver.closed:
            self.node.stop(self._driver.now(), error)
            self._driver.wake()

    async def close(self) -> None:
        """Lets last packets leave, then closes sockets and the disk thread. Idempotent."""
        await self._driver.flushed()
        await settled(self._driver, self.node.endpoint, LINGER_S)
        self._driver.close()
        if self._worker is not None:
            await self._worker.closed(_STORE_END_S)

    def abandon(self) -> None:
        """Closes the sockets at once, without a word to anyone."""
        self._driver.close()

    def poison(self) -> None:
        """In a forked child: nothing of this may be used there."""
        self.node.endpoint.poison()
        self._driver.poison()
        self._rng.forget()

    def _on_event(self, event: NodeEvent) -> None:
        # The kind alone: what an event holds may be private.
        self._tracer.record("transfer.event", kind=type(event).__name__)
        self._events.put_nowait(event)

    def _hand_on_wishes(self) -> None:
        if self._worker is not None:
            self._worker.pump()

    def _store_records(self) -> None:
        for public, records in self.node.records_to_store():
            if self._replay is None:
                continue
            try:
                self._replay.append(records)
            except OSError as exc:
                self.node.records_lost(public)
                # Nobody may be answered any more under this code, so waiting on is useless: the
                # person is told, and so is a peer who is here. Not now: this is inside a drain.
                error = disk_error(exc, where="the record of who called", hint=_NO_RECORDS)
                asyncio.get_running_loop().call_soon(self.stop, error)
                raise StoreFailureTold(exc.errno, exc.strerror) from None
