"""X25519 key pairs.

Spec: crypto §6 [CR-8]; RFC 7748 §5, §6.1.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import InvalidKey, LocalProtocolError

KEY_BYTES = 32


class X25519Key:
    """One key pair. The library's key object is built once and reused for every exchange."""

    __slots__ = ("_private", "_secret", "public")

    def __init__(self, secret: Secret) -> None:
        if len(secret) != KEY_BYTES:
            raise InvalidKey("an X25519 secret has 32 bytes")
        self._secret = secret
        self._private: X25519PrivateKey | None = X25519PrivateKey.from_private_bytes(
            secret.reveal()
        )
        #: 32 bytes, a u-coordinate.
        self.public: bytes = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, rng: Rng) -> X25519Key:
        return cls(Secret(rng.secret_bytes(KEY_BYTES)))

    @classmethod
    def from_secret(cls, secret: bytes) -> X25519Key:
        """From 32 secret bytes. Raises ``InvalidKey`` for another length."""
        return cls(Secret(secret))

    def secret_bytes(self) -> bytes:
        """A copy of the 32 secret bytes, to be stored by whoever owns the key."""
        return self._secret.reveal()

    def exchange(self, peer: bytes) -> bytes:
        """The 32-byte shared secret with the u-coordinate ``peer``.

        Raises:
            InvalidKey: ``peer`` has another length or small order (the result would be all zero).
            LocalProtocolError: this key was wiped.
        """
        if self._private is None:
            raise LocalProtocolError("this key was wiped")
        return exchange(self._private, peer)

    def wipe(self) -> None:
        """Best effort; the library's own copy is freed when the object goes."""
        self._secret.wipe()
        self._private = None

    def __repr__(self) -> str:
        return f"X25519Key(public={self.public.hex()})"


def exchange(private: X25519PrivateKey, peer: bytes) -> bytes:
    """X25519 with the checks of [CR-8]. Raises ``InvalidKey``."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError:
        # Wrong length, or all-zero output: OpenSSL refuses both.
        raise InvalidKey from None
