"""The record of a node: everything that a dialler must know before it can speak to the node.

Spec: handshake.md [HS-1].
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wraith.crypto.suite import SUITES
from wraith.errors import ConfigError
from wraith.types import Address, Carrier, PeerKey, Road, SuiteId
from wraith.wire.places import roads_of

ACCESS_KEY_BYTES = 32
ACCESS_PSK_BYTES = 32
SUITES_MAX = 8
ADDRESSES_MAX = 16


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """An address book entry. Whoever holds it can make the node answer, so it is not public.

    Attributes:
        access_key: AK, 32 bytes (X25519). Without it the node does not answer at all.
        peer: the identity that the responder must prove; ``None`` trusts the first one seen.
        suites: what the responder accepts, in its order.
        access_psk: 32 random bytes shared by all who may dial, or ``None``. Never a password: a
            recorded hello would be a dictionary oracle for it.
        addresses: where it listens on UDP, best first.
        has_tcp: it listens on TCP at every one of ``addresses``, too.
        other_roads: other ways to it, over TCP alone, QUIC or WebSocket, at most 16.
    """

    access_key: bytes = field(repr=False)
    peer: PeerKey | None = None
    suites: tuple[SuiteId, ...] = (SuiteId.A, SuiteId.B)
    access_psk: bytes | None = field(default=None, repr=False)
    addresses: tuple[Address, ...] = ()
    has_tcp: bool = False
    other_roads: tuple[Road, ...] = ()

    def __post_init__(self) -> None:
        if len(self.access_key) != ACCESS_KEY_BYTES:
            raise ConfigError("access_key", f"{len(self.access_key)} bytes", "32 bytes")
        if self.access_psk is not None:
            check_psk(self.access_psk)
        if not 1 <= len(self.suites) <= SUITES_MAX or len(set(self.suites)) != len(self.suites):
            raise ConfigError("suites", self.suites, "1 to 8 different suites")
        if len(self.addresses) > ADDRESSES_MAX:
            raise ConfigError("addresses", len(self.addresses), f"at most {ADDRESSES_MAX}")
        if len(self.other_roads) > ADDRESSES_MAX:
            raise ConfigError("other_roads", len(self.other_roads), f"at most {ADDRESSES_MAX}")
        if any(road.carrier is Carrier.UDP for road in self.other_roads):
            raise ConfigError("other_roads", "a road over UDP", "UDP stands in addresses")

    @property
    def roads(self) -> tuple[Road, ...]:
        """All ways to the node: UDP, then TCP at the same addresses, then the others. In which
        order they are tried, a race decides (docs/spec/roads.md)."""
        return roads_of(self.addresses, self.has_tcp, self.other_roads)


def check_psk(psk: bytes) -> None:
    """Refuses what cannot be 32 random bytes.

    A password would be shorter, longer or text; all-zero is the value that stands for "none".

    Raises:
        ConfigError: with what is accepted; the value is not repeated.
    """
    if len(psk) != ACCESS_PSK_BYTES:
        raise ConfigError("access_psk", f"{len(psk)} bytes", "32 random bytes, not a password")
    if not any(psk):
        raise ConfigError("access_psk", "all zero", "32 random bytes; leave it out for none")
    if all(0x20 <= byte < 0x7F for byte in psk):
        raise ConfigError("access_psk", "printable text", "32 random bytes, not a password")


def usable_suites(suites: tuple[SuiteId, ...]) -> tuple[SuiteId, ...]:
    """Those that this version implements, in the same order."""
    return tuple(suite for suite in suites if suite in SUITES)
