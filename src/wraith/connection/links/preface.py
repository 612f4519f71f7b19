"""The first 88 bytes of a link: who makes them holds the access key, and nobody else can tell.

``repr_e 32 ‖ tag 32 ‖ ciphertext 24``: an ephemeral as in a hello, and a sealed note of time and
carrier under keys that only the two ends can compute. From the same derivation come the keys that
hide the lengths of both directions. Spec: carriers.md [CA-2 to CA-7].
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.abc import Rng
from wraith.connection.handshake.endpoint_keys import NO_PSK, AccessKey
from wraith.crypto.elligator2 import REPRESENTATIVE_BYTES, HiddenKey, decode
from wraith.crypto.kdf import Label, derive_key, keyed_hash
from wraith.crypto.secret import Secret
from wraith.crypto.siv import TAG_BYTES, siv_open, siv_seal
from wraith.errors import CryptoError
from wraith.types import Buffer, Carrier
from wraith.wire.handshake import VERSION

_NOTE_BYTES = 24
PREFACE_BYTES = REPRESENTATIVE_BYTES + TAG_BYTES + _NOTE_BYTES
ROAD_ID_BYTES = 8
_TYPE = b"\x00"
_ZEROS = bytes(13)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LinkKeys:
    """The length keys of one end of one link, and what both ends call its preface.

    Attributes:
        key_out, key_in: of what this end sends and receives, 32 bytes each.
        road_id: 8 bytes; only who made the preface and whom it is for can compute it. [CA-7]
    """

    key_out: Secret
    key_in: Secret
    road_id: bytes

    def wipe(self) -> None:
        """Overwrites both keys. Idempotent."""
        self.key_out.wipe()
        self.key_in.wipe()


@dataclass(frozen=True, slots=True, eq=False)
class OpenedPreface:
    """A preface that opened: its maker holds the access key and, if there is one, the psk.

    Attributes:
        timestamp: Unix seconds by the dialler's clock; whoever opened it compares it with his own.
        e_public: the decoded ephemeral, 32 bytes: for the replay cache, ``carrier_key_of``.
        keys: of the listener's end.
    """

    timestamp: int
    e_public: bytes
    keys: LinkKeys

    @property
    def road_id(self) -> bytes:
        """As ``LinkKeys.road_id``."""
        return self.keys.road_id


def make_preface(
    access_key: bytes, psk: bytes | None, carrier: Carrier, *, rng: Rng, unix_now: float
) -> tuple[bytes, LinkKeys]:
    """88 bytes for the head of a new link, and the keys of the dialler's end.

    Args:
        access_key: the listener's, 32 bytes.
        psk: as in a hello: 32 random bytes, or ``None``.
        carrier: of the link; not UDP, which has none.

    Raises:
        InvalidKey: the access key is none.
        ValueError: an input of another size, or UDP.
    """
    if carrier is Carrier.UDP:
        raise ValueError("a link has a stream carrier")
    e = _innocent_key(rng)
    try:
        dh = e.exchange(access_key)
    finally:
        e.wipe()
    mac, enc, to_listener, to_dialler = _derive(dh, e.representative, access_key, psk)
    note = _TYPE + int(unix_now).to_bytes(8, "big") + bytes((VERSION, carrier)) + _ZEROS
    sealed = siv_seal(mac, enc, note)
    keys = LinkKeys(Secret(to_listener), Secret(to_dialler), _road_id(mac))
    return e.representative + sealed, keys


def open_preface(
    key: AccessKey, data: Buffer, carrier: Carrier, *, e_public: bytes | None = None
) -> OpenedPreface | None:
    """What the preface ``data`` says if it was made for ``key`` and this carrier, else ``None``.

    Judges neither the clock nor repetition: the caller does, before it believes any of it.

    Args:
        e_public: ``decode_ephemeral(data)``, for callers that have it already.
    """
    preface = bytes(data)
    if len(preface) != PREFACE_BYTES:
        return None
    representative = preface[:REPRESENTATIVE_BYTES]
    public = decode(representative) if e_public is None else e_public
    try:
        dh = key.ak.exchange(public)
        mac, enc, to_listener, to_dialler = _derive(dh, representative, key.ak.public, key.psk)
        note = siv_open(mac, enc, preface[REPRESENTATIVE_BYTES:])
    except CryptoError:
        return None
    timestamp = int.from_bytes(note[1:9], "big")
    if note[:1] != _TYPE or note[9:] != bytes((VERSION, carrier)) + _ZEROS:
        return None
    keys = LinkKeys(Secret(to_dialler), Secret(to_listener), _road_id(mac))
    return OpenedPreface(timestamp, public, keys)


def decode_ephemeral(preface: Buffer) -> bytes:
    """The ephemeral (32 bytes) of a preface, proven or not; cheap beside ``open_preface``."""
    return decode(bytes(preface[:REPRESENTATIVE_BYTES]))


def _innocent_key(rng: Rng) -> HiddenKey:
    """An ephemeral whose first bytes are taken for neither TLS nor text. [CA-4]"""
    while True:
        e = HiddenKey.generate(rng)
        head = e.representative[:4]
        is_tls = head[0] in (0x16, 0x17) and head[1] == 0x03
        if not is_tls and not all(0x20 <= byte <= 0x7E for byte in head):
            return e
        e.wipe()


def _derive(
    dh: bytes, representative: bytes, access_key: bytes, psk: bytes | None
) -> tuple[bytes, bytes, bytes, bytes]:
    """SIV keys (tag, encryption), length keys (dialler to listener, and back). [CA-3]"""
    material = (dh, representative, access_key, NO_PSK if psk is None else psk)
    if any(len(part) != 32 for part in material):
        raise ValueError("every input of a preface has 32 bytes")
    keys = derive_key(Label.CARRIER, b"".join(material), 128)
    return keys[:32], keys[32:64], keys[64:96], keys[96:]


def _road_id(mac: bytes) -> bytes:
    return keyed_hash(mac, b"road")[:ROAD_ID_BYTES]
