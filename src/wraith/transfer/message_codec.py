"""Writes and reads messages of the control stream: ``type u8 ‖ length u24 ‖ body``.

A body has at most ``BODY_BYTES_MAX`` bytes. Decoding is total and canonical: a value or
``DecodeError``, and every value has one encoding. What the bodies are made of: ``messages``.

Spec: transfer §4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from blake3 import blake3

from wraith.errors import DecodeError
from wraith.transfer.kinds import ABORT_TEXT_MAX
from wraith.transfer.messages import (
    Abort,
    AllSent,
    Answer,
    Drop,
    End,
    Failed,
    Have,
    HaveEnd,
    HaveItem,
    Message,
    MessageType,
    Offer,
    OfferKind,
    Page,
    ProgressMessage,
    Reason,
    Receipt,
    ReceiptOk,
    Skip,
    Start,
    UnknownOffer,
)
from wraith.types import Buffer, PeerKey

BODY_BYTES_MAX = 65_536
HEADER_BYTES = 4
OFFER_VERSION = 2
NAME_BYTES_MAX = 255
RANGES_PER_ITEM = 1_024
UNKNOWN_TOTAL = (1 << 64) - 1

_OFFER = struct.Struct(">BBIIQII32s")
_FAILED = struct.Struct(">IB")
_END = struct.Struct(">IQ")
_RECEIPT = struct.Struct(">32sIQIQ")
_PAIR = struct.Struct(">II")
_ITEM = struct.Struct(">IH")


def encode_message(message: Message) -> bytes:
    """Header and body. Raises ``ValueError`` for a body that would be too long."""
    kind, body = _encode_body(message)
    if len(body) > BODY_BYTES_MAX:
        raise ValueError("a control message has at most 64 KiB")
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def offer_id_of(peer: PeerKey | None, offer: Offer) -> bytes:
    """What an acceptance names, 32 bytes: BLAKE3 over the identity of who offers (zeros for none)
    and the body of the OFFER. Another kind, name, listing or peer is another offer. [TR-100]"""
    identity = peer.raw if peer is not None else bytes(32)
    return blake3(identity + _encode_body(offer)[1]).digest()


def _encode_body(message: Message) -> tuple[MessageType, bytes]:
    match message:
        case Offer():
            total = UNKNOWN_TOTAL if message.total_bytes is None else message.total_bytes
            fixed = _OFFER.pack(
                OFFER_VERSION,
                message.kind,
                message.n_entries,
                message.n_files,
                total,
                message.n_pages,
                message.listing_bytes,
                message.listing_digest,
            )
            return MessageType.OFFER, fixed + message.name[:NAME_BYTES_MAX]
        case UnknownOffer(version, rest):
            return MessageType.OFFER, bytes([version]) + rest
        case Page(data):
            return MessageType.PAGE, data
        case Drop(entries):
            return MessageType.DROP, struct.pack(f">{len(entries)}I", *entries)
        case Start():
            return MessageType.START, b""
        case Failed(entry, reason):
            return MessageType.FAILED, _FAILED.pack(entry, reason)
        case End(entry, size):
            return MessageType.END, _END.pack(entry, size)
        case AllSent(n_failed):
            return MessageType.ALL_SENT, n_failed.to_bytes(4, "big")
        case ReceiptOk():
            return MessageType.RECEIPT_OK, b""
        case Answer(accepted, reason):
            return MessageType.ANSWER, bytes([accepted, reason])
        case Have(items):
            return MessageType.HAVE, b"".join(_encode_item(item) for item in items)
        case HaveEnd():
            return MessageType.HAVE_END, b""
        case Skip(ranges):
            return MessageType.SKIP, b"".join(_PAIR.pack(*pair) for pair in ranges)
        case ProgressMessage(verified_bytes, n_finished, consumed_bytes):
            body = struct.pack(">QIQ", verified_bytes, n_finished, consumed_bytes)
            return MessageType.PROGRESS, body
        case Receipt():
            return MessageType.RECEIPT, _RECEIPT.pack(
                message.listing_digest,
                message.n_files,
                message.n_bytes,
                message.n_failed,
                message.unread_bytes,
            )
        case Abort(reason, text):
            return MessageType.ABORT, bytes([reason]) + _clipped(text)


def have_item_bytes(item: HaveItem) -> int:
    """Encoded size, for filling HAVE messages."""
    return _ITEM.size + _PAIR.size * len(item.ranges) + 32


def _encode_item(item: HaveItem) -> bytes:
    pairs = b"".join(_PAIR.pack(*pair) for pair in item.ranges)
    return _ITEM.pack(item.entry, len(item.ranges)) + pairs + item.digest


def _clipped(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:ABORT_TEXT_MAX].decode("utf-8", "ignore").encode()


def decode_message(kind: int, body: bytes) -> Message:
    """The message of type ``kind`` with exactly this ``body``.

    Raises:
        DecodeError: unknown type, wrong length, or a value that no encoder writes.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise DecodeError(f"control message type {kind}")
    return decoder(body)


def _unpack(form: struct.Struct, body: bytes, what: str) -> tuple[int, ...]:
    if len(body) != form.size:
        raise DecodeError(what, len(body))
    values: tuple[int, ...] = form.unpack(body)
    return values


def _reason(value: int) -> Reason:
    try:
        return Reason(value)
    except ValueError:
        return Reason.OTHER


def _decode_offer(body: bytes) -> Offer | UnknownOffer:
    if body and body[0] not in (0, OFFER_VERSION):
        return UnknownOffer(body[0], body[1:])
    if len(body) < _OFFER.size or len(body) > _OFFER.size + NAME_BYTES_MAX:
        raise DecodeError("OFFER", len(body))
    version, kind, n_entries, n_files, total, n_pages, n_bytes, digest = _OFFER.unpack_from(body)
    if version != OFFER_VERSION or kind not in tuple(OfferKind):
        raise DecodeError("OFFER version", 0)
    return Offer(
        kind=OfferKind(kind),
        n_entries=n_entries,
        n_files=n_files,
        total_bytes=None if total == UNKNOWN_TOTAL else total,
        n_pages=n_pages,
        listing_bytes=n_bytes,
        listing_digest=digest,
        name=body[_OFFER.size :],
    )


def _decode_page(body: bytes) -> Page:
    if not body:
        raise DecodeError("PAGE", 0)
    return Page(body)


def _decode_drop(body: bytes) -> Drop:
    if not body or len(body) % 4:
        raise DecodeError("DROP", len(body))
    return Drop(struct.unpack(f">{len(body) // 4}I", body))


def _decode_failed(body: bytes) -> Failed:
    entry, reason = _unpack(_FAILED, body, "FAILED")
    return Failed(entry, _reason(reason))


def _decode_end(body: bytes) -> End:
    entry, size = _unpack(_END, body, "END")
    return End(entry, size)


def _decode_all_sent(body: bytes) -> AllSent:
    return AllSent(_unpack(struct.Struct(">I"), body, "ALL_SENT")[0])


def _decode_answer(body: bytes) -> Answer:
    accepted, reason = _unpack(struct.Struct(">BB"), body, "ANSWER")
    if accepted > 1:
        raise DecodeError("ANSWER", 0)
    return Answer(bool(accepted), _reason(reason))


def _decode_have(body: bytes) -> Have:
    items: list[HaveItem] = []
    at = 0
    while at < len(body):
        if at + _ITEM.size > len(body):
            raise DecodeError("HAVE", at)
        entry, n = _ITEM.unpack_from(body, at)
        end = at + _ITEM.size + n * _PAIR.size + 32
        if not 0 < n <= RANGES_PER_ITEM or end > len(body):
            raise DecodeError("HAVE", at)
        ranges = _ascending(body[at + _ITEM.size : end - 32], "HAVE")
        items.append(HaveItem(entry, ranges, body[end - 32 : end]))
        at = end
    if not items:
        raise DecodeError("HAVE", 0)
    return Have(tuple(items))


def _ascending(body: bytes, what: str) -> tuple[tuple[int, int], ...]:
    """Pairs (first, n) that ascend without touching. [TR-32]"""
    ranges = tuple(_PAIR.iter_unpack(body))
    after = -1
    for first, n in ranges:
        if first <= after or not n or first + n > 1 << 32:
            raise DecodeError(f"{what} ranges", 0)
        after = first + n
    return ranges


def _decode_skip(body: bytes) -> Skip:
    if not body or len(body) % _PAIR.size:
        raise DecodeError("SKIP", len(body))
    return Skip(_ascending(body, "SKIP"))


def _decode_progress(body: bytes) -> ProgressMessage:
    verified_bytes, n_finished, consumed = _unpack(struct.Struct(">QIQ"), body, "PROGRESS")
    return ProgressMessage(verified_bytes, n_finished, consumed)


def _decode_receipt(body: bytes) -> Receipt:
    if len(body) != _RECEIPT.size:
        raise DecodeError("RECEIPT", len(body))
    receipt = Receipt(*_RECEIPT.unpack(body))
    if receipt.unread_bytes > receipt.n_bytes:
        raise DecodeError("RECEIPT: more is unread than there is", 48)
    return receipt


def _decode_abort(body: bytes) -> Abort:
    if not body or len(body) > 1 + ABORT_TEXT_MAX:
        raise DecodeError("ABORT", len(body))
    try:
        return Abort(_reason(body[0]), body[1:].decode())
    except UnicodeDecodeError:
        raise DecodeError("ABORT text", 1) from None


def _empty(what: str, message: Message) -> Callable[[bytes], Message]:
    def decode(body: bytes) -> Message:
        if body:
            raise DecodeError(what, 0)
        return message

    return decode


_DECODERS: dict[int, Callable[[bytes], Message]] = {
    MessageType.OFFER: _decode_offer,
    MessageType.PAGE: _decode_page,
    MessageType.DROP: _decode_drop,
    MessageType.START: _empty("START", Start()),
    MessageType.FAILED: _decode_failed,
    MessageType.END: _decode_end,
    MessageType.ALL_SENT: _decode_all_sent,
    MessageType.RECEIPT_OK: _empty("RECEIPT_OK", ReceiptOk()),
    MessageType.ANSWER: _decode_answer,
    MessageType.HAVE: _decode_have,
    MessageType.HAVE_END: _empty("HAVE_END", HaveEnd()),
    MessageType.SKIP: _decode_skip,
    MessageType.PROGRESS: _decode_progress,
    MessageType.RECEIPT: _decode_receipt,
    MessageType.ABORT: _decode_abort,
}


class MessageParser:
    """Cuts the control stream into messages. Holds at most one unfinished message."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: Buffer) -> list[Message]:
        """All messages that ``data`` completes.

        Raises:
            DecodeError: malformed; the parser is then of no further use.
        """
        held = self._held
        held += data
        messages: list[Message] = []
        at = 0
        while at + HEADER_BYTES <= len(held):
            length = int.from_bytes(held[at + 1 : at + HEADER_BYTES], "big")
            if length > BODY_BYTES_MAX:
                raise DecodeError("control message length", at)
            end = at + HEADER_BYTES + length
            if end > len(held):
                break
            messages.append(decode_message(held[at], bytes(held[at + HEADER_BYTES : end])))
            at = end
        if at:
            del held[:at]
        return messages
