"""Laws of the codecs: round trips both ways, truncations, random bytes; layouts; ACK ranges."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.crypto.kdf import keyed_hash
from wraith.errors import DecodeError
from wraith.testing.packets import PacketSession
from wraith.types import StreamId
from wraith.wire import control_records as r
from wraith.wire import frames as f
from wraith.wire.extensions import Extension, decode_extensions, encode_extensions
from wraith.wire.format import WireFormatSpec
from wraith.wire.handshake import (
    FinishPayload,
    HelloPayload,
    HelloPrefix,
    Part,
    PartKind,
    Reassembler,
    ResponsePayload,
    TransportParams,
    Unsupported,
    decode_part,
    encode_part,
)
from wraith.wire.places import ADDRESS_TYPES, URL_TYPE
from wraith.wire.polymorphic import PacketFields, WireCodec, decode_hdr
from wraith.wire.road_frames import ROAD_FRAMES

u8, u16 = st.integers(0, 0xFF), st.integers(0, 0xFFFF)
u32, u64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
blob = st.binary(max_size=40)
sid = u32.map(StreamId)
key32 = st.binary(min_size=32, max_size=32)
bytes8 = st.binary(min_size=8, max_size=8)
bytes16 = st.binary(min_size=16, max_size=16)


@st.composite
def acks(draw: st.DrawFn) -> f.Ack:
    lowest = last = largest = draw(u32)
    lowest -= draw(st.integers(0, min(largest, 0xFFFF)))
    ranges = [(lowest, last)]
    for gap, length in draw(
        st.lists(st.tuples(st.integers(1, 0xFFFF), st.integers(1, 0xFFFF)), max_size=64)
    ):
        last = lowest - gap - 1
        lowest = last - length + 1
        if lowest < 0:
            break
        ranges.append((lowest, last))
    return f.Ack(draw(u8), largest, draw(u16), tuple(ranges))


qos = st.one_of(
    st.tuples(st.just(f.QosMode.RELIABLE), st.just(0)),
    st.tuples(st.just(f.QosMode.UNRELIABLE_ORDERED), u32),
    st.tuples(st.just(f.QosMode.UNRELIABLE_UNORDERED), st.just(0)),
    st.tuples(st.just(f.QosMode.PARTIALLY_RELIABLE), u8),
)
reasons = st.text(max_size=64).filter(lambda text: len(text.encode()) <= 64)
group_types = st.sampled_from(
    [f.FrameType.GROUP_JOIN, f.FrameType.GROUP_LEAVE, f.FrameType.GROUP_REKEY]
)
any_frame: st.SearchStrategy[f.Frame] = st.one_of(
    st.builds(f.Data, sid, st.integers(0, (1 << 64) - 100), blob, st.booleans()),
    acks(),
    st.builds(f.Ping, u64),
    st.builds(f.Pong, u64),
    st.builds(f.Close, u32, reasons),
    st.builds(f.Pad, blob, st.booleans()),
    st.builds(lambda s, w, p, q: f.StreamOpen(s, w, p, *q), sid, u64, u8, qos),
    st.builds(f.StreamClose, sid, u64),
    st.builds(f.Reset, sid, u32, u64),
    st.builds(f.Stop, sid, u32),
    st.builds(f.WindowUpdate, sid, u64),
    st.builds(f.PathChallenge, bytes8),
    st.builds(f.PathResponse, bytes8),
    st.just(f.MtuProbe()),
    st.builds(lambda s, q: f.QosUpdate(s, *q), sid, qos),
    st.builds(f.Priority, sid, u8),
    st.builds(f.DatagramFrame, u16, u32, blob),
    st.builds(f.Timestamp, u64),
    st.builds(f.MaxStreams, st.integers(0, 3), u32),
    st.builds(f.GroupFrame, group_types, bytes16, blob),
    st.builds(f.FecRepair, blob),
    st.builds(f.ExtensionFrame, st.integers(0x20, 0x3F), blob),
)
road_ids = st.lists(bytes8, max_size=16)
unknown_places = st.tuples(
    st.integers(0, 255).filter(lambda t: t not in ADDRESS_TYPES and t != URL_TYPE),
    st.binary(max_size=255),
)
known_places = st.builds(
    lambda shape, raw, port: (shape[0], raw[: shape[1][1]] + port.to_bytes(2, "big")),
    st.sampled_from(sorted(ADDRESS_TYPES.items())),
    st.binary(min_size=16, max_size=16),
    st.integers(1, 0xFFFF),
)
road_frame: st.SearchStrategy[f.Frame] = st.one_of(
    st.builds(f.Roads, u32, st.lists(known_places | unknown_places, max_size=8).map(tuple)),
    st.builds(f.RoadTried, road_ids.map(tuple)),
    st.builds(f.RoadSeen, st.lists(st.tuples(bytes8, st.booleans()), max_size=16).map(tuple)),
    st.builds(f.PathUse, u32, u32, st.sampled_from(f.PathRole)),
)
any_record: st.SearchStrategy[r.Record] = st.one_of(
    st.builds(r.HandshakeConfirm, key32),
    st.builds(r.NewTicket, u32, bytes16, u64, blob),
    st.builds(r.TicketRequest, st.integers(0, 4)),
    st.builds(r.PqAuth, blob),
    st.builds(r.RekeyInit, u32, key32, blob, u8),
    st.builds(r.RekeyResp, u32, key32, blob, u8),
    st.builds(r.RekeyRequest, u8),
    st.builds(r.Goaway, sid, u32),
)
extensions = st.lists(st.builds(Extension, u16, blob), max_size=5, unique_by=lambda e: e.id).map(
    tuple
)
params = st.builds(
    TransportParams,
    st.integers(1, 0xFFFF),
    st.integers(1200, 0xFFFF),
    st.integers(0, 1000),
    u32,
    u32,
    st.integers(0, 16_384),
)
codes = st.lists(u8, max_size=6).map(tuple)
unknown = st.lists(
    st.tuples(st.integers(0x21, 0xFF), blob), max_size=3, unique_by=lambda tlv: tlv[0]
).map(lambda tlvs: tuple(sorted(tlvs)))
ident = st.binary(min_size=104, max_size=104)
prefixes = st.builds(
    HelloPrefix,
    u64,
    u8,
    u8,
    st.none() | key32,
    st.none() | st.tuples(bytes16, blob),
    st.none() | key32,
)


def decode_one_agreed(raw: bytes) -> f.Frame:
    found = f.decode_frames(raw, agreed=ROAD_FRAMES)
    if len(found) != 1 or isinstance(found[0], f.Pad | f.ExtensionFrame):
        raise DecodeError("frame")
    return found[0]


def decode_one_record(raw: bytes) -> r.Record:
    """For the laws below: exactly one record, or ``DecodeError``."""
    found = r.RecordParser().feed(raw)
    if len(found) != 1 or r.encode_record(found[0])[2:] != raw[2:]:
        raise DecodeError("record")
    return found[0]


def decode_one_frame(raw: bytes) -> f.Frame:
    found = f.decode_frames(raw)
    if len(found) != 1:
        raise DecodeError("frame")
    return found[0]


def decode_first(raw: bytes) -> HelloPrefix:
    body = encode_part(
        kind=PartKind.HELLO, index=0, total=1, body_bytes=1, offset=0, fragment=b"x", prefix=raw
    )
    part, prefix = HelloPrefix.decode_first(body)
    if part.fragment != b"x":
        raise DecodeError("prefix")
    return prefix


CODECS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "frame": (any_frame, f.encode_frame, decode_one_frame),
    "agreed frame": (road_frame, f.encode_frame, decode_one_agreed),
    "record": (any_record, r.encode_record, decode_one_record),
    "extensions": (extensions, encode_extensions, decode_extensions),
    "hello": (
        st.builds(HelloPayload, codes, codes, extensions, unknown),
        HelloPayload.encode,
        HelloPayload.decode,
    ),
    "response": (
        st.builds(ResponsePayload, ident, extensions, params, u64, unknown),
        ResponsePayload.encode,
        ResponsePayload.decode,
    ),
    "finish": (
        st.builds(
            FinishPayload,
            st.none() | ident,
            key32,
            params,
            st.none() | st.integers(0, 4),
            unknown,
        ),
        FinishPayload.encode,
        FinishPayload.decode,
    ),
    "prefix": (prefixes, HelloPrefix.encode, decode_first),
    "unsupported": (
        st.builds(Unsupported, codes, codes),
        Unsupported.encode,
        Unsupported.decode,
    ),
}


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_decoding_what_was_encoded_gives_it_back(name: str, data: st.DataObject) -> None:
    values, encode, decode = CODECS[name]
    value = data.draw(values)
    assert decode(encode(value)) == value


#: A list of TLVs, extensions or aux TLVs may end after any of its entries.
LISTS = {"extensions", "finish"}


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_every_truncation_is_refused_or_another_value(name: str, data: st.DataObject) -> None:
    values, encode, decode = CODECS[name]
    value = data.draw(values)
    raw = encode(value)
    for end in range(len(raw)):
        try:
            shorter = decode(raw[:end])
        except DecodeError:
            continue
        assert name in LISTS or name in ("hello", "response")
        assert shorter != value and encode(shorter) == raw[:end]


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_bytes_that_decode_are_the_one_encoding_of_their_value(
    name: str, data: st.DataObject
) -> None:
    """Mutated encodings reach deeper than random bytes. Flags are the one thing that is ignored."""
    values, encode, decode = CODECS[name]
    raw = bytearray(encode(data.draw(values)))
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(u8)
    if name in ("frame", "agreed frame", "record") and len(raw) > 1:
        raw[1] &= 1 if raw[0] in (f.FrameType.DATA, f.FrameType.PAD) else 0
    try:
        value = decode(bytes(raw))
    except DecodeError:
        return
    if name == "prefix" and encode(value) != raw:
        assert len(encode(value)) < len(raw), "an unknown aux TLV was skipped"
        return
    assert encode(value) == raw


@given(st.binary(max_size=300))
def test_random_bytes_never_raise_anything_else(raw: bytes) -> None:
    decoders: list[Callable[[bytes], object]] = [
        f.decode_frames,
        lambda data: f.decode_frames(data, agreed=ROAD_FRAMES),
        decode_extensions,
        HelloPayload.decode,
        ResponsePayload.decode,
        FinishPayload.decode,
        Unsupported.decode,
        decode_part,
        HelloPrefix.decode_first,
        decode_hdr,
        lambda data: r.RecordParser().feed(data),
        WireCodec(WireFormatSpec.derive(bytes(32))).decode,
    ]
    for decode in decoders:
        try:
            decode(raw)
        except DecodeError as error:
            assert 0 <= error.offset <= len(raw)


@given(st.lists(any_frame, max_size=10), st.binary(max_size=20))
def test_frames_stand_one_after_the_other(frames: list[f.Frame], fill: bytes) -> None:
    raw = b"".join(map(f.encode_frame, frames))
    assert f.decode_frames(raw + b"\x00" + fill) == frames


@given(st.lists(any_record, max_size=6), st.data())
def test_records_come_out_whatever_the_cut(records: list[r.Record], data: st.DataObject) -> None:
    raw = b"".join(map(r.encode_record, records))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    parser = r.RecordParser()
    got: list[r.Record] = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        got += parser.feed(raw[start:end])
    assert got == records


@pytest.mark.spec("FR-5")
@given(st.sets(st.integers(0, 400), min_size=1), u8)
def test_an_ack_says_exactly_what_was_received(numbers: set[int], epoch: int) -> None:
    ranges: list[tuple[int, int]] = []
    for pn in sorted(numbers, reverse=True):
        if ranges and ranges[-1][0] == pn + 1:
            ranges[-1] = (pn, ranges[-1][1])
        else:
            ranges.append((pn, pn))
    ack = f.Ack(epoch, max(numbers), 3, tuple(ranges))
    (decoded,) = f.decode_frames(f.encode_frame(ack))
    assert isinstance(decoded, f.Ack) and decoded == ack.truncated()
    said = {pn for first, last in decoded.ranges for pn in range(first, last + 1)}
    assert said <= numbers and (said == numbers or len(ranges) > 65)
    assert max(said) == max(numbers)


@pytest.mark.spec("FR-5")
@given(
    st.lists(st.tuples(st.integers(1, 200_000), st.integers(1, 200_000)), min_size=1, max_size=90)
)
def test_a_cut_ack_never_says_more_and_is_canonical(pairs: list[tuple[int, int]]) -> None:
    at = sum(gap + n for gap, n in pairs)
    ranges: list[tuple[int, int]] = []
    for gap, n in pairs:
        ranges.append((at - n + 1, at))
        at -= n + gap
    ack = f.Ack(0, ranges[0][1], 0, tuple(ranges))
    (decoded,) = f.decode_frames(f.encode_frame(ack))
    assert isinstance(decoded, f.Ack) and decoded.truncated() == decoded
    for (first, last), (want_first, want_last) in zip(decoded.ranges, ranges, strict=False):
        assert last == want_last and want_first <= first
    assert 1 <= len(decoded.ranges) <= 65


@pytest.mark.spec("HB-2")
@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_body_survives_any_cut_order_and_repetition(body: bytes, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, min(15, len(body))))
    inner = st.lists(
        st.integers(1, max(1, len(body) - 1)), min_size=n - 1, max_size=n - 1, unique=True
    )
    bounds = [0, *sorted(data.draw(inner)), len(body)]
    parts = []
    for index in range(n):
        fragment = body[bounds[index] : bounds[index + 1]]
        raw = encode_part(
            kind=PartKind.RESPONSE,
            index=index,
            total=n,
            body_bytes=len(body),
            offset=bounds[index],
            fragment=fragment,
        )
        part = decode_part(raw + data.draw(blob))
        assert part == Part(PartKind.RESPONSE, index, n, len(body), bounds[index], fragment)
        parts.append(part)
    order = data.draw(st.permutations(parts)) + data.draw(st.lists(st.sampled_from(parts)))
    reassembler = Reassembler(PartKind.RESPONSE)
    for part in order:
        reassembler.add(part)
    assert reassembler.is_complete and reassembler.body() == body


@pytest.mark.spec("WF-1", "WF-2")
@given(key32, st.binary(min_size=4, max_size=60))
def test_split_is_the_inverse_of_join(secret: bytes, payload: bytes) -> None:
    spec = WireFormatSpec.derive(secret)
    assert WireFormatSpec.derive(secret) == spec == WireFormatSpec.unpack(spec.pack())
    assert 0 <= spec.cid_offset <= 13 and 29 <= spec.fixed_overhead <= 45
    fields = PacketFields(b"C" * 8, b"H" * 5, b"1" * spec.d1, payload, b"T" * 16, b"2" * spec.d2)
    datagram = WireCodec(spec).encode(fields)
    assert len(datagram) == spec.fixed_overhead + len(payload)
    assert WireCodec(spec).decode(datagram) == fields


@pytest.mark.spec("WF-1")
def test_layouts_spread_over_all_choices() -> None:
    """5,000 sessions: every order about equally often, every dummy size too (6 sigma)."""
    orders: Counter[bytes] = Counter()
    sizes: Counter[int] = Counter()
    for i in range(5_000):
        packed = WireFormatSpec.derive(keyed_hash(bytes(32), i.to_bytes(4, "big"))).pack()
        orders[packed[:3] + packed[4:7]] += 1
        sizes[packed[3]] += 1
        sizes[packed[7]] += 1
    assert len(orders) == 36 and len(sizes) == 9
    assert all(abs(n - 5_000 / 36) < 6 * (5_000 / 36) ** 0.5 for n in orders.values())
    assert all(abs(n - 10_000 / 9) < 6 * (10_000 / 9) ** 0.5 for n in sizes.values())


@pytest.mark.spec("WF-4")
def test_masked_fields_look_random_and_so_does_their_difference() -> None:
    """Consecutive packets of one session: the same CID, numbers that count. On the wire every bit
    is set in half of them, and in half of the XORs of neighbours (5 sigma over 2,000 packets)."""
    from wraith.hotpath import _python

    session = PacketSession(2, b"\x42" * 32)
    sealer = session.sealer(_python)
    n, out, head = 2_000, bytearray(64), []
    for pn in range(n):
        random = keyed_hash(b"\x11" * 32, pn.to_bytes(4, "big"))
        sealer.seal_run(
            epoch=0,
            cid_index=0,
            form=0,
            lead=bytes(4),
            datagram_bytes=64,
            n_max=1,
            random=random,
            out=out,
        )
        head.append(int.from_bytes(out[:13], "big"))
    for values in (head, [a ^ b for a, b in itertools.pairwise(head)]):
        for bit in range(104):
            ones = sum(value >> bit & 1 for value in values)
            assert abs(ones - len(values) / 2) < 5 * (len(values) / 4) ** 0.5
