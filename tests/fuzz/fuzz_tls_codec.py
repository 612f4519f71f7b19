"""Fuzzes every decoder of the TLS and libp2p codecs.

    python tests/fuzz/fuzz_tls_codec.py tests/fuzz/corpus/tls_codec
    python tests/fuzz/fuzz_tls_codec.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.libp2p.config import PqPolicy
from wraith.testing.fuzzing import main
from wraith.testing.quic_link import TlsPair
from wraith.testing.tls_fuzz import decode_anything

CORPUS = Path(__file__).parent / "corpus" / "tls_codec"


def samples() -> Iterator[bytes]:
    """Messages of real handshakes, whole and without their headers."""
    yield from (b"", b"\x00", b"\x01\x00\x80\x01")
    for policy in PqPolicy:
        for _, _, message in TlsPair(policy).run().moved:
            yield message
            yield message[4:]


if __name__ == "__main__":
    main(decode_anything, CORPUS, samples)
