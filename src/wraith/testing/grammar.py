"""Packets that an authenticated peer may send and that cost its victim the most it can make them.

One kind per frame type, each packet filled with as many of its frames as the protocol takes, and a
seeded mix of all. Everything here is legal: a breach ends the session, and with it the cost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from wraith.types import StreamId
from wraith.wire.frames import (
    DATAGRAM_FRAMES_MAX,
    OTHER_FRAMES_MAX,
    Ack,
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
    PathRole,
    PathUse,
    Ping,
    Pong,
    Priority,
    QosMode,
    QosUpdate,
    Reset,
    Roads,
    RoadSeen,
    RoadTried,
    Stop,
    StreamClose,
    StreamOpen,
    TicketRequest,
    Timestamp,
    WindowUpdate,
    encode_frame,
    encode_record,
)

Maker = Callable[[int], Frame]
"""The ``n``-th frame of a session."""

IN_ORDER = "in order"
LONE = "lone"
EARLY, PAGES, BESIDE, LEFT, RIGHT, ENDED, GIVEN_UP, FIRST = range(1, 9)
"""A stream for each kind, so that none breaks a rule of another; ``FIRST`` for the rest."""
EARLY_RANGES = 1_000
MIX_SEED = 1


def _sid(number: int) -> StreamId:
    return StreamId(number)


def _early(n: int) -> Frame:
    """Every second byte above a gap, again and again."""
    return Data(_sid(EARLY), 10_000 + 2 * (n * 7919 % EARLY_RANGES), b"x")


def _early_pages(n: int) -> Frame:
    """A page's first byte each, up to a thousand; then single bytes in order below them."""
    if n < EARLY_RANGES:
        return Data(_sid(PAGES), (n + 2) * 16_384, b"x")
    return _turns(n - EARLY_RANGES, PAGES, BESIDE)


def _in_turn(n: int) -> Frame:
    """Single bytes of two streams in turn, so that no two frames are one run."""
    return _turns(n, LEFT, RIGHT)


def _turns(n: int, left: int, right: int) -> Frame:
    return Data(_sid(right if n % 2 else left), n // 2, b"x")


def _acks(n_ranges: int) -> Maker:
    """Every second one of the packets that the victim has sent first."""
    ranges = tuple((2 * at, 2 * at) for at in range(n_ranges - 1, -1, -1))
    return lambda n: Ack(0, 2 * (n_ranges - 1), n % 100, ranges)


def _churn(n: int) -> Frame:
    number = FIRST + 1 + n // 2
    return Reset(_sid(number), 0, 0) if n % 2 == 0 else Stop(_sid(number), 0)


FRAMES: dict[str, Maker] = {
    "DATA, one byte, early": _early,
    "DATA, one byte, a thousand pages": _early_pages,
    "DATA, one byte, two streams in turn": _in_turn,
    "DATA, empty": lambda n: Data(_sid(FIRST), 0, b""),
    "ACK, one range": _acks(1),
    "ACK, 65 ranges": _acks(65),
    "MTU_PROBE": lambda n: MtuProbe(),
    "PING": Ping,
    "PONG": Pong,
    "PAD": lambda n: Pad(b"", True),
    "STREAM_OPEN": lambda n: StreamOpen(_sid(FIRST), n, n % 256),
    "STREAM_CLOSE": lambda n: StreamClose(_sid(ENDED), 1_000),
    "RESET": lambda n: Reset(_sid(GIVEN_UP), 0, 1_000),
    "RESET, STOP of new streams": _churn,
    "STOP": lambda n: Stop(_sid(FIRST), n),
    "WINDOW_UPDATE": lambda n: WindowUpdate(_sid(n % 2 * FIRST), 1 << 20 | n << 4),
    "PATH_CHALLENGE": lambda n: PathChallenge(n.to_bytes(8, "big")),
    "PATH_RESPONSE": lambda n: PathResponse(n.to_bytes(8, "big")),
    "GROUP_JOIN": lambda n: GroupFrame(FrameType.GROUP_JOIN, bytes(16), b""),
    "QOS_UPDATE": lambda n: QosUpdate(_sid(FIRST), QosMode.RELIABLE, 0),
    "FEC_REPAIR": lambda n: FecRepair(b""),
    "PRIORITY": lambda n: Priority(_sid(FIRST), n % 256),
    "DATAGRAM, empty": lambda n: DatagramFrame(0, n, b""),
    "DATAGRAM, 8 bytes": lambda n: DatagramFrame(0, n, bytes(8)),
    "TIMESTAMP": Timestamp,
    "MAX_STREAMS": lambda n: MaxStreams(1, min(n, 16_384)),
    "extension": lambda n: ExtensionFrame(0x24 + n % 28, b""),
    "ROADS": lambda n: Roads(n, ((0x04, bytes((192, 0, 2, n % 256, 0x11, 0x51))),) * 8),
    "ROAD_TRIED": lambda n: RoadTried((n.to_bytes(8, "big"),) * 16),
    "ROAD_SEEN": lambda n: RoadSeen(((n.to_bytes(8, "big"), True),) * 16),
    "PATH_USE": lambda n: PathUse(0, n, PathRole(1 + n % 2)),
}
RECORDS = "stream 0, small records"
MIX = "seeded mix"
KINDS = (*FRAMES, RECORDS, MIX)
LARGE = ("ACK, 65 ranges",)
"""What no packet below 200 bytes has room for."""


def packets(kind: str, room: int) -> Iterator[bytes]:
    """Payloads of ``room`` bytes, one after the other, without end."""
    if kind == IN_ORDER:
        yield from _stream(_sid(FIRST), room, lambda at, n: bytes(n))
    elif kind == LONE:
        while True:
            yield encode_frame(Pad(b"", True)).ljust(room, b"\0")
    elif kind == RECORDS:
        record = encode_record(TicketRequest(1))
        text = record * (room // len(record) + 2)
        yield from _stream(_sid(0), room, lambda at, n: text[at % len(record) :][:n])
    elif kind == MIX:
        rng = random.Random(MIX_SEED)
        names = sorted(FRAMES)
        counts = dict.fromkeys(names, 0)

        def mixed(_: int) -> Frame:
            name = rng.choice(names)
            counts[name] += 1
            return FRAMES[name](counts[name])

        yield from _filled(mixed, room)
    else:
        yield from _filled(FRAMES[kind], room)


def _stream(sid: StreamId, room: int, text: Callable[[int, int], bytes]) -> Iterator[bytes]:
    at, n = 0, room - 16
    while True:
        yield encode_frame(Data(sid, at, text(at, n)))
        at += n


def _filled(make: Maker, room: int) -> Iterator[bytes]:
    n = 0
    waiting: bytes | None = None
    while True:
        payload, n_other, n_datagrams = bytearray(), 0, 0
        while True:
            frame = make(n)
            encoded = encode_frame(frame) if waiting is None else waiting
            if len(encoded) > room:
                n += 1  # only the mix has such beside others
                continue
            if len(payload) + len(encoded) > room:
                waiting = encoded
                break
            waiting = None
            n += 1
            payload += encoded
            n_other += encoded[0] not in (FrameType.DATA, FrameType.DATAGRAM)
            n_datagrams += encoded[0] == FrameType.DATAGRAM
            if n_other == OTHER_FRAMES_MAX or n_datagrams == DATAGRAM_FRAMES_MAX:
                break
        yield bytes(payload).ljust(room, b"\0")
