"""Addresses and routes of this host, and which network it is in."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.aio.transports.network_state import (
    NetworkIdentity,
    NetworkState,
    RouteEntry,
    network_identity,
    parse_ipv4_routes,
    parse_ipv6_routes,
    read_network_state,
)
from wraith.testing.netns import require_netns, routed

HEADING = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
ANY4, ANY6 = bytes(4), bytes(16)


def ip(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def identity(*routes: RouteEntry) -> NetworkIdentity | None:
    return network_identity(NetworkState(frozenset(), frozenset(routes)))


def test_tables_of_the_kernel_are_read() -> None:
    word = ip("192.0.2.0")[::-1].hex().upper(), ip("192.0.2.1")[::-1].hex().upper()
    table = HEADING + (
        f"eth0\t00000000\t{word[1]}\t0003\t0\t0\t100\t00000000\t0\t0\t0   \n"
        f"eth0\t{word[0]}\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        f"eth0\t{word[0]}\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"  # unreachable
        f"eth0\t{word[0]}\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"  # down
    )
    assert parse_ipv4_routes(table) == [
        RouteEntry("eth0", ANY4, 0, ip("192.0.2.1"), 100),
        RouteEntry("eth0", ip("192.0.2.0"), 24, ANY4, 0),
    ]
    default = f"{'0' * 32} 00 {'0' * 32} 00 {ip('fe80::1').hex()} 00000400 00000002 0000000a"
    assert parse_ipv6_routes(
        f"{default} 00000003     eth0\n"
        f"{default} 01000003     eth0\n"  # kept for one peer
        f"{default} 00200200       lo\n"  # unreachable
        f"ff{'0' * 30} 08 {'0' * 32} 00 {'0' * 32} 00000100 00000003 00000000 00000001 eth0\n"
    ) == [RouteEntry("eth0", ANY6, 0, ip("fe80::1"), 1024)]


@given(st.text(max_size=200), st.lists(st.text("0123456789abcdefxz -\t\n", max_size=40)))
def test_a_table_of_nonsense_is_empty_and_harmless(text: str, words: list[str]) -> None:
    for table in (text, HEADING + text, HEADING + " ".join(words), "\t".join(words)):
        for route in (*parse_ipv4_routes(table), *parse_ipv6_routes(table)):
            assert 0 <= route.prefix_bits <= 128
            assert len(route.destination) == len(route.gateway)


def test_every_cut_of_a_table_is_read_as_far_as_it_goes() -> None:
    for path, parse in (("route", parse_ipv4_routes), ("ipv6_route", parse_ipv6_routes)):
        place = Path("/proc/net", path)
        if not place.exists():
            pytest.skip("this system has no /proc/net")
        table = place.read_text()
        whole = parse(table)
        for end in range(len(table)):
            assert len(parse(table[:end])) <= len(whole)


def test_the_default_route_says_which_network_this_is() -> None:
    at_home = RouteEntry("eth0", ip("192.0.2.0"), 24, ANY4, 0)
    wide = RouteEntry("eth0", ip("10.0.0.0"), 8, ANY4, 0)
    default = RouteEntry("eth0", ANY4, 0, ip("192.0.2.1"), 100)
    worse = RouteEntry("wlan0", ANY4, 0, ip("198.51.100.1"), 600)
    default6 = RouteEntry("eth0", ANY6, 0, ip("fe80::1"), 50)
    local6 = RouteEntry("eth0", ip("fe80::"), 64, ANY6, 256)
    global6 = RouteEntry("eth0", ip("2001:db8::"), 64, ANY6, 256)
    own6 = RouteEntry("eth0", ip("2001:db8::7"), 128, ANY6, 0)
    assert identity(at_home, wide) is None
    assert identity(default, at_home, wide, worse, default6, global6) == NetworkIdentity(
        "eth0", "192.0.2.0/24", "192.0.2.1"
    )
    assert identity(worse) == NetworkIdentity("wlan0", "", "198.51.100.1")
    assert identity(RouteEntry("tun0", ANY4, 0, ANY4, 0)) == NetworkIdentity("tun0", "", "")
    assert identity(default6, local6, global6, own6) == NetworkIdentity(
        "eth0", "2001:db8::/64", "fe80::1"
    )


def test_this_hosts_state_is_what_its_own_tools_say() -> None:
    require_netns()
    with routed() as net, net.left.entered():
        state = read_network_state()
        said = subprocess.run(["ip", "-j", "route"], check=True, capture_output=True, text=True)
    assert {("eth0", net.left.ipv4, 24), ("eth0", net.left.ipv6, 64)} <= state.addresses
    assert network_identity(state) == NetworkIdentity("eth0", "10.213.20.0/24", "10.213.20.1")
    assert len(json.loads(said.stdout)) == sum(len(r.destination) == 4 for r in state.routes)


def test_a_system_that_tells_no_routes_has_addresses_alone() -> None:
    state = read_network_state(lambda: "", lambda: "")
    assert not state.routes and state.addresses
    assert network_identity(state) is None
