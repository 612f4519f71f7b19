"""Frames: one committed byte sample each, and what is refused."""

from __future__ import annotations

import pytest

from wraith.errors import CloseCode, DecodeError
from wraith.types import StreamId
from wraith.wire.frames import (
    Ack,
    Close,
    Data,
    DatagramFrame,
    ExtensionFrame,
    FecRepair,
    Frame,
    FrameType,
    GroupFrame,
    MaxStreams,
    MtuProbe,
    Pad,
    PathChallenge,
    PathResponse,
    Ping,
    Pong,
    Priority,
    QosMode,
    QosUpdate,
    Reset,
    Stop,
    StreamClose,
    StreamOpen,
    Timestamp,
    WindowUpdate,
    decode_frames,
    encode_frame,
    is_ack_eliciting,
)

SID = StreamId(0x40000001)

SAMPLES: list[tuple[Frame, str]] = [
    (Data(SID, 256, b"abc", True), "0101000f 40000001 0000000000000100 616263"),
    (Data(SID, 0, b""), "0100000c 40000001 0000000000000000"),
    (
        Ack(3, 10, 125, ((9, 10), (7, 7), (0, 4))),
        "02000012 03 0000000a 007d 02 0001 0001 0001 0002 0005",
    ),
    (Ack(0, 0, 0, ((0, 0),)), "0200000a 00 00000000 0000 00 0000"),
    (MtuProbe(), "03000001 04"),
    (Ping(0x0102030405060708), "05000008 0102030405060708"),
    (Pong(1), "06000008 0000000000000001"),
    (Close(CloseCode.PROTOCOL_ERROR, "n€"), "07000008 00000002 6ee282ac"),
    (Close(0), "07000004 00000000"),
    (Pad(b"xyz", True), "08010003 78797a"),
    (Pad(b""), "08000000"),
    (
        StreamOpen(SID, 1 << 20, 128, QosMode.PARTIALLY_RELIABLE, 3),
        "09000012 40000001 0000000000100000 80 03 00000003",
    ),
    (StreamClose(SID, 9), "0a00000c 40000001 0000000000000009"),
    (Reset(SID, 0x1000, 9), "0b000010 40000001 00001000 0000000000000009"),
    (WindowUpdate(StreamId(0), 1 << 33), "0c00000c 00000000 0000000200000000"),
    (PathChallenge(b"12345678"), "0e000008 3132333435363738"),
    (PathResponse(b"12345678"), "0f000008 3132333435363738"),
    (GroupFrame(FrameType.GROUP_REKEY, b"g" * 16, b"m"), "12000011 " + "67" * 16 + "6d"),
    (QosUpdate(SID, QosMode.UNRELIABLE_ORDERED, 250), "13000009 40000001 01 000000fa"),
    (FecRepair(b"raw"), "14000003 726177"),
    (Priority(SID, 0), "15000005 40000001 00"),
    (DatagramFrame(1, 2, b"hi"), "16000008 0001 00000002 6869"),
    (Timestamp(5), "17000008 0000000000000005"),
    (MaxStreams(3, 128), "18000005 03 00000080"),
    (Stop(SID, 0x1001), "19000008 40000001 00001001"),
    (ExtensionFrame(0x3F, b"?"), "3f000001 3f"),
]


@pytest.mark.spec("FR-1")
@pytest.mark.parametrize("frame, sample", SAMPLES, ids=lambda value: type(value).__name__)
def test_samples(frame: Frame, sample: str) -> None:
    raw = bytes.fromhex(sample)
    assert encode_frame(frame) == raw
    assert decode_frames(raw) == [frame]


@pytest.mark.spec("FR-4")
@pytest.mark.parametrize("frame, sample", SAMPLES, ids=lambda value: type(value).__name__)
def test_every_truncation_is_refused(frame: Frame, sample: str) -> None:
    raw = bytes.fromhex(sample)
    for end in range(1, len(raw)):
        with pytest.raises(DecodeError) as caught:
            decode_frames(raw[:end])
        assert caught.value.close_code == CloseCode.PROTOCOL_ERROR


@pytest.mark.spec("FR-4")
@pytest.mark.parametrize("frame, sample", SAMPLES, ids=lambda value: type(value).__name__)
def test_a_body_of_another_length_is_refused_or_another_value(frame: Frame, sample: str) -> None:
    raw = bytes.fromhex(sample)
    n = len(raw) - 4
    free = (Data, Close, Pad, GroupFrame, FecRepair, DatagramFrame, ExtensionFrame)
    for wrong in {0, n - 1, n + 1} - {-1, n}:
        changed = raw[:2] + wrong.to_bytes(2, "big") + raw[4:].ljust(wrong, b"\x01")[:wrong]
        try:
            decoded = decode_frames(changed)
        except DecodeError:
            continue
        assert isinstance(frame, free) and decoded != [frame]
        assert encode_frame(decoded[0]) == changed


@pytest.mark.spec("FR-2")
def test_type_zero_ends_the_packet() -> None:
    ping = encode_frame(Ping(1))
    assert decode_frames(ping + b"\x00\xff\xff\xff\xff") == [Ping(1)]
    assert decode_frames(b"\x00" * 4) == [] == decode_frames(b"")


@pytest.mark.spec("FR-3")
def test_unknown_types() -> None:
    for type_ in range(0x20, 0x40):
        assert decode_frames(bytes((type_, 0xFF, 0, 1, 7))) == [ExtensionFrame(type_, b"\x07")]
    for type_ in (0x04, 0x0D, 0x1A, 0x1F, 0x40, 0xFF):
        with pytest.raises(DecodeError):
            decode_frames(bytes((type_, 0, 0, 8)) + bytes(8))


@pytest.mark.spec("FR-1")
def test_unknown_flags_are_ignored() -> None:
    assert decode_frames(bytes.fromhex("01fe000d 40000001 0000000000000000 61")) == [
        Data(SID, 0, b"a")
    ]
    assert decode_frames(bytes.fromhex("05ff0008 0000000000000001")) == [Ping(1)]


@pytest.mark.spec("FR-8")
def test_records_of_the_control_stream_are_no_frames() -> None:
    for sub in (0, 1, 2, 3, 5, 6):
        with pytest.raises(DecodeError):
            decode_frames(bytes((0x03, 0, 0, 33, sub)) + bytes(32))


@pytest.mark.spec("FR-7")
def test_ack_eliciting() -> None:
    never = {FrameType.ACK, FrameType.CLOSE, FrameType.PAD, FrameType.FILL}
    for type_ in range(0x40):
        assert is_ack_eliciting(type_) is (type_ not in never)
    assert is_ack_eliciting(FrameType.PAD, 1) and not is_ack_eliciting(FrameType.PAD, 2)
    assert not is_ack_eliciting(FrameType.ACK, 1) and not is_ack_eliciting(FrameType.CLOSE, 1)


def ack(first: int, *ranges: int, largest: int = 100, n: int | None = None) -> bytes:
    body = b"\x00" + largest.to_bytes(4, "big") + b"\x00\x00"
    body += bytes((len(ranges) // 2 if n is None else n,)) + first.to_bytes(2, "big")
    body += b"".join(value.to_bytes(2, "big") for value in ranges)
    return b"\x02\x00" + len(body).to_bytes(2, "big") + body


@pytest.mark.spec("FR-5")
def test_acknowledged_ranges_count_downwards() -> None:
    assert decode_frames(ack(1, 1, 1, 2, 5, largest=10)) == [
        Ack(0, 10, 0, ((9, 10), (7, 7), (0, 4)))
    ]


@pytest.mark.spec("FR-6")
@pytest.mark.parametrize(
    "raw",
    [
        ack(0, 0, 1),
        ack(0, 1, 0),
        ack(101),
        ack(0, 100, 1),
        ack(0, 1, 100),
        ack(0, *(1, 1) * 65, largest=1000),
        ack(0, 1, 1, n=2),
        ack(0, 1, 1, n=0),
    ],
    ids=[
        "gap 0",
        "range 0",
        "first below 0",
        "gap below 0",
        "range below 0",
        "65",
        "short",
        "long",
    ],
)
def test_what_an_ack_may_not_say(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_frames(raw)
    assert decode_frames(ack(0, *(1, 1) * 64, largest=1000))


@pytest.mark.spec("FR-5")
@pytest.mark.parametrize(
    "ranges, kept",
    [
        (((0, 65_535),), ((0, 65_535),)),
        (((0, 65_536),), ((1, 65_536),)),
        (((70_000, 140_000), (0, 5)), ((74_465, 140_000),)),
        (((70_000, 70_000), (0, 4_464)), ((70_000, 70_000), (0, 4_464))),
        (((70_000, 70_000), (0, 4_463)), ((70_000, 70_000),)),
        (((70_000, 70_000), (100, 65_634)), ((70_000, 70_000), (100, 65_634))),
        (((70_000, 70_000), (99, 65_634)), ((70_000, 70_000), (100, 65_634))),
        (((70_000, 70_000), (99, 65_634), (1, 1)), ((70_000, 70_000), (100, 65_634))),
        (
            tuple((2 * i, 2 * i) for i in range(80, 0, -1)),
            tuple((2 * i, 2 * i) for i in range(80, 15, -1)),
        ),
    ],
)
def test_a_list_that_does_not_fit_is_cut(
    ranges: tuple[tuple[int, int], ...], kept: tuple[tuple[int, int], ...]
) -> None:
    frame = Ack(0x1FF, ranges[0][1], 70_000, ranges)
    want = Ack(0xFF, ranges[0][1], 65_535, kept)
    assert frame.truncated() == want
    assert decode_frames(encode_frame(frame)) == [want]


@pytest.mark.parametrize(
    "frame",
    [
        Ack(0, 9, 0, ((0, 8),)),
        Ack(0, 9, 0, ((9, 9), (0, 8))),
        Ack(0, 9, 0, ((9, 9), (5, 4))),
        Ping(-1),
        Ping(1 << 64),
        PathChallenge(b"short"),
        QosUpdate(SID, QosMode.RELIABLE, 1),
        QosUpdate(SID, QosMode.PARTIALLY_RELIABLE, 256),
        MaxStreams(4, 1),
        GroupFrame(FrameType.PING, b"g" * 16, b""),
        GroupFrame(FrameType.GROUP_JOIN, b"g", b""),
        ExtensionFrame(0x40, b""),
        Data(SID, 0, bytes(65_536)),
    ],
    ids=repr,
)
def test_a_value_that_has_no_encoding_is_the_callers_defect(frame: Frame) -> None:
    with pytest.raises(ValueError):
        encode_frame(frame)


@pytest.mark.spec("FR-9")
def test_a_close_reason_has_64_bytes_of_utf8() -> None:
    assert decode_frames(encode_frame(Close(1, "é" * 40))) == [Close(1, "é" * 32)]
    assert decode_frames(encode_frame(Close(1, "a" + "é" * 40))) == [Close(1, "a" + "é" * 31)]
    for reason in (b"x" * 65, b"\xff", b"\xc3"):
        with pytest.raises(DecodeError):
            decode_frames(b"\x07\x00" + (4 + len(reason)).to_bytes(2, "big") + bytes(4) + reason)


@pytest.mark.spec("FR-10")
@pytest.mark.parametrize("qos, parameter", [(0, 1), (2, 1), (3, 256), (4, 0)])
def test_a_qos_that_does_not_exist_is_refused(qos: int, parameter: int) -> None:
    body = SID.to_bytes(4, "big") + bytes((qos,)) + parameter.to_bytes(4, "big")
    with pytest.raises(DecodeError):
        decode_frames(b"\x13\x00\x00\x09" + body)


def test_data_beyond_the_last_offset_is_refused() -> None:
    raw = bytes.fromhex("0100000e 40000001 fffffffffffffffe 6162")
    with pytest.raises(DecodeError):
        decode_frames(raw)
    assert decode_frames(raw[:3] + b"\x0d" + raw[4:17])
    with pytest.raises(DecodeError):
        decode_frames(bytes.fromhex("18000005 04 00000000"))
