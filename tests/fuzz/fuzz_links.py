"""Fuzzes what an accepted link reads: the preface, sealed lengths, records cut anywhere.

    python tests/fuzz/fuzz_links.py tests/fuzz/corpus/links
    python tests/fuzz/fuzz_links.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.connection.links.link import StreamLink
from wraith.connection.links.preface import PREFACE_BYTES, LinkKeys
from wraith.crypto.secret import Secret
from wraith.testing.fuzz_targets import links
from wraith.testing.fuzzing import main

CORPUS = Path(__file__).parent / "corpus" / "links"


def samples() -> Iterator[bytes]:
    """Right streams under the key of the target, and scripts of sizes with a byte to change."""
    key = bytes(range(32))
    for sizes in ((33,), (40, 40, 33), (1400, 1400, 1200), (4000,), (100,) * 20):
        link = StreamLink.dialled(
            LinkKeys(Secret(key), Secret(key), bytes(8)), bytes(PREFACE_BYTES)
        )
        parts = (part for n in sizes for part in link.frame(memoryview(bytes(n)), n))
        yield b"".join(parts)
    for at in (0, 87, 88, 105, 106, 139, 200):
        yield at.to_bytes(2, "big") + bytes(range(0, 224, 7)) + b"\x01"
    yield bytes(PREFACE_BYTES)


if __name__ == "__main__":
    main(links, CORPUS, samples)
