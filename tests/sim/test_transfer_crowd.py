"""Several receivers of one code at the same moment: one is served, the others are told."""

from __future__ import annotations

import pytest

from wraith.errors import Busy
from wraith.node.config import NodeConfig
from wraith.node.events import Bound
from wraith.node.node import Node
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import ADDRESS_A, NodeHost, NodeSimulation
from wraith.testing.rng import SeededRng
from wraith.transfer.events import Accepted
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.types import Address, Buffer, NetworkPath, Transmit

DATA = SeededRng("sim crowd").public_bytes(3_000)
CROWD = 6


class BusyMachine:
    """A node on a machine with much to do: it looks at its socket once in ``turn_s``, and finds
    what has come from everybody meanwhile."""

    def __init__(self, node: Node, turn_s: float) -> None:
        self.node = node
        self.turn_s = turn_s
        self.waiting: list[tuple[bytes, int, NetworkPath]] = []
        self.turn_at = 0.0

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> None:
        if not self.waiting:
            self.turn_at = now + self.turn_s
        self.waiting.append((bytes(data), segment_bytes, path))

    def handle_timer(self, now: float) -> None:
        if self.waiting and now >= self.turn_at:
            for data, segment_bytes, path in self.waiting:
                self.node.receive_datagrams(data, segment_bytes, path, now)
            self.waiting.clear()
        self.node.handle_timer(now)

    def datagrams_to_send(self, now: float) -> list[Transmit]:
        return self.node.datagrams_to_send(now)

    def next_timer(self) -> float | None:
        own = self.node.next_timer()
        if not self.waiting:
            return own
        return self.turn_at if own is None else min(own, self.turn_at)


def _crowd(seed: int) -> tuple[NodeSimulation, list[NodeHost], list[MemoryTarget]]:
    """Six receivers that dial a busy sender at once, on links of seeded jitter."""
    link = LinkConfig(latency_s=0.005, jitter_s=0.001 * (seed % 5))
    sim = NodeSimulation(
        MemorySource({b"f": DATA}), seed=seed, link=link, sender_config=NodeConfig()
    )
    sim.add_host(BusyMachine(sim.sender.node, 0.002 * (seed % 4)), ADDRESS_A, sim.sender.service)
    targets = [MemoryTarget() for _ in range(CROWD)]
    hosts = [
        sim.start_receiver(
            target, name=f"one of {i}", address=Address(bytes([192, 0, 2, 10 + i]), 5000 + i)
        )
        for i, target in enumerate(targets)
    ]
    return sim, hosts, targets


def _check(seed: int) -> None:
    sim, hosts, targets = _crowd(seed)
    assert sim.run_until_finished(sim.sender, *hosts, seconds=60), f"seed {seed}: nobody ends"
    errors = [host.finished.error for host in hosts if host.finished is not None]
    served = [i for i, error in enumerate(errors) if error is None]
    assert len(served) == 1, f"seed {seed}: {errors}"
    told = [error for error in errors if error is not None]
    assert all(isinstance(error, Busy) and error.exit_code == 17 for error in told), seed
    assert targets[served[0]].placed == {b"f": DATA}, seed
    assert sim.sender.finished is not None and sim.sender.finished.error is None, seed
    assert len(sim.sender.of(Accepted)) == len(sim.sender.of(Bound)) == 1, seed


@pytest.mark.spec("TR-108")
def test_of_six_receivers_at_once_one_is_served_and_five_are_told() -> None:
    for seed in range(60):
        _check(seed)


@pytest.mark.spec("TR-108")
def test_an_acceptance_that_was_read_after_another_one_binds_nobody() -> None:
    sim, hosts, _ = _crowd(0)
    for host in hosts:
        host.answer = None
    peers = sim.sender.transfer._peers
    assert sim.run(seconds=10, until=lambda: len(peers.links) >= 2)
    first, second = list(peers.links.values())[:2]
    assert peers.bind(first, sim.now)
    assert not peers.bind(second, sim.now)
    assert peers.current is first and list(peers.links.values()) == [first]
    assert peers.door.bound == first.peer


@pytest.mark.slow
@pytest.mark.parametrize("first", range(60, 1_060, 100))
def test_of_six_receivers_at_once_one_is_served_a_thousand_times(first: int) -> None:
    for seed in range(first, first + 100):
        _check(seed)
