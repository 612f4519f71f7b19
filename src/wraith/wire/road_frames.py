"""Frames about roads: where the responder listens, which first flights arrived, what a path is for.

==========  ==========  ==========================================================
type        name        body
==========  ==========  ==========================================================
0x20        ROADS       seq u32 ‖ n u8 ≤ 8 ‖ n × (type u8 ‖ length u8 ‖ value)
0x21        ROAD_TRIED  n u8 ≤ 16 ‖ n × id 8
0x22        ROAD_SEEN   n u8 ≤ 16 ‖ n × (id 8 ‖ seen u8: 0 no, 1 proven)
0x23        PATH_USE    index u32 ‖ seq u32 ‖ use u8: 0 closing, 1 standby, 2 active
==========  ==========  ==========================================================

They mean something where the extension ROADS was agreed, and are skipped elsewhere.

Spec: frames §1.1 [FR-11 … FR-14].
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from wraith.errors import DecodeError
from wraith.types import Road
from wraith.wire.buffer import Reader, Writer
from wraith.wire.frame_types import FrameType
from wraith.wire.places import URL_TYPE, decode_place, encode_place

PLACES_MAX: Final = 8
TRIED_MAX: Final = 16
ROAD_ID_BYTES: Final = 8

#: What a session that has agreed on ROADS tells ``split_frames``.
ROAD_FRAMES: Final = frozenset(
    (FrameType.ROADS, FrameType.ROAD_TRIED, FrameType.ROAD_SEEN, FrameType.PATH_USE)
)


class PathRole(IntEnum):
    """What the sender uses a path for."""

    CLOSING = 0
    STANDBY = 1
    ACTIVE = 2


@dataclass(frozen=True, slots=True)
class Roads:
    """Where the responder listens now; the newest ``seq`` counts. ``places`` are types and values
    of ``wire.places``, those of unknown types too."""

    seq: int
    places: tuple[tuple[int, bytes], ...]

    @classmethod
    def of(cls, seq: int, roads: tuple[Road, ...]) -> Roads:
        """The frame that names ``roads``. Raises ``ValueError`` for one that has no form here."""
        return cls(seq, tuple(encode_place(road) for road in roads))

    def roads(self) -> tuple[Road, ...]:
        """Those that are understood. May be anything that a peer likes: see ``allowed.py``."""
        found = [decode_place(type_, value) for type_, value in self.places]
        return tuple(road for road in found if road is not None)


@dataclass(frozen=True, slots=True)
class RoadTried:
    """First flights that the initiator has sent, by the 8-byte ids that only it can make."""

    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RoadSeen:
    """Of first flights: the id, and whether it arrived and proved itself."""

    seen: tuple[tuple[bytes, bool], ...]


@dataclass(frozen=True, slots=True)
class PathUse:
    """``index`` names the path by the newest of its connection-id indices. The newest ``seq``
    counts."""

    index: int
    seq: int
    role: PathRole


RoadFrame = Roads | RoadTried | RoadSeen | PathUse


def encode_body(frame: RoadFrame) -> tuple[FrameType, bytes]:
    """Type and body. Raises ``ValueError`` if a value does not fit its field."""
    body = Writer()
    match frame:
        case Roads(seq, places):
            type_ = FrameType.ROADS
            if len(places) > PLACES_MAX:
                raise ValueError(f"ROADS names at most {PLACES_MAX} places")
            body.u32(seq).u8(len(places))
            for place, value in places:
                _check_place(place, value)
                body.u8(place).u8(len(value)).raw(value)
        case RoadTried(ids):
            type_ = FrameType.ROAD_TRIED
            _check_count(len(ids))
            body.u8(len(ids))
            for id_ in ids:
                body.raw(id_, ROAD_ID_BYTES)
        case RoadSeen(seen):
            type_ = FrameType.ROAD_SEEN
            _check_count(len(seen))
            body.u8(len(seen))
            for id_, is_seen in seen:
                body.raw(id_, ROAD_ID_BYTES).u8(is_seen)
        case PathUse(index, seq, role):
            type_ = FrameType.PATH_USE
            body.u32(index).u32(seq).u8(PathRole(role))
    return type_, body.getvalue()


def decode_roads(body: Reader) -> Roads:
    seq, n = body.u32("ROADS seq"), body.u8("ROADS count")
    if n > PLACES_MAX:
        raise DecodeError("ROADS count", body.offset - 1)
    places: list[tuple[int, bytes]] = []
    for _ in range(n):
        at = body.offset
        place = body.u8("road type")
        value = body.take(body.u8("road length"), "road")
        try:
            _check_place(place, value)
        except ValueError:
            raise DecodeError("road", at) from None
        places.append((place, value))
    return Roads(seq, tuple(places))


def decode_road_tried(body: Reader) -> RoadTried:
    n = _count(body, "ROAD_TRIED count")
    return RoadTried(tuple(body.take(ROAD_ID_BYTES, "road id") for _ in range(n)))


def decode_road_seen(body: Reader) -> RoadSeen:
    n = _count(body, "ROAD_SEEN count")
    return RoadSeen(tuple((body.take(ROAD_ID_BYTES, "road id"), _seen(body)) for _ in range(n)))


def decode_path_use(body: Reader) -> PathUse:
    index, seq, role = body.u32("path index"), body.u32("PATH_USE seq"), body.u8("path use")
    if role > PathRole.ACTIVE:
        raise DecodeError("path use", body.offset - 1)
    return PathUse(index, seq, PathRole(role))


def _check_place(place: int, value: bytes) -> None:
    """A URL would let a peer choose what is asked of any web server. [FR-12]"""
    if place == URL_TYPE:
        raise ValueError("ROADS names no URL")
    try:
        decode_place(place, value)
    except DecodeError as broken:
        raise ValueError(str(broken)) from None


def _check_count(n: int) -> None:
    if n > TRIED_MAX:
        raise ValueError(f"at most {TRIED_MAX} first flights in a frame")


def _count(body: Reader, what: str) -> int:
    n = body.u8(what)
    if n > TRIED_MAX:
        raise DecodeError(what, body.offset - 1)
    return n


def _seen(body: Reader) -> bool:
    seen = body.u8("road seen")
    if seen > 1:
        raise DecodeError("road seen", body.offset - 1)
    return bool(seen)
