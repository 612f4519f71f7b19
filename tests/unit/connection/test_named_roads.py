from __future__ import annotations

from collections.abc import Iterable

import pytest

from wraith.connection.named_roads import roads_after
from wraith.types import Address, Carrier, Road

NEAR = Address(bytes([10, 0, 0, 7]), 4433)
BESIDE = Address(bytes([10, 0, 1, 9]), 4433)
FAR = Address(bytes([192, 168, 1, 9]), 4433)
WEB = Road(Carrier.WS, url="wss://wraith.example/p")
UDP, TCP = Road(Carrier.UDP, NEAR), Road(Carrier.TCP, NEAR)


@pytest.mark.spec("RO-65", "RO-70")
def test_what_the_code_names_is_allowed_and_the_rest_has_to_be_near() -> None:
    code = [UDP, TCP, Road(Carrier.TCP, FAR), WEB]
    named = [UDP, Road(Carrier.TCP, FAR), Road(Carrier.TCP, BESIDE), Road(Carrier.UDP, FAR)]
    after = roads_after(code, named, choose=None, remote=NEAR)
    assert after == [WEB, UDP, Road(Carrier.TCP, FAR), Road(Carrier.TCP, BESIDE)]
    assert Road(Carrier.TCP, BESIDE) not in roads_after(code, named, choose=None, remote=None)


@pytest.mark.spec("RO-65")
def test_own_settings_have_the_last_word() -> None:
    named = [UDP, TCP]

    def choose(roads: Iterable[Road]) -> list[Road]:
        return [road for road in roads if road.carrier is Carrier.UDP]

    only_udp = roads_after([UDP], named, choose=choose, remote=NEAR)
    assert only_udp == [UDP]
    led = Road(Carrier.TCP, NEAR, proxy="socks5://192.0.2.1:1080")
    assert roads_after([led], named, choose=None, remote=None) == []
