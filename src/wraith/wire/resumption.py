"""Payloads of a resumption's two messages, and what a ticket says to the side that made it.

::

    message 1   VERSIONS SUITES EXT_OFFER HMK TRANSPORT_PARAMS TICKET_REQUEST?
    message 2   EXT_ACCEPT TIME TRANSPORT_PARAMS

There is no message 3, so message 1 also carries what FINISH carries otherwise; who both sides are
stands in the ticket. Spec: frames.md §6 [HB-4] [HB-5] [HB-9].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from wraith.errors import DecodeError
from wraith.types import Buffer, PeerKey, SuiteId
from wraith.wire.buffer import Reader, Writer
from wraith.wire.extensions import Extension, decode_extensions, encode_extensions
from wraith.wire.handshake import (
    HMK_BYTES,
    TICKETS_MAX,
    HelloPayload,
    Tlvs,
    TlvType,
    TransportParams,
    encode_tlvs,
    sized,
)

_TICKET_VERSION: Final = 0x01
_TICKET_HEAD: Final = Struct(">BBQQQQ")
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ResumeHello:
    """Payload of the first message. ``hmk`` is the initiator's header-mask key, 32 bytes, a
    secret; up to four tickets may be asked for."""

    hello: HelloPayload
    hmk: bytes = field(repr=False)
    params: TransportParams
    ticket_request: int | None = None

    def encode(self) -> bytes:
        tickets = self.ticket_request
        if tickets is not None and not 0 <= tickets <= TICKETS_MAX:
            raise ValueError("at most 4 tickets can be asked for")
        return encode_tlvs(
            {
                TlvType.VERSIONS: bytes(self.hello.versions),
                TlvType.SUITES: bytes(self.hello.suites),
                TlvType.EXT_OFFER: encode_extensions(self.hello.extensions),
                TlvType.HMK: sized(self.hmk, HMK_BYTES),
                TlvType.TRANSPORT_PARAMS: self.params.encode(),
                TlvType.TICKET_REQUEST: None if tickets is None else bytes((tickets,)),
            },
            self.hello.unknown,
        )

    @classmethod
    def decode(cls, buf: Buffer) -> ResumeHello:
        """Raises ``DecodeError``. [HB-4, HB-5, HB-6]"""
        tlvs = Tlvs(buf)
        versions, suites = tlvs.need(TlvType.VERSIONS), tlvs.need(TlvType.SUITES)
        offer = tlvs.need(TlvType.EXT_OFFER)
        hmk = tlvs.need(TlvType.HMK).take(HMK_BYTES, "HMK")
        params = TransportParams.decode(tlvs.need(TlvType.TRANSPORT_PARAMS))
        asked = tlvs.get(TlvType.TICKET_REQUEST)
        count = None if asked is None else asked.u8("TICKET_REQUEST")
        if count is not None and count > TICKETS_MAX:
            raise DecodeError("TICKET_REQUEST")
        hello = HelloPayload(
            tuple(versions.rest()),
            tuple(suites.rest()),
            decode_extensions(offer.rest()),
            tlvs.others(),
        )
        return cls(hello, hmk, params, count)


@dataclass(frozen=True, slots=True)
class ResumeResponse:
    """Payload of the second message. ``time`` (Unix seconds) informs."""

    extensions: tuple[Extension, ...]
    params: TransportParams
    time: int

    def encode(self) -> bytes:
        return encode_tlvs(
            {
                TlvType.EXT_ACCEPT: encode_extensions(self.extensions),
                TlvType.TIME: Writer().u64(self.time).getvalue(),
                TlvType.TRANSPORT_PARAMS: self.params.encode(),
            },
            (),
        )

    @classmethod
    def decode(cls, buf: Buffer) -> ResumeResponse:
        """Raises ``DecodeError``. [HB-4, HB-5, HB-6]"""
        tlvs = Tlvs(buf)
        extensions = decode_extensions(tlvs.need(TlvType.EXT_ACCEPT).rest())
        time = tlvs.need(TlvType.TIME).u64("TIME")
        params = TransportParams.decode(tlvs.need(TlvType.TRANSPORT_PARAMS))
        tlvs.others()
        return cls(extensions, params, time)


@dataclass(frozen=True, slots=True)
class TicketContent:
    """The plaintext of a ticket's encrypted parameters. Only the responder that made it reads it.

    Attributes:
        issued, expires: Unix seconds.
        full: when the chain began, with a full handshake.
        not_after: the end of the certificates that were shown then; the chain ends with it.
        secret: the resumption secret, 32 bytes.
        peer: whose ticket it is.
        extensions: what the session had agreed on, ascending by id.
    """

    suite: SuiteId
    issued: int
    expires: int
    full: int
    not_after: int
    secret: bytes = field(repr=False)
    peer: PeerKey
    extensions: tuple[Extension, ...]

    def encode(self) -> bytes:
        writer = Writer().record(
            _TICKET_HEAD,
            _TICKET_VERSION,
            self.suite,
            self.issued,
            self.expires,
            self.full,
            self.not_after,
        )
        writer.raw(self.secret, _SECRET_BYTES).raw(self.peer.raw)
        return writer.raw(encode_extensions(self.extensions)).getvalue()

    @classmethod
    def decode(cls, buf: Buffer) -> TicketContent:
        """Raises ``DecodeError``. [HB-9]"""
        reader = Reader(buf)
        version, suite, *times = reader.record(_TICKET_HEAD, "ticket")
        if version != _TICKET_VERSION or suite not in _SUITES:
            raise DecodeError("ticket version", 0)
        secret = reader.take(_SECRET_BYTES, "resumption secret")
        peer = PeerKey(reader.take(32, "id_pk"))
        issued, expires, full, not_after = times
        extensions = decode_extensions(reader.rest())
        return cls(_SUITES[suite], issued, expires, full, not_after, secret, peer, extensions)


_SUITES: Final = {int(suite): suite for suite in SuiteId}
