"""The targets of the fuzz programs in ``tests/fuzz``, one function per family of parsers.

Each takes any bytes and returns; it raises only for a defect: an exception that the parser does
not document, or a value that cannot be written and read back. Used by the programs, by the replay
of the committed corpora, and by property tests.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wraith.connection.links.link import LinkState, StreamLink
from wraith.connection.links.preface import PREFACE_BYTES, LinkKeys
from wraith.connection.roads.allowed import peer_may_name
from wraith.crypto.secret import Secret
from wraith.errors import CodeInvalid, DecodeError, RemoteProtocolError
from wraith.transfer import code as code_text
from wraith.transfer.chunk_records import ChunkRecordParser
from wraith.transfer.journal_records import encode_record as encode_journal
from wraith.transfer.journal_records import replay
from wraith.transfer.listing import ListingReader, decode_page, encode_entry
from wraith.transfer.message_codec import MessageParser, decode_message, encode_message
from wraith.transfer.path_rules import PathRules
from wraith.wire.control_records import RecordParser, encode_record
from wraith.wire.extensions import decode_extensions, encode_extensions
from wraith.wire.frames import Frame, Roads, decode_frames, encode_frame
from wraith.wire.handshake import (
    FinishPayload,
    HelloPayload,
    HelloPrefix,
    PartKind,
    Reassembler,
    ResponsePayload,
    Unsupported,
    decode_part,
    encode_part,
)
from wraith.wire.road_frames import ROAD_FRAMES

_PIECE_BYTES = 37
_LINK_KEY = bytes(range(32))
_PAYLOADS: tuple[Any, ...] = (HelloPayload, ResponsePayload, FinishPayload, Unsupported)


def _same(what: object, first: object, second: object) -> None:
    if first != second:
        raise AssertionError(f"{what} does not survive being written and read: {first!r}")


def _each(decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], data: bytes) -> None:
    """One decoder: a documented refusal, or a value that reads back as itself."""
    try:
        value = decode(data)
    except DecodeError:
        return
    _same(decode, value, decode(encode(value)))


def _decode_agreed(data: bytes) -> list[Frame]:
    """The frames of a session that has agreed on ROADS, and what they name."""
    found = decode_frames(data, agreed=ROAD_FRAMES)
    for frame in found:
        if isinstance(frame, Roads):
            for road in frame.roads():
                peer_may_name(road, code_ports=frozenset(), remote=road.address)
    return found


def frames(data: bytes) -> None:
    """Frames of a packet, and the records of stream 0 in pieces of any size."""
    _each(decode_frames, lambda found: b"".join(map(encode_frame, found)), data)
    _each(_decode_agreed, lambda found: b"".join(map(encode_frame, found)), data)
    whole, pieces = RecordParser(), RecordParser()
    try:
        records = whole.feed(data)
    except RemoteProtocolError:
        return
    in_pieces = [
        record
        for at in range(0, len(data), _PIECE_BYTES)
        for record in pieces.feed(data[at : at + _PIECE_BYTES])
    ]
    _same("a record stream", records, in_pieces)
    _same("records", records, RecordParser().feed(b"".join(map(encode_record, records))))


def handshake(data: bytes) -> None:
    """Parts, the hello prefix, payloads and extension lists, as they are after the veil."""
    for payload in _PAYLOADS:
        _each(payload.decode, payload.encode, data)
    _each(decode_extensions, encode_extensions, data)
    with suppress(DecodeError):
        part, prefix = HelloPrefix.decode_first(data)
        again = encode_part(
            kind=part.kind, index=part.index, total=part.total, body_bytes=part.body_bytes,
            offset=part.offset, fragment=part.fragment, prefix=prefix.encode(),
        )  # fmt: skip
        _same("HELLO/0", (part, prefix), HelloPrefix.decode_first(again))
    for kind in PartKind:
        parts = Reassembler(kind)
        with suppress(DecodeError):
            for at in range(0, len(data), 64):  # a flight of parts that may or may not fit
                parts.add(decode_part(data[at : at + 64]))
                if parts.is_complete:
                    parts.body()


def transfer(data: bytes) -> None:
    """Control messages, listings, chunk records, the journal on disk and the text of codes."""
    if data:
        with suppress(DecodeError):
            message = decode_message(data[0], data[1:])
            encoded = encode_message(message)
            _same("a message", message, decode_message(encoded[0], encoded[4:]))
    with suppress(DecodeError):
        MessageParser().feed(data)
    _each(decode_page, lambda entries: b"".join(map(encode_entry, entries)), data)
    with suppress(RemoteProtocolError):
        ListingReader(PathRules()).add_page(data)
    with suppress(DecodeError):
        ChunkRecordParser(array("Q", (0, 5, 3 << 20))).feed(data)
    journal = [record for record, _ in replay(data)]
    _same("a journal", journal, [r for r, _ in replay(b"".join(map(encode_journal, journal)))])
    _code(data.decode(errors="replace"))
    body = base64.b32encode(data).decode().lower().rstrip("=")
    _code(f"{code_text.PREFIX}{body}{code_text._checksum(data)}")  # beyond the checksum too


def _code(text: str) -> None:
    try:
        code = code_text.decode_code(text)
    except CodeInvalid:
        return
    _same("a code", code, code_text.decode_code(code_text.encode_code(code)))


def links(data: bytes) -> None:
    """An accepted link: any bytes behind a proof that takes all, and records that are right but
    for what ``data`` does to them, whole and in pieces."""
    _link_reads(data)
    packets = [bytes([size & 0xFF]) * (33 + size % 600) for size in data[2:34]]
    dialled = StreamLink.dialled(_link_keys(), bytes(PREFACE_BYTES))
    stream = bytearray()
    for packet in packets:
        for part in dialled.frame(memoryview(packet), len(packet)):
            stream += part
    _same("packets", packets, _link_reads(bytes(stream)))
    if stream and len(data) > 34:
        stream[int.from_bytes(data[:2], "big") % len(stream)] ^= data[34]
        found = _link_reads(bytes(stream))
        _same("the sizes of packets", [len(p) for p in packets[: len(found)]], [*map(len, found)])


def _link_keys() -> LinkKeys:
    return LinkKeys(Secret(_LINK_KEY), Secret(_LINK_KEY), bytes(8))


def _link_reads(stream: bytes) -> list[bytes]:
    """The packets that come out of a link, which must not depend on how the stream is cut."""
    results = []
    for piece_bytes in (4096, _PIECE_BYTES):
        link = StreamLink.accepted(lambda _: _link_keys())
        found: list[bytes] = []
        for at in range(0, len(stream), piece_bytes):
            for run, size in link.feed(stream[at : at + piece_bytes]):
                found += [bytes(run[i : i + size]) for i in range(0, len(run), size)]
        if link.state is LinkState.DISCARDING and not link.is_at_boundary:
            raise AssertionError("a link that discards holds something")
        results.append((found, link.state))
    _same("a link", *results)
    return results[0][0]
