"""Reader and Writer: fields in order, and every shortage named."""

from __future__ import annotations

import pytest

from wraith.errors import DecodeError
from wraith.wire.buffer import Reader, Writer


def test_fields_come_back_in_order() -> None:
    raw = Writer().u8(1).u16(2).u32(3).u64(4).raw(b"abc", 3).getvalue()
    assert raw.hex() == "010002000000030000000000000004616263"
    reader = Reader(memoryview(raw))
    assert (reader.u8("a"), reader.u16("b"), reader.u32("c"), reader.u64("d")) == (1, 2, 3, 4)
    assert reader.rest() == b"abc" and reader.remaining == 0
    reader.expect_end("all")


@pytest.mark.parametrize("method, size", [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)])
def test_a_missing_byte_is_named_with_its_place(method: str, size: int) -> None:
    reader = Reader(b"x" * (size + 2))
    reader.take(3, "front")
    with pytest.raises(DecodeError) as caught:
        getattr(reader, method)("field")
    assert (caught.value.what, caught.value.offset) == ("field", 3)
    assert reader.remaining == size - 1, "nothing was taken"


def test_a_sub_reader_ends_where_it_was_told() -> None:
    reader = Reader(b"abcdef")
    inner = reader.sub(2, "inner")
    assert inner.take(2, "ab") == b"ab" and reader.rest() == b"cdef"
    with pytest.raises(DecodeError) as caught:
        inner.u8("more")
    assert caught.value.offset == 2
    with pytest.raises(DecodeError):
        Reader(b"ab").sub(3, "inner")


def test_left_over_bytes_are_refused() -> None:
    reader = Reader(b"ab")
    reader.u8("a")
    with pytest.raises(DecodeError):
        reader.expect_end("all")


def test_a_value_that_does_not_fit_is_the_callers_defect() -> None:
    for value in (-1, 256):
        with pytest.raises(ValueError):
            Writer().u8(value)
    with pytest.raises(ValueError):
        Writer().raw(b"abc", 2)
