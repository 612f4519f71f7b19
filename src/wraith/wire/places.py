"""Where a peer listens, as bytes: the typed addresses of codes and of ROADS frames.

==========  =======  ===============================================
type        carrier  value
==========  =======  ===============================================
0x04, 0x06  UDP      ip 4 or 16 ‖ port u16
0x14, 0x16  TCP      the same: TCP alone
0x24, 0x26  QUIC     the same
0x30        WS       URL, ASCII, at most 120 bytes (codes only)
==========  =======  ===============================================

And what kind of address an address is, by the registries of IANA. Neither decides what may be
dialled.

Spec: frames §1.1 [FR-11]; docs/reference/code-format.md.
"""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from wraith.errors import DecodeError
from wraith.types import Address, Carrier, Road

URL_TYPE: Final = 0x30
URL_BYTES_MAX: Final = 120
PORT_BYTES: Final = 2

#: Type -> carrier, and how many bytes the ip has.
ADDRESS_TYPES: Final = {
    0x04: (Carrier.UDP, 4),
    0x06: (Carrier.UDP, 16),
    0x14: (Carrier.TCP, 4),
    0x16: (Carrier.TCP, 16),
    0x24: (Carrier.QUIC, 4),
    0x26: (Carrier.QUIC, 16),
}
_TYPES: Final = {shape: type_ for type_, shape in ADDRESS_TYPES.items()}


def encode_place(road: Road) -> tuple[int, bytes]:
    """The type and the value of a road. A proxy is the dialler's own and is not encoded.

    Raises:
        ValueError: the road has no form here: another carrier, no port, a URL that is none.
    """
    if road.url is not None:
        if road.carrier is not Carrier.WS:
            raise ValueError("a URL is a road of WebSocket")
        check_url(road.url)
        return URL_TYPE, road.url.encode("ascii")
    address = road.address
    assert address is not None  # a road has the one or the other
    type_ = _TYPES.get((road.carrier, len(address.ip)))
    if type_ is None or not 0 < address.port < 65_536:
        raise ValueError("an address has 4 or 16 bytes and a port, over UDP, TCP or QUIC")
    return type_, address.ip + address.port.to_bytes(PORT_BYTES, "big")


def decode_place(type_: int, value: bytes) -> Road | None:
    """Inverse of ``encode_place``; ``None``: a type that is not known.

    Raises:
        DecodeError: a known type with a value that it cannot have.
    """
    if type_ == URL_TYPE:
        try:
            text = value.decode("ascii")
            check_url(text)
        except ValueError:
            raise DecodeError("URL of a road", 0) from None
        return Road(Carrier.WS, url=text)
    shape = ADDRESS_TYPES.get(type_)
    if shape is None:
        return None
    carrier, n_ip = shape
    if len(value) != n_ip + PORT_BYTES:
        raise DecodeError("address of a road", 0)
    port = int.from_bytes(value[n_ip:], "big")
    if not port:
        raise DecodeError("port of a road", 0)
    return Road(carrier, Address(value[:n_ip], port))


def roads_of(
    addresses: tuple[Address, ...], has_tcp: bool, other_roads: tuple[Road, ...]
) -> tuple[Road, ...]:
    """All roads of a code or a record, each once: over UDP, over TCP at the same addresses if
    ``has_tcp``, then the others."""
    carriers = (Carrier.UDP, Carrier.TCP) if has_tcp else (Carrier.UDP,)
    roads = [Road(carrier, address) for carrier in carriers for address in addresses]
    return tuple(dict.fromkeys((*roads, *other_roads)))


# -- URLs ----------------------------------------------------------------------------------------

_URL: Final = re.compile(
    r"(?:https?|wss?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~/-]*)?",
    re.ASCII,
)
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)", re.ASCII)


def check_url(url: str) -> None:
    """Refuses what is no URL of a road: ``http``, ``https``, ``ws`` or ``wss``, a host, perhaps a
    port and a plain path. No user, no query, no escapes; and no host that only some resolvers read
    as an address, such as ``127.1``.

    Raises:
        ValueError: in one sentence.
    """
    if len(url) > URL_BYTES_MAX:
        raise ValueError(f"a URL in a code has at most {URL_BYTES_MAX} characters")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("a road's URL is ws://HOST[:PORT]/PATH, or wss, http or https")
    port = match["port"]
    if port is not None and not 0 < int(port) < 65_536:
        raise ValueError("a port is 1 to 65535")
    host = match["host"]
    if host.startswith("[") or _ENDS_IN_NUMBER.fullmatch(host):
        try:
            _ip_of_host(host)
        except ValueError:
            raise ValueError("the host of this URL is no address and no name") from None


def literal_of(url: str) -> bytes | None:
    """The address that a URL names instead of a host: 4 or 16 bytes; ``None``: it has a name."""
    match = _URL.fullmatch(url)
    if match is None:
        return None
    try:
        return _ip_of_host(match["host"])
    except ValueError:
        return None


def _ip_of_host(host: str) -> bytes:
    if host.startswith("["):
        return IPv6Address(host[1:-1]).packed
    return IPv4Address(host).packed


# -- kinds of addresses --------------------------------------------------------------------------


class AddressKind(Enum):
    """What an address is for. ``NEVER``: no peer has it, or not for a code: unspecified, multicast,
    broadcast, link-local, reserved, and IPv6 forms that hide such an IPv4 address."""

    GLOBAL = "global"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    NEVER = "never"


_NEVER_V4: Final = tuple(
    IPv4Network(text) for text in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)
_PRIVATE_V4: Final = tuple(
    IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24")
)
_LOOPBACK_V4: Final = IPv4Network("127.0.0.0/8")
_NEVER_V6: Final = tuple(IPv6Network(text) for text in ("::/128", "fe80::/10", "ff00::/8"))
_PRIVATE_V6: Final = tuple(
    IPv6Network(text) for text in ("fc00::/7", "fec0::/10", "64:ff9b:1::/48")
)
_LOOPBACK_V6: Final = IPv6Address("::1")
#: Networks whose addresses hold an IPv4 address, and at which byte.
_HOLD_V4: Final = (
    (IPv6Network("::ffff:0:0/96"), 12),
    (IPv6Network("::/96"), 12),
    (IPv6Network("64:ff9b::/96"), 12),
    (IPv6Network("2002::/16"), 2),
)


def kind_of(ip: bytes) -> AddressKind:
    """The kind of an address of 4 or 16 bytes."""
    if len(ip) == 4:
        four = IPv4Address(ip)
        if any(four in network for network in _NEVER_V4):
            return AddressKind.NEVER
        if four in _LOOPBACK_V4:
            return AddressKind.LOOPBACK
        private = any(four in network for network in _PRIVATE_V4)
        return AddressKind.PRIVATE if private else AddressKind.GLOBAL
    if len(ip) != 16:
        return AddressKind.NEVER
    six = IPv6Address(ip)
    if six == _LOOPBACK_V6:
        return AddressKind.LOOPBACK
    if any(six in network for network in _NEVER_V6):
        return AddressKind.NEVER
    for network, at in _HOLD_V4:
        if six in network and kind_of(ip[at : at + 4]) is not AddressKind.GLOBAL:
            return AddressKind.NEVER
    private = any(six in network for network in _PRIVATE_V6)
    return AddressKind.PRIVATE if private else AddressKind.GLOBAL
