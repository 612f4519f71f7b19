"""Types, flags and the 4-byte header that frames (``frames``) share with ``control_records``.

Spec: frames §1 [FR-1, FR-7, FR-10].
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from wraith.wire.buffer import Writer

HEADER_BYTES: Final = 4
ACK_RANGES_MAX: Final = 64
CLOSE_REASON_BYTES_MAX: Final = 64
FLAG_FIN: Final = 0x01
FLAG_ELICIT: Final = 0x01
U16_MAX: Final = 0xFFFF
_HEADER: Final = Struct(">BBH")


class FrameType(IntEnum):
    """Types by their code. 0x20 to 0x3F belong to extensions; those that have one are named."""

    FILL = 0x00
    DATA = 0x01
    ACK = 0x02
    CONTROL = 0x03
    REKEY = 0x04
    PING = 0x05
    PONG = 0x06
    CLOSE = 0x07
    PAD = 0x08
    STREAM_OPEN = 0x09
    STREAM_CLOSE = 0x0A
    RESET = 0x0B
    WINDOW_UPDATE = 0x0C
    GOAWAY = 0x0D
    PATH_CHALLENGE = 0x0E
    PATH_RESPONSE = 0x0F
    GROUP_JOIN = 0x10
    GROUP_LEAVE = 0x11
    GROUP_REKEY = 0x12
    QOS_UPDATE = 0x13
    FEC_REPAIR = 0x14
    PRIORITY = 0x15
    DATAGRAM = 0x16
    TIMESTAMP = 0x17
    MAX_STREAMS = 0x18
    STOP = 0x19
    ROADS = 0x20
    ROAD_TRIED = 0x21
    ROAD_SEEN = 0x22
    PATH_USE = 0x23


EXTENSION_FIRST: Final = 0x20
EXTENSION_LAST: Final = 0x3F


class ControlType(IntEnum):
    """First byte of a CONTROL body. Only MTU_PROBE is a frame, the others are stream-0 records."""

    HANDSHAKE_CONFIRM = 1
    NEW_TICKET = 2
    TICKET_REQUEST = 3
    MTU_PROBE = 4
    PQ_AUTH = 5


class QosMode(IntEnum):
    """The degree to which a stream is repaired; the parameter in brackets. [FR-10]"""

    RELIABLE = 0  # (0)
    UNRELIABLE_ORDERED = 1  # (max_age in ms)
    UNRELIABLE_UNORDERED = 2  # (0)
    PARTIALLY_RELIABLE = 3  # (max_retransmits, at most 255)


def encode_header(type_: int, flags: int, n_body: int) -> bytes:
    """The 4 bytes before a body of ``n_body`` bytes."""
    return Writer().record(_HEADER, type_, flags, n_body).getvalue()
