"""Links inside one process: a network of queues with the surface of a stream carrier.

For tests and simulations: it has no code on the wire, and its preface opens nowhere else. Each
direction holds as much as a kernel would hold unsent, so a peer that does not read pushes back.

Spec: carriers.md §1.
"""

from __future__ import annotations

import asyncio
import errno
from asyncio import AbstractEventLoop
from typing import Final

from wraith.aio.transports.base import UNSENT_BYTES_MAX, LinkDoor, OpenFailed
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.link_socket import LinkSocket
from wraith.connection.links.link import StreamLink
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.errors import TransportError
from wraith.hotpath import RECORD_HEADER_BYTES
from wraith.types import (
    LINK_PACKET_BYTES_MAX,
    Address,
    Buffer,
    Carrier,
    NetworkPath,
    Road,
    TransportCharacteristics,
)

CHARACTERISTICS: Final = TransportCharacteristics(
    carrier=Carrier.MEMORY,
    is_reliable=True,
    is_ordered=True,
    packet_bytes_max=LINK_PACKET_BYTES_MAX,
    overhead_bytes=RECORD_HEADER_BYTES,
    setup_rtts=1,
)
_FIRST_PORT: Final = 49_152


class _Pipe:
    """One direction: bytes that were written and not yet read, and how it ended."""

    __slots__ = ("data", "ended", "failure", "reader", "writer")

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.failure: OSError | None = None
        self.reader: MemorySocket | None = None
        self.writer: MemorySocket | None = None


class MemorySocket(LinkSocket):
    """One end of a link inside the process."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        link: StreamLink,
        path: NetworkPath,
        doorstep: Doorstep | None,
        incoming: _Pipe,
        outgoing: _Pipe,
    ) -> None:
        super().__init__(loop, link, path, CHARACTERISTICS, doorstep)
        self._in, self._out = incoming, outgoing
        incoming.reader = outgoing.writer = self
        self._is_reading = self._wants_room = self._is_called = False

    def _begin_reading(self) -> None:
        self._is_reading = True
        self._call_soon()

    def _call_soon(self) -> None:
        """One turn of the loop for whatever there is to do."""
        if not self._is_called and not self._is_closed:
            self._is_called = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_called = False
        if self._is_closed:
            return
        if self._wants_room and len(self._out.data) < UNSENT_BYTES_MAX:
            self._wants_room = False
            self._writable()
        if self._is_reading and not self._is_closed:
            self._read()

    def _read(self) -> None:
        pipe = self._in
        if pipe.failure is not None:
            self._failed(pipe.failure)
        elif pipe.data:
            room = self._link.receive_room()
            n = min(len(room), len(pipe.data))
            room[:n] = pipe.data[:n]
            del pipe.data[:n]
            if pipe.writer is not None:
                pipe.writer._call_soon()
            self._arrived(self._link.received(n), n)
            self._turn_ended()
            self._call_soon()
        elif pipe.ended:
            self._ended()

    def _write(self, buffers: list[Buffer]) -> list[Buffer]:
        pipe, left = self._out, list(buffers)
        if pipe.reader is None or pipe.reader.is_closed:
            raise BrokenPipeError(errno.EPIPE, "the peer is gone")
        while left and (room := UNSENT_BYTES_MAX - len(pipe.data)) > 0:
            first = memoryview(left[0])
            pipe.data += first[:room]
            if room < len(first):
                left[0] = first[room:]
            else:
                del left[0]
        pipe.reader._call_soon()
        return left

    def _call_when_writable(self) -> None:
        self._wants_room = True

    def _end_writing(self) -> None:
        self._out.ended = True
        if self._out.reader is not None:
            self._out.reader._call_soon()

    def _release(self, *, reset: bool) -> None:
        if reset:
            self._out.data.clear()
            self._out.failure = ConnectionResetError(errno.ECONNRESET, "reset")
        self._end_writing()


class MemoryNetwork:
    """Addresses of this process at which links may be dialled."""

    def __init__(self) -> None:
        self._listening: dict[Address, tuple[LinkDoor, Doorstep]] = {}
        self._next_port = _FIRST_PORT

    def listen(self, address: Address, door: LinkDoor, doorstep: Doorstep) -> None:
        """Accepts links at ``address`` from now on.

        Raises:
            TransportError: somebody listens there already.
        """
        if address in self._listening:
            raise TransportError(f"{address} is taken")
        self._listening[address] = door, doorstep

    def stop(self, address: Address) -> None:
        """Nobody listens there any more; links that are open go on."""
        self._listening.pop(address, None)

    async def open_link(
        self, road: Road, link: StreamLink, number: int, *, doorstep: Doorstep | None = None
    ) -> LinkSocket:
        """As ``tcp.open_link``. Raises ``OpenFailed`` when nobody listens there."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        found = None if road.address is None else self._listening.get(road.address)
        if road.address is None or found is None:
            raise OpenFailed(RoadFailure(RoadReason.REFUSED))
        door, their_doorstep = found
        self._next_port += 1
        own = Address(road.address.ip, self._next_port)
        there, back = _Pipe(), _Pipe()
        path = NetworkPath(own, road.address, Carrier.MEMORY, number)
        dialled = MemorySocket(loop, link, path, doorstep, back, there)
        their_path = NetworkPath(road.address, own, Carrier.MEMORY, door.next_link_number())
        answer = door.accept_link(their_path)
        accepted = MemorySocket(
            loop, answer or StreamLink.refused(), their_path, their_doorstep, there, back
        )
        their_doorstep.came(accepted)
        if answer is None:
            accepted.discard()
        else:
            door.link_accepted(accepted)
        return dialled
