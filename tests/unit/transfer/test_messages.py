"""The control stream's codec."""

from __future__ import annotations

import pytest

from wraith.errors import DecodeError
from wraith.transfer.message_codec import (
    BODY_BYTES_MAX,
    MessageParser,
    decode_message,
    encode_message,
)
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
    Offer,
    OfferKind,
    Page,
    ProgressMessage,
    Reason,
    Receipt,
    ReceiptOk,
    Skip,
    Start,
)

D = bytes(range(32))
SAMPLES: list[tuple[Message, str]] = [
    (
        Offer(OfferKind.FILES, 3, 2, 1000, 1, 99, D, b"name"),
        "0100003e0200000000030000000200000000000003e80000000100000063" + D.hex() + "6e616d65",
    ),
    (
        Offer(OfferKind.STREAM, 1, 1, None, 1, 28, D),
        "0100003a0201" + "0000000100000001" + "ff" * 8 + "000000010000001c" + D.hex(),
    ),
    (Page(b"xyz"), "02000003" + "78797a"),
    (Drop((1, 70_000)), "03000008" + "0000000100011170"),
    (Start(), "04000000"),
    (Failed(7, Reason.SOURCE_CHANGED), "05000005" + "0000000706"),
    (End(0, 5), "0600000c" + "00000000" + "0000000000000005"),
    (AllSent(2), "07000004" + "00000002"),
    (ReceiptOk(), "08000000"),
    (Answer(True), "09000002" + "0100"),
    (Answer(False, Reason.DECLINED), "09000002" + "0001"),
    (
        Have((HaveItem(4, ((0, 2), (5, 1)), D),)),
        "0a000036" + "000000040002" + "0000000000000002" + "0000000500000001" + D.hex(),
    ),
    (HaveEnd(), "0b000000"),
    (Skip(((1, 2),)), "0c000008" + "0000000100000002"),
    (ProgressMessage(9, 1, 10), "0d000014" + "0000000000000009" + "00000001" + "000000000000000a"),
    (
        Receipt(D, 2, 1000, 0),
        "0e000038" + D.hex() + "00000002" + "00000000000003e8" + "00000000" + "00" * 8,
    ),
    (Abort(Reason.NO_SPACE, "full"), "0f000005" + "0566756c6c"),
]
IDS = [type(message).__name__ for message, _ in SAMPLES]


@pytest.mark.parametrize(("message", "encoded"), SAMPLES, ids=IDS)
def test_committed_bytes(message: Message, encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    assert encode_message(message) == raw
    assert MessageParser().feed(raw) == [message]


@pytest.mark.spec("TR-31")
@pytest.mark.parametrize(("message", "encoded"), SAMPLES, ids=IDS)
def test_no_shortened_body_is_another_message(message: Message, encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    kind, body = raw[0], raw[4:]
    for n in range(len(body)):
        try:
            other = decode_message(kind, body[:n])
        except DecodeError:
            continue
        assert other != message
        assert encode_message(other)[4:] == body[:n]


def test_messages_may_arrive_byte_by_byte() -> None:
    stream = b"".join(bytes.fromhex(encoded) for _, encoded in SAMPLES)
    parser = MessageParser()
    got = [m for i in range(len(stream)) for m in parser.feed(stream[i : i + 1])]
    assert got == [message for message, _ in SAMPLES]


@pytest.mark.spec("TR-31")
@pytest.mark.parametrize("kind", [0, 16, 17, 255])
def test_unknown_types_are_refused(kind: int) -> None:
    with pytest.raises(DecodeError):
        MessageParser().feed(bytes([kind, 0, 0, 0]))


@pytest.mark.spec("TR-31")
def test_a_long_message_is_refused_before_it_is_held() -> None:
    header = bytes([2]) + (BODY_BYTES_MAX + 1).to_bytes(3, "big")
    with pytest.raises(DecodeError):
        MessageParser().feed(header)
    with pytest.raises(ValueError, match="64 KiB"):
        encode_message(Page(bytes(BODY_BYTES_MAX + 1)))


@pytest.mark.spec("TR-32")
@pytest.mark.parametrize(
    "pairs",
    [
        [(5, 1), (0, 1)],
        [(0, 2), (1, 1)],
        [(0, 2), (2, 1)],
        [(0, 0)],
        [((1 << 32) - 1, 2)],
    ],
    ids=["descending", "overlapping", "touching", "empty", "beyond u32"],
)
def test_ranges_that_nobody_writes_are_refused(pairs: list[tuple[int, int]]) -> None:
    body = b"".join(a.to_bytes(4, "big") + n.to_bytes(4, "big") for a, n in pairs)
    with pytest.raises(DecodeError):
        decode_message(12, body)
    item = (4).to_bytes(4, "big") + len(pairs).to_bytes(2, "big") + body + D
    with pytest.raises(DecodeError):
        decode_message(10, item)


def test_an_unknown_reason_is_kept_as_other() -> None:
    assert decode_message(9, bytes([0, 200])) == Answer(False, Reason.OTHER)
    assert decode_message(15, bytes([200]) + b"?") == Abort(Reason.OTHER, "?")


def test_an_abort_text_is_cut_at_a_character() -> None:
    message = decode_message(15, encode_message(Abort(Reason.OTHER, "é" * 400))[4:])
    assert isinstance(message, Abort)
    assert message.text == "é" * 200


@pytest.mark.spec("TR-136")
@pytest.mark.parametrize("version", [1, 3, 255])
def test_an_offer_of_another_version_is_kept_as_that(version: int) -> None:
    """Its form is not known: any body will do."""
    for rest in (b"", b"?", encode_message(SAMPLES[0][0])[5:]):
        message = decode_message(1, bytes([version]) + rest)
        assert not isinstance(message, Offer)
        assert encode_message(message)[4:] == bytes([version]) + rest


def test_an_offer_of_version_0_is_malformed() -> None:
    for body in (b"", b"\0", b"\0" + encode_message(SAMPLES[0][0])[5:]):
        with pytest.raises(DecodeError):
            decode_message(1, body)


@pytest.mark.spec("TR-135")
def test_a_receipt_says_how_much_was_not_read_again() -> None:
    fixed = D + (2).to_bytes(4, "big") + (1000).to_bytes(8, "big") + bytes(4)
    receipt = decode_message(14, fixed + (600).to_bytes(8, "big"))
    assert encode_message(receipt)[4:] == fixed + (600).to_bytes(8, "big")
    decode_message(14, fixed + (1000).to_bytes(8, "big"))
    with pytest.raises(DecodeError):
        decode_message(14, fixed + (1001).to_bytes(8, "big"))
    with pytest.raises(DecodeError):
        decode_message(14, fixed)  # that of version 1
