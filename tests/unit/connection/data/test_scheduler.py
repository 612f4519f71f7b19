from __future__ import annotations

from collections import Counter

import pytest

from wraith.connection.data.scheduler import Scheduler


def always(_: int) -> bool:
    return True


def served(scheduler: Scheduler, n: int, size: int = 1_000) -> Counter[int]:
    counts: Counter[int] = Counter()
    for _ in range(n):
        sid = scheduler.pick(always)
        assert sid is not None
        scheduler.on_sent(sid, size)
        counts[sid] += 1
    return counts


def test_equal_streams_take_turns() -> None:
    scheduler = Scheduler()
    for sid in (1, 2, 3):
        scheduler.add(sid, 128)
    assert served(scheduler, 30) == {1: 10, 2: 10, 3: 10}


@pytest.mark.spec("CN-25")
def test_the_urgent_queue_wins_but_a_sixteenth_is_kept() -> None:
    scheduler = Scheduler()
    scheduler.add(1, 0)
    scheduler.add(2, 255)
    counts = served(scheduler, 1_600)
    assert 95 <= counts[2] <= 105


def test_alone_a_low_queue_gets_everything() -> None:
    scheduler = Scheduler()
    scheduler.add(2, 255)
    assert served(scheduler, 10) == {2: 10}


def test_a_blocked_stream_is_passed_over() -> None:
    scheduler = Scheduler()
    scheduler.add(1, 0)
    scheduler.add(2, 200)
    assert scheduler.pick(lambda sid: sid != 1) == 2
    assert scheduler.pick(lambda sid: False) is None


def test_moving_changes_the_queue_and_removing_forgets() -> None:
    scheduler = Scheduler()
    scheduler.add(1, 128)
    scheduler.add(2, 128)
    scheduler.move(2, 0)
    assert scheduler.pick(always) == 2
    scheduler.remove(2)
    scheduler.remove(2)
    assert scheduler.pick(always) == 1 and len(scheduler) == 1
