"""The derived layout, its packed form, and the reference codec with its masks."""

from __future__ import annotations

import itertools

import pytest

from wraith.crypto.kdf import Label, derive_key
from wraith.errors import DecodeError
from wraith.wire.format import FieldId, WireField, WireFormatSpec
from wraith.wire.packet import PN_BOUND
from wraith.wire.polymorphic import (
    PacketFields,
    WireCodec,
    decode_hdr,
    encode_hdr,
    mask_cid_form_a,
    mask_cid_form_b,
    mask_hdr,
    sample_of,
)


@pytest.mark.spec("WF-1")
@pytest.mark.parametrize(
    "secret, order, d1, d2",
    [
        (b"\x42" * 32, "CID HDR DUMMY1 PAYLOAD TAG DUMMY2", 0, 7),
        (bytes(32), "HDR DUMMY1 CID TAG DUMMY2 PAYLOAD", 4, 3),
        (bytes(range(32)), "DUMMY1 HDR CID TAG DUMMY2 PAYLOAD", 8, 6),
    ],
)
def test_published_layouts(secret: bytes, order: str, d1: int, d2: int) -> None:
    spec = WireFormatSpec.derive(secret)
    assert " ".join(field.id.name for field in spec.fields) == order
    assert (spec.d1, spec.d2, spec.fixed_overhead) == (d1, d2, 29 + d1 + d2)


@pytest.mark.spec("WF-11")
def test_the_packed_form_is_eight_bytes() -> None:
    assert WireFormatSpec.derive(b"\x42" * 32).pack() == bytes((0, 1, 2, 0, 3, 4, 5, 7))
    assert WireFormatSpec.derive(bytes(range(32))).pack() == bytes((2, 1, 0, 8, 4, 5, 3, 6))


@pytest.mark.spec("WF-2", "WF-11")
def test_every_layout_packs_and_its_fields_tile_the_datagram() -> None:
    n = 0
    for front in itertools.permutations((0, 1, 2)):
        for back in itertools.permutations((3, 4, 5)):
            for d1, d2 in itertools.product((0, 1, 8), repeat=2):
                packed = bytes((*front, d1, *back, d2))
                spec = WireFormatSpec.unpack(packed)
                assert spec.pack() == packed and 0 <= spec.cid_offset <= 13
                assert spec == WireFormatSpec(spec.fields) and spec.datagram_bytes_min == (
                    33 + d1 + d2
                )
                offsets = spec.back_offsets(50)
                taken = sorted(
                    [
                        (spec.cid_offset, 8),
                        (spec.hdr_offset, 5),
                        (spec.dummy1_offset, d1),
                        (offsets.payload, 50),
                        (offsets.tag, 16),
                        (offsets.dummy2, d2),
                    ]
                )
                at = 0
                for offset, size in taken:
                    assert offset == at
                    at += size
                assert at == spec.fixed_overhead + 50
                n += 1
    assert n == 36 * 9


@pytest.mark.spec("WF-11")
@pytest.mark.parametrize(
    "packed",
    [
        b"",
        bytes((0, 1, 2, 0, 3, 4, 5)),
        bytes((0, 1, 2, 0, 3, 4, 5, 0, 0)),
        bytes((0, 0, 2, 0, 3, 4, 5, 0)),
        bytes((0, 1, 3, 0, 2, 4, 5, 0)),
        bytes((0, 1, 2, 9, 3, 4, 5, 0)),
        bytes((0, 1, 2, 0, 3, 4, 5, 9)),
        bytes((0, 1, 6, 0, 3, 4, 5, 0)),
    ],
)
def test_what_is_no_layout_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError):
        WireFormatSpec.unpack(packed)


def test_fields_of_a_wrong_size_are_refused() -> None:
    fields = list(WireFormatSpec.derive(bytes(32)).fields)
    for i, field in enumerate(fields):
        wrong = [*fields[:i], WireField(field.id, 9), *fields[i + 1 :]]
        with pytest.raises(ValueError):
            WireFormatSpec(wrong)


@pytest.mark.spec("WF-2")
def test_the_codec_places_fields_in_order() -> None:
    spec = WireFormatSpec.unpack(bytes((2, 1, 0, 2, 5, 4, 3, 1)))
    fields = PacketFields(b"C" * 8, b"H" * 5, b"11", b"PPPPP", b"T" * 16, b"2")
    datagram = WireCodec(spec).encode(fields)
    assert datagram == b"11HHHHHCCCCCCCC2TTTTTTTTTTTTTTTTPPPPP"
    assert WireCodec(spec).decode(datagram) == fields
    with pytest.raises(DecodeError):
        WireCodec(spec).decode(datagram[:-2])
    with pytest.raises(ValueError):
        WireCodec(spec).encode(PacketFields(b"C" * 8, b"H" * 5, b"11", b"P", b"T" * 16, b"2"))
    with pytest.raises(ValueError):
        WireCodec(spec).encode(PacketFields(b"C" * 8, b"H" * 5, b"1", b"P" * 4, b"T" * 16, b"2"))


@pytest.mark.spec("WF-4", "WF-5")
def test_published_masks() -> None:
    hp = derive_key(Label.HEADER_I2R, b"\x42" * 32)
    sample = bytes(range(16))
    cid = bytes.fromhex("0102030405060708")
    assert mask_hdr(hp, sample, bytes(5)).hex() == "2b992e6e7d"
    assert mask_hdr(hp, sample, encode_hdr(1, 7)).hex() == "6b992e6e7a"
    assert mask_cid_form_a(hp, sample, bytes(8)).hex() == "e5716627b5f1cf9c"
    assert mask_cid_form_a(hp, sample, cid).hex() == "e4736523b0f7c894"
    assert mask_cid_form_b(b"\x24" * 32, sample, bytes(8)).hex() == "d96f5e5f0df4a77f"
    assert mask_cid_form_b(b"\x24" * 32, sample, cid).hex() == "d86d5d5b08f2a077"
    assert sample_of(b"x" * 40 + sample) == sample


@pytest.mark.spec("WF-3", "WF-6")
def test_the_header_says_epoch_and_number_and_nothing_else() -> None:
    assert encode_hdr(1, 7).hex() == "4000000007"
    for epoch in range(9):
        assert decode_hdr(encode_hdr(epoch, PN_BOUND - 1)) == (epoch % 4, PN_BOUND - 1)
    for wrong in (
        "0100000000",
        "2000000000",
        "0000200000",
        "00ffffffff",
        "00000000",
        "4000000007ff",
    ):
        with pytest.raises(DecodeError):
            decode_hdr(bytes.fromhex(wrong))
    for pn in (-1, PN_BOUND):
        with pytest.raises(ValueError):
            encode_hdr(0, pn)


def test_field_numbers_are_those_of_the_packed_form() -> None:
    assert [field.value for field in FieldId] == [0, 1, 2, 3, 4, 5]
