"""Searches for a session or a transfer that stands still and that nobody ends.

The invariant: **bytes move or somebody times out.** While a transfer is unfinished and both ends
hold a connection for open, ``PATIENCE_S`` never pass without a new byte delivered. A *scenario* is
drawn from a seed: one end's address changes while keys are renewed every second and the path MTU
shrinks, with both directions or one of them dead for a while, with and without loss, between two
connections or two whole nodes.

    python -m wraith.testing.stalls --seeds 20000 --jobs 2

prints what was found, with the seed, and how many minutes it took; exit 1 if anything was.
Nothing here is secure, on purpose. Spec: docs/spec/connection.md [CN-81].
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from wraith.config import EndpointConfig
from wraith.connection.state import OPEN_STATES
from wraith.node.events import Connected, Finished, LinkLost
from wraith.testing.established import EstablishedPair
from wraith.testing.nat import rebind
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import NodeHost, NodeSimulation
from wraith.testing.pair import ADDRESS_A, ADDRESS_B, Simulation
from wraith.testing.rng import SeededRng
from wraith.transfer.events import Progress
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.types import Address

#: The idle timeout (30 s) and what a probe before it may take.
PATIENCE_S = 45.0
LIMIT_S = 240.0
LOOK_S = 1.0
DATA_BYTES = 400_000
#: Seeds below are drawn as they were when some of them stood still.
N_OLD_SEEDS = 64
MTU_OFFSETS = tuple(step * 0.01 for step in range(-20, 21))

Action = tuple[float, Callable[[], None]]


class Stalled(AssertionError):
    """Nothing moved for ``PATIENCE_S`` and nobody noticed."""


@dataclass(frozen=True)
class Scenario:
    """What happens in one run. ``sender_moves`` names the end that sends the bulk of the data."""

    seed: int
    is_node: bool
    sender_moves: bool
    initiator_sends: bool
    new_host: bool
    moves_at: tuple[float, ...]
    mtu_bytes: int | None
    mtu_at: float
    dead_way: str
    dead_s: float
    loss: float
    rekey_s: float = 1.0

    @classmethod
    def drawn(cls, seed: int) -> Scenario:
        """The moves lie on a grid of 10 ms over two rekeys, and the step of the MTU on one of 10 ms
        around the first move; the seed walks both, and meets each pair of 200 and 41 in time."""
        draw = random.Random(seed)
        first = 0.5 + (seed // 8 % 200) * 0.01
        again = tuple(first + draw.choice((0.05, 0.3, 1.0)) for _ in range(draw.choice((0, 0, 1))))
        drawn = cls(
            seed=seed,
            is_node=bool(seed & 1),
            sender_moves=bool(seed & 2),
            initiator_sends=bool(seed & 4),
            new_host=draw.random() < 0.7,
            moves_at=(first, *again),
            mtu_bytes=draw.choice((None, 1_300, 1_240)),
            mtu_at=first + draw.choice((-0.2, -0.01, 0.0, 0.01, 0.2)),
            dead_way=draw.choice(("", "", "out", "back", "both")),
            dead_s=draw.choice((0.2, 2.0, 12.0)),
            loss=draw.choice((0.0, 0.0, 0.02, 0.1)),
        )
        if seed < N_OLD_SEEDS:
            return drawn
        return replace(drawn, mtu_at=first + MTU_OFFSETS[seed // 8 % len(MTU_OFFSETS)])


class Watch:
    """Looks once a second. ``moved`` is anything that changes when bytes move or an end gives up;
    ``is_waiting`` says that both ends hold the transfer for alive and unfinished."""

    def __init__(
        self, simulation: Simulation, moved: Callable[[], object], is_waiting: Callable[[], bool]
    ) -> None:
        self._simulation = simulation
        self._moved = moved
        self._is_waiting = is_waiting
        self._last = moved()
        self._since = simulation.now

    def look(self) -> None:
        """Raises ``Stalled`` when the invariant is broken."""
        now, state = self._simulation.now, self._moved()
        if state != self._last or not self._is_waiting():
            self._last, self._since = state, now
        elif now - self._since > PATIENCE_S:
            raise Stalled(f"nothing moved from {self._since:.1f} s to {now:.1f} s: {state}")


def play(
    simulation: Simulation, actions: list[Action], watch: Watch, is_over: Callable[[], bool]
) -> None:
    """Runs until ``is_over`` or ``LIMIT_S``, does each action at its time, looks every second."""
    pending = sorted(actions, key=lambda action: action[0])
    while not is_over() and simulation.now < LIMIT_S:
        at = min(simulation.now + LOOK_S, pending[0][0] if pending else LIMIT_S)
        simulation.run(seconds=max(at - simulation.now, 0.0), until=is_over)
        while pending and pending[0][0] <= simulation.now:
            pending.pop(0)[1]()
        watch.look()


class _Mover:
    """Moves one end of a simulation and spoils the new path for a while."""

    def __init__(self, simulation: Simulation, scenario: Scenario, moving: Address) -> None:
        self._simulation = simulation
        self._scenario = scenario
        self._at = moving
        self._other = ADDRESS_B if moving == ADDRESS_A else ADDRESS_A
        self._n = 0

    def actions(self) -> list[Action]:
        s = self._scenario
        found: list[Action] = [(at, self._move) for at in s.moves_at]
        if s.mtu_bytes is not None:
            found.append((s.mtu_at, partial(self._shrink, s.mtu_bytes)))
        if s.dead_way:
            found.append((s.moves_at[-1] + s.dead_s, self._heal))
        return found

    def _move(self) -> None:
        self._n += 1
        ip = bytes((198, 51, 100, self._n)) if self._scenario.new_host else self._at.ip
        new = Address(ip, 5_000 + self._n)
        rebind(self._simulation, self._at, new)
        self._at = new
        self._spoil()

    def _spoil(self) -> None:
        way = self._scenario.dead_way
        for is_spoiled, source, target in (
            (way in ("out", "both"), self._at, self._other),
            (way in ("back", "both"), self._other, self._at),
        ):
            if is_spoiled:
                link = self._simulation.link(source, target)
                link.config = replace(link.config, loss=1.0)

    def _heal(self) -> None:
        for link in self._simulation.links.values():
            link.config = replace(link.config, loss=self._scenario.loss)

    def _shrink(self, mtu_bytes: int) -> None:
        self._simulation.default_link = replace(self._simulation.default_link, mtu_bytes=mtu_bytes)
        for link in self._simulation.links.values():
            link.config = replace(link.config, mtu_bytes=mtu_bytes)


def _link_of(scenario: Scenario) -> LinkConfig:
    return LinkConfig(
        latency_s=0.015, rate_bps=1.5e6, queue_bytes=30_000, mtu_bytes=1_500, loss=scenario.loss
    )


def run_session(
    scenario: Scenario, *, spoil: Callable[[EstablishedPair, Simulation], None] | None = None
) -> str:
    """Two connections; returns how it ended. Raises ``Stalled``. ``spoil`` plants a defect at
    ``scenario.mtu_at``."""
    pair = EstablishedPair(
        config=EndpointConfig(rekey_interval_s=scenario.rekey_s),
        link=_link_of(scenario),
        seed=scenario.seed,
    )
    pair.run(seconds=0.2)  # the responder knows by then that the initiator is there
    source = pair.i if scenario.initiator_sends else pair.r
    data = SeededRng("stalls").public_bytes(DATA_BYTES)
    transfer = pair.send(data, source=source)
    moving = ADDRESS_A if scenario.initiator_sends == scenario.sender_moves else ADDRESS_B

    def is_open() -> bool:
        return all(side.connection.state in OPEN_STATES for side in (pair.i, pair.r))

    def is_over() -> bool:
        return transfer.is_equal or not is_open()

    watch = Watch(pair.net, lambda: len(transfer.received), is_open)
    mover = _Mover(pair.net, scenario, moving)
    actions = mover.actions()
    if spoil is not None:
        actions.append((scenario.mtu_at, partial(spoil, pair, pair.net)))
    play(pair.net, actions, watch, is_over)
    return "arrived" if transfer.is_equal else "timed out" if not is_open() else "still moving"


def run_node(
    scenario: Scenario, *, spoil: Callable[[NodeSimulation, NodeHost], None] | None = None
) -> str:
    """Two nodes and a file; the sender listens at A, the receiver dials from B."""
    data = SeededRng("stalls").public_bytes(DATA_BYTES)
    simulation = NodeSimulation(
        MemorySource({b"file": data}),
        seed=scenario.seed,
        link=_link_of(scenario),
        config=EndpointConfig(rekey_interval_s=scenario.rekey_s),
    )
    target = MemoryTarget()
    receiver = simulation.start_receiver(target)
    hosts = (simulation.sender, receiver)

    def is_connected(host: NodeHost) -> bool:
        kinds = (Connected, LinkLost, Finished)
        last = next((e for e in reversed(host.events) if isinstance(e, kinds)), None)
        return isinstance(last, Connected)

    def moved() -> object:
        n_told = sum(
            isinstance(event, Connected | LinkLost | Finished)
            for host in hosts
            for event in host.events
        )
        progress = receiver.of(Progress)
        return n_told, progress[-1] if progress else None

    def is_over() -> bool:
        return all(host.finished is not None for host in hosts)

    watch = Watch(simulation, moved, lambda: all(is_connected(host) for host in hosts))
    mover = _Mover(simulation, scenario, ADDRESS_A if scenario.sender_moves else ADDRESS_B)
    actions = mover.actions()
    if spoil is not None:
        actions.append((scenario.mtu_at, partial(spoil, simulation, receiver)))
    play(simulation, actions, watch, is_over)
    done = receiver.finished
    if done is not None and done.error is None:
        return "arrived"
    return "gave up" if done is not None else "waiting"


def run_seed(seed: int) -> tuple[int, str]:
    """Runs the scenario of ``seed``; what is not an outcome begins with ``STALL`` or ``ERROR``."""
    scenario = Scenario.drawn(seed)
    try:
        return seed, (run_node if scenario.is_node else run_session)(scenario)
    except Stalled as stall:
        return seed, f"STALL {stall} in {scenario}"
    except Exception as error:
        return seed, f"ERROR {error!r} in {scenario}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Searches for transfers that stand still for ever")
    parser.add_argument("--seeds", type=int, default=300, help="how many scenarios")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    n_bad = 0
    seeds = range(options.first, options.first + options.seeds)
    with ProcessPoolExecutor(options.jobs) as pool:
        for seed, outcome in pool.map(run_seed, seeds, chunksize=20):
            if outcome.startswith(("STALL", "ERROR")):
                n_bad += 1
                print(f"seed {seed}: {outcome}", flush=True)
            else:
                outcomes[outcome] += 1
    minutes = (time.monotonic() - began) / 60
    ends = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    print(f"{len(seeds)} scenarios in {minutes:.1f} minutes: {ends}; {n_bad} stalls or errors")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
