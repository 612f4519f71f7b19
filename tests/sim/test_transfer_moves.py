"""How long a transfer stands still when the receiver's address changes, in virtual time.

A receiver has little to send, so the sender learns late where it is: with the probe for what the
receiver last said, or, if nothing of that was outstanding, with the question that a dialler asks
after a second of silence. From then on it is round trips.
"""

from __future__ import annotations

from statistics import median

import pytest

from wraith.node.peers import SILENCE_S
from wraith.testing.nat import rebind
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import ADDRESS_A, ADDRESS_B, NodeSimulation
from wraith.testing.rng import SeededRng
from wraith.transfer.memory import MemorySource, MemoryTarget
from wraith.types import Address

DATA = SeededRng("moves").public_bytes(4_000_000)
ELSEWHERE = Address(bytes((198, 51, 100, 1)), 5_001)
LATENCY_S = 0.025
#: The probe and what it is backed off by, the challenge, and the first data.
FOLLOWED_S = 0.8
#: At the last one nothing that the receiver had said was outstanding.
MOMENTS = (*(1.25 + step * 0.074 for step in range(9)), 1.879)


def standstill_s(at: float, new: Address) -> float:
    """Seconds from the change at ``at`` to the first full datagrams that arrive at ``new``."""
    link = LinkConfig(latency_s=LATENCY_S, rate_bps=8e6, queue_bytes=130_000, mtu_bytes=1_500)
    simulation = NodeSimulation(MemorySource({b"f": DATA}), seed=round(at * 1000), link=link)
    receiver = simulation.start_receiver(MemoryTarget())
    simulation.run(seconds=at)
    assert receiver.finished is None
    rebind(simulation, ADDRESS_B, new)
    sent: list[float] = []

    def tap(datagram: bytes) -> bytes:
        if len(datagram) >= 1_000:
            sent.append(simulation.now)
        return datagram

    simulation.link(ADDRESS_A, new).taps.append(tap)
    # A challenge is filled to that size too; three of them would have been given up.
    assert simulation.run(seconds=20, until=lambda: len(sent) > 3)
    return sent[3] + LATENCY_S - at


@pytest.mark.parametrize("new", [ELSEWHERE, Address(ADDRESS_B.ip, 5_001)], ids=["host", "port"])
def test_a_receiver_that_moved_is_sent_to_again_within_two_seconds(new: Address) -> None:
    gaps = [standstill_s(at, new) for at in MOMENTS]
    print(f"{min(gaps):.2f} to {max(gaps):.2f} s, median {median(gaps):.2f} s")
    assert max(gaps) <= SILENCE_S + FOLLOWED_S
    assert median(gaps) <= FOLLOWED_S
