"""ML-KEM-768 behind the ``Kem`` seam.

The library draws the randomness of encapsulation itself and offers no deterministic form; key pairs
come from ``Rng``. Decapsulation never fails on a wrong ciphertext of the right length: implicit
rejection returns another secret, and nothing here may branch on that.

Spec: crypto §9 [CR-13]; FIPS 203 Alg. 16, 20, 21, §7.2.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from wraith.abc import Rng
from wraith.errors import InvalidKey, LocalProtocolError

SEED_BYTES = 64
EK_BYTES = 1184
CT_BYTES = 1088
SS_BYTES = 32


class MlKem768Secret:
    """One key pair, kept as the library's object made from ``d ‖ z``."""

    __slots__ = ("_private", "encapsulation_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidKey("an ML-KEM seed has 64 bytes")
        self._private: MLKEM768PrivateKey | None = MLKEM768PrivateKey.from_seed_bytes(seed)
        self.encapsulation_key: bytes = self._private.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes, /) -> bytes:
        """The 32-byte shared secret; another one for a ciphertext that was tampered with.

        Raises:
            InvalidKey: the ciphertext does not have 1088 bytes.
        """
        if self._private is None:
            raise LocalProtocolError("this key was wiped")
        if len(ciphertext) != CT_BYTES:
            raise InvalidKey("an ML-KEM-768 ciphertext has 1088 bytes")
        return self._private.decapsulate(ciphertext)

    def wipe(self) -> None:
        """Drops the library's object, which frees its memory; CPython promises nothing more."""
        self._private = None


class MlKem768:
    """FIPS 203, parameter set ML-KEM-768."""

    __slots__ = ()

    name = "ML-KEM-768"
    encapsulation_key_bytes = EK_BYTES
    ciphertext_bytes = CT_BYTES

    def generate(self, rng: Rng, /) -> MlKem768Secret:
        return MlKem768Secret(rng.secret_bytes(SEED_BYTES))

    def from_seed(self, seed: bytes) -> MlKem768Secret:
        """The key pair of the 64-byte ``seed`` = ``d ‖ z``."""
        return MlKem768Secret(seed)

    def encapsulate(self, encapsulation_key: bytes, rng: Rng, /) -> tuple[bytes, bytes]:
        """``(shared_secret 32, ciphertext 1088)``. ``rng`` is not used: the library draws ``m``.

        Raises:
            InvalidKey: wrong length, or a coefficient that is not reduced (FIPS 203 §7.2).
        """
        del rng
        try:
            public = MLKEM768PublicKey.from_public_bytes(encapsulation_key)
        except ValueError:
            raise InvalidKey from None
        return public.encapsulate()
