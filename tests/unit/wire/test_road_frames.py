from __future__ import annotations

import pytest

from wraith.errors import CloseCode, DecodeError
from wraith.types import Address, Carrier, Road
from wraith.wire.frames import (
    ExtensionFrame,
    Frame,
    PathRole,
    PathUse,
    Roads,
    RoadSeen,
    RoadTried,
    decode_frames,
    encode_frame,
)
from wraith.wire.road_frames import ROAD_FRAMES

FOUR = Address(bytes((192, 0, 2, 1)), 4433)
SIX = Address(bytes.fromhex("20010db8000000000000000000000001"), 4434)

SAMPLES: list[tuple[Frame, str]] = [
    (
        Roads.of(7, (Road(Carrier.UDP, FOUR), Road(Carrier.TCP, SIX))),
        "20000021 00000007 02 04 06 c0000201 1151 16 12 20010db8000000000000000000000001 1152",
    ),
    (Roads(1, ((0x99, b"later"),)), "2000000c 00000001 01 99 05 6c61746572"),
    (Roads(0, ()), "20000005 00000000 00"),
    (RoadTried((b"12345678", b"87654321")), "21000011 02 3132333435363738 3837363534333231"),
    (
        RoadSeen(((b"12345678", True), (b"87654321", False))),
        "22000013 02 3132333435363738 01 3837363534333231 00",
    ),
    (PathUse(3, 9, PathRole.ACTIVE), "23000009 00000003 00000009 02"),
]


@pytest.mark.spec("FR-11")
@pytest.mark.parametrize("frame, sample", SAMPLES, ids=lambda value: type(value).__name__)
def test_samples(frame: Frame, sample: str) -> None:
    raw = bytes.fromhex(sample)
    assert encode_frame(frame) == raw
    assert decode_frames(raw, agreed=ROAD_FRAMES) == [frame]


@pytest.mark.spec("FR-11")
@pytest.mark.parametrize("frame, sample", SAMPLES, ids=lambda value: type(value).__name__)
def test_without_the_extension_they_are_skipped_like_all_unknown_ones(
    frame: Frame, sample: str
) -> None:
    raw = bytes.fromhex(sample)
    assert decode_frames(raw) == [ExtensionFrame(raw[0], raw[4:])]
    assert decode_frames(raw, skips=True) == []
    # A body that means nothing is none of this session's business either.
    assert decode_frames(raw[:1] + b"\0\0\1\xff", skips=True) == []


@pytest.mark.spec("FR-11")
def test_with_the_extension_they_are_read_though_others_are_skipped() -> None:
    raw = b"".join(bytes.fromhex(sample) for _, sample in SAMPLES)
    other = encode_frame(ExtensionFrame(0x24, b"?"))
    want = [frame for frame, _ in SAMPLES]
    assert decode_frames(raw + other, skips=True, agreed=ROAD_FRAMES) == want
    assert decode_frames(other, agreed=ROAD_FRAMES) == [ExtensionFrame(0x24, b"?")]


@pytest.mark.spec("FR-11")
@pytest.mark.parametrize("frame, sample", SAMPLES, ids=lambda value: type(value).__name__)
def test_a_body_too_short_or_too_long_is_refused(frame: Frame, sample: str) -> None:
    raw = bytes.fromhex(sample)
    n = len(raw) - 4
    for wrong in (*range(n), n + 1):
        changed = raw[:2] + wrong.to_bytes(2, "big") + (raw[4:] + b"\0")[:wrong]
        with pytest.raises(DecodeError) as caught:
            decode_frames(changed, agreed=ROAD_FRAMES)
        assert caught.value.close_code == CloseCode.PROTOCOL_ERROR


REFUSED = {
    "nine places": "20000020 00000007 09" + "990100" * 9,
    "a URL": "20000016 00000007 01 30 0f" + b"http://1.1.1.1/".hex(),
    "an address that is too short": "2000000c 00000007 01 04 05 c000020111",
    "an address that is too long": "2000000e 00000007 01 04 07 c0000201115100",
    "port 0": "2000000d 00000007 01 04 06 c00002010000",
    "17 tried": "21000089 11" + "00" * 136,
    "17 seen": "2200009a 11" + "00" * 153,
    "seen neither yes nor no": "2200000a 01 3132333435363738 02",
    "a use that is none": "23000009 00000003 00000009 03",
}


@pytest.mark.spec("FR-12", "FR-13", "FR-14")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    raw = bytes.fromhex(REFUSED[what])
    assert len(raw) == 4 + int.from_bytes(raw[2:4], "big")
    assert len(decode_frames(raw)) == 1
    with pytest.raises(DecodeError) as caught:
        decode_frames(raw, agreed=ROAD_FRAMES)
    assert caught.value.close_code == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "frame",
    [
        Roads(-1, ()),
        Roads(0, ((0x99, b""),) * 9),
        Roads(0, ((0x99, bytes(256)),)),
        Roads(0, ((0x04, b"short"),)),
        Roads(0, ((0x30, b"http://example.com/"),)),
        RoadTried((b"short",)),
        RoadTried((b"12345678",) * 17),
        RoadSeen(((b"12345678", True),) * 17),
        PathUse(1 << 32, 0, PathRole.ACTIVE),
    ],
    ids=repr,
)
def test_a_value_that_has_no_encoding_is_the_callers_defect(frame: Frame) -> None:
    with pytest.raises(ValueError):
        encode_frame(frame)


@pytest.mark.spec("FR-12")
def test_places_of_a_later_version_are_passed_over() -> None:
    road = Road(Carrier.QUIC, FOUR)
    places = ((0x99, b"later"), *Roads.of(0, (road,)).places, (0x00, b""))
    assert Roads(0, places).roads() == (road,)


def test_a_frame_names_no_url() -> None:
    frame = Roads.of(0, (Road(Carrier.WS, url="wss://example.com/x"),))
    with pytest.raises(ValueError, match="no URL"):
        encode_frame(frame)
