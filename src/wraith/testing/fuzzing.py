"""The program around a fuzz target: atheris where it is installed, plain mutation where not.

Spec: the programs in ``tests/fuzz`` say what they fuzz and keep their seeds beside them.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

Target = Callable[[bytes], None]

SECONDS = 60.0


def write_corpus(corpus: Path, samples: Iterable[bytes]) -> None:
    """Each sample, and its first half, under the name of its digest."""
    corpus.mkdir(parents=True, exist_ok=True)
    whole = set(samples)
    seeds = whole | {sample[: len(sample) // 2] for sample in whole}
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    print(f"{len(seeds)} seeds in {corpus}")


def replay_corpus(target: Target, corpus: Path) -> int:
    """Runs every committed seed; returns how many there are."""
    seeds = sorted(corpus.iterdir())
    for seed in seeds:
        target(seed.read_bytes())
    return len(seeds)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A few changed, inserted or removed bytes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        where = chance.randint(0, len(changed))
        match chance.randint(0, 2):
            case 0 if changed:
                changed[where % len(changed)] = chance.randint(0, 255)
            case 1:
                changed[where:where] = chance.randbytes(chance.randint(1, 4))
            case _:
                del changed[where : where + chance.randint(1, 16)]
    return bytes(changed)


def mutate_for(target: Target, corpus: Path, seconds: float, seed: int) -> int:
    """Runs mutated seeds of the corpus for so long; returns how many."""
    chance = random.Random(seed)
    seeds = [file.read_bytes() for file in sorted(corpus.iterdir())]
    end, runs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        target(mutate(chance.choice(seeds), chance))
        runs += 1
    return runs


def main(target: Target, corpus: Path, samples: Callable[[], Iterable[bytes]]) -> None:
    """The whole program; ``--write-corpus`` renews the seeds from ``samples``."""
    if "--write-corpus" in sys.argv:
        write_corpus(corpus, samples())
        return
    try:
        import atheris  # type: ignore[import-untyped]  # optional, has no types
    except ImportError:
        seed = random.SystemRandom().randint(0, 2**32)
        print(f"atheris is not installed; mutating the corpus for {SECONDS:.0f} s, seed {seed}")
        print(f"{mutate_for(target, corpus, SECONDS, seed)} inputs, no defect")
        return
    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
