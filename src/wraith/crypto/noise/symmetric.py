"""``CipherState`` and ``SymmetricState`` of the Noise specification.

Spec: crypto §11.2 [CR-16]; Noise rev. 34 §5.1, §5.2, §12.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from wraith.crypto.hkdf import expand, extract
from wraith.errors import DecryptError, NonceExhausted
from wraith.types import Buffer

TAG_BYTES = 16
_NONCE_END = 2**64 - 1  # reserved by Noise for rekey

#: cipher name -> (constructor, byte order of the counter in the 12-byte nonce)
CIPHERS: dict[str, tuple[Callable[[bytes], AESGCM | ChaCha20Poly1305], str]] = {
    "ChaChaPoly": (ChaCha20Poly1305, "little"),
    "AESGCM": (AESGCM, "big"),
}
_HASHES: dict[str, tuple[str, Callable[..., Any]]] = {
    "SHA256": ("sha256", hashlib.sha256),
    "SHA512": ("sha512", hashlib.sha512),
    "BLAKE2s": ("blake2s", hashlib.blake2s),
    "BLAKE2b": ("blake2b", hashlib.blake2b),
}


class CipherState:
    """A key and its counter. The library's cipher object is built once per key."""

    __slots__ = ("_aead", "_big_endian", "key", "n")

    def __init__(self, cipher: str, key: bytes) -> None:
        new, order = CIPHERS[cipher]
        self._aead = new(key)
        self._big_endian = order == "big"
        self.key = key
        self.n = 0

    def encrypt(self, ad: Buffer, plaintext: Buffer) -> bytes:
        """``ciphertext ‖ tag(16)``; advances the counter. Raises ``NonceExhausted`` at its end."""
        sealed = self._aead.encrypt(self._nonce(), plaintext, ad)
        self.n += 1
        return sealed

    def decrypt(self, ad: Buffer, sealed: Buffer) -> bytes:
        """The plaintext; advances the counter only on success. Raises ``DecryptError``."""
        try:
            plaintext = self._aead.decrypt(self._nonce(), sealed, ad)
        except InvalidTag:
            raise DecryptError from None
        self.n += 1
        return plaintext

    def _nonce(self) -> bytes:
        if self.n >= _NONCE_END:
            raise NonceExhausted
        return b"\0\0\0\0" + self.n.to_bytes(8, "big" if self._big_endian else "little")


Snapshot = tuple[bytes, bytes, CipherState | None, int]


class SymmetricState:
    """The chaining key ``ck``, the transcript hash ``h`` and, once there is one, the key."""

    __slots__ = ("_cipher_name", "_hash_name", "_new_hash", "cipher", "ck", "h")

    def __init__(self, protocol_name: str, cipher: str, hash_name: str) -> None:
        if cipher not in CIPHERS or hash_name not in _HASHES:
            raise ValueError(f"unknown cipher or hash in {protocol_name!r}")
        self._cipher_name = cipher
        self._hash_name, self._new_hash = _HASHES[hash_name]
        name = protocol_name.encode()
        size = self._new_hash().digest_size
        self.h: bytes = name.ljust(size, b"\0") if len(name) <= size else self._hash(name)
        self.ck: bytes = self.h
        self.cipher: CipherState | None = None

    def mix_key(self, material: bytes) -> None:
        self.ck, key = self._hkdf2(material)
        self.cipher = CipherState(self._cipher_name, key[:32])

    def mix_hash(self, data: Buffer) -> None:
        hasher = self._new_hash(self.h)
        hasher.update(data)
        self.h = hasher.digest()

    def mix_key_and_hash(self, material: bytes) -> None:
        size = len(self.ck)
        out = expand(self._hash_name, extract(self._hash_name, self.ck, material), b"", 3 * size)
        self.ck = out[:size]
        self.mix_hash(out[size : 2 * size])
        self.cipher = CipherState(self._cipher_name, out[2 * size : 2 * size + 32])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = plaintext if self.cipher is None else self.cipher.encrypt(self.h, plaintext)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: Buffer) -> bytes:
        plain = bytes(sealed) if self.cipher is None else self.cipher.decrypt(self.h, sealed)
        self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[CipherState, CipherState]:
        """The transport ciphers: first for whoever sent the first message, then the other's."""
        first, second = self._hkdf2(b"")
        name = self._cipher_name
        return CipherState(name, first[:32]), CipherState(name, second[:32])

    def snapshot(self) -> Snapshot:
        return self.ck, self.h, self.cipher, 0 if self.cipher is None else self.cipher.n

    def restore(self, snapshot: Snapshot) -> None:
        self.ck, self.h, self.cipher, n = snapshot
        if self.cipher is not None:
            self.cipher.n = n

    def _hash(self, data: bytes) -> bytes:
        digest: bytes = self._new_hash(data).digest()
        return digest

    def _hkdf2(self, material: bytes) -> tuple[bytes, bytes]:
        # HKDF with two outputs, written out: it runs for every key exchange of every handshake.
        name = self._hash_name
        prk = hmac.digest(self.ck, material, name)
        first = hmac.digest(prk, b"\x01", name)
        return first, hmac.digest(prk, first + b"\x02", name)
