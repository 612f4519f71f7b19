"""PeerIds and host public keys in their protobuf form (libp2p peer-ids specification).

Must not verify signatures: that is :mod:`wraith.libp2p.certificate`, the door to the library.

A PeerId is the multihash of the protobuf-encoded public key: the key itself under the identity
hash when the encoding has at most 42 bytes (Ed25519, secp256k1), else its SHA-256.

==================  ======  ========================================================
protobuf field      number  meaning
==================  ======  ========================================================
Type                1       0 RSA, 1 Ed25519, 2 secp256k1, 3 ECDSA
Data                2       Ed25519: 32 bytes; secp256k1: 33; RSA and ECDSA: DER SPKI
==================  ======  ========================================================

Spec: libp2p-quic [LQ-1], [LQ-2].
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from enum import IntEnum

from wraith.errors import DecodeError
from wraith.libp2p.protobuf import encode_bytes_field, encode_varint_field
from wraith.libp2p.reader import Libp2pReader, encode_uvarint

INLINE_KEY_BYTES_MAX = 42
HOST_KEY_BYTES_MAX = 2048
"""Longest public key protobuf that is read; RSA-8192 has 1,060 bytes."""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGIT = {character: value for value, character in enumerate(_ALPHABET)}
_TEXT_CHARACTERS_MAX = 128
_IDENTITY_HASH, _SHA2_256 = 0x00, 0x12
_CID_VERSION, _LIBP2P_KEY_CODEC = 1, 0x72


def encode_base58(data: bytes) -> str:
    """base58btc: leading zero bytes become leading ``1``."""
    zeros = len(data) - len(data.lstrip(b"\x00"))
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return "1" * zeros + "".join(reversed(digits))


def decode_base58(text: str) -> bytes:
    """Inverse of :func:`encode_base58`; raises :class:`DecodeError`."""
    number = 0
    for offset, character in enumerate(text):
        if character not in _DIGIT:
            raise DecodeError("base58 text", offset)
        number = number * 58 + _DIGIT[character]
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


class HostKeyType(IntEnum):
    """``KeyType`` of the libp2p public key protobuf."""

    RSA = 0
    ED25519 = 1
    SECP256K1 = 2
    ECDSA = 3


@dataclass(frozen=True, slots=True)
class HostPublicKey:
    """A peer's identity key, not yet checked to be a valid point or modulus."""

    key_type: HostKeyType
    data: bytes

    def encode(self) -> bytes:
        """The protobuf form; the one encoding from which the PeerId is computed."""
        return encode_varint_field(1, self.key_type) + encode_bytes_field(2, self.data)

    @classmethod
    def decode(cls, encoded: bytes) -> HostPublicKey:
        """Strict inverse: exactly the two fields, in order, nothing else.

        A lenient reader would let one key have several encodings, hence several PeerIds.
        """
        if len(encoded) > HOST_KEY_BYTES_MAX:
            raise DecodeError("host public key")
        reader = Libp2pReader(encoded, "host public key")
        if reader.uvarint() != 0x08:
            raise reader.error()
        number = reader.uvarint()
        if number not in set(HostKeyType) or reader.uvarint() != 0x12:
            raise reader.error()
        data = reader.take(reader.uvarint())
        reader.end()
        key_type = HostKeyType(number)
        expected = {HostKeyType.ED25519: 32, HostKeyType.SECP256K1: 33}.get(key_type)
        if expected is not None and len(data) != expected:
            raise DecodeError("host public key")
        return cls(key_type, data)


@dataclass(frozen=True, slots=True, order=True)
class PeerId:
    """The multihash of a host key. ``str`` gives base58btc (``12D3KooW...`` for Ed25519)."""

    multihash: bytes

    @classmethod
    def from_public_key(cls, key: HostPublicKey) -> PeerId:
        encoded = key.encode()
        if len(encoded) <= INLINE_KEY_BYTES_MAX:
            return cls(bytes((_IDENTITY_HASH, len(encoded))) + encoded)
        return cls(bytes((_SHA2_256, 32)) + hashlib.sha256(encoded).digest())

    @classmethod
    def decode(cls, multihash: bytes) -> PeerId:
        """Accepts the two hash functions that libp2p allows, with their exact lengths."""
        reader = Libp2pReader(multihash, "peer id")
        function, length = reader.uvarint(), reader.uvarint()
        digest = reader.rest()
        if len(digest) != length:
            raise DecodeError("peer id")
        if function == _IDENTITY_HASH:
            if length > INLINE_KEY_BYTES_MAX:
                raise DecodeError("peer id")
            HostPublicKey.decode(digest)
        elif function != _SHA2_256 or length != 32:
            raise DecodeError("peer id")
        return cls(multihash)

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """Reads ``12D3KooW...``, ``Qm...``, ``16Uiu2H...`` and CIDv1 (``b...``, ``z...``)."""
        if not text or len(text) > _TEXT_CHARACTERS_MAX:
            raise DecodeError("peer id")
        if text.startswith(("Qm", "1")):
            return cls.decode(decode_base58(text))
        if text[0] == "z":
            cid = decode_base58(text[1:])
        elif text[0] == "b":
            body = text[1:].upper()
            try:
                cid = base64.b32decode(body + "=" * (-len(body) % 8))
            except ValueError as error:
                raise DecodeError("peer id") from error
        else:
            raise DecodeError("peer id")
        reader = Libp2pReader(cid, "peer id")
        if reader.uvarint() != _CID_VERSION or reader.uvarint() != _LIBP2P_KEY_CODEC:
            raise reader.error()
        return cls.decode(reader.rest())

    @property
    def inline_key(self) -> HostPublicKey | None:
        """The key itself where the PeerId contains it."""
        if self.multihash[0] != _IDENTITY_HASH:
            return None
        return HostPublicKey.decode(self.multihash[2:])

    def to_cid(self) -> str:
        """CIDv1 in base32, the form of newer libp2p texts."""
        cid = encode_uvarint(_CID_VERSION) + encode_uvarint(_LIBP2P_KEY_CODEC) + self.multihash
        return "b" + base64.b32encode(cid).decode().rstrip("=").lower()

    @property
    def short(self) -> str:
        """The last eight characters: for people, never for a decision."""
        return str(self)[-8:]

    def __str__(self) -> str:
        return encode_base58(self.multihash)
