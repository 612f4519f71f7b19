"""The private profile: ML-KEM-768 in an extension of the hello messages, beside plain X25519.

Closed profile, off by default, with an ALPN of its own: its default code point 0xFF01 is
``renegotiation_info`` on the open internet, and foreign stacks abort when they see our body there
(ADR on extension 0xFF01). The body ``00`` is RFC 5746's and counts as absent.

===========  ======  =====  =============================================
message      offset  bytes  content
===========  ======  =====  =============================================
ClientHello  0       1      version 1
             1       2      1184
             3       1184   ML-KEM-768 encapsulation key
ServerHello  0       1      version 1
             1       2      1088
             3       1088   ML-KEM-768 ciphertext
===========  ======  =====  =============================================

Must not be offered together with a hybrid group: a ClientHello with both needs three datagrams.

Spec: libp2p-quic section 7 [LQ-30] to [LQ-33].
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.crypto.kdf import Label, derive_key, keyed_hash
from wraith.crypto.mlkem import SS_BYTES, MlKem768
from wraith.crypto.secret import Secret
from wraith.crypto.x25519 import KEY_BYTES
from wraith.errors import DecodeError, InvalidKey
from wraith.libp2p.reader import Libp2pReader, prefixed

EK_BYTES, CT_BYTES = MlKem768.encapsulation_key_bytes, MlKem768.ciphertext_bytes
DEFAULT_CODE_POINT = 0xFF01
PRIVATE_USE = range(65282, 65536)
"""Code points that no registry will ever give to somebody else; recommended over the default."""
ALPN = "creto-pq/1"
NAME = "X25519+ML-KEM-768 (private extension)"

_VERSION = 1
_RENEGOTIATION_INFO_EMPTY = b"\x00"

LITERAL_ALGORITHM = 0x0304
"""The algorithm field of the literal layout (it is TLS 1.3's version number)."""


def encode_client_body(encapsulation_key: bytes) -> bytes:
    return bytes((_VERSION,)) + prefixed(2, encapsulation_key)


def encode_server_body(ciphertext: bytes) -> bytes:
    return bytes((_VERSION,)) + prefixed(2, ciphertext)


def _decode(body: bytes, what: str, n_bytes: int) -> bytes | None:
    if body == _RENEGOTIATION_INFO_EMPTY:
        return None
    reader = Libp2pReader(body, what)
    if reader.u8() != _VERSION:
        raise DecodeError(what, 0)
    value = reader.part(2, low=n_bytes, high=n_bytes)
    reader.end()
    return value


def decode_client_body(body: bytes) -> bytes | None:
    """The 1184-byte key; ``None`` for RFC 5746's ``00``. An empty body is malformed [LQ-31]."""
    return _decode(body, "private extension of ClientHello", EK_BYTES)


def decode_server_body(body: bytes) -> bytes | None:
    """The 1088-byte ciphertext; ``None`` for the body ``00``."""
    return _decode(body, "private extension of ServerHello", CT_BYTES)


def combine(
    classical_ss: bytes,
    pq_ss: bytes,
    client_public: bytes,
    server_public: bytes,
    encapsulation_key: bytes,
    ciphertext: bytes,
) -> Secret:
    """The 32-byte secret that replaces the ECDHE secret in the key schedule [LQ-33].

    ``keyed_hash(derive_key("cretoai-hybrid-kex-v1", ""), X25519 ss ‖ ML-KEM ss ‖ both X25519 keys
    ‖ encapsulation key ‖ ciphertext)``. Every part has a fixed length, so the concatenation is
    unambiguous; binding the public parts follows X-Wing.
    """
    parts = (
        (classical_ss, KEY_BYTES),
        (pq_ss, SS_BYTES),
        (client_public, KEY_BYTES),
        (server_public, KEY_BYTES),
        (encapsulation_key, EK_BYTES),
        (ciphertext, CT_BYTES),
    )
    if any(len(value) != size for value, size in parts):
        raise InvalidKey("a part of the hybrid secret has the wrong length")
    key = derive_key(Label.LIBP2P_HYBRID_KEX, b"")
    return Secret(keyed_hash(key, b"".join(value for value, _ in parts)))


@dataclass(frozen=True, slots=True)
class LiteralExtension:
    """The extension in its literal layout (docs/adr/0008): kept as a codec, never sent.

    ====== ===== ==========================================
    offset bytes content
    ====== ===== ==========================================
    0      2     type 0xFF01
    2      2     length of what follows: 1186 or 2274
    4      2     algorithm 0x0304
    6      1184  ML-KEM-768 encapsulation key
    1190   1088  ML-KEM-768 ciphertext, absent before encapsulation
    ====== ===== ==========================================
    """

    encapsulation_key: bytes
    ciphertext: bytes | None = None

    def encode(self) -> bytes:
        body = LITERAL_ALGORITHM.to_bytes(2, "big") + self.encapsulation_key
        return DEFAULT_CODE_POINT.to_bytes(2, "big") + prefixed(2, body + (self.ciphertext or b""))

    @classmethod
    def decode(cls, data: bytes) -> LiteralExtension:
        reader = Libp2pReader(data, "literal 0xFF01 extension")
        if reader.u16() != DEFAULT_CODE_POINT or reader.u16() != reader.remaining:
            raise reader.error()
        if reader.u16() != LITERAL_ALGORITHM:
            raise reader.error()
        encapsulation_key = reader.take(EK_BYTES)
        ciphertext = None if reader.at_end else reader.take(CT_BYTES)
        reader.end()
        return cls(encapsulation_key, ciphertext)
