"""Bodies of the handshake's datagrams: parts, hello prefix, payload TLVs, transport parameters.

Everything here is plaintext of the veil (parts, prefix) or of Noise (payloads); who seals it and what
it means is decided in ``connection``.

::

    HELLO/0      part header 8 · hello prefix 12 · aux · fragment · padding
    all others   part header 8 · fragment · padding

    part header  kind u8 · index<<4|total u8 · body_len u16 · frag_off u16 · frag_len u16

Spec: frames §5-§7 [HB-1 … HB-7].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from wraith.errors import DecodeError
from wraith.types import Buffer
from wraith.wire.buffer import Reader, Writer
from wraith.wire.extensions import ExtensionEntry, decode_extensions, encode_extensions

VERSION: Final = 0x02
DATAGRAM_BYTES_MIN: Final = 600
DATAGRAM_BYTES_MAX: Final = 1200
PART_HEADER_BYTES: Final = 8
PREFIX_BYTES_MIN: Final = 12
PARTS_MAX: Final = 15
IDENT_BYTES: Final = 104
UNSUPPORTED_BYTES_MAX: Final = 16
COOKIE_BYTES: Final = 32
RETRY_OF_BYTES: Final = 32
TICKET_ID_BYTES: Final = 16


class PartKind(IntEnum):
    """What a handshake datagram is part of."""

    HELLO = 1
    RESPONSE = 2
    FINISH = 3
    COOKIE = 4
    RETRY_FULL = 5
    UNSUPPORTED = 6


@dataclass(frozen=True, slots=True)
class HelloPrefix:
    """Stands in HELLO/0 before its fragment. ``suite`` may be one that this side does not know.

    ``ticket`` is the ticket's 16-byte id and its encrypted parameters. Unknown aux TLVs are dropped.
    """

    timestamp: int
    version: int
    suite: int
    cookie: bytes | None = None
    ticket: tuple[bytes, bytes] | None = None
    retry_of: bytes | None = None

    def encode(self) -> bytes:
        """12 bytes and the aux TLVs, ascending by type."""
        aux = Writer()
        if self.cookie is not None:
            aux.u8(_AUX_COOKIE).u16(COOKIE_BYTES).raw(self.cookie, COOKIE_BYTES)
        if self.ticket is not None:
            id_, encrypted_params = self.ticket
            aux.u8(_AUX_TICKET).u16(TICKET_ID_BYTES + len(encrypted_params))
            aux.raw(id_, TICKET_ID_BYTES).raw(encrypted_params)
        if self.retry_of is not None:
            aux.u8(_AUX_RETRY_OF).u16(RETRY_OF_BYTES).raw(self.retry_of, RETRY_OF_BYTES)
        raw = aux.getvalue()
        prefix = Writer().u64(self.timestamp).u8(self.version).u8(self.suite)
        return prefix.u16(len(raw)).raw(raw).getvalue()


_AUX_COOKIE, _AUX_TICKET, _AUX_RETRY_OF = 0x01, 0x02, 0x03


@dataclass(frozen=True, slots=True)
class Part:
    """One datagram's share of a body. ``prefix`` is the encoded hello prefix in HELLO/0, else empty."""

    kind: PartKind
    index: int
    total: int
    body_len: int
    frag_off: int
    fragment: bytes
    prefix: bytes = b""

    @property
    def need(self) -> int:
        """Bytes of plaintext without padding."""
        return PART_HEADER_BYTES + len(self.prefix) + len(self.fragment)

    def encode(self, plaintext_bytes: int | None = None) -> bytes:
        """Plaintext of ``plaintext_bytes`` (default: no padding). To send a part again, encode the same
        part with another size: the cut must stay, or parts of two sendings would not fit together."""
        n = self.need if plaintext_bytes is None else plaintext_bytes
        if n < self.need:
            raise ValueError(f"{n} bytes do not hold a part of {self.need}")
        writer = Writer().u8(self.kind).u8(self.index << 4 | self.total).u16(self.body_len)
        writer.u16(self.frag_off).u16(len(self.fragment)).raw(self.prefix).raw(self.fragment)
        return writer.raw(bytes(n - self.need)).getvalue()


def split_body(
    kind: PartKind, body: bytes, plaintext_sizes: Sequence[int], prefix: HelloPrefix | None = None
) -> tuple[Part, ...]:
    """Cut ``body`` over plaintexts of these sizes, filled in order. [HB-2]

    Raises ``ValueError`` if it does not fit, or if a part would stay empty.
    """
    total = len(plaintext_sizes)
    if not 1 <= total <= PARTS_MAX:
        raise ValueError("a body has 1 to 15 parts")
    parts: list[Part] = []
    at = 0
    for index, size in enumerate(plaintext_sizes):
        head = prefix.encode() if prefix is not None and index == 0 else b""
        room = size - PART_HEADER_BYTES - len(head)
        fragment = body[at : at + max(room, 0)]
        if room < 0 or (total > 1 and not fragment):
            raise ValueError("a part has no room for a byte of the body, or nothing is left for it")
        parts.append(Part(kind, index, total, len(body), at, fragment, head))
        at += len(fragment)
    if at < len(body):
        raise ValueError(f"a body of {len(body)} bytes does not fit into {plaintext_sizes}")
    return tuple(parts)


def decode_part(plaintext: Buffer) -> tuple[Part, HelloPrefix | None]:
    """A part, and the hello prefix if it is HELLO/0. Padding is skipped, whatever it holds.

    Raises ``DecodeError``. [HB-1, HB-2, HB-3]
    """
    reader = Reader(plaintext)
    code, index_total = reader.u8("part kind"), reader.u8("part index")
    body_len, frag_off = reader.u16("body length"), reader.u16("fragment offset")
    frag_len = reader.u16("fragment length")
    index, total = index_total >> 4, index_total & 0xF
    if not PartKind.HELLO <= code <= PartKind.UNSUPPORTED:
        raise DecodeError("part kind", 0)
    if index >= total:
        raise DecodeError("part index", 1)
    # Ascending, disjoint and covering: the first starts at 0, the last ends at the end, none is empty
    # beside others. That neighbours meet is checked by the reassembly.
    beyond = frag_off + frag_len
    if beyond > body_len or (frag_off == 0) != (index == 0) or (frag_len == 0 and total > 1):
        raise DecodeError("fragment", 4)
    if (beyond == body_len) != (index == total - 1):
        raise DecodeError("fragment", 4)
    kind = PartKind(code)
    prefix, raw = None, b""
    if kind is PartKind.HELLO and index == 0:
        prefix = _decode_prefix(reader)
        raw = prefix.encode()
    fragment = reader.take(frag_len, "fragment")
    return Part(kind, index, total, body_len, frag_off, fragment, raw), prefix


def _decode_prefix(reader: Reader) -> HelloPrefix:
    timestamp, version = reader.u64("timestamp"), reader.u8("version")
    suite = reader.u8("suite")
    aux = reader.sub(reader.u16("aux length"), "aux length")
    cookie = ticket = retry_of = None
    before = 0
    while aux.remaining:
        at = aux.offset
        type_ = aux.u8("aux type")
        value = aux.sub(aux.u16("aux length"), "aux value")
        if type_ <= before:
            raise DecodeError("aux type", at)
        before = type_
        if type_ == _AUX_COOKIE:
            cookie = value.take(COOKIE_BYTES, "COOKIE")
        elif type_ == _AUX_TICKET:
            ticket = value.take(TICKET_ID_BYTES, "TICKET"), value.rest()
        elif type_ == _AUX_RETRY_OF:
            retry_of = value.take(RETRY_OF_BYTES, "RETRY_OF")
        else:
            continue
        value.expect_end("aux value")
    return HelloPrefix(timestamp, version, suite, cookie, ticket, retry_of)


class Reassembly:
    """Collects the parts of one body. Bounded: at most 64 KiB and 15 fragments."""

    __slots__ = ("kind", "_parts", "_total", "_body_len")

    def __init__(self, kind: PartKind) -> None:
        self.kind = kind
        self._parts: dict[int, Part] = {}
        self._total = 0
        self._body_len = 0

    @property
    def missing(self) -> int:
        """Parts still to come; 0 before the first one is there as well as at the end."""
        return self._total - len(self._parts)

    def add(self, part: Part) -> bytes | None:
        """The whole body once every part is there, else ``None``. A repeated part changes nothing.

        Raises ``DecodeError`` for a part that does not fit to the others; nothing has changed. [HB-2]
        """
        if part.kind is not self.kind:
            raise DecodeError("part kind", 0)
        if self._parts and (part.total, part.body_len) != (self._total, self._body_len):
            raise DecodeError("body length", 2)
        for below, above in ((part.index - 1, part.index), (part.index, part.index + 1)):
            first = part if below == part.index else self._parts.get(below)
            second = part if above == part.index else self._parts.get(above)
            if first and second and first.frag_off + len(first.fragment) != second.frag_off:
                raise DecodeError("fragment", 4)
        self._total, self._body_len = part.total, part.body_len
        self._parts.setdefault(part.index, part)
        if len(self._parts) < self._total:
            return None
        return b"".join(self._parts[index].fragment for index in range(self._total))


@dataclass(frozen=True, slots=True)
class TransportParams:
    """What its sender will do and accept, 16 bytes. Constructing one checks the ranges. [HB-6]"""

    idle_s: int = 30
    max_udp: int = 1472
    max_ack_delay_ms: int = 25
    stream_window: int = 1 << 20
    conn_window: int = 3 << 19
    max_streams: int = 128

    def __post_init__(self) -> None:
        if not (
            1 <= self.idle_s <= 0xFFFF
            and 1200 <= self.max_udp <= 0xFFFF
            and 0 <= self.max_ack_delay_ms <= 1000
            and 0 <= self.stream_window < 1 << 32
            and 0 <= self.conn_window < 1 << 32
            and 0 <= self.max_streams <= 16_384
        ):
            raise ValueError("a transport parameter is out of range")

    def encode(self) -> bytes:
        writer = Writer().u16(self.idle_s).u16(self.max_udp).u16(self.max_ack_delay_ms)
        writer.u32(self.stream_window).u32(self.conn_window).u16(self.max_streams)
        return writer.getvalue()

    @classmethod
    def decode(cls, reader: Reader) -> TransportParams:
        at = reader.offset
        try:
            return cls(
                reader.u16("idle_s"),
                reader.u16("max_udp"),
                reader.u16("max_ack_delay_ms"),
                reader.u32("stream_window"),
                reader.u32("conn_window"),
                reader.u16("max_streams"),
            )
        except ValueError:
            raise DecodeError("transport parameters", at) from None


class TlvType(IntEnum):
    """TLVs of a Noise payload."""

    VERSIONS = 0x01
    SUITES = 0x02
    EXT_OFFER = 0x03
    IDENT = 0x10
    EXT_ACCEPT = 0x11
    HMK = 0x12
    TIME = 0x13
    TRANSPORT_PARAMS = 0x14
    TICKET_REQUEST = 0x20


@dataclass(frozen=True, slots=True)
class Payload:
    """A Noise payload of any message; ``None`` is a TLV that is not there. Which must be there is the
    handshake's decision (``present``). ``unknown`` TLVs are kept as they came: they are hashed, and
    mean nothing."""

    versions: tuple[int, ...] | None = None
    suites: tuple[int, ...] | None = None
    ext_offer: tuple[ExtensionEntry, ...] | None = None
    ident: bytes | None = None
    ext_accept: tuple[ExtensionEntry, ...] | None = None
    hmk: bytes | None = field(default=None, repr=False)
    time: int | None = None
    params: TransportParams | None = None
    ticket_request: int | None = None
    unknown: tuple[tuple[int, bytes], ...] = ()

    def present(self) -> frozenset[int]:
        """Types of the TLVs that are there."""
        return frozenset(self._values())

    def encode(self) -> bytes:
        """TLVs ascending by type: one encoding per value. [HB-4]"""
        writer = Writer()
        for type_, value in sorted(self._values().items()):
            writer.u8(type_).u16(len(value)).raw(value)
        return writer.getvalue()

    def _values(self) -> dict[int, bytes]:
        values = dict(self.unknown)
        if any(type_ in _TLV_TYPES for type_ in values):
            raise ValueError("a known TLV stands among the unknown ones")
        if self.versions is not None:
            values[TlvType.VERSIONS] = bytes(self.versions)
        if self.suites is not None:
            values[TlvType.SUITES] = bytes(self.suites)
        if self.ext_offer is not None:
            values[TlvType.EXT_OFFER] = encode_extensions(self.ext_offer)
        if self.ident is not None:
            values[TlvType.IDENT] = Writer().raw(self.ident, IDENT_BYTES).getvalue()
        if self.ext_accept is not None:
            values[TlvType.EXT_ACCEPT] = encode_extensions(self.ext_accept)
        if self.hmk is not None:
            values[TlvType.HMK] = Writer().raw(self.hmk, 32).getvalue()
        if self.time is not None:
            values[TlvType.TIME] = Writer().u64(self.time).getvalue()
        if self.params is not None:
            values[TlvType.TRANSPORT_PARAMS] = self.params.encode()
        if self.ticket_request is not None:
            if not 0 <= self.ticket_request <= 4:
                raise ValueError("at most 4 tickets can be asked for")
            values[TlvType.TICKET_REQUEST] = Writer().u8(self.ticket_request).getvalue()
        return values


_TLV_TYPES = frozenset(TlvType)


def decode_payload(buf: Buffer) -> Payload:
    """Inverse of ``Payload.encode``. Types ascend, so none stands twice. Raises ``DecodeError``.
    [HB-4, HB-5, HB-6]"""
    reader = Reader(buf)
    found: dict[int, object] = {}
    unknown: list[tuple[int, bytes]] = []
    before = -1
    while reader.remaining:
        at = reader.offset
        type_ = reader.u8("TLV type")
        value = reader.sub(reader.u16("TLV length"), "TLV length")
        if type_ <= before:
            raise DecodeError("TLV type", at)
        before = type_
        if type_ in _TLV_TYPES:
            found[type_] = _decode_tlv(TlvType(type_), value)
            value.expect_end("TLV length")
        else:
            unknown.append((type_, value.rest()))
    named = {_FIELD_OF[TlvType(type_)]: value for type_, value in found.items()}
    return Payload(unknown=tuple(unknown), **named)  # type: ignore[arg-type]  # by _decode_tlv


_FIELD_OF: Final = {
    TlvType.VERSIONS: "versions",
    TlvType.SUITES: "suites",
    TlvType.EXT_OFFER: "ext_offer",
    TlvType.IDENT: "ident",
    TlvType.EXT_ACCEPT: "ext_accept",
    TlvType.HMK: "hmk",
    TlvType.TIME: "time",
    TlvType.TRANSPORT_PARAMS: "params",
    TlvType.TICKET_REQUEST: "ticket_request",
}


def _decode_tlv(type_: TlvType, value: Reader) -> object:
    if type_ in (TlvType.VERSIONS, TlvType.SUITES):
        return tuple(value.rest())
    if type_ in (TlvType.EXT_OFFER, TlvType.EXT_ACCEPT):
        return decode_extensions(value.rest())
    if type_ is TlvType.IDENT:
        return value.take(IDENT_BYTES, "IDENT")
    if type_ is TlvType.HMK:
        return value.take(32, "HMK")
    if type_ is TlvType.TIME:
        return value.u64("TIME")
    if type_ is TlvType.TRANSPORT_PARAMS:
        return TransportParams.decode(value)
    count = value.u8("TICKET_REQUEST")
    if count > 4:
        raise DecodeError("TICKET_REQUEST", value.offset - 1)
    return count


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Body of UNSUPPORTED: what the responder takes, at most 16 bytes. [HB-7]"""

    versions: tuple[int, ...]
    suites: tuple[int, ...]

    def encode(self) -> bytes:
        writer = Writer().u8(len(self.versions)).raw(bytes(self.versions))
        body = writer.u8(len(self.suites)).raw(bytes(self.suites)).getvalue()
        if len(body) > UNSUPPORTED_BYTES_MAX:
            raise ValueError("the lists of UNSUPPORTED have at most 16 bytes")
        return body

    @classmethod
    def decode(cls, buf: Buffer) -> Unsupported:
        reader = Reader(buf)
        if reader.remaining > UNSUPPORTED_BYTES_MAX:
            raise DecodeError("UNSUPPORTED", UNSUPPORTED_BYTES_MAX)
        versions = tuple(reader.take(reader.u8("version count"), "versions"))
        suites = tuple(reader.take(reader.u8("suite count"), "suites"))
        reader.expect_end("UNSUPPORTED")
        return cls(versions, suites)
