"""A proven hello is accepted once, across generations, restarts and clocks that are set back."""

from __future__ import annotations

import pytest

from wraith.connection.handshake.replay_cache import RECORD_BYTES, ReplayCache, encode_record
from wraith.crypto.x25519 import X25519Key
from wraith.testing.rng import SeededRng

AK = X25519Key.generate(SeededRng("ak"))
UNIX = 1_000_000.0


def cache(*, complete: bool = True, entries_max: int = 1_000, now: float = 0.0) -> ReplayCache:
    return ReplayCache(
        AK,
        max_clock_skew_s=60,
        entries_max=entries_max,
        now=now,
        unix_now=UNIX + now,
        complete=complete,
    )


def key(i: int) -> bytes:
    return i.to_bytes(16, "big")


@pytest.mark.spec("HS-30")
def test_an_entry_outlives_the_freshness_of_its_hello() -> None:
    replays = cache()
    # A hello from a clock that is 60 s ahead stays fresh for 120 s.
    assert replays.insert(key(1), int(UNIX + 60), now=119.0)
    assert replays.contains(key(1), 119.0 + 120.0)
    assert not replays.contains(key(1), 119.0 + 241.0)


@pytest.mark.spec("HS-30")
def test_entries_are_keyed_by_the_ephemeral_and_the_access_key() -> None:
    other = ReplayCache(
        X25519Key.generate(SeededRng("other")),
        max_clock_skew_s=60,
        entries_max=1,
        now=0,
        unix_now=UNIX,
        complete=True,
    )
    assert cache().key_of(b"e" * 32) == cache().key_of(b"e" * 32)
    assert cache().key_of(b"e" * 32) != cache().key_of(b"f" * 32)
    assert cache().key_of(b"e" * 32) != other.key_of(b"e" * 32)
    assert len(cache().key_of(b"e" * 32)) == 16


@pytest.mark.spec("HS-31")
def test_a_full_generation_refuses_instead_of_forgetting() -> None:
    replays = cache(entries_max=2)
    assert replays.insert(key(1), int(UNIX), 0.0)
    assert replays.insert(key(2), int(UNIX), 0.0)
    assert not replays.insert(key(3), int(UNIX), 0.0)
    assert replays.contains(key(1), 0.0)
    assert replays.insert(key(3), int(UNIX), 121.0)
    assert replays.contains(key(1), 121.0)


def test_memory_is_two_generations_whatever_comes() -> None:
    replays = cache(entries_max=10)
    for t in range(0, 3_000, 5):
        for i in range(4):
            replays.insert(key(t * 10 + i), int(UNIX + t), float(t))
        assert replays.n_entries <= 20


@pytest.mark.spec("HS-32")
def test_an_incomplete_cache_accepts_only_what_is_younger_than_the_process() -> None:
    replays = cache(complete=False)
    assert not replays.accepts(int(UNIX))
    assert not replays.accepts(int(UNIX + 60))
    assert replays.accepts(int(UNIX + 61))
    assert cache(complete=True).accepts(int(UNIX - 60))


@pytest.mark.spec("HS-32")
def test_loading_the_file_completes_it_and_keeps_what_was_accepted() -> None:
    replays = cache(complete=False)
    replays.load([encode_record(key(1), int(UNIX - 5))], 0.0)
    assert replays.is_complete
    assert replays.accepts(int(UNIX))
    assert replays.contains(key(1), 0.0)


@pytest.mark.spec("HS-32")
def test_a_torn_tail_is_the_end_of_the_file() -> None:
    replays = cache(complete=False)
    records = [encode_record(key(1), int(UNIX)), encode_record(key(2), int(UNIX))[:11]]
    replays.load(records, 0.0)
    assert replays.is_complete
    assert replays.contains(key(1), 0.0) and not replays.contains(key(2), 0.0)


def test_a_file_beyond_the_capacity_leaves_the_cache_incomplete() -> None:
    replays = cache(complete=False, entries_max=2)
    replays.load([encode_record(key(i), int(UNIX)) for i in range(3)], 0.0)
    assert not replays.is_complete


def test_records_of_a_file_restore_the_cache() -> None:
    records = [encode_record(key(1), int(UNIX)), encode_record(key(2), int(UNIX + 130))]
    assert all(len(record) == RECORD_BYTES for record in records)
    restored = cache(complete=False)
    restored.load(records, 0.0)
    assert restored.contains(key(1), 0.0) and restored.contains(key(2), 0.0)


@pytest.mark.spec("HS-30")
def test_a_clock_that_is_set_back_does_not_revive_what_was_forgotten() -> None:
    replays = cache()
    replays.insert(key(1), int(UNIX + 50), 0.0)
    assert not replays.contains(key(1), 500.0)
    # Calendar time jumped back by 500 s: the recording would be fresh again.
    assert not replays.accepts(int(UNIX + 50))
    assert replays.accepts(int(UNIX + 51))


@pytest.mark.parametrize("idle_s", [121.0, 241.0, 10_000.0])
def test_idle_time_turns_generations_over_without_work(idle_s: float) -> None:
    replays = cache()
    replays.insert(key(1), int(UNIX), 0.0)
    assert replays.contains(key(1), idle_s) is (idle_s < 240)
