"""Sizes of handshake datagrams: in range, not fixed, and always enough for the body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.flight import (
    DATAGRAM_BYTES_MAX,
    DATAGRAM_BYTES_MIN,
    PAD_BYTES_MIN,
    PART_OVERHEAD,
    cut,
    draw_sizes,
    redraw_size,
    uniform,
)
from wraith.testing.rng import SeededRng


@pytest.mark.spec("HS-10")
@given(st.integers(1, 6_000), st.integers(0, 150), st.integers())
def test_sizes_are_in_range_and_hold_the_body(body_bytes: int, extra: int, seed: int) -> None:
    body = bytes(i & 255 for i in range(body_bytes))
    sizes = draw_sizes(SeededRng(seed), body_bytes, extra)
    fragments = cut(body, sizes, extra)
    assert all(DATAGRAM_BYTES_MIN <= size <= DATAGRAM_BYTES_MAX for size in sizes)
    assert b"".join(fragment for _, fragment in fragments) == body
    at = 0
    for i, (size, (offset, fragment)) in enumerate(zip(sizes, fragments, strict=True)):
        assert offset == at and fragment
        room = size - PART_OVERHEAD - (extra if i == 0 else 0)
        assert len(fragment) + PAD_BYTES_MIN <= room
        at += len(fragment)


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
@given(st.integers(1, 1_150), st.integers())
def test_a_part_sealed_again_has_room_for_fresh_padding(fragment_bytes: int, seed: int) -> None:
    size = redraw_size(SeededRng(seed), fragment_bytes)
    assert max(DATAGRAM_BYTES_MIN, fragment_bytes + PART_OVERHEAD + 8) <= size
    assert size <= DATAGRAM_BYTES_MAX


def test_bounds_of_a_draw_are_reached() -> None:
    rng = SeededRng(2)
    assert {uniform(rng, 3, 5) for _ in range(100)} == {3, 4, 5}


def test_a_body_without_a_flight_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="flight"):
        draw_sizes(SeededRng(1), 20_000)
