"""Which addresses go into a code."""

from __future__ import annotations

import ipaddress

from wraith.aio.transports.interfaces import InterfaceAddress, choose_addresses, reachable_addresses


def chosen(*listed: tuple[str, str], default: tuple[str | None, ...] = ()) -> list[str]:
    addresses = choose_addresses([InterfaceAddress(*one) for one in listed], default, 4433)
    assert all(address.port == 4433 for address in addresses)
    return [str(ipaddress.ip_address(address.ip)) for address in addresses]


def test_the_default_route_comes_first() -> None:
    listed = [("eth0", "192.0.2.1"), ("wlan0", "198.51.100.7"), ("eth1", "10.0.0.5")]
    assert chosen(*listed, default=("198.51.100.7", None))[0] == "198.51.100.7"
    assert chosen(*listed)[0] == "192.0.2.1"


def test_at_most_four_and_two() -> None:
    many4 = [("eth0", f"192.0.2.{i}") for i in range(1, 9)]
    many6 = [("eth0", f"2001:db8::{i}") for i in range(1, 9)]
    result = chosen(*many6, *many4, default=("192.0.2.7", "2001:db8::5"))
    assert result[0] == "192.0.2.7"
    assert len([ip for ip in result if "." in ip]) == 4
    assert [ip for ip in result if ":" in ip] == ["2001:db8::5", "2001:db8::1"]


def test_what_no_peer_can_reach_is_left_out() -> None:
    assert chosen(
        ("lo", "127.0.0.1"),
        ("lo", "::1"),
        ("eth0", "169.254.3.4"),
        ("eth0", "fe80::1%4"),
        ("eth0", "fd00::2"),
        ("docker0", "172.17.0.1"),
        ("br-5d0c", "172.18.0.1"),
        ("vethab", "172.18.0.2"),
        ("virbr0", "192.168.122.1"),
        ("eth0", "192.0.2.1"),
        ("eth0", "192.0.2.1"),
    ) == ["192.0.2.1"]


def test_a_bridge_that_carries_the_default_route_counts() -> None:
    listed = ("br-lan", "192.0.2.9")
    assert chosen(listed, ("lo", "127.0.0.1"), default=("192.0.2.9",)) == ["192.0.2.9"]


def test_loopback_only_if_there_is_nothing_else() -> None:
    assert chosen(("lo", "::1"), ("lo", "127.0.0.1"), ("eth0", "fe80::1")) == ["127.0.0.1"]
    assert chosen(("lo", "::1")) == ["::1"]
    assert chosen() == []


def test_this_host_has_an_address() -> None:
    addresses = reachable_addresses(1234)
    assert addresses
    assert len(addresses) <= 6
