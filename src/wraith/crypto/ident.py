"""IDENT: the certificate that binds a Noise static key to a node's identity.

===== ==== ========= =========================================================
at    size name      meaning
===== ==== ========= =========================================================
0     32   id_pk     Ed25519 public key
32    8    not_after Unix seconds, big-endian
40    64   sig       over ``"wraith-v2 static-key:" ‖ s_pub(32) ‖ not_after``
===== ==== ========= =========================================================

It is stored and sent as is: nothing is signed during a handshake, so a transcript proves nothing
to a third party. Possession of the static key is what the Noise pattern proves.

Spec: crypto §16 [CR-30].
"""

from __future__ import annotations

from wraith.crypto.ed25519 import Identity, verify
from wraith.crypto.kdf import SignaturePrefix
from wraith.errors import InvalidSignature
from wraith.types import Buffer, PeerKey

IDENT_BYTES = 104
LIFETIME_MAX_S = 400 * 86_400
"""A certificate that would live longer is refused: the signer cannot have meant it. [HS-71]"""


def make_ident(identity: Identity, static_public: bytes, not_after: int) -> bytes:
    """The 104-byte certificate of ``static_public`` (32 bytes), valid until ``not_after``."""
    signature = identity.sign(_message(static_public, not_after))
    return identity.public.raw + not_after.to_bytes(8, "big") + signature


def check_ident(ident: Buffer, static_public: bytes, unix_now: float, skew_s: float) -> PeerKey:
    """The identity that ``ident`` proves for ``static_public``.

    Args:
        unix_now: calendar time in Unix seconds.
        skew_s: by how much the two clocks may differ; an ident is refused ``skew_s`` after its end.

    Raises:
        InvalidSignature: malformed, expired, valid for more than 400 days, or not signed by the key
            it names. Never says which.
    """
    data = bytes(ident)
    if len(data) != IDENT_BYTES:
        raise InvalidSignature
    key = PeerKey(data[:32])
    not_after = int.from_bytes(data[32:40], "big")
    if unix_now > not_after + skew_s or not_after > unix_now + LIFETIME_MAX_S + skew_s:
        raise InvalidSignature
    verify(key, data[40:], _message(static_public, not_after))
    return key


def not_after_of(ident: Buffer) -> int:
    """When a certificate of 104 bytes ends: Unix seconds."""
    return int.from_bytes(ident[32:40], "big")


def _message(static_public: bytes, not_after: int) -> bytes:
    return SignaturePrefix.STATIC_KEY.encode() + static_public + not_after.to_bytes(8, "big")
