"""Links over QUIC: what strangers see, dialling and its ends, what is held, many bytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from wraith.aio.carriers import quic_link
from wraith.aio.carriers.quic import bind_listener, open_link
from wraith.aio.carriers.quic_link import AGREEMENT, PROTOCOL, WINDOW_BYTES, QuicSocket
from wraith.aio.libp2p import Libp2pConnection, Libp2pHost, Libp2pStream
from wraith.aio.transports.base import PENDING_BYTES_MAX, UNSENT_BYTES_MAX, OpenFailed
from wraith.aio.transports.doorstep import Doorstep
from wraith.connection.links.link import UNPROVEN_BYTES_MAX, LinkState
from wraith.connection.links.pools import PREFACE_S, Stage
from wraith.connection.roads.reasons import RoadReason
from wraith.errors import LocalProtocolError, PeerClosed, TransportError
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.libp2p.multiaddr import quic_multiaddr
from wraith.libp2p.multistream import HEADER, encode_message
from wraith.testing.links import WAIT_S, OpenDoor, RecordingHost, dialled_link, send_packets
from wraith.testing.rng import SeededRng
from wraith.types import LINK_PACKET_BYTES_MAX, Address, Carrier, Road, Transmit

LOOPBACK = Address(b"\x7f\0\0\1", 0)
BACKENDS = ("aioquic", "qh3")
for _name in BACKENDS:
    pytest.importorskip(_name)


class Listening:
    """A listener whose doorstep has a clock that is moved by hand, and who dials it."""

    def __init__(self, backend: str = "aioquic") -> None:
        loop = asyncio.get_running_loop()
        self.backend = backend
        self.now = 1_000.0
        self.door = OpenDoor()
        self.doorstep = Doorstep(loop, SeededRng("there"), clock=lambda: self.now)
        self.listener = bind_listener(LOOPBACK, backend=backend)
        self.listener.start(loop, self.door, self.doorstep)
        self.address = LOOPBACK._replace(port=self.listener.port)
        self.road = Road(Carrier.QUIC, self.address)
        self._hosts: list[Libp2pHost] = []
        self.dialled: list[QuicSocket] = []

    async def stranger(
        self, config: QuicTransportConfig | None = None
    ) -> tuple[Libp2pConnection, QuicSocket]:
        """A QUIC connection of somebody who holds nothing, and its link at the listener."""
        n = len(self.door.paths)
        host = await Libp2pHost.create(config=config)
        self._hosts.append(host)
        connection = await host.dial(str(quic_multiaddr(self.address)), any_peer=True)
        await self.door.wait(lambda: len(self.door.paths) > n)
        return connection, self.accepted()

    async def dial(self, seed: str = "one") -> tuple[QuicSocket, RecordingHost]:
        link = dialled_link(Carrier.QUIC, seed)
        opened = await open_link(self.road, link, len(self.dialled) + 1, backend=self.backend)
        self.dialled.append(opened)
        host = RecordingHost()
        opened.start(host)
        return opened, host

    def accepted(self, at: int = -1) -> QuicSocket:
        link = self.door.links[at]
        assert isinstance(link, QuicSocket)
        return link

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.doorstep.run()

    async def close(self) -> None:
        self.listener.close()
        for link in (*self.door.links, *self.dialled):
            assert isinstance(link, QuicSocket)
            link.reset()
        self.doorstep.close()
        for host in self._hosts:
            await host.close()


@pytest_asyncio.fixture(params=BACKENDS)
async def there(request: pytest.FixtureRequest) -> AsyncIterator[Listening]:
    made = Listening(request.param)
    yield made
    await made.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0)


async def swallows(
    stream: Libp2pStream, link: QuicSocket, data: bytes, n_link_bytes: int | None = None
) -> None:
    """Sends ``data`` and returns when the link has read so many bytes of it; all if ``None``."""
    before = link.n_received
    await stream.write(data)
    await until(lambda: link.n_received >= before + (n_link_bytes or len(data)))


async def agreed(connection: Libp2pConnection) -> Libp2pStream:
    """A stream on which the protocol is agreed."""
    return await connection.open_stream(PROTOCOL)


def first_write(carrier: Carrier = Carrier.QUIC, seed: str = "first") -> bytes:
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
    "300,000 bytes": NOISE,
    "87 right bytes": first_write()[:87],
    "another carrier's preface": first_write(Carrier.TCP),
    "a bit flipped in the tag": flipped(first_write(), 8 * 40),
    "the agreement once more": AGREEMENT,
}


# --- strangers ------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.spec("CA-20", "CA-21", "CA-81", "CA-85")
@pytest.mark.parametrize("name", STRANGERS)
async def test_a_stranger_hears_nothing_until_a_reset_that_no_byte_of_his_decides(
    there: Listening, name: str
) -> None:
    connection, link = await there.stranger()
    stream = await agreed(connection)
    await swallows(stream, link, STRANGERS[name])
    there.pass_time(PREFACE_S)
    assert there.doorstep.count(Stage.DISCARDING) == 1
    await swallows(stream, link, STRANGERS[name])
    there.pass_time(59.9 - PREFACE_S)
    await swallows(stream, link, b"once more")
    assert stream.read_nowait() is None and connection.is_open
    there.pass_time(545.2)
    end = await connection.wait_closed()
    assert isinstance(end, PeerClosed) and end.close_code == 0x1006 and end.reason == ""
    assert there.door.hosts[0].packets == [] and there.doorstep.count(Stage.DISCARDING) == 0


@pytest.mark.asyncio
@pytest.mark.spec("CA-81")
@pytest.mark.parametrize(
    "words",
    [
        encode_message(HEADER) + encode_message("/ipfs/ping/1.0.0"),
        encode_message(HEADER) + encode_message("/wraith/carrier/1.0.1"),
        encode_message("/multistream/2.0.0") + encode_message(PROTOCOL),
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        NOISE,
        first_write(),
    ],
    ids=["ping", "another version", "another header", "HTTP", "noise", "a good preface"],
)
async def test_who_asks_for_another_protocol_hears_nothing_at_all(
    there: Listening, words: bytes
) -> None:
    connection, link = await there.stranger()
    stream = connection.open_raw_stream()
    await swallows(stream, link, words)
    assert there.doorstep.count(Stage.DISCARDING) == 1
    await swallows(stream, link, AGREEMENT + first_write())
    there.pass_time(59.9)
    await asyncio.sleep(0)
    assert stream.read_nowait() is None and connection.is_open
    there.pass_time(540.2)
    assert isinstance(await connection.wait_closed(), PeerClosed)
    assert there.door.hosts[0].packets == []


@pytest.mark.asyncio
@pytest.mark.spec("CA-20", "CA-82")
@pytest.mark.parametrize("words", [b"", AGREEMENT[:10]], ids=["no stream", "half a word"])
async def test_who_says_nothing_is_kept_for_five_seconds_and_then_discarded(
    there: Listening, words: bytes
) -> None:
    connection, _ = await there.stranger()
    if words:
        await connection.open_raw_stream().write(words)
        await connection.wait_delivered()
    assert there.doorstep.count(Stage.UNDECIDED) == 1
    there.pass_time(PREFACE_S)
    assert there.doorstep.count(Stage.DISCARDING) == 1 and connection.is_open
    there.pass_time(600.1)
    assert isinstance(await connection.wait_closed(), PeerClosed)


@pytest.mark.asyncio
@pytest.mark.spec("CA-82")
async def test_the_agreement_may_come_in_pieces(there: Listening) -> None:
    connection, link = await there.stranger()
    stream = connection.open_raw_stream()
    for i in range(0, len(AGREEMENT), 5):
        await stream.write(AGREEMENT[i : i + 5])
        await connection.wait_delivered()
        if i + 5 < len(AGREEMENT):
            assert stream.read_nowait() is None
    assert await stream.read_exactly(len(AGREEMENT)) == AGREEMENT
    await swallows(stream, link, first_write())
    assert len(await there.door.hosts[0].wait_packets(1)) == 1


@pytest.mark.asyncio
@pytest.mark.spec("CA-82")
async def test_a_link_has_one_stream() -> None:
    listening = Listening("aioquic")
    connection, _ = await listening.stranger()
    await agreed(connection)
    with pytest.raises(LocalProtocolError):
        connection.open_raw_stream()
    await listening.close()


@pytest.mark.asyncio
@pytest.mark.spec("CA-82")
async def test_where_a_library_allows_more_streams_they_are_left_unread() -> None:
    listening = Listening("qh3")
    connection, link = await listening.stranger()
    stream = await agreed(connection)
    second = connection.open_raw_stream()
    await second.write(AGREEMENT + NOISE)
    await connection.wait_delivered()
    await swallows(stream, link, first_write())
    assert len(await listening.door.hosts[0].wait_packets(1)) == 1
    assert second.read_nowait() is None
    await listening.close()


@pytest.mark.asyncio
async def test_a_stranger_who_ends_his_stream_is_gone(there: Listening) -> None:
    connection, _ = await there.stranger()
    stream = connection.open_raw_stream()
    await stream.write(AGREEMENT[:3])
    await stream.close_write()
    assert await connection.wait_closed() is None
    assert there.doorstep.count(Stage.UNDECIDED) == 0


@pytest.mark.asyncio
async def test_a_stream_that_is_reset_is_a_link_that_broke(there: Listening) -> None:
    connection, link = await there.stranger()
    stream = await agreed(connection)
    await swallows(stream, link, first_write())
    stream.reset()
    assert (await there.door.hosts[0].wait_closed()).startswith("reset-later(")
    assert there.doorstep.count(Stage.PROVEN) == 0


@pytest.mark.asyncio
@pytest.mark.spec("CA-13", "CA-82")
async def test_strangers_take_little_memory(there: Listening) -> None:
    connection, link = await there.stranger()
    stream = await agreed(connection)
    await swallows(stream, link, NOISE[:87])
    (made,) = there.door.streams
    for data, state in ((b"", LinkState.UNDECIDED), (NOISE, LinkState.DISCARDING)):
        if data:
            await swallows(stream, link, data)
        assert made.state is state and len(made._buffer) <= UNPROVEN_BYTES_MAX
    assert link._stream is not None
    await until(lambda: link._stream is not None and link._stream.n_waiting == 0)


# --- who is who -----------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.spec("CA-80")
async def test_no_key_exchange_without_ml_kem(there: Listening) -> None:
    with pytest.raises(TransportError):
        await there.stranger(QuicTransportConfig(policy=PqPolicy.CLASSICAL))
    assert there.door.paths == []
    opened, _ = await there.dial()
    assert opened._connection.security.post_quantum


@pytest.mark.asyncio
@pytest.mark.spec("CA-80")
async def test_a_dialler_refuses_a_listener_without_ml_kem() -> None:
    config = QuicTransportConfig(policy=PqPolicy.CLASSICAL)
    listen = ["/ip4/127.0.0.1/udp/0/quic-v1"]
    async with await Libp2pHost.create(listen=listen, config=config) as host:
        road = Road(Carrier.QUIC, LOOPBACK._replace(port=host._sockets.port))
        with pytest.raises(OpenFailed) as failed:
            await open_link(road, dialled_link(Carrier.QUIC, "one"), 1)
    assert failed.value.failure.reason is RoadReason.TLS_ALERT


@pytest.mark.asyncio
@pytest.mark.spec("CA-80")
async def test_identities_are_fresh_and_nobody_asks_for_them(there: Listening) -> None:
    for seed in ("one", "two"):
        opened, _ = await there.dial(seed)
        send_packets(opened, bytes(600))
    await there.door.wait_links(2)
    assert there.accepted(0)._connection.peer_id != there.accepted(1)._connection.peer_id
    other = Listening(there.backend)
    opened, _ = await other.dial()
    assert opened._connection.peer_id != there.dialled[0]._connection.peer_id
    await other.close()


# --- dialling -------------------------------------------------------------------------------------


async def failure_of(road: Road, timeout_s: float = WAIT_S, local: Address | None = None) -> str:
    link = dialled_link(Carrier.QUIC, "one")
    with pytest.raises(OpenFailed) as failed:
        if local is None:
            await open_link(road, link, 1, timeout_s=timeout_s)
        else:
            await open_link(road, link, 1, timeout_s=timeout_s, local=local)
    return str(failed.value.failure)


@pytest.mark.asyncio
@pytest.mark.spec("CA-83")
async def test_who_does_not_answer_at_all() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        road = Road(Carrier.QUIC, LOOPBACK._replace(port=silent.getsockname()[1]))
        assert await failure_of(road, 0.2) == "udp-silent"


@pytest.mark.asyncio
@pytest.mark.spec("CA-83")
async def test_who_speaks_libp2p_and_not_this_protocol() -> None:
    async with await Libp2pHost.create(listen=["/ip4/127.0.0.1/udp/0/quic-v1"]) as host:
        road = Road(Carrier.QUIC, LOOPBACK._replace(port=host._sockets.port))
        assert await failure_of(road) == "not-upgraded"
        host.on_stream = lambda stream: None
        assert await failure_of(road, 0.5) == "accepted-silent"
        host.on_stream = lambda stream: stream.connection.abort()
        assert await failure_of(road) == "reset-at-preface"


@pytest.mark.asyncio
@pytest.mark.spec("CA-83")
async def test_where_this_side_is_not() -> None:
    road = Road(Carrier.QUIC, LOOPBACK._replace(port=9))
    assert (await failure_of(road, local=Address(b"\xc0\0\2\1", 0))).startswith("unreachable(")


@pytest.mark.asyncio
async def test_what_is_no_road_over_quic() -> None:
    link = dialled_link(Carrier.QUIC, "one")
    for road in (
        Road(Carrier.QUIC, url="https://example.org"),
        Road(Carrier.QUIC, LOOPBACK, proxy="http:"),
    ):
        with pytest.raises(ValueError, match="no proxy"):
            await open_link(road, link, 1)


@pytest.mark.asyncio
async def test_a_dial_that_is_cancelled_leaves_nothing(there: Listening) -> None:
    link = dialled_link(Carrier.QUIC, "one")
    dialling = asyncio.ensure_future(open_link(there.road, link, 1))
    await asyncio.sleep(0.01)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    there.pass_time(700.0)
    there.pass_time(700.0)
    assert there.doorstep.count(Stage.UNDECIDED) == 0
    await there.dial("two")


def test_a_missing_library_is_one_clear_error_and_none_is_loaded_before() -> None:
    program = """
import asyncio, sys
from wraith.aio.carriers.quic import bind_listener, open_link
from wraith.errors import MissingExtra
from wraith.types import Address, Carrier, Road
assert not {"aioquic", "qh3"} & set(sys.modules)
road = Road(Carrier.QUIC, Address(bytes((127, 0, 0, 1)), 9))
for backend in ("qh3", "aioquic"):
    sys.modules[backend] = None
    for attempt in (
        lambda: bind_listener(backend=backend),
        lambda: asyncio.run(open_link(road, None, 1, backend=backend)),
    ):
        try:
            attempt()
        except MissingExtra as exc:
            print(exc.extra)
"""
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
    )
    assert done.stdout.split() == ["qh3", "qh3", "quic", "quic"]


# --- room -----------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.spec("CA-25", "CA-84")
async def test_what_nobody_takes_is_bounded_on_both_sides(there: Listening) -> None:
    there.door.starts = False
    opened, host = await there.dial()
    packet = SeededRng("bulk").public_bytes(LINK_PACKET_BYTES_MAX)
    sent = 0
    for _ in range(200):  # until it is full and stays so for a while
        while opened.room_bytes >= len(packet):
            send_packets(opened, packet)
            sent += 1
        machine = opened._connection.machine
        assert opened._stream is not None
        assert machine.packet.stream_unsent(opened._stream.stream_id) <= UNSENT_BYTES_MAX
        assert opened._pending_bytes <= PENDING_BYTES_MAX
        await asyncio.sleep(0.002)
    # qh3 holds a window of what nobody has read, and another one of what it has not told of.
    windows = WINDOW_BYTES * BACKENDS.index(there.backend) + WINDOW_BYTES
    most = UNSENT_BYTES_MAX + PENDING_BYTES_MAX + windows
    assert UNSENT_BYTES_MAX + PENDING_BYTES_MAX < opened.n_sent <= most
    await there.door.wait_links(1)
    there.accepted().start(there.door.hosts[0])
    assert len(await there.door.hosts[0].wait_packets(sent)) == sent
    await host.wait(lambda: bool(host.rooms))


@pytest.mark.asyncio
@pytest.mark.spec("CA-84")
async def test_many_megabytes_go_both_ways(there: Listening) -> None:
    n_packets = {"aioquic": 256, "qh3": 1_024}[there.backend]  # of 16 KiB, each way
    opened, host = await there.dial()
    send_packets(opened, bytes(100))
    await there.door.wait_links(1)
    accepted, accepted_host = there.accepted(), there.door.hosts[0]
    await accepted_host.wait_packets(1)
    there.doorstep.settle(accepted.path.link)

    async def pump(link: QuicSocket, own: RecordingHost, seed: str) -> bytes:
        rng, digest = SeededRng(seed), hashlib.sha256()
        for _ in range(n_packets // 4):
            run = rng.public_bytes(4 * LINK_PACKET_BYTES_MAX)
            digest.update(run)
            n_rooms = len(own.rooms)
            if link.room_bytes < len(run):
                await own.wait(lambda n=n_rooms: len(own.rooms) > n)  # type: ignore[misc]
            link.send(Transmit(memoryview(run), LINK_PACKET_BYTES_MAX, link.path))
        return digest.digest()

    async with asyncio.timeout(60):
        said = await asyncio.gather(
            pump(opened, host, "there"), pump(accepted, accepted_host, "back")
        )
        for who, n_all in ((host, n_packets), (accepted_host, n_packets + 1)):
            while len(who.packets) < n_all:
                await asyncio.sleep(0.001)
    heard = [
        hashlib.sha256(b"".join(packets)).digest()
        for packets in (accepted_host.packets[1:], host.packets)
    ]
    assert heard == list(said)


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_listener_that_closes_keeps_its_links_and_then_frees_its_port(
    there: Listening,
) -> None:
    opened, _ = await there.dial()
    send_packets(opened, bytes(600))
    await there.door.wait_links(1)
    there.listener.close()
    there.listener.close()
    send_packets(opened, bytes(700))
    await there.door.hosts[0].wait_packets(2)
    road = there.road
    assert await failure_of(road, 0.2) == "udp-silent", "nobody new is let in"
    opened.close()
    async with asyncio.timeout(WAIT_S):
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind(("127.0.0.1", there.address.port))
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    break


@pytest.mark.asyncio
async def test_a_listener_that_never_started_frees_its_port() -> None:
    listener = bind_listener(LOOPBACK)
    with pytest.raises(TransportError):
        bind_listener(LOOPBACK._replace(port=listener.port))
    listener.close()
    bind_listener(LOOPBACK._replace(port=listener.port)).close()


@pytest.mark.asyncio
@pytest.mark.spec("CA-85")
async def test_silence_of_the_network_is_a_frozen_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_link, "IDLE_TIMEOUT_S", 1.0)
    listening = Listening()
    opened, host = await listening.dial()
    send_packets(opened, bytes(600))
    await listening.door.wait_links(1)
    assert listening.listener._host is not None
    listening.listener._host.poison()
    assert await host.wait_closed() == f"frozen({opened.n_received + opened.n_sent} bytes)"
    await listening.close()
