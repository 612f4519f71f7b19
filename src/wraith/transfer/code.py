"""The code: one word that a person copies, holding all that is needed to reach and trust a peer.

``wr1`` ‖ base32 (lower case, no padding) of the body ‖ six checksum characters.

==========  =====  ==========================================================
field       bytes  meaning
==========  =====  ==========================================================
flags       1      bits 0-3 suites A, B, C, D; bit 4 set: its maker receives;
                   bits 5-7 zero (other values: a newer version)
access key  32     X25519 public key of this code
identity    32     Ed25519 public key of its maker
access psk  32     proves possession of the code
addresses   7/19   each: type u8 (4 or 6) ‖ ip 4 or 16 ‖ port u16
==========  =====  ==========================================================

It never looks a name up and never decides whether to trust what it reads.

Spec: transfer §1; docs/reference/code-format.md.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from dataclasses import dataclass, field

from blake3 import blake3

from wraith.crypto.secret import Secret
from wraith.errors import CodeInvalid
from wraith.types import Address, PeerKey, SuiteId

PREFIX = "wr1"
CHECKSUM_CHARS = 6
KEY_BYTES = 32
FIXED_BYTES = 1 + 3 * KEY_BYTES
MAX_ADDRESSES_V4 = 4
MAX_ADDRESSES_V6 = 2
MIN_CODE_CHARS = len(PREFIX) + (FIXED_BYTES * 8 + 4) // 5 + CHECKSUM_CHARS
MAX_CODE_CHARS = 1_024
"""Longer input is refused before it is decoded; the longest code has 270 characters."""

_RECEIVES = 0x10
_SUITES_MASK = 0x0F
_IP_BYTES = {4: 4, 6: 16}
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz234567")


@dataclass(frozen=True, slots=True)
class Code:
    """The contents of a code. ``maker_receives`` is set in codes of ``receive --listen``."""

    suites: tuple[SuiteId, ...]
    access_key: bytes
    peer: PeerKey
    access_psk: Secret = field(repr=False)
    addresses: tuple[Address, ...]
    maker_receives: bool = False

    def __str__(self) -> str:
        return "Code(...)"  # a code is a secret: it is shown by ``encode_code`` on purpose only


def encode_code(code: Code) -> str:
    """The text of ``code``. With one IPv4 address it has 176 characters. [TR-10]

    Raises:
        ValueError: a key of the wrong length, no suite, or too many addresses.
    """
    if len(code.access_key) != KEY_BYTES or len(code.access_psk) != KEY_BYTES:
        raise ValueError("the access key and the psk have 32 bytes each")
    if not code.suites:
        raise ValueError("a code names at least one suite")
    flags = _RECEIVES if code.maker_receives else 0
    for suite in code.suites:
        flags |= 1 << (suite - 1)
    n_v4 = sum(len(a.ip) == 4 for a in code.addresses)
    if n_v4 > MAX_ADDRESSES_V4 or len(code.addresses) - n_v4 > MAX_ADDRESSES_V6:
        raise ValueError("a code holds at most 4 IPv4 and 2 IPv6 addresses")
    body = bytearray([flags]) + code.access_key + code.peer.raw + code.access_psk.reveal()
    for address in code.addresses:
        kind = {4: 4, 16: 6}.get(len(address.ip))
        if kind is None or not 0 < address.port < 65_536:
            raise ValueError("an address has 4 or 16 bytes and a port")
        body += bytes([kind]) + address.ip + address.port.to_bytes(2, "big")
    raw = bytes(body)
    return PREFIX + _base32(raw) + _checksum(raw)


def decode_code(text: str) -> Code:
    """Reads a code as it comes out of a chat program: case, spaces, line breaks do not matter.

    Raises:
        CodeInvalid: not a code, a mistyped one (the checksum), or one of a newer version; the
            message says which.
    """
    if len(text) > MAX_CODE_CHARS:
        raise CodeInvalid("this is too long to be a code")
    word = "".join(c for c in text if not _is_ignored(c)).lower()
    if not word.startswith("wr") or len(word) < 3:
        raise CodeInvalid("a code begins with wr1")
    if word[2] != "1" and word[2].isascii() and word[2].isdigit():
        raise CodeInvalid("this code needs a newer wraith", hint="update wraith and try again")
    if not word.startswith(PREFIX):
        raise CodeInvalid("a code begins with wr1")
    payload, checksum = word[3:-CHECKSUM_CHARS], word[-CHECKSUM_CHARS:]
    if not _ALPHABET.issuperset(word[3:]):
        raise CodeInvalid("this code holds a character that no code has")
    if len(word) < MIN_CODE_CHARS:
        raise CodeInvalid(
            f"this code is incomplete: {len(word)} of {MIN_CODE_CHARS} or more characters"
        )
    raw = _unbase32(payload)
    if _checksum(raw) != checksum:
        raise CodeInvalid("this code is mistyped or incomplete")
    return _decode_body(raw)


def _decode_body(raw: bytes) -> Code:
    # Past the checksum: whatever is unknown here was made on purpose, by a later version.
    if len(raw) < FIXED_BYTES:
        raise CodeInvalid("this code is incomplete")
    flags = raw[0]
    if flags & ~(_SUITES_MASK | _RECEIVES):
        raise CodeInvalid("this code needs a newer wraith", hint="update wraith and try again")
    suites = tuple(s for s in SuiteId if flags & (1 << (s - 1)))
    if not suites:
        raise CodeInvalid("this code names no cipher suite")
    keys = [raw[1 + i * KEY_BYTES : 1 + (i + 1) * KEY_BYTES] for i in range(3)]
    return Code(
        suites=suites,
        access_key=keys[0],
        peer=PeerKey(keys[1]),
        access_psk=Secret(keys[2]),
        addresses=_decode_addresses(raw[FIXED_BYTES:]),
        maker_receives=bool(flags & _RECEIVES),
    )


def _decode_addresses(raw: bytes) -> tuple[Address, ...]:
    addresses: list[Address] = []
    at = 0
    while at < len(raw):
        n = _IP_BYTES.get(raw[at])
        if n is None:
            raise CodeInvalid("this code needs a newer wraith", hint="update wraith and try again")
        ip, port = raw[at + 1 : at + 1 + n], int.from_bytes(raw[at + 1 + n : at + 3 + n], "big")
        at += 3 + n
        if at > len(raw) or not port:
            raise CodeInvalid("this code holds a broken address")
        addresses.append(Address(ip, port))
    n_v4 = sum(len(a.ip) == 4 for a in addresses)
    if n_v4 > MAX_ADDRESSES_V4 or len(addresses) - n_v4 > MAX_ADDRESSES_V6:
        raise CodeInvalid("this code holds too many addresses")
    return tuple(addresses)


def _is_ignored(char: str) -> bool:
    """Spaces of every kind and the invisible characters that chat programs put in. [TR-11]"""
    return char.isspace() or unicodedata.category(char) == "Cf"


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _unbase32(text: str) -> bytes:
    try:
        raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raise CodeInvalid("this code is mistyped or incomplete") from None
    if _base32(raw) != text:  # spare bits that are not zero: two texts for one code
        raise CodeInvalid("this code is mistyped or incomplete")
    return raw


def _checksum(raw: bytes) -> str:
    """30 bits of BLAKE3 over prefix and body: a slip passes once in a billion. [TR-12]"""
    return _base32(blake3(PREFIX.encode() + raw).digest())[:CHECKSUM_CHARS]
