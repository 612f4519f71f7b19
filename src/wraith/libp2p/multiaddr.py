"""Multiaddrs: text and binary, and the one shape that this transport dials.

Must not resolve names: ``/dns4/...`` parses, and the caller resolves it. Unknown protocols in
binary form end the reading (their length is unknown) and make the address unusable, not an error
of the peer: identify messages of other stacks list addresses that we have never heard of.

Spec: libp2p-quic [LQ-3], multiformats multiaddr and its protocol table.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass

from wraith.errors import DecodeError
from wraith.libp2p.peer_id import PeerId
from wraith.libp2p.reader import Libp2pReader, encode_uvarint
from wraith.types import Address

COMPONENTS_MAX = 16
MULTIADDR_BYTES_MAX = 1024

_VARIABLE = -1
# name: (code, value bytes); -1 = behind a varint length, 0 = no value.
_PROTOCOLS = {
    "ip4": (4, 4),
    "tcp": (6, 2),
    "ip6": (41, 16),
    "ip6zone": (42, _VARIABLE),
    "dns": (53, _VARIABLE),
    "dns4": (54, _VARIABLE),
    "dns6": (55, _VARIABLE),
    "dnsaddr": (56, _VARIABLE),
    "udp": (273, 2),
    "p2p-circuit": (290, 0),
    "p2p": (421, _VARIABLE),
    "tls": (448, 0),
    "sni": (449, _VARIABLE),
    "noise": (454, 0),
    "quic": (460, 0),
    "quic-v1": (461, 0),
    "webtransport": (465, 0),
    "certhash": (466, _VARIABLE),
    "ws": (477, 0),
    "wss": (478, 0),
    "webrtc-direct": (280, 0),
    "webrtc": (281, 0),
}
_BY_CODE = {code: (name, size) for name, (code, size) in _PROTOCOLS.items()}
_ALIASES = {"ipfs": "p2p"}


def _value_from_text(name: str, text: str) -> bytes:
    try:
        match name:
            case "ip4":
                return ipaddress.IPv4Address(text).packed
            case "ip6":
                return ipaddress.IPv6Address(text).packed
            case "tcp" | "udp":
                port = int(text)
                if str(port) != text or not 0 <= port <= 65535:
                    raise ValueError(text)
                return port.to_bytes(2, "big")
            case "p2p":
                return PeerId.parse(text).multihash
            case "certhash":
                if not text.startswith("u"):
                    raise ValueError(text)
                return base64.urlsafe_b64decode(text[1:] + "=" * (-len(text[1:]) % 4))
            case _:
                if not text or len(text.encode()) > 255:
                    raise ValueError(text)
                return text.encode()
    except ValueError as error:
        raise DecodeError(f"multiaddr component /{name}") from error


def _value_to_text(name: str, value: bytes) -> str:
    match name:
        case "ip4":
            return str(ipaddress.IPv4Address(value))
        case "ip6":
            return str(ipaddress.IPv6Address(value))
        case "tcp" | "udp":
            return str(int.from_bytes(value, "big"))
        case "p2p":
            return str(PeerId.decode(value))
        case "certhash":
            return "u" + base64.urlsafe_b64encode(value).decode().rstrip("=")
        case _:
            try:
                text = value.decode()
            except UnicodeDecodeError as error:
                raise DecodeError(f"multiaddr component /{name}") from error
            if not text or "/" in text:
                raise DecodeError(f"multiaddr component /{name}")
            return text


@dataclass(frozen=True, slots=True)
class Multiaddr:
    """``(protocol name, value in text)`` pairs; protocols without a value have ``""``."""

    components: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Multiaddr:
        """From ``/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3...``. Raises :class:`DecodeError`."""
        if not text.startswith("/") or len(text) > MULTIADDR_BYTES_MAX:
            raise DecodeError("multiaddr")
        parts = text.rstrip("/").split("/")[1:]
        components = []
        index = 0
        while index < len(parts):
            name = _ALIASES.get(parts[index], parts[index])
            if name not in _PROTOCOLS:
                raise DecodeError(f"multiaddr protocol {parts[index][:32]!r}", index)
            value = ""
            if _PROTOCOLS[name][1] != 0:
                index += 1
                if index >= len(parts):
                    raise DecodeError(f"multiaddr component /{name}", index)
                # Through the binary form and back: one canonical text per address.
                value = _value_to_text(name, _value_from_text(name, parts[index]))
            components.append((name, value))
            index += 1
        if not 0 < len(components) <= COMPONENTS_MAX:
            raise DecodeError("multiaddr")
        return cls(tuple(components))

    @classmethod
    def decode(cls, data: bytes) -> Multiaddr:
        """From binary. Raises :class:`DecodeError`, also for an unknown protocol."""
        if len(data) > MULTIADDR_BYTES_MAX:
            raise DecodeError("multiaddr")
        reader = Libp2pReader(data, "multiaddr")
        components: list[tuple[str, str]] = []
        while not reader.at_end:
            known = _BY_CODE.get(reader.uvarint())
            if known is None or len(components) >= COMPONENTS_MAX:
                raise reader.error()
            name, size = known
            value = ""
            if size:
                raw = reader.take(reader.uvarint() if size == _VARIABLE else size)
                value = _value_to_text(name, raw)
            components.append((name, value))
        if not components:
            raise reader.error()
        return cls(tuple(components))

    def encode(self) -> bytes:
        out = bytearray()
        for name, text in self.components:
            code, size = _PROTOCOLS[name]
            out += encode_uvarint(code)
            if size:
                value = _value_from_text(name, text)
                if size == _VARIABLE:
                    out += encode_uvarint(len(value))
                out += value
        return bytes(out)

    def value(self, name: str) -> str | None:
        """The first value of protocol ``name``, ``None`` when it does not occur."""
        return next((value for key, value in self.components if key == name), None)

    @property
    def peer_id(self) -> PeerId | None:
        """The PeerId of the last ``/p2p`` component."""
        found = [value for name, value in self.components if name == "p2p"]
        return PeerId.parse(found[-1]) if found else None

    def with_peer(self, peer: PeerId) -> Multiaddr:
        kept = tuple(part for part in self.components if part[0] != "p2p")
        return Multiaddr((*kept, ("p2p", str(peer))))

    @property
    def is_quic_v1(self) -> bool:
        """Whether this is ``/<host>/udp/<port>/quic-v1[/p2p/<id>]``: what we can dial or bind."""
        names = [name for name, _ in self.components if name != "ip6zone"]
        if names[-1] == "p2p":
            names.pop()
        return names[1:] == ["udp", "quic-v1"] and names[0] in ("ip4", "ip6", "dns", "dns4", "dns6")

    def __str__(self) -> str:
        return "".join(
            f"/{name}/{value}" if _PROTOCOLS[name][1] else f"/{name}"
            for name, value in self.components
        )


def quic_multiaddr(address: Address, peer: PeerId | None = None) -> Multiaddr:
    """The multiaddr of a UDP address of ours or of a peer."""
    ip = ipaddress.ip_address(address.ip)
    parts: list[tuple[str, str]] = [(f"ip{ip.version}", str(ip)), ("udp", str(address.port))]
    parts.append(("quic-v1", ""))
    if peer is not None:
        parts.append(("p2p", str(peer)))
    return Multiaddr(tuple(parts))


def literal_address(multiaddr: Multiaddr) -> Address | None:
    """The UDP address, ``None`` when a name must be resolved first.

    Raises :class:`DecodeError` for an address that is not QUIC v1.
    """
    if not multiaddr.is_quic_v1:
        raise DecodeError("multiaddr (expected /ip4|ip6|dns/.../udp/.../quic-v1[/p2p/...])")
    port = int(multiaddr.value("udp") or 0)
    for name in ("ip4", "ip6"):
        text = multiaddr.value(name)
        if text is not None:
            return Address(ipaddress.ip_address(text).packed, port)
    return None
