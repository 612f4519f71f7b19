"""Inventory against plain sets."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from wraith.content.chunking import CHUNK_BYTES, UNKNOWN_SIZE, Cut
from wraith.content.inventory import Inventory

SIZES = array("Q", [0, 5, CHUNK_BYTES, 3 * CHUNK_BYTES + 7, 0, 10 * CHUNK_BYTES] + [1] * 12)
Steps = st.lists(
    st.tuples(st.integers(1, len(SIZES) - 1), st.integers(0, 9), st.integers(1, 4), st.booleans()),
    max_size=40,
)


@given(Steps)
def test_it_counts_every_chunk_once(steps: list[tuple[int, int, int, bool]]) -> None:
    inventory = Inventory(SIZES)
    plain: dict[int, set[int]] = {}
    for entry, first, n, drops in steps:
        if drops and first == 0:
            inventory.drop(entry)
            plain.pop(entry, None)
            continue
        n = min(n, Cut(SIZES[entry]).n_chunks - first)
        if n <= 0:
            continue
        was_whole = len(plain.get(entry, ())) == Cut(SIZES[entry]).n_chunks
        plain.setdefault(entry, set()).update(range(first, first + n))
        is_whole = len(plain[entry]) == Cut(SIZES[entry]).n_chunks
        assert inventory.add(entry, first, n) == (is_whole and not was_whole)
    held = {entry: chunks for entry, chunks in plain.items() if chunks}
    assert inventory.verified_bytes == sum(
        Cut(SIZES[e]).length(c) for e, chunks in held.items() for c in chunks
    )
    assert list(inventory.held_entries()) == sorted(held)
    for entry in range(len(SIZES)):
        got = {c for first, n in inventory.ranges(entry) for c in range(first, first + n)}
        gaps = {c for first, n in inventory.missing(entry) for c in range(first, first + n)}
        total = set(range(Cut(SIZES[entry]).n_chunks))
        assert got == held.get(entry, set()) and gaps == total - got
        assert all(inventory.holds(entry, c) for c in got)
        assert not any(inventory.holds(entry, c) for c in gaps)
    whole = [e for e, chunks in held.items() if len(chunks) == Cut(SIZES[e]).n_chunks]
    assert inventory.n_complete == len(whole)
    assert inventory.n_wanted == sum(1 for size in SIZES if size)


def test_a_stream_is_complete_only_when_its_bytes_add_up() -> None:
    inventory = Inventory(array("Q", [UNKNOWN_SIZE]))
    inventory.add(0, 0, 1, CHUNK_BYTES)
    inventory.add(0, 1, 1, 100)
    assert inventory.verified_bytes == CHUNK_BYTES + 100
    assert not inventory.is_everything
    assert inventory.set_final_size(0, CHUNK_BYTES + 100)
    assert inventory.is_everything


def test_a_stream_with_a_short_chunk_in_its_middle_never_is() -> None:
    inventory = Inventory(array("Q", [UNKNOWN_SIZE]))
    inventory.add(0, 0, 1, 10)
    inventory.add(0, 1, 1, 10)
    assert not inventory.set_final_size(0, CHUNK_BYTES + 10)


def test_an_empty_stream_is_complete_at_once() -> None:
    inventory = Inventory(array("Q", [UNKNOWN_SIZE]))
    assert inventory.set_final_size(0, 0) and inventory.is_everything


def test_a_million_entries_cost_bits() -> None:
    inventory = Inventory(array("Q", [4096]) * 1_000_000)
    inventory.add_file(999_999)
    inventory.add_file(0)
    assert list(inventory.held_entries()) == [0, 999_999]
    assert inventory.verified_bytes == 8192
