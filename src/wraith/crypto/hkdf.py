"""HMAC and HKDF over the hash functions that Noise names.

Only ``noise`` uses this. Everything else in the protocol derives with BLAKE3 (``kdf``); Noise keeps
the RFC construction so that the public Noise vectors test this code.

Spec: crypto §10 [CR-14]; RFC 2104; RFC 5869 §2.2, §2.3; Noise rev. 34 §4.3.
"""

from __future__ import annotations

import hmac

from wraith.types import Buffer


def hmac_digest(hash_name: str, key: Buffer, message: Buffer) -> bytes:
    """HMAC of ``message``; ``hash_name`` as ``hashlib`` spells it, e.g. ``"blake2s"``.

    (BLAKE2's own keyed mode is another function and must not stand in for HMAC here.)
    """
    return hmac.digest(bytes(key), bytes(message), hash_name)


def extract(hash_name: str, salt: Buffer, material: Buffer) -> bytes:
    """HKDF-Extract: the pseudorandom key, one hash output long."""
    return hmac.digest(bytes(salt), bytes(material), hash_name)


def expand(hash_name: str, prk: bytes, info: bytes, n: int) -> bytes:
    """HKDF-Expand: ``n`` bytes.

    Raises:
        ValueError: ``n`` is above 255 hash outputs.
    """
    block = b""
    out = b""
    counter = 0
    while len(out) < n:
        counter += 1
        if counter > 255:
            raise ValueError("HKDF gives at most 255 blocks")
        block = hmac.digest(prk, b"%b%b%c" % (block, info, counter), hash_name)
        out += block
    return out[:n]
