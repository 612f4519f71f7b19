"""Frames: what the payload of a packet consists of. One frozen value per type, one table to decode.

::

    type u8 · flags u8 · length u16 · body         type 0x00 ends the packet, the rest is fill

What it must not do: check state (is this stream open?), limits of a connection, or meaning beyond
one frame. DATA in bulk never comes here: ``hotpath`` cuts it out.

Spec: frames §1-§3 [FR-1 … FR-10].
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Any, Final

from wraith.errors import DecodeError
from wraith.types import Buffer, StreamId
from wraith.wire.buffer import Reader, Writer
from wraith.wire.control_records import Goaway as Goaway
from wraith.wire.control_records import HandshakeConfirm as HandshakeConfirm
from wraith.wire.control_records import NewTicket as NewTicket
from wraith.wire.control_records import PqAuth as PqAuth
from wraith.wire.control_records import Record as Record
from wraith.wire.control_records import RecordParser as RecordParser
from wraith.wire.control_records import RekeyInit as RekeyInit
from wraith.wire.control_records import RekeyRequest as RekeyRequest
from wraith.wire.control_records import RekeyResp as RekeyResp
from wraith.wire.control_records import TicketRequest as TicketRequest
from wraith.wire.control_records import encode_record as encode_record
from wraith.wire.frame_types import (
    ACK_RANGES_MAX,
    CLOSE_REASON_BYTES_MAX,
    EXTENSION_FIRST,
    EXTENSION_LAST,
    FLAG_ELICIT,
    FLAG_FIN,
    HEADER_BYTES,
    U16_MAX,
    encode_header,
)
from wraith.wire.frame_types import ControlType as ControlType
from wraith.wire.frame_types import FrameType as FrameType
from wraith.wire.frame_types import QosMode as QosMode
from wraith.wire.road_frames import PathRole as PathRole
from wraith.wire.road_frames import PathUse as PathUse
from wraith.wire.road_frames import Roads as Roads
from wraith.wire.road_frames import RoadSeen as RoadSeen
from wraith.wire.road_frames import RoadTried as RoadTried
from wraith.wire.road_frames import (
    decode_path_use,
    decode_road_seen,
    decode_road_tried,
    decode_roads,
    encode_body,
)

#: Frames that a packet may hold: twice as many as a sender puts into one.
OTHER_FRAMES_MAX: Final = 128
DATAGRAM_FRAMES_MAX: Final = 256

_HEADER: Final = Struct(">BBH")
_ACK: Final = Struct(">BIHBH")
_QOS: Final = Struct(">BI")
_QOS_MODES: Final = tuple(QosMode)
_U64: Final = Struct(">Q")
_TOKEN: Final = Struct(">8s")
_SID_U8: Final = Struct(">IB")
_SID_U32: Final = Struct(">II")
_SID_U64: Final = Struct(">IQ")
_RESET: Final = Struct(">IIQ")
_DATAGRAM_HEAD: Final = Struct(">HI")


@dataclass(frozen=True, slots=True)
class Data:
    """Stream bytes from ``offset``; ``fin``: the stream ends behind them."""

    sid: StreamId
    offset: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """Packets received in one epoch. ``ranges`` are ``(first, last)``, both included, descending,
    with a gap between any two; the first one ends at ``largest``. ``delay_us8`` counts units of 8
    µs."""

    epoch: int
    largest: int
    delay_us8: int
    ranges: tuple[tuple[int, int], ...]

    def truncated(self) -> Ack:
        """Returns the part that an ACK frame can say, which ``encode_frame`` writes. [FR-5]

        The list ends after 64 further ranges, before a gap above 65,535, and in a run that is
        longer than its field: the highest part of that run is kept. The delay saturates.
        """
        kept: list[tuple[int, int]] = []
        longest = U16_MAX + 1
        for first, last in self.ranges[: ACK_RANGES_MAX + 1]:
            if kept and kept[-1][0] - last - 1 > U16_MAX:
                break
            cut = max(first, last - longest + 1)
            kept.append((cut, last))
            if cut != first:
                break
            # The first run does not count `largest` itself, so it may be one longer than the
            # others.
            longest = U16_MAX
        return Ack(self.epoch & 0xFF, self.largest, min(self.delay_us8, U16_MAX), tuple(kept))


@dataclass(frozen=True, slots=True)
class Ping:
    token: int


@dataclass(frozen=True, slots=True)
class Pong:
    token: int


@dataclass(frozen=True, slots=True)
class Close:
    """Ends the connection. A reason beyond 64 bytes of UTF-8 is cut at a character when encoded."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pad:
    """Bytes without meaning."""

    body: bytes
    eliciting: bool = False


@dataclass(frozen=True, slots=True)
class StreamOpen:
    """``window`` is the opener's absolute receive limit on this stream."""

    sid: StreamId
    window: int
    priority: int = 128
    qos: QosMode = QosMode.RELIABLE
    parameter: int = 0


@dataclass(frozen=True, slots=True)
class StreamClose:
    """As an empty DATA with FIN at ``final``."""

    sid: StreamId
    final: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The sender gives the stream up; ``final`` is its final size."""

    sid: StreamId
    code: int
    final: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The receiver wants no more of the stream; its sender answers RESET."""

    sid: StreamId
    code: int


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """Absolute limit, not an increment; ``sid`` 0 is the connection."""

    sid: StreamId
    limit: int


@dataclass(frozen=True, slots=True)
class PathChallenge:
    """``token``: 8 random bytes."""

    token: bytes


@dataclass(frozen=True, slots=True)
class PathResponse:
    """``token``: the 8 bytes of the challenge."""

    token: bytes


@dataclass(frozen=True, slots=True)
class MtuProbe:
    """Says that the packet is filled to the size that is being tried."""


@dataclass(frozen=True, slots=True)
class QosUpdate:
    sid: StreamId
    qos: QosMode
    parameter: int


@dataclass(frozen=True, slots=True)
class Priority:
    """0 is the most urgent."""

    sid: StreamId
    priority: int


@dataclass(frozen=True, slots=True)
class DatagramFrame:
    """An application datagram: congestion-controlled, not flow-controlled, never repaired."""

    flow: int
    id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Timestamp:
    monotonic_us: int


@dataclass(frozen=True, slots=True)
class MaxStreams:
    """Absolute count of streams that may ever be opened in ``stream_class`` (0 to 3)."""

    stream_class: int
    limit: int


@dataclass(frozen=True, slots=True)
class GroupFrame:
    """GROUP_JOIN, GROUP_LEAVE or GROUP_REKEY; ``message`` is decoded elsewhere."""

    type: FrameType
    group_id: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class FecRepair:
    raw: bytes


@dataclass(frozen=True, slots=True)
class ExtensionFrame:
    """A frame of type 0x20 to 0x3F of an extension that was not agreed: ignorable,
    ack-eliciting."""

    type: int
    raw: bytes


Frame = (
    Data
    | Ack
    | Ping
    | Pong
    | Close
    | Pad
    | StreamOpen
    | StreamClose
    | Reset
    | Stop
    | WindowUpdate
    | PathChallenge
    | PathResponse
    | MtuProbe
    | QosUpdate
    | Priority
    | DatagramFrame
    | Timestamp
    | MaxStreams
    | GroupFrame
    | FecRepair
    | ExtensionFrame
    | Roads
    | RoadTried
    | RoadSeen
    | PathUse
)


def is_ack_eliciting(type_: int, flags: int = 0) -> bool:
    """All but ACK, CLOSE, PAD without ELICIT, and fill. [FR-7]"""
    if type_ == FrameType.PAD:
        return bool(flags & FLAG_ELICIT)
    return type_ not in (FrameType.ACK, FrameType.CLOSE, FrameType.FILL)


_NONE: Final[frozenset[int]] = frozenset()


def decode_frames(buf: Buffer, *, skips: bool = False, agreed: Set[int] = _NONE) -> list[Frame]:
    """All frames of a payload, in order. Takes and raises what ``split_frames`` does."""
    return [
        _SPLIT_INTO[type_](*fields) if type_ in _SPLIT_INTO else fields[0]
        for type_, fields in split_frames(buf, skips=skips, agreed=agreed)
    ]


def split_frames(
    buf: Buffer, *, skips: bool = False, agreed: Set[int] = _NONE
) -> list[tuple[int, tuple[Any, ...]]]:
    """The frames of a payload, in order: type and fields. Linear time; every other outcome is
    ``DecodeError``, more frames than 128 beside DATA and 256 DATAGRAMs among them. [CN-63]

    The fields are those of the frame's class, in their order; for ACK, CLOSE, CONTROL, DATA,
    GROUP, MAX_STREAMS, PAD, QOS_UPDATE, STREAM_OPEN, FEC_REPAIR and extensions, agreed ones too,
    they are one: the frame itself. A peer may fill packets with frames, and an object for each
    would cost as much as what it does. Flags that a type does not know are ignored. [FR-1, FR-2,
    FR-3, FR-4]

    Args:
        skips: leave out PAD, FEC_REPAIR, MTU_PROBE and extensions, which say nothing to a session
            but that they are to be acknowledged.
        agreed: the types of extensions that this session has agreed on and that are known here,
            such as ``ROAD_FRAMES``: they are read and checked. [FR-11]
    """
    frames: list[tuple[int, tuple[Any, ...]]] = []
    unpack_header, layout_of, keep = _HEADER.unpack_from, _FIXED.get, frames.append
    at, end = 0, len(buf)
    n_other = n_datagrams = 0
    while end - at >= HEADER_BYTES:
        type_, flags, n = unpack_header(buf, at)
        layout = layout_of(type_)
        if layout is None:
            if type_ == _FILL:
                return frames
            if type_ == _DATAGRAM:
                n_datagrams += 1
            elif type_ != _DATA:
                n_other += 1
        else:
            n_other += 1
        if n_other > OTHER_FRAMES_MAX or n_datagrams > DATAGRAM_FRAMES_MAX:
            raise DecodeError("too many frames", at)
        start = at + HEADER_BYTES
        stop = start + n
        if stop > end:
            raise DecodeError("frame length", start)
        if layout is not None and n == layout.size:
            keep((type_, layout.unpack_from(buf, start)))
        elif type_ == _DATAGRAM and n >= _DATAGRAM_HEAD.size:
            head = _DATAGRAM_HEAD.unpack_from(buf, start)
            keep((type_, (*head, bytes(buf[start + _DATAGRAM_HEAD.size : stop]))))
        elif type_ in agreed:
            keep((type_, (_decode_agreed(type_, Reader(buf, start, stop)),)))
        elif skips and (type_ in _SKIPPED or (type_ == _CONTROL and n == 1)):
            if type_ == _CONTROL and buf[start] != ControlType.MTU_PROBE:
                raise DecodeError("CONTROL type", start)
        elif EXTENSION_FIRST <= type_ <= EXTENSION_LAST:
            keep((type_, (ExtensionFrame(type_, bytes(buf[start:stop])),)))
        elif (decode := _DECODERS.get(type_)) is None:
            raise DecodeError(f"frame type 0x{type_:02x}", at)
        else:
            body = Reader(buf, start, stop)
            keep((type_, (decode(body, flags),)))
            body.expect_end("frame length")
        at = stop
    if at < end and buf[at] != _FILL:
        raise DecodeError("frame header", at + 1)
    return frames


def encode_fixed(type_: int, *fields: int | bytes) -> bytes:
    """The one encoding of a frame of fixed size from the fields of its class. Raises ``ValueError``
    if a value does not fit its field."""
    whole, n_body = _WHOLE[type_]
    try:
        return whole.pack(type_, 0, n_body, *fields)
    except StructError:
        raise ValueError(f"{fields} do not fit into frame 0x{type_:02x}") from None


def encode_frame(frame: Frame) -> bytes:
    """The one encoding of ``frame``. Raises ``ValueError`` if a value does not fit its field."""
    flags = 0
    body = Writer()
    match frame:
        case Data(sid, offset, data, fin):
            type_, flags = FrameType.DATA, FLAG_FIN if fin else 0
            body.u32(sid).u64(offset).raw(data)
        case Ack():
            type_ = FrameType.ACK
            _encode_ack(frame.truncated(), body)
        case Ping(token):
            return encode_fixed(FrameType.PING, token)
        case Pong(token):
            return encode_fixed(FrameType.PONG, token)
        case Close(code, reason):
            type_ = FrameType.CLOSE
            body.u32(code).raw(_cut_utf8(reason, CLOSE_REASON_BYTES_MAX))
        case Pad(raw, eliciting):
            type_, flags = FrameType.PAD, FLAG_ELICIT if eliciting else 0
            body.raw(raw)
        case StreamOpen(sid, window, priority, qos, parameter):
            type_ = FrameType.STREAM_OPEN
            body.u32(sid).u64(window).u8(priority)
            _encode_qos(qos, parameter, body)
        case StreamClose(sid, final):
            return encode_fixed(FrameType.STREAM_CLOSE, sid, final)
        case Reset(sid, code, final):
            return encode_fixed(FrameType.RESET, sid, code, final)
        case Stop(sid, code):
            return encode_fixed(FrameType.STOP, sid, code)
        case WindowUpdate(sid, limit):
            return encode_fixed(FrameType.WINDOW_UPDATE, sid, limit)
        case PathChallenge(nonce) | PathResponse(nonce):
            if len(nonce) != _TOKEN.size:
                raise ValueError(f"{len(nonce)} bytes where {_TOKEN.size} belong")
            challenge = isinstance(frame, PathChallenge)
            type_ = FrameType.PATH_CHALLENGE if challenge else FrameType.PATH_RESPONSE
            return encode_fixed(type_, nonce)
        case MtuProbe():
            type_ = FrameType.CONTROL
            body.u8(ControlType.MTU_PROBE)
        case QosUpdate(sid, qos, parameter):
            type_ = FrameType.QOS_UPDATE
            body.u32(sid)
            _encode_qos(qos, parameter, body)
        case Priority(sid, priority):
            return encode_fixed(FrameType.PRIORITY, sid, priority)
        case DatagramFrame(flow, id_, data):
            type_ = FrameType.DATAGRAM
            body.u16(flow).u32(id_).raw(data)
        case Timestamp(monotonic_us):
            return encode_fixed(FrameType.TIMESTAMP, monotonic_us)
        case MaxStreams(stream_class, limit):
            if not 0 <= stream_class <= 3:
                raise ValueError("a stream class is 0 to 3")
            type_ = FrameType.MAX_STREAMS
            body.u8(stream_class).u32(limit)
        case _:
            return _encode_opaque(frame)
    raw = body.getvalue()
    return encode_header(type_, flags, len(raw)) + raw


def _encode_opaque(
    frame: GroupFrame | FecRepair | ExtensionFrame | Roads | RoadTried | RoadSeen | PathUse,
) -> bytes:
    """Frames whose body is made elsewhere."""
    match frame:
        case Roads() | RoadTried() | RoadSeen() | PathUse():
            type_, raw = encode_body(frame)
            return encode_header(type_, 0, len(raw)) + raw
        case GroupFrame(type_, group_id, message):
            if type_ not in _GROUP_TYPES:
                raise ValueError("a group frame is GROUP_JOIN, GROUP_LEAVE or GROUP_REKEY")
            raw = Writer().raw(group_id, 16).raw(message).getvalue()
            return encode_header(type_, 0, len(raw)) + raw
        case FecRepair(raw):
            return encode_header(FrameType.FEC_REPAIR, 0, len(raw)) + raw
        case ExtensionFrame(code, raw):
            if not EXTENSION_FIRST <= code <= EXTENSION_LAST:
                raise ValueError("an extension's type is 0x20 to 0x3f")
            return encode_header(code, 0, len(raw)) + raw


_FILL: Final = int(FrameType.FILL)
_DATA: Final = int(FrameType.DATA)
_CONTROL: Final = int(FrameType.CONTROL)
_DATAGRAM: Final = int(FrameType.DATAGRAM)

#: Frames of any body that mean nothing to a session.
_SKIPPED: Final = frozenset(
    (FrameType.PAD, FrameType.FEC_REPAIR, *range(EXTENSION_FIRST, EXTENSION_LAST + 1))
)
_GROUP_TYPES = (FrameType.GROUP_JOIN, FrameType.GROUP_LEAVE, FrameType.GROUP_REKEY)


def _encode_ack(ack: Ack, body: Writer) -> None:
    (lowest, last), *further = ack.ranges
    if last != ack.largest:
        raise ValueError("the first range of an ACK ends at its largest packet number")
    body.record(_ACK, ack.epoch, ack.largest, ack.delay_us8, len(further), last - lowest)
    for first, last in further:
        gap, length = lowest - last - 1, last - first + 1
        if gap < 1 or length < 1:
            raise ValueError("ranges of an ACK descend with a gap between any two")
        body.u16(gap).u16(length)
        lowest = first


def _decode_ack(body: Reader, flags: int) -> Ack:
    """Counts downwards from ``largest``. Anything that would reach below 0, an empty gap or an
    empty range is refused: it would be a second way to say the same. [FR-5, FR-6]"""
    epoch, largest, delay_us8, n, first = body.record(_ACK, "ACK")
    if n > ACK_RANGES_MAX:
        raise DecodeError("ACK range count", body.offset - 3)
    lowest = largest - first
    if lowest < 0:
        raise DecodeError("ACK first range", body.offset - 2)
    ranges = [(lowest, largest)]
    for _ in range(n):
        gap, length = body.u16("ACK gap"), body.u16("ACK range")
        last = lowest - gap - 1
        lowest = last - length + 1
        if gap == 0 or length == 0 or lowest < 0:
            raise DecodeError("ACK range", body.offset - 4)
        ranges.append((lowest, last))
    return Ack(epoch, largest, delay_us8, tuple(ranges))


def _encode_qos(qos: QosMode, parameter: int, body: Writer) -> None:
    if not _qos_fits(qos, parameter):
        raise ValueError(f"{qos.name} does not take the parameter {parameter}")
    body.u8(qos).u32(parameter)


def _decode_qos(body: Reader) -> tuple[QosMode, int]:
    at = body.offset
    code, parameter = body.record(_QOS, "QoS")
    if code >= len(_QOS_MODES) or not _qos_fits(_QOS_MODES[code], parameter):
        raise DecodeError("QoS", at)
    return _QOS_MODES[code], parameter


def _qos_fits(qos: QosMode, parameter: int) -> bool:
    if qos in (QosMode.RELIABLE, QosMode.UNRELIABLE_UNORDERED):
        return parameter == 0
    return qos is QosMode.UNRELIABLE_ORDERED or parameter <= 0xFF


def _cut_utf8(text: str, limit: int) -> bytes:
    return text.encode()[:limit].decode(errors="ignore").encode()


def _sid(body: Reader) -> StreamId:
    return StreamId(body.u32("stream id"))


def _decode_data(body: Reader, flags: int) -> Data:
    sid, offset = _sid(body), body.u64("DATA offset")
    data = body.rest()
    if offset + len(data) >= 1 << 64:
        raise DecodeError("DATA offset", body.offset)
    return Data(sid, offset, data, bool(flags & FLAG_FIN))


def _decode_close(body: Reader, flags: int) -> Close:
    code = body.u32("CLOSE code")
    at = body.offset
    if body.remaining > CLOSE_REASON_BYTES_MAX:
        raise DecodeError("CLOSE reason", at)
    try:
        return Close(code, body.rest().decode())
    except UnicodeDecodeError:
        raise DecodeError("CLOSE reason", at) from None


def _decode_control(body: Reader, flags: int) -> MtuProbe:
    # The other CONTROL types are records of stream 0 and may not stand in a packet. [FR-8]
    if body.u8("CONTROL type") != ControlType.MTU_PROBE:
        raise DecodeError("CONTROL type", body.offset - 1)
    return MtuProbe()


def _decode_stream_open(body: Reader, flags: int) -> StreamOpen:
    sid, window, priority = _sid(body), body.u64("window"), body.u8("priority")
    return StreamOpen(sid, window, priority, *_decode_qos(body))


def _decode_max_streams(body: Reader, flags: int) -> MaxStreams:
    stream_class = body.u8("stream class")
    if stream_class > 3:
        raise DecodeError("stream class", body.offset - 1)
    return MaxStreams(stream_class, body.u32("stream limit"))


def _decode_group(type_: FrameType) -> Callable[[Reader, int], Frame]:
    return lambda body, flags: GroupFrame(type_, body.take(16, "group id"), body.rest())


#: Frames whose fields have one layout, each value of which is valid.
_FIXED: Final[dict[int, Struct]] = {
    FrameType.PING: _U64,
    FrameType.PONG: _U64,
    FrameType.STREAM_CLOSE: _SID_U64,
    FrameType.RESET: _RESET,
    FrameType.STOP: _SID_U32,
    FrameType.WINDOW_UPDATE: _SID_U64,
    FrameType.PATH_CHALLENGE: _TOKEN,
    FrameType.PATH_RESPONSE: _TOKEN,
    FrameType.PRIORITY: _SID_U8,
    FrameType.TIMESTAMP: _U64,
}

#: The same with the header, and the size of the body.
_WHOLE: Final[dict[int, tuple[Struct, int]]] = {
    type_: (Struct(_HEADER.format + layout.format.removeprefix(">")), layout.size)
    for type_, layout in _FIXED.items()
}

#: Frames that ``split_frames`` gives as their fields.
_SPLIT_INTO: Final[dict[int, Callable[..., Frame]]] = {
    FrameType.PING: Ping,
    FrameType.PONG: Pong,
    FrameType.STREAM_CLOSE: StreamClose,
    FrameType.RESET: Reset,
    FrameType.STOP: Stop,
    FrameType.WINDOW_UPDATE: WindowUpdate,
    FrameType.PATH_CHALLENGE: PathChallenge,
    FrameType.PATH_RESPONSE: PathResponse,
    FrameType.PRIORITY: Priority,
    FrameType.TIMESTAMP: Timestamp,
    FrameType.DATAGRAM: DatagramFrame,
}


def _of_another_size(layout: Struct, name: str) -> Callable[[Reader, int], Frame]:
    """Of a fixed frame whose body is too short or too long: says which."""

    def refuse(body: Reader, flags: int) -> Frame:
        body.record(layout, name)
        body.expect_end("frame length")
        raise AssertionError("a body of the right size comes here")

    return refuse


_DECODERS: Final[dict[int, Callable[[Reader, int], Frame]]] = {
    **{type_: _of_another_size(size, FrameType(type_).name) for type_, size in _FIXED.items()},
    FrameType.DATAGRAM: _of_another_size(_DATAGRAM_HEAD, "datagram id"),
    FrameType.DATA: _decode_data,
    FrameType.ACK: _decode_ack,
    FrameType.CONTROL: _decode_control,
    FrameType.CLOSE: _decode_close,
    FrameType.PAD: lambda body, flags: Pad(body.rest(), bool(flags & FLAG_ELICIT)),
    FrameType.STREAM_OPEN: _decode_stream_open,
    FrameType.GROUP_JOIN: _decode_group(FrameType.GROUP_JOIN),
    FrameType.GROUP_LEAVE: _decode_group(FrameType.GROUP_LEAVE),
    FrameType.GROUP_REKEY: _decode_group(FrameType.GROUP_REKEY),
    FrameType.QOS_UPDATE: lambda body, flags: QosUpdate(_sid(body), *_decode_qos(body)),
    FrameType.FEC_REPAIR: lambda body, flags: FecRepair(body.rest()),
    FrameType.MAX_STREAMS: _decode_max_streams,
}

#: Frames of extensions that this version knows.
_AGREED: Final[dict[int, Callable[[Reader], Frame]]] = {
    FrameType.ROADS: decode_roads,
    FrameType.ROAD_TRIED: decode_road_tried,
    FrameType.ROAD_SEEN: decode_road_seen,
    FrameType.PATH_USE: decode_path_use,
}


def _decode_agreed(type_: int, body: Reader) -> Frame:
    frame = _AGREED[type_](body)
    body.expect_end("frame length")
    return frame
