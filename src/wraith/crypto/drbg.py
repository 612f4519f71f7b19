"""Words from a seed: the ChaCha20 keystream, as ``ChaCha20Rng`` gives it.

For values that both ends must derive alike (wire format, shaping models). Never a source of keys.

Spec: crypto §3 [CR-4]; RFC 8439 §2.4.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

_BLOCK = bytes(64)


class ChaCha20Words:
    """Keystream words with key = ``seed`` (32 bytes), zero nonce, counter from 0."""

    __slots__ = ("_stream", "_words")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError("the seed has 32 bytes")
        self._stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()
        self._words: list[int] = []

    def next_u32(self) -> int:
        """The next word, little-endian from the keystream."""
        if not self._words:
            block = self._stream.update(_BLOCK)
            self._words = [int.from_bytes(block[i : i + 4], "little") for i in range(60, -1, -4)]
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
