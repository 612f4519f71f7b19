"""The word stream and its unbiased bounds."""

from __future__ import annotations

from collections import Counter

import pytest

from wraith.crypto.drbg import ChaCha20Words
from wraith.crypto.kdf import Label, derive_key

pytestmark = pytest.mark.spec("CR-4")


def test_first_words_of_a_published_seed() -> None:
    words = ChaCha20Words(derive_key(Label.WIRE_FORMAT, b"\x42" * 32))
    assert [words.next_u32() for _ in range(3)] == [0xC71BEC48, 0x80443DD4, 0x0D7D3C95]


def test_the_zero_seed_gives_the_published_keystream() -> None:
    words = ChaCha20Words(bytes(32))
    # RFC 8439 A.1, test vector 1 (block 0) and 2 (block 1), read as little-endian words.
    first = [words.next_u32() for _ in range(16)]
    assert first[0] == 0xADE0B876
    assert b"".join(w.to_bytes(4, "little") for w in first).hex().startswith("76b8e0ada0f13d90")
    second = b"".join(words.next_u32().to_bytes(4, "little") for _ in range(16))
    assert second.hex().startswith("9f07e7be5551387a")


class Scripted(ChaCha20Words):
    def __init__(self, *words: int) -> None:
        super().__init__(bytes(32))
        self._script = list(words)

    def next_u32(self) -> int:
        return self._script.pop(0)


def test_a_word_in_the_biased_tail_is_drawn_again() -> None:
    bound = 2**32 // 9 * 9
    assert Scripted(bound, 2**32 - 1, 17).below(9) == 17 % 9
    assert Scripted(bound - 1).below(9) == 8


def test_below_covers_its_range_evenly() -> None:
    words = ChaCha20Words(bytes(32))
    counts = Counter(words.below(9) for _ in range(9_000))
    assert sorted(counts) == list(range(9))
    assert sum((n - 1_000) ** 2 / 1_000 for n in counts.values()) < 26  # chi-squared, p = 0.001


@pytest.mark.parametrize("n", [0, -1, 2**32 + 1])
def test_an_impossible_bound_is_refused(n: int) -> None:
    with pytest.raises(ValueError):
        ChaCha20Words(bytes(32)).below(n)


def test_a_short_seed_is_refused() -> None:
    with pytest.raises(ValueError):
        ChaCha20Words(bytes(31))
