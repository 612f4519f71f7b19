"""One order for every machine: the timer, events, datagrams, and again while either finds more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wraith.driving import drain
from wraith.testing.echo import EchoMachine
from wraith.types import Address, NetworkPath, Transmit

PATH = NetworkPath(Address(b"\x7f\0\0\1", 1), Address(b"\x7f\0\0\1", 9))


class Recorder:
    """Outside of an ``EchoMachine``: writes down the order of everything in the machine's list."""

    def __init__(self, machine: EchoMachine) -> None:
        self.machine = machine
        self.calls = machine.calls
        self.is_open = True
        self.has_room = True
        self.at = 1.0
        self.on_event: Callable[[object], bool] = lambda event: False

    def now(self) -> float:
        return self.at

    def deliver(self, now: float) -> bool:
        issued = False
        while (event := self.machine.next_event()) is not None:
            self.calls.append("event")
            issued |= self.on_event(event)
        return issued

    def can_send(self) -> bool:
        self.calls.append("store")
        return self.has_room

    def send(self, transmits: Sequence[Transmit]) -> bool:
        self.calls += ["sent"] * len(transmits)
        return bool(transmits)


def test_the_timer_comes_first_then_events_then_what_is_due() -> None:
    machine = EchoMachine(per_call=1)
    machine.timer = 1.0
    machine.receive_datagrams(b"ab", 1, PATH, 0.9)
    assert not drain(machine, Recorder(machine), deadline=1.0)
    assert machine.calls == [
        "receive", "timer", "event", "event", "store", "send", "sent", "store", "send",
    ]  # fmt: skip


def test_a_timer_that_is_not_due_does_not_come() -> None:
    machine = EchoMachine()
    assert not drain(machine, Recorder(machine), deadline=1.1)
    assert machine.calls == ["store", "send"]


def test_what_handling_an_event_issued_leaves_in_the_same_drain() -> None:
    machine = EchoMachine(echo=False)
    outside = Recorder(machine)
    n_left = 2

    def answer(event: object) -> bool:
        nonlocal n_left
        machine.queue(b"x", 1, PATH)
        if n_left:
            n_left -= 1
            machine.receive_datagrams(b"more", 4, PATH, outside.at)
        return True

    outside.on_event = answer
    machine.receive_datagrams(b"first", 5, PATH, 1.0)
    assert not drain(machine, outside, deadline=None)
    assert machine.calls.count("sent") == 3 and machine.n_due == 0


def test_a_machine_that_may_not_send_is_not_asked() -> None:
    machine = EchoMachine()
    outside = Recorder(machine)
    outside.has_room = False
    machine.receive_datagrams(b"x", 1, PATH, 1.0)
    assert not drain(machine, outside, deadline=None)
    assert machine.calls == ["receive", "event", "store"] and machine.n_due == 1


def test_a_drain_ends_when_its_time_is_over_and_says_so() -> None:
    machine = EchoMachine(per_call=1)
    for _ in range(3):
        machine.queue(b"x", 1, PATH)
    outside = Recorder(machine)
    assert drain(machine, outside, deadline=None, stop_at=1.0)
    assert machine.calls.count("sent") == 1


def test_nothing_is_sent_once_an_event_has_closed_what_is_outside() -> None:
    machine = EchoMachine()
    outside = Recorder(machine)

    def close(event: object) -> bool:
        outside.is_open = False
        return True

    outside.on_event = close
    machine.receive_datagrams(b"x", 1, PATH, 1.0)
    assert not drain(machine, outside, deadline=None)
    assert "send" not in machine.calls
