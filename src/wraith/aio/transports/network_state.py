"""What this host has of the network now: its addresses and its routes; and which network that is.

Addresses come from ``ifaddr``, routes from ``/proc`` where there is one. Sends nothing. A table
that cannot be read, or a line that is not understood, counts as empty: this decides when roads are
tried again, and in which order, nothing else.

Linux ``proc(5)``: ``/proc/net/route``, ``/proc/net/ipv6_route``.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

import ifaddr

TABLE_BYTES_MAX: Final = 256 * 1024
"""So much of each table is read: 2,048 routes of IPv4, which begin with the default ones."""

# Of this thread: another one may be in another namespace.
_IPV4_ROUTES: Final = "/proc/thread-self/net/route"
_IPV6_ROUTES: Final = "/proc/thread-self/net/ipv6_route"
_UP: Final = 0x0001
_REJECT: Final = 0x0200
_CACHE: Final = 0x0100_0000
_MULTICAST: Final = b"\xff"


class RouteEntry(NamedTuple):
    """One route: ``destination`` and ``gateway`` are 4 or 16 bytes, ``gateway`` all zeros where
    the destination is on the wire itself."""

    interface: str
    destination: bytes
    prefix_bits: int
    gateway: bytes
    metric: int


class NetworkState(NamedTuple):
    """All that is compared to know whether something changed."""

    addresses: frozenset[tuple[str, str, int]]
    """Interface, address, length of its prefix."""
    routes: frozenset[RouteEntry]


class NetworkIdentity(NamedTuple):
    """What tells one network from another: where the default route leads.

    ``prefix`` is the network on the interface in which the gateway lies, such as ``192.0.2.0/24``,
    else the first one there; ``gateway`` is empty on a point-to-point device.
    """

    interface: str
    prefix: str
    gateway: str


def read_network_state(
    ipv4_table: Callable[[], str] = lambda: _table(_IPV4_ROUTES),
    ipv6_table: Callable[[], str] = lambda: _table(_IPV6_ROUTES),
) -> NetworkState:
    """The present state. Takes about a millisecond; never raises for what it cannot read."""
    routes = (*parse_ipv4_routes(ipv4_table()), *parse_ipv6_routes(ipv6_table()))
    try:
        addresses = frozenset(
            (adapter.name, ip.ip if isinstance(ip.ip, str) else ip.ip[0], ip.network_prefix)
            for adapter in ifaddr.get_adapters()
            for ip in adapter.ips
        )
    except OSError:
        addresses = frozenset()
    return NetworkState(addresses, frozenset(routes))


def own_addresses(state: NetworkState) -> frozenset[bytes] | None:
    """The addresses of this host, 4 or 16 bytes each; ``None`` if none could be read."""
    found = frozenset(
        ipaddress.ip_address(text.partition("%")[0]).packed for _, text, _ in state.addresses
    )
    return found or None


def network_identity(state: NetworkState) -> NetworkIdentity | None:
    """Which network this host is in, by its best default route, of IPv4 before IPv6. ``None``
    without one, and where the system does not tell its routes."""
    default = min(
        (route for route in state.routes if not route.prefix_bits and not any(route.destination)),
        key=lambda route: (len(route.destination), route.metric, route),
        default=None,
    )
    if default is None:
        return None
    gateway = ipaddress.ip_address(default.gateway)
    beside = (
        _network(route)
        for route in state.routes
        if route.interface == default.interface
        and len(route.destination) == len(default.destination)
        and 0 < route.prefix_bits < gateway.max_prefixlen
    )
    # An IPv6 gateway has a link-local address as a rule: the global prefix tells more.
    ranked = sorted((gateway not in one, str(one)) for one in beside if not one.is_link_local)
    return NetworkIdentity(
        default.interface,
        ranked[0][1] if ranked else "",
        str(gateway) if any(default.gateway) else "",
    )


def parse_ipv4_routes(table: str) -> list[RouteEntry]:
    """``/proc/net/route``: hexadecimal words in the byte order of the host."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        try:
            interface, destination, gateway, flags, _, _, metric, mask = fields[:8]
            if int(flags, 16) & (_UP | _REJECT) != _UP:
                continue
            bits = int.from_bytes(_word(mask), "big").bit_count()
            found.append(
                RouteEntry(interface, _word(destination), bits, _word(gateway), int(metric))
            )
        except ValueError:
            continue
    return found


def parse_ipv6_routes(table: str) -> list[RouteEntry]:
    """``/proc/net/ipv6_route``: hexadecimal bytes as on the wire. Routes to single peers that the
    kernel keeps for itself, and multicast, are left out."""
    found = []
    for line in table.splitlines():
        fields = line.split()
        try:
            destination, bits, _, _, gateway, metric, _, _, flags, interface = fields
            to, via = bytes.fromhex(destination), bytes.fromhex(gateway)
            if len(to) != 16 or len(via) != 16 or to[:1] == _MULTICAST or not int(bits, 16) <= 128:
                continue
            if int(flags, 16) & (_UP | _REJECT | _CACHE) == _UP:
                found.append(RouteEntry(interface, to, int(bits, 16), via, int(metric, 16)))
        except ValueError:
            continue
    return found


def _word(text: str) -> bytes:
    """An IPv4 address in the order of the wire. Raises ``ValueError``."""
    if len(text) != 8:
        raise ValueError("not a word")
    raw = bytes.fromhex(text)
    return raw[::-1] if sys.byteorder == "little" else raw


def _network(route: RouteEntry) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network((route.destination, route.prefix_bits), strict=False)


def _table(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(TABLE_BYTES_MAX).decode("ascii", "replace")
    except OSError:
        return ""
