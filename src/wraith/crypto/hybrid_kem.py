"""The hybrid key encapsulation: X25519 and ML-KEM-768, combined.

``combine`` alone binds neither ciphertexts nor public keys. Inside the handshake and the rekey the
transcript binds them; anywhere else call ``encapsulate_bound``. Its output is never used as a key.

Spec: crypto §12 [CR-25, CR-26]; X-Wing (draft-connolly-cfrg-xwing-kem) for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.abc import Kem, KemSecret, Rng
from wraith.crypto.kdf import Label, blake3, derive_key
from wraith.crypto.x25519 import X25519Key
from wraith.errors import InvalidKey


def combine(c_ss: bytes, pq_ss: bytes, label: Label = Label.HYBRID_KEM) -> bytes:
    """``derive_key(label, c_ss ‖ pq_ss)``, 32 bytes; the classical secret first. [CR-25]

    Both inputs have a fixed length per suite, which makes the concatenation injective.
    """
    return derive_key(label, c_ss + pq_ss)


@dataclass(frozen=True, slots=True)
class HybridPublicKey:
    """``c_pk`` 32 bytes, ``pq_pk`` an encapsulation key."""

    c_pk: bytes
    pq_pk: bytes


@dataclass(frozen=True, slots=True)
class HybridCiphertext:
    """``c_ct`` 32 bytes (an ephemeral X25519 public key), ``pq_ct`` a KEM ciphertext."""

    c_ct: bytes
    pq_ct: bytes


class HybridSecret:
    """The decapsulation side of one hybrid key pair."""

    __slots__ = ("_classical", "_post_quantum", "public")

    def __init__(self, classical: X25519Key, post_quantum: KemSecret) -> None:
        self._classical = classical
        self._post_quantum = post_quantum
        self.public = HybridPublicKey(classical.public, post_quantum.encapsulation_key)

    def decapsulate(self, ciphertext: HybridCiphertext) -> bytes:
        """The combined secret (32 bytes), a building block. Raises ``InvalidKey``."""
        c_ss = self._classical.exchange(ciphertext.c_ct)
        return combine(c_ss, self._post_quantum.decapsulate(ciphertext.pq_ct))

    def decapsulate_bound(self, ciphertext: HybridCiphertext, info: bytes) -> bytes:
        """Inverse of ``HybridKem.encapsulate_bound``: 32 bytes. Raises ``InvalidKey``."""
        return bind(self.decapsulate(ciphertext), self.public, ciphertext, info)

    def wipe(self) -> None:
        self._classical.wipe()
        self._post_quantum.wipe()


class HybridKem:
    """X25519 with ``kem``. The classical ciphertext is a fresh public key."""

    __slots__ = ("post_quantum",)

    def __init__(self, post_quantum: Kem) -> None:
        self.post_quantum = post_quantum

    def generate(self, rng: Rng) -> HybridSecret:
        return HybridSecret(X25519Key.generate(rng), self.post_quantum.generate(rng))

    def encapsulate(self, peer: HybridPublicKey, rng: Rng) -> tuple[bytes, HybridCiphertext]:
        """``(combined secret 32, ciphertext)``. A building block: binds nothing by itself.

        Raises:
            InvalidKey: either public key is unusable.
        """
        ephemeral = X25519Key.generate(rng)
        c_ss = ephemeral.exchange(peer.c_pk)
        pq_ss, pq_ct = self.post_quantum.encapsulate(peer.pq_pk, rng)
        ephemeral.wipe()
        return combine(c_ss, pq_ss), HybridCiphertext(ephemeral.public, pq_ct)

    def encapsulate_bound(
        self, peer: HybridPublicKey, info: bytes, rng: Rng
    ) -> tuple[bytes, HybridCiphertext]:
        """``(key 32, ciphertext)``, bound to both public keys, both ciphertexts and ``info``.

        Args:
            info: at most 65535 bytes of context; both sides must use the same.
        """
        secret, ciphertext = self.encapsulate(peer, rng)
        return bind(secret, peer, ciphertext, info), ciphertext


def bind(
    combined: bytes, public: HybridPublicKey, ciphertext: HybridCiphertext, info: bytes
) -> bytes:
    """``DK(kem-bind, combined ‖ H)``, 32 bytes. [CR-26]

    ``H = BLAKE3(c_ct ‖ c_pk ‖ pq_ct ‖ pq_pk ‖ len16(info) ‖ info)``.
    """
    if len(info) > 0xFFFF:
        raise ValueError("info has at most 65535 bytes")
    if len(ciphertext.c_ct) != 32 or len(public.c_pk) != 32:
        raise InvalidKey
    transcript = b"".join(
        (
            ciphertext.c_ct,
            public.c_pk,
            ciphertext.pq_ct,
            public.pq_pk,
            len(info).to_bytes(2, "big"),
            info,
        )
    )
    return derive_key(Label.KEM_BIND, combined + blake3(transcript))
