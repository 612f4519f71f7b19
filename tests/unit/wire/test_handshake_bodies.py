"""Parts, hello prefix, payloads: the layouts of the specification, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.errors import DecodeError
from wraith.testing.rng import SeededRng
from wraith.wire.extensions import (
    Extension,
    ExtensionId,
    decode_extensions,
    encode_extensions,
    grease,
    is_grease,
)
from wraith.wire.handshake import (
    FinishPayload,
    HelloPayload,
    HelloPrefix,
    Part,
    PartKind,
    Reassembler,
    ResponsePayload,
    TransportParams,
    Unsupported,
    decode_part,
    encode_part,
)

PREFIX = HelloPrefix(0x0102, 2, 1)
PARAMS = TransportParams()
IDENT = b"I" * 104


def part(index: int, total: int, offset: int, fragment: bytes, body: int = 10) -> Part:
    return Part(PartKind.RESPONSE, index, total, body, offset, fragment)


def encode(p: Part, prefix: bytes = b"") -> bytes:
    return encode_part(
        kind=p.kind,
        index=p.index,
        total=p.total,
        body_bytes=p.body_bytes,
        offset=p.offset,
        fragment=p.fragment,
        prefix=prefix,
    )


@pytest.mark.spec("HB-1")
def test_a_part_is_eight_bytes_and_its_fragment() -> None:
    p = part(1, 2, 6, b"abcd")
    raw = encode(p)
    assert raw.hex() == "0212000a0006000461626364"
    for padding in (b"", b"\x00" * 9, b"\xff" * 9):
        assert decode_part(raw + padding) == p


@pytest.mark.spec("HB-3")
def test_the_hello_prefix_stands_before_the_first_fragment() -> None:
    first = Part(PartKind.HELLO, 0, 2, 10, 0, b"abcdef")
    assert PREFIX.encode().hex() == "000000000000010202010000"
    raw = encode(first, PREFIX.encode())
    assert HelloPrefix.decode_first(raw + b"pad") == (first, PREFIX)
    with pytest.raises(DecodeError):
        decode_part(raw)
    with pytest.raises(DecodeError):
        HelloPrefix.decode_first(encode(replace(first, index=1, offset=4, fragment=b"abcdef")))
    with pytest.raises(DecodeError):
        HelloPrefix.decode_first(encode(replace(first, kind=PartKind.FINISH)))


@pytest.mark.spec("HB-3")
def test_aux_tlvs_stand_once_each() -> None:
    prefix = replace(PREFIX, cookie=b"c" * 32, ticket=(b"t" * 16, b"enc"), retry_of=b"r" * 32)
    raw = prefix.encode()
    assert raw[10:15].hex() == "005c010020" and len(raw) == 12 + 35 + 22 + 35
    body = Part(PartKind.HELLO, 0, 1, 1, 0, b"x")
    assert HelloPrefix.decode_first(encode(body, raw)) == (body, prefix)
    head = PREFIX.encode()[:10]
    cookie = b"\x01\x00\x20" + b"c" * 32
    unknown = b"\x09\x00\x01?"
    for aux, known in (
        (cookie + unknown, True),
        (cookie + cookie, False),
        (unknown + cookie, False),
        (cookie[:-1], False),
        (b"\x01\x00\x21" + b"c" * 33, False),
        (b"\x01\x00\x1f" + b"c" * 31, False),
        (b"\x02\x00\x0f" + b"t" * 15, False),
    ):
        raw = encode(body, head + len(aux).to_bytes(2, "big") + aux)
        if known:
            assert HelloPrefix.decode_first(raw)[1] == replace(PREFIX, cookie=b"c" * 32)
        else:
            with pytest.raises(DecodeError):
                HelloPrefix.decode_first(raw)


@pytest.mark.spec("HB-2")
@pytest.mark.parametrize(
    "raw",
    [
        "00 12 000a 0006 0004 61626364",
        "07 12 000a 0006 0004 61626364",
        "02 22 000a 0006 0004 61626364",
        "02 10 000a 0006 0004 61626364",
        "02 12 000a 0000 0004 61626364",
        "02 12 000a 0006 0005 6162636465",
        "02 12 000a 0006 0003 616263",
        "02 12 000a 000a 0000",
        "02 02 000a 0001 0004 61626364",
        "02 02 000a 0000 000a 61616161616161616161",
        "02 01 000a 0000 0004 61626364",
        "02 12 000a 0006 0004 616263",
    ],
)
def test_a_part_that_cannot_be_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        decode_part(bytes.fromhex(raw))


def test_an_empty_body_has_one_empty_part() -> None:
    p = Part(PartKind.RETRY_FULL, 0, 1, 0, 0, b"")
    assert decode_part(encode(p)) == p
    for index, total in ((1, 1), (0, 16), (0, 0)):
        with pytest.raises(ValueError):
            encode(replace(p, index=index, total=total))


@pytest.mark.spec("HB-2")
def test_reassembly_takes_any_order_and_repeats() -> None:
    parts = [part(0, 3, 0, b"abc"), part(1, 3, 3, b"def"), part(2, 3, 6, b"ghij")]
    for order in ((0, 1, 2), (2, 0, 1), (1, 1, 0, 2, 2)):
        reassembler = Reassembler(PartKind.RESPONSE)
        for i in order:
            assert not reassembler.is_complete
            with pytest.raises(ValueError):
                reassembler.body()
            reassembler.add(parts[i])
            if i == order[-1]:
                break
        assert reassembler.is_complete and reassembler.body() == b"abcdefghij"


@pytest.mark.spec("HB-2")
def test_a_part_that_does_not_fit_the_others_changes_nothing() -> None:
    reassembler = Reassembler(PartKind.RESPONSE)
    reassembler.add(part(0, 2, 0, b"abc"))
    for wrong in (
        part(1, 2, 4, b"efghij"),
        part(1, 2, 2, b"cdefghij"),
        part(1, 3, 3, b"def"),
        part(1, 2, 3, b"defghijk", body=11),
        replace(part(1, 2, 3, b"defghij"), kind=PartKind.HELLO),
    ):
        with pytest.raises(DecodeError):
            reassembler.add(wrong)
    reassembler.add(part(0, 2, 0, b"XYZ"))
    reassembler.add(part(1, 2, 3, b"defghij"))
    assert reassembler.body() == b"abcdefghij"
    backwards = Reassembler(PartKind.RESPONSE)
    backwards.add(part(1, 2, 3, b"defghij"))
    with pytest.raises(DecodeError):
        backwards.add(part(0, 2, 0, b"ab"))


@pytest.mark.spec("HB-6")
def test_transport_parameters() -> None:
    raw = PARAMS.encode()
    assert raw.hex() == "001e05c0001900100000001800000080"
    for wrong in (
        {"idle_s": 0},
        {"max_udp": 1199},
        {"max_ack_delay_ms": 1001},
        {"max_streams": 16_385},
        {"stream_window": 1 << 32},
    ):
        with pytest.raises(ValueError):
            TransportParams(**wrong)
    for at, value in ((0, "0000"), (2, "04af"), (4, "03e9"), (14, "4001")):
        changed = bytearray(FinishPayload(None, b"h" * 32, PARAMS).encode())
        changed[-16 + at : -14 + at if at < 14 else None] = bytes.fromhex(value)
        with pytest.raises(DecodeError):
            FinishPayload.decode(changed)


HELLO = HelloPayload((2,), (1, 2), (Extension(1), Extension(0x10, b"\xff\xff")))
RESPONSE = ResponsePayload(IDENT, (Extension(1),), PARAMS, 99)
FINISH = FinishPayload(IDENT, b"h" * 32, PARAMS, 2)


@pytest.mark.spec("HB-4")
def test_payloads_are_tlvs_ascending_by_type() -> None:
    assert HELLO.encode().hex() == ("01000102020002010203000a0001000000100002ffff")
    assert RESPONSE.encode().hex() == (
        "10"
        "0068" + IDENT.hex() + "11"
        "0004"
        "00010000"
        "13"
        "0008"
        "0000000000000063"
        "14"
        "0010" + PARAMS.encode().hex()
    )
    assert FINISH.encode().hex() == (
        "100068" + IDENT.hex() + "120020" + "68" * 32
        + "140010" + PARAMS.encode().hex() + "20000102"
    )  # fmt: skip
    assert len(RESPONSE.encode()) - len(encode_extensions((Extension(1),))) == 107 + 3 + 11 + 19
    for payload in (HELLO, RESPONSE, FINISH, replace(FINISH, ident=None, ticket_request=None)):
        assert type(payload).decode(payload.encode()) == payload
        unknown = replace(payload, unknown=((0x05, b"?"), (0x7F, b"")))
        assert type(payload).decode(unknown.encode()) == unknown


@pytest.mark.spec("HB-4", "HB-5")
def test_a_payload_with_a_tlv_twice_missing_or_of_another_size_is_refused() -> None:
    def tlvs(raw: bytes) -> list[bytes]:
        out = []
        while raw:
            n = 3 + int.from_bytes(raw[1:3], "big")
            out.append(raw[:n])
            raw = raw[n:]
        return out

    for payload, optional in ((HELLO, ()), (RESPONSE, ()), (FINISH, (0x10, 0x20))):
        pieces = tlvs(payload.encode())
        decode = type(payload).decode
        for i, piece in enumerate(pieces):
            for wrong in (
                [*pieces[:i], piece, piece, *pieces[i + 1 :]],
                pieces[:i] + pieces[i + 1 :] + [piece] if i + 1 < len(pieces) else None,
                None if piece[0] in optional else pieces[:i] + pieces[i + 1 :],
            ):
                if wrong is not None:
                    with pytest.raises(DecodeError):
                        decode(b"".join(wrong))
            if piece[0] not in (1, 2):
                longer = piece[:1] + (len(piece) - 2).to_bytes(2, "big") + piece[3:] + b"\x00"
                with pytest.raises(DecodeError):
                    decode(b"".join([*pieces[:i], longer, *pieces[i + 1 :]]))
        raw = payload.encode()
        for end in range(1, len(raw)):
            if raw[:end] not in [b"".join(pieces[:i]) for i in range(len(pieces))]:
                with pytest.raises(DecodeError):
                    decode(raw[:end])


def test_at_most_four_tickets() -> None:
    with pytest.raises(ValueError):
        replace(FINISH, ticket_request=5).encode()
    with pytest.raises(DecodeError):
        FinishPayload.decode(FINISH.encode()[:-1] + b"\x05")
    with pytest.raises(ValueError):
        replace(FINISH, unknown=((0x12, b""),)).encode()
    assert "hhhh" not in repr(FINISH)


@pytest.mark.spec("HB-7")
def test_unsupported_has_two_lists_and_at_most_16_bytes() -> None:
    body = Unsupported((2,), (1, 2, 4))
    assert body.encode().hex() == "010203010204"
    assert Unsupported.decode(body.encode()) == body
    assert Unsupported.decode(b"\x00\x00") == Unsupported((), ())
    for raw in ("", "01", "0102", "010203", "01020301", "0100020102ff", "00" * 17):
        with pytest.raises(DecodeError):
            Unsupported.decode(bytes.fromhex(raw))
    with pytest.raises(ValueError):
        Unsupported((2,), tuple(range(14))).encode()


@pytest.mark.spec("HB-8")
def test_extension_lists() -> None:
    entries = (Extension(ExtensionId.DATAGRAM, b"\xff\xff"), Extension(0xBEEF))
    raw = encode_extensions(entries)
    assert raw.hex() == "00100002ffffbeef0000"
    assert decode_extensions(raw) == entries and decode_extensions(b"") == ()
    with pytest.raises(ValueError):
        encode_extensions((Extension(1), Extension(1)))
    for wrong in ("0001000000010000", "0001", "000100", "000100016162", "0001000261"):
        with pytest.raises(DecodeError):
            decode_extensions(bytes.fromhex(wrong))


def test_grease_is_recognised_and_no_extension_is_grease() -> None:
    rng = SeededRng(b"grease")
    drawn = {grease(rng).id for _ in range(400)}
    assert drawn == {n << 12 | 0x0A00 | n << 4 | 0x0A for n in range(16)}
    assert all(is_grease(id_) for id_ in drawn)
    assert not any(is_grease(id_) for id_ in ExtensionId)
