from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection.handshake.doors import FLOORS_MAX, KEPT_MAX, Doors
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.testing.clock import VirtualCalendar, VirtualClock
from wraith.testing.rng import SeededRng


@pytest.mark.spec("HS-72")
def test_the_memory_of_removed_keys_is_bounded_in_time_and_number() -> None:
    config, rng = EndpointConfig(), SeededRng("doors")
    doors = Doors(config, VirtualCalendar(VirtualClock()))
    for n in range(100):
        key = AccessKey.generate(rng)
        doors.add(key, float(n))
        (door,) = doors
        assert door.replays.insert(bytes(16), n, float(n))
        doors.remove(key.ak.public, float(n))
    assert doors.n_entries == KEPT_MAX
    assert len(doors._floors) == 100 - KEPT_MAX < FLOORS_MAX
    doors.add(AccessKey.generate(rng), 99 + 4 * config.max_clock_skew_s)
    assert doors.n_entries == 0


def test_a_key_that_answered_nobody_leaves_nothing() -> None:
    doors = Doors(EndpointConfig(), VirtualCalendar(VirtualClock()))
    rng = SeededRng("doors")
    for n in range(50):
        key = AccessKey.generate(rng)
        doors.add(key, float(n))
        doors.remove(key.ak.public, float(n))
    doors.add(AccessKey.generate(rng), 1e6)
    assert not doors._floors and not doors._kept


@pytest.mark.spec("HS-22")
def test_keys_share_the_budget_for_answers_equally() -> None:
    config, rng = EndpointConfig(), SeededRng("doors")
    doors = Doors(config, VirtualCalendar(VirtualClock()))
    keys = [AccessKey.generate(rng) for _ in range(4)]

    def answers_now() -> list[int]:
        return [sum(door.hello_full.take(now, 0) for _ in range(1_000)) for door in doors]

    now, burst = 0.0, config.budgets.hello_full_burst
    doors.add(keys[0], now)
    assert answers_now() == [burst]
    now = 100.0
    for key in keys[1:]:
        doors.add(key, now)
    assert answers_now() == [burst // 4] * 4
    now = 200.0
    for key in keys[:2]:
        doors.remove(key.ak.public, now)
    assert answers_now() == [burst // 2] * 2


def test_a_removed_key_is_found_while_its_hellos_are_remembered() -> None:
    doors = Doors(EndpointConfig(), VirtualCalendar(VirtualClock()))
    rng = SeededRng("doors")
    key = AccessKey.generate(rng)
    doors.add(key, 0.0)
    (door,) = doors
    doors.remove(key.ak.public, 0.0)
    assert doors.find(key.ak.public) is door
    for _ in range(KEPT_MAX):
        other = AccessKey.generate(rng)
        doors.add(other, 0.0)
        doors.remove(other.ak.public, 0.0)
    assert doors.find(key.ak.public) is None
