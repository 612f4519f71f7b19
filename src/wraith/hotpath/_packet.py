"""Parts of both sealing and opening: field structs, the cipher of one packet, connection ids."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from wraith.crypto.session_keys import CID_BYTES
from wraith.hotpath._ratchet import AEAD_AES_GCM, AEAD_XCHACHA, keyed
from wraith.types import Buffer
from wraith.wire.packet import HDR_BYTES

#: flags, packet number
HDR: Final = Struct(">BI")
CID: Final = Struct(">Q")
#: The mask's bytes in the order of their use: flags, packet number, CID (form A).
MASK: Final = Struct(">BIQ")
#: Associated data before the dummies.
AAD: Final = Struct(">QBI")
#: type, flags, length, sid, offset
DATA: Final = Struct(">BBHIQ")

MASK_BYTES: Final = HDR_BYTES + CID_BYTES
#: Bytes of a DATA frame before its stream bytes, and of those in its body.
DATA_HEADER: Final = 16
DATA_BODY_MIN: Final = 12


class PacketCipher(Protocol):
    def encrypt(self, nonce: Buffer, data: Buffer, aad: Buffer, /) -> bytes: ...
    def encrypt_into(self, nonce: Buffer, data: Buffer, aad: Buffer, buf: Buffer, /) -> int: ...
    def decrypt(self, nonce: Buffer, data: Buffer, aad: Buffer, /) -> bytes: ...


def check_keys(aead: int, direction: int, hp_key: bytes, cid_key: bytes) -> None:
    if aead not in (AEAD_XCHACHA, AEAD_AES_GCM):
        raise ValueError("aead is 1 (XChaCha20-Poly1305) or 2 (AES-256-GCM)")
    if direction not in (0, 1):
        raise ValueError("direction is 0 (initiator to responder) or 1")
    if len(hp_key) != 32 or len(cid_key) != 32:
        raise ValueError("a key has 32 bytes")


def new_cipher(aead: int) -> Callable[[bytes], PacketCipher]:
    return AESGCM if aead == AEAD_AES_GCM else ChaCha20Poly1305


def cid_of(cid_key: bytes, index: int) -> int:
    if not 0 <= index < 1 << 32:
        raise ValueError("a CID index is a u32")
    return int.from_bytes(keyed(cid_key, index.to_bytes(4, "big"))[:CID_BYTES], "big")
