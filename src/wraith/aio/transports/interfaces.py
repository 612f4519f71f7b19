"""Chooses the addresses of this host that a code carries, so that another host can reach it.

At most four IPv4 and two global IPv6 addresses, the one of the default route first. Left out:
loopback (unless there is nothing else), link-local, multicast and the bridges that container and
virtual-machine software makes, because a peer can never reach those. Sends nothing on the network.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import ifaddr

from wraith.types import Address

IPV4_MAX: Final = 4
IPV6_MAX: Final = 2
#: Prefixes of interface names made by container engines, hypervisors and their kin.
_BRIDGES: Final = (
    "docker",
    "br-",
    "veth",
    "virbr",
    "vnet",
    "vmnet",
    "vboxnet",
    "lxcbr",
    "lxdbr",
    "podman",
    "cni",
    "flannel",
    "cali",
    "kube",
    "nerdctl",
    "incusbr",
    "bridge",
    "vethernet",
)
#: Documentation prefixes: a route to them is the default route, and nothing is ever sent.
_FAR_IPV4: Final = "198.51.100.1"
_FAR_IPV6: Final = "2001:db8::1"


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address of one network interface, as the operating system lists it."""

    interface: str
    ip: str


def reachable_addresses(port: int) -> tuple[Address, ...]:
    """Addresses for a code, best first, all with ``port``."""
    listed = [
        InterfaceAddress(adapter.name, ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    default = (
        _default_source(socket.AF_INET, _FAR_IPV4),
        _default_source(socket.AF_INET6, _FAR_IPV6),
    )
    return choose_addresses(listed, default, port)


def choose_addresses(
    listed: Iterable[InterfaceAddress], default_sources: Iterable[str | None], port: int
) -> tuple[Address, ...]:
    """The choice itself, without the operating system.

    Args:
        listed: what the interfaces have.
        default_sources: source addresses of the default routes, where there are any.
        port: goes into every result.
    """
    preferred = {ip for ip in default_sources if ip}
    v4: list[bytes] = []
    v6: list[bytes] = []
    loopback: list[bytes] = []
    ranked = sorted(listed, key=lambda one: one.ip not in preferred)
    for one in ranked:
        address = ipaddress.ip_address(one.ip.partition("%")[0])
        if address.is_loopback:
            loopback.append(address.packed)
        elif (
            address.is_link_local
            or address.is_multicast
            or address.is_unspecified
            or (_is_bridge(one.interface) and one.ip not in preferred)
        ):
            continue
        elif address.version == 4:
            if address.packed not in v4:
                v4.append(address.packed)
        elif _is_global(address) and address.packed not in v6:
            v6.append(address.packed)
    chosen = v4[:IPV4_MAX] + v6[:IPV6_MAX]
    if not chosen:
        chosen = [ip for ip in loopback if len(ip) == 4][:1] or loopback[:1]
    return tuple(Address(ip, port) for ip in chosen)


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """2000::/3. ``is_global`` would also drop documentation prefixes, which laboratories use."""
    return address.packed[0] >> 5 == 1


def _is_bridge(name: str) -> bool:
    return name.lower().startswith(_BRIDGES)


def _default_source(family: socket.AddressFamily, far: str) -> str | None:
    """The source address that the kernel would use; connecting a UDP socket sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None
