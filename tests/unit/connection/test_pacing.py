"""The token bucket between the congestion window and the wire."""

from __future__ import annotations

import pytest

from wraith.connection.pacing import Pacer


@pytest.mark.spec("RC-11")
def test_a_burst_is_ten_datagrams_on_a_slow_path() -> None:
    pacer = Pacer(1200, 0.0)
    pacer.update(100_000, 0.1, 1200)
    assert pacer.burst == 12_000
    assert pacer.budget(100.0) == 12_000


@pytest.mark.spec("RC-11")
def test_a_burst_is_a_millisecond_on_a_fast_path() -> None:
    pacer = Pacer(1200, 0.0)
    pacer.update(10_000_000, 0.01, 1200)
    assert pacer.burst == pytest.approx(1.25 * 10_000_000 / 0.01 * 0.001)


def test_over_time_the_rate_is_one_and_a_quarter_windows_per_round_trip() -> None:
    pacer = Pacer(1200, 0.0)
    pacer.update(120_000, 0.1, 1200)
    now, sent = 0.0, 0
    pacer.on_sent(pacer.budget(now), now)
    while now < 1.0:
        now = pacer.next_time(now, 6_000) + 1e-9
        budget = pacer.budget(now)
        pacer.on_sent(budget, now)
        sent += budget
    assert sent == pytest.approx(1_500_000, rel=0.02)


def test_waiting_for_more_than_a_burst_waits_for_a_burst() -> None:
    pacer = Pacer(1200, 0.0)
    pacer.update(120_000, 0.1, 1200)
    pacer.on_sent(12_000, 0.0)
    due = pacer.next_time(0.0, 10**9)
    assert due == pytest.approx(12_000 / 1_500_000)
    assert pacer.next_time(due, 10**9) == pytest.approx(due)
