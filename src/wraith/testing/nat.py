"""An address translator in front of one machine, for simulations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wraith.driving import Drainable
from wraith.testing.pair import Simulation
from wraith.types import Address, Buffer, NetworkPath, Transmit


class BehindNat:
    """``inner`` behind a mapping: whatever its outer address, inside nothing changes."""

    def __init__(self, inner: Drainable, local: Address) -> None:
        self.inner = inner
        self.local = local

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> object:
        path = NetworkPath(self.local, path.remote)
        return self.inner.receive_datagrams(data, segment_bytes, path, now)

    def handle_timer(self, now: float) -> None:
        self.inner.handle_timer(now)

    def datagrams_to_send(self, now: float) -> Sequence[Transmit]:
        return self.inner.datagrams_to_send(now)

    def next_timer(self) -> float | None:
        return self.inner.next_timer()


def rebind(simulation: Simulation, old: Address, new: Address) -> BehindNat:
    """The mapping of the host at ``old`` moves to ``new``; the old one leads nowhere."""
    host = simulation.hosts[old]
    simulation.remove_host(old)
    machine: Any = host.machine
    moved = machine if isinstance(machine, BehindNat) else BehindNat(machine, old)
    simulation.add_host(moved, new, host.service)
    return moved
