"""HPKE as MLS uses it: sealing by the library, ``DeriveKeyPair`` and export from here.

The library seals and opens in one shot (RFC 9180 §6.1, base mode, empty associated data). What it
does not offer stands here, over its primitives and HMAC: ``DeriveKeyPair`` (§7.1.3), through which
every path secret becomes a key pair, and the exporter of a context (§5.3), which external commits
need. The hybrid KEM is X-Wing, id 0x647a; its key pair is derived as draft-ietf-hpke-pq says.

Sealing and encapsulation to ML-KEM draw their randomness inside the library: they cannot be made
to repeat themselves.

Spec: mls §3 [ML-4, ML-5, ML-6]; RFC 9180 §4, §5.1, §5.3, §7.1; draft-ietf-hpke-pq;
draft-connolly-cfrg-xwing-kem.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wraith.crypto.hkdf import expand, extract
from wraith.crypto.secret import Secret
from wraith.errors import DecryptError, InvalidKey

_VERSION: Final = b"HPKE-v1"
_MODE_BASE: Final = b"\0"


@dataclass(frozen=True, slots=True)
class HpkeKeyPair:
    """An HPKE key pair: ``private`` as ``SerializePrivateKey`` gives it, ``public`` on the wire."""

    private: Secret
    public: bytes

    def wipe(self) -> None:
        self.private.wipe()


class KemKeys(Protocol):
    """The operations of a KEM that HPKE needs. Keys are the bytes of their serialised forms."""

    kem_id: int
    library_kem: hpke.KEM
    private_bytes: int
    encapsulated_bytes: int

    def derive_key_pair(self, ikm: bytes, /) -> HpkeKeyPair: ...

    def public_of(self, private: Secret, /) -> bytes: ...

    def library_private(self, private: Secret, /) -> Any: ...

    def library_public(self, public: bytes, /) -> Any: ...

    def check_public(self, public: bytes, /) -> None:
        """Something can be sealed to ``public``. Raises ``InvalidKey``."""
        ...

    def encapsulate(self, public: bytes, ephemeral_ikm: bytes, /) -> tuple[bytes, bytes]:
        """``(shared_secret, kem_output)``."""
        ...

    def decapsulate(self, kem_output: bytes, private: Secret, /) -> bytes: ...


def labeled_extract(
    hash_name: str, suite_id: bytes, salt: bytes, label: bytes, ikm: bytes
) -> bytes:
    """RFC 9180 §4, ``LabeledExtract``."""
    return extract(hash_name, salt, _VERSION + suite_id + label + ikm)


def labeled_expand(
    hash_name: str, suite_id: bytes, prk: bytes, label: bytes, info: bytes, n: int
) -> bytes:
    """RFC 9180 §4, ``LabeledExpand``."""
    return expand(hash_name, prk, n.to_bytes(2, "big") + _VERSION + suite_id + label + info, n)


class DhKem:
    """DHKEM (RFC 9180 §4.1) over X25519 or a NIST curve."""

    __slots__ = (
        "_curve",
        "_hash_name",
        "_mask",
        "_suite_id",
        "encapsulated_bytes",
        "kem_id",
        "library_kem",
        "private_bytes",
    )

    def __init__(
        self,
        kem_id: int,
        library_kem: hpke.KEM,
        hash_name: str,
        curve: ec.EllipticCurve | None,
        private_bytes: int,
        mask: int = 0xFF,
    ) -> None:
        self.kem_id = kem_id
        self.library_kem = library_kem
        self.private_bytes = private_bytes
        self.encapsulated_bytes = library_kem.enc_length()
        self._hash_name = hash_name
        self._curve = curve
        self._mask = mask
        self._suite_id = b"KEM" + kem_id.to_bytes(2, "big")

    def derive_key_pair(self, ikm: bytes, /) -> HpkeKeyPair:
        """RFC 9180 §7.1.3. [ML-4]"""
        name, suite_id = self._hash_name, self._suite_id
        prk = labeled_extract(name, suite_id, b"", b"dkp_prk", ikm)
        if self._curve is None:
            sk = Secret(labeled_expand(name, suite_id, prk, b"sk", b"", self.private_bytes))
            return HpkeKeyPair(sk, self.public_of(sk))
        for counter in range(256):
            candidate = bytearray(
                labeled_expand(
                    name, suite_id, prk, b"candidate", bytes((counter,)), self.private_bytes
                )
            )
            candidate[0] &= self._mask
            try:
                sk = Secret(candidate)
                return HpkeKeyPair(sk, self.public_of(sk))
            except InvalidKey:
                continue
        raise InvalidKey("no key pair comes of this material")

    def public_of(self, private: Secret, /) -> bytes:
        return self._public_bytes(self.library_private(private).public_key())

    def library_private(self, private: Secret, /) -> Any:
        raw = private.reveal()
        if self._curve is None:
            if len(raw) != self.private_bytes:
                raise InvalidKey
            return X25519PrivateKey.from_private_bytes(raw)
        # Others store a scalar without its leading zeros; P-521's has some half of the time.
        if len(raw) > self.private_bytes:
            raise InvalidKey
        try:
            return ec.derive_private_key(int.from_bytes(raw, "big"), self._curve)
        except ValueError:
            raise InvalidKey from None

    def library_public(self, public: bytes, /) -> Any:
        try:
            if self._curve is None:
                return X25519PublicKey.from_public_bytes(public)
            if public[:1] != b"\x04":
                raise InvalidKey
            return ec.EllipticCurvePublicKey.from_encoded_point(self._curve, public)
        except ValueError:
            raise InvalidKey from None

    def check_public(self, public: bytes, /) -> None:
        key = self.library_public(public)
        if self._curve is None:
            # A point of small order parses; every exchange with it is refused.
            _x25519(_PROBE, key)

    def encapsulate(self, public: bytes, ephemeral_ikm: bytes, /) -> tuple[bytes, bytes]:
        ephemeral = self.derive_key_pair(ephemeral_ikm)
        kem_output = ephemeral.public
        dh = self._exchange(self.library_private(ephemeral.private), self.library_public(public))
        ephemeral.wipe()
        return self._extract_and_expand(dh, kem_output + public), kem_output

    def decapsulate(self, kem_output: bytes, private: Secret, /) -> bytes:
        own = self.library_private(private)
        dh = self._exchange(own, self.library_public(kem_output))
        public = self._public_bytes(own.public_key())
        return self._extract_and_expand(dh, kem_output + public)

    def _exchange(self, private: Any, public: Any) -> bytes:
        try:
            if self._curve is None:
                shared: bytes = private.exchange(public)
            else:
                shared = private.exchange(ec.ECDH(), public)
        except ValueError:
            raise InvalidKey from None
        return shared

    def _extract_and_expand(self, dh: bytes, kem_context: bytes) -> bytes:
        prk = labeled_extract(self._hash_name, self._suite_id, b"", b"eae_prk", dh)
        n = hashlib.new(self._hash_name).digest_size
        return labeled_expand(
            self._hash_name, self._suite_id, prk, b"shared_secret", kem_context, n
        )

    def _public_bytes(self, public: Any) -> bytes:
        if self._curve is None:
            raw: bytes = public.public_bytes_raw()
        else:
            raw = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return raw


class XWing:
    """X-Wing: ML-KEM-768 with X25519, as HPKE's KEM 0x647a. The private key is a 32-byte seed.

    Args:
        unlabelled: derive key pairs as hpke-rs 0.7 does, ``SHAKE256(ikm, 32)``. Only for tests
            against that library; the draft's labelled derivation is the product's.
    """

    __slots__ = ("_unlabelled", "encapsulated_bytes", "kem_id", "library_kem", "private_bytes")

    _LABEL: Final = bytes.fromhex("5c2e2f2f5e5c")  # six ASCII characters that draw an X-wing
    _PQ_PUBLIC: Final = 1184
    _PQ_CIPHERTEXT: Final = 1088

    def __init__(self, *, unlabelled: bool = False) -> None:
        self.kem_id = 0x647A
        self.library_kem = hpke.KEM.MLKEM768_X25519
        self.private_bytes = 32
        self.encapsulated_bytes = self._PQ_CIPHERTEXT + 32
        self._unlabelled = unlabelled

    def derive_key_pair(self, ikm: bytes, /) -> HpkeKeyPair:
        """``SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", 32)`` is the seed. [ML-5]"""
        if not self._unlabelled:
            label = b"DeriveKeyPair"
            suite_id = b"KEM" + self.kem_id.to_bytes(2, "big")
            n_label, n = len(label).to_bytes(2, "big"), (32).to_bytes(2, "big")
            ikm = ikm + _VERSION + suite_id + n_label + label + n
        seed = Secret(hashlib.shake_256(ikm).digest(32))
        return HpkeKeyPair(seed, self.public_of(seed))

    def public_of(self, private: Secret, /) -> bytes:
        pq, classical = self._parts(private)
        return pq.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()

    def library_private(self, private: Secret, /) -> Any:
        return hpke.MLKEM768X25519PrivateKey(*self._parts(private))

    def library_public(self, public: bytes, /) -> Any:
        return hpke.MLKEM768X25519PublicKey(*self._public_parts(public))

    def check_public(self, public: bytes, /) -> None:
        _, classical = self._public_parts(public)
        _x25519(_PROBE, classical)

    def encapsulate(self, public: bytes, ephemeral_ikm: bytes, /) -> tuple[bytes, bytes]:
        pq, classical = self._public_parts(public)
        pq_ss, pq_ct = pq.encapsulate()
        ephemeral = X25519PrivateKey.from_private_bytes(hashlib.shake_256(ephemeral_ikm).digest(32))
        c_ct = ephemeral.public_key().public_bytes_raw()
        shared = self._combine(pq_ss, _x25519(ephemeral, classical), c_ct, public[-32:])
        return shared, pq_ct + c_ct

    def decapsulate(self, kem_output: bytes, private: Secret, /) -> bytes:
        if len(kem_output) != self.encapsulated_bytes:
            raise InvalidKey
        pq, classical = self._parts(private)
        c_ct = kem_output[self._PQ_CIPHERTEXT :]
        pq_ss = pq.decapsulate(kem_output[: self._PQ_CIPHERTEXT])
        c_ss = _x25519(classical, X25519PublicKey.from_public_bytes(c_ct))
        return self._combine(pq_ss, c_ss, c_ct, classical.public_key().public_bytes_raw())

    def _combine(self, pq_ss: bytes, c_ss: bytes, c_ct: bytes, c_pk: bytes) -> bytes:
        return hashlib.sha3_256(pq_ss + c_ss + c_ct + c_pk + self._LABEL).digest()

    def _parts(self, private: Secret) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        seed = private.reveal()
        if len(seed) != self.private_bytes:
            raise InvalidKey
        expanded = hashlib.shake_256(seed).digest(96)
        return (
            MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
            X25519PrivateKey.from_private_bytes(expanded[64:]),
        )

    def _public_parts(self, public: bytes) -> tuple[MLKEM768PublicKey, X25519PublicKey]:
        if len(public) != self._PQ_PUBLIC + 32:
            raise InvalidKey
        try:
            return (
                MLKEM768PublicKey.from_public_bytes(public[: self._PQ_PUBLIC]),
                X25519PublicKey.from_public_bytes(public[self._PQ_PUBLIC :]),
            )
        except ValueError:
            raise InvalidKey from None


#: Any private key finds a point of small order; this one is secret to nobody.
_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(range(32)))


def _x25519(private: X25519PrivateKey, public: X25519PublicKey) -> bytes:
    try:
        return private.exchange(public)
    except ValueError:
        raise InvalidKey from None


@dataclass(frozen=True, slots=True)
class Hpke:
    """One combination of KEM, KDF and AEAD, in base mode.

    ``hash_name`` is the KDF's, as ``hashlib`` spells it; ``kdf_id`` and ``aead_id`` are the
    numbers of RFC 9180 §7.
    """

    kem: KemKeys
    hash_name: str
    kdf_id: int
    aead_id: int
    library: hpke.Suite

    def seal(self, public: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """``(kem_output, ciphertext)``. Raises ``InvalidKey``."""
        key = self.kem.library_public(public)
        try:
            sealed = self.library.encrypt(plaintext, key, info)
        except ValueError:
            raise InvalidKey from None
        n = self.kem.encapsulated_bytes
        return sealed[:n], sealed[n:]

    def open(self, private: Secret, kem_output: bytes, info: bytes, ciphertext: bytes) -> bytes:
        """The plaintext. Raises ``DecryptError``, whatever the reason."""
        if len(kem_output) != self.kem.encapsulated_bytes:
            raise DecryptError
        key = self.kem.library_private(private)
        try:
            return self.library.decrypt(kem_output + ciphertext, key, info)
        except (InvalidTag, ValueError):
            raise DecryptError from None

    def send_export(
        self, public: bytes, label: bytes, n: int, ephemeral_ikm: bytes
    ) -> tuple[bytes, bytes]:
        """``(kem_output, exported)``: ``SetupBaseS(public, "")``, then ``Export``. [ML-6]"""
        shared, kem_output = self.kem.encapsulate(public, ephemeral_ikm)
        return kem_output, self._export(shared, label, n)

    def receive_export(self, kem_output: bytes, private: Secret, label: bytes, n: int) -> bytes:
        """``SetupBaseR(kem_output, private, "")``, then ``Export``. Raises ``InvalidKey``."""
        return self._export(self.kem.decapsulate(kem_output, private), label, n)

    def exporter_secret(self, shared: bytes, info: bytes) -> bytes:
        """RFC 9180 §5.1, ``KeySchedule`` in base mode, the exporter secret alone."""
        name, suite_id = self.hash_name, self.suite_id
        psk_id_hash = labeled_extract(name, suite_id, b"", b"psk_id_hash", b"")
        info_hash = labeled_extract(name, suite_id, b"", b"info_hash", info)
        secret = labeled_extract(name, suite_id, shared, b"secret", b"")
        context = _MODE_BASE + psk_id_hash + info_hash
        n = hashlib.new(name).digest_size
        return labeled_expand(name, suite_id, secret, b"exp", context, n)

    def _export(self, shared: bytes, label: bytes, n: int) -> bytes:
        secret = self.exporter_secret(shared, b"")
        return labeled_expand(self.hash_name, self.suite_id, secret, b"sec", label, n)

    @property
    def suite_id(self) -> bytes:
        return b"HPKE" + b"".join(
            number.to_bytes(2, "big") for number in (self.kem.kem_id, self.kdf_id, self.aead_id)
        )
