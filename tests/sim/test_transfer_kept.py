"""Partial data that went bad between two runs, over a network."""

from __future__ import annotations

import pytest

from wraith.content.chunking import CHUNK_BYTES
from wraith.node.events import LinkLost
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import ADDRESS_B, NodeSimulation
from wraith.testing.rng import SeededRng
from wraith.transfer.events import Done, Progress
from wraith.transfer.memory_store import MemorySource, MemoryTarget

DATA = SeededRng("sim kept").public_bytes(70 * CHUNK_BYTES)
LINK = LinkConfig(latency_s=0.01, rate_bps=80_000_000, queue_bytes=400_000)


@pytest.mark.spec("TR-137")
@pytest.mark.parametrize("seed", range(3))
def test_a_receiver_dials_anew_for_what_was_damaged(seed: int) -> None:
    target = MemoryTarget()
    sim = NodeSimulation(MemorySource({b"f": DATA}), seed=seed, link=LINK)
    first = sim.start_receiver(target)
    enough = 20 * CHUNK_BYTES
    assert sim.run(
        seconds=30,
        until=lambda: any(e.bytes_done >= enough for e in first.of(Progress)),  # type: ignore[union-attr]
    )
    sim.kill(ADDRESS_B)
    again = MemoryTarget(journal=bytes(target.journal), data=target.data)
    held = again.data[0][5]
    again.data[0][5] = bytes([held[0] ^ 1]) + held[1:]
    second = sim.start_receiver(again)
    assert sim.run_until_finished(second, sim.sender, seconds=60)
    assert again.placed == {b"f": DATA}
    assert second.finished is not None and second.finished.error is None
    done = second.finished.done
    assert isinstance(done, Done)
    assert done.bytes_transferred + done.bytes_reused == len(DATA)
    assert second.of(LinkLost) == [], "it went away by itself"
