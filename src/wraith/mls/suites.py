"""The cipher suites, and every labelled operation of RFC 9420 §5 and §8 over one of them.

========= ================================================ ==========
number    suite                                            kind
========= ================================================ ==========
0x0001    DHKEM-X25519, AES-128-GCM, SHA-256, Ed25519      classical
0x0002    DHKEM-P256, AES-128-GCM, SHA-256, ECDSA P-256    classical
0x0003    DHKEM-X25519, ChaCha20-Poly1305, SHA-256, Ed25519 classical
0x0005    DHKEM-P521, AES-256-GCM, SHA-512, ECDSA P-521    classical
0x0007    DHKEM-P384, AES-256-GCM, SHA-384, ECDSA P-384    classical
0xF001    X-Wing, AES-128-GCM, SHA-256, Ed25519            hybrid, default
0xF002    X-Wing, AES-256-GCM, SHA-384, Ed25519            hybrid
========= ================================================ ==========

0x0004 and 0x0006 need X448 in HPKE, which the library lacks: they are refused by name. The hybrid
suites are those of draft-ietf-mls-pq-ciphersuites, which has no numbers yet; ours are private.

Spec: mls §3 [ML-3, ML-8].
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from wraith.abc import Rng
from wraith.crypto.hkdf import expand, extract
from wraith.crypto.secret import Secret
from wraith.errors import DecryptError, UnsupportedSuite
from wraith.mls.codec import length, opaque, u16, u32
from wraith.mls.hpke import DhKem, Hpke, HpkeKeyPair, XWing
from wraith.mls.signing import Ecdsa, Ed25519, SignatureScheme, Signer

_PREFIX: Final = b"MLS 1.0 "
TAG_BYTES: Final = 16


class AeadKind(Enum):
    """The AEAD of a suite: key bytes, HPKE's number. All nonces have 12 bytes, all tags 16."""

    AES_128_GCM = (16, 1)
    AES_256_GCM = (32, 2)
    CHACHA20_POLY1305 = (32, 3)

    @property
    def key_bytes(self) -> int:
        return self.value[0]

    @property
    def hpke_id(self) -> int:
        return self.value[1]


@dataclass(frozen=True, slots=True, eq=False)
class CipherSuite:
    """One suite. ``strength_bits`` and ``post_quantum`` order suites for ``is_downgrade``."""

    number: int
    name: str
    hpke: Hpke
    hash_name: str
    hash_bytes: int
    aead: AeadKind
    signature: SignatureScheme
    strength_bits: int
    post_quantum: bool

    nonce_bytes = 12

    def __repr__(self) -> str:
        return f"CipherSuite(0x{self.number:04x} {self.name})"

    @property
    def key_bytes(self) -> int:
        return self.aead.key_bytes

    def is_downgrade_from(self, old: CipherSuite) -> bool:
        """Whether going from ``old`` to this one would lose strength or the hybrid."""
        return (old.post_quantum and not self.post_quantum) or (
            self.strength_bits < old.strength_bits
        )

    # RFC 9420 §5.2
    def hash(self, data: bytes) -> bytes:
        return hashlib.new(self.hash_name, data).digest()

    def ref_hash(self, label: bytes, value: bytes) -> bytes:
        """``RefHash``; ``label`` in full, e.g. ``b"MLS 1.0 KeyPackage Reference"``."""
        return self.hash(opaque(label) + opaque(value))

    def mac(self, key: Secret, data: bytes) -> bytes:
        return hmac.digest(key.reveal(), data, self.hash_name)

    def mac_matches(self, key: Secret, data: bytes, tag: bytes) -> bool:
        """Constant time."""
        return hmac.compare_digest(self.mac(key, data), tag)

    # RFC 9420 §8
    def extract(self, salt: bytes, ikm: bytes) -> bytes:
        return extract(self.hash_name, salt, ikm)

    def expand_with_label(self, secret: bytes, label: bytes, context: bytes, n: int) -> bytes:
        name = _PREFIX + label
        info = b"%b%b%b%b%b" % (u16(n), length(len(name)), name, length(len(context)), context)
        if n <= self.hash_bytes:
            return hmac.digest(secret, info + b"\1", self.hash_name)[:n]
        return expand(self.hash_name, secret, info, n)

    def derive_secret(self, secret: bytes, label: bytes) -> bytes:
        return self.expand_with_label(secret, label, b"", self.hash_bytes)

    def derive_tree_secret(self, secret: bytes, label: bytes, generation: int, n: int) -> bytes:
        return self.expand_with_label(secret, label, u32(generation), n)

    # RFC 9420 §5.1.2, §5.1.3
    def sign_with_label(self, signer: Signer, label: bytes, content: bytes) -> bytes:
        return signer.sign(opaque(_PREFIX + label) + opaque(content))

    def verify_with_label(
        self, public: bytes, label: bytes, content: bytes, signature: bytes
    ) -> None:
        """Raises ``InvalidSignature``."""
        self.signature.verify(public, signature, opaque(_PREFIX + label) + opaque(content))

    def encrypt_with_label(
        self, public: bytes, label: bytes, context: bytes, plaintext: bytes
    ) -> tuple[bytes, bytes]:
        """``(kem_output, ciphertext)``. Raises ``InvalidKey``."""
        return self.hpke.seal(public, opaque(_PREFIX + label) + opaque(context), plaintext)

    def decrypt_with_label(
        self, private: Secret, label: bytes, context: bytes, kem_output: bytes, ciphertext: bytes
    ) -> bytes:
        """Raises ``DecryptError``."""
        info = opaque(_PREFIX + label) + opaque(context)
        return self.hpke.open(private, kem_output, info, ciphertext)

    def derive_key_pair(self, ikm: bytes) -> HpkeKeyPair:
        return self.hpke.kem.derive_key_pair(ikm)

    def generate_key_pair(self, rng: Rng) -> HpkeKeyPair:
        return self.derive_key_pair(rng.secret_bytes(self.hpke.kem.private_bytes))

    def generate_signer(self, rng: Rng) -> Signer:
        return Signer.generate(self.signature, rng)

    def signer(self, private: bytes) -> Signer:
        """From a stored private key. Raises ``InvalidKey``."""
        return Signer(self.signature, Secret(private))

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return self._cipher(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
        """Raises ``DecryptError``."""
        try:
            return self._cipher(key).decrypt(nonce, sealed, aad)
        except InvalidTag:
            raise DecryptError from None

    def _cipher(self, key: bytes) -> AESGCM | ChaCha20Poly1305:
        return ChaCha20Poly1305(key) if self.aead is AeadKind.CHACHA20_POLY1305 else AESGCM(key)


_KDF_IDS: Final = {"sha256": 1, "sha384": 2, "sha512": 3}
_LIBRARY_KDF: Final = {
    "sha256": hpke.KDF.HKDF_SHA256,
    "sha384": hpke.KDF.HKDF_SHA384,
    "sha512": hpke.KDF.HKDF_SHA512,
}
_LIBRARY_AEAD: Final = {
    AeadKind.AES_128_GCM: hpke.AEAD.AES_128_GCM,
    AeadKind.AES_256_GCM: hpke.AEAD.AES_256_GCM,
    AeadKind.CHACHA20_POLY1305: hpke.AEAD.CHACHA20_POLY1305,
}

X25519: Final = DhKem(0x0020, hpke.KEM.X25519, "sha256", None, 32)
P256: Final = DhKem(0x0010, hpke.KEM.P256, "sha256", ec.SECP256R1(), 32)
P384: Final = DhKem(0x0011, hpke.KEM.P384, "sha384", ec.SECP384R1(), 48)
P521: Final = DhKem(0x0012, hpke.KEM.P521, "sha512", ec.SECP521R1(), 66, mask=0x01)
X_WING: Final = XWing()


def make_suite(
    number: int,
    name: str,
    kem: DhKem | XWing,
    hash_name: str,
    aead: AeadKind,
    signature: SignatureScheme,
    strength_bits: int,
) -> CipherSuite:
    """A suite of these parts. The product's are in ``SUITES``; tests make variants."""
    library = hpke.Suite(kem.library_kem, _LIBRARY_KDF[hash_name], _LIBRARY_AEAD[aead])
    return CipherSuite(
        number=number,
        name=name,
        hpke=Hpke(kem, hash_name, _KDF_IDS[hash_name], aead.hpke_id, library),
        hash_name=hash_name,
        hash_bytes=hashlib.new(hash_name).digest_size,
        aead=aead,
        signature=signature,
        strength_bits=strength_bits,
        post_quantum=isinstance(kem, XWing),
    )


_ED25519: Final = Ed25519()
_AES_128, _AES_256, _CHACHA = AeadKind

SUITES: Final[dict[int, CipherSuite]] = {
    suite.number: suite
    for suite in (
        make_suite(
            0x0001,
            "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
            X25519,
            "sha256",
            _AES_128,
            _ED25519,
            128,
        ),
        make_suite(
            0x0002,
            "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
            P256,
            "sha256",
            _AES_128,
            Ecdsa(ec.SECP256R1(), hashes.SHA256(), 32),
            128,
        ),
        make_suite(
            0x0003,
            "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
            X25519,
            "sha256",
            _CHACHA,
            _ED25519,
            128,
        ),
        make_suite(
            0x0005,
            "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
            P521,
            "sha512",
            _AES_256,
            Ecdsa(ec.SECP521R1(), hashes.SHA512(), 66),
            256,
        ),
        make_suite(
            0x0007,
            "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
            P384,
            "sha384",
            _AES_256,
            Ecdsa(ec.SECP384R1(), hashes.SHA384(), 48),
            192,
        ),
        make_suite(
            0xF001,
            "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519",
            X_WING,
            "sha256",
            _AES_128,
            _ED25519,
            128,
        ),
        make_suite(
            0xF002,
            "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519",
            X_WING,
            "sha384",
            _AES_256,
            _ED25519,
            128,
        ),
    )
}
DEFAULT_SUITE: Final = SUITES[0xF001]

_REFUSED: Final = {
    0x0004: "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448 needs X448 in HPKE",
    0x0006: "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448 needs X448 in HPKE",
}


def suite_by_id(number: int) -> CipherSuite:
    """The suite of that number.

    Raises:
        UnsupportedSuite: it is not one of ours; for 4 and 6 the message says why. [ML-3]
    """
    suite = SUITES.get(number)
    if suite is None:
        raise UnsupportedSuite(number, _REFUSED.get(number, "it is not known here"))
    return suite
