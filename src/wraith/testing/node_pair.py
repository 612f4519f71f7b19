"""Nodes with one transfer each on seeded links: a sender and a receiver with stores in memory,
killed and restarted at will. Nothing here is secure, on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wraith.abc import NullTracer
from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.endpoint import Endpoint
from wraith.connection.events import DatagramReceived, Event, PeerAuthenticated
from wraith.connection.handshake.endpoint_keys import AccessKey, EndpointKeys
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.ed25519 import Identity
from wraith.crypto.x25519 import X25519Key
from wraith.node.config import NodeConfig
from wraith.node.events import Finished, NodeEvent
from wraith.node.node import AnyService, Node
from wraith.node.session_service import SessionService
from wraith.node.transfer_service import TransferService
from wraith.testing.clock import VirtualCalendar, VirtualClock
from wraith.testing.netem import LinkConfig
from wraith.testing.pair import ADDRESS_A, ADDRESS_B, Simulation
from wraith.testing.rng import HashKem, SeededRng
from wraith.testing.transfer_pipe import Source
from wraith.transfer.events import OfferReceived
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import PathRules
from wraith.transfer.wishes import Fulfils, Wish
from wraith.types import Address, PeerKey, Role

ADDRESS_C = Address(bytes([192, 0, 2, 3]), 4003)


class Party(Protocol):
    """What a host of this simulation shows."""

    @property
    def events(self) -> list[NodeEvent]: ...


class Taker(Protocol):
    """Who runs one service of a node in a simulation."""

    def take(self, event: Any, now: float, /) -> None:
        """One event of the service."""
        ...

    def fulfil(self, now: float, /) -> bool:
        """Serves what the service wants of a disk; true when there was something."""
        ...


class ProgramHost:
    """Sessions at a node: lets everybody in and sends every datagram back."""

    def __init__(self, node: Node, *, key: AccessKey | None = None, now: float) -> None:
        self.node = node
        self.sessions = SessionService()
        self.answers = True
        self.events: list[tuple[Connection, Event]] = []
        node.add(self.sessions, now, key=key)

    def dial(self, record: NodeRecord, now: float) -> Connection:
        """Begins a session."""
        return self.node.connect(self.sessions, record, now)

    def service(self, now: float) -> bool:
        """For ``Simulation``, where this is the only service of its node."""
        busy = False
        while (told := self.node.next_event()) is not None:
            busy = True
            self.take(told[1], now)
        return busy

    def take(self, event: tuple[Connection, Event], now: float) -> None:
        """As ``Taker.take``."""
        self.events.append(event)
        connection, fact = event
        if connection.role is Role.RESPONDER and self.answers:
            if isinstance(fact, PeerAuthenticated):
                connection.accept(now)
            elif isinstance(fact, DatagramReceived):
                connection.send_datagram(fact.data, now)

    def fulfil(self, now: float) -> bool:
        """As ``Taker.fulfil``: sessions have no disk."""
        return False

    def of(self, kind: type[Event], connection: Connection | None = None) -> list[Any]:
        """All events of one kind so far, of one connection or of all."""
        return [
            fact
            for about, fact in self.events
            if isinstance(fact, kind) and (connection is None or about is connection)
        ]


class NodeHost:
    """One node with a transfer and its store, and whoever runs its other services. ``answer``
    decides about offers; ``None`` leaves them open."""

    def __init__(self, transfer: TransferService, store: Fulfils) -> None:
        self.transfer = transfer
        self.node = transfer.node
        self.store = store
        self.endpoint = transfer.node.endpoint
        self.events: list[NodeEvent] = []
        self.answer: Reason | bool | None = True
        self.on_event: Callable[[NodeEvent], None] | None = None
        self.holds_wishes = False
        self.held: list[Wish[object]] = []
        self.others: dict[AnyService, Taker] = {}

    def service(self, now: float) -> bool:
        busy = bool(self.node.records_to_store())
        while (told := self.node.next_event()) is not None:
            busy = True
            service, event = told
            (self if service is self.transfer else self.others[service]).take(event, now)
        busy = self.fulfil(now) or busy
        for other in self.others.values():
            busy = other.fulfil(now) or busy
        return busy

    def take(self, event: NodeEvent, now: float) -> None:
        """As ``Taker.take``."""
        self.events.append(event)
        if self.on_event is not None:
            self.on_event(event)
        if isinstance(event, OfferReceived) and self.answer is not None:
            if self.answer is True:
                self.transfer.accept(event.offer_id, now)
            else:
                self.transfer.decline(now, reason=Reason(self.answer))

    def fulfil(self, now: float) -> bool:
        """As ``Taker.fulfil``."""
        busy = False
        while (wish := self.transfer.next_wish()) is not None:
            busy = True
            if self.holds_wishes:
                self.held.append(wish)
            else:
                self.transfer.io_done(wish.id, self.store.fulfil(wish), now)
        return busy

    def of(self, kind: type[NodeEvent]) -> list[NodeEvent]:
        """All events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def finished(self) -> Finished | None:
        found = self.of(Finished)
        return found[0] if found else None  # type: ignore[return-value]


class NodeSimulation(Simulation):
    """A sender at A (listening), receivers wherever the test puts them."""

    def __init__(
        self,
        source: Source,
        *,
        seed: int = 1,
        link: LinkConfig | None = None,
        config: EndpointConfig | None = None,
        sender_config: NodeConfig | None = None,
    ) -> None:
        super().__init__(VirtualClock(), seed=seed)
        self.default_link = link if link is not None else LinkConfig(latency_s=0.01)
        self.config = config if config is not None else EndpointConfig()
        self.source = source
        self.n_processes = 0
        rng = SeededRng(f"keys {seed}")
        self.sender_identity = Identity.generate(rng)
        self.access = AccessKey.generate(rng, with_psk=True)
        self.sender_config = sender_config if sender_config is not None else NodeConfig()
        self.sender = self.start_sender()

    def _node(self, identity: Identity, skew_s: float = 0.0) -> Node:
        self.n_processes += 1
        rng = SeededRng(f"process {self.seed} {self.n_processes}")
        endpoint = Endpoint(
            config=self.config,
            keys=EndpointKeys(identity, X25519Key.generate(rng)),
            rng=rng,
            clock=VirtualCalendar(self.clock, skew_s),
            kem=HashKem(),
            tracer=NullTracer(),
            listening=True,
            now=self.now,
        )
        return Node(endpoint, now=self.now)

    def start_sender(self, source: Source | None = None) -> NodeHost:
        """A sender process at A, as after a start or a restart with the same code."""
        if source is not None:
            self.source = source
        node = self._node(self.sender_identity)
        transfer = TransferService(
            node,
            key=self.access,
            offer=self.source.outgoing,
            config=self.sender_config,
            now=self.now,
        )
        self.sender = NodeHost(transfer, self.source)
        self.add_host(node, ADDRESS_A, self.sender.service)
        return self.sender

    def start_receiver(
        self,
        target: Fulfils,
        *,
        name: str = "receiver",
        address: Address = ADDRESS_B,
        rules: PathRules | None = None,
        config: NodeConfig | None = None,
        answer: Reason | bool | None = True,
        skew_s: float = 0.0,
        key: AccessKey | None = None,
    ) -> NodeHost:
        """A receiver process that dials A with ``key`` (the sender's first one when ``None``);
        ``name`` decides its identity."""
        identity = Identity.generate(SeededRng(f"identity {self.seed} {name}"))
        node = self._node(identity, skew_s)
        transfer = TransferService(
            node,
            rules=rules if rules is not None else PathRules(),
            config=config if config is not None else NodeConfig(),
            now=self.now,
        )
        host = NodeHost(transfer, target)
        host.answer = answer
        self.add_host(node, address, host.service)
        transfer.dial(self.record(key), self.now)
        return host

    def start_program(self, *, name: str, address: Address) -> ProgramHost:
        """A process at ``address`` that opens sessions; ``name`` decides its identity."""
        identity = Identity.generate(SeededRng(f"identity {self.seed} {name}"))
        program = ProgramHost(self._node(identity), now=self.now)
        self.add_host(program.node, address, program.service)
        return program

    def record(self, key: AccessKey | None = None) -> NodeRecord:
        """What leads to the service of A that listens with ``key``."""
        return self.sender.endpoint.node_record((ADDRESS_A,), key=key or self.access)

    def offer_too(self, source: Source, key: AccessKey) -> NodeHost:
        """One more transfer at the port of A."""
        node = self.sender.node
        transfer = TransferService(
            node, key=key, offer=source.outgoing, config=self.sender_config, now=self.now
        )
        host = NodeHost(transfer, source)
        self.sender.others[transfer] = host
        return host

    def listen_too(self, key: AccessKey) -> ProgramHost:
        """Sessions at the port of A."""
        program = ProgramHost(self.sender.node, key=key, now=self.now)
        self.sender.others[program.sessions] = program
        return program

    def kill(self, address: Address) -> None:
        """``kill -9``: the process is gone, datagrams to it vanish."""
        self.remove_host(address)

    def run_until_finished(self, *hosts: NodeHost, seconds: float = 120.0) -> bool:
        """Whether all ``hosts`` finished in time."""
        return self.run(
            seconds=seconds, until=lambda: all(host.finished is not None for host in hosts)
        )


__all__ = ["ADDRESS_A", "ADDRESS_B", "ADDRESS_C", "NodeHost", "NodeSimulation", "PeerKey"]
