"""One call when the network of this host changed, and none when it did not."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.aio.transports import network_watch as module
from wraith.aio.transports.network_state import NetworkState
from wraith.aio.transports.network_watch import NetworkWatch, link_states
from wraith.testing.netns import DEVICE, Namespace, paired, require_netns

ENOUGH_S = 10.0
QUIET_S = 0.25  # longer than a hint needs to become a call


@pytest.fixture
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    require_netns()
    with paired() as made:
        yield made


async def called(calls: asyncio.Queue[None], n: int = 1) -> None:
    async with asyncio.timeout(ENOUGH_S):
        for _ in range(n):
            await calls.get()


def watched(body: Callable[[asyncio.Queue[None]], object], where: Namespace) -> NetworkWatch:
    """Runs ``body`` beside a watch in the namespace; a call puts something into its queue."""

    async def run() -> NetworkWatch:
        calls: asyncio.Queue[None] = asyncio.Queue()
        wrong: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        watch = NetworkWatch(lambda: calls.put_nowait(None))
        watch.start(asyncio.get_running_loop())
        try:
            await body(calls)  # type: ignore[misc]
        finally:
            watch.close()
            watch.close()
        assert not wrong
        return watch

    with where.entered():
        return asyncio.run(run())


CHANGES = {
    "address added": ["address", "add", "10.213.22.77/24", "dev", DEVICE],
    "address gone": ["address", "del", "10.213.22.1/24", "dev", DEVICE],
    "address of IPv6 added": ["address", "add", "fd13:22::77/64", "dev", DEVICE, "nodad"],
    "default route": ["route", "add", "default", "via", "10.213.22.2"],
    "default route of IPv6": ["route", "add", "default", "via", "fd13:22::2"],
    "another route": ["route", "add", "192.0.2.0/24", "via", "10.213.22.2"],
    "link down": ["link", "set", DEVICE, "down"],
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_is_one_call(change: str, ends: tuple[Namespace, Namespace]) -> None:
    left, _ = ends

    async def body(calls: asyncio.Queue[None]) -> None:
        left.ip(*CHANGES[change])
        await called(calls)
        await asyncio.sleep(QUIET_S)
        assert calls.empty()

    assert not watched(body, left).is_polling


def test_a_wire_that_is_pulled_and_put_back(ends: tuple[Namespace, Namespace]) -> None:
    left, right = ends

    async def body(calls: asyncio.Queue[None]) -> None:
        for state in ("down", "up"):
            right.ip("link", "set", DEVICE, state)
            await called(calls)

    watched(body, left)


def test_messages_that_change_nothing_call_nobody(ends: tuple[Namespace, Namespace]) -> None:
    left, _ = ends

    async def body(calls: asyncio.Queue[None]) -> None:
        left.ip("link", "set", DEVICE, "alias", "renamed")
        lifetimes = ("valid_lft", "9000", "preferred_lft", "9000")
        left.ip("address", "change", f"{left.ipv4}/24", "dev", DEVICE, *lifetimes)
        await asyncio.sleep(QUIET_S)
        assert calls.empty()

    watched(body, left)


def test_a_burst_is_a_call_or_two(ends: tuple[Namespace, Namespace]) -> None:
    left, _ = ends

    async def body(calls: asyncio.Queue[None]) -> None:
        for i in range(10):
            await asyncio.to_thread(left.ip, "address", "add", f"10.9.{i}.1/24", "dev", DEVICE)
        await called(calls)
        await asyncio.sleep(QUIET_S)
        assert calls.qsize() <= 1

    watched(body, left)


def test_what_the_kernel_had_no_room_for_is_found_all_the_same(
    ends: tuple[Namespace, Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, _ = ends
    make = module._netlink_socket

    def with_little_room() -> socket.socket | None:
        sock = make()
        assert sock is not None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        return sock

    monkeypatch.setattr(module, "_netlink_socket", with_little_room)
    batch = "".join(f"address add 10.9.{i}.1/24 dev {DEVICE}\n" for i in range(200))

    async def body(calls: asyncio.Queue[None]) -> None:
        left.run("ip", "-batch", "-", text_in=batch)  # the loop stands still meanwhile
        await called(calls)

    watched(body, left)


def states(*found: str) -> Callable[[], NetworkState]:
    """What is found at each look, the last one for ever."""
    rest = list(found)
    return lambda: NetworkState(
        frozenset({("eth0", rest.pop(0) if len(rest) > 1 else rest[0], 24)}), frozenset()
    )


def polled(state: Callable[[], NetworkState], n_looks: int) -> int:
    """The calls in at least so many looks."""
    looks = 0
    calls: list[None] = []
    done = asyncio.Event()

    def looked() -> NetworkState:
        nonlocal looks
        looks += 1
        if looks > n_looks:
            done.set()
        return state()

    async def run() -> None:
        watch = NetworkWatch(lambda: calls.append(None), state=looked)
        watch.start(asyncio.get_running_loop())
        assert watch.is_polling
        async with asyncio.timeout(ENOUGH_S):
            await done.wait()
        watch.close()
        n_calls = len(calls)
        await asyncio.sleep(0.03)
        assert len(calls) == n_calls, "nobody is called after close"

    asyncio.run(run())
    return len(calls)


def test_without_netlink_the_state_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_netlink_socket", lambda: None)
    monkeypatch.setattr(module, "POLL_S", 0.01)
    assert polled(states("192.0.2.1"), 5) == 0
    assert polled(states("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1"), 6) == 2


def test_a_process_that_may_not_listen_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)
    real_socket = socket.socket

    def denied(family: int = -1, *rest: int, **named: object) -> socket.socket:
        if family == socket.AF_NETLINK:
            raise PermissionError
        return real_socket(family, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", denied)
    assert polled(states("192.0.2.1", "192.0.2.2"), 3) == 1
    monkeypatch.setattr(socket, "socket", real_socket)
    monkeypatch.delattr(socket, "AF_NETLINK", raising=False)
    assert polled(states("192.0.2.1", "192.0.2.2"), 3) == 1


def test_a_loop_without_add_reader_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)

    def none(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", none)
    assert polled(states("192.0.2.1", "192.0.2.2"), 3) == 1


def message(kind: int, index: int = 2, flags: int = 0x41, n_bytes: int | None = None) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0) + b"\x08\x00\x03\x00eth0"
    length = 16 + len(body) if n_bytes is None else n_bytes
    return struct.pack("=IHHII", length, kind, 0, 0, 0) + body


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (message(16), [(2, True)]),
        (message(16, flags=0x01), [(2, False)]),
        (message(16, flags=0x40), [(2, False)]),
        (message(17, 7), [(7, None)]),
        (message(20) + message(16, 3) + message(24), [(3, True)]),
        (message(16, n_bytes=16) + message(16, 3), []),
        (message(16, n_bytes=0), []),
        (message(16, n_bytes=1 << 31), []),
        (message(16)[:-1], []),
        (b"", []),
    ],
)
def test_link_states_in_netlink_messages(data: bytes, found: list[tuple[int, bool | None]]) -> None:
    assert list(link_states(data)) == found


@given(st.binary(max_size=300), st.lists(st.integers(0, 40), max_size=5))
def test_any_bytes_end(data: bytes, kinds: list[int]) -> None:
    for bytes_ in (data, message(16) + data, b"".join(message(kind) for kind in kinds) + data):
        assert len(list(link_states(bytes_))) <= len(bytes_) // 16
