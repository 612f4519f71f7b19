"""A node decides to whom a connection belongs, and nothing about what is said on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from wraith.connection.connection import Connection
from wraith.connection.endpoint_events import ClockSkew, EndpointEvent
from wraith.connection.events import Closed, Established, Event, PeerAuthenticated
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.errors import LocalProtocolError
from wraith.node.node import Node
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import endpoint_host
from wraith.testing.pair import ADDRESS_A, ADDRESS_B, Pair
from wraith.testing.rng import SeededRng
from wraith.types import Address, Buffer, NetworkPath

RNG = SeededRng("node")
KEYS = tuple(AccessKey.generate(RNG, with_psk=True) for _ in range(5))
STRANGER = Address(bytes((203, 0, 113, 7)), 7)


class Recorder:
    """A service that writes down what it is told and asked; lets everybody in."""

    def __init__(self, timer: float | None = None) -> None:
        self.told: list[tuple[Connection, Event]] = []
        self.about_endpoint: list[EndpointEvent] = []
        self.events: deque[str] = deque()
        self.calls: list[str] = []
        self.timer = timer
        self.moves = 0

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        self.told.append((connection, event))
        if isinstance(event, PeerAuthenticated) and connection.access_key is not None:
            connection.accept(now)

    def on_endpoint_event(self, event: EndpointEvent, now: float) -> None:
        self.about_endpoint.append(event)

    def pump(self, now: float) -> bool:
        self.calls.append("pump")
        self.moves -= 1
        return self.moves >= 0

    def before_sending(self, now: float) -> None:
        self.calls.append("before_sending")

    def handle_timer(self, now: float) -> None:
        self.calls.append("timer")

    def next_timer(self) -> float | None:
        return self.timer

    def next_event(self) -> str | None:
        return self.events.popleft() if self.events else None

    def kinds(self) -> list[type[Event]]:
        return [type(event) for _, event in self.told]


class Look:
    """Takes what begins with its mark."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.shown: list[bytes] = []

    def takes(self, datagram: Buffer, path: NetworkPath, now: float) -> bool:
        self.shown.append(bytes(datagram))
        return bytes(datagram).startswith(self.mark)


class World:
    """Two nodes on a link: ``a`` dials, ``b`` listens."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.a, self.b = (
            Node(endpoint_host(self.clock, name, access=(), listening=True).endpoint, now=0.0)
            for name in "ab"
        )
        self.net = Pair(
            self.a, self.b, clock=self.clock, service_a=self.store, service_b=self.store
        )

    def store(self, now: float) -> bool:
        records = self.a.records_to_store() + self.b.records_to_store()
        return bool(records)

    @property
    def now(self) -> float:
        return self.clock.now

    def record(self, key: AccessKey) -> NodeRecord:
        return self.b.endpoint.node_record((ADDRESS_B,), key=key)

    def run(self, until: Callable[[], bool] | None = None, seconds: float = 2.0) -> bool:
        return self.net.run(seconds=seconds, until=until)


def test_a_connection_that_came_in_belongs_to_the_service_of_its_key() -> None:
    world = World()
    services = [Recorder(), Recorder()]
    for service, key in zip(services, KEYS, strict=False):
        world.b.add(service, world.now, key=key)
    dialler = Recorder()
    world.a.add(dialler, world.now)
    world.a.connect(dialler, world.record(KEYS[1]), world.now)
    assert world.run(lambda: Established in services[1].kinds())
    assert services[0].told == []
    assert services[1].kinds()[:2] == [PeerAuthenticated, Established]


def test_a_connection_that_was_dialled_belongs_to_the_service_that_dialled() -> None:
    world = World()
    listener, first, second = Recorder(), Recorder(), Recorder()
    world.b.add(listener, world.now, key=KEYS[0])
    for service in (first, second):
        world.a.add(service, world.now)
    one = world.a.connect(first, world.record(KEYS[0]), world.now)
    other = world.a.connect(second, world.record(KEYS[0]), world.now)
    assert world.run(lambda: Established in first.kinds() and Established in second.kinds())
    assert {connection for connection, _ in first.told} == {one}
    assert {connection for connection, _ in second.told} == {other}


def test_four_services_listen_and_any_number_dials() -> None:
    node = World().b
    services = [Recorder() for _ in KEYS]
    for service, key in zip(services[:4], KEYS, strict=False):
        node.add(service, 0.0, key=key)
    with pytest.raises(LocalProtocolError, match="4 services listen at this port already"):
        node.add(services[4], 0.0, key=KEYS[4])
    assert services[4] not in node.services
    node.add(services[4], 0.0)
    node.stop_listening(services[0])
    node.add(Recorder(), 0.0, key=KEYS[4])
    assert len(node.services) == 6


def test_a_key_has_one_service() -> None:
    node = World().b
    first = Recorder()
    node.add(first, 0.0, key=KEYS[0])
    with pytest.raises(LocalProtocolError, match="listens with this access key"):
        node.add(Recorder(), 0.0, key=KEYS[0])
    assert node.services == (first,)
    node.remove(first, 0.0)
    node.add(Recorder(), 0.0, key=KEYS[0])


def test_what_has_stopped_listening_still_lets_in_who_was_on_the_way() -> None:
    world = World()
    listener, dialler = Recorder(), Recorder()
    world.b.add(listener, world.now, key=KEYS[0])
    world.a.add(dialler, world.now)
    world.a.connect(dialler, world.record(KEYS[0]), world.now)
    record = world.record(KEYS[0])
    world.net.settle()
    world.net.step(1.0)  # the hello has arrived
    world.b.stop_listening(listener)
    assert world.run(lambda: Established in listener.kinds())
    later = world.a.connect(dialler, record, world.now)
    world.run(seconds=15)
    assert [c for c, event in dialler.told if isinstance(event, Closed)] == [later]


def test_removing_ends_the_connections_and_is_harmless_twice() -> None:
    world = World()
    listener, dialler = Recorder(), Recorder()
    world.b.add(listener, world.now, key=KEYS[0])
    world.a.add(dialler, world.now)
    world.a.connect(dialler, world.record(KEYS[0]), world.now)
    assert world.run(lambda: Established in dialler.kinds() and Established in listener.kinds())
    world.run(seconds=0.5)
    told = len(listener.told)
    world.b.remove(listener, world.now)
    (ending,) = world.b.connections_of(listener)
    world.run(lambda: Closed in dialler.kinds())
    (closed,) = [event for _, event in dialler.told if isinstance(event, Closed)]
    assert closed.by_peer and closed.error is None
    world.b.remove(listener, world.now)
    world.run(seconds=3)
    assert ending.is_drained and world.b.connections_of(listener) == ()
    assert len(listener.told) == told and world.b.services == ()


def test_ending_all_tells_the_service_of_each() -> None:
    world = World()
    listener, dialler = Recorder(), Recorder()
    world.b.add(listener, world.now, key=KEYS[0])
    world.a.add(dialler, world.now)
    for _ in range(2):
        world.a.connect(dialler, world.record(KEYS[0]), world.now)
    assert world.run(lambda: listener.kinds().count(Established) == 2)
    world.b.end_all(listener, world.now)
    world.run(seconds=1)
    assert listener.kinds().count(Closed) == 2
    assert world.b.services == (listener,), "it is still there"


def test_every_service_is_pumped_until_none_moves() -> None:
    node = World().b
    first, second = Recorder(), Recorder()
    second.moves = 2
    for service in (first, second):
        node.add(service, 0.0)
    node.pump(0.0)
    assert first.calls == second.calls == ["pump"] * 3


def test_services_are_asked_in_the_order_of_a_drain() -> None:
    node = World().b
    service = Recorder()
    node.add(service, 0.0)
    node.handle_timer(1.0)
    node.datagrams_to_send(1.0)
    assert service.calls == ["timer", "pump", "before_sending"]


def test_the_earliest_timer_counts_and_events_name_their_service() -> None:
    node = World().b
    own = node.next_timer()
    assert own is not None
    early, late = Recorder(own - 1), Recorder(own + 1)
    node.add(late, 0.0)
    assert node.next_timer() == own
    node.add(early, 0.0)
    assert node.next_timer() == own - 1
    late.events.extend(["a", "b"])
    early.events.append("c")
    assert [node.next_event() for _ in range(4)] == [
        (late, "a"),
        (late, "b"),
        (early, "c"),
        None,
    ]


def test_a_clock_that_is_off_is_told_to_the_service_of_the_key() -> None:
    world = World()
    first, second = Recorder(), Recorder()
    world.b.add(first, world.now, key=KEYS[0])
    world.b.add(second, world.now, key=KEYS[1])
    late = endpoint_host(world.clock, "late", skew_s=3_600)
    path = NetworkPath(ADDRESS_B, ADDRESS_A)
    late.endpoint.connect(world.record(KEYS[1]), world.now)
    for transmit in late.endpoint.datagrams_to_send(world.now):
        world.b.receive_datagrams(transmit.data, len(transmit.data), path, world.now)
    assert first.about_endpoint == []
    (event,) = second.about_endpoint
    assert isinstance(event, ClockSkew) and event.access_key == KEYS[1].ak.public
    assert KEYS[1].ak.public.hex() not in repr(event) and repr(KEYS[1].ak.public) not in repr(event)


class TestFirstLook:
    def test_strangers_are_shown_one_by_one_and_what_is_taken_goes_no_further(self) -> None:
        node = World().b
        node.add(Recorder(), 0.0, key=KEYS[0])
        first, second = Look(b"one"), Look(b"two")
        node.look_first(first)
        node.look_first(second)
        burst = b"".join(mark + bytes(697) for mark in (b"one", b"two", b"six"))
        node.receive_datagrams(burst, 700, NetworkPath(ADDRESS_B, STRANGER), 0.0)
        assert [shown[:3] for shown in first.shown] == [b"one", b"two", b"six"]
        assert [shown[:3] for shown in second.shown] == [b"two", b"six"]
        assert node.endpoint.counters == {"unproven": 1}, "one of three was tried as a hello"

    def test_what_belongs_to_a_connection_is_shown_to_nobody(self) -> None:
        world = World()
        listener, dialler, look = Recorder(), Recorder(), Look(b"")
        world.b.add(listener, world.now, key=KEYS[0])
        world.a.add(dialler, world.now)
        world.a.connect(dialler, world.record(KEYS[0]), world.now)
        assert world.run(lambda: Established in listener.kinds())
        world.a.look_first(look)
        world.b.look_first(look)
        world.run(seconds=1)
        for connection, _ in dialler.told[:1]:
            connection.send_datagram(b"hello", world.now)
        world.run(seconds=1)
        assert look.shown == []

    def test_a_hello_that_nobody_takes_is_answered(self) -> None:
        world = World()
        listener, dialler, look = Recorder(), Recorder(), Look(b"never begins so")
        world.b.add(listener, world.now, key=KEYS[0])
        world.a.add(dialler, world.now)
        world.b.look_first(look)
        world.a.connect(dialler, world.record(KEYS[0]), world.now)
        assert world.run(lambda: Established in listener.kinds())
        assert look.shown


def test_a_peer_whose_service_went_while_it_was_on_its_way_is_refused() -> None:
    """FINISH was processed and the service removed before anybody looked at the events."""
    world = World()
    listener, dialler = Recorder(), Recorder()
    world.b.add(listener, world.now, key=KEYS[0])
    world.a.add(dialler, world.now)
    record = world.record(KEYS[0])
    endpoint = world.b.endpoint
    world.net.add_host(endpoint, ADDRESS_B, world.store)
    world.a.connect(dialler, record, world.now)
    assert world.run(lambda: bool(endpoint.connections))
    world.b.remove(listener, world.now)
    world.net.add_host(world.b, ADDRESS_B, world.store)
    world.run(lambda: Closed in dialler.kinds())
    assert listener.told == []
    closed = next(e for _, e in dialler.told if isinstance(e, Closed))
    assert closed.by_peer
