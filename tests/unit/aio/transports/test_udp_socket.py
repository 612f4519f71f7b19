"""The UDP socket against the real kernel, over loopback."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from wraith.aio.transports import udp
from wraith.aio.transports.udp import UdpSocket
from wraith.types import Address, NetworkPath, Transmit

LOOPBACK = Address(b"\x7f\0\0\1", 0)
LOOPBACK6 = Address(bytes(15) + b"\1", 0)
linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a Linux socket option"
)


class Collector:
    """Keeps what arrives; ``wait_bytes`` returns when there is enough."""

    def __init__(self) -> None:
        self.bursts: list[tuple[bytes, int, NetworkPath]] = []
        self.aside: list[bytes] = []
        self.strangers: set[int] = set()
        self.turns = 0
        self.was_empty: bool | None = None
        self._more = asyncio.Event()

    def receive(self, data: memoryview, segment_bytes: int, path: NetworkPath) -> None:
        self.bursts.append((bytes(data), segment_bytes, path))

    def put_aside(self, data: memoryview, segment_bytes: int, path: NetworkPath) -> bool:
        if path.remote.port not in self.strangers:
            return False
        self.aside.append(bytes(data))
        return True

    def turn(self, is_empty: bool) -> None:
        self.turns += 1
        self.was_empty = is_empty
        self._more.set()

    @property
    def joined(self) -> bytes:
        return b"".join(data for data, _, _ in self.bursts)

    async def wait_bytes(self, n: int) -> bytes:
        async with asyncio.timeout(5):
            while len(self.joined) < n:
                self._more.clear()
                await self._more.wait()
        return self.joined


Pair = tuple[UdpSocket, UdpSocket, Collector]


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Callable[..., Pair]]:
    opened: list[UdpSocket] = []

    def make(address: Address = LOOPBACK, *, offload: bool = True) -> Pair:
        sender, receiver = (UdpSocket.bind(address, offload=offload) for _ in range(2))
        opened.extend((sender, receiver))
        collector = Collector()
        loop = asyncio.get_running_loop()
        sender.start(loop, lambda *_: None, lambda _: None, lambda *_: False)
        receiver.start(loop, collector.receive, collector.turn, collector.put_aside)
        return sender, receiver, collector

    yield make
    for sock in opened:
        sock.close()


def burst(data: bytes, segment_bytes: int, path: NetworkPath) -> Transmit:
    return Transmit(memoryview(data), segment_bytes, path)


def numbered(n: int, size: int, last: int | None = None) -> bytes:
    pieces = [bytes([i % 256]) * size for i in range(n)]
    if last is not None:
        pieces[-1] = pieces[-1][:last]
    return b"".join(pieces)


@pytest.mark.asyncio
@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("address", [LOOPBACK, LOOPBACK6], ids=["ipv4", "ipv6"])
async def test_a_burst_arrives_whole_and_in_order(
    pair: Callable[..., Pair], address: Address, offload: bool
) -> None:
    sender, receiver, got = pair(address, offload=offload)
    data = numbered(46, 1400, last=700)
    path = NetworkPath(sender.local, receiver.local)

    assert sender.send(burst(data, 1400, path), 0) == len(data)

    assert await got.wait_bytes(len(data)) == data
    assert all(segment in (1400, 700) for _, segment, _ in got.bursts)
    assert len(got.bursts) < 46, "what was there is delivered together"


@pytest.mark.asyncio
@pytest.mark.parametrize("offload", [True, False])
async def test_reads_are_joined_only_where_all_datagrams_but_the_last_are_of_one_size(
    pair: Callable[..., Pair], offload: bool
) -> None:
    sender, receiver, got = pair(offload=offload)
    path = NetworkPath(sender.local, receiver.local)
    sizes = [300, 300, 200, 300, 400, 400, 400, 1, 1, 2, 300]
    for i, size in enumerate(sizes):
        sender.send(burst(bytes([i]) * size, size, path), 0)
    sender.send(burst(numbered(5, 300, last=20), 300, path), 0)

    await got.wait_bytes(sum(sizes) + 4 * 300 + 20)
    cut = [
        data[at : at + segment]
        for data, segment, _ in got.bursts
        for at in range(0, len(data), segment)
    ]
    sent = [bytes([i]) * size for i, size in enumerate(sizes)]
    assert cut == sent + [bytes([i]) * (300 if i < 4 else 20) for i in range(5)]
    assert len(got.bursts) < len(cut)


@pytest.mark.asyncio
async def test_datagrams_of_two_senders_are_not_mixed(pair: Callable[..., Pair]) -> None:
    sender, receiver, got = pair(offload=False)
    other = UdpSocket.bind(LOOPBACK)
    try:
        for i in range(6):
            one = sender if i % 3 else other
            one.send(burst(bytes([i]) * 9, 9, NetworkPath(one.local, receiver.local)), 0)
        assert len(await got.wait_bytes(54)) == 54
        for data, segment, path in got.bursts:
            remote = path.remote
            senders = {other.local if byte % 3 == 0 else sender.local for byte in data}
            assert segment == 9 and senders == {remote}
    finally:
        other.close()


@pytest.mark.asyncio
async def test_bursts_beyond_the_kernel_limits_are_cut(pair: Callable[..., Pair]) -> None:
    sender, receiver, got = pair()
    path = NetworkPath(sender.local, receiver.local)
    recorder = refuse(sender, lambda n, segmented: None)
    for data, size in ((numbered(200, 100), 100), (numbered(12, 8900), 8900)):
        before = len(got.joined)
        assert sender.send(burst(data, size, path), 0) == len(data)
        await got.wait_bytes(before + len(data))
    assert got.joined == numbered(200, 100) + numbered(12, 8900)
    assert sender.datagrams_dropped == 0
    if sender.bursts_out:
        sizes = [n for n, _ in recorder.calls]
        assert sizes == [6400, 6400, 6400, 800, 7 * 8900, 5 * 8900]


@pytest.mark.asyncio
async def test_the_path_names_both_ends(pair: Callable[..., Pair]) -> None:
    sender, receiver, got = pair()
    sender.send(burst(b"x", 1, NetworkPath(Address(b"", 0), receiver.local)), 0)
    await got.wait_bytes(1)
    assert got.bursts[0][2] == NetworkPath(receiver.local, sender.local)


@linux_only
@pytest.mark.asyncio
async def test_a_wildcard_socket_sees_and_uses_the_address_that_was_called() -> None:
    got = Collector()
    wildcard = UdpSocket.bind(Address(bytes(4), 0))
    client = UdpSocket.bind(Address(b"\x7f\0\0\5", 0))
    try:
        loop = asyncio.get_running_loop()
        answered = Collector()
        wildcard.start(loop, got.receive, got.turn, got.put_aside)
        client.start(loop, answered.receive, answered.turn, answered.put_aside)
        called = Address(b"\x7f\0\0\7", wildcard.local.port)
        client.send(burst(b"hello", 5, NetworkPath(client.local, called)), 0)
        await got.wait_bytes(5)
        path = got.bursts[0][2]
        assert path.local == called

        wildcard.send(burst(b"answer", 6, path), 0)
        await answered.wait_bytes(6)
        assert answered.bursts[0][2].remote == called
    finally:
        wildcard.close()
        client.close()


@linux_only
@pytest.mark.asyncio
@pytest.mark.parametrize("version", [4, 6])
async def test_ancillary_messages_that_nobody_asked_for_are_ignored(version: int) -> None:
    """The type of service is one byte, which is no address, and its type is no packet info's."""
    got = Collector()
    wildcard = UdpSocket.bind(Address(bytes(4 if version == 4 else 16), 0))
    if version == 4:
        called = b"\x7f\0\0\7"
        level, receive, mark = socket.IPPROTO_IP, socket.IP_RECVTOS, socket.IP_TOS
    else:
        called = bytes(15) + b"\1"
        level, receive, mark = socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, socket.IPV6_TCLASS
    wildcard._sock.setsockopt(level, receive, 1)
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.setsockopt(level, mark, 0x2E << 2)
        wildcard.start(asyncio.get_running_loop(), got.receive, got.turn, got.put_aside)
        try:
            s.sendto(b"marked", (socket.inet_ntop(s.family, called), wildcard.local.port))
            await got.wait_bytes(6)
        finally:
            wildcard.close()
    assert got.bursts[0][2].local == Address(called, wildcard.local.port)


class RefusingSocket:
    """Stands before a real socket and refuses chosen calls of ``sendmsg``."""

    def __init__(self, real: socket.socket, refuse: Callable[[int, bool], int | None]) -> None:
        self._real = real
        self._refuse = refuse
        self.calls: list[tuple[int, bool]] = []

    def sendmsg(
        self, buffers: Any, ancillary: Any = (), flags: int = 0, address: Any = None
    ) -> int:
        n = sum(len(part) for part in buffers)
        segmented = any(kind == 103 and level == 17 for level, kind, _ in ancillary)
        code = self._refuse(n, segmented)
        self.calls.append((n, segmented))
        if code is not None:
            raise OSError(code, "refused by the test")
        return self._real.sendmsg(buffers, ancillary, flags, address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def refuse(sock: UdpSocket, when: Callable[[int, bool], int | None]) -> RefusingSocket:
    refusing = RefusingSocket(sock._sock, when)
    sock._sock = refusing  # type: ignore[assignment]
    return refusing


@linux_only
@pytest.mark.asyncio
@pytest.mark.parametrize("code", [errno.EMSGSIZE, errno.EINVAL, errno.EIO])
async def test_a_refused_burst_goes_out_one_by_one_and_bursts_are_tried_again_later(
    pair: Callable[..., Pair], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver, got = pair()
    refusing = refuse(sender, lambda n, segmented: code if segmented else None)
    path = NetworkPath(sender.local, receiver.local)
    data = numbered(5, 1200)

    assert sender.send(burst(data, 1200, path), 0) == len(data)
    assert await got.wait_bytes(len(data)) == data
    assert refusing.calls == [(6000, True)] + [(1200, False)] * 5
    assert sender.datagrams_dropped == 0

    refusing.calls.clear()
    sender.send(burst(data, 1200, path), 0)
    assert not any(segmented for _, segmented in refusing.calls), "the path is remembered"
    other = NetworkPath(sender.local, sender.local)
    sender.send(burst(data, 1200, other), 0)
    assert refusing.calls[5] == (6000, True), "another path still gets bursts"

    refusing.calls.clear()
    later = time.monotonic() + udp.NO_BURST_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    sender.send(burst(data, 1200, path), 0)
    assert refusing.calls[0] == (6000, True), "and after a while this one too"


@pytest.mark.asyncio
async def test_a_full_kernel_keeps_the_rest_of_the_same_bytes(pair: Callable[..., Pair]) -> None:
    sender, receiver, got = pair(offload=False)
    room = 3

    def full(n: int, segmented: bool) -> int | None:
        nonlocal room
        room -= 1
        return errno.EAGAIN if room < 0 else None

    refuse(sender, full)
    data = numbered(8, 500)
    transmit = burst(data, 500, NetworkPath(sender.local, receiver.local))
    assert sender.send(transmit, 0) == 1500

    resumed = asyncio.Event()
    sender.when_writable(resumed.set)
    async with asyncio.timeout(5):
        await resumed.wait()
    room = 100
    assert sender.send(transmit, 1500) == len(data)
    assert await got.wait_bytes(len(data)) == data


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [errno.ECONNREFUSED, errno.ENETUNREACH, errno.EPERM])
async def test_a_network_error_is_a_lost_datagram(pair: Callable[..., Pair], code: int) -> None:
    sender, receiver, got = pair(offload=False)
    first = True

    def once(n: int, segmented: bool) -> int | None:
        nonlocal first
        failing, first = first, False
        return code if failing else None

    refuse(sender, once)
    data = numbered(3, 100)
    assert sender.send(burst(data, 100, NetworkPath(sender.local, receiver.local)), 0) == 300
    assert await got.wait_bytes(200) == data[100:]
    assert sender.datagrams_dropped == 1


@linux_only
@pytest.mark.asyncio
async def test_a_source_that_this_host_has_no_longer_gives_way_to_another_one() -> None:
    got = Collector()
    wildcard = UdpSocket.bind(Address(bytes(4), 0))
    receiver = UdpSocket.bind(Address(b"\x7f\0\0\1", 0))
    gone = Address(bytes((192, 0, 2, 77)), wildcard.local.port)
    try:
        receiver.start(asyncio.get_running_loop(), got.receive, got.turn, got.put_aside)
        data = numbered(8, 500)
        assert wildcard.send(burst(data, 500, NetworkPath(gone, receiver.local)), 0) == len(data)
        assert await got.wait_bytes(len(data)) == data
        assert wildcard.datagrams_dropped == 0
        assert got.bursts[0][2].remote == Address(b"\x7f\0\0\1", wildcard.local.port)
    finally:
        wildcard.close()
        receiver.close()


@linux_only
@pytest.mark.asyncio
async def test_an_error_of_another_kind_leaves_the_source_as_it_is() -> None:
    wildcard = UdpSocket.bind(Address(bytes(4), 0))
    here = Address(b"\x7f\0\0\5", wildcard.local.port)
    nowhere = NetworkPath(here, Address(bytes((192, 0, 2, 1)), 9))  # from loopback: EINVAL
    try:
        for _ in range(2):
            wildcard.send(burst(b"lost", 4, nowhere), 0)
        assert wildcard.datagrams_dropped == 2
    finally:
        wildcard.close()


@pytest.mark.asyncio
async def test_a_turn_reads_at_most_64_times(
    pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "TURN_S", 60.0)
    sender, receiver, got = pair(offload=False)
    path = NetworkPath(sender.local, receiver.local)
    for _ in range(150):
        sender.send(burst(b"0123456789", 10, path), 0)
    await got.wait_bytes(1500)
    assert got.turns == 3


@pytest.mark.asyncio
async def test_a_turn_ends_when_its_time_is_over(
    pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "TURN_S", 0.0)
    sender, receiver, got = pair(offload=False)
    path = NetworkPath(sender.local, receiver.local)
    for _ in range(5):
        sender.send(burst(b"0123456789", 10, path), 0)
    await got.wait_bytes(50)
    assert got.turns == 5, "one read a turn"


@pytest.mark.asyncio
async def test_an_empty_datagram_is_nothing(pair: Callable[..., Pair]) -> None:
    _, receiver, got = pair()
    host = ("127.0.0.1", receiver.local.port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.sendto(b"", host)
        plain.sendto(b"x", host)
    await got.wait_bytes(1)
    assert [data for data, _, _ in got.bursts] == [b"x"]


@pytest.mark.asyncio
async def test_a_datagram_that_did_not_fit_is_not_delivered_in_part(
    pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "READ_BYTES", 1_000)
    near, far, collector = pair()
    path = NetworkPath(near.local, far.local)
    for data in (b"a" * 1_001, b"b" * 1_000):
        near.send(Transmit(memoryview(data), len(data), path), 0)
    assert await collector.wait_bytes(1_000) == b"b" * 1_000
    assert [size for _, size, _ in collector.bursts] == [1_000]


@pytest.mark.asyncio
async def test_what_is_remembered_about_strangers_is_bounded(
    pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "_PATHS_MAX", 8)
    sender, receiver, got = pair()
    for i in range(30):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.sendto(bytes([i]), ("127.0.0.1", receiver.local.port))
        sender.send(burst(b"x", 1, NetworkPath(sender.local, Address(b"\x7f\0\0\1", 40000 + i))), 0)
    await got.wait_bytes(30)
    assert len(receiver._paths) <= 8
    assert len(sender._routes) <= 8


@linux_only
def test_options_of_the_sockets() -> None:
    v4, v6 = UdpSocket.bind(LOOPBACK), UdpSocket.bind(LOOPBACK6)
    try:
        assert v4._sock.getsockopt(socket.IPPROTO_IP, 10) == 3, "DF set, kernel's MTU ignored"
        assert v6._sock.getsockopt(socket.IPPROTO_IPV6, 23) == 3
        assert v6._sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        for sock in (v4, v6):
            given = sock._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            assert sock.receive_buffer_bytes == given // 2
            assert sock.receive_buffer_bytes > 100_000
            assert not sock._sock.get_inheritable()
            assert not sock._sock.getblocking()
    finally:
        v4.close()
        v6.close()


@pytest.mark.asyncio
async def test_close_is_idempotent_and_stops_reading(pair: Callable[..., Pair]) -> None:
    sender, receiver, got = pair()
    target = receiver.local
    receiver.close()
    receiver.close()
    sender.send(burst(b"late", 4, NetworkPath(sender.local, target)), 0)
    await asyncio.sleep(0)
    assert got.bursts == []


@pytest.mark.asyncio
async def test_what_is_put_aside_does_not_cut_the_runs_of_the_others(
    pair: Callable[..., Pair],
) -> None:
    sender, receiver, got = pair(offload=False)
    stranger = UdpSocket.bind(LOOPBACK, offload=False)
    got.strangers.add(stranger.local.port)
    try:
        for n in range(200):
            path = NetworkPath(sender.local, receiver.local)
            sender.send(burst(bytes((n,)) * 100, 100, path), 0)
            stranger.send(burst(b"garbage!" * 50, 400, path), 0)
        data = numbered(200, 100)
        assert await got.wait_bytes(len(data)) == data
        async with asyncio.timeout(5):
            while len(got.aside) < 200:
                await asyncio.sleep(0.001)
    finally:
        stranger.close()
    assert got.aside == [b"garbage!" * 50] * 200
    assert got.was_empty is True
    assert len(got.bursts) < 20, "64 reads of one sender are one burst, whoever else sends"
