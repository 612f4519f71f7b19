"""Sessions whose roads fail, come back, hang and lie, in virtual time: 1,000 seeded histories.

The model of a road: up or down, a round-trip time, whether large packets get through, and what
becomes of its links when it goes down (they are reset, hang until it is back, or hang for ever).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest

from wraith.connection.roads.keeper import (
    LINKS_MAX,
    OPEN_MAX,
    SECOND_CHALLENGE_S,
    TRYING_MAX,
    TRYING_PER_CARRIER_MAX,
    RoadKeeper,
)
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.rows import DEFAULT_ORDER, row_of
from wraith.connection.roads.steps import Activate, CloseRoad, Probe, StandBy, StartRoad
from wraith.connection.roads.ways import WAIT_S_MAX
from wraith.types import Address, Carrier, Road

SUSPECT_S = 0.5
PAD_S = 0.2
"""How long 32 KiB of PAD take to be acknowledged, beyond the round trip."""
TROUBLE_S = 240.0
BACK_S = 35.0
BACK_AFTER_CHANGE_S = 2.0
TICK_S = 30.0


class ModelRoad:
    def __init__(self, road: Road, rng: random.Random) -> None:
        self.road = road
        self.rtt_s = rng.choice((0.005, 0.05, 0.2))
        self.is_up = True
        self.takes_large = True
        self.refuses = False  # while it is down: RST, not silence
        self.n_flushed = 0  # links from before hang for ever


class ModelWay:
    def __init__(self, road: ModelRoad) -> None:
        self.road = road
        self.n_flushed = road.n_flushed
        self.n_probes = 0
        self.is_trying = True

    @property
    def is_link(self) -> bool:
        return self.road.road.carrier is not Carrier.UDP

    @property
    def works(self) -> bool:
        return self.road.is_up and not (self.is_link and self.n_flushed != self.road.n_flushed)


class World:
    """Carries out what a keeper wants, and reports to it what the model says happens."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._n_events = 0
        addresses = [Address(bytes((192, 0, 2, i)), 4433) for i in range(rng.randint(1, 3))]
        roads = [Road(Carrier.UDP, address) for address in addresses]
        roads += [Road(Carrier.TCP, address) for address in addresses]
        if rng.random() < 0.5:
            roads.append(Road(Carrier.QUIC, addresses[0]))
        if rng.random() < 0.7:
            roads.append(Road(Carrier.WS, url="wss://example.com/x"))
        self.roads = {road: ModelRoad(road, rng) for road in roads}
        first = rng.choice(roads)
        self.keeper = RoadKeeper(roads, first, now=0.0)
        self.ways = {0: ModelWay(self.roads[first])}
        self.ways[0].is_trying = False
        self.active: int | None = 0
        self.switches: list[tuple[float, Road, Road | None]] = []
        self.n_moves = 0
        self.drain()

    # -- time ------------------------------------------------------------------------------------

    def at(self, time: float, what: Callable[[], None]) -> None:
        self._n_events += 1
        heapq.heappush(self._events, (time, self._n_events, what))

    def run(self, until: float) -> None:
        while True:
            timer = self.keeper.next_time()
            event = self._events[0][0] if self._events else None
            due = min((t for t in (timer, event) if t is not None), default=None)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            if event is not None and event <= due:
                heapq.heappop(self._events)[2]()
            else:
                self.keeper.on_timer(self.now)
            self.drain()
        self.now = until

    def drain(self) -> None:
        while (step := self.keeper.next_step()) is not None:
            match step:
                case StartRoad(id_, road):
                    assert id_ not in self.ways
                    self.ways[id_] = ModelWay(self.roads[road])
                    self._open(id_)
                case Probe(id_, is_loaded):
                    self._probe(id_, is_loaded)
                case Activate(id_):
                    assert id_ in self.ways
                    before = self.ways[self.active].road.road if self.active is not None else None
                    self.switches.append((self.now, self.ways[id_].road.road, before))
                    self.ways[id_].is_trying = False
                    self.active = id_
                    self._watch(id_)
                case StandBy(id_):
                    self.ways[id_].is_trying = False
                case CloseRoad(id_):
                    assert id_ != self.active
                    del self.ways[id_]
        self.check()

    # -- what the law is -------------------------------------------------------------------------

    def check(self) -> None:
        trying = [way.road.road.carrier for way in self.ways.values() if way.is_trying]
        assert len(trying) <= TRYING_MAX
        assert all(trying.count(carrier) <= TRYING_PER_CARRIER_MAX for carrier in trying)
        assert sum(way.is_link for way in self.ways.values()) <= LINKS_MAX
        assert len(self.ways) - len(trying) <= OPEN_MAX
        if self.active is None:
            due = self.keeper.next_time()
            assert due is not None and due <= self.now + TICK_S

    # -- what happens ----------------------------------------------------------------------------

    def _open(self, id_: int) -> None:
        way = self.ways[id_]
        rtt_s = way.road.rtt_s
        if not way.is_link:
            self._probe(id_, is_loaded=False)
        elif way.road.is_up:
            self.at(self.now + rtt_s, lambda: self._opened(id_))
        elif way.road.refuses:
            refused = RoadFailure(RoadReason.REFUSED)
            self.at(self.now + rtt_s, lambda: self._failed(id_, refused))
        # Silence: the kernel's SYN goes again and again, and gets through if the road is back.
        for delay_s in (1.0, 3.0, 7.0) if way.is_link else ():
            self.at(self.now + delay_s, lambda: self._opened(id_))

    def _opened(self, id_: int) -> None:
        way = self.ways.get(id_)
        if way is not None and way.is_trying and way.works and not way.n_probes:
            self.keeper.on_opened(id_)
            self._probe(id_, is_loaded=False)

    def _probe(self, id_: int, is_loaded: bool) -> None:
        way = self.ways[id_]
        way.n_probes += 1
        n = way.n_probes
        delay_s = way.road.rtt_s + (PAD_S if is_loaded and way.is_link else 0.0)
        if way.works:
            self.at(self.now + delay_s, lambda: self._answer(id_, n, is_loaded))

    def _answer(self, id_: int, n: int, is_loaded: bool) -> None:
        way = self.ways.get(id_)
        if way is None or way.n_probes != n or not way.works:
            return
        if is_loaded and not way.road.takes_large:
            return
        way.is_trying = False
        self.keeper.on_answer(id_, self.now)

    def _failed(self, id_: int, failure: RoadFailure) -> None:
        if self.ways.pop(id_, None) is not None:
            if id_ == self.active:
                self.active = None
            self.keeper.on_failed(id_, failure, self.now)

    def _watch(self, id_: int) -> None:
        """Data flow there: a path that is dead, or takes no large packets, is noticed."""
        way = self.ways.get(id_)
        if way is None or id_ != self.active:
            return
        if way.works and way.road.takes_large:
            return
        self.at(self.now + SUSPECT_S, lambda: self._suspect(id_))

    def _suspect(self, id_: int) -> None:
        way = self.ways.get(id_)
        if way is not None and id_ == self.active and not (way.works and way.road.takes_large):
            self.active = None
            self.keeper.on_suspect(id_, self.now)

    # -- trouble ---------------------------------------------------------------------------------

    def down(self, road: ModelRoad) -> None:
        road.is_up = False
        road.refuses = self.rng.random() < 0.4
        kind = self.rng.random()
        if kind < 0.4:
            road.n_flushed += 1
        for id_, way in list(self.ways.items()):
            if way.road is road and not way.is_trying:
                if way.is_link and kind > 0.7:
                    self._failed(id_, RoadFailure(RoadReason.RESET_LATER, 18_231))
                else:
                    self._watch(id_)

    def up(self, road: ModelRoad) -> None:
        road.is_up = road.takes_large = True

    def one_trouble(self, *, moves: bool) -> None:
        rng = self.rng
        road = rng.choice(list(self.roads.values()))
        kind = rng.random()
        if kind < 0.4:
            self.down(road)
        elif kind < 0.75:
            self.up(road)
        elif kind < 0.85:
            road.takes_large = False
            if self.active is not None:
                self._watch(self.active)
        elif kind < 0.9:
            for other in self.roads.values():
                self.down(other)
        elif kind < 0.95:
            self.keeper.network_changed(self.now)
        elif moves:
            self.n_moves += 1
            self.keeper.migrate(rng.choice((None, road.road)), self.now)

    def heal(self) -> None:
        for road in self.roads.values():
            self.up(road)

    @property
    def best_row(self) -> int:
        return min(row_of(road, DEFAULT_ORDER) for road in self.roads)

    @property
    def active_row(self) -> int | None:
        if self.active is None:
            return None
        return row_of(self.ways[self.active].road.road, DEFAULT_ORDER)

    def waits_long(self) -> bool:
        """Whether some road failed soon after each return, so that the next one waits."""
        times = [status.retry_at for status in self.keeper.statuses()]
        return any(at is not None and at > self.now + TICK_S for at in times)


def live(seed: int, *, moves: bool) -> World:
    """A session through four minutes of trouble; afterwards every road works."""
    world = World(seed)
    while world.now < TROUBLE_S:
        world.at(world.now, lambda: world.one_trouble(moves=moves))
        world.run(world.now + world.rng.expovariate(1 / 5.0))
    world.heal()
    return world


def check_history(seed: int) -> None:
    world = live(seed, moves=seed % 4 == 0)
    ended = world.now
    waits_long = world.waits_long()
    changes = seed % 2 == 0
    if changes:
        world.keeper.network_changed(world.now)
        world.drain()
        world.run(ended + BACK_AFTER_CHANGE_S)
        if not world.n_moves:  # a road that a program chose is kept
            assert world.active_row == world.best_row
    world.run(ended + BACK_S)
    assert world.active is not None
    if not world.n_moves and not waits_long:
        assert world.active_row == world.best_row
    world.run(ended + WAIT_S_MAX + BACK_S)
    assert world.n_moves or world.active_row == world.best_row
    # Nothing more happens on the best road.
    n_switches = len(world.switches)
    world.run(world.now + 1_000.0)
    assert len(world.switches) == n_switches
    check_returns(world)


def check_returns(world: World) -> None:
    """A road that was left is not gone back to before its two challenges, a second apart. Climbing
    over one that is between takes no longer: each has had its own."""
    left_at: dict[Road, float] = {}
    previous: Road | None = None
    for at, road, before in world.switches:
        is_return = before is not None and row_of(road, DEFAULT_ORDER) < row_of(
            before, DEFAULT_ORDER
        )
        if is_return and not world.n_moves and road in left_at:
            assert at - left_at[road] >= SECOND_CHALLENGE_S
        if previous is not None and previous != road:
            left_at[previous] = at
        previous = road


@pytest.mark.spec("RO-30", "RO-34")
@pytest.mark.parametrize("seed", range(40))
def test_a_session_always_seeks_a_road_and_ends_on_the_best(seed: int) -> None:
    check_history(seed)


@pytest.mark.slow
def test_the_same_in_a_thousand_histories() -> None:
    for seed in range(40, 1_040):
        try:
            check_history(seed)
        except AssertionError as failed:
            raise AssertionError(f"seed {seed}") from failed
