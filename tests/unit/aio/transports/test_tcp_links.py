"""Links over the kernel's TCP: what strangers see, dialling and its ends, options, ports."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from wraith.aio.transports import datagram_endpoint, link_socket
from wraith.aio.transports.addresses import from_sockaddr, to_sockaddr
from wraith.aio.transports.base import (
    PENDING_BYTES_MAX,
    SHORT_BYTES_MAX,
    UNSENT_BYTES_MAX,
    OpenFailed,
)
from wraith.aio.transports.datagram_endpoint import bind_sockets
from wraith.aio.transports.doorstep import Doorstep, open_files_max
from wraith.aio.transports.link_socket import LinkSocket
from wraith.aio.transports.tcp import connect, open_link
from wraith.aio.transports.tcp_listener import TcpListener
from wraith.connection.links.link import UNPROVEN_BYTES_MAX
from wraith.connection.links.pools import PREFACE_S, UNDECIDED_PER_PREFIX_MAX, Stage
from wraith.connection.roads.reasons import RoadReason
from wraith.errors import ConfigError, TransportError
from wraith.testing.links import WAIT_S, OpenDoor, RecordingHost, dialled_link, send_packets
from wraith.testing.rng import SeededRng
from wraith.types import Address, Carrier, Road, Transmit

LOOPBACK = Address(b"\x7f\0\0\1", 0)
linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a Linux socket option"
)


class Listening:
    """A listener whose doorstep has a clock that is moved by hand."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = 1_000.0
        self.door = OpenDoor()
        self.doorstep = Doorstep(loop, SeededRng("there"), clock=lambda: self.now)
        self.listener = TcpListener.bind(LOOPBACK)
        self.listener.start(loop, self.door, self.doorstep)
        self.address = LOOPBACK._replace(port=self.listener.port)
        self.road = Road(Carrier.TCP, self.address)
        self.raw: list[socket.socket] = []

    async def stranger(self) -> socket.socket:
        """A connection of somebody who holds nothing; the listener has accepted it."""
        n = len(self.door.paths)
        sock = socket.socket()
        self.raw.append(sock)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, to_sockaddr(self.address))
        await self.door.wait(lambda: len(self.door.paths) > n)
        return sock

    def accepted(self, at: int = -1) -> LinkSocket:
        link = self.door.links[at]
        assert isinstance(link, LinkSocket)
        return link

    async def swallows(self, sock: socket.socket, data: bytes) -> None:
        """Sends ``data`` and returns when all of it has been read."""
        link = self.accepted()
        before = link.n_received
        await asyncio.get_running_loop().sock_sendall(sock, data)
        async with asyncio.timeout(WAIT_S):
            while link.n_received < before + len(data):
                await asyncio.sleep(0)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.doorstep.run()

    def close(self) -> None:
        self.listener.close()
        for link in self.door.links:
            link.close()
        self.doorstep.close()
        for sock in self.raw:
            sock.close()


@pytest_asyncio.fixture
async def there() -> AsyncIterator[Listening]:
    made = Listening()
    yield made
    made.close()
    for _ in range(3):
        await asyncio.sleep(0)


def is_silent(sock: socket.socket) -> bool:
    """Open, and not a byte has come."""
    try:
        return not sock.recv(1) and False
    except BlockingIOError:
        return True


async def end_of(sock: socket.socket) -> type[BaseException] | bytes:
    """What a reader gets at last."""
    async with asyncio.timeout(WAIT_S):
        try:
            return await asyncio.get_running_loop().sock_recv(sock, 1 << 16)
        except OSError as exc:
            return type(exc)


def first_write(carrier: Carrier = Carrier.TCP, seed: str = "first") -> bytes:
    packet = memoryview(SeededRng(seed).public_bytes(700))
    return b"".join(dialled_link(carrier, seed).frame(packet, 700))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


NOISE = SeededRng("noise").public_bytes(300_000)
STRANGERS = {
    "one byte": b"\0",
    "87 bytes": NOISE[:87],
    "88 wrong bytes": NOISE[:88],
    "4,096 bytes": NOISE[:4_096],
    "300,000 bytes": NOISE,
    "87 right bytes": first_write()[:87],
    "another carrier's preface": first_write(Carrier.WS),
    "a bit flipped in the ephemeral": flipped(first_write(), 9),
    "a bit flipped in the tag": flipped(first_write(), 8 * 40),
    "a bit flipped in the note": flipped(first_write(), 8 * 87 + 7),
    "TLS": bytes.fromhex("1603010200010001fc0303") + NOISE[:506],
    "HTTP": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
}


@pytest.mark.asyncio
@pytest.mark.spec("CA-20", "CA-21")
@pytest.mark.parametrize("name", STRANGERS)
async def test_a_stranger_hears_nothing_until_a_reset_that_no_byte_of_his_decides(
    there: Listening, name: str
) -> None:
    sock = await there.stranger()
    await there.swallows(sock, STRANGERS[name])
    assert is_silent(sock)
    there.pass_time(PREFACE_S)
    assert there.doorstep.count(Stage.DISCARDING) == 1
    await there.swallows(sock, STRANGERS[name])
    there.pass_time(59.9 - PREFACE_S)
    assert is_silent(sock)
    await there.swallows(sock, b"once more")
    there.pass_time(545.2)
    assert await end_of(sock) is ConnectionResetError
    assert there.door.hosts[0].packets == []


@pytest.mark.asyncio
@pytest.mark.spec("CA-6", "CA-21")
async def test_a_recording_hears_nothing(there: Listening) -> None:
    recording = first_write()
    owner, thief = await there.stranger(), await there.stranger()
    await asyncio.get_running_loop().sock_sendall(owner, recording)
    await there.door.hosts[0].wait_packets(1)
    await there.swallows(thief, recording)
    assert is_silent(thief) and there.door.hosts[1].packets == []
    assert there.doorstep.count(Stage.DISCARDING) == 1


@pytest.mark.asyncio
@pytest.mark.spec("CA-21")
async def test_the_time_of_a_reset_does_not_follow_from_what_was_sent() -> None:
    """With the same randomness, two strangers who send different bytes see the same end."""
    ends = []
    for data in (NOISE[:88], NOISE):
        listening = Listening()
        sock = await listening.stranger()
        await listening.swallows(sock, data)
        ends.append(listening.doorstep._pools.next_time())
        listening.close()
    assert ends[0] == ends[1] is not None


@pytest.mark.asyncio
@pytest.mark.spec("CA-13")
async def test_strangers_take_little_memory(there: Listening) -> None:
    for _ in range(UNDECIDED_PER_PREFIX_MAX):
        sock = await there.stranger()
        await there.swallows(sock, NOISE[: 10 + 5_000 * (len(there.raw) % 2)])
    assert len(there.door.streams) == UNDECIDED_PER_PREFIX_MAX
    for stream in there.door.streams:
        assert len(stream._buffer) <= UNPROVEN_BYTES_MAX


@pytest.mark.asyncio
@pytest.mark.spec("CA-20")
async def test_a_slow_one_has_five_seconds_whatever_he_sends(there: Listening) -> None:
    sock = await there.stranger()
    preface = first_write()
    for at in range(49):
        await there.swallows(sock, preface[at : at + 1])
        there.pass_time(0.1)
    assert there.doorstep.count(Stage.UNDECIDED) == 1
    there.pass_time(0.1)
    assert there.doorstep.count(Stage.DISCARDING) == 1
    await there.swallows(sock, preface[49:])
    assert there.door.hosts[0].packets == [] and is_silent(sock)


@pytest.mark.asyncio
@pytest.mark.spec("CA-22")
async def test_the_seventeenth_of_a_prefix_ends_the_first_ones_chance_unseen(
    there: Listening,
) -> None:
    socks = [await there.stranger() for _ in range(UNDECIDED_PER_PREFIX_MAX + 1)]
    assert there.doorstep.count(Stage.UNDECIDED) == UNDECIDED_PER_PREFIX_MAX
    assert there.doorstep.count(Stage.DISCARDING) == 1
    await asyncio.get_running_loop().sock_sendall(socks[0], first_write())
    async with asyncio.timeout(WAIT_S):
        while there.accepted(0).n_received == 0:
            await asyncio.sleep(0)
    assert all(is_silent(sock) for sock in socks)
    assert there.door.hosts[0].packets == [], "it discards"


@pytest.mark.asyncio
@pytest.mark.parametrize("n", [0, 1, 87, 88, 5_000])
async def test_a_peer_that_only_ends_its_own_half_is_let_go_after_any_count_of_bytes(
    there: Listening, n: int
) -> None:
    sock = await there.stranger()
    await there.swallows(sock, NOISE[:n])
    sock.shutdown(socket.SHUT_WR)
    assert await end_of(sock) == b""
    assert there.accepted().is_closed
    assert all(there.doorstep.count(stage) == 0 for stage in Stage)


@pytest.mark.asyncio
async def test_a_half_open_peer_of_an_open_link_is_gone(there: Listening) -> None:
    sock = await there.stranger()
    await asyncio.get_running_loop().sock_sendall(sock, first_write())
    host = there.door.hosts[0]
    await host.wait_packets(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert (await host.wait_closed()).startswith("reset-later(")


@pytest.mark.asyncio
@pytest.mark.parametrize("n_packets", [1, 100])
async def test_a_peer_that_never_ends_its_half_is_not_waited_for(
    there: Listening, monkeypatch: pytest.MonkeyPatch, n_packets: int
) -> None:
    """With everything handed to the kernel it is a plain end, with something left a reset."""
    sock = await there.stranger()
    await asyncio.get_running_loop().sock_sendall(sock, first_write())
    await there.door.hosts[0].wait_packets(1)
    monkeypatch.setattr(link_socket, "LINGER_S", 0.02)
    accepted = there.accepted()
    send_packets(accepted, *[bytes(16_384)] * n_packets)
    assert (accepted._pending_bytes > 0) == (n_packets == 100)
    accepted.close()
    async with asyncio.timeout(WAIT_S):
        while not accepted.is_closed:
            await asyncio.sleep(0.005)
    last: type[BaseException] | bytes = b"?"
    while last:
        last = await end_of(sock)
        if not isinstance(last, bytes):
            break
    assert last == (b"" if n_packets == 1 else ConnectionResetError)


# --- dialling -------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.spec("CA-12")
async def test_preface_and_first_record_leave_in_one_write() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        loop = asyncio.get_running_loop()
        road = Road(Carrier.TCP, from_sockaddr(server.getsockname()))
        link = await open_link(road, dialled_link(Carrier.TCP, "one"), 1)
        peer, _ = await loop.sock_accept(server)
        with peer:
            assert is_silent(peer), "nothing leaves before there is a packet"
            send_packets(link, bytes(1_200))
            assert len(await loop.sock_recv(peer, 1 << 16)) == 88 + 18 + 1_200
        link.reset()


@pytest.mark.asyncio
async def test_an_address_that_is_not_ours_leads_nowhere(there: Listening) -> None:
    elsewhere = Address(bytes((192, 0, 2, 1)), 0)
    with pytest.raises(OpenFailed) as failed:
        await open_link(there.road, dialled_link(Carrier.TCP, "one"), 1, local=elsewhere)
    assert failed.value.failure.reason is RoadReason.UNREACHABLE


def n_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def mute() -> Iterator[Address]:
    """An address that answers no SYN: its queue of connections is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
            fillers.append(filler)
        yield from_sockaddr(server.getsockname())
        for filler in fillers:
            filler.close()


@linux_only
@pytest.mark.asyncio
async def test_no_answer_is_a_time_out(mute: Address) -> None:
    before = n_files()
    with pytest.raises(OpenFailed) as failed:
        await connect(mute, timeout_s=0.05)
    assert failed.value.failure.reason is RoadReason.SYN_TIMEOUT
    assert n_files() == before


@linux_only
@pytest.mark.asyncio
async def test_a_dial_that_is_cancelled_leaves_nothing_behind(mute: Address) -> None:
    before = n_files()
    dialling = asyncio.ensure_future(
        open_link(Road(Carrier.TCP, mute), dialled_link(Carrier.TCP, "one"), 1)
    )
    for _ in range(3):
        await asyncio.sleep(0)
    assert n_files() == before + 1
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert n_files() == before


@pytest.mark.asyncio
async def test_a_road_that_is_none_of_tcp_is_a_defect_of_the_caller() -> None:
    link = dialled_link(Carrier.TCP, "one")
    with pytest.raises(ValueError):
        await open_link(Road(Carrier.WS, url="ws://example.org/"), link, 1)
    with pytest.raises(ConfigError):
        await open_link(Road(Carrier.TCP, LOOPBACK, proxy="http:"), link, 1)


@linux_only
@pytest.mark.asyncio
@pytest.mark.spec("CA-23")
async def test_both_ends_have_the_options_of_a_link(there: Listening) -> None:
    opened = await open_link(there.road, dialled_link(Carrier.TCP, "one"), 1)
    opened.start(RecordingHost())
    await there.door.wait_links(1)
    for link in (opened, there.accepted()):
        sock = link._sock  # type: ignore[attr-defined]
        for option, value in ((socket.TCP_NODELAY, 1), (25, 128 * 1024), (18, 20_000)):
            assert sock.getsockopt(socket.IPPROTO_TCP, option) == value
    opened.reset()


@linux_only
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("is_short", "n_max"),
    [
        pytest.param(False, UNSENT_BYTES_MAX, marks=pytest.mark.spec("CA-24")),
        pytest.param(True, SHORT_BYTES_MAX, marks=pytest.mark.spec("CA-28")),
    ],
)
async def test_the_kernel_holds_little_that_it_has_not_sent(
    there: Listening, is_short: bool, n_max: int
) -> None:
    there.door.starts = False
    opened = await open_link(there.road, dialled_link(Carrier.TCP, "one"), 1)
    opened.start(RecordingHost())
    opened.keep_short(is_short)
    packet = bytes(16_384)
    while opened.room_bytes >= len(packet):
        send_packets(opened, packet)
    import fcntl

    siocoutqnsd = 0x894B
    sock = opened._sock  # type: ignore[attr-defined]
    (n_unsent,) = struct.unpack("i", fcntl.ioctl(sock, siocoutqnsd, bytes(4)))
    # The buffer that crosses the mark is filled, 64 KiB at most.
    assert 0 < n_unsent <= n_max + 64 * 1024
    opened.reset()


@linux_only
@pytest.mark.asyncio
@pytest.mark.spec("CA-25")
async def test_room_is_what_the_process_and_the_kernel_lack_to_their_marks(
    there: Listening,
) -> None:
    there.door.starts = False
    opened = await open_link(there.road, dialled_link(Carrier.TCP, "one"), 1)
    opened.start(RecordingHost())
    assert opened.room_bytes == PENDING_BYTES_MAX + UNSENT_BYTES_MAX
    packet = bytes(16_384)
    while not opened._pending_bytes:
        room = opened.room_bytes
        send_packets(opened, packet)
    assert PENDING_BYTES_MAX <= room < PENDING_BYTES_MAX + UNSENT_BYTES_MAX
    assert opened.room_bytes == PENDING_BYTES_MAX - opened._pending_bytes
    opened.reset()


@pytest.mark.asyncio
async def test_a_part_of_a_packet_is_not_worth_a_turn(there: Listening) -> None:
    stranger = await there.stranger()
    await there.door.wait_links(1)
    host = there.door.hosts[0]
    packet = SeededRng("packet").public_bytes(1_000)
    data = b"".join(map(bytes, dialled_link(Carrier.TCP, "one").frame(memoryview(packet), 1_000)))
    await there.swallows(stranger, data[:500])
    assert host.turns == 0
    await there.swallows(stranger, data[500:])
    assert await host.wait_packets(1) == [packet]
    await host.wait(lambda: host.turns == 1)


# --- ports ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.spec("CA-26")
async def test_udp_and_tcp_listen_on_one_port() -> None:
    for address in (LOOPBACK, Address(b"", 0)):
        sockets = await bind_sockets(address, with_tcp=True)
        listener = TcpListener(sockets.tcp)
        assert sockets.port == listener.port
        await (await asyncio.open_connection("127.0.0.1", listener.port))[1].drain()
        with pytest.raises(TransportError):
            await bind_sockets(address._replace(port=listener.port), with_tcp=True)
        sockets.close()
        listener.close()


@pytest.mark.asyncio
@pytest.mark.spec("CA-26")
async def test_a_port_that_tcp_does_not_give_is_not_taken_for_udp_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TransportError, match="TCP port"):
            await bind_sockets(LOOPBACK._replace(port=port), with_tcp=True)
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", port))


@pytest.mark.asyncio
@pytest.mark.spec("CA-26")
async def test_another_port_is_taken_where_tcp_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first port that UDP gets belongs to somebody over TCP."""
    bind_udp = datagram_endpoint._bind_udp
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1]]

        async def first_that_one(address: Address) -> object:
            return await bind_udp(address._replace(port=ports.pop() if ports else 0))

        monkeypatch.setattr(datagram_endpoint, "_bind_udp", first_that_one)
        sockets = await bind_sockets(LOOPBACK, with_tcp=True)
        assert sockets.port == sockets.tcp[0].getsockname()[1] != taken.getsockname()[1]
        sockets.close()


@linux_only
@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_process_without_files_accepts_again_when_it_has_some(there: Listening) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert open_files_max() == soft
    sock = socket.socket()
    there.raw.append(sock)
    sock.setblocking(False)
    lowest_free = os.dup(sock.fileno())
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        await asyncio.get_running_loop().sock_connect(sock, to_sockaddr(there.address))
        for _ in range(5):
            await asyncio.sleep(0)
        assert there.door.paths == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await there.door.wait(lambda: len(there.door.paths) == 1)


@pytest.mark.asyncio
@pytest.mark.spec("CA-25")
async def test_a_run_of_more_packets_than_one_gather_call_takes(there: Listening) -> None:
    opened = await open_link(there.road, dialled_link(Carrier.TCP, "one"), 1)
    opened.start(RecordingHost())
    data = SeededRng("run").public_bytes(33 * 2_500)
    opened.send(Transmit(memoryview(data), 33, opened.path))
    await there.door.wait_links(1)
    assert b"".join(await there.door.hosts[0].wait_packets(2_500)) == data
    opened.reset()
