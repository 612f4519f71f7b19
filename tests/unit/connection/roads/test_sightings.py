from __future__ import annotations

import pytest

from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.sightings import SEEN_MAX, FlightsSeen, FlightsTried
from wraith.types import Address, Carrier, Road
from wraith.wire.road_frames import TRIED_MAX, RoadSeen, RoadTried

HERE, THERE = Address(bytes((192, 0, 2, 1)), 4433), Address(bytes((192, 0, 2, 2)), 4433)
UDP, UDP_ELSEWHERE = Road(Carrier.UDP, HERE), Road(Carrier.UDP, THERE)
TCP = Road(Carrier.TCP, HERE)


def id_of(n: int) -> bytes:
    return n.to_bytes(8, "big")


@pytest.mark.spec("RO-80")
def test_a_responder_says_which_flights_it_has_seen() -> None:
    seen = FlightsSeen()
    seen.note(id_of(1))
    seen.note(id_of(3))
    tried = RoadTried((id_of(1), id_of(2), id_of(3)))
    assert seen.answer(tried) == RoadSeen(((id_of(1), True), (id_of(2), False), (id_of(3), True)))


@pytest.mark.spec("RO-80")
def test_it_remembers_the_last_1024() -> None:
    seen = FlightsSeen()
    for n in range(SEEN_MAX):
        seen.note(id_of(n))
    seen.note(id_of(0))  # again: it is the newest now
    seen.note(id_of(SEEN_MAX))
    answer = seen.answer(RoadTried(tuple(id_of(n) for n in (0, 1, 2, 1024))))
    assert [is_seen for _, is_seen in answer.seen] == [True, False, True, True]
    assert SEEN_MAX == 1024


@pytest.mark.spec("RO-81")
def test_an_initiator_asks_about_its_last_16_flights() -> None:
    tried = FlightsTried()
    for n in range(20):
        tried.note(UDP, id_of(n))
    assert tried.frame().ids == tuple(id_of(n) for n in range(4, 20))
    assert TRIED_MAX == 16


def judged(road: Road, arrived: list[bool], winner: Road) -> list[tuple[Road, RoadFailure]]:
    tried, seen = FlightsTried(), FlightsSeen()
    for n, is_seen in enumerate(arrived):
        tried.note(road, id_of(n))
        if is_seen:
            seen.note(id_of(n))
    return tried.judge(seen.answer(tried.frame()), winner)


@pytest.mark.spec("RO-82")
def test_silence_gets_a_direction() -> None:
    blocked = RoadFailure(RoadReason.UDP_BLOCKED, 3)
    one_way = RoadFailure(RoadReason.UDP_ONEWAY, 2)
    assert judged(UDP, [False] * 3, TCP) == [(UDP, blocked)]
    assert judged(UDP, [True, False, True], TCP) == [(UDP, one_way)]
    assert judged(UDP_ELSEWHERE, [True, True], TCP) == [(UDP_ELSEWHERE, one_way)]


@pytest.mark.spec("RO-82")
@pytest.mark.parametrize(
    ("road", "winner"),
    [
        (UDP_ELSEWHERE, TCP),
        (UDP, Road(Carrier.TCP, HERE, proxy="socks5://192.0.2.9:1080")),
        (UDP, Road(Carrier.WS, url="wss://example.com/x")),
    ],
    ids=["another host", "a proxy", "a web server"],
)
def test_unseen_is_not_blocked_where_the_winner_leads_elsewhere(road: Road, winner: Road) -> None:
    assert judged(road, [False] * 3, winner) == []


@pytest.mark.spec("RO-82")
def test_only_udp_is_judged_and_not_the_winner_itself() -> None:
    assert judged(UDP, [True], UDP) == []
    assert judged(TCP, [False], Road(Carrier.TCP, HERE, proxy=None)) == []
    assert judged(Road(Carrier.TCP, THERE), [False], TCP) == []


def test_answers_about_flights_that_were_not_asked_for_say_nothing() -> None:
    tried = FlightsTried()
    tried.note(UDP, id_of(1))
    assert tried.judge(RoadSeen(((id_of(9), True),)), TCP) == []
