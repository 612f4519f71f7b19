"""The operating system's randomness behind two doors."""

from __future__ import annotations

import os

import pytest

from wraith.aio.clock import SystemClock
from wraith.aio.entropy import OsRng


@pytest.mark.parametrize("n", [0, 1, 31, 8191, 8192, 8193, 100_000])
def test_sizes_are_exact(n: int) -> None:
    rng = OsRng()
    assert len(rng.public_bytes(n)) == n
    assert len(rng.secret_bytes(n)) == n


def test_public_bytes_never_repeat_across_refills() -> None:
    rng = OsRng()
    drawn = [rng.public_bytes(240) for _ in range(10_000)]  # several refills, several keys
    assert len(set(drawn)) == 10_000


def test_secret_bytes_never_come_from_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = os.urandom

    def counted(n: int) -> bytes:
        calls.append(n)
        return real(n)

    monkeypatch.setattr(os, "urandom", counted)
    rng = OsRng()
    rng.public_bytes(8)
    rng.public_bytes(8)
    assert calls == [32], "public bytes are the stream of a key"
    rng.secret_bytes(32)
    rng.secret_bytes(32)
    assert calls == [32, 32, 32]


def test_a_forked_child_does_not_share_what_was_read_ahead() -> None:
    rng = OsRng()
    rng.public_bytes(1)
    ahead = rng._buffer
    rng.forget()
    assert rng.public_bytes(16) not in ahead
    assert rng.public_bytes(9_000)[:64] not in ahead and rng._buffer[:2000] not in ahead


def test_the_clock_is_the_calendar() -> None:
    assert SystemClock().unix_time() > 1_700_000_000
