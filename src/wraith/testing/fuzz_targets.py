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
from wraith.wire.frames import decode_frames, encode_frame
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

_PIECE_BYTES = 37
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


def frames(data: bytes) -> None:
    """Frames of a packet, and the records of stream 0 in pieces of any size."""
    _each(decode_frames, lambda found: b"".join(map(encode_frame, found)), data)
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
