"""Elligator 2: X25519 keys that look like random bytes on the wire.

A representative is 32 bytes that nobody can tell from random; it decodes to a u-coordinate. Two
rules keep that true. Keys are *dirty*: the public point keeps a random low-order component, else
all of them would lie in the subgroup that random strings hit one time in eight. And the two unused
top bits of a representative are random. So an ordinary X25519 key must never be encoded; the type
``DirtyPublicKey`` stands in the way.

The public key that enters a transcript is always ``decode(representative)``, never one recomputed
from the secret: for dirty keys they differ (the shared secret does not, clamping removes the
component).

Spec: crypto §8 [CR-10, CR-11, CR-12]; Bernstein, Hamburg, Krasnova, Lange, CCS 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import monocypher
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.crypto.x25519 import exchange
from wraith.errors import InvalidKey, LocalProtocolError

REPRESENTATIVE_BYTES = 32


@dataclass(frozen=True, slots=True)
class DirtyPublicKey:
    """A u-coordinate (32 bytes) whose point carries a random low-order component.

    Build one only from a source that guarantees this: ``HiddenKey`` or a test vector.
    """

    u: bytes


class HiddenKey:
    """A fresh X25519 key pair with a representative. Made anew for every handshake attempt."""

    __slots__ = ("_private", "_secret", "public", "representative")

    def __init__(self, seed: Secret) -> None:
        hidden, secret = monocypher.elligator_key_pair(seed.reveal())
        #: 32 bytes to send; uniform.
        self.representative: bytes = hidden
        #: 32 bytes: what ``representative`` decodes to; this enters the transcript.
        self.public: bytes = monocypher.elligator_map(hidden)
        self._secret = Secret(secret)
        self._private: X25519PrivateKey | None = X25519PrivateKey.from_private_bytes(secret)

    @classmethod
    def generate(cls, rng: Rng) -> HiddenKey:
        return cls(Secret(rng.secret_bytes(32)))

    @classmethod
    def from_seed(cls, seed: bytes) -> HiddenKey:
        """The pair that the 32-byte ``seed`` stands for; for vectors and simulations."""
        return cls(Secret(seed))

    @property
    def dirty_public(self) -> DirtyPublicKey:
        return DirtyPublicKey(self.public)

    def secret_bytes(self) -> bytes:
        """A copy of the 32 secret bytes (the clamped-later scalar)."""
        return self._secret.reveal()

    def exchange(self, peer: bytes) -> bytes:
        """As ``X25519Key.exchange``: 32 bytes, or ``InvalidKey``."""
        if self._private is None:
            raise LocalProtocolError("this key was wiped")
        return exchange(self._private, peer)

    def wipe(self) -> None:
        """Best effort; the library's own copy is freed when the object goes."""
        self._secret.wipe()
        self._private = None


def decode(representative: bytes) -> bytes:
    """The u-coordinate (32 bytes) that a representative stands for. Every 32-byte string has one.

    Raises:
        InvalidKey: not 32 bytes.
    """
    if len(representative) != REPRESENTATIVE_BYTES:
        raise InvalidKey("a representative has 32 bytes")
    point: bytes = monocypher.elligator_map(representative)
    return point


def encode(key: DirtyPublicKey, tweak: int) -> bytes | None:
    """A representative of ``key``, or ``None`` for the half of all points that have none.

    Args:
        key: a dirty key; an ordinary one is refused by its type.
        tweak: one random byte. Bit 0 chooses the sign of v, bits 6-7 become the two padding bits.
    """
    if not isinstance(key, DirtyPublicKey):
        raise TypeError("only a dirty key may be encoded: an ordinary one would be recognisable")
    try:
        representative: bytes = monocypher.elligator_rev(key.u, tweak)
    except ValueError:
        return None
    return representative
