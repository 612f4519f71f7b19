"""Sizes of handshake datagrams: in range, not fixed, and always enough for the body."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.handshake.flight import (
    PAD_BYTES_MIN,
    REPRESENTATIVE_BYTES,
    VEIL_TAG_BYTES,
    cut,
    draw_sizes,
    redraw_size,
    uniform,
)
from wraith.testing.rng import SeededRng
from wraith.wire.handshake import (
    DATAGRAM_BYTES_MAX,
    DATAGRAM_BYTES_MIN,
    HelloPrefix,
    Part,
    PartKind,
    Reassembler,
    decode_part,
)


@pytest.mark.spec("HS-10")
@given(st.integers(1, 6_000), st.booleans(), st.integers())
def test_sizes_are_in_range_and_hold_the_body(body_bytes: int, is_hello: bool, seed: int) -> None:
    body = bytes(i & 255 for i in range(body_bytes))
    prefix = HelloPrefix(0, 2, 1, cookie=bytes(32)) if is_hello else None
    extra = REPRESENTATIVE_BYTES + len(prefix.encode()) if prefix is not None else 0
    sizes = draw_sizes(SeededRng(seed), body_bytes, extra)
    parts = cut(PartKind.HELLO, body, sizes, prefix)
    assert all(DATAGRAM_BYTES_MIN <= size <= DATAGRAM_BYTES_MAX for size in sizes)
    together = Reassembler(PartKind.HELLO)
    for i, (size, part) in enumerate(zip(sizes, parts, strict=True)):
        representative = REPRESENTATIVE_BYTES if is_hello and i == 0 else 0
        assert len(part) + VEIL_TAG_BYTES + PAD_BYTES_MIN + representative <= size
        first = is_hello and i == 0
        together.add(HelloPrefix.decode_first(part)[0] if first else _decode(part))
    assert together.body() == body


def _decode(plaintext: bytes) -> Part:
    if plaintext[1] >> 4:
        return decode_part(plaintext)
    # A hello without its prefix cannot be told from one with it; other kinds are cut alike.
    return replace(decode_part(bytes([PartKind.RESPONSE]) + plaintext[1:]), kind=PartKind.HELLO)


@pytest.mark.spec("HS-10")
def test_neither_sizes_nor_the_split_are_fixed() -> None:
    rng = SeededRng(1)
    drawn = [draw_sizes(rng, 1224, 44) for _ in range(200)]
    assert len({sizes[0] for sizes in drawn}) > 100
    assert len({sizes[1] for sizes in drawn}) > 100
    assert {len(sizes) for sizes in drawn} == {2}


def test_a_short_body_is_one_datagram() -> None:
    assert len(draw_sizes(SeededRng(1), 229)) == 1


@pytest.mark.spec("HS-11")
@given(st.integers(9, 1_160), st.integers())
def test_a_part_sealed_again_has_room_for_fresh_padding(part_bytes: int, seed: int) -> None:
    size = redraw_size(SeededRng(seed), part_bytes)
    assert max(DATAGRAM_BYTES_MIN, part_bytes + VEIL_TAG_BYTES + 8) <= size <= DATAGRAM_BYTES_MAX


@pytest.mark.spec("HS-11")
def test_the_fullest_part_still_gets_its_padding() -> None:
    rng, fullest = SeededRng(3), DATAGRAM_BYTES_MAX - VEIL_TAG_BYTES - PAD_BYTES_MIN
    assert {redraw_size(rng, fullest) for _ in range(40)} == {DATAGRAM_BYTES_MAX}


def test_bounds_of_a_draw_are_reached() -> None:
    rng = SeededRng(2)
    assert {uniform(rng, 3, 5) for _ in range(100)} == {3, 4, 5}


def test_a_body_without_a_flight_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="flight"):
        draw_sizes(SeededRng(1), 20_000)
