from __future__ import annotations

from wraith.connection.timers import Timer, Timers


def test_due_timers_come_in_a_fixed_order_and_are_cleared() -> None:
    timers = Timers()
    timers.set(Timer.DRAIN, 2.0)
    timers.set(Timer.IDLE, 3.0)
    timers.set(Timer.PACE, 9.0)
    assert timers.next() == 2.0
    assert timers.pop_due(5.0) == [Timer.IDLE, Timer.DRAIN]
    assert timers.next() == 9.0
    timers.set(Timer.PACE, None)
    assert timers.next() is None and timers.pop_due(99.0) == []
