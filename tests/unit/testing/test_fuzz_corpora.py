"""The committed seeds of the fuzz programs, as they are and mutated a little; and that the targets
would notice a defect."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.errors import DecodeError
from wraith.testing import fuzz_targets
from wraith.testing.fuzz_targets import frames, handshake, links, transfer
from wraith.testing.fuzzing import Target, mutate, replay_corpus
from wraith.testing.ws_fuzz import websocket
from wraith.transfer.listing import decode_page
from wraith.wire.extensions import decode_extensions
from wraith.wire.frames import decode_frames

CORPORA = Path(__file__).parents[2] / "fuzz" / "corpus"
TARGETS = [frames, handshake, links, transfer, websocket]


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


def some_frames(chance: random.Random) -> bytes:
    """Headers that are right as a rule, bodies that are anything."""
    out = bytearray()
    for _ in range(chance.randrange(1, 6)):
        body = chance.randbytes(chance.choice((0, 2, 4, 8, 12, 16, 40)))
        length = len(body) if chance.random() < 0.9 else chance.randrange(60)
        kind = chance.choice((1, 8, chance.randrange(0x20), chance.randrange(0x20, 0x40)))
        out += struct.pack(">BBH", kind, chance.randrange(4), length) + body
    return bytes(out)


def some_extensions(chance: random.Random) -> bytes:
    kinds = sorted(chance.sample(range(0x40), chance.randrange(1, 6)))
    out = bytearray()
    for kind in kinds:
        body = chance.randbytes(chance.randrange(20))
        length = len(body) if chance.random() < 0.9 else chance.randrange(30)
        out += struct.pack(">HH", kind | chance.choice((0, 0x8000)), length) + body
    return bytes(out)


def some_entries(chance: random.Random) -> bytes:
    out = bytearray()
    for _ in range(chance.randrange(1, 4)):
        kind = chance.choice((1, 2, 3, chance.randrange(6)))
        path = bytes(chance.choices(b"ab/.\xff\0 ", k=chance.randrange(1, 8)))
        link = b"to" if kind == 3 and chance.random() < 0.9 else b""
        size = chance.getrandbits(chance.choice((0, 8, 64))) if kind == 1 else 0
        mode = 0 if kind == 3 else chance.choice((0o644, 0o7777, chance.getrandbits(16)))
        times = chance.getrandbits(63)
        out += struct.pack(">BHqQHH", kind, mode, times, size, len(path), len(link)) + path + link
    return bytes(out)


@pytest.mark.parametrize(
    ("target", "some", "decode"),
    [
        (frames, some_frames, decode_frames),
        (handshake, some_extensions, decode_extensions),
        (transfer, some_entries, decode_page),
    ],
)
def test_what_looks_right_is_a_value_or_a_refusal(
    target: Target,
    some: Callable[[random.Random], bytes],
    decode: Callable[[bytes], object],
) -> None:
    n, values = 600, 0
    for seed in range(n):
        data = some(random.Random(seed))
        target(data)
        with suppress(DecodeError):
            decode(data)
            values += 1
    assert n // 20 <= values <= n * 19 // 20, "both sides of the first check are tried"


@given(st.binary(max_size=400))
def test_noise_raises_nothing_that_is_not_documented(data: bytes) -> None:
    for target in TARGETS:
        target(data)


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
