"""The committed seeds of MLS's decoders, as they are and mutated; and that the target notices."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.mls import state
from wraith.testing import mls_fuzz
from wraith.testing.fuzzing import mutate, replay_corpus

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus" / "mls"


@pytest.mark.spec("ML-2", "ML-10")
def test_the_corpus_is_replayed() -> None:
    assert replay_corpus(mls_fuzz.mls, CORPUS) >= 60


@pytest.mark.spec("ML-2", "ML-10")
def test_mutated_seeds_are_values_or_refusals() -> None:
    seeds = [file.read_bytes() for file in sorted(CORPUS.iterdir())]
    dice = random.Random(20260101)
    for _ in range(1500):
        mls_fuzz.mls(mutate(dice.choice(seeds), dice))


@given(st.binary(max_size=300))
def test_noise_raises_nothing_that_is_not_documented(data: bytes) -> None:
    mls_fuzz.mls(data)


def test_a_defect_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = max(CORPUS.iterdir(), key=lambda file: file.stat().st_size).read_bytes()
    monkeypatch.setattr(state, "restore", lambda *_, **__: [][0])
    with pytest.raises(IndexError):
        mls_fuzz.mls(seed)


@pytest.mark.spec("ML-2")
def test_every_truncation_of_every_seed_is_refused_or_another_value() -> None:
    for file in sorted(CORPUS.iterdir()):
        data = file.read_bytes()[:200]
        for n in range(len(data)):
            mls_fuzz.mls(data[:n])
