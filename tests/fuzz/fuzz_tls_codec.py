"""Fuzzes every decoder of the TLS and libp2p codecs.

    python tests/fuzz/fuzz_tls_codec.py tests/fuzz/corpus/tls_codec
    python tests/fuzz/fuzz_tls_codec.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from pathlib import Path

from wraith.libp2p.config import PqPolicy
from wraith.testing.quic_link import TlsPair
from wraith.testing.tls_fuzz import decode_anything

CORPUS = Path(__file__).parent / "corpus" / "tls_codec"


def write_corpus() -> None:
    """Messages of real handshakes, each whole, and its first half."""
    samples: set[bytes] = {b"", b"\x00", b"\x01\x00\x80\x01"}
    for policy in PqPolicy:
        for _, _, message in TlsPair(policy).run().moved:
            samples |= {message, message[: len(message) // 2], message[4:]}
    for sample in samples:
        name = hashlib.sha256(sample).hexdigest()[:16]
        (CORPUS / name).write_bytes(sample)
    print(f"{len(samples)} seeds in {CORPUS}")


def mutate_for(seconds: float, seed: int) -> int:
    """A plain mutation loop; returns how many inputs ran."""
    chance = random.Random(seed)
    seeds = [file.read_bytes() for file in sorted(CORPUS.iterdir())]
    end, runs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 8)):
            where = chance.randint(0, len(data))
            match chance.randint(0, 2):
                case 0 if data:
                    data[where % len(data)] = chance.randint(0, 255)
                case 1:
                    data[where:where] = chance.randbytes(chance.randint(1, 4))
                case _:
                    del data[where : where + chance.randint(1, 16)]
        decode_anything(bytes(data))
        runs += 1
    return runs


def main() -> None:
    if "--write-corpus" in sys.argv:
        CORPUS.mkdir(parents=True, exist_ok=True)
        write_corpus()
        return
    try:
        import atheris  # type: ignore[import-untyped]  # optional, has no types
    except ImportError:
        seed = random.SystemRandom().randint(0, 2**32)
        print(f"atheris is not installed; mutating the corpus for 60 s, seed {seed}")
        print(f"{mutate_for(60.0, seed)} inputs, no defect")
        return
    atheris.instrument_all()
    atheris.Setup(sys.argv, decode_anything)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
