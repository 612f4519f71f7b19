"""The code: one word that a person copies, holding all that is needed to reach and trust a peer.

``wr1`` ‖ base32 (lower case, no padding) of the body ‖ six checksum characters.

==========  =====  ==========================================================
field       bytes  meaning
==========  =====  ==========================================================
flags       1      bits 0-3 suites A, B, C, D; bit 4: its maker receives;
                   bit 5: every UDP address listens on TCP at its port, too;
                   bit 6: suite B is preferred to A; bit 7 zero
access key  32     X25519 public key of this code
identity    32     Ed25519 public key of its maker
access psk  32     proves possession of the code
places      7/19   each: type u8 ‖ ip 4 or 16 ‖ port u16; UDP 4, 6; TCP alone
                   0x14, 0x16; QUIC 0x24, 0x26
            2 + n  0x30 ‖ n u8 ‖ URL of n ASCII characters, at most 120
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
from wraith.errors import CodeInvalid, DecodeError
from wraith.types import Address, Carrier, PeerKey, Road, SuiteId
from wraith.wire.places import (
    ADDRESS_TYPES,
    PORT_BYTES,
    URL_TYPE,
    AddressKind,
    decode_place,
    encode_place,
    kind_of,
    literal_of,
    roads_of,
)

PREFIX = "wr1"
CHECKSUM_CHARS = 6
KEY_BYTES = 32
FIXED_BYTES = 1 + 3 * KEY_BYTES
MAX_ADDRESSES_V4 = 4
MAX_ADDRESSES_V6 = 2
"""Of each carrier."""
MAX_URLS = 2
MIN_CODE_CHARS = len(PREFIX) + (FIXED_BYTES * 8 + 4) // 5 + CHECKSUM_CHARS
MAX_CODE_CHARS = 1_024
"""Longer input is refused before it is decoded; the longest code has 872 characters."""

_RECEIVES = 0x10
_TCP_TOO = 0x20
_PREFERS_B = 0x40
_SUITES_MASK = 0x0F
#: In this order a code names its places.
_CARRIERS = (Carrier.UDP, Carrier.TCP, Carrier.QUIC, Carrier.WS)
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz234567")


@dataclass(frozen=True, slots=True)
class Code:
    """The contents of a code.

    Attributes:
        suites: what its maker accepts, in its order: by number, but B may stand before A.
        addresses: where it listens on UDP, best first.
        maker_receives: set in codes of ``receive --listen``.
        has_tcp: it listens on TCP at every one of ``addresses``, too.
        other_roads: over TCP alone, QUIC and WebSocket, in this order; without a proxy.
    """

    suites: tuple[SuiteId, ...]
    access_key: bytes
    peer: PeerKey
    access_psk: Secret = field(repr=False)
    addresses: tuple[Address, ...]
    maker_receives: bool = False
    has_tcp: bool = False
    other_roads: tuple[Road, ...] = ()

    def __str__(self) -> str:
        return "Code(...)"  # a code is a secret: it is shown by ``encode_code`` on purpose only

    @property
    def roads(self) -> tuple[Road, ...]:
        """All ways to its maker: UDP, then TCP at the same addresses, then the others."""
        return roads_of(self.addresses, self.has_tcp, self.other_roads)


def encode_code(code: Code) -> str:
    """The text of ``code``. With one IPv4 address it has 176 characters, with TCP too. [TR-10]

    Raises:
        ValueError: a key of the wrong length, no suite, too many places, or a place that has no
            form in a code.
    """
    if len(code.access_key) != KEY_BYTES or len(code.access_psk) != KEY_BYTES:
        raise ValueError("the access key and the psk have 32 bytes each")
    if not code.suites:
        raise ValueError("a code names at least one suite")
    flags = _RECEIVES if code.maker_receives else 0
    flags |= _TCP_TOO if code.has_tcp else 0
    flags |= _PREFERS_B if _prefers_b(code.suites) else 0
    for suite in code.suites:
        flags |= 1 << (suite - 1)
    roads = [Road(Carrier.UDP, address) for address in code.addresses]
    if any(r.carrier not in _CARRIERS[1:] or r.proxy is not None for r in code.other_roads):
        raise ValueError("other roads are those over TCP, QUIC and WebSocket, without a proxy")
    others = sorted(code.other_roads, key=lambda road: _CARRIERS.index(road.carrier))
    if _are_too_many([*roads, *others]):
        raise ValueError("a code holds at most 4 IPv4 and 2 IPv6 addresses of a carrier, 2 URLs")
    body = bytearray([flags]) + code.access_key + code.peer.raw + code.access_psk.reveal()
    for road in (*roads, *others):
        type_, value = encode_place(road)
        body.append(type_)
        if type_ == URL_TYPE:
            if not _may_stand_in_a_code(road):
                raise ValueError("the URL of a code leads to no address inside a network")
            body.append(len(value))
        body += value
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
    if flags & ~(_SUITES_MASK | _RECEIVES | _TCP_TOO | _PREFERS_B):
        raise _newer()
    suites = tuple(s for s in SuiteId if flags & (1 << (s - 1)))
    if not suites:
        raise CodeInvalid("this code names no cipher suite")
    if flags & _PREFERS_B:
        suites = tuple(sorted(suites, key=lambda suite: suite is not SuiteId.B))
        if not _prefers_b(suites):
            raise CodeInvalid("this code prefers a cipher suite to none")
    keys = [raw[1 + i * KEY_BYTES : 1 + (i + 1) * KEY_BYTES] for i in range(3)]
    roads = _decode_places(raw[FIXED_BYTES:])
    return Code(
        suites=suites,
        access_key=keys[0],
        peer=PeerKey(keys[1]),
        access_psk=Secret(keys[2]),
        addresses=tuple(
            road.address
            for road in roads
            if road.carrier is Carrier.UDP and road.address is not None
        ),
        maker_receives=bool(flags & _RECEIVES),
        has_tcp=bool(flags & _TCP_TOO),
        other_roads=tuple(road for road in roads if road.carrier is not Carrier.UDP),
    )


def _decode_places(raw: bytes) -> list[Road]:
    roads: list[Road] = []
    at = 0
    while at < len(raw):
        type_ = raw[at]
        if type_ == URL_TYPE:
            start = at + 2
            at = start + (raw[at + 1] if start <= len(raw) else 0)
        elif type_ in ADDRESS_TYPES:
            start = at + 1
            at = start + ADDRESS_TYPES[type_][1] + PORT_BYTES
        else:
            raise _newer()
        try:
            road = decode_place(type_, raw[start:at])
        except DecodeError:
            raise CodeInvalid("this code holds a broken address") from None
        assert road is not None  # the type is known
        if at > len(raw) or (roads and _is_before(road, roads[-1])):
            raise CodeInvalid("this code holds a broken address")
        if not _may_stand_in_a_code(road):
            raise CodeInvalid("this code leads to an address inside a network")
        roads.append(road)
    if _are_too_many(roads):
        raise CodeInvalid("this code holds too many addresses")
    return roads


def _newer() -> CodeInvalid:
    return CodeInvalid("this code needs a newer wraith", hint="update wraith and try again")


def _prefers_b(suites: tuple[SuiteId, ...]) -> bool:
    both = SuiteId.A in suites and SuiteId.B in suites
    return both and suites.index(SuiteId.B) < suites.index(SuiteId.A)


def _is_before(road: Road, other: Road) -> bool:
    """A code names its places by carrier, as ``encode_code`` does. [TR-161]"""
    return _CARRIERS.index(road.carrier) < _CARRIERS.index(other.carrier)


def _are_too_many(roads: list[Road]) -> bool:
    for carrier in _CARRIERS:
        addresses = [road.address for road in roads if road.carrier is carrier]
        n_urls = addresses.count(None)
        n_v4 = sum(address is not None and len(address.ip) == 4 for address in addresses)
        n_v6 = len(addresses) - n_urls - n_v4
        if n_v4 > MAX_ADDRESSES_V4 or n_v6 > MAX_ADDRESSES_V6 or n_urls > MAX_URLS:
            return True
    return False


def _may_stand_in_a_code(road: Road) -> bool:
    """A URL makes whoever reads the code ask something of a web server: of none inside the
    reader's own network. [TR-162]"""
    literal = literal_of(road.url) if road.url is not None else None
    return literal is None or kind_of(literal) is AddressKind.GLOBAL


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
