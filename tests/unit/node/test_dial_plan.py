"""When a node dials and when it gives up; the rate limit."""

from __future__ import annotations

import pytest

from wraith.errors import ConfigError
from wraith.node.config import NodeConfig
from wraith.node.dialer import BACKOFF_MAX_S, PATIENCE_S, ROADS_PATIENCE_S, DialPlan
from wraith.node.link import RateLimit


def test_it_dials_at_once_and_then_ever_more_slowly() -> None:
    plan = DialPlan(NodeConfig(), 100.0)
    now, gaps = 100.0, []
    for _ in range(8):
        assert plan.is_due(now)
        assert not plan.is_due(now)
        plan.on_failed(now)
        at = plan.next_timer(trying=False)
        assert at is not None
        gaps.append(at - now)
        now = at
    assert gaps[:3] == [0.25, 0.5, 1.0] and max(gaps) == gaps[-1] == BACKOFF_MAX_S


@pytest.mark.spec("TR-95")
def test_the_first_contact_has_its_own_limit() -> None:
    plan = DialPlan(NodeConfig(connect_timeout_s=30, wait_s=600), 100.0)
    assert plan.deadline == 130.0
    assert not plan.is_over(129.9) and plan.is_over(130.0)
    plan.on_connected()
    plan.on_lost(500.0, 500.0)
    assert plan.deadline == 1100.0 and not plan.is_over(1099.0)


@pytest.mark.spec("TR-95")
def test_without_a_limit_it_never_gives_up() -> None:
    plan = DialPlan(NodeConfig(wait_s=None), 0.0)
    plan.on_connected()
    plan.on_lost(1.0, 1.0)
    assert plan.deadline is None and not plan.is_over(1e9)


def test_it_speaks_up_once() -> None:
    plan = DialPlan(NodeConfig(still_trying_s=10), 0.0)
    assert plan.takes_long(9.9) is None
    assert plan.takes_long(10.5) == 10.5
    assert plan.takes_long(20.0) is None


def test_a_lost_connection_is_dialled_at_once() -> None:
    plan = DialPlan(NodeConfig(), 0.0)
    assert plan.is_due(0.0)
    plan.on_connected()
    assert not plan.is_due(50.0)
    plan.on_lost(50.0, 50.0)
    assert plan.is_due(50.0)


def test_a_rate_limit_gives_bytes_as_time_goes_by() -> None:
    limit = RateLimit(1_000_000, 0.0)
    assert limit.budget(0.0) == 131_072
    limit.take(131_072)
    assert limit.budget(0.0) == 0
    ready = limit.ready_at()
    assert ready == pytest.approx(0.0662, abs=0.001)
    assert limit.budget(ready) >= 65_536
    assert limit.budget(10.0) == 131_072
    assert RateLimit(10_000_000, 0.0).budget(0.0) == 1_000_000


@pytest.mark.parametrize(
    "options", [{"connect_timeout_s": 0}, {"wait_s": -1}, {"limit_bytes_per_s": 10}]
)
def test_nonsense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        NodeConfig(**options)  # type: ignore[arg-type]


def test_a_silent_peer_is_given_a_moment_and_the_wait_counts_from_the_silence() -> None:
    plan = DialPlan(NodeConfig(wait_s=600), 0.0)
    assert plan.is_due(0.0)
    plan.on_connected()
    plan.on_silent(50.0)
    assert plan.deadline == 650.0
    assert not plan.is_due(50.0 + PATIENCE_S - 0.01)
    assert plan.is_due(50.0 + PATIENCE_S)


def test_a_session_with_other_roads_is_given_time_to_find_one() -> None:
    plan = DialPlan(NodeConfig(wait_s=600), 0.0)
    plan.on_connected()
    plan.on_silent(50.0, has_roads=True)
    assert not plan.is_due(50.0 + ROADS_PATIENCE_S - 0.01)
    assert plan.is_due(50.0 + ROADS_PATIENCE_S)


def test_a_peer_that_is_heard_again_is_not_dialled() -> None:
    plan = DialPlan(NodeConfig(), 0.0)
    plan.on_connected()
    plan.on_silent(50.0)
    plan.on_failed(51.0)
    plan.on_recovered()
    assert plan.next_timer(trying=False) is None and not plan.is_due(99.0)


def test_a_silent_connection_that_is_gone_is_dialled_at_once() -> None:
    plan = DialPlan(NodeConfig(wait_s=600), 0.0)
    plan.on_connected()
    plan.on_silent(50.0)
    plan.on_lost(plan.since, 50.5)
    assert plan.is_due(50.5) and plan.deadline == 650.0
