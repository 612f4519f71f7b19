"""ML-KEM-768 and ML-KEM-1024 behind the ``Kem`` seam.

The library draws the randomness of encapsulation itself and offers no deterministic form; key pairs
come from ``Rng``. Decapsulation never fails on a wrong ciphertext of the right length: implicit
rejection returns another secret, and nothing here may branch on that.

Only ML-KEM-768 is used by the suites; 1024 stands ready for the reserved one.

Spec: crypto §9 [CR-13]; FIPS 203 Alg. 16, 20, 21, §7.2.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)

from wraith.abc import Rng
from wraith.errors import InvalidKey, LocalProtocolError

SEED_BYTES = 64
SS_BYTES = 32


class MlKemSecret:
    """One key pair, kept as the library's object made from the 64-byte seed ``d ‖ z``."""

    __slots__ = ("_ciphertext_bytes", "_private", "encapsulation_key")

    def __init__(
        self, private: MLKEM768PrivateKey | MLKEM1024PrivateKey, ciphertext_bytes: int
    ) -> None:
        self._private: MLKEM768PrivateKey | MLKEM1024PrivateKey | None = private
        self._ciphertext_bytes = ciphertext_bytes
        self.encapsulation_key: bytes = private.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes, /) -> bytes:
        """The 32-byte shared secret; another one for a ciphertext that was tampered with.

        Raises:
            InvalidKey: the ciphertext has another length.
        """
        if self._private is None:
            raise LocalProtocolError("this key was wiped")
        if len(ciphertext) != self._ciphertext_bytes:
            raise InvalidKey
        return self._private.decapsulate(ciphertext)

    def wipe(self) -> None:
        """Drops the library's object, which frees its memory; CPython promises nothing more."""
        self._private = None


class _MlKem:
    __slots__ = ()

    name: str
    encapsulation_key_bytes: int
    ciphertext_bytes: int
    _private: type[MLKEM768PrivateKey] | type[MLKEM1024PrivateKey]
    _public: type[MLKEM768PublicKey] | type[MLKEM1024PublicKey]

    def generate(self, rng: Rng, /) -> MlKemSecret:
        return self.from_seed(rng.secret_bytes(SEED_BYTES))

    def from_seed(self, seed: bytes) -> MlKemSecret:
        """The key pair of the 64-byte ``seed`` = ``d ‖ z``. Raises ``InvalidKey``."""
        if len(seed) != SEED_BYTES:
            raise InvalidKey("an ML-KEM seed has 64 bytes")
        return MlKemSecret(self._private.from_seed_bytes(seed), self.ciphertext_bytes)

    def encapsulate(self, encapsulation_key: bytes, rng: Rng, /) -> tuple[bytes, bytes]:
        """``(shared_secret 32, ciphertext)``. ``rng`` is not used: the library draws ``m``.

        Raises:
            InvalidKey: wrong length, or a coefficient that is not reduced (FIPS 203 §7.2).
        """
        del rng
        try:
            public = self._public.from_public_bytes(encapsulation_key)
        except ValueError:
            raise InvalidKey from None
        return public.encapsulate()


class MlKem768(_MlKem):
    """FIPS 203, parameter set ML-KEM-768."""

    __slots__ = ()

    name = "ML-KEM-768"
    encapsulation_key_bytes = 1184
    ciphertext_bytes = 1088
    _private = MLKEM768PrivateKey
    _public = MLKEM768PublicKey


class MlKem1024(_MlKem):
    """FIPS 203, parameter set ML-KEM-1024."""

    __slots__ = ()

    name = "ML-KEM-1024"
    encapsulation_key_bytes = 1568
    ciphertext_bytes = 1568
    _private = MLKEM1024PrivateKey
    _public = MLKEM1024PublicKey
