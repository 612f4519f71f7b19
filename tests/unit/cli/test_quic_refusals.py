"""What a listener says about refusals, whose number strangers choose."""

from __future__ import annotations

from wraith.cli.quic import RefusalLog


def test_refusals_are_told_again_in_the_next_window() -> None:
    log = RefusalLog()
    assert [log.admit(0.0)[0] for _ in range(7)] == [True] * 5 + [False] * 2
    assert log.left_out == 2
    assert log.admit(10.0) == (True, 2)
    assert log.admit(10.1) == (True, 0)
    assert log.left_out == 0
