"""Records of the journal beside partial data: they say what was verified, whenever a kill comes.

``type u8 ‖ length u16 ‖ body ‖ crc32 u32``, append only. Replaying stops at the first record that
is cut off or damaged; what lies behind it never happened. A record is written after the bytes it
speaks of, so the journal never claims more than the data holds while the host stays up; the header
names the host's boot, and after another one the claims are checked against the data again.

====  =========  ======================================================================
type  name       body
====  =========  ======================================================================
1     HEADER     version u8, sender's id_pk 32 (zero: none), boot id 16, listing digest
                 32, target path
2     VERIFIED   entry u32, first chunk u32, digests 32 each (1 … 4: at most 1 MiB)
3     DONE       entry u32, size u64, file id 32
4     DROPPED    entry u32
5     PLACING    entry u32 (a top name), its name at the target
6     COMPLETE   (empty)
7     ON_EXISTS  entry u32 (2^32-1: every one), choice u8: 1 overwrite, 2 rename, 3 skip
====  =========  ======================================================================

Spec: transfer §8.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from wraith.content.chunking import DIGEST_BYTES
from wraith.types import Buffer

JOURNAL_VERSION = 1
CHUNKS_PER_RECORD = 4
"""1 MiB: a killed receiver loses at most this of what it had verified."""

_HEAD = struct.Struct(">BH")
_CRC = struct.Struct(">I")
_HEADER = struct.Struct(">B32s16s32s")
_VERIFIED = struct.Struct(">II")
_DONE = struct.Struct(">IQ32s")
_ENTRY = struct.Struct(">I")
_ON_EXISTS = struct.Struct(">IB")

_HEAD_BYTES = _HEAD.size

EVERY_ENTRY = (1 << 32) - 1
"""In ON_EXISTS: the choice holds for every name of the offer."""


class RecordType(IntEnum):
    HEADER = 1
    VERIFIED = 2
    DONE = 3
    DROPPED = 4
    PLACING = 5
    COMPLETE = 6
    ON_EXISTS = 7


_VERIFIED_KIND = int(RecordType.VERIFIED)


class Choice(IntEnum):
    """The treatment of a name that exists at the target."""

    OVERWRITE = 1
    RENAME = 2
    SKIP = 3


@dataclass(frozen=True, slots=True)
class JournalHeader:
    peer: bytes
    boot_id: bytes
    listing_digest: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    entry: int
    first: int
    digests: bytes

    @property
    def n(self) -> int:
        return len(self.digests) // DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class FileDone:
    entry: int
    size: int
    file_id: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    entry: int


@dataclass(frozen=True, slots=True)
class Placing:
    """All is verified, and this top name is about to be put at ``name``."""

    entry: int
    name: bytes


@dataclass(frozen=True, slots=True)
class CompleteMark:
    pass


@dataclass(frozen=True, slots=True)
class OnExists:
    """The choice for a name that exists, made before the offer was answered. One for every entry
    takes back all that stand before it; else the last one of an entry holds."""

    entry: int
    choice: Choice


JournalRecord = OnExists | JournalHeader | Verified | FileDone | Dropped | Placing | CompleteMark


def encode_record(record: JournalRecord) -> bytes:
    """The record with its length and checksum."""
    match record:
        case JournalHeader():
            kind = RecordType.HEADER
            body = (
                _HEADER.pack(JOURNAL_VERSION, record.peer, record.boot_id, record.listing_digest)
                + record.target
            )
        case Verified():
            kind = RecordType.VERIFIED
            body = _VERIFIED.pack(record.entry, record.first) + record.digests
        case FileDone():
            kind, body = RecordType.DONE, _DONE.pack(record.entry, record.size, record.file_id)
        case Dropped():
            kind, body = RecordType.DROPPED, _ENTRY.pack(record.entry)
        case Placing():
            kind, body = RecordType.PLACING, _ENTRY.pack(record.entry) + record.name
        case CompleteMark():
            kind, body = RecordType.COMPLETE, b""
        case OnExists():
            kind, body = RecordType.ON_EXISTS, _ON_EXISTS.pack(record.entry, record.choice)
    framed = _HEAD.pack(kind, len(body)) + body
    return framed + _CRC.pack(zlib.crc32(framed))


def encode_verified(entry: int, first: int, digests: bytes) -> bytes:
    """VERIFIED records for any number of consecutive chunks, each of at most 1 MiB. [TR-50]"""
    step = CHUNKS_PER_RECORD * DIGEST_BYTES
    return b"".join(
        encode_record(Verified(entry, first + at // DIGEST_BYTES, digests[at : at + step]))
        for at in range(0, len(digests), step)
    )


def replay(data: Buffer) -> Iterator[tuple[JournalRecord, int]]:
    """Yields each whole record with the offset behind it; stops where the tail is torn. [TR-51]"""
    view = memoryview(data)
    at, n_bytes = 0, len(view)
    while at + _HEAD_BYTES <= n_bytes:
        kind, length = _HEAD.unpack_from(view, at)
        stop = at + _HEAD_BYTES + length
        end = stop + _CRC.size
        if end > n_bytes:
            return
        framed = bytes(view[at:stop])
        if zlib.crc32(framed) != _CRC.unpack_from(view, stop)[0]:
            return
        record = _decode(kind, framed[_HEAD_BYTES:])
        if record is None:
            return
        at = end
        yield record, at


def _decode(kind: int, body: bytes) -> JournalRecord | None:
    if kind == _VERIFIED_KIND and len(body) > _VERIFIED.size:  # nearly all of them
        digests = body[_VERIFIED.size :]
        n, odd = divmod(len(digests), DIGEST_BYTES)
        if odd or n > CHUNKS_PER_RECORD:
            return None
        entry, first = _VERIFIED.unpack_from(body)
        return Verified(entry, first, digests)
    if kind == RecordType.HEADER and len(body) >= _HEADER.size:
        version, peer, boot_id, digest = _HEADER.unpack_from(body)
        if version != JOURNAL_VERSION:
            return None
        return JournalHeader(peer, boot_id, digest, body[_HEADER.size :])
    if kind == RecordType.DONE and len(body) == _DONE.size:
        return FileDone(*_DONE.unpack(body))
    if kind == RecordType.DROPPED and len(body) == _ENTRY.size:
        return Dropped(*_ENTRY.unpack(body))
    if kind == RecordType.PLACING and len(body) > _ENTRY.size:
        return Placing(_ENTRY.unpack_from(body)[0], body[_ENTRY.size :])
    if kind == RecordType.COMPLETE and not body:
        return CompleteMark()
    if kind == RecordType.ON_EXISTS and len(body) == _ON_EXISTS.size:
        entry, choice = _ON_EXISTS.unpack(body)
        return OnExists(entry, Choice(choice)) if choice in tuple(Choice) else None
    return None
