from __future__ import annotations

import pytest

from wraith.config import KIB, MIB, EndpointConfig
from wraith.connection.data.flow import ReceiveWindow, SendWindow, WindowBudget


@pytest.mark.spec("CN-21")
def test_an_update_is_due_when_less_than_half_is_left() -> None:
    window = ReceiveWindow(1_000, 1_000)
    window.consume(500)
    assert not window.extend(1.0, 0.1)
    window.consume(1)
    assert window.extend(1.0, 0.1)
    assert window.limit == 1_501


@pytest.mark.spec("CN-23")
def test_two_updates_within_two_round_trips_double_the_window() -> None:
    window = ReceiveWindow(1_000, 3_000)
    for at, expected in ((0.0, 1_000), (0.1, 2_000), (0.2, 3_000), (0.3, 3_000)):
        window.consume(window.limit - window.consumed)
        assert window.extend(at, 0.1)
        assert window.window == expected
        assert window.limit == window.consumed + expected


@pytest.mark.spec("CN-23")
def test_slow_consumption_does_not_grow_it() -> None:
    window = ReceiveWindow(1_000, 3_000)
    for at in (0.0, 1.0, 2.0):
        window.consume(900)
        window.extend(at, 0.1)
    assert window.window == 1_000


def test_nothing_grows_once_the_budget_is_used_up() -> None:
    budget = WindowBudget(2_500)
    budget.charge(1_000)
    window = ReceiveWindow(1_000, 8_000, budget)
    for at in (0.0, 0.1, 0.2):
        window.consume(window.limit - window.consumed)
        window.extend(at, 1.0)
    assert window.window == 2_000 and budget.used == 2_000
    budget.release(1_000)
    window.consume(window.limit - window.consumed)
    window.extend(0.3, 1.0)
    assert window.window == 2_000  # doubling again would take 2000 more than there is


def test_a_new_peer_is_announced_small_windows_when_the_budget_is_used_up() -> None:
    budget = WindowBudget(2 * MIB)
    config = EndpointConfig()
    assert budget.initial_windows(config) == (config.stream_window, config.conn_window)
    budget.charge(config.conn_window)
    assert budget.initial_windows(config) == (64 * KIB, 96 * KIB)


def test_a_lower_announcement_is_ignored() -> None:
    window = SendWindow(100)
    assert window.raise_to(200) and not window.raise_to(150)
    window.used = 120
    assert window.room == 80
