"""The token bucket between the congestion window and the wire."""

from __future__ import annotations

import pytest

from wraith.connection.paths.pacing import Pacer


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


@pytest.mark.spec("RC-11")
def test_who_comes_late_may_make_up_for_it() -> None:
    pacer = Pacer(1200, 0.0)
    pacer.update(120_000, 0.1, 1200)  # 1.5 MB/s
    pacer.on_sent(12_000, 0.0)
    due = pacer.next_time(0.0, 6_000)
    assert pacer.budget(due + 0.010, due) == pytest.approx(6_000 + 15_000, abs=1)
    # What was not taken then is not saved up.
    assert pacer.budget(due + 0.020) == 12_000


@pytest.mark.spec("RC-11")
def test_nobody_makes_up_for_more_than_25_ms_or_half_a_kernel_burst() -> None:
    for window, most in ((120_000, 12_000 + 37_500), (60_000, 12_000 + 18_750)):
        pacer = Pacer(1200, 0.0)
        pacer.update(window, 0.1, 1200)
        assert pacer.budget(60.0, 1.0) == min(most, 32_768)


def test_a_burst_that_is_larger_by_itself_stays_so() -> None:
    pacer = Pacer(1200, 0.0)
    pacer.update(10_000_000, 0.01, 1200)
    assert pacer.budget(60.0, 1.0) == pacer.burst > 32_768


def test_waiting_for_more_than_a_burst_waits_for_a_burst() -> None:
    pacer = Pacer(1200, 0.0)
    pacer.update(120_000, 0.1, 1200)
    pacer.on_sent(12_000, 0.0)
    due = pacer.next_time(0.0, 10**9)
    assert due == pytest.approx(12_000 / 1_500_000)
    assert pacer.next_time(due, 10**9) == pytest.approx(due)
