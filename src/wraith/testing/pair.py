"""Two (or more) machines on seeded links, driven to a standstill without a socket or a sleep.

``Simulation`` owns virtual time. After each thing that happens to a host it drains that host as the
driver of real sockets does (``wraith.driving``), with the host's ``service``, where a test answers
events with commands, in the place of event handlers. It advances to the next timer or arrival only
when all hosts are still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wraith.driving import Drainable, drain
from wraith.testing.clock import VirtualClock
from wraith.testing.netem import Link, LinkConfig
from wraith.testing.pipes import Pipes
from wraith.types import Address, NetworkPath, Transmit

BURST_DATAGRAMS = 64


SENDS_MAX = 1_000_000

Service = Callable[[float], bool]
"""Handles a host's events at ``now``; true when it issued a command (the host is drained again)."""


class SimulatedHost:
    """One machine at one address."""

    def __init__(self, machine: Drainable, address: Address, service: Service | None) -> None:
        self.machine = machine
        self.address = address
        self.service = service
        self.n_datagrams_sent = 0
        self.bytes_sent = 0


class Simulation:
    """Hosts and the directed links between their addresses."""

    def __init__(self, clock: VirtualClock | None = None, *, seed: int = 1) -> None:
        self.clock = clock if clock is not None else VirtualClock()
        self.seed = seed
        self.hosts: dict[Address, SimulatedHost] = {}
        self.links: dict[tuple[Address, Address], Link] = {}
        self.default_link = LinkConfig()
        #: Stream connections; machines that know none have none.
        self.pipes = Pipes()
        #: Told of every datagram that a host sends, before the link decides its fate.
        self.on_sent: Callable[[Address, Address, bytes], None] | None = None

    @property
    def now(self) -> float:
        return self.clock.now

    def add_host(
        self, machine: Drainable, address: Address, service: Service | None = None
    ) -> SimulatedHost:
        """Puts ``machine`` at ``address``; an address that is taken is handed over."""
        host = SimulatedHost(machine, address, service)
        self.hosts[address] = host
        return host

    def remove_host(self, address: Address) -> None:
        """The host vanishes as after ``kill -9``: what is under way to it goes nowhere."""
        del self.hosts[address]

    def link(self, source: Address, target: Address) -> Link:
        """The link from ``source`` to ``target``, made with ``default_link`` when first used."""
        key = (source, target)
        if key not in self.links:
            self.links[key] = Link(self.default_link, self.seed * 1_000_003 + len(self.links))
        return self.links[key]

    def set_links(self, config: LinkConfig) -> None:
        """Gives all links, present and future, this configuration."""
        self.default_link = config
        for link in self.links.values():
            link.config = config

    def inject(self, datagram: bytes, source: Address, target: Address) -> None:
        """Hands ``datagram`` to the host at ``target`` now, as if it came from ``source``."""
        host = self.hosts[target]
        host.machine.receive_datagrams(
            datagram, len(datagram), NetworkPath(target, source), self.now
        )
        self.settle()

    def settle(self) -> None:
        """Drains every host until nothing more can happen at this instant."""
        for host in list(self.hosts.values()):
            self._drain(host)

    def step(self, limit: float) -> bool:
        """Advances to the next arrival or timer, not beyond ``limit``. False if there is none."""
        times = [t for link in self.links.values() if (t := link.next_time()) is not None]
        if (due := self.pipes.next_time()) is not None:
            times.append(due)
        times += [t for h in self.hosts.values() if (t := h.machine.next_timer()) is not None]
        if not times or min(times) > limit:
            return False
        self.clock.advance(max(self.now, min(times)))
        if self.pipes.run_due(self.now):
            self.settle()
        for (source, target), link in list(self.links.items()):
            arrived = link.due(self.now)
            if arrived and target in self.hosts:
                self._deliver(self.hosts[target], source, arrived)
        for host in list(self.hosts.values()):
            timer = host.machine.next_timer()
            if timer is not None and timer <= self.now:
                self._drain(host, timer)
        return True

    def run(
        self, *, seconds: float = 60.0, until: Callable[[], bool] | None = None, steps: int = 10**7
    ) -> bool:
        """Drives for ``seconds`` of virtual time or until ``until()``.

        Returns:
            Whether ``until`` came true (without one: whether everything came to a standstill).
        Raises:
            RuntimeError: more than ``steps`` steps, a machine that never rests.
        """
        limit = self.now + seconds
        self.settle()
        for _ in range(steps):
            if until is not None and until():
                return True
            if not self.step(limit):
                if self.now < limit:
                    self.clock.advance(limit)
                return until() if until is not None else True
        raise RuntimeError(f"no standstill after {steps} steps (seed {self.seed})")

    def _deliver(self, host: SimulatedHost, source: Address, arrived: list[bytes]) -> None:
        """Equal datagrams that arrive together come as one burst, as a kernel with GRO does it."""
        path = NetworkPath(host.address, source)
        start = 0
        for i in range(1, len(arrived) + 1):
            segment = len(arrived[start])
            if (
                i < len(arrived)
                and i - start < BURST_DATAGRAMS
                and len(arrived[i - 1]) == segment
                and len(arrived[i]) <= segment
            ):
                continue
            host.machine.receive_datagrams(b"".join(arrived[start:i]), segment, path, self.now)
            start = i
        self._drain(host)

    def _drain(self, host: SimulatedHost, deadline: float | None = None) -> None:
        drain(host.machine, _Network(self, host), deadline=deadline)
        pipes, machine = self.pipes, self.pipes.machines.get(host.address)
        if machine is not None and pipes.take_wishes(machine, host.address, self.now):
            self._drain(host)

    def send(self, host: SimulatedHost, transmit: Transmit) -> None:
        """Puts what ``host`` sends on the link to where it goes."""
        target = transmit.path.remote
        if transmit.path.link:
            machine = self.pipes.machines.get(host.address)
            if machine is not None:  # else it goes nowhere
                self.pipes.send(machine, transmit, self.now)
            return
        link = self.link(host.address, target)
        data = bytes(transmit.data)
        for at in range(0, len(data), transmit.segment_bytes):
            host.n_datagrams_sent += 1
            datagram = data[at : at + transmit.segment_bytes]
            host.bytes_sent += len(datagram)
            if self.on_sent is not None:
                self.on_sent(host.address, target, datagram)
            link.send(datagram, self.now)


class _Network:
    """What a host is connected to during one drain."""

    is_open = True

    def __init__(self, simulation: Simulation, host: SimulatedHost) -> None:
        self._simulation = simulation
        self._host = host
        self._n_sends = 0

    def now(self) -> float:
        return self._simulation.now

    def deliver(self, now: float) -> bool:
        return self._host.service is not None and self._host.service(now)

    def can_send(self) -> bool:
        return True

    def send(self, transmits: Sequence[Transmit]) -> bool:
        self._n_sends += 1
        if self._n_sends > SENDS_MAX:
            raise RuntimeError("a machine that never stops sending")
        for transmit in transmits:
            self._simulation.send(self._host, transmit)
        return bool(transmits)


ADDRESS_A = Address(bytes([192, 0, 2, 1]), 4001)
ADDRESS_B = Address(bytes([192, 0, 2, 2]), 4002)


class Pair(Simulation):
    """Two machines, A (usually the initiator) and B, with one link each way."""

    def __init__(
        self,
        a: Drainable,
        b: Drainable,
        *,
        clock: VirtualClock,
        link: LinkConfig | None = None,
        back: LinkConfig | None = None,
        seed: int = 1,
        service_a: Service | None = None,
        service_b: Service | None = None,
    ) -> None:
        super().__init__(clock, seed=seed)
        self.default_link = link if link is not None else LinkConfig()
        self.a = self.add_host(a, ADDRESS_A, service_a)
        self.b = self.add_host(b, ADDRESS_B, service_b)
        self.a_to_b = self.link(ADDRESS_A, ADDRESS_B)
        self.b_to_a = self.link(ADDRESS_B, ADDRESS_A)
        if back is not None:
            self.b_to_a.config = back
