from __future__ import annotations

from itertools import pairwise

import pytest

from wraith.connection.roads.rows import DEFAULT_ORDER, STEALTH_ORDER, row_of, rows_of
from wraith.types import Address, Carrier, Road

FOUR = [Address(bytes((192, 0, 2, i)), 4433) for i in range(1, 5)]
SIX = [Address(bytes.fromhex("20010db8") + bytes(11) + bytes((i,)), 4433) for i in range(1, 3)]
UDP = Road(Carrier.UDP, FOUR[0])
TCP = Road(Carrier.TCP, FOUR[0])
QUIC = Road(Carrier.QUIC, FOUR[0])
WS = Road(Carrier.WS, url="wss://example.com/x")
PROXIED = Road(Carrier.TCP, FOUR[0], proxy="socks5://192.0.2.9:1080")


@pytest.mark.spec("RO-10")
def test_rows_stand_in_the_order_of_carriers_and_proxies_come_last() -> None:
    roads = [PROXIED, WS, TCP, QUIC, UDP]
    assert rows_of(roads, DEFAULT_ORDER) == [(UDP,), (QUIC,), (TCP,), (WS,), (PROXIED,)]
    assert rows_of(roads, STEALTH_ORDER) == [(WS,), (TCP,), (QUIC,), (UDP,), (PROXIED,)]


@pytest.mark.spec("RO-10")
def test_a_row_without_a_road_does_not_count() -> None:
    assert rows_of([WS, UDP], DEFAULT_ORDER) == [(UDP,), (WS,)]
    assert rows_of([], DEFAULT_ORDER) == []


def test_a_carrier_that_the_order_does_not_name_comes_last_of_its_kind() -> None:
    memory = Road(Carrier.MEMORY, FOUR[0])
    assert rows_of([memory, WS, PROXIED], DEFAULT_ORDER) == [(WS,), (memory,), (PROXIED,)]


def test_roads_of_one_carrier_are_equals() -> None:
    assert row_of(UDP, DEFAULT_ORDER) == row_of(Road(Carrier.UDP, SIX[0]), DEFAULT_ORDER)


@pytest.mark.spec("HS-50", "RO-11")
def test_within_a_row_families_alternate_and_ipv6_comes_first() -> None:
    roads = [Road(Carrier.UDP, address) for address in (*FOUR[:3], *SIX)]
    (row,) = rows_of(roads, DEFAULT_ORDER)
    lengths = [len(road.address.ip) for road in row if road.address is not None]
    assert lengths[0] == 16
    assert all(a != b for a, b in pairwise(lengths[:4]))
    fours = [road for road in row if road.address is not None and len(road.address.ip) == 4]
    assert fours == roads[:3]


def test_a_road_named_twice_is_one_road() -> None:
    assert rows_of([UDP, UDP], DEFAULT_ORDER) == [(UDP,)]
