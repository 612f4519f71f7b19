"""The settings of a QUIC endpoint, and what each policy offers and accepts.

Must not read the environment or files. Defaults are the strict values: ``REQUIRE`` and mutual
certificates; everything else is named by whoever wants it. Numbers come from libp2p-quic section 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from wraith.errors import ConfigError
from wraith.libp2p import private_ext
from wraith.libp2p.tls.groups import GroupId

KIB = 1024
MIB = 1024 * KIB
LIBP2P_ALPN = "libp2p"
DATAGRAM_BYTES_MIN = 1200


class PqPolicy(StrEnum):
    """Which key exchanges are offered and accepted [LQ-14].

    =============  =====================  ==================  ===========================
    policy         offered (best first)   refused             for
    =============  =====================  ==================  ===========================
    REQUIRE        X25519MLKEM768         classical peers     the default
    PREFER         X25519MLKEM768,X25519  nothing             today's libp2p network
    CLASSICAL      X25519                 nothing             interoperability tests
    PRIVATE_EXT    X25519 + extension     everybody else      the closed profile
    =============  =====================  ==================  ===========================
    """

    REQUIRE = "require"
    PREFER = "prefer"
    CLASSICAL = "classical"
    PRIVATE_EXT = "private"

    @property
    def groups(self) -> tuple[GroupId, ...]:
        match self:
            case PqPolicy.REQUIRE:
                return (GroupId.X25519MLKEM768,)
            case PqPolicy.PREFER:
                return (GroupId.X25519MLKEM768, GroupId.X25519)
            case PqPolicy.CLASSICAL | PqPolicy.PRIVATE_EXT:
                return (GroupId.X25519,)

    @property
    def post_quantum(self) -> bool:
        """Whether every connection under this policy is post-quantum."""
        return self in (PqPolicy.REQUIRE, PqPolicy.PRIVATE_EXT)


@dataclass(frozen=True, slots=True)
class QuicLimits:
    """Limits on the cost of strangers and peers. An excess is dropped or refused, and counted."""

    connections: int = 1000
    connections_per_peer: int = 8
    connections_per_prefix: int = 64
    """Incoming ones of one IPv4 /24 or IPv6 /56, loopback excepted: a PeerId costs nothing."""
    pending_in: int = 256
    pending_per_address: int = 8
    """Half-open ones of one IPv4 address or IPv6 /64 that returned a Retry token."""
    pending_out: int = 256
    new_per_s: float = 200.0
    new_burst: int = 400
    retry_above_pending: int = 32
    """Half-open incoming connections above which every new one must return a Retry token."""
    streams: int = 100

    def __post_init__(self) -> None:
        for name in (
            "connections",
            "connections_per_peer",
            "connections_per_prefix",
            "pending_in",
            "pending_per_address",
            "pending_out",
            "streams",
        ):
            value = getattr(self, name)
            if not 1 <= value <= 1_000_000:
                raise ConfigError(name, value, "a number from 1 to 1000000")
        if self.retry_above_pending < 0:
            raise ConfigError("retry_above_pending", self.retry_above_pending, "0 (always) or more")
        if self.new_per_s <= 0 or self.new_burst < 1:
            raise ConfigError(
                "new_per_s", self.new_per_s, "a rate above 0 and a burst of at least 1"
            )


@dataclass(frozen=True, slots=True)
class QuicTransportConfig:
    """Frozen configuration of one endpoint. Sizes in bytes, times in seconds.

    ``backend`` names the packet library: ``aioquic`` (default, pure Python and C) or ``qh3``
    (native, optional). ``private_extension`` moves the private profile away from 0xFF01.
    ``datagram_frame_bytes`` turns the QUIC datagram extension on (RFC 9221).
    """

    policy: PqPolicy = PqPolicy.REQUIRE
    backend: str = "aioquic"
    alpn: tuple[str, ...] = (LIBP2P_ALPN,)
    require_client_certificate: bool = True
    handshake_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    keepalive_s: float | None = 5.0
    negotiation_timeout_s: float = 10.0
    """For multistream-select on a stream, in both roles, and for a peer's identify messages."""
    close_flush_s: float = 3.0
    """The seconds that a graceful close waits until the peer has acknowledged what was accepted."""
    stream_window: int = 2 * MIB
    connection_window: int = 8 * MIB
    send_buffer_bytes: int = MIB
    unsent_bytes_max: int | None = None
    """So much of a stream's send buffer may wait for its first transmission; all of it if ``None``.
    What is urgent then waits behind little, however much is on its way."""
    datagram_bytes: int = DATAGRAM_BYTES_MIN
    datagram_frame_bytes: int | None = None
    initial_rtt_s: float = 0.1
    private_extension: int = private_ext.DEFAULT_CODE_POINT
    limits: QuicLimits = field(default_factory=QuicLimits)

    def __post_init__(self) -> None:
        if self.backend not in ("aioquic", "qh3"):
            raise ConfigError("backend", self.backend, "aioquic or qh3")
        if not self.alpn or any(not name or len(name.encode()) > 255 for name in self.alpn):
            raise ConfigError("alpn", self.alpn, "at least one protocol name of 1 to 255 bytes")
        code = self.private_extension
        if code != private_ext.DEFAULT_CODE_POINT and code not in private_ext.PRIVATE_USE:
            raise ConfigError("private_extension", code, "65281 or a value from 65282 to 65535")
        if not DATAGRAM_BYTES_MIN <= self.datagram_bytes <= 65_507:
            raise ConfigError("datagram_bytes", self.datagram_bytes, "a number from 1200 to 65507")
        if not 0.1 <= self.handshake_timeout_s <= 120:
            raise ConfigError("handshake_timeout_s", self.handshake_timeout_s, "0.1 to 120 seconds")
        if not 1 <= self.idle_timeout_s <= 3600:
            raise ConfigError("idle_timeout_s", self.idle_timeout_s, "1 to 3600 seconds")
        if self.keepalive_s is not None and not 0 < self.keepalive_s < self.idle_timeout_s:
            raise ConfigError("keepalive_s", self.keepalive_s, "below idle_timeout_s, or None")
        if not 0.1 <= self.negotiation_timeout_s <= 120:
            raise ConfigError(
                "negotiation_timeout_s", self.negotiation_timeout_s, "0.1 to 120 seconds"
            )
        if not 0 <= self.close_flush_s <= 60:
            raise ConfigError("close_flush_s", self.close_flush_s, "0 to 60 seconds")
        for name in ("stream_window", "connection_window", "send_buffer_bytes"):
            if not 16 * KIB <= getattr(self, name) <= 1 << 30:
                raise ConfigError(name, getattr(self, name), "16 KiB to 1 GiB")
        if self.unsent_bytes_max is not None and not 16 * KIB <= self.unsent_bytes_max <= 1 << 30:
            raise ConfigError("unsent_bytes_max", self.unsent_bytes_max, "16 KiB to 1 GiB, or None")

    @property
    def offered_alpn(self) -> tuple[str, ...]:
        """The private profile speaks only its own protocol name [LQ-30]."""
        return (private_ext.ALPN,) if self.policy is PqPolicy.PRIVATE_EXT else self.alpn
