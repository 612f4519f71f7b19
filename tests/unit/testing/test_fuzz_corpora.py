"""The committed seeds of the fuzz programs, as they are and mutated a little; and that the targets
would notice a defect."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.testing import fuzz_targets
from wraith.testing.fuzz_targets import frames, handshake, transfer
from wraith.testing.fuzzing import Target, mutate, replay_corpus

CORPORA = Path(__file__).parents[2] / "fuzz" / "corpus"
TARGETS = [frames, handshake, transfer]


@pytest.mark.parametrize("target", TARGETS)
def test_corpus_is_replayed(target: Target) -> None:
    assert replay_corpus(target, CORPORA / target.__name__) >= 20


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_seeds_are_values_or_refusals(target: Target) -> None:
    seeds = [file.read_bytes() for file in sorted((CORPORA / target.__name__).iterdir())]
    chance = random.Random(20260101)
    inputs = {mutate(chance.choice(seeds), chance) for _ in range(600)}
    for data in inputs:
        target(data)
    assert len(inputs) > 500, "the mutations differ"


@given(st.binary(max_size=400))
def test_any_bytes_are_values_or_refusals(data: bytes) -> None:
    outcomes = [target(data) for target in TARGETS]
    assert outcomes == [None] * len(TARGETS)


@pytest.mark.parametrize(
    ("target", "decoder"),
    [(frames, "decode_frames"), (handshake, "decode_extensions"), (transfer, "decode_page")],
)
def test_an_undocumented_exception_is_a_defect(
    target: Target, decoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> object:
        raise IndexError("read beyond the end")

    monkeypatch.setattr(fuzz_targets, decoder, broken)
    with pytest.raises(IndexError):
        target(b"any input")


def test_a_value_that_reads_back_differently_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_targets, "encode_extensions", lambda entries: b"")
    with pytest.raises(AssertionError, match="written and read"):
        handshake(b"\0\1\0\0")
