"""Extension lists of the handshake: ``id u16 · length u16 · parameters``, as many as there are.

Unknown ids are kept, so that an offer can be answered without knowing all of it; one id stands at
most once. Which are offered or accepted is the negotiation's decision.

Spec: frames §7 [HB-8].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from wraith.abc import Rng
from wraith.errors import DecodeError
from wraith.types import Buffer
from wraith.wire.buffer import Reader, Writer

_HEADER: Final = Struct(">HH")


class ExtensionId(IntEnum):
    """Extensions that have a number. POST_QUANTUM is there iff the suite has a KEM."""

    POST_QUANTUM = 1
    REAL_TIME_QOS = 2
    GROUP_V2 = 3
    CONTENT_ADDRESSED = 4
    RESUMPTION = 5
    MULTIPATH = 6
    COMPRESSION = 7
    DATAGRAM = 0x10  # parameter: largest datagram, u16
    FEC = 0x11
    KEY_COMMIT = 0x12
    PQ_AUTH = 0x13
    ROADS = 0x14  # parameter: the highest version spoken, u8


@dataclass(frozen=True, slots=True)
class Extension:
    """One entry of a list."""

    id: int
    params: bytes = b""


def encode_extensions(entries: Iterable[Extension]) -> bytes:
    """The list, in the order given. Raises ``ValueError`` for an id that stands twice."""
    writer = Writer()
    seen: set[int] = set()
    for entry in entries:
        if entry.id in seen:
            raise ValueError(f"extension {entry.id} stands twice")
        seen.add(entry.id)
        writer.record(_HEADER, entry.id, len(entry.params)).raw(entry.params)
    return writer.getvalue()


def decode_extensions(buf: Buffer) -> tuple[Extension, ...]:
    """Inverse of ``encode_extensions``. Raises ``DecodeError``. [HB-8]"""
    reader = Reader(buf)
    entries: list[Extension] = []
    seen: set[int] = set()
    while reader.remaining:
        at = reader.offset
        id_, n = reader.record(_HEADER, "extension header")
        if id_ in seen:
            raise DecodeError("extension id", at)
        seen.add(id_)
        entries.append(Extension(id_, reader.take(n, "extension")))
    return tuple(entries)


def grease(rng: Rng) -> Extension:
    """One of the 16 ids that mean nothing and keep receivers tolerant (RFC 8701)."""
    nibble = rng.public_bytes(1)[0] & 0xF
    return Extension(nibble << 12 | 0x0A00 | nibble << 4 | 0x0A)


def is_grease(id_: int) -> bool:
    """Whether ``id_`` means nothing by design."""
    return id_ & 0x0F0F == 0x0A0A
