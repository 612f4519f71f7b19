"""Handshake datagrams look like uniform random bytes of uniform sizes, in thousands of handshakes.

Seeds are fixed, so each figure is the same in every run; bounds are five standard deviations or
more, which chance alone passes in all but one seed of a million.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from math import sqrt

import pytest

from wraith.testing.stages import StagedHandshake
from wraith.wire.handshake import DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN

HEAD_BYTES = 64
SIGMAS = 5.0
N_QUICK, N_SLOW = 2_000, 10_000
N_ANSWERED = 250
"""Of these handshakes the responder's part is run too; the first flight is what censors look at."""

KINDS = ("HELLO/0", "HELLO/1", "RESPONSE/0", "RESPONSE/1", "FINISH")
Flights = dict[str, list[bytes]]


@cache
def flights(n: int) -> Flights:
    """Datagrams of ``n`` handshakes by kind, of 40 connects with many attempts each."""
    seen: Flights = {kind: [] for kind in KINDS}
    n_connects = 40
    answered_each = max(N_ANSWERED * n // N_QUICK // n_connects, 1)
    for number in range(n_connects):
        run = StagedHandshake(seed=str(number))
        for attempt in range(n // n_connects):
            waiting = run.attempt()
            seen["HELLO/0"].append(waiting.datagrams[0])
            seen["HELLO/1"].append(waiting.datagrams[1])
            if attempt < answered_each:
                answered = run.answer(run.hello(waiting.datagrams))
                first, second = answered.response(0.0)
                seen["RESPONSE/0"].append(first)
                seen["RESPONSE/1"].append(second)
                waiting.receive(first)
                waiting.receive(second)
                seen["FINISH"].append(waiting.finish(rtt_sample_s=None).datagram())
    return seen


def chi_square(counts: Sequence[int], expected: Sequence[float]) -> float:
    """Pearson's statistic as standard deviations above its mean."""
    statistic = sum((c - e) ** 2 / e for c, e in zip(counts, expected, strict=True))
    freedom = len(counts) - 1
    return (statistic - freedom) / sqrt(2 * freedom)


def check_bytes(datagrams: list[bytes]) -> None:
    """Each of the first 64 positions: byte values, single bits, and runs along the datagram."""
    n = len(datagrams)
    for at in range(HEAD_BYTES):
        column = bytes(datagram[at] for datagram in datagrams)
        found = Counter(byte >> 4 for byte in column), Counter(byte & 15 for byte in column)
        for counts in found:
            assert chi_square([counts[v] for v in range(16)], [n / 16] * 16) < SIGMAS, at
        for bit in range(8):
            ones = sum(byte >> bit & 1 for byte in column)
            assert abs(ones - n / 2) < SIGMAS * sqrt(n) / 2, (at, bit)
    whole = Counter(byte for datagram in datagrams for byte in datagram[:HEAD_BYTES])
    expected = n * HEAD_BYTES / 256
    assert chi_square([whole[v] for v in range(256)], [expected] * 256) < SIGMAS
    n_bits = 8 * HEAD_BYTES
    n_changes = 0
    for datagram in datagrams:
        head = int.from_bytes(datagram[:HEAD_BYTES], "big")
        n_changes += ((head ^ head >> 1) & ((1 << n_bits - 1) - 1)).bit_count()
    trials = n * (n_bits - 1)
    assert abs(n_changes - trials / 2) < SIGMAS * sqrt(trials) / 2


def check_shared_blocks(all_datagrams: Iterator[bytes]) -> None:
    """No 8-byte block at a position divisible by 4 occurs twice, in whatever datagrams."""
    seen: set[bytes] = set()
    n_blocks = 0
    for datagram in all_datagrams:
        blocks = [datagram[at : at + 8] for at in range(0, len(datagram) - 7, 4)]
        n_blocks += len(blocks)
        seen.update(blocks)
    assert len(seen) == n_blocks


@pytest.mark.spec("HS-3")
@pytest.mark.parametrize("kind", KINDS)
def test_first_bytes_are_uniform(kind: str) -> None:
    datagrams = flights(N_QUICK)[kind]
    assert len(datagrams) >= (N_QUICK if kind.startswith("HELLO") else 200)
    check_bytes(datagrams)


def size_law(least_sum: int) -> list[float]:
    """The probability of each size of one of two datagrams, both uniform and drawn again until
    they are ``least_sum`` together."""
    low, high = DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX
    ways = [max(0, high - max(low, least_sum - size) + 1) for size in range(low, high + 1)]
    return [way / sum(ways) for way in ways]


def check_sizes(sizes: list[int], law: list[float]) -> None:
    step = 25
    counts = [0] * -(-len(law) // step)
    for size in sizes:
        counts[(size - DATAGRAM_BYTES_MIN) // step] += 1
    expected = [len(sizes) * sum(law[i * step : (i + 1) * step]) for i in range(len(counts))]
    kept = [i for i, e in enumerate(expected) if e >= 1]
    assert sum(counts[i] for i in range(len(counts)) if i not in kept) <= 5
    assert chi_square([counts[i] for i in kept], [expected[i] for i in kept]) < SIGMAS


@pytest.mark.spec("HS-10")
@pytest.mark.parametrize("kind", KINDS)
def test_sizes_follow_the_law_of_the_draw(kind: str) -> None:
    seen = flights(N_QUICK)
    sizes = [len(datagram) for datagram in seen[kind]]
    assert min(sizes) >= DATAGRAM_BYTES_MIN and max(sizes) <= DATAGRAM_BYTES_MAX
    if kind == "FINISH":
        check_sizes(sizes, [1 / 601] * 601)
        return
    flight = kind.split("/")[0]
    pairs = zip(seen[f"{flight}/0"], seen[f"{flight}/1"], strict=True)
    least = min(len(first) + len(second) for first, second in pairs)
    check_sizes(sizes, size_law(least))


@pytest.mark.spec("HS-11")
def test_no_two_datagrams_share_eight_bytes() -> None:
    seen = flights(N_QUICK)
    run = StagedHandshake(seed="again")
    answered = run.answer(run.hello(run.waiting.datagrams))
    repeats = [*run.waiting.datagrams, *(d for _ in range(4) for d in answered.response(0.0))]
    repeats += [d for _ in range(4) for d in run.waiting.tail_again()]
    for part in answered.response(0.0):
        run.waiting.receive(part)
    confirmation = run.waiting.finish(rtt_sample_s=None)
    repeats += [confirmation.datagram() for _ in range(6)]
    check_shared_blocks(datagram for kind in (*seen.values(), repeats) for datagram in kind)


def test_a_biased_byte_is_noticed() -> None:
    fair = flights(N_QUICK)["HELLO/0"]
    biased = [bytes((datagram[0] & 0x7F,)) + datagram[1:] for datagram in fair]
    with pytest.raises(AssertionError):
        check_bytes(biased)


def test_a_counter_in_the_padding_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        check_shared_blocks(iter([bytes(range(100)), b"\0" * 4 + bytes(range(8))]))


def test_sizes_with_a_floor_are_noticed() -> None:
    sizes = [max(len(datagram), 650) for datagram in flights(N_QUICK)["HELLO/0"]]
    with pytest.raises(AssertionError):
        check_sizes(sizes, size_law(1_364))


@pytest.mark.slow
@pytest.mark.spec("HS-3", "HS-10", "HS-11")
def test_ten_thousand_handshakes() -> None:
    seen = flights(N_SLOW)
    for kind in KINDS:
        check_bytes(seen[kind])
    check_shared_blocks(datagram for kind in seen.values() for datagram in kind)
