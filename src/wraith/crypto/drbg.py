"""Words from a seed: the ChaCha20 keystream, as ``ChaCha20Rng`` gives it.

For values that both ends must derive alike (wire format, shaping models). Never a source of keys.

Spec: crypto §3 [CR-4]; RFC 8439 §2.4.
"""

from __future__ import annotations

from struct import Struct

import monocypher

_BLOCK_BYTES = 64
_WORDS = Struct("<16I")
# As in ``siv``: with 64-bit counter and 8-byte nonce zero, the keystream equals RFC 8439's.
_NONCE = bytes(8)


class ChaCha20Words:
    """Keystream words with key = ``seed`` (32 bytes), zero nonce, counter from 0."""

    __slots__ = ("_n_blocks", "_seed", "_words")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError("the seed has 32 bytes")
        self._seed = seed
        self._n_blocks = 0
        self._words: list[int] = []

    def next_u32(self) -> int:
        """The next word, little-endian from the keystream."""
        if not self._words:
            # From the start each time: the library takes no counter, and one block mostly suffices.
            skipped = self._n_blocks * _BLOCK_BYTES
            stream = monocypher.chacha20(self._seed, _NONCE, bytes(skipped + _BLOCK_BYTES))
            self._words = list(reversed(_WORDS.unpack_from(stream, skipped)))
            self._n_blocks += 1
        return self._words.pop()

    def below(self, n: int) -> int:
        """A uniform integer in ``0 .. n-1``, ``1 <= n <= 2^32``.

        Words at or above ``floor(2^32 / n) * n`` are drawn again: the remainder has no bias.
        """
        if not 1 <= n <= 1 << 32:
            raise ValueError("n is from 1 to 2^32")
        bound = (1 << 32) // n * n
        while (word := self.next_u32()) >= bound:
            pass
        return word % n
