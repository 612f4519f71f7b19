"""The keys that an endpoint owns for longer than one connection.

Spec: handshake.md [HS-1] [HS-2] [HS-12] [HS-70].
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wraith.abc import Rng
from wraith.connection.handshake.node_record import check_psk
from wraith.crypto.ed25519 import Identity
from wraith.crypto.ident import make_ident
from wraith.crypto.x25519 import X25519Key

ACCESS_KEYS_MAX = 4
IDENT_LIFETIME_S = 365 * 86_400
IDENT_RENEW_S = 30 * 86_400
"""For a static key that outlives the process."""
EPHEMERAL_LIFETIME_S = 86_400
EPHEMERAL_RENEW_S = 43_200
"""For a static key of this process: who reads its memory can be this node for a day, no more."""
NO_PSK = bytes(32)


@dataclass(frozen=True, slots=True, eq=False)
class AccessKey:
    """One access key pair and the one psk that it is used with.

    Attributes:
        ak: X25519 pair, apart from the static key, so that it can be replaced alone.
        psk: 32 random bytes, or ``None``: then only hellos without one are accepted.
        persistent: the key outlives the process. Its replay cache is incomplete, and refuses
            hellos older than this process, until ``Endpoint.load_replay_records`` has been called.
    """

    ak: X25519Key
    psk: bytes | None = field(default=None, repr=False)
    persistent: bool = False

    def __post_init__(self) -> None:
        if self.psk is not None:
            check_psk(self.psk)

    @classmethod
    def generate(cls, rng: Rng, *, with_psk: bool = False) -> AccessKey:
        """A fresh key for this process; its replay cache is complete from the first moment."""
        psk = rng.secret_bytes(32) if with_psk else None
        return cls(X25519Key.generate(rng), psk)


@dataclass(slots=True, eq=False)
class EndpointKeys:
    """Identity (Ed25519), Noise static key (X25519) and the access keys to listen with (<= 4).

    Attributes:
        keeps_static: the static key outlives this process. Without that its certificate is short.
    """

    identity: Identity
    static: X25519Key
    access: tuple[AccessKey, ...] = ()
    keeps_static: bool = False
    _ident: bytes = field(default=b"", repr=False)
    _not_after: int = 0

    @classmethod
    def generate(cls, rng: Rng, *, listening: bool = True) -> EndpointKeys:
        access = (AccessKey.generate(rng),) if listening else ()
        return cls(Identity.generate(rng), X25519Key.generate(rng), access)

    def ident(self, unix_now: float) -> bytes:
        """The IDENT certificate (104 bytes), signed again in time. [HS-12] [HS-70]"""
        lifetime_s, renew_s = EPHEMERAL_LIFETIME_S, EPHEMERAL_RENEW_S
        if self.keeps_static:
            lifetime_s, renew_s = IDENT_LIFETIME_S, IDENT_RENEW_S
        if self._not_after - unix_now < renew_s:
            self._not_after = int(unix_now) + lifetime_s
            self._ident = make_ident(self.identity, self.static.public, self._not_after)
        return self._ident
