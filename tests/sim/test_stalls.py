"""Bytes move or somebody times out: addresses that change during rekeys and shrinking paths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from wraith.connection.connection import Connection
from wraith.connection.state import OPEN_STATES
from wraith.testing.established import EstablishedPair
from wraith.testing.nat import BehindNat
from wraith.testing.node_pair import NodeHost, NodeSimulation
from wraith.testing.pair import ADDRESS_A, Simulation
from wraith.testing.stalls import Scenario, Stalled, run_node, run_seed, run_session

N_SEEDS = 300
PER_CASE = 30

CALM = Scenario(
    seed=4,
    is_node=False,
    sender_moves=False,
    initiator_sends=False,
    new_host=True,
    moves_at=(),
    mtu_bytes=None,
    mtu_at=0.6,
    dead_way="",
    dead_s=0.0,
    loss=0.0,
    rekey_s=600.0,
)


@pytest.mark.spec("CN-81", "CN-82")
@pytest.mark.parametrize("seed", [27, 55, 63])
def test_seeds_that_once_stood_still_for_ever(seed: int) -> None:
    """A full window held back the answer to PATH_CHALLENGE, so the peer never followed."""
    assert run_seed(seed)[1] in ("arrived", "gave up")


@pytest.mark.spec("CN-36", "CN-81")
@pytest.mark.parametrize("seed", [7747, 9553, 11081, 11186])
def test_seeds_whose_path_went_on_to_carry_small_datagrams(seed: int) -> None:
    """The path shrank near the end of the data. Small datagrams of rekeys were acknowledged, so no
    path was suspected, and the last large ones went into the hole again and again."""
    assert run_seed(seed)[1] == "arrived"


@pytest.mark.spec("CN-81")
def test_moves_and_steps_of_the_mtu_lie_on_every_ten_milliseconds() -> None:
    drawn = [Scenario.drawn(seed) for seed in range(20_000)]
    moves = {round(100 * s.moves_at[0]) for s in drawn}
    steps = {round(100 * (s.mtu_at - s.moves_at[0])) for s in drawn if s.mtu_bytes is not None}
    assert moves == set(range(50, 250)), "two rekeys, one a second"
    assert steps == set(range(-20, 21))


@pytest.mark.spec("CN-81")
@pytest.mark.parametrize("first", range(0, N_SEEDS, PER_CASE))
def test_nothing_stands_still_for_ever(first: int) -> None:
    outcomes = [run_seed(seed) for seed in range(first, first + PER_CASE)]
    bad = [outcome for outcome in outcomes if outcome[1].startswith(("STALL", "ERROR"))]
    assert not bad
    assert sum(how == "arrived" for _, how in outcomes) > PER_CASE // 2


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(N_SEEDS, 20_000, 1_000))
def test_nothing_stands_still_for_ever_in_twenty_thousand(first: int) -> None:
    for seed in range(first, min(first + 1_000, 20_000)):
        assert not run_seed(seed)[1].startswith(("STALL", "ERROR"))


class Shut:
    """A congestion controller whose window is closed for good."""

    window = 0

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


class Chatty(BehindNat):
    """A connection that says every five seconds that it is there, as if it had nothing else."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, ADDRESS_A)
        self._connection = connection
        self._at = 5.0

    def next_timer(self) -> float | None:
        inner = self.inner.next_timer()
        return self._at if inner is None else min(inner, self._at)

    def handle_timer(self, now: float) -> None:
        self.inner.handle_timer(now)
        if now >= self._at:
            self._at = now + 5.0
            if self._connection.state in OPEN_STATES:
                self._connection.ping(now)


class TestTheSearchNotices:
    """Defects planted on purpose: packets cross, no byte moves, nobody ends it."""

    def test_nothing_happens_without_a_defect(self) -> None:
        assert run_session(CALM) == "arrived"
        assert run_node(replace(CALM, is_node=True)) == "arrived"

    def test_a_path_that_carries_small_packets_only(self) -> None:
        def spoil(pair: EstablishedPair, simulation: Simulation) -> None:
            pair.net.hosts[ADDRESS_A].machine = Chatty(pair.i.connection)
            for link in simulation.links.values():
                link.config = replace(link.config, mtu_bytes=300)
            simulation.default_link = replace(simulation.default_link, mtu_bytes=300)

        with pytest.raises(Stalled):
            run_session(CALM, spoil=spoil)

    def test_a_window_that_is_never_opened_again(self) -> None:
        def spoil(pair: EstablishedPair, simulation: Simulation) -> None:
            pair.net.hosts[ADDRESS_A].machine = Chatty(pair.i.connection)
            session = pair.r.connection._shared.parts
            assert session is not None
            session.paths.main.controller = Shut(session.paths.main.controller)

        with pytest.raises(Stalled):
            run_session(CALM, spoil=spoil)

    def test_a_node_that_does_not_look_at_what_came(self) -> None:
        def spoil(simulation: NodeSimulation, receiver: NodeHost) -> None:
            receiver.holds_wishes = True

        with pytest.raises(Stalled):
            run_node(replace(CALM, is_node=True), spoil=spoil)
