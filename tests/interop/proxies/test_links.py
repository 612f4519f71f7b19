"""Links over TCP through real proxies, and through one that misbehaves: it harms its own link and
no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from wraith.aio.transports.base import PEER_CLOSED
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.link_socket import LinkSocket
from wraith.aio.transports.tcp import open_link
from wraith.aio.transports.tcp_listener import TcpListener
from wraith.connection.links.preface import PREFACE_BYTES
from wraith.hotpath import RECORD_HEADER_BYTES
from wraith.testing.bad_proxy import Fault
from wraith.testing.links import OpenDoor, RecordingHost, dialled_link, send_packets
from wraith.testing.proxies import bad_proxy, microsocks, tinyproxy
from wraith.testing.rng import SeededRng
from wraith.types import Address, Carrier, Road

pytestmark = [pytest.mark.interop, pytest.mark.asyncio, pytest.mark.timeout(60)]
LOOPBACK = Address(bytes((127, 0, 0, 1)), 0)
ENOUGH_S = 10.0
PACKETS = [SeededRng(f"packet {i}").public_bytes(33 + 97 * i) for i in range(60)]

Start = Callable[[Path], AbstractContextManager[str]]
STARTS: dict[str, Start] = {
    "socks": lambda folder: microsocks(),
    "socks with a password": lambda folder: microsocks(user="anna", password="hunter2"),
    "http": lambda folder: tinyproxy(folder),
    "http with a password": lambda folder: tinyproxy(folder, user="anna", password="hunter2"),
}


class Here:
    """A listener over TCP, and dialling it directly or through a proxy."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.door = OpenDoor()
        self.doorstep = Doorstep(loop, SeededRng("there"))
        self.listener = TcpListener.bind(LOOPBACK)
        self.listener.start(loop, self.door, self.doorstep)
        self.road = Road(Carrier.TCP, LOOPBACK._replace(port=self.listener.port))
        self._dialled: list[LinkSocket] = []

    async def dial(self, seed: str, proxy: str | None = None) -> tuple[LinkSocket, RecordingHost]:
        stream, number = dialled_link(Carrier.TCP, seed), 1 + len(self._dialled)
        link = await open_link(replace(self.road, proxy=proxy), stream, number)
        self._dialled.append(link)
        host = RecordingHost()
        link.start(host)
        return link, host

    def close(self) -> None:
        self.listener.close()
        for link in (*self._dialled, *self.door.links):
            link.close()
        self.doorstep.close()


@pytest_asyncio.fixture
async def here() -> AsyncIterator[Here]:
    made = Here()
    yield made
    made.close()
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("start", STARTS)
async def test_packets_cross_both_ways_over_tcp(start: str, here: Here, tmp_path: Path) -> None:
    with STARTS[start](tmp_path) as url:
        link, host = await here.dial("through", url)
        send_packets(link, *PACKETS)
        await here.door.wait_links(1)
        assert await here.door.hosts[0].wait_packets(len(PACKETS)) == PACKETS
        send_packets(here.door.links[0], *reversed(PACKETS))
        assert await host.wait_packets(len(PACKETS)) == PACKETS[::-1]
        here.door.links[0].close()
        assert await host.wait_closed() == PEER_CLOSED


async def neighbours(here: Here) -> tuple[LinkSocket, RecordingHost]:
    """A direct link that carries packets, and what its far end hears."""
    link, _ = await here.dial("direct")
    send_packets(link, PACKETS[0])
    await here.door.wait_links(1)
    await here.door.hosts[0].wait_packets(1)
    return link, here.door.hosts[0]


LENGTH = PREFACE_BYTES + 5
INSIDE = PREFACE_BYTES + RECORD_HEADER_BYTES + 5


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("at", [3, PREFACE_BYTES - 1, LENGTH, INSIDE + len(PACKETS[0])])
async def test_a_proxy_that_rewrites_harms_its_own_link_alone(
    scheme: str, at: int, here: Here
) -> None:
    direct, heard = await neighbours(here)
    with bad_proxy(scheme, Fault.REWRITES, at=at) as url:
        link, host = await here.dial("rewritten", url)
        send_packets(link, *PACKETS)
        await here.door.wait_links(2)
        far = here.door.links[1]
        assert isinstance(far, LinkSocket)
        async with asyncio.timeout(ENOUGH_S):
            while far.n_received < PREFACE_BYTES + sum(map(len, PACKETS)):
                await asyncio.sleep(0.01)
        n_whole = 1 if at > INSIDE else 0
        assert here.door.hosts[1].packets == PACKETS[:n_whole]
        assert not host.packets and not host.closed, "who rewrites learns nothing"
    send_packets(direct, *PACKETS[1:])
    assert await heard.wait_packets(len(PACKETS)) == PACKETS


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_cuts_ends_its_own_link_alone(scheme: str, here: Here) -> None:
    direct, heard = await neighbours(here)
    with bad_proxy(scheme, Fault.CUTS, at=INSIDE + len(PACKETS[0])) as url:
        link, host = await here.dial("cut", url)
        send_packets(link, *PACKETS)
        await here.door.wait_links(2)
        assert await host.wait_closed() and await here.door.hosts[1].wait_closed()
        assert here.door.hosts[1].packets == PACKETS[:1]
    send_packets(direct, *PACKETS[1:])
    assert await heard.wait_packets(len(PACKETS)) == PACKETS


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_joins_two_links_gets_silence_on_the_second(
    scheme: str, here: Here
) -> None:
    with bad_proxy(scheme, Fault.JOINS) as url:
        link, host = await here.dial("joined", url)
        send_packets(link, *PACKETS)
        await here.door.wait_links(2)
        heard = [each.packets for each in here.door.hosts]
        async with asyncio.timeout(ENOUGH_S):
            while max(map(len, heard)) < len(PACKETS):
                await asyncio.sleep(0.01)
        first = heard.index(max(heard, key=len))
        assert heard[first] == PACKETS and heard[1 - first] == []
        send_packets(here.door.links[first], *PACKETS)
        assert await host.wait_packets(len(PACKETS)) == PACKETS
