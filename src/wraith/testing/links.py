"""Both ends of links over real carriers, for tests: a door that lets in, and hosts that keep what
comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wraith.aio.transports.base import StreamSocket
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.links.link import StreamLink
from wraith.connection.links.preface import LinkKeys, make_preface, open_preface
from wraith.testing.rng import SeededRng
from wraith.types import Carrier, NetworkPath, Transmit

ACCESS = AccessKey.generate(SeededRng("links"))
WAIT_S = 10.0


class RecordingHost:
    """A ``LinkHost`` that keeps what it is told.

    Attributes:
        packets: copies, in order; ``runs``: the number of packets and size of each call.
        rooms: ``room_bytes`` at each ``link_room``.
        closed: the reasons it was told; at most one may be.
        answer: called with each packet's link and bytes, before it is kept.
    """

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.runs: list[tuple[int, int]] = []
        self.rooms: list[int] = []
        self.turns = 0
        self.closed: list[str] = []
        self._changed = asyncio.Event()

    def link_received(self, link: StreamSocket, data: memoryview, segment_bytes: int) -> None:
        del link
        cut = [bytes(data[i : i + segment_bytes]) for i in range(0, len(data), segment_bytes)]
        self.packets += cut
        self.runs.append((len(cut), segment_bytes))
        self._changed.set()

    def link_turn(self, link: StreamSocket) -> None:
        del link
        self.turns += 1

    def link_room(self, link: StreamSocket) -> None:
        self.rooms.append(link.room_bytes)
        self._changed.set()

    def link_closed(self, link: StreamSocket, reason: str) -> None:
        del link
        self.closed.append(reason)
        self._changed.set()

    async def wait(self, until: Callable[[], bool]) -> None:
        """Returns when ``until`` holds; looks after each thing that it is told."""
        async with asyncio.timeout(WAIT_S):
            while not until():
                self._changed.clear()
                await self._changed.wait()

    async def wait_packets(self, n: int) -> list[bytes]:
        await self.wait(lambda: len(self.packets) >= n)
        return self.packets

    async def wait_closed(self) -> str:
        await self.wait(lambda: bool(self.closed))
        return self.closed[0]


class OpenDoor:
    """A ``LinkDoor`` that proves prefaces for ``ACCESS``, each ephemeral once.

    Attributes:
        lets_in: False refuses every connection.
        starts: False leaves accepted links unread until somebody starts them with ``hosts``.
        links, hosts: what it has accepted, and who is told of it.
        streams: the ``StreamLink`` of each connection that it was asked about.
    """

    def __init__(self) -> None:
        self.lets_in = self.starts = True
        self.links: list[StreamSocket] = []
        self.hosts: list[RecordingHost] = []
        self.streams: list[StreamLink] = []
        self.paths: list[NetworkPath] = []
        self._number = 1_000
        self._seen: set[bytes] = set()
        self._changed = asyncio.Event()

    def next_link_number(self) -> int:
        self._number += 1
        return self._number

    def accept_link(self, path: NetworkPath) -> StreamLink | None:
        self.paths.append(path)
        self._changed.set()
        if not self.lets_in:
            return None

        def prove(preface: bytes) -> LinkKeys | None:
            opened = open_preface(ACCESS, preface, path.carrier)
            if opened is None or opened.e_public in self._seen:
                return None
            self._seen.add(opened.e_public)
            return opened.keys

        self.streams.append(StreamLink.accepted(prove))
        return self.streams[-1]

    def link_accepted(self, link: StreamSocket) -> None:
        self.links.append(link)
        self.hosts.append(RecordingHost())
        if self.starts:
            link.start(self.hosts[-1])
        self._changed.set()

    async def wait(self, until: Callable[[], bool]) -> None:
        """Returns when ``until`` holds; looks after each connection."""
        async with asyncio.timeout(WAIT_S):
            while not until():
                self._changed.clear()
                await self._changed.wait()

    async def wait_links(self, n: int) -> None:
        await self.wait(lambda: len(self.links) >= n)


def dialled_preface(carrier: Carrier, seed: str) -> tuple[bytes, LinkKeys]:
    """A preface for ``ACCESS`` and the dialler's keys."""
    return make_preface(
        ACCESS.ak.public, ACCESS.psk, carrier, rng=SeededRng(seed), unix_now=1_800_000_000
    )


def dialled_link(carrier: Carrier, seed: str) -> StreamLink:
    """The dialler's end of a new link."""
    preface, keys = dialled_preface(carrier, seed)
    return StreamLink.dialled(keys, preface)


def send_packets(link: StreamSocket, *packets: bytes) -> None:
    """Hands each packet to the link in a call of its own, whatever room there is."""
    for packet in packets:
        link.send(Transmit(memoryview(packet), len(packet), link.path))
