"""Ids and small frozen values that every floor may use. No logic beyond formatting."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple, NewType

StreamId = NewType("StreamId", int)
"""u32: class (top 2 bits) ‖ number (30 bits, from 1); 0 is the control stream."""

Buffer = bytes | bytearray | memoryview
"""Anything that is read without being kept."""

UDP_PAYLOAD_BYTES_MAX: Final = 65_507
"""No datagram is longer: 65,535 without the headers of IPv4 and UDP. The native part has the same
bound."""


class Role(Enum):
    """The side of a node in its handshake: decides key directions and parity of stream classes."""

    INITIATOR = "i"
    RESPONDER = "r"

    @property
    def other(self) -> Role:
        return Role.RESPONDER if self is Role.INITIATOR else Role.INITIATOR


class SuiteId(IntEnum):
    """Cipher suites by their code on the wire (docs/spec/crypto.md). C is reserved."""

    A = 0x01
    B = 0x02
    C = 0x03
    D = 0x04


class Carrier(IntEnum):
    """What moves whole packets, by its code on the wire (docs/spec/carriers.md). ``MEMORY`` is for
    simulations and has no code there."""

    UDP = 0
    TCP = 1
    WS = 2
    QUIC = 3
    MEMORY = 4


class Address(NamedTuple):
    """One address of a port: ``ip`` is 4 or 16 raw bytes (empty = not known), ``scope`` an IPv6
    zone."""

    ip: bytes
    port: int
    scope: int = 0

    def __str__(self) -> str:
        """``192.0.2.1:4433`` or ``[2001:db8::1]:4433``; ``*`` for an address that is not known."""
        if len(self.ip) == 4:
            return f"{IPv4Address(self.ip)}:{self.port}"
        if len(self.ip) == 16:
            zone = f"%{self.scope}" if self.scope else ""
            return f"[{IPv6Address(self.ip)}{zone}]:{self.port}"
        return f"*:{self.port}"

    def __repr__(self) -> str:
        return f"Address({self})"

    @property
    def host(self) -> str:
        """Without the port: ``192.0.2.1`` or ``2001:db8::1``; ``*`` if it is not known."""
        if len(self.ip) == 4:
            return str(IPv4Address(self.ip))
        if len(self.ip) == 16:
            zone = f"%{self.scope}" if self.scope else ""
            return f"{IPv6Address(self.ip)}{zone}"
        return "*"


ANY_ADDRESS = Address(b"", 0)
_KEY_BYTES: Final = 32


class NetworkPath(NamedTuple):
    """A 4-tuple as this host sees it. Hashable: it is the key of the routing table.

    ``link`` is the number of a stream connection, unique in its endpoint; 0 for UDP.
    """

    local: Address
    remote: Address
    carrier: Carrier = Carrier.UDP
    link: int = 0


class TransportCharacteristics(NamedTuple):
    """What a carrier promises, and what it costs.

    ``is_reliable``: it loses nothing and repeats nothing, so neither a gap nor silence means loss.
    ``is_ordered``: packets arrive in the order in which they were sent. ``packet_bytes_max``: the
    largest packet that it takes. ``overhead_bytes``: what it adds to a packet on the wire, down to
    and with the IP header. ``setup_rtts``: round trips until the first packet may leave.
    ``encrypted_outside``: somebody else's encryption is around it, which is trusted for nothing.
    ``idle_limit_s``: so long it may be silent before something on the way forgets it; ``None``
    where nobody says.
    """

    carrier: Carrier
    is_reliable: bool
    is_ordered: bool
    packet_bytes_max: int
    overhead_bytes: int
    setup_rtts: int
    encrypted_outside: bool = False
    idle_limit_s: float | None = None


LINK_PACKET_BYTES_MIN: Final = 33
LINK_PACKET_BYTES_MAX: Final = 16_384
"""The smallest and the largest packet on a stream connection. The native part has the same
bounds."""


@dataclass(frozen=True, slots=True)
class Road:
    """A place where a peer may be reached.

    Attributes:
        carrier: how.
        address: UDP, TCP and QUIC: where to. WebSocket has a ``url`` instead.
        url: ``ws://host[:port]/prefix`` or ``wss://...``.
        proxy: the URL of the proxy that leads there, which may hold a password: never shown.
    """

    carrier: Carrier
    address: Address | None = None
    url: str | None = None
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.address is None) == (self.url is None):
            raise ValueError("a road leads to an address or to a URL")

    def __str__(self) -> str:
        """For people: ``192.0.2.1:4433`` or the URL. Says nothing of the proxy."""
        return self.url if self.url is not None else str(self.address)


@dataclass(frozen=True, slots=True)
class Transmit:
    """Bytes that are due now on one path: ``data`` holds one or more datagrams of
    ``segment_bytes`` each, the last one possibly shorter.

    ``data`` belongs to the machine that handed it out and is valid until its next
    ``datagrams_to_send``; the driver copies what the kernel has not taken by then.
    """

    data: memoryview
    segment_bytes: int
    path: NetworkPath

    @property
    def n_datagrams(self) -> int:
        return -(-len(self.data) // self.segment_bytes)


@dataclass(frozen=True, slots=True, order=True)
class PeerKey:
    """A node's identity: its Ed25519 public key, 32 bytes. Public, may be shown."""

    raw: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.raw, bytes) or len(self.raw) != _KEY_BYTES:
            raise ValueError("a peer key has 32 bytes; PeerKey.parse reads its text")

    def __repr__(self) -> str:
        return f"PeerKey({self})"

    def __str__(self) -> str:
        return base64.b32encode(self.raw).decode().rstrip("=").lower()

    @classmethod
    def parse(cls, text: str) -> PeerKey:
        """Inverse of ``str``. Raises ``ValueError`` when ``text`` is not such a key."""
        cleaned = text.strip().upper() if isinstance(text, str) else ""
        try:
            raw = base64.b32decode(cleaned + "=" * (-len(cleaned) % 8))
        except ValueError:  # binascii's own words speak of padding
            raw = b""
        if len(raw) != _KEY_BYTES:
            raise ValueError("a peer key has 52 characters, a to z and 2 to 7")
        return cls(raw)

    @property
    def short(self) -> str:
        """The first 12 characters: enough for people to compare by eye, never for a decision."""
        return str(self)[:12]


@dataclass(frozen=True, slots=True)
class SecurityInfo:
    """The result of a finished handshake. Every field comes from its state."""

    key_exchange: str
    post_quantum: bool
    suite: SuiteId
    aead: str
    peer: PeerKey | None
    epoch: int
    authenticated_by: str
