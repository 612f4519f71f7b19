"""What the driver needs of a transport, and the names by which programs know one.

Datagram carriers are a ``udp.DatagramSocket``: one socket for all peers. Stream carriers are a
``StreamSocket`` for each stream connection, called a link: it moves whole records, and takes all
that it is handed, since the machine hands out no more than the link has announced room for. So a
link that is full stops nobody else.

Spec: docs/spec/carriers.md.
"""

from __future__ import annotations

from typing import Final, Protocol

from wraith.connection.links.link import StreamLink
from wraith.connection.roads.reasons import RoadFailure
from wraith.types import Address, NetworkPath, Transmit, TransportCharacteristics

#: So much a link holds for a kernel that is full; ``room_bytes`` is what is left of it, and what
#: the kernel says that it would take.
PENDING_BYTES_MAX: Final = 256 * 1024
#: The kernel holds at most so much that it has not sent (TCP_NOTSENT_LOWAT).
UNSENT_BYTES_MAX: Final = 128 * 1024
#: Either of them, while the link is kept short.
SHORT_BYTES_MAX: Final = 32 * 1024


class OpenFailed(Exception):
    """A road could not be opened. Never leaves the package: whoever opened it takes ``failure``."""

    def __init__(self, failure: RoadFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure


#: Reasons of ``link_closed`` beside those of ``RoadReason``: the peer ended the link in good order;
#: what came was no record.
PEER_CLOSED: Final = "closed"
BROKEN: Final = "broken"
#: Nothing that proves a peer came in time, or too many others did.
UNPROVEN: Final = "unproven"


class LinkDoor(Protocol):
    """Whoever listens: is asked about each connection that arrives, and gets its link."""

    def next_link_number(self) -> int:
        """A number that no other link of the endpoint has had; not 0."""
        ...

    def accept_link(self, path: NetworkPath, /) -> StreamLink | None:
        """The link that reads what comes on ``path``; ``None`` refuses it, in silence."""
        ...

    def link_accepted(self, link: StreamSocket, /) -> None:
        """The connection of the link that ``accept_link`` made. Whoever takes it starts it, and
        tells the doorstep when something has authenticated on it: ``Doorstep.settle``."""
        ...


class LinkHost(Protocol):
    """Who is told what happens on links. Every call comes from the loop, never from within a call
    to the link."""

    def link_received(self, link: StreamSocket, data: memoryview, segment_bytes: int, /) -> None:
        """Whole packets of ``segment_bytes``, the last possibly shorter, in order. Lent for the
        call."""
        ...

    def link_turn(self, link: StreamSocket, /) -> None:
        """All that had arrived has been delivered."""
        ...

    def link_room(self, link: StreamSocket, /) -> None:
        """The link was full and has room again: ``link.room_bytes``."""
        ...

    def link_closed(self, link: StreamSocket, reason: str, /) -> None:
        """The link is gone, by the peer, the network or an error; told once, never after
        ``close`` or ``discard``. ``reason`` is a ``RoadFailure`` as text, ``PEER_CLOSED``,
        ``BROKEN`` or ``UNPROVEN``."""
        ...


class StreamSocket(Protocol):
    """One link: a stream connection that is open.

    Attributes:
        path: its local and remote address, carrier and number.
        characteristics: of its carrier.
    """

    path: NetworkPath
    characteristics: TransportCharacteristics

    @property
    def room_bytes(self) -> int:
        """How many bytes of packets ``send`` may be handed before the next ``link_room``."""
        ...

    def start(self, host: LinkHost, /) -> None:
        """Begins to deliver."""
        ...

    def send(self, transmit: Transmit, /) -> None:
        """Takes all of ``transmit``: hands it to the kernel, and copies what the kernel leaves."""
        ...

    def silence(self) -> RoadFailure | None:
        """Nothing is heard of the peer: what is known of why. ``None``: nothing."""
        ...

    def keep_short(self, is_short: bool, /) -> None:
        """Holds little from now on, in this process and in the kernel, so that what is urgent
        waits behind little; or as much as ever. What it holds already stays."""
        ...

    def discard(self) -> None:
        """Sends nothing more, and throws away what arrives until the peer closes or a random time
        is over: whoever looks from outside sees neither when nor why. Tells the host nothing.
        [CA-21]"""
        ...

    def close(self) -> None:
        """Ends the link in good order: what it holds is sent, then it is closed. Idempotent."""
        ...


class Transport(Protocol):
    """One peer's way through a carrier, for programs and tests that move single packets.

    The driver does not use it: it works on runs of packets.
    """

    async def send(self, packet: bytes, /) -> None:
        """Sends one packet; waits while the carrier has no room.

        Raises:
            TransportError: the packet is too large, or the transport is closed.
        """
        ...

    async def recv(self, buffer: memoryview, /) -> int:
        """Waits for the next packet, writes it into ``buffer`` and returns its length.

        Raises:
            TransportError: the transport is closed and nothing is left, or the buffer is too small.
        """
        ...

    def characteristics(self) -> TransportCharacteristics:
        """What the carrier promises."""
        ...

    def mtu(self) -> int:
        """The largest packet that it takes now, in bytes."""
        ...

    def local_addr(self) -> Address:
        """Where this side is."""
        ...

    def peer_addr(self) -> Address:
        """Where the peer is."""
        ...

    def close(self) -> None:
        """Ends it. Idempotent."""
        ...
