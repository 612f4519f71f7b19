"""Node records: what is refused, what is hidden, and which roads there are."""

from __future__ import annotations

import pytest

from wraith.connection.handshake.node_record import NodeRecord, check_psk
from wraith.errors import ConfigError
from wraith.types import Address, Carrier, Road, SuiteId

AK = bytes(range(32))
PSK = bytes(range(100, 132))


def four(i: int) -> Address:
    return Address(bytes((10, 0, 0, i)), 1)


def six(i: int) -> Address:
    return Address(bytes(15) + bytes((i,)), 1)


@pytest.mark.spec("HS-1")
@pytest.mark.parametrize(
    "psk",
    [b"correct horse battery staple", b"correct horse battery staple 123", bytes(32), bytes(33)],
)
def test_a_password_is_not_a_psk(psk: bytes) -> None:
    with pytest.raises(ConfigError) as refused:
        check_psk(psk)
    assert "correct" not in str(refused.value)


def test_random_bytes_are_a_psk() -> None:
    check_psk(PSK)


@pytest.mark.parametrize("access_key", [b"", AK[:31], AK + b"x"])
def test_access_key_has_32_bytes(access_key: bytes) -> None:
    with pytest.raises(ConfigError):
        NodeRecord(access_key)


@pytest.mark.parametrize("suites", [(), (SuiteId.A, SuiteId.A)])
def test_suites_are_some_and_different(suites: tuple[SuiteId, ...]) -> None:
    with pytest.raises(ConfigError):
        NodeRecord(AK, suites=suites)


def test_the_number_of_addresses_is_bounded() -> None:
    with pytest.raises(ConfigError):
        NodeRecord(AK, addresses=tuple(four(i) for i in range(17)))


def test_the_roads_of_a_record_have_one_order() -> None:
    url = Road(Carrier.WS, url="wss://example.com/x")
    record = NodeRecord(
        AK, addresses=(four(1), six(1)), has_tcp=True, other_roads=(url, Road(Carrier.TCP, four(1)))
    )
    assert record.roads == (
        Road(Carrier.UDP, four(1)),
        Road(Carrier.UDP, six(1)),
        Road(Carrier.TCP, four(1)),
        Road(Carrier.TCP, six(1)),
        url,
    )
    assert NodeRecord(AK, addresses=(four(1),)).roads == (Road(Carrier.UDP, four(1)),)
    assert NodeRecord(AK).roads == ()


@pytest.mark.parametrize(
    "others",
    [(Road(Carrier.UDP, four(1)),), tuple(Road(Carrier.TCP, four(i)) for i in range(17))],
    ids=["udp", "seventeen"],
)
def test_other_roads_are_few_and_not_over_udp(others: tuple[Road, ...]) -> None:
    with pytest.raises(ConfigError):
        NodeRecord(AK, other_roads=others)


def test_what_lets_one_dial_is_not_shown() -> None:
    text = repr(NodeRecord(AK, access_psk=PSK))
    assert AK.hex() not in text and repr(AK) not in text and repr(PSK) not in text
