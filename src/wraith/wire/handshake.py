"""Bodies of the handshake's datagrams: parts, hello prefix, payload TLVs, transport parameters.

Everything here is plaintext of the veil (parts, prefix) or of Noise (payloads); who seals it and
what it means is decided in ``connection``.

::

    HELLO/0      part header 8 · hello prefix 12 · aux · fragment · padding
    all others   part header 8 · fragment · padding

    part header  kind u8 · index<<4|total u8 · body_len u16 · frag_off u16 · frag_len u16

Spec: frames §5-§7 [HB-1 … HB-7].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Final

from wraith.errors import DecodeError
from wraith.types import Buffer
from wraith.wire.buffer import Reader, Writer
from wraith.wire.extensions import Extension, decode_extensions, encode_extensions

VERSION: Final = 0x02
DATAGRAM_BYTES_MIN: Final = 600
DATAGRAM_BYTES_MAX: Final = 1200
PART_HEADER_BYTES: Final = 8
PARTS_MAX: Final = 15
IDENT_BYTES: Final = 104
HMK_BYTES: Final = 32
TICKETS_MAX: Final = 4
UNSUPPORTED_BYTES_MAX: Final = 16
COOKIE_BYTES: Final = 32
RETRY_OF_BYTES: Final = 32
TICKET_ID_BYTES: Final = 16

_PART_HEADER: Final = Struct(">BBHHH")
_HELLO_PREFIX: Final = Struct(">QBBH")
_TRANSPORT_PARAMS: Final = Struct(">HHHIIH")
_TLV_HEADER: Final = Struct(">BH")


class PartKind(IntEnum):
    """The message that a handshake datagram is part of."""

    HELLO = 1
    RESPONSE = 2
    FINISH = 3
    COOKIE = 4
    RETRY_FULL = 5
    UNSUPPORTED = 6


@dataclass(frozen=True, slots=True)
class Part:
    """One datagram's share of a body."""

    kind: PartKind
    index: int
    total: int
    body_bytes: int
    offset: int
    fragment: bytes


def encode_part(
    *,
    kind: PartKind,
    index: int,
    total: int,
    body_bytes: int,
    offset: int,
    fragment: bytes,
    prefix: bytes = b"",
) -> bytes:
    """Header, ``prefix`` (the encoded hello prefix in HELLO/0, else empty) and fragment.

    The caller appends padding: any bytes. A part that is sent again keeps its cut and changes its
    padding, so that parts of two sendings fit together.
    """
    if not 0 <= index < total <= PARTS_MAX:
        raise ValueError("a body has 1 to 15 parts")
    writer = Writer().record(
        _PART_HEADER, kind, index << 4 | total, body_bytes, offset, len(fragment)
    )
    return writer.raw(prefix).raw(fragment).getvalue()


def decode_part(plaintext: Buffer) -> Part:
    """A part of any kind but HELLO/0. Padding is skipped, whatever it holds.

    Raises ``DecodeError``. [HB-1, HB-2]
    """
    reader = Reader(plaintext)
    part = _decode_part(reader, reader.record(_PART_HEADER, "part header"))
    if part.kind is PartKind.HELLO and part.index == 0:
        raise DecodeError("part index", 1)
    return part


@dataclass(frozen=True, slots=True)
class HelloPrefix:
    """Stands in HELLO/0 before its fragment. ``suite`` may be one that this side does not know.

    ``ticket`` is the ticket's 16-byte id and its encrypted parameters. Unknown aux TLVs are
    skipped.
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
        prefix = Writer().record(_HELLO_PREFIX, self.timestamp, self.version, self.suite, len(raw))
        return prefix.raw(raw).getvalue()

    @classmethod
    def decode_first(cls, plaintext: Buffer) -> tuple[Part, HelloPrefix]:
        """HELLO/0. Raises ``DecodeError`` for anything else. [HB-1, HB-2, HB-3]"""
        reader = Reader(plaintext)
        header = reader.record(_PART_HEADER, "part header")
        prefix = cls._decode(reader)
        part = _decode_part(reader, header)
        if part.kind is not PartKind.HELLO or part.index != 0:
            raise DecodeError("part kind", 0)
        return part, prefix

    @classmethod
    def _decode(cls, reader: Reader) -> HelloPrefix:
        timestamp, version, suite, n = reader.record(_HELLO_PREFIX, "hello prefix")
        aux = reader.sub(n, "aux length")
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
        return cls(timestamp, version, suite, cookie, ticket, retry_of)


_AUX_COOKIE, _AUX_TICKET, _AUX_RETRY_OF = 0x01, 0x02, 0x03


_PART_KINDS: Final = {int(kind): kind for kind in PartKind}


def _decode_part(reader: Reader, header: tuple[int, ...]) -> Part:
    """The part whose header has been read and whose fragment comes next in ``reader``."""
    code, index_total, body, offset, n = header
    index, total = index_total >> 4, index_total & 0xF
    kind = _PART_KINDS.get(code)
    if kind is None:
        raise DecodeError("part kind", 0)
    if index >= total:
        raise DecodeError("part index", 1)
    # Ascending, disjoint and covering: the first starts at 0, the last ends at the end, none
    # is empty beside others. That neighbours meet is checked when they are put together.
    end = offset + n
    if end > body or (offset == 0) != (index == 0) or (n == 0 and total > 1):
        raise DecodeError("fragment", 4)
    if (end == body) != (index == total - 1):
        raise DecodeError("fragment", 4)
    return Part(kind, index, total, body, offset, reader.take(n, "fragment"))


class Reassembler:
    """Collects the parts of one body. Bounded: at most 64 KiB and 15 fragments."""

    __slots__ = ("kind", "_parts", "_total", "_body_bytes")

    def __init__(self, kind: PartKind) -> None:
        self.kind = kind
        self._parts: dict[int, Part] = {}
        self._total = 0
        self._body_bytes = 0

    @property
    def is_complete(self) -> bool:
        return self._total > 0 and len(self._parts) == self._total

    def add(self, part: Part) -> None:
        """Take a part. A repeated one changes nothing.

        Raises ``DecodeError`` for a part that does not fit to the others; nothing has changed.
        [HB-2]
        """
        if part.kind is not self.kind:
            raise DecodeError("part kind", 0)
        if self._parts and (part.total, part.body_bytes) != (self._total, self._body_bytes):
            raise DecodeError("body length", 2)
        below, above = self._parts.get(part.index - 1), self._parts.get(part.index + 1)
        meets_below = below is None or below.offset + len(below.fragment) == part.offset
        meets_above = above is None or part.offset + len(part.fragment) == above.offset
        if not (meets_below and meets_above):
            raise DecodeError("fragment", 4)
        self._total, self._body_bytes = part.total, part.body_bytes
        self._parts.setdefault(part.index, part)

    def body(self) -> bytes:
        """The whole body. Raises ``ValueError`` while parts are missing."""
        if not self.is_complete:
            raise ValueError("parts of the body are missing")
        return b"".join(self._parts[index].fragment for index in range(self._total))


@dataclass(frozen=True, slots=True)
class TransportParams:
    """The limits of its sender, 16 bytes. Constructing one checks the ranges. [HB-6]"""

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

    @property
    def is_visit(self) -> bool:
        """Its sender takes no streams and no bytes of any: it only looks at the roads. [RO-66]"""
        return not self.max_streams and not self.conn_window

    def encode(self) -> bytes:
        return _TRANSPORT_PARAMS.pack(
            self.idle_s,
            self.max_udp,
            self.max_ack_delay_ms,
            self.stream_window,
            self.conn_window,
            self.max_streams,
        )

    @classmethod
    def decode(cls, reader: Reader) -> TransportParams:
        at = reader.offset
        try:
            return cls(*reader.record(_TRANSPORT_PARAMS, "transport parameters"))
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


Unknown = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class HelloPayload:
    """Payload of the first message: what the initiator speaks. Lists are in order of preference."""

    versions: tuple[int, ...]
    suites: tuple[int, ...]
    extensions: tuple[Extension, ...] = ()
    unknown: Unknown = ()

    def encode(self) -> bytes:
        return encode_tlvs(
            {
                TlvType.VERSIONS: bytes(self.versions),
                TlvType.SUITES: bytes(self.suites),
                TlvType.EXT_OFFER: encode_extensions(self.extensions),
            },
            self.unknown,
        )

    @classmethod
    def decode(cls, buf: Buffer) -> HelloPayload:
        """Raises ``DecodeError``. [HB-4, HB-5]"""
        tlvs = Tlvs(buf)
        versions, suites = tlvs.need(TlvType.VERSIONS), tlvs.need(TlvType.SUITES)
        offer = tlvs.need(TlvType.EXT_OFFER)
        return cls(
            tuple(versions.rest()),
            tuple(suites.rest()),
            decode_extensions(offer.rest()),
            tlvs.others(),
        )


@dataclass(frozen=True, slots=True)
class ResponsePayload:
    """Payload of the second message. ``ident`` has 104 bytes; ``time`` (Unix seconds) informs."""

    ident: bytes
    extensions: tuple[Extension, ...]
    params: TransportParams
    time: int
    unknown: Unknown = ()

    def encode(self) -> bytes:
        return encode_tlvs(
            {
                TlvType.IDENT: sized(self.ident, IDENT_BYTES),
                TlvType.EXT_ACCEPT: encode_extensions(self.extensions),
                TlvType.TIME: Writer().u64(self.time).getvalue(),
                TlvType.TRANSPORT_PARAMS: self.params.encode(),
            },
            self.unknown,
        )

    @classmethod
    def decode(cls, buf: Buffer) -> ResponsePayload:
        """Raises ``DecodeError``. [HB-4, HB-5, HB-6]"""
        tlvs = Tlvs(buf)
        ident = tlvs.need(TlvType.IDENT).take(IDENT_BYTES, "IDENT")
        extensions = decode_extensions(tlvs.need(TlvType.EXT_ACCEPT).rest())
        time = tlvs.need(TlvType.TIME).u64("TIME")
        params = TransportParams.decode(tlvs.need(TlvType.TRANSPORT_PARAMS))
        return cls(ident, extensions, params, time, tlvs.others())


@dataclass(frozen=True, slots=True)
class FinishPayload:
    """Payload of the third message. ``ident`` may be absent (an anonymous initiator); ``hmk`` is
    the initiator's header-mask key, 32 bytes, a secret; up to four tickets may be asked for."""

    ident: bytes | None
    hmk: bytes = field(repr=False)
    params: TransportParams
    ticket_request: int | None = None
    unknown: Unknown = ()

    def encode(self) -> bytes:
        tickets = self.ticket_request
        if tickets is not None and not 0 <= tickets <= TICKETS_MAX:
            raise ValueError("at most 4 tickets can be asked for")
        return encode_tlvs(
            {
                TlvType.IDENT: None if self.ident is None else sized(self.ident, IDENT_BYTES),
                TlvType.HMK: sized(self.hmk, HMK_BYTES),
                TlvType.TRANSPORT_PARAMS: self.params.encode(),
                TlvType.TICKET_REQUEST: None if tickets is None else bytes((tickets,)),
            },
            self.unknown,
        )

    @classmethod
    def decode(cls, buf: Buffer) -> FinishPayload:
        """Raises ``DecodeError``. [HB-4, HB-5, HB-6]"""
        tlvs = Tlvs(buf)
        ident = tlvs.get(TlvType.IDENT)
        certificate = None if ident is None else ident.take(IDENT_BYTES, "IDENT")
        hmk = tlvs.need(TlvType.HMK).take(HMK_BYTES, "HMK")
        params = TransportParams.decode(tlvs.need(TlvType.TRANSPORT_PARAMS))
        tickets = tlvs.get(TlvType.TICKET_REQUEST)
        count = None if tickets is None else tickets.u8("TICKET_REQUEST")
        if count is not None and count > TICKETS_MAX:
            raise DecodeError("TICKET_REQUEST")
        return cls(certificate, hmk, params, count, tlvs.others())


def encode_tlvs(values: dict[TlvType, bytes | None], unknown: Unknown) -> bytes:
    """Ascending by type: one encoding per value. [HB-4]"""
    tlvs: dict[int, bytes] = {type_: v for type_, v in values.items() if v is not None}
    for type_, value in unknown:
        if type_ in tlvs or type_ in values:
            raise ValueError(f"TLV 0x{type_:02x} is known, or stands twice")
        tlvs[type_] = value
    writer = Writer()
    for type_, value in sorted(tlvs.items()):
        writer.record(_TLV_HEADER, type_, len(value)).raw(value)
    return writer.getvalue()


class Tlvs:
    """The TLVs of one payload. Types ascend, so none stands twice; what was not asked for is kept
    as unknown: it has been hashed, and means nothing."""

    __slots__ = ("_values", "_asked")

    def __init__(self, buf: Buffer) -> None:
        reader = Reader(buf)
        self._values: dict[int, Reader] = {}
        self._asked: list[Reader] = []
        before = -1
        while reader.remaining:
            at = reader.offset
            type_, n = reader.record(_TLV_HEADER, "TLV header")
            value = reader.sub(n, "TLV length")
            if type_ <= before:
                raise DecodeError("TLV type", at)
            self._values[type_] = value
            before = type_

    def get(self, type_: TlvType) -> Reader | None:
        value = self._values.pop(type_, None)
        if value is not None:
            self._asked.append(value)
        return value

    def need(self, type_: TlvType) -> Reader:
        value = self.get(type_)
        if value is None:
            raise DecodeError(f"payload without {type_.name}")
        return value

    def others(self) -> Unknown:
        """What was not asked for; checks that all that was is read to its end. [HB-5]"""
        for value in self._asked:
            value.expect_end("TLV length")
        return tuple((type_, value.rest()) for type_, value in self._values.items())


def sized(data: bytes, size: int) -> bytes:
    return Writer().raw(data, size).getvalue()


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
