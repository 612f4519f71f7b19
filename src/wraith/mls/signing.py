"""Signatures of the suites: Ed25519, and ECDSA over P-256, P-384 and P-521.

Keys are on the wire as RFC 9420 §5.1.2 says: 32 raw bytes, or an uncompressed point; ECDSA
signatures are DER. ECDSA signs deterministically (RFC 6979), so no randomness is drawn. ECDSA
signatures can be changed into other valid ones; Ed25519's, the default suite's, cannot.

Spec: mls §3 [ML-7].
"""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidSignature as _Mismatch
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import InvalidKey, InvalidSignature, LocalProtocolError


class SignatureScheme(Protocol):
    """One algorithm. Private keys as ``Secret`` of their serialised form."""

    name: str
    private_bytes: int

    def private_key(self, private: Secret, /) -> SigningKey: ...

    def verify(self, public: bytes, signature: bytes, message: bytes, /) -> None:
        """Raises ``InvalidSignature``, also for a key that is none."""
        ...


class SigningKey(Protocol):
    public: bytes

    def sign(self, message: bytes, /) -> bytes: ...


class _Ed25519Key:
    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def sign(self, message: bytes, /) -> bytes:
        return self._key.sign(message)


class Ed25519:
    """RFC 8032."""

    __slots__ = ()
    name = "Ed25519"
    private_bytes = 32

    def private_key(self, private: Secret, /) -> SigningKey:
        raw = private.reveal()
        if len(raw) != self.private_bytes:
            raise InvalidKey
        return _Ed25519Key(Ed25519PrivateKey.from_private_bytes(raw))

    def verify(self, public: bytes, signature: bytes, message: bytes, /) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (_Mismatch, ValueError):
            raise InvalidSignature from None


class _EcdsaKey:
    __slots__ = ("_algorithm", "_key", "public")

    def __init__(self, key: ec.EllipticCurvePrivateKey, algorithm: ec.ECDSA) -> None:
        self._key = key
        self._algorithm = algorithm
        self.public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(self, message: bytes, /) -> bytes:
        return self._key.sign(message, self._algorithm)


class Ecdsa:
    """FIPS 186-5 over one curve, with the hash that its suite names."""

    __slots__ = ("_curve", "_hash", "name", "private_bytes")

    def __init__(
        self, curve: ec.EllipticCurve, hash_: hashes.HashAlgorithm, private_bytes: int
    ) -> None:
        self.name = f"ECDSA {curve.name}"
        self.private_bytes = private_bytes
        self._curve = curve
        self._hash = hash_

    def private_key(self, private: Secret, /) -> SigningKey:
        raw = private.reveal()
        if len(raw) > self.private_bytes:
            raise InvalidKey
        try:
            key = ec.derive_private_key(int.from_bytes(raw, "big"), self._curve)
        except ValueError:
            raise InvalidKey from None
        return _EcdsaKey(key, ec.ECDSA(self._hash, deterministic_signing=True))

    def verify(self, public: bytes, signature: bytes, message: bytes, /) -> None:
        try:
            if public[:1] != b"\x04":
                raise InvalidSignature
            key = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, public)
            key.verify(signature, message, ec.ECDSA(self._hash))
        except (_Mismatch, ValueError):
            raise InvalidSignature from None


class Signer:
    """A member's signature key pair, kept as its serialised private key."""

    __slots__ = ("_key", "_private", "public", "scheme")

    def __init__(self, scheme: SignatureScheme, private: Secret) -> None:
        self.scheme = scheme
        self._private = private
        self._key: SigningKey | None = scheme.private_key(private)
        #: As on the wire.
        self.public: bytes = self._key.public

    @classmethod
    def generate(cls, scheme: SignatureScheme, rng: Rng) -> Signer:
        while True:
            # A scalar out of range comes up with probability 2^-32 at most (P-256).
            material = bytearray(rng.secret_bytes(scheme.private_bytes))
            if scheme.private_bytes == 66:
                material[0] &= 0x01
            try:
                return cls(scheme, Secret(material))
            except InvalidKey:
                continue

    def private_bytes(self) -> bytes:
        """A copy of the private key, to be stored by whoever owns it."""
        return self._private.reveal()

    def sign(self, message: bytes) -> bytes:
        if self._key is None:
            raise LocalProtocolError("this key was wiped")
        return self._key.sign(message)

    def wipe(self) -> None:
        """Best effort; the library's own copy is freed when the object goes."""
        self._private.wipe()
        self._key = None

    def __repr__(self) -> str:
        return f"Signer({self.scheme.name}, public={self.public.hex()[:16]}...)"
