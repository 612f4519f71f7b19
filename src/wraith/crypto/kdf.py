"""Key derivation: BLAKE3's three modes and every label of the protocol in one enum.

A label is exactly its ASCII bytes and is used for one purpose only. Nothing else in the tree may
spell a context string.

Spec: crypto §1 [CR-1, CR-2]; BLAKE3 specification §2.3.
"""

from __future__ import annotations

from enum import StrEnum

from blake3 import blake3 as _blake3

from wraith.types import Buffer, Role


class Label(StrEnum):
    """Contexts of ``derive_key``. [CR-1]

    ``i2r`` and ``r2i`` say who sends; ``i`` or ``r`` alone, in a CID label, is the side that
    *receives* the packet.
    """

    HYBRID_KEM = "wraith-hybrid-kem-v2"
    WIRE_FORMAT = "wire-format-v2"
    VEIL = "wraith-v2 veil"
    VEIL_KEYS = "wraith-v2 veil-keys"
    SESSION_SECRET = "wraith-v2 session-secret"
    ROOT = "wraith-v2 root"
    SESSION_ID = "wraith-v2 session-id"
    EXPORTER = "wraith-v2 exporter"
    RESUMPTION = "wraith-v2 resumption"
    TICKET = "wraith-v2 ticket"
    RESUME_PSK = "wraith-v2 resume-psk"
    HEADER_I2R = "wraith-v2 header i2r"
    HEADER_R2I = "wraith-v2 header r2i"
    CID_I = "wraith-v2 cid i"
    CID_R = "wraith-v2 cid r"
    CHAIN_I2R = "wraith-v2 chain i2r"
    CHAIN_R2I = "wraith-v2 chain r2i"
    IV_I2R = "wraith-v2 iv i2r"
    IV_R2I = "wraith-v2 iv r2i"
    REKEY = "wraith-v2 rekey"
    KEM_BIND = "wraith-v2 kem-bind"
    CARRIER = "wraith-v2 carrier"
    WS_PATH = "wraith-v2 ws path"
    PADDING = "wraith-v2 padding"
    TIMING = "wraith-v2 timing"
    TICKET_KEYS = "wraith-v2 ticket-keys"
    COOKIE = "wraith-v2 cookie"
    REPLAY = "wraith-v2 replay"
    ENTROPY = "wraith-v2 entropy"
    KEYFILE = "wraith-v2 keyfile"
    FILE = "wraith-v2 file"
    QUIC_RESET = "wraith-v2 quic-reset"
    LIBP2P_HYBRID_KEX = "cretoai-hybrid-kex-v1"


class SignaturePrefix(StrEnum):
    """The first bytes of a signed message, so that no signature serves two purposes. [CR-2]"""

    STATIC_KEY = "wraith-v2 static-key:"
    PQ_AUTH = "wraith-v2 pq-auth:"
    LIBP2P_TLS = "libp2p-tls-handshake:"


_BY_SENDER = {
    (Label.HEADER_I2R, Role.INITIATOR): Label.HEADER_I2R,
    (Label.HEADER_I2R, Role.RESPONDER): Label.HEADER_R2I,
    (Label.CHAIN_I2R, Role.INITIATOR): Label.CHAIN_I2R,
    (Label.CHAIN_I2R, Role.RESPONDER): Label.CHAIN_R2I,
    (Label.IV_I2R, Role.INITIATOR): Label.IV_I2R,
    (Label.IV_I2R, Role.RESPONDER): Label.IV_R2I,
}


def directed(i2r_label: Label, sender: Role) -> Label:
    """The label of the same family for packets that ``sender`` sends.

    Args:
        i2r_label: the ``i2r`` member of the family, e.g. ``Label.HEADER_I2R``.
        sender: who sends the packets that the key protects.
    """
    return _BY_SENDER[i2r_label, sender]


def derive_key(label: Label, material: Buffer, n: int = 32) -> bytes:
    """BLAKE3 ``derive_key``: ``n`` bytes (XOF beyond 32) from ``material`` under ``label``."""
    hasher = _blake3(material, derive_key_context=label)
    return hasher.digest() if n == 32 else hasher.digest(length=n)


def keyed_hash(key: Buffer, message: Buffer, n: int = 32) -> bytes:
    """BLAKE3 keyed mode: 32-byte ``key``, a message of any length, ``n`` output bytes."""
    hasher = _blake3(message, key=key)
    return hasher.digest() if n == 32 else hasher.digest(length=n)


def blake3(data: Buffer, n: int = 32) -> bytes:
    """BLAKE3 hash of ``data``, ``n`` output bytes."""
    hasher = _blake3(data)
    return hasher.digest() if n == 32 else hasher.digest(length=n)
