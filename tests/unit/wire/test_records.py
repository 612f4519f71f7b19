"""Records of stream 0: one committed byte sample each, cut anywhere, and what is refused."""

from __future__ import annotations

import pytest

from wraith.errors import DecodeError
from wraith.types import StreamId
from wraith.wire.control_records import (
    Goaway,
    HandshakeConfirm,
    NewTicket,
    PqAuth,
    Record,
    RecordParser,
    RekeyInit,
    RekeyRequest,
    RekeyResp,
    TicketRequest,
    encode_record,
)
from wraith.wire.frames import Ping, encode_frame

SAMPLES: list[tuple[Record, str]] = [
    (HandshakeConfirm(b"h" * 32), "03000021 01" + "68" * 32),
    (
        NewTicket(1, b"i" * 16, 7, b"par"),
        "03000022 02 00000001" + "69" * 16 + "0000000000000007 0003 706172",
    ),
    (TicketRequest(4), "03000002 03 04"),
    (PqAuth(b"sig"), "03000004 05 736967"),
    (RekeyInit(2, b"x" * 32, b"ek", 9), "04000028 01 00000002 09" + "78" * 32 + "656b"),
    (RekeyResp(2, b"y" * 32, b""), "04000026 02 00000002 00" + "79" * 32),
    (RekeyRequest(3), "04000002 03 03"),
    (Goaway(StreamId(0x40000001), 0x1000), "0d000008 40000001 00001000"),
]


@pytest.mark.spec("FR-8")
@pytest.mark.parametrize("record, sample", SAMPLES, ids=lambda value: type(value).__name__)
def test_samples(record: Record, sample: str) -> None:
    raw = bytes.fromhex(sample)
    assert encode_record(record) == raw
    assert RecordParser().feed(raw) == [record]


def test_records_come_out_whatever_the_cut() -> None:
    stream = b"".join(bytes.fromhex(sample) for _, sample in SAMPLES)
    for size in (1, 3, 7, 50):
        parser = RecordParser()
        got = [
            record
            for at in range(0, len(stream), size)
            for record in parser.feed(stream[at : at + size])
        ]
        assert got == [record for record, _ in SAMPLES]


def test_the_transcript_hash_takes_the_message_without_its_header() -> None:
    init = RekeyInit(2, b"x" * 32, b"ek", 9)
    assert init.message() == encode_record(init)[4:]
    resp = RekeyResp(2, b"y" * 32, b"ct")
    assert resp.message() == encode_record(resp)[4:]


@pytest.mark.spec("FR-8")
@pytest.mark.parametrize(
    "raw",
    [
        encode_frame(Ping(1)),
        bytes.fromhex("00000000"),
        bytes.fromhex("03000001 04"),
        bytes.fromhex("03000001 00"),
        bytes.fromhex("03000000"),
        bytes.fromhex("03000020 01") + bytes(31),
        bytes.fromhex("03000022 01") + bytes(33),
        bytes.fromhex("03000002 03 05"),
        bytes.fromhex("04000006 01 000000020000"),
        bytes.fromhex("04000026 04 00000002 00") + bytes(32),
        bytes.fromhex("0d000009 40000001 00001000 00"),
        bytes.fromhex("03000022 02 00000001") + bytes(24) + bytes.fromhex("0004 706172"),
    ],
)
def test_anything_else_breaks_the_stream_for_good(raw: bytes) -> None:
    parser = RecordParser()
    for _ in range(2):
        with pytest.raises(DecodeError):
            parser.feed(raw)
    with pytest.raises(DecodeError):
        parser.feed(encode_record(RekeyRequest(1)))


@pytest.mark.spec("FR-8")
def test_a_record_has_at_most_16384_bytes_and_a_longer_one_is_refused_by_its_header() -> None:
    largest = PqAuth(bytes(16_384 - 5))
    assert RecordParser().feed(encode_record(largest)) == [largest]
    with pytest.raises(ValueError):
        encode_record(PqAuth(bytes(16_384 - 4)))
    with pytest.raises(DecodeError):
        RecordParser().feed(b"\x03\x00" + (16_381).to_bytes(2, "big"))
    assert RecordParser().feed(b"\x03\x00" + (16_380).to_bytes(2, "big")) == []


def test_a_record_says_nothing_secret_of_itself() -> None:
    assert "6868" not in repr(HandshakeConfirm(b"h" * 32)) and "hhh" not in repr(
        HandshakeConfirm(b"h" * 32)
    )


@pytest.mark.parametrize("record", [HandshakeConfirm(b"short"), TicketRequest(5)], ids=repr)
def test_a_value_that_has_no_encoding_is_the_callers_defect(record: Record) -> None:
    with pytest.raises(ValueError):
        encode_record(record)
