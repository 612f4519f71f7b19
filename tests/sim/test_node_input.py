"""What comes in is processed when it comes in; asking for datagrams only sends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from wraith.node.events import Connected, Finished, NodeEvent
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import ADDRESS_B, NodeHost, NodeSimulation
from wraith.testing.rng import SeededRng
from wraith.transfer.events import Accepted, OfferReceived
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.wishes import StorePages, Survey, Wish, WritePieces
from wraith.types import Buffer, NetworkPath, Transmit

DATA = SeededRng("node input").public_bytes(3_000_000)


class Watched:
    """A node whose events and wishes are taken after each call, and counted by that call."""

    def __init__(self, host: NodeHost) -> None:
        self.node = host.node
        self.transfer = host.transfer
        self.events: list[NodeEvent] = []
        self.wishes: list[Wish[object]] = []
        self.found: dict[str, Counter[type]] = {
            "receive": Counter(),
            "timer": Counter(),
            "command": Counter(),
            "send": Counter(),
        }

    def look(self, call: str) -> None:
        while (told := self.node.next_event()) is not None:
            _, event = told
            self.events.append(event)
            self.found[call][type(event)] += 1
        while (wish := self.transfer.next_wish()) is not None:
            self.wishes.append(wish)
            self.found[call][type(wish)] += 1

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> None:
        self.node.receive_datagrams(data, segment_bytes, path, now)
        self.look("receive")

    def handle_timer(self, now: float) -> None:
        self.node.handle_timer(now)
        self.look("timer")

    def datagrams_to_send(self, now: float) -> Sequence[Transmit]:
        transmits = self.node.datagrams_to_send(now)
        self.look("send")
        return transmits

    def next_timer(self) -> float | None:
        return self.node.next_timer()


def service(watched: Watched, host: NodeHost, now: float) -> bool:
    """As ``NodeHost.service``, of what was found."""
    busy = bool(watched.events or watched.wishes)
    for event in watched.events:
        host.events.append(event)
        if isinstance(event, OfferReceived):
            watched.transfer.accept(event.offer_id, now)
    watched.events.clear()
    wishes, watched.wishes = watched.wishes, []
    for wish in wishes:
        watched.transfer.io_done(wish.id, host.store.fulfil(wish), now)
    watched.look("command")
    return busy


def test_events_and_wishes_are_there_when_the_input_has_been_taken() -> None:
    simulation = NodeSimulation(
        MemorySource({b"f": DATA}), link=LinkConfig(latency_s=0.01, rate_bps=50e6)
    )
    target = MemoryTarget()
    host = simulation.start_receiver(target)
    watched = Watched(host)
    simulation.add_host(watched, ADDRESS_B, lambda now: service(watched, host, now))
    assert simulation.run(seconds=30, until=lambda: host.finished is not None)
    received = watched.found["receive"]
    for kind in (Connected, StorePages, Survey, Accepted, WritePieces, Finished):
        assert received[kind], f"{kind.__name__} did not wait for anything else"
    assert not watched.found["send"], "sending makes no facts"
