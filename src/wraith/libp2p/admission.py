"""Whether a stranger may start a connection: limits, a rate, shares per network, Retry under load.

Must not keep anything for an address that has proved nothing and holds no connection: the counts
per address and per network are those of connections that exist [LQ-41, LQ-74].
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from wraith.libp2p.config import QuicLimits
from wraith.types import Address

_MAPPED = bytes(10) + b"\xff\xff"


class QuicVerdict(Enum):
    ACCEPT = "accept"
    RETRY = "retry"
    DROP = "drop"


@dataclass(slots=True)
class Place:
    """The share of the limits that one incoming connection takes. Made by :meth:`Admission.begun`.

    ``address`` and ``prefix`` are ``None`` on loopback, which has no shares.
    """

    address: bytes | None
    prefix: bytes | None
    proven: bool
    half_open: bool = True
    ended: bool = False


class QuicAdmission:
    """One per endpoint. ``begun`` and ``ended`` bracket each incoming connection; ``connected``
    comes between them if its handshake completes.
    """

    def __init__(self, limits: QuicLimits) -> None:
        self._limits = limits
        self._tokens = float(limits.new_burst)
        self._updated: float | None = None
        #: Half-open connections that returned a token, per /32 or /64.
        self._half_open: Counter[bytes] = Counter()
        #: Connections of peers that have proved their address, per /24 or /56.
        self._proven: Counter[bytes] = Counter()
        self.pending = 0

    def judge(
        self, *, remote: Address, n_connections: int, has_token: bool, now: float
    ) -> tuple[QuicVerdict, str]:
        """The verdict on one Initial, and the limit that it met.

        Args:
            has_token: it returned a valid Retry token, so it can hear at ``remote``.
        """
        limits = self._limits
        if n_connections >= limits.connections or self.pending >= limits.pending_in:
            return QuicVerdict.DROP, "limit"
        address, prefix = shares_of(remote)
        if prefix is not None and self._proven[prefix] >= limits.connections_per_prefix:
            return QuicVerdict.DROP, "connections per prefix"
        if not has_token and self.pending >= limits.retry_above_pending:
            return QuicVerdict.RETRY, ""
        # Without a token the address may be forged, and a forger must not use up its share.
        half_open = self._half_open[address] if has_token and address is not None else 0
        if half_open >= limits.pending_per_address:
            return QuicVerdict.DROP, "half open per address"
        if self._updated is not None:
            gained = (now - self._updated) * limits.new_per_s
            self._tokens = min(float(limits.new_burst), self._tokens + gained)
        self._updated = now
        if self._tokens < 1:
            return QuicVerdict.DROP, "limit"
        self._tokens -= 1
        return QuicVerdict.ACCEPT, ""

    def begun(self, remote: Address, *, has_token: bool) -> Place:
        """A half-open connection begins to count."""
        place = Place(*shares_of(remote), proven=has_token)
        self.pending += 1
        if has_token:
            self._count(self._half_open, place.address, 1)
            self._count(self._proven, place.prefix, 1)
        return place

    def connected(self, place: Place) -> bool:
        """The handshake is complete; ``False`` when the network has more than its share."""
        self._no_longer_half_open(place)
        if not place.proven:
            place.proven = True
            self._count(self._proven, place.prefix, 1)
        if place.prefix is None:
            return True
        return self._proven[place.prefix] <= self._limits.connections_per_prefix

    def ended(self, place: Place) -> None:
        """The connection no longer counts. Idempotent."""
        if place.ended:
            return
        place.ended = True
        self._no_longer_half_open(place)
        if place.proven:
            self._count(self._proven, place.prefix, -1)

    def _no_longer_half_open(self, place: Place) -> None:
        if not place.half_open:
            return
        place.half_open = False
        self.pending -= 1
        if place.proven:
            self._count(self._half_open, place.address, -1)

    @staticmethod
    def _count(counter: Counter[bytes], key: bytes | None, change: int) -> None:
        if key is None:
            return
        counter[key] += change
        if not counter[key]:
            del counter[key]


def shares_of(remote: Address) -> tuple[bytes | None, bytes | None]:
    """``(address, prefix)``: /32 and /24 of IPv4, /64 and /56 of IPv6; ``None`` on loopback."""
    ip = remote.ip
    if len(ip) == 16 and ip.startswith(_MAPPED):
        ip = ip[12:]
    if len(ip) == 4:
        return (None, None) if ip[0] == 127 else (ip, ip[:3])
    return (None, None) if ip == bytes(15) + b"\x01" else (ip[:8], ip[:7])
