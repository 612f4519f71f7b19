"""Ed25519: a node's identity.

Spec: crypto §7 [CR-9]; RFC 8032 §5.1.
"""

from __future__ import annotations

from typing import Self

from cryptography.exceptions import InvalidSignature as _Mismatch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import InvalidKey, InvalidSignature, LocalProtocolError
from wraith.types import Buffer, PeerKey

SEED_BYTES = 32


class Identity:
    """An Ed25519 key pair, kept as its 32-byte seed."""

    __slots__ = ("_private", "_seed", "public")

    def __init__(self, seed: Secret) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidKey("an Ed25519 seed has 32 bytes")
        self._seed = seed
        self._private: Ed25519PrivateKey | None = Ed25519PrivateKey.from_private_bytes(
            seed.reveal()
        )
        self.public = PeerKey(self._private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, rng: Rng) -> Self:
        """A fresh identity."""
        return cls(Secret(rng.secret_bytes(SEED_BYTES)))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """From the 32-byte seed of RFC 8032. Raises ``InvalidKey`` for another length."""
        return cls(Secret(seed))

    def seed_bytes(self) -> bytes:
        """A copy of the 32-byte seed, to be stored by whoever owns the identity."""
        return self._seed.reveal()

    def sign(self, message: Buffer) -> bytes:
        """A 64-byte deterministic signature. ``message`` starts with a ``SignaturePrefix``."""
        if self._private is None:
            raise LocalProtocolError("this key was wiped")
        return self._private.sign(message)

    def wipe(self) -> None:
        """Best effort; the library's own copy is freed when the object goes."""
        self._seed.wipe()
        self._private = None

    def __repr__(self) -> str:
        return f"Identity({self.public.short})"


def verify(key: PeerKey, signature: Buffer, message: Buffer) -> None:
    """Return if ``signature`` over ``message`` is ``key``'s; cofactorless, canonical S only.

    Raises:
        InvalidSignature: it is not, whatever the reason.
    """
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
    except (_Mismatch, ValueError):
        raise InvalidSignature from None
