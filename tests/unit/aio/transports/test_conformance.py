"""What every carrier of links does alike, over each of them; and every ``Transport``, UDP too.

A new carrier needs a class beside ``TcpCarried`` and a line in ``CARRIED``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest
import pytest_asyncio

from wraith.aio.carriers import quic
from wraith.aio.carriers.quic_listener import QuicListener
from wraith.aio.transports import packets, tcp, tcp_listener, websocket
from wraith.aio.transports.base import (
    BROKEN,
    PEER_CLOSED,
    PENDING_BYTES_MAX,
    SHORT_BYTES_MAX,
    UNPROVEN,
    OpenFailed,
    Transport,
)
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.link_socket import LinkSocket
from wraith.aio.transports.memory_carrier import MemoryNetwork
from wraith.aio.transports.packets import LinkTransport, UdpTransport
from wraith.aio.transports.stream_endpoint import EndpointStream
from wraith.aio.transports.tcp import TcpSocket
from wraith.aio.transports.tcp_listener import TcpListener
from wraith.aio.transports.udp import UdpSocket
from wraith.aio.transports.websocket_listener import WebSocketListener
from wraith.connection.links.link import StreamLink
from wraith.connection.links.pools import Stage
from wraith.connection.links.ws_path import PathTokens, make_token
from wraith.connection.roads.reasons import RoadReason
from wraith.errors import TransportError
from wraith.testing.links import (
    ACCESS,
    WAIT_S,
    OpenDoor,
    RecordingHost,
    dialled_link,
    dialled_preface,
    send_packets,
)
from wraith.testing.rng import SeededRng
from wraith.testing.web_authority import WebAuthority
from wraith.types import LINK_PACKET_BYTES_MAX, Address, Carrier, Road, Transmit

LOOPBACK = Address(b"\x7f\0\0\1", 0)
LOOPBACK6 = Address(bytes(15) + b"\1", 0)


class Carried(Protocol):
    """How this suite uses a carrier."""

    carrier: Carrier
    #: What is seen where nobody listens.
    nobody: RoadReason

    async def listen(self, door: OpenDoor, doorstep: Doorstep) -> Road: ...

    async def dial(
        self, road: Road, link: StreamLink, number: int, doorstep: Doorstep | None
    ) -> LinkSocket: ...

    def close(self) -> None: ...


class TcpCarried:
    carrier = Carrier.TCP
    nobody = RoadReason.REFUSED
    address = LOOPBACK
    kind: type[LinkSocket] = TcpSocket

    def __init__(self) -> None:
        self._listeners: list[TcpListener] = []

    async def listen(self, door: OpenDoor, doorstep: Doorstep) -> Road:
        listener = TcpListener.bind(self.address)
        self._listeners.append(listener)
        listener.start(asyncio.get_running_loop(), door, doorstep)
        return Road(Carrier.TCP, self.address._replace(port=listener.port))

    async def dial(
        self, road: Road, link: StreamLink, number: int, doorstep: Doorstep | None
    ) -> LinkSocket:
        opened = await tcp.open_link(road, link, number, doorstep=doorstep)
        assert type(opened) is self.kind
        return opened

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


class Tcp6Carried(TcpCarried):
    address = LOOPBACK6


class AsyncioTcpCarried(TcpCarried):
    """As on loops without ``add_reader``."""

    kind = EndpointStream

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        for module in (tcp, tcp_listener):
            self._patch.setattr(module, "takes_readers", lambda loop: False)

    def close(self) -> None:
        super().close()
        self._patch.undo()


class MemoryCarried:
    carrier = Carrier.MEMORY
    nobody = RoadReason.REFUSED

    def __init__(self) -> None:
        self._network = MemoryNetwork()

    async def listen(self, door: OpenDoor, doorstep: Doorstep) -> Road:
        address = LOOPBACK._replace(port=4433)
        self._network.listen(address, door, doorstep)
        return Road(Carrier.MEMORY, address)

    async def dial(
        self, road: Road, link: StreamLink, number: int, doorstep: Doorstep | None
    ) -> LinkSocket:
        return await self._network.open_link(road, link, number, doorstep=doorstep)

    def close(self) -> None:
        self._network.stop(LOOPBACK._replace(port=4433))


class WsCarried:
    """Over WebSocket, with paths of the test's own code."""

    carrier = Carrier.WS
    nobody = RoadReason.REFUSED
    is_secure = False

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        self._authority = WebAuthority(Path(self._folder.name), "Conformance")
        self._client_context = self._authority.client_context()
        self._rng = SeededRng("paths")
        self._tokens = PathTokens(ACCESS.ak.public, ACCESS.psk, unix_now=0, used_before=False)
        self._listeners: list[WebSocketListener] = []

    async def listen(self, door: OpenDoor, doorstep: Doorstep) -> Road:
        listener = WebSocketListener.bind(
            LOOPBACK,
            prefix="/links",
            accepts_token=lambda token: self._tokens.accepts(token, 0),
            tls=self._authority.server_context("localhost") if self.is_secure else None,
        )
        self._listeners.append(listener)
        listener.start(asyncio.get_running_loop(), door, doorstep)
        scheme = "wss" if self.is_secure else "ws"
        return Road(Carrier.WS, url=f"{scheme}://localhost:{listener.local.port}/links")

    async def dial(
        self, road: Road, link: StreamLink, number: int, doorstep: Doorstep | None
    ) -> LinkSocket:
        return await websocket.open_link(
            road,
            link,
            number,
            token=make_token(ACCESS.ak.public, ACCESS.psk, rng=self._rng, unix_now=0),
            tls=self._client_context,
            doorstep=doorstep,
        )

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._folder.cleanup()


class WssCarried(WsCarried):
    is_secure = True


class QuicCarried:
    carrier = Carrier.QUIC
    nobody = (
        RoadReason.PORT_UNREACHABLE if sys.platform.startswith("linux") else RoadReason.UDP_SILENT
    )
    address = LOOPBACK
    backend = "aioquic"

    def __init__(self) -> None:
        pytest.importorskip(self.backend)
        self._listeners: list[QuicListener] = []

    async def listen(self, door: OpenDoor, doorstep: Doorstep) -> Road:
        listener = quic.bind_listener(self.address, backend=self.backend)
        self._listeners.append(listener)
        listener.start(asyncio.get_running_loop(), door, doorstep)
        return Road(Carrier.QUIC, self.address._replace(port=listener.port))

    async def dial(
        self, road: Road, link: StreamLink, number: int, doorstep: Doorstep | None
    ) -> LinkSocket:
        return await quic.open_link(road, link, number, doorstep=doorstep, backend=self.backend)

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


class Quic6Carried(QuicCarried):
    address = LOOPBACK6


class Qh3Carried(QuicCarried):
    backend = "qh3"


CARRIED: dict[str, Callable[[], Carried]] = {
    "tcp": TcpCarried,
    "tcp6": Tcp6Carried,
    "tcp-asyncio": AsyncioTcpCarried,
    "memory": MemoryCarried,
    "ws": WsCarried,
    "wss": WssCarried,
    "quic": QuicCarried,
    "quic6": Quic6Carried,
    "quic-qh3": Qh3Carried,
}


class Clock:
    """Time of the doorsteps, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A listener, whoever dials it, and the links between them."""

    def __init__(self, carried: Carried, road: Road, door: OpenDoor, clock: Clock) -> None:
        loop = asyncio.get_running_loop()
        self.carried, self.road, self.door, self.clock = carried, road, door, clock
        self.doorstep = Doorstep(loop, SeededRng("there"), clock=clock)
        self.own_doorstep = Doorstep(loop, SeededRng("here"), clock=clock)
        self.dialled: list[LinkSocket] = []

    async def dial(self, seed: str = "one") -> tuple[LinkSocket, RecordingHost]:
        link = dialled_link(self.carried.carrier, seed)
        number = len(self.dialled) + 1
        opened = await self.carried.dial(self.road, link, number, self.own_doorstep)
        self.dialled.append(opened)
        host = RecordingHost()
        opened.start(host)
        return opened, host

    async def open(self, seed: str = "one") -> tuple[LinkSocket, RecordingHost, LinkSocket]:
        """A link on which one packet has gone each way; the listener's host is the door's last."""
        n = len(self.door.links)
        opened, host = await self.dial(seed)
        send_packets(opened, bytes(600))
        await self.door.wait_links(n + 1)
        accepted = self.door.links[n]
        assert isinstance(accepted, LinkSocket)
        await self.door.hosts[n].wait_packets(1)
        send_packets(accepted, bytes(700))
        await host.wait_packets(1)
        self.doorstep.settle(accepted.path.link)
        self.door.hosts[n].packets.clear()
        host.packets.clear()
        return opened, host, accepted

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        for doorstep in (self.doorstep, self.own_doorstep):
            doorstep.run()


@pytest_asyncio.fixture(params=CARRIED)
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    carried = CARRIED[request.param]()
    door, clock = OpenDoor(), Clock()
    made = Scene(carried, Road(Carrier.TCP, LOOPBACK), door, clock)
    try:
        made.road = await carried.listen(door, made.doorstep)
        yield made
    finally:
        carried.close()
        for link in (*made.dialled, *door.links):
            link.close()
        made.doorstep.close()
        made.own_doorstep.close()
        for _ in range(3):
            await asyncio.sleep(0)


# --- packets --------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.spec("CA-1")
async def test_packets_arrive_byte_for_byte_in_order_both_ways(scene: Scene) -> None:
    opened, host, accepted = await scene.open()
    rng = SeededRng("sizes")
    sizes = [33 + int.from_bytes(rng.public_bytes(2), "big") % 16_000 for _ in range(60)]
    sizes += [33, LINK_PACKET_BYTES_MAX]
    there = [rng.public_bytes(n) for n in sizes]
    back = [rng.public_bytes(n) for n in reversed(sizes)]
    send_packets(opened, *there)
    send_packets(accepted, *back)
    assert await scene.door.hosts[0].wait_packets(len(there)) == there
    assert await host.wait_packets(len(back)) == back
    assert host.turns > 0 and host.closed == []


@pytest.mark.asyncio
async def test_a_run_of_equal_packets_arrives_in_runs(scene: Scene) -> None:
    opened, _, _ = await scene.open()
    host = scene.door.hosts[0]
    host.runs.clear()
    data = SeededRng("run").public_bytes(3_000 * 40 - 7)
    opened.send(Transmit(memoryview(data), 40, opened.path))
    await host.wait_packets(3_000)
    assert b"".join(host.packets) == data
    assert len(host.runs) < 300 and host.runs[-1][1] == 40


@pytest.mark.asyncio
async def test_what_was_handed_over_may_be_overwritten(scene: Scene) -> None:
    opened, _, _ = await scene.open()
    buffer = bytearray(LINK_PACKET_BYTES_MAX)
    for i in range(40):  # more than a kernel takes at once
        buffer[:] = bytes((i,)) * len(buffer)
        opened.send(Transmit(memoryview(buffer), len(buffer), opened.path))
    packets = await scene.door.hosts[0].wait_packets(40)
    assert [set(packet) for packet in packets] == [{i} for i in range(40)]


@pytest.mark.asyncio
async def test_paths_and_characteristics_name_the_link(scene: Scene) -> None:
    opened, _, accepted = await scene.open()
    carrier = scene.carried.carrier
    assert opened.path.link == 1 and accepted.path.link == 1_001
    assert opened.path.carrier is accepted.path.carrier is carrier
    assert opened.path.remote == accepted.path.local
    assert scene.road.address in (None, opened.path.remote)
    assert opened.path.local == accepted.path.remote
    for link in (opened, accepted):
        said = link.characteristics
        assert said.carrier is carrier and said.is_reliable and said.is_ordered
        assert said.packet_bytes_max == LINK_PACKET_BYTES_MAX and said.overhead_bytes >= 18
    assert scene.door.paths == [accepted.path]


@pytest.mark.asyncio
@pytest.mark.spec("CA-83")
async def test_nobody_listens(scene: Scene) -> None:
    scene.carried.close()
    for _ in range(3):
        await asyncio.sleep(0)
    with pytest.raises(OpenFailed) as failed:
        await scene.dial()
    assert failed.value.failure.reason is scene.carried.nobody


# --- room -----------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.spec("CA-25")
async def test_a_link_that_is_full_holds_little_and_stops_nobody_else(scene: Scene) -> None:
    scene.door.starts = False
    full, host = await scene.dial("full")
    packet = SeededRng("bulk").public_bytes(LINK_PACKET_BYTES_MAX)
    n_sent = 0
    async with asyncio.timeout(WAIT_S):
        while full.room_bytes >= len(packet):
            send_packets(full, packet)
            n_sent += 1
            await asyncio.sleep(0)
    assert full._pending_bytes <= PENDING_BYTES_MAX
    assert full.room_bytes == 0, "until half of it is free"
    n_told = len(host.rooms)  # a library that moves bytes in turns may have been short before
    await scene.door.wait_links(1)
    scene.door.starts = True
    _, other_host, accepted = await scene.open("other")
    send_packets(accepted, packet)
    assert await other_host.wait_packets(1) == [packet]
    # The peer reads at last: everything comes, and room is told of once.
    scene.door.links[0].start(scene.door.hosts[0])
    packets = await scene.door.hosts[0].wait_packets(n_sent)
    assert len(packets) == n_sent and set(packets) == {packet}
    await host.wait(lambda: len(host.rooms) > n_told)
    assert len(host.rooms) == n_told + 1 and min(host.rooms) >= PENDING_BYTES_MAX // 2


@pytest.mark.asyncio
@pytest.mark.spec("CA-28")
async def test_a_link_that_is_kept_short_holds_little_and_is_long_again_afterwards(
    scene: Scene,
) -> None:
    scene.door.starts = False
    short, host = await scene.dial("short")
    long_room = short.room_bytes
    short.keep_short(True)
    assert 0 < short.room_bytes <= 2 * SHORT_BYTES_MAX
    packet = bytes(LINK_PACKET_BYTES_MAX)
    n_sent = 0
    async with asyncio.timeout(WAIT_S):
        while short.room_bytes >= len(packet):
            send_packets(short, packet)
            n_sent += 1
            await asyncio.sleep(0)
    assert short._pending_bytes <= 2 * SHORT_BYTES_MAX
    await scene.door.wait_links(1)
    scene.door.starts = True
    scene.door.links[0].start(scene.door.hosts[0])
    assert len(await scene.door.hosts[0].wait_packets(n_sent)) == n_sent
    await host.wait(lambda: bool(host.rooms))
    short.keep_short(False)
    async with asyncio.timeout(WAIT_S):
        while short.room_bytes < long_room:
            await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_room_is_not_told_of_where_it_was_never_short(scene: Scene) -> None:
    opened, host, _ = await scene.open()
    for _ in range(50):
        send_packets(opened, bytes(1_200))
        await asyncio.sleep(0)
    await scene.door.hosts[0].wait_packets(50)
    assert host.rooms == [] and opened.room_bytes >= PENDING_BYTES_MAX


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("from_dialler", [True, False])
async def test_an_end_in_good_order_loses_nothing(scene: Scene, from_dialler: bool) -> None:
    opened, host, accepted = await scene.open()
    ends = [(opened, host), (accepted, scene.door.hosts[0])]
    (ending, ending_host), (other, other_host) = ends if from_dialler else ends[::-1]
    packets = [bytes((i,)) * LINK_PACKET_BYTES_MAX for i in range(30)]
    send_packets(other, bytes(5_000))  # not read yet when the link is closed
    send_packets(ending, *packets)
    ending.close()
    ending.close()
    assert ending.room_bytes == 0
    send_packets(ending, bytes(100))
    assert await other_host.wait_packets(len(packets)) == packets
    assert await other_host.wait_closed() == PEER_CLOSED
    async with asyncio.timeout(WAIT_S):
        while not ending.is_closed:
            await asyncio.sleep(0)
    assert ending_host.closed == [], "whoever closes is not told"
    assert len(other_host.closed) == 1 and other.is_closed


@pytest.mark.asyncio
async def test_both_ends_may_end_it_at_once(scene: Scene) -> None:
    opened, host, accepted = await scene.open()
    packets = [bytes((i,)) * LINK_PACKET_BYTES_MAX for i in range(20)]
    for link in (opened, accepted):
        send_packets(link, *packets)
        link.close()
    async with asyncio.timeout(WAIT_S):
        while not (opened.is_closed and accepted.is_closed):
            await asyncio.sleep(0)
    assert host.closed == scene.door.hosts[0].closed == []


@pytest.mark.asyncio
async def test_a_reset_is_told_once_with_the_bytes_before_it(scene: Scene) -> None:
    opened, host, accepted = await scene.open()
    accepted.reset()
    assert await host.wait_closed() == f"reset-later({opened.n_received + opened.n_sent} bytes)"
    send_packets(opened, bytes(100))
    opened.close()
    opened.reset()
    await asyncio.sleep(0)
    assert len(host.closed) == 1 and opened.room_bytes == 0


@pytest.mark.asyncio
async def test_a_reset_before_anything_came_is_one_at_the_preface(scene: Scene) -> None:
    scene.door.starts = False
    opened, host = await scene.dial()
    send_packets(opened, bytes(600))
    await scene.door.wait_links(1)
    accepted = scene.door.links[0]
    assert isinstance(accepted, LinkSocket)
    accepted.reset()
    assert await host.wait_closed() == "reset-at-preface"


# --- nobody vouches for it ------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.spec("CA-20", "CA-21")
async def test_a_link_without_a_session_is_given_up_after_ten_seconds(scene: Scene) -> None:
    opened, host = await scene.dial()
    send_packets(opened, bytes(600))
    await scene.door.wait_links(1)
    accepted_host = scene.door.hosts[0]
    await accepted_host.wait_packets(1)
    scene.pass_time(9.9)
    assert scene.doorstep.count(Stage.PROVEN) == 1 and accepted_host.closed == []
    scene.pass_time(0.1)
    assert accepted_host.closed == [UNPROVEN]
    assert scene.doorstep.count(Stage.DISCARDING) == 1
    send_packets(scene.door.links[0], bytes(600))
    send_packets(opened, *[bytes(1_000)] * 20)
    scene.pass_time(59.0)
    await asyncio.sleep(0)
    assert host.packets == [] and host.closed == [] and len(accepted_host.packets) == 1
    scene.pass_time(541.1)
    assert (await host.wait_closed()) in ("reset-at-preface", "reset-later(106 bytes)")
    assert scene.doorstep.count(Stage.DISCARDING) == 0


@pytest.mark.asyncio
@pytest.mark.spec("CA-21")
async def test_a_link_that_discards_cannot_be_settled_nor_closed(scene: Scene) -> None:
    _, host, accepted = await scene.open()
    accepted.discard()
    scene.doorstep.settle(accepted.path.link)
    scene.doorstep.settle(77)
    assert scene.doorstep.count(Stage.DISCARDING) == 1
    accepted.close()
    assert not accepted.is_closed, "nobody sees an end before its time"
    scene.pass_time(600.1)
    assert await host.wait_closed()
    assert scene.doorstep.count(Stage.DISCARDING) == 0


@pytest.mark.asyncio
@pytest.mark.spec("CA-20")
async def test_a_link_of_a_session_is_left_alone(scene: Scene) -> None:
    opened, host, _ = await scene.open()
    assert scene.doorstep.count(Stage.PROVEN) == 0
    scene.pass_time(10_000.0)
    send_packets(opened, b"x" * 50)
    assert await scene.door.hosts[0].wait_packets(1) == [b"x" * 50]
    assert host.closed == []


@pytest.mark.asyncio
@pytest.mark.spec("CA-21")
async def test_who_is_refused_sees_what_a_stranger_sees(scene: Scene) -> None:
    scene.door.lets_in = False
    opened, host = await scene.dial()
    send_packets(opened, bytes(600))
    await scene.door.wait(lambda: len(scene.door.paths) == 1)
    async with asyncio.timeout(WAIT_S):
        while scene.doorstep.count(Stage.DISCARDING) == 0:
            await asyncio.sleep(0)
    scene.pass_time(59.0)
    assert host.closed == [] and host.packets == []
    scene.pass_time(541.1)
    assert await host.wait_closed()


@pytest.mark.asyncio
@pytest.mark.spec("CA-11", "CA-21")
async def test_a_wrong_length_ends_the_link_for_its_host_and_for_nobody_outside(
    scene: Scene,
) -> None:
    preface, keys = dialled_preface(scene.carried.carrier, "wrong")
    forged = StreamLink.dialled(keys, preface)
    opened = await scene.carried.dial(scene.road, forged, 1, scene.own_doorstep)
    scene.dialled.append(opened)
    host = RecordingHost()
    opened.start(host)
    send_packets(opened, b"good" * 20)
    forged.frame(memoryview(bytes(50)), 50)  # a number is skipped: the next length opens nowhere
    send_packets(opened, b"lost" * 20)
    await scene.door.wait_links(1)
    accepted_host = scene.door.hosts[0]
    assert await accepted_host.wait_closed() == BROKEN
    assert accepted_host.packets == [b"good" * 20]
    assert scene.door.links[0].room_bytes == 0
    scene.pass_time(59.0)
    await asyncio.sleep(0)
    assert host.closed == [] and scene.doorstep.count(Stage.DISCARDING) == 1


@pytest.mark.asyncio
@pytest.mark.spec("CA-27")
async def test_a_broken_link_that_its_host_closes_is_seen_to_end(scene: Scene) -> None:
    preface, keys = dialled_preface(scene.carried.carrier, "closed")
    forged = StreamLink.dialled(keys, preface)
    opened = await scene.carried.dial(scene.road, forged, 1, scene.own_doorstep)
    scene.dialled.append(opened)
    host = RecordingHost()
    opened.start(host)
    send_packets(opened, b"good" * 20)
    forged.frame(memoryview(bytes(50)), 50)
    send_packets(opened, b"lost" * 20)
    await scene.door.wait_links(1)
    assert await scene.door.hosts[0].wait_closed() == BROKEN
    scene.door.links[0].close()
    assert await host.wait_closed() == PEER_CLOSED
    assert host.packets == [] and scene.door.hosts[0].packets == [b"good" * 20]
    async with asyncio.timeout(WAIT_S):
        while not scene.door.links[0].is_closed:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
    assert scene.doorstep.count(Stage.DISCARDING) == 0


@pytest.mark.asyncio
@pytest.mark.spec("CA-21")
async def test_a_dialler_that_discards_is_as_quiet(scene: Scene) -> None:
    opened, host, accepted = await scene.open()
    opened.discard()
    opened.discard()
    send_packets(opened, bytes(600))
    send_packets(accepted, bytes(600))
    scene.pass_time(59.0)
    await asyncio.sleep(0)
    assert scene.own_doorstep.count(Stage.DISCARDING) == 1
    assert scene.door.hosts[0].packets == [] == host.packets and host.closed == []
    scene.pass_time(541.1)
    assert (await scene.door.hosts[0].wait_closed()).startswith("reset-later(")


# --- single packets -------------------------------------------------------------------------------

TransportPair = tuple[Transport, Transport]


@pytest_asyncio.fixture(params=[*CARRIED, "udp"])
async def transports(request: pytest.FixtureRequest) -> AsyncIterator[TransportPair]:
    if request.param == "udp":
        socks = [UdpSocket.bind(LOOPBACK) for _ in range(2)]
        udp: TransportPair = (
            UdpTransport(socks[0], socks[1].local),
            UdpTransport(socks[1], socks[0].local),
        )
        yield udp
        udp[0].close()
        udp[1].close()
        return
    carried = CARRIED[request.param]()
    door, doorstep = OpenDoor(), Doorstep(asyncio.get_running_loop(), SeededRng("there"))
    door.starts = False
    try:
        road = await carried.listen(door, doorstep)
        dialled = await carried.dial(road, dialled_link(carried.carrier, "one"), 1, None)
        await door.wait_links(1)
        links: TransportPair = LinkTransport(dialled), LinkTransport(door.links[0])
        await links[0].send(b"first" * 10)
        assert await links[1].recv(memoryview(bytearray(50))) == 50
        yield links
        links[0].close()
        links[1].close()
    finally:
        carried.close()
        doorstep.close()
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_single_packets_go_both_ways(transports: TransportPair) -> None:
    buffer = memoryview(bytearray(20_000))
    for here, there in (transports, transports[::-1]):
        for size in (33, 1_000, here.mtu()):
            packet = SeededRng(size).public_bytes(size)
            await here.send(packet)
            async with asyncio.timeout(WAIT_S):
                n = await there.recv(buffer)
            assert bytes(buffer[:n]) == packet


@pytest.mark.asyncio
async def test_a_transport_says_where_it_leads(transports: TransportPair) -> None:
    here, there = transports
    assert here.local_addr() == there.peer_addr() and here.peer_addr() == there.local_addr()
    assert here.characteristics() == there.characteristics()
    assert here.mtu() == here.characteristics().packet_bytes_max
    assert here.characteristics().is_reliable == (here.characteristics().setup_rtts > 0)


@pytest.mark.asyncio
async def test_what_does_not_fit_is_refused_and_loses_nothing(transports: TransportPair) -> None:
    here, there = transports
    with pytest.raises(TransportError):
        await here.send(bytes(here.mtu() + 1))
    await here.send(b"a" * 200)
    with pytest.raises(TransportError):
        await there.recv(memoryview(bytearray(199)))
    assert await there.recv(memoryview(bytearray(200))) == 200


@pytest.mark.asyncio
async def test_what_nobody_takes_is_bounded(
    transports: TransportPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = transports
    monkeypatch.setattr(packets, "UNREAD_BYTES_MAX", 5_000)
    sent = [bytes((i,)) * 1_000 for i in range(20)]
    with suppress(TransportError):  # a link ends, and this end may hear of it at once
        for packet in sent:
            await here.send(packet)
            await asyncio.sleep(0.001)
    buffer = memoryview(bytearray(1_000))
    if not there.characteristics().is_reliable:
        kept = [bytes(buffer[: await there.recv(buffer)]) for _ in range(5)]
        assert kept == sent[-5:], "UDP loses the oldest"
        return
    with pytest.raises(TransportError, match="nobody takes"):
        async with asyncio.timeout(WAIT_S):
            for _ in sent:
                await there.recv(buffer)


@pytest.mark.asyncio
async def test_a_waiting_receiver_may_be_cancelled(transports: TransportPair) -> None:
    here, there = transports
    buffer = memoryview(bytearray(200))
    waiting = asyncio.ensure_future(there.recv(buffer))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await here.send(b"b" * 100)
    async with asyncio.timeout(WAIT_S):
        assert await there.recv(buffer) == 100


@pytest.mark.asyncio
async def test_a_closed_transport_says_so(transports: TransportPair) -> None:
    here, there = transports
    here.close()
    here.close()
    with pytest.raises(TransportError):
        await here.send(bytes(100))
    with pytest.raises(TransportError):
        await here.recv(memoryview(bytearray(100)))
    if there.characteristics().is_reliable:
        with pytest.raises(TransportError):
            async with asyncio.timeout(WAIT_S):
                await there.recv(memoryview(bytearray(100)))
