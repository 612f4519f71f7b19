"""Cipher suites: what a suite id stands for, in one table.

Spec: crypto §5 [CR-7].
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.crypto.aead import Aead
from wraith.types import SuiteId


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite. Suite C (X448, ML-KEM-1024) has a code but no entry until it exists."""

    id: SuiteId
    noise_name: str
    noise_resumption_name: str
    aead: Aead
    aead_name: str
    post_quantum: bool
    key_exchange: str


_HYBRID = "X25519+ML-KEM-768"

SUITES: dict[SuiteId, Suite] = {
    suite.id: suite
    for suite in (
        Suite(
            SuiteId.A,
            "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2s",
            "Noise_NNhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2s",
            Aead.XCHACHA20_POLY1305,
            "XChaCha20-Poly1305",
            True,
            _HYBRID,
        ),
        Suite(
            SuiteId.B,
            "Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256",
            "Noise_NNhfs+psk0_25519+MLKEM768_AESGCM_SHA256",
            Aead.AES_256_GCM,
            "AES-256-GCM",
            True,
            _HYBRID,
        ),
        Suite(
            SuiteId.D,
            "Noise_XX_25519_ChaChaPoly_BLAKE2s",
            "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s",
            Aead.XCHACHA20_POLY1305,
            "XChaCha20-Poly1305",
            False,
            "X25519",
        ),
    )
}
