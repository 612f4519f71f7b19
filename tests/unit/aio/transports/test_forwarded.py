"""Whose word counts about where a request comes from."""

from __future__ import annotations

import pytest

from wraith.aio.transports.forwarded import ListedProxies
from wraith.errors import ConfigError
from wraith.types import ANY_ADDRESS, Address

PROXY = Address(bytes([127, 0, 0, 1]), 4444)
OUTSIDE = Address(bytes([192, 0, 2, 7]), 5555)
CLIENT = Address(bytes([203, 0, 113, 9]), 0)


@pytest.mark.spec("CA-74")
def test_a_stranger_is_not_believed() -> None:
    listed = ListedProxies(["127.0.0.1"])
    assert listed.client_of(OUTSIDE, ["203.0.113.9"]) == OUTSIDE
    assert ListedProxies().client_of(PROXY, ["203.0.113.9"]) == PROXY


@pytest.mark.spec("CA-74")
@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["203.0.113.9"], CLIENT),
        (["10.9.9.9, 203.0.113.9"], CLIENT),
        (["10.9.9.9", "203.0.113.9"], CLIENT),
        (["203.0.113.9, 10.1.2.3"], CLIENT),
        (["1.1.1.1", " 203.0.113.9 ,10.1.2.3,127.0.0.1"], CLIENT),
        (["2001:db8::1"], Address(bytes.fromhex("20010db8") + bytes(11) + b"\1", 0)),
        ([], ANY_ADDRESS),
        ([""], ANY_ADDRESS),
        (["unknown"], ANY_ADDRESS),
        (["203.0.113.9, x"], ANY_ADDRESS),
        (["203.0.113.9:80"], ANY_ADDRESS),
        (["10.1.2.3, 127.0.0.1"], ANY_ADDRESS),
        (["," * 4_000], ANY_ADDRESS),
    ],
)
def test_of_a_listed_proxy_the_last_entry_that_is_no_proxy_counts(
    values: list[str], client: Address
) -> None:
    assert ListedProxies(["127.0.0.1", "10.0.0.0/8"]).client_of(PROXY, values) == client


@pytest.mark.spec("CA-74")
def test_a_mapped_address_is_the_one_inside() -> None:
    mapped = Address(bytes(10) + b"\xff\xff" + PROXY.ip, 1)
    assert ListedProxies(["127.0.0.1"]).holds(mapped)
    assert not ListedProxies(["127.0.0.1"]).holds(ANY_ADDRESS)


@pytest.mark.parametrize("text", ["", "proxy.example", "127.0.0.1/33", "10.0.0.1/8"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        ListedProxies([text])
