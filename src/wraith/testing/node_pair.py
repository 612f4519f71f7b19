"""Whole nodes on seeded links: a sender and a receiver with stores in memory, killed and restarted
at will. Nothing here is secure, on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wraith.abc import NullTracer
from wraith.config import EndpointConfig
from wraith.connection.endpoint import Endpoint
from wraith.connection.handshake.endpoint_keys import AccessKey, EndpointKeys
from wraith.crypto.ed25519 import Identity
from wraith.crypto.x25519 import X25519Key
from wraith.node.config import NodeConfig
from wraith.node.events import Finished, NodeEvent
from wraith.node.node import Node
from wraith.testing.clock import VirtualCalendar, VirtualClock
from wraith.testing.netem import LinkConfig
from wraith.testing.pair import ADDRESS_A, ADDRESS_B, Simulation
from wraith.testing.rng import HashKem, SeededRng
from wraith.testing.transfer_pipe import Source
from wraith.transfer.events import OfferReceived
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import PathRules
from wraith.transfer.wishes import Fulfils, Wish
from wraith.types import Address, PeerKey

ADDRESS_C = Address(bytes([192, 0, 2, 3]), 4003)


class Party(Protocol):
    """What a host of this simulation shows."""

    @property
    def events(self) -> list[NodeEvent]: ...


class NodeHost:
    """One node with its store. ``answer`` decides about offers; ``None`` leaves them open."""

    def __init__(self, node: Node, store: Fulfils, endpoint: Endpoint) -> None:
        self.node = node
        self.store = store
        self.endpoint = endpoint
        self.events: list[NodeEvent] = []
        self.answer: Reason | bool | None = True
        self.on_event: Callable[[NodeEvent], None] | None = None
        self.holds_wishes = False
        self.held: list[Wish[object]] = []

    def service(self, now: float) -> bool:
        busy = bool(self.node.records_to_store())
        while (event := self.node.next_event()) is not None:
            busy = True
            self.events.append(event)
            if self.on_event is not None:
                self.on_event(event)
            if isinstance(event, OfferReceived) and self.answer is not None:
                if self.answer is True:
                    self.node.accept(event.offer_id, now)
                else:
                    self.node.decline(now, reason=Reason(self.answer))
        while (wish := self.node.next_wish()) is not None:
            busy = True
            if self.holds_wishes:
                self.held.append(wish)
            else:
                self.node.io_done(wish.id, self.store.fulfil(wish), now)
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

    def _endpoint(
        self, identity: Identity, access: tuple[AccessKey, ...], skew_s: float = 0.0
    ) -> Endpoint:
        self.n_processes += 1
        rng = SeededRng(f"process {self.seed} {self.n_processes}")
        return Endpoint(
            config=self.config,
            keys=EndpointKeys(identity, X25519Key.generate(rng), access),
            rng=rng,
            clock=VirtualCalendar(self.clock, skew_s),
            kem=HashKem(),
            tracer=NullTracer(),
            listening=bool(access),
            now=self.now,
        )

    def start_sender(self, source: Source | None = None) -> NodeHost:
        """A sender process at A, as after a start or a restart with the same code."""
        if source is not None:
            self.source = source
        endpoint = self._endpoint(self.sender_identity, (self.access,))
        node = Node(endpoint, offer=self.source.outgoing, config=self.sender_config, now=self.now)
        self.sender = NodeHost(node, self.source, endpoint)
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
    ) -> NodeHost:
        """A receiver process that dials A; ``name`` decides its identity."""
        identity = Identity.generate(SeededRng(f"identity {self.seed} {name}"))
        endpoint = self._endpoint(identity, (), skew_s)
        node = Node(
            endpoint,
            rules=rules if rules is not None else PathRules(),
            config=config if config is not None else NodeConfig(),
            now=self.now,
        )
        host = NodeHost(node, target, endpoint)
        host.answer = answer
        self.add_host(node, address, host.service)
        record = self.sender.endpoint.node_record((ADDRESS_A,), key=self.access)
        node.dial(record, self.now)
        return host

    def kill(self, address: Address) -> None:
        """``kill -9``: the process is gone, datagrams to it vanish."""
        self.remove_host(address)

    def run_until_finished(self, *hosts: NodeHost, seconds: float = 120.0) -> bool:
        """Whether all ``hosts`` finished in time."""
        return self.run(
            seconds=seconds, until=lambda: all(host.finished is not None for host in hosts)
        )


__all__ = ["ADDRESS_A", "ADDRESS_B", "ADDRESS_C", "NodeHost", "NodeSimulation", "PeerKey"]
