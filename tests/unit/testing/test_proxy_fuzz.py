"""The committed answers of proxies, as they are, mutated and drawn; and that the targets would
notice a defect."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.aio.transports import proxy
from wraith.connection.roads.proxies import ProxyScheme, ProxyUrl
from wraith.testing.fuzzing import Target, mutate, replay_corpus
from wraith.testing.proxy_fuzz import OPEN, TARGETS, WAITS, converse, http_reply, socks_reply

CORPORA = Path(__file__).parents[2] / "fuzz" / "corpus"
WHOLE = 1 << 20


@pytest.mark.spec("PX-6")
@pytest.mark.parametrize("target", TARGETS)
def test_corpus_is_replayed(target: Target) -> None:
    assert replay_corpus(target, CORPORA / target.__name__) >= 20


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_answers_open_fail_or_are_waited_for(target: Target) -> None:
    seeds = [file.read_bytes() for file in sorted((CORPORA / target.__name__).iterdir())]
    chance = random.Random(20260102)
    for _ in range(400):
        target(mutate(chance.choice(seeds), chance))


@given(st.binary(max_size=400))
def test_noise_raises_nothing_but_refusals(data: bytes) -> None:
    for beginning in (b"", b"HTTP/1.1 ", b"\x05\x00\x05\x00\x00", b"\x05\x02\x01\x00\x05\x00\x00"):
        for target in TARGETS:
            target(beginning + data)


@pytest.mark.parametrize("scheme", list(ProxyScheme))
def test_all_outcomes_are_in_the_corpus(scheme: ProxyScheme) -> None:
    url = ProxyUrl(scheme, "proxy.example", 3128, "user", "password")
    outcomes = {
        converse(url, file.read_bytes(), WHOLE)[0].partition("(")[0]
        for file in (CORPORA / f"{scheme.value.removesuffix('5')}_reply").iterdir()
    }
    reasons = {"proxy-auth", "proxy-refused", "unreachable", "syn-timeout"}
    assert outcomes >= {OPEN, WAITS} | reasons


@pytest.mark.parametrize(
    ("target", "defect"),
    [
        (http_reply, {"_bytes_before_end": lambda head: 5}),  # reads beyond the end
        (http_reply, {"HTTP_HEAD_BYTES_MAX": 1 << 20}),
        (socks_reply, {"_ADDRESS_BYTES": {1: 2_000, 4: 2_000}}),
    ],
)
def test_a_defect_would_be_seen(
    target: Target, defect: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, broken in defect.items():
        monkeypatch.setattr(proxy, name, broken)
    with pytest.raises((AssertionError, ValueError)):
        for seed in sorted((CORPORA / target.__name__).iterdir()):
            target(seed.read_bytes() + bytes(4_000))
