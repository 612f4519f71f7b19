"""Which road is tried when. Every test turns the race's own timer, at the times that it names."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.roads.race import (
    ATTEMPTS_MAX,
    HURRY_S,
    IN_FLIGHT_MAX,
    IN_FLIGHT_PER_CARRIER_MAX,
    RETRY_S,
    ROADS_MAX,
    ROW_STEP_S,
    TRIES_MAX,
    Attempt,
    Race,
)
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.rows import DEFAULT_ORDER, rows_of
from wraith.types import Address, Carrier, Road

REFUSED = RoadFailure(RoadReason.REFUSED)
UNREACHABLE = RoadFailure(RoadReason.UNREACHABLE)
SILENT = RoadFailure(RoadReason.SYN_TIMEOUT)
UNTRUSTED = RoadFailure(RoadReason.TLS_UNTRUSTED, "Example CA")
SLACK = 1e-9


def four(i: int) -> Address:
    return Address(bytes((192, 0, 2, i)), 4433)


def six(i: int) -> Address:
    return Address(bytes.fromhex("20010db8") + bytes(11) + bytes((i,)), 4433)


def udp(*addresses: Address) -> list[Road]:
    return [Road(Carrier.UDP, address) for address in addresses]


def tcp(*addresses: Address) -> list[Road]:
    return [Road(Carrier.TCP, address) for address in addresses]


def failing(race: Race, failure: RoadFailure) -> Callable[[Attempt, float], None]:
    """Every attempt fails as soon as it is started."""
    return lambda attempt, now: race.on_failed(attempt.id, failure, now)


WS = Road(Carrier.WS, url="wss://example.com/x")
SIX_ADDRESSES = (four(1), four(2), six(1), four(3), four(4), six(2))


class Log:
    """Turns a race's timer until ``until`` and notes what was started and set aside when."""

    def __init__(self, race: Race) -> None:
        self.race = race
        self.started: list[tuple[float, Attempt]] = []
        self.aside: list[tuple[float, int]] = []

    def turn(
        self, until: float, on_start: Callable[[Attempt, float], None] = lambda attempt, now: None
    ) -> Log:
        while (at := self.race.next_time()) is not None and at <= until:
            due = self.race.on_timer(at)
            self.aside += [(at, id_) for id_ in due.set_aside]
            self.started += [(at, attempt) for attempt in due.start]
            for attempt in due.start:
                on_start(attempt, at)
        return self

    def first(self, carrier: Carrier) -> float:
        return next(at for at, attempt in self.started if attempt.road.carrier is carrier)

    def id_of(self, road: Road) -> int:
        return next(attempt.id for _, attempt in self.started if attempt.road == road)


@pytest.mark.spec("RO-12")
def test_a_row_starts_a_quarter_second_after_the_first_attempt_of_the_row_before_it() -> None:
    log = Log(Race([WS, *udp(four(1)), *tcp(four(1))], now=5.0)).turn(6.0)
    carriers = [(at, attempt.road.carrier) for at, attempt in log.started]
    assert carriers == [(5.0, Carrier.UDP), (5.25, Carrier.TCP), (5.5, Carrier.WS)]


@pytest.mark.spec("RO-12")
@pytest.mark.parametrize("addresses", [(four(1),), SIX_ADDRESSES], ids=["one", "six"])
def test_many_addresses_of_a_row_do_not_delay_the_next(addresses: tuple[Address, ...]) -> None:
    roads = [*udp(*addresses), *tcp(*addresses), WS]
    log = Log(Race(roads, now=0.0)).turn(3.0)
    assert log.first(Carrier.TCP) <= ROW_STEP_S + SLACK
    assert log.first(Carrier.WS) <= 2 * ROW_STEP_S + SLACK


@pytest.mark.spec("RO-12")
def test_the_row_after_one_that_is_known_to_fail_here_waits_less() -> None:
    roads = [*udp(four(1)), *tcp(four(1)), WS]
    race = Race(roads, known_to_fail=frozenset((Carrier.UDP,)), now=0.0)
    log = Log(race).turn(1.0)
    assert log.first(Carrier.UDP) == 0.0
    assert log.first(Carrier.TCP) == pytest.approx(0.1)
    assert log.first(Carrier.WS) == pytest.approx(0.35)


def test_what_is_known_of_a_carrier_says_nothing_about_proxies() -> None:
    proxied = Road(Carrier.TCP, four(1), proxy="http://192.0.2.9:3128")
    other = Road(Carrier.WS, url="wss://example.com/x", proxy="http://192.0.2.9:3128")
    race = Race([proxied, other], known_to_fail=frozenset((Carrier.TCP,)), now=0.0)
    assert Log(race).turn(1.0).first(Carrier.WS) == pytest.approx(ROW_STEP_S)


@pytest.mark.spec("RO-12")
def test_when_a_whole_row_has_failed_hard_the_next_one_starts_at_once() -> None:
    race = Race([*udp(four(1)), *tcp(four(1)), WS], now=0.0)
    log = Log(race).turn(0.0)
    race.on_failed(log.id_of(*udp(four(1))), REFUSED, 0.02)
    assert race.next_time() == pytest.approx(0.02 + HURRY_S)
    log.turn(0.1)
    assert log.first(Carrier.TCP) == pytest.approx(0.03)
    assert race.next_time() == pytest.approx(0.03 + ROW_STEP_S)


@pytest.mark.spec("RO-12")
def test_a_hard_failure_hurries_the_next_address_of_its_row_first() -> None:
    race = Race([*udp(four(1), six(1)), *tcp(four(1))], now=0.0)
    log = Log(race).turn(0.0)
    assert log.started[0][1].road == udp(six(1))[0]
    race.on_failed(0, UNREACHABLE, 0.0)
    log.turn(0.1)
    at, attempt = log.started[1]
    assert at == pytest.approx(HURRY_S) and attempt == Attempt(1, udp(four(1))[0])
    assert race.next_time() == pytest.approx(ROW_STEP_S)  # IPv4 is in flight: no hurry for TCP


@pytest.mark.spec("RO-12")
def test_silence_hurries_nothing() -> None:
    race = Race([*udp(four(1)), *tcp(four(1))], now=0.0)
    Log(race).turn(0.0)
    race.on_failed(0, RoadFailure(RoadReason.UDP_SILENT), 0.01)
    assert race.next_time() == pytest.approx(ROW_STEP_S)
    race = Race(udp(four(1), four(2)), now=0.0)
    Log(race).turn(0.0)
    race.on_failed(0, RoadFailure(RoadReason.UDP_SILENT), 0.01)
    assert race.next_time() == pytest.approx(ROW_STEP_S)


@pytest.mark.spec("RO-14")
def test_a_third_attempt_over_a_carrier_sets_its_oldest_aside_and_no_other() -> None:
    log = Log(Race([*udp(*SIX_ADDRESSES), *tcp(four(1))], now=0.0)).turn(0.6)
    assert log.aside == [(0.5, 0)]
    assert log.started[0][1].id == 0 and log.started[0][1].road.carrier is Carrier.UDP


@pytest.mark.spec("RO-14")
def test_a_row_whose_turn_comes_finds_a_slot_though_four_are_silent() -> None:
    quic = [Road(Carrier.QUIC, address) for address in SIX_ADDRESSES]
    roads = [*udp(*SIX_ADDRESSES), *quic, *tcp(four(1)), WS]
    log = Log(Race(roads, now=0.0)).turn(0.75)
    assert log.first(Carrier.WS) == pytest.approx(3 * ROW_STEP_S)


@pytest.mark.spec("RO-15")
def test_every_row_has_a_place_among_eight_roads() -> None:
    addresses = [four(i) for i in range(1, 17)]
    proxied = [Road(Carrier.TCP, four(1), proxy="socks5://192.0.2.9:1080")]
    log = Log(Race([*udp(*addresses), *tcp(*addresses), WS, *proxied], now=0.0)).turn(60.0)
    tried = {attempt.road for _, attempt in log.started}
    assert len(tried) == ROADS_MAX
    assert WS in tried and proxied[0] in tried


@pytest.mark.spec("RO-15")
def test_an_address_that_this_host_cannot_reach_leaves_its_place_to_another() -> None:
    addresses = (four(1), four(2), six(1), four(3), four(4), six(2))
    race = Race([*udp(*addresses), *tcp(*addresses)], now=0.0)

    def fail_six(attempt: Attempt, now: float) -> None:
        address = attempt.road.address
        if address is not None and len(address.ip) == 16:
            race.on_failed(attempt.id, UNREACHABLE, now)

    log = Log(race).turn(60.0, fail_six)
    tried = {attempt.road for _, attempt in log.started}
    assert {*udp(four(1), four(2), four(3), four(4))} <= tried
    assert {*tcp(four(1), four(2), four(3), four(4))} <= tried
    assert len(log.started) <= ATTEMPTS_MAX


@pytest.mark.spec("RO-16")
def test_what_was_set_aside_is_tried_once_more() -> None:
    log = Log(Race(udp(*SIX_ADDRESSES), now=0.0)).turn(60.0)
    n_tries = [sum(a.road == road for _, a in log.started) for road in udp(*SIX_ADDRESSES)]
    assert min(n_tries) >= 1 and max(n_tries) == TRIES_MAX
    again = [at for at, attempt in log.started if attempt.id >= len(SIX_ADDRESSES)]
    assert again and min(again) >= RETRY_S


@pytest.mark.spec("RO-16")
def test_a_link_that_failed_is_dialled_once_more_and_a_bad_certificate_is_not() -> None:
    for failure, n in ((REFUSED, 2), (SILENT, 2), (UNTRUSTED, 1)):
        race = Race([WS], now=0.0)
        assert len(Log(race).turn(60.0, failing(race, failure)).started) == n


@pytest.mark.spec("RO-17")
def test_after_the_win_nothing_is_started() -> None:
    race = Race([*udp(four(1)), *tcp(four(1))], now=0.0)
    Log(race).turn(0.0)
    assert race.on_won(0) == udp(four(1))[0]
    assert race.next_time() is None
    assert race.on_timer(100.0) == ([], [])
    race.on_failed(0, REFUSED, 100.0)
    assert race.next_time() is None


@pytest.mark.spec("RO-17")
def test_an_answer_to_an_attempt_that_was_set_aside_wins() -> None:
    race = Race(udp(*SIX_ADDRESSES), now=0.0)
    log = Log(race).turn(0.6)
    assert log.aside == [(0.5, 0)]
    assert race.on_won(0) == log.started[0][1].road


@pytest.mark.spec("RO-18")
def test_only_links_can_fail_a_race_before_its_time() -> None:
    for roads, hopeless in (([WS, *tcp(four(1))], True), ([WS, *udp(four(1))], False)):
        race = Race(roads, now=0.0)
        assert not race.is_hopeless
        Log(race).turn(60.0, failing(race, REFUSED))
        assert race.is_hopeless is hopeless
        assert dict(race.outcomes()) == dict.fromkeys(roads, REFUSED)


def test_without_a_road_nothing_is_due() -> None:
    race = Race([], now=0.0)
    assert race.next_time() is None and race.is_hopeless


roads_of_a_peer = st.builds(
    lambda n4, n6, has_tcp, n_quic, n_ws, proxied: [
        *udp(*[four(i) for i in range(n4)], *[six(i) for i in range(n6)]),
        *(tcp(*[four(i) for i in range(n4)], *[six(i) for i in range(n6)]) if has_tcp else []),
        *[Road(Carrier.QUIC, four(i)) for i in range(n_quic)],
        *[Road(Carrier.WS, url=f"wss://{i}.example.com/x") for i in range(n_ws)],
        *[Road(Carrier.TCP, four(i), proxy="http://192.0.2.9:3128") for i in range(proxied)],
    ],
    st.integers(0, 8),
    st.integers(0, 8),
    st.booleans(),
    st.integers(0, 4),
    st.integers(0, 2),
    st.integers(0, 4),
)
FAILURES = [REFUSED, UNREACHABLE, SILENT, UNTRUSTED, None, None, None]


@pytest.mark.spec("RO-12", "RO-14", "RO-15")
@given(roads=roads_of_a_peer, known=st.sets(st.sampled_from(DEFAULT_ORDER)), seed=st.integers(0))
def test_limits_hold_and_no_row_is_late_whatever_fails_when(
    roads: list[Road], known: set[Carrier], seed: int
) -> None:
    rng = random.Random(seed)
    race = Race(roads, known_to_fail=frozenset(known), now=0.0)
    in_flight: dict[int, Road] = {}
    fails: list[tuple[float, int, RoadFailure]] = []
    newest: dict[Road, int] = {}
    begun: dict[Road, float] = {}
    unreachable: set[Road] = set()
    n_attempts = 0
    while True:
        timer = race.next_time()
        fails.sort(key=lambda item: item[:2])
        if fails and (timer is None or fails[0][0] <= timer):
            now, id_, failure = fails.pop(0)
            race.on_failed(id_, failure, now)
            in_flight.pop(id_, None)
            failed = next((road for road, latest in newest.items() if latest == id_), None)
            if failed is not None and failure.reason is RoadReason.UNREACHABLE:
                unreachable.add(failed)
            continue
        if timer is None or timer > 10.0:
            break
        due = race.on_timer(timer)
        assert due.start
        for id_ in due.set_aside:
            del in_flight[id_]
        for id_, road in due.start:
            in_flight[id_] = road
            newest[road] = id_
            unreachable.discard(road)
            begun.setdefault(road, timer)
            n_attempts += 1
            fate = rng.choice(FAILURES)
            if fate is not None:
                fails.append((timer + rng.choice((0.0, 0.001, 0.1, 1.0, 3.0)), id_, fate))
        carriers = [road.carrier for road in in_flight.values()]
        assert len(carriers) <= IN_FLIGHT_MAX
        assert all(carriers.count(c) <= IN_FLIGHT_PER_CARRIER_MAX for c in carriers)
        assert n_attempts <= ATTEMPTS_MAX
        assert len(begun) - len(unreachable) <= ROADS_MAX
    rows = rows_of(roads, DEFAULT_ORDER)
    for n, row in enumerate(rows[:ROADS_MAX]):
        assert min(begun[road] for road in row if road in begun) <= n * ROW_STEP_S + SLACK
