"""Records of stream 0, the control stream: a byte stream of frames' 4-byte headers and bodies.

They stand nowhere else, and nothing else stands there. Incremental: ``RecordParser`` takes the
stream's bytes as they become contiguous. What a record means (may the initiator send it? is it the
right epoch?) is the connection's business.

Spec: frames §4 [FR-8, FR-9].
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from wraith.errors import DecodeError
from wraith.types import Buffer, StreamId
from wraith.wire.buffer import Reader, Writer
from wraith.wire.frame_types import HEADER_BYTES, ControlType, FrameType, encode_header

#: Of a whole record, header included.
RECORD_BYTES_MAX: Final = 16_384
TICKETS_PER_REQUEST_MAX: Final = 4
_INIT, _RESP, _REQUEST = 1, 2, 3
# Reading a member of an enumeration costs as much as a call, and a peer may send many records.
_CONTROL: Final = int(FrameType.CONTROL)
_REKEY: Final = int(FrameType.REKEY)
_GOAWAY: Final = int(FrameType.GOAWAY)
_CONFIRM: Final = int(ControlType.HANDSHAKE_CONFIRM)
_NEW_TICKET: Final = int(ControlType.NEW_TICKET)
_TICKET_REQUEST: Final = int(ControlType.TICKET_REQUEST)
_PQ_AUTH: Final = int(ControlType.PQ_AUTH)
_HEADER: Final = Struct(">BBH")
_TYPES: Final = frozenset((_CONTROL, _REKEY, _GOAWAY))


@dataclass(frozen=True, slots=True)
class HandshakeConfirm:
    """From the responder only: its endpoint's header-mask key, 32 bytes, a secret."""

    hmk: bytes

    def __repr__(self) -> str:
        return "HandshakeConfirm(hmk=...)"


@dataclass(frozen=True, slots=True)
class NewTicket:
    """``epoch``: whose resumption secret it belongs to; ``id`` has 16 bytes; ``expires`` Unix
    seconds."""

    epoch: int
    id: bytes
    expires: int
    encrypted_params: bytes


@dataclass(frozen=True, slots=True)
class TicketRequest:
    """``count`` is at most 4."""

    count: int


@dataclass(frozen=True, slots=True)
class PqAuth:
    raw: bytes


@dataclass(frozen=True, slots=True)
class RekeyInit:
    """``x`` is an X25519 public key, ``ek`` an ML-KEM encapsulation key or empty. ``flags`` are
    kept as they came, because the transcript hash covers them."""

    epoch: int
    x: bytes
    ek: bytes
    flags: int = 0

    def message(self) -> bytes:
        """The record without its header: what the transcript hash takes."""
        return _rekey(_INIT, self.epoch, self.flags, self.x, self.ek)


@dataclass(frozen=True, slots=True)
class RekeyResp:
    """As ``RekeyInit``, with a ciphertext."""

    epoch: int
    x: bytes
    ct: bytes
    flags: int = 0

    def message(self) -> bytes:
        """The record without its header: what the transcript hash takes."""
        return _rekey(_RESP, self.epoch, self.flags, self.x, self.ct)


@dataclass(frozen=True, slots=True)
class RekeyRequest:
    """Asks the driver for a rekey: 1 age, 2 packet number, 3 application; others are allowed."""

    reason: int


@dataclass(frozen=True, slots=True)
class Goaway:
    """No streams above ``last_sid`` in its class will be served."""

    last_sid: StreamId
    code: int


Record = (
    HandshakeConfirm
    | NewTicket
    | TicketRequest
    | PqAuth
    | RekeyInit
    | RekeyResp
    | RekeyRequest
    | Goaway
)


def encode_record(record: Record) -> bytes:
    """Header and body. Raises ``ValueError`` if a value does not fit its field."""
    body = Writer()
    type_ = FrameType.CONTROL
    match record:
        case HandshakeConfirm(hmk):
            body.u8(ControlType.HANDSHAKE_CONFIRM).raw(hmk, 32)
        case NewTicket(epoch, id_, expires, encrypted_params):
            body.u8(ControlType.NEW_TICKET).u32(epoch).raw(id_, 16).u64(expires)
            body.u16(len(encrypted_params)).raw(encrypted_params)
        case TicketRequest(count):
            if not 0 <= count <= TICKETS_PER_REQUEST_MAX:
                raise ValueError("at most 4 tickets can be asked for")
            body.u8(ControlType.TICKET_REQUEST).u8(count)
        case PqAuth(raw):
            body.u8(ControlType.PQ_AUTH).raw(raw)
        case RekeyInit() | RekeyResp():
            type_ = FrameType.REKEY
            body.raw(record.message())
        case RekeyRequest(reason):
            type_ = FrameType.REKEY
            body.u8(_REQUEST).u8(reason)
        case Goaway(last_sid, code):
            type_ = FrameType.GOAWAY
            body.u32(last_sid).u32(code)
    encoded = body.getvalue()
    if HEADER_BYTES + len(encoded) > RECORD_BYTES_MAX:
        raise ValueError(f"a record has at most {RECORD_BYTES_MAX} bytes")
    return encode_header(type_, 0, len(encoded)) + encoded


class RecordParser:
    """Cuts the bytes of stream 0 into records. Keeps less than one record (16,384 bytes)."""

    __slots__ = ("_pending", "_failed")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._failed: DecodeError | None = None

    def feed(self, data: Buffer) -> list[Record]:
        """The records that ``data`` completes, in order.

        Raises:
            DecodeError: the stream is broken, for good: every later call raises it again.
        """
        if self._failed is not None:
            raise self._failed
        self._pending += data
        records: list[Record] = []
        pending = bytes(self._pending)
        at, end = 0, len(pending)
        try:
            while end - at >= HEADER_BYTES:
                type_, _, n_body = _HEADER.unpack_from(pending, at)
                # Refused by the header alone: nothing is buffered for a record that cannot be
                # valid.
                if n_body + HEADER_BYTES > RECORD_BYTES_MAX:
                    raise DecodeError("record length", at + 2)
                if type_ not in _TYPES:
                    raise DecodeError(f"record type 0x{type_:02x}", at)
                start, stop = at + HEADER_BYTES, at + HEADER_BYTES + n_body
                if stop > end:
                    break
                record = _decode_short(type_, pending[start:stop]) if n_body == 2 else None
                if record is None:
                    body = Reader(pending, start, stop)
                    record = _decode_record(type_, body)
                    body.expect_end("record length")
                records.append(record)
                at = stop
        except DecodeError as error:
            self._failed = error
            self._pending.clear()
            raise
        del self._pending[:at]
        return records


def _decode_short(type_: int, body: bytes) -> Record | None:
    """Of two bytes, which a peer may send by the thousand; ``None`` for what is none of these."""
    sub, value = body
    if type_ == _CONTROL and sub == _TICKET_REQUEST and value <= TICKETS_PER_REQUEST_MAX:
        return TicketRequest(value)
    if type_ == _REKEY and sub == _REQUEST:
        return RekeyRequest(value)
    return None


def _decode_record(type_: int, body: Reader) -> Record:
    if type_ == _GOAWAY:
        return Goaway(StreamId(body.u32("last stream id")), body.u32("code"))
    at = body.offset
    sub = body.u8("record subtype")
    if type_ == _REKEY:
        epoch, flags = body.u32("epoch"), body.u8("flags")
        x, kem = body.take(32, "X25519 key"), body.rest()
        if sub == _INIT:
            return RekeyInit(epoch, x, kem, flags)
        if sub == _RESP:
            return RekeyResp(epoch, x, kem, flags)
    elif sub == _CONFIRM:
        return HandshakeConfirm(body.take(32, "header-mask key"))
    elif sub == _NEW_TICKET:
        epoch, id_, expires = body.u32("epoch"), body.take(16, "ticket id"), body.u64("expires")
        return NewTicket(epoch, id_, expires, body.take(body.u16("length"), "ticket parameters"))
    elif sub == _PQ_AUTH:
        return PqAuth(body.rest())
    raise DecodeError("record subtype", at)


def _rekey(sub: int, epoch: int, flags: int, x: bytes, kem: bytes) -> bytes:
    return Writer().u8(sub).u32(epoch).u8(flags).raw(x, 32).raw(kem).getvalue()
