"""Authenticated encryption: XChaCha20-Poly1305, AES-256-GCM, and the RFC 8439 AEAD that Noise uses.

Nonces are the caller's: packets take theirs from the packet number (``ratchet``), Noise from its
counter. No function here draws one.

Spec: crypto §4 [CR-5, CR-6]; RFC 8439 §2.8; draft-irtf-cfrg-xchacha §2; NIST SP 800-38D.
"""

from __future__ import annotations

from enum import IntEnum

import monocypher
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from wraith.errors import DecryptError
from wraith.types import Buffer

TAG_BYTES = 16
KEY_BYTES = 32


class Aead(IntEnum):
    """AEAD by its code at the hotpath seam. All keys have 32 bytes, all tags 16."""

    XCHACHA20_POLY1305 = 1
    AES_256_GCM = 2
    #: Only inside Noise and for record lengths on stream transports; never for packets.
    CHACHA20_POLY1305 = 3

    @property
    def nonce_bytes(self) -> int:
        return 24 if self is Aead.XCHACHA20_POLY1305 else 12


def seal(aead: Aead, key: Buffer, nonce: bytes, aad: Buffer, plaintext: Buffer) -> bytes:
    """``ciphertext ‖ tag(16)``. ``key`` 32 bytes, ``nonce`` ``aead.nonce_bytes``; one use per pair.

    Raises:
        ValueError: wrong size of key or nonce (a defect of the caller).
    """
    cipher, iv = _cipher(aead, key, nonce)
    return cipher.encrypt(iv, plaintext, aad)


def open_(aead: Aead, key: Buffer, nonce: bytes, aad: Buffer, sealed: Buffer) -> bytes:
    """The plaintext of ``sealed`` = ``ciphertext ‖ tag(16)``.

    Raises:
        DecryptError: it does not authenticate, or is shorter than a tag. Never says which.
        ValueError: wrong size of key or nonce (a defect of the caller).
    """
    cipher, iv = _cipher(aead, key, nonce)
    try:
        return cipher.decrypt(iv, sealed, aad)
    except InvalidTag:
        raise DecryptError from None


def _cipher(aead: Aead, key: Buffer, nonce: bytes) -> tuple[AESGCM | ChaCha20Poly1305, bytes]:
    # Exact sizes: the libraries behind accept other GCM nonce lengths and shorter AES keys.
    if len(nonce) != aead.nonce_bytes or len(key) != KEY_BYTES:
        raise ValueError(f"{aead.name} takes a key of 32 and a nonce of {aead.nonce_bytes} bytes")
    if aead is Aead.AES_256_GCM:
        return AESGCM(key), nonce
    if aead is Aead.CHACHA20_POLY1305:
        return ChaCha20Poly1305(key), nonce
    subkey = monocypher.chacha20_h(bytes(key), nonce[:16])
    return ChaCha20Poly1305(subkey), b"\0\0\0\0" + nonce[16:]
