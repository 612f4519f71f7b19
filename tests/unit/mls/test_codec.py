"""The presentation language: one encoding for each value, and no trust in lengths."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.errors import DecodeError
from wraith.mls.codec import MlsReader, decode, length, opaque, optional, vector


@pytest.mark.spec("ML-1")
@pytest.mark.parametrize(
    ("n", "encoded"),
    [(0, "00"), (63, "3f"), (64, "4040"), (16383, "7fff"), (16384, "80004000")],
)
def test_a_length_is_written_in_its_shortest_form_and_read_back(n: int, encoded: str) -> None:
    assert length(n) == bytes.fromhex(encoded)
    assert MlsReader(bytes.fromhex(encoded)).length("x") == n


@pytest.mark.spec("ML-1")
@pytest.mark.parametrize("encoded", ["4000", "403f", "80000000", "80003fff", "c0", "ff"])
def test_a_longer_form_and_the_reserved_prefix_are_refused(encoded: str) -> None:
    with pytest.raises(DecodeError):
        MlsReader(bytes.fromhex(encoded)).length("x")


@pytest.mark.spec("ML-2")
def test_a_vector_that_claims_two_to_the_thirty_allocates_nothing() -> None:
    claims = bytes.fromhex("bfffffff") + b"short"
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            MlsReader(claims).opaque("x")
        with pytest.raises(DecodeError):
            MlsReader(claims).vector(lambda reader: reader.u8("x"), "x", 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_a_length_beyond_the_format_is_the_callers_defect() -> None:
    with pytest.raises(ValueError, match="2\\^30"):
        length(1 << 30)


@pytest.mark.spec("ML-2")
def test_more_elements_than_a_field_may_have_are_refused() -> None:
    data = vector([b"\0"] * 5)
    assert decode(lambda r: r.vector(lambda e: e.u8("x"), "x", 5), data, "x") == (0,) * 5
    with pytest.raises(DecodeError):
        decode(lambda r: r.vector(lambda e: e.u8("x"), "x", 4), data, "x")


@pytest.mark.parametrize("octet", [2, 255])
def test_an_optional_is_there_or_not(octet: int) -> None:
    assert MlsReader(optional(b"a")).present("x") and not MlsReader(optional(None)).present("x")
    with pytest.raises(DecodeError):
        MlsReader(bytes((octet,))).present("x")


@given(st.binary(max_size=300), st.binary(max_size=5))
def test_what_is_written_is_read_and_nothing_may_be_left_over(data: bytes, more: bytes) -> None:
    assert decode(lambda r: r.opaque("x"), opaque(data), "x") == data
    if more:
        with pytest.raises(DecodeError):
            decode(lambda r: r.opaque("x"), opaque(data) + more, "x")
    with pytest.raises(DecodeError):
        decode(lambda r: r.opaque("x"), opaque(data)[:-1], "x")
