"""The driver's rules, on a machine that only echoes, over real loopback sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from wraith.aio import driver as driver_module
from wraith.aio.driver import Driver
from wraith.aio.transports.socket_set import SocketSet
from wraith.aio.transports.udp import ReceiveBurst, RefuseSize
from wraith.errors import ConnectionLost, HandshakeTimeout, PeerFinished, WraithError
from wraith.testing.echo import EchoEvent, EchoMachine, Fired, Received
from wraith.types import Address, Buffer, NetworkPath, Transmit

LOOPBACK = Address(b"\x7f\0\0\1", 0)
PATH = NetworkPath(LOOPBACK, Address(b"\x7f\0\0\1", 9))


class FakeSocket:
    """A socket that takes ``room`` datagrams before its buffer is full."""

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.local = LOOPBACK
        self.family = family
        self.on_refused_size: RefuseSize | None = None
        self.datagrams_dropped = 0
        self.sent: list[bytes] = []
        self.room = 10**9
        self.resume: Callable[[], None] | None = None
        self.receive: ReceiveBurst | None = None
        self.turn: Callable[..., None] | None = None
        self.put_aside: Any = None
        self.closed = False

    def start(
        self,
        loop: Any,
        receive: ReceiveBurst,
        turn: Callable[..., None],
        put_aside: Any = None,
    ) -> None:
        self.receive, self.turn, self.put_aside = receive, turn, put_aside

    def send(self, transmit: Transmit, start: int) -> int:
        data, step = transmit.data, transmit.segment_bytes
        while start < len(data):
            if self.room == 0:
                return start
            self.room -= 1
            self.sent.append(bytes(data[start : start + step]))
            start += step
        return len(data)

    def when_writable(self, resume: Callable[[], None]) -> None:
        assert self.resume is None, "one waiter at a time"
        self.resume = resume

    def has_room(self, room: int) -> None:
        """The kernel has sent something: it takes ``room`` more and says so."""
        self.room = room
        resume, self.resume = self.resume, None
        assert resume is not None
        resume()

    def close(self) -> None:
        self.closed = True

    def deliver(self, data: bytes, segment_bytes: int | None = None) -> None:
        """As the kernel would: one burst, then the end of the turn."""
        self.read(data, PATH, segment_bytes)
        self.end_turn()

    def read(self, data: bytes, path: NetworkPath, segment_bytes: int | None = None) -> None:
        """One read of a turn."""
        assert self.receive is not None
        burst = memoryview(data), segment_bytes or len(data), path
        if self.put_aside is None or not self.put_aside(*burst):
            self.receive(*burst)

    def end_turn(self, *, is_empty: bool = True) -> None:
        assert self.turn is not None
        if self.put_aside is None:
            self.turn()
        else:
            self.turn(is_empty)


class Rig:
    """A driver with a fake socket, and what came out of it."""

    def __init__(self, machine: EchoMachine, *, two: bool = False, **options: Any) -> None:
        self.machine = machine
        self.socket = FakeSocket()
        self.events: list[EchoEvent] = []
        self.failures: list[Exception] = []
        self.stray: list[dict[str, Any]] = []
        self.other = FakeSocket(socket.AF_INET6)
        sockets = SocketSet([self.socket, self.other] if two else [self.socket])
        self.on_event: Callable[[EchoEvent], None] = self.events.append
        self.driver: Driver[EchoEvent] = Driver(
            machine,
            sockets,
            on_event=lambda event: self.on_event(event),
            on_failed=self.failures.append,
            **options,
        )
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.stray.append(context))
        self.driver.start()


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(machine: EchoMachine | None = None, **options: Any) -> Rig:
        made.append(Rig(machine or EchoMachine(), **options))
        return made[-1]

    yield make
    for one in made:
        one.driver.close()
        assert one.socket.closed
    asyncio.get_running_loop().set_exception_handler(None)


async def turn(n: int = 3) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_everything_due_is_sent_and_every_event_delivered(rig: Callable[..., Rig]) -> None:
    one = rig(EchoMachine(per_call=1))
    one.socket.deliver(b"abc" * 4, 3)
    assert one.socket.sent == [b"abc"] * 4
    assert one.events == [Received(b"abc" * 4, 3, PATH)]


@pytest.mark.asyncio
async def test_what_a_handler_adds_leaves_together_with_what_is_due(
    rig: Callable[..., Rig],
) -> None:
    one = rig(EchoMachine(per_call=2))
    await turn()

    def answer(event: EchoEvent) -> None:
        assert one.socket.sent == [], "events come first"
        one.machine.queue(b"more", 4, PATH)

    one.on_event = answer
    one.machine.calls.clear()
    one.socket.deliver(b"abc")
    assert one.socket.sent == [b"abc", b"more"]
    assert one.machine.calls.count("send") == 2, "both in one call, and nothing in the last"


@pytest.mark.asyncio
async def test_a_command_issued_while_handling_an_event_is_sent_in_the_same_drain(
    rig: Callable[..., Rig],
) -> None:
    one = rig(EchoMachine(echo=False))

    def answer(event: EchoEvent) -> None:
        assert isinstance(event, Received)
        one.machine.queue(event.data.upper(), 3, PATH)
        one.driver.wake()

    one.on_event = answer
    one.socket.deliver(b"abc")
    assert one.socket.sent == [b"ABC"]


@pytest.mark.asyncio
async def test_many_commands_of_one_turn_cost_one_drain(rig: Callable[..., Rig]) -> None:
    one = rig(EchoMachine(per_call=100))
    await turn()
    one.machine.calls.clear()
    for i in range(50):
        one.machine.queue(bytes([i]), 1, PATH)
        one.driver.wake()
    assert one.socket.sent == []
    await turn()
    assert one.socket.sent == [bytes([i]) for i in range(50)]
    assert one.machine.calls == ["send", "send"]


@pytest.mark.asyncio
async def test_a_full_kernel_stops_the_machine_and_loses_nothing(rig: Callable[..., Rig]) -> None:
    one = rig(EchoMachine(per_call=2))
    one.socket.room = 3
    for i in range(4):
        one.machine.queue(bytes([i]) * 4, 2, PATH)
    one.driver.wake()
    await turn()
    assert len(one.socket.sent) == 3
    sends = one.machine.calls.count("send")

    one.driver.wake()
    one.socket.deliver(b"in")
    await turn()
    assert one.machine.calls.count("send") == sends, "the lent buffers are still in use"
    assert one.events == [Received(b"in", 2, PATH)], "events flow all the same"

    one.socket.has_room(100)
    assert one.socket.sent == [bytes([i]) * 2 for i in range(4) for _ in range(2)] + [b"in"]


@pytest.mark.asyncio
async def test_a_due_timer_does_not_spin_while_the_kernel_is_full(rig: Callable[..., Rig]) -> None:
    one = rig(EchoMachine(per_call=1))
    one.socket.room = 0
    one.machine.queue(b"x", 1, PATH)
    one.driver.wake()
    await turn()
    one.machine.timer = 0.0  # long due, and stays so: EchoMachine clears it only when it fires
    one.machine.handle_timer = lambda now: one.machine.calls.append("timer")  # type: ignore[method-assign]
    one.driver.wake()
    one.machine.calls.clear()
    await turn(50)
    assert one.machine.calls.count("timer") <= 2


@pytest.mark.asyncio
async def test_the_timer_fires_at_its_time_and_only_one_handle_exists(
    rig: Callable[..., Rig],
) -> None:
    one = rig()
    now = one.driver.now()
    for delay in (0.5, 0.3, 0.02):
        one.machine.timer = now + delay
        one.driver.wake()
        await turn()
    loop = asyncio.get_running_loop()
    scheduled = [h for h in loop._scheduled if not h.cancelled()]  # type: ignore[attr-defined]
    assert len([h for h in scheduled if "Driver" in repr(h)]) == 1
    async with asyncio.timeout(5):
        while not one.events:
            await asyncio.sleep(0.001)
    fired = one.events[0]
    assert isinstance(fired, Fired)
    assert now + 0.02 <= fired.at < now + 0.3


@pytest.mark.asyncio
async def test_a_timer_that_moves_away_is_not_fired_early(rig: Callable[..., Rig]) -> None:
    one = rig()
    one.machine.timer = one.driver.now() + 0.01
    one.driver.wake()
    await turn()
    one.machine.timer = one.driver.now() + 30
    one.driver.wake()
    await asyncio.sleep(0.03)
    assert one.events == []
    assert "timer" not in one.machine.calls


@pytest.mark.asyncio
async def test_records_are_stored_before_their_datagrams_leave(rig: Callable[..., Rig]) -> None:
    order: list[str] = []
    sent: list[bytes] = []
    machine = EchoMachine()

    def store() -> None:
        order.append(f"store, {len(sent)} sent")
        machine.calls.append("store")

    one = rig(machine, store=store)
    one.socket.sent = sent
    machine.calls.clear()
    order.clear()
    one.socket.deliver(b"hello")
    assert order[0] == "store, 0 sent"
    assert machine.calls[:3] == ["receive", "store", "send"]
    assert one.socket.sent == [b"hello"]


@pytest.mark.asyncio
async def test_an_exception_in_a_handler_loses_no_event(rig: Callable[..., Rig]) -> None:
    one = rig(EchoMachine(echo=False))
    seen: list[EchoEvent] = []

    def handler(event: EchoEvent) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise RuntimeError("a defect of the program")

    one.on_event = handler
    for i in range(3):
        one.socket.read(bytes([i]), PATH)
    one.socket.end_turn()
    assert [event.data for event in seen if isinstance(event, Received)] == [b"\0", b"\1", b"\2"]
    assert len(one.stray) == 1
    assert not one.driver.closed


@pytest.mark.asyncio
async def test_a_defect_of_the_machine_closes_once_and_is_reported(rig: Callable[..., Rig]) -> None:
    one = rig()
    error = one.machine.fail_with = ValueError("a defect of the machine")
    assert one.socket.receive is not None
    one.socket.read(b"x", PATH)
    one.socket.read(b"y", PATH)
    assert one.failures == [error]
    assert one.driver.closed and one.socket.closed
    one.driver.wake()
    await turn()
    await one.driver.flushed()


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [HandshakeTimeout(), ConnectionLost("gone"), PeerFinished()])
async def test_an_exception_that_is_an_os_error_too_is_no_word_of_the_socket(
    rig: Callable[..., Rig], error: WraithError
) -> None:
    one = rig()
    one.machine.fail_with = error
    one.socket.deliver(b"x")
    assert one.failures == [error] and one.driver.closed


@pytest.mark.asyncio
async def test_a_long_drain_gives_way_to_others(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "TURN_S", 0.0)
    one = rig(EchoMachine(per_call=1))
    for i in range(5):
        one.machine.queue(bytes([i]), 1, PATH)
    one.driver.wake()
    progress: list[int] = []
    for _ in range(8):
        await asyncio.sleep(0)
        progress.append(len(one.socket.sent))
    assert progress[-1] == 5
    assert 1 in progress and 3 in progress, "one call of the machine a turn"


@pytest.mark.asyncio
async def test_flushed_waits_for_the_kernel(rig: Callable[..., Rig]) -> None:
    one = rig()
    one.socket.room = 0
    one.machine.queue(b"last", 4, PATH)
    flushed = asyncio.ensure_future(one.driver.flushed())
    await turn()
    assert not flushed.done()
    one.socket.has_room(1)
    async with asyncio.timeout(5):
        await flushed
    assert one.socket.sent == [b"last"]


@pytest.mark.asyncio
async def test_closing_inside_a_handler_ends_the_drain(rig: Callable[..., Rig]) -> None:
    one = rig()

    def close(event: EchoEvent) -> None:
        one.events.append(event)
        one.driver.close()

    one.on_event = close
    one.socket.read(b"a", PATH)
    one.socket.read(b"b", PATH)
    one.socket.end_turn()
    assert len(one.events) == 1
    assert one.driver.closed


@pytest.mark.asyncio
async def test_two_drivers_echo_over_real_sockets() -> None:
    server_machine, client_machine = EchoMachine(), EchoMachine(echo=False)
    got: list[EchoEvent] = []
    done = asyncio.Event()
    total = 200 * 40 * 1200

    def on_client(event: EchoEvent) -> None:
        got.append(event)
        if sum(len(e.data) for e in got if isinstance(e, Received)) >= total:
            done.set()

    server_sockets, client_sockets = SocketSet.bind(LOOPBACK), SocketSet.bind(LOOPBACK)
    server: Driver[EchoEvent] = Driver(server_machine, server_sockets, on_event=lambda _: None)
    client: Driver[EchoEvent] = Driver(client_machine, client_sockets, on_event=on_client)
    path = NetworkPath(client_sockets.sockets[0].local, server_sockets.sockets[0].local)
    server.start()
    client.start()
    try:
        for i in range(200):
            client_machine.queue(bytes([i]) * 40 * 1200, 1200, path)
            client.wake()
            if i % 10 == 9:  # keep within the socket buffers: nobody resends here
                await asyncio.sleep(0.002)
        async with asyncio.timeout(10):
            await done.wait()
    finally:
        server.close()
        client.close()
    data = b"".join(event.data for event in got if isinstance(event, Received))
    assert data == b"".join(bytes([i]) * 40 * 1200 for i in range(200))


@pytest.mark.asyncio
async def test_a_size_that_the_kernel_refuses_is_told_to_the_machine() -> None:
    machine = EchoMachine()
    sockets = SocketSet.bind(Address(b"\x7f\0\0\1", 0))
    driver: Driver[EchoEvent] = Driver(machine, sockets, on_event=lambda event: None)
    driver.start()
    path = NetworkPath(Address(b"\x7f\0\0\1", driver.port), Address(b"\x7f\0\0\1", 9))
    machine.queue(bytes(65_600), 65_600, path)
    driver.wake()
    async with asyncio.timeout(5):
        await driver.flushed()
    driver.close()
    assert machine.refused == [(path, 65_600)]


PATH_6 = NetworkPath(Address(bytes(15) + b"\1", 0), Address(bytes(15) + b"\1", 9))


@pytest.mark.asyncio
async def test_a_full_socket_stops_no_other_and_loses_nothing(rig: Callable[..., Rig]) -> None:
    one = rig(EchoMachine(per_call=3), two=True)
    one.socket.room = 3
    for i in range(4):
        one.machine.queue(bytes([i]) * 4, 2, PATH)
        one.machine.queue(bytes([0x60 + i]) * 2, 2, PATH_6)
    one.driver.wake()
    await turn()
    assert one.other.sent == [bytes([0x60 + i]) * 2 for i in range(4)], "the other one goes on"
    assert one.socket.sent == [b"\0\0", b"\0\0", b"\1\1"]
    assert one.machine.held == {PATH} and one.machine.n_due == 2, "what is bulk stays there"

    one.machine.queue(b"six", 3, PATH_6)
    one.machine.queue(b"four", 4, PATH)
    one.driver.wake()
    await turn()
    assert one.other.sent[-1] == b"six"
    assert len(one.socket.sent) == 3

    one.socket.has_room(100)
    await turn()
    assert one.machine.held == set()
    assert one.socket.sent == [bytes([i]) * 2 for i in range(4) for _ in range(2)] + [b"four"]
    assert one.driver.datagrams_dropped == 0


@pytest.mark.asyncio
async def test_a_machine_is_not_asked_while_every_socket_is_full(rig: Callable[..., Rig]) -> None:
    one = rig(EchoMachine(per_call=1), two=True)
    one.socket.room = one.other.room = 0
    for path in (PATH, PATH_6, PATH, PATH_6):
        one.machine.queue(b"x", 1, path)
    one.driver.wake()
    await turn()
    sends = one.machine.calls.count("send")
    flushed = asyncio.ensure_future(one.driver.flushed())
    one.driver.wake()
    await turn()
    assert one.machine.calls.count("send") == sends and not flushed.done()
    one.other.has_room(100)
    await turn()
    assert len(one.other.sent) == 2 and one.socket.sent == [] and not flushed.done()
    one.socket.has_room(100)
    await turn()
    assert len(one.socket.sent) == 2
    await flushed


@pytest.mark.asyncio
async def test_what_waits_for_a_full_socket_is_bounded(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "HELD_BYTES_MAX", 10)
    one = rig(EchoMachine(per_call=8), two=True)
    one.socket.room = 0
    for i in range(5):
        one.machine.queue(bytes([i]) * 4, 2, PATH)
    one.driver.wake()
    await turn()
    assert one.driver.datagrams_dropped == 6
    one.socket.has_room(100)
    assert one.socket.sent == [bytes([i]) * 2 for i in range(2) for _ in range(2)]


STRANGER = NetworkPath(LOOPBACK, Address(b"\x7f\0\0\2", 9))


def sorting_rig(rig: Callable[..., Rig]) -> Rig:
    one = rig(EchoMachine(echo=False))
    one.machine.strangers.add(STRANGER)
    return one


def heard(one: Rig) -> list[bytes]:
    return [event.data for event in one.events if isinstance(event, Received)]


@pytest.mark.asyncio
@pytest.mark.spec("CN-80")
async def test_known_peers_are_fed_before_strangers(rig: Callable[..., Rig]) -> None:
    one = sorting_rig(rig)
    for data, path in ((b"s1", STRANGER), (b"k1", PATH), (b"s2", STRANGER), (b"k2", PATH)):
        one.socket.read(data, path)
    one.socket.end_turn()
    assert heard(one) == [b"k1", b"k2", b"s1", b"s2"]


@pytest.mark.asyncio
@pytest.mark.spec("CN-80")
async def test_strangers_get_what_peers_leave_of_a_turn_and_a_little_in_any_case(
    rig: Callable[..., Rig],
) -> None:
    clock, step_s = [1.0], driver_module.STRANGERS_LEAST_S / 2
    feeding_s = [0.0]

    class Slow(EchoMachine):
        def receive_datagrams(
            self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
        ) -> None:
            super().receive_datagrams(data, segment_bytes, path, now)
            clock[0] += step_s if path == STRANGER else feeding_s[0]

    one = rig(Slow(echo=False))
    one.machine.strangers.add(STRANGER)
    one.driver.now = lambda: clock[0]
    all_of_a_turn = round(driver_module.STRANGERS_TURN_S / step_s)
    for feeding_s[0], is_empty, served in (
        (0.0, True, all_of_a_turn),
        (8 * step_s, True, all_of_a_turn - 8),
        (1.0, True, 2),
        (0.0, False, 2),
    ):
        one.events.clear()
        one.socket.read(b"peer", PATH)
        for n in range(30):
            one.socket.read(b"%02d" % n, STRANGER)
        one.socket.end_turn(is_empty=is_empty)
        assert heard(one)[0] == b"peer"
        assert abs(len(heard(one)[1:]) - served) <= 1, "a clock of floats may be one step off"
        for _ in range(20):
            await turn(1)
        assert heard(one)[1:] == [b"%02d" % n for n in range(30)], "the rest follows, in order"


@pytest.mark.asyncio
async def test_a_change_of_mind_about_a_path_is_asked_for_every_turn(
    rig: Callable[..., Rig],
) -> None:
    one = sorting_rig(rig)
    one.socket.deliver(b"known")
    one.machine.strangers.add(PATH)
    one.machine.strangers.discard(STRANGER)
    one.socket.read(b"first", PATH)
    one.socket.read(b"second", STRANGER)
    one.socket.end_turn()
    assert heard(one) == [b"known", b"second", b"first"]


@pytest.mark.asyncio
@pytest.mark.spec("CN-80")
async def test_connection_ids_of_a_flood_are_looked_up_sixteen_times_a_turn(
    rig: Callable[..., Rig],
) -> None:
    looked_at: list[bytes] = []

    class Counting(EchoMachine):
        def knows(self, datagram: Buffer, path: NetworkPath) -> bool:
            if path == STRANGER and datagram:
                looked_at.append(bytes(datagram))
            return path != STRANGER or bytes(datagram) == b"moved"

    one = rig(Counting(echo=False))
    for n in range(40):
        one.socket.read(b"%05d" % n, STRANGER)
    assert looked_at == [b"%05d" % n for n in range(driver_module.IDS_PER_TURN)]
    one.socket.end_turn()
    one.socket.read(b"00040", STRANGER)
    one.socket.read(b"moved", STRANGER)
    one.socket.end_turn()
    for _ in range(20):
        await turn(1)
    order = heard(one)
    assert set(order) == {b"%05d" % n for n in range(41)} | {b"moved"}
    assert order.index(b"moved") < order.index(b"00040")
