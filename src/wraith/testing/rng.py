"""Seeded randomness and a deterministic KEM, for vectors and simulations. Insecure by design.

Spec: style of tests in docs/; nothing outside ``wraith.testing`` and tests may import this.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn

from blake3 import blake3

from wraith.abc import Rng
from wraith.errors import InvalidKey, LocalProtocolError


class SeededRng:
    """Two independent deterministic streams, one per door, from one seed.

    ``n_public`` and ``n_secret`` count the bytes drawn so far, so that a test can see which kind of
    randomness a step took.
    """

    def __init__(self, seed: int | str | bytes) -> None:
        raw = seed if isinstance(seed, bytes) else str(seed).encode()
        self._public = blake3(raw, derive_key_context="wraith testing rng public")
        self._secret = blake3(raw, derive_key_context="wraith testing rng secret")
        self.n_public = 0
        self.n_secret = 0

    def public_bytes(self, n: int, /) -> bytes:
        out = self._public.digest(length=n, seek=self.n_public)
        self.n_public += n
        return out

    def secret_bytes(self, n: int, /) -> bytes:
        out = self._secret.digest(length=n, seek=self.n_secret)
        self.n_secret += n
        return out


class RaisingRng:
    """Raises when anything is drawn: for steps that must not need randomness."""

    def public_bytes(self, n: int, /) -> NoReturn:
        raise AssertionError(f"{n} public random bytes were drawn where none may be")

    def secret_bytes(self, n: int, /) -> NoReturn:
        raise AssertionError(f"{n} secret random bytes were drawn where none may be")


class FixedRng:
    """Hands out prepared secret bytes in order; raises when they run out."""

    def __init__(self, *secrets: bytes) -> None:
        self._left = list(secrets)

    def public_bytes(self, n: int, /) -> NoReturn:
        raise AssertionError(f"{n} public random bytes were drawn where none may be")

    def secret_bytes(self, n: int, /) -> bytes:
        value = self._left.pop(0)
        if len(value) != n:
            raise AssertionError(f"{n} bytes were drawn where {len(value)} are prepared")
        return value


class _HashKemSecret:
    def __init__(self, seed: bytes) -> None:
        self._seed: bytes | None = seed
        self.encapsulation_key: bytes = blake3(b"ek" + seed).digest(length=1184)

    def decapsulate(self, ciphertext: bytes, /) -> bytes:
        if self._seed is None:
            raise LocalProtocolError("this key was wiped")
        if len(ciphertext) != 1088:
            raise InvalidKey
        return _hash_ss(self.encapsulation_key, ciphertext)

    def wipe(self) -> None:
        self._seed = None


class HashKem:
    """Sizes of ML-KEM-768, deterministic, and no secrecy whatsoever.

    Anyone who sees the messages can compute the shared secret. For simulations, where it saves time
    and makes runs repeatable.
    """

    #: ``wraith.aio`` refuses a KEM that says this.
    insecure: ClassVar[bool] = True
    name = "HashKem (insecure)"
    encapsulation_key_bytes = 1184
    ciphertext_bytes = 1088

    def generate(self, rng: Rng, /) -> _HashKemSecret:
        return _HashKemSecret(rng.secret_bytes(64))

    def encapsulate(self, encapsulation_key: bytes, rng: Rng, /) -> tuple[bytes, bytes]:
        if len(encapsulation_key) != 1184:
            raise InvalidKey
        ciphertext = blake3(b"ct" + rng.secret_bytes(32)).digest(length=1088)
        return _hash_ss(encapsulation_key, ciphertext), ciphertext


def _hash_ss(encapsulation_key: bytes, ciphertext: bytes) -> bytes:
    return blake3(b"ss" + encapsulation_key + ciphertext).digest()
