"""Events of a connection: frozen facts, oldest first, read with ``next_event``.

Events carry no secrets and no references into the machine; acting on one is a command.
Spec: docs/spec/connection.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.connection.roads.reasons import RoadFailure
from wraith.errors import WraithError
from wraith.types import NetworkPath, PeerKey, Road, SecurityInfo, StreamId


@dataclass(frozen=True, slots=True)
class PeerAuthenticated:
    """The peer has proved who it is. At the responder the connection now waits for ``accept`` or
    ``refuse``. ``peer`` is ``None`` for a peer that showed no identity."""

    peer: PeerKey | None


@dataclass(frozen=True, slots=True)
class Established:
    """Streams and datagrams may be used. At the responder this follows ``accept``."""

    security: SecurityInfo


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Initiator: the first packet of the responder has authenticated."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened this stream."""

    sid: StreamId


@dataclass(frozen=True, slots=True)
class StreamReadable:
    """There are bytes, or the end, to read. Comes again only after a read has emptied it."""

    sid: StreamId


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """There is room again after ``stream_write`` took less than it was given."""

    sid: StreamId


@dataclass(frozen=True, slots=True)
class StreamSent:
    """Everything written, and the end of the stream, has been acknowledged."""

    sid: StreamId


@dataclass(frozen=True, slots=True)
class StreamWasReset:
    """The peer gave up sending on this stream; unread bytes are gone."""

    sid: StreamId
    code: int


@dataclass(frozen=True, slots=True)
class StreamWasStopped:
    """The peer does not want more of this stream; the machine has answered with a reset."""

    sid: StreamId
    code: int


@dataclass(frozen=True, slots=True)
class StreamsAvailable:
    """The peer allows more streams: an ``open_stream`` that was refused may succeed now."""


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The peer will end this connection soon and wants no new streams."""

    code: int


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """One unreliable message, whole."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """Packets of this epoch authenticate: the exchange of fresh keys is complete."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RoadsSeen:
    """Initiator: of the first flights that were asked about, the peer has seen these, by their
    names of 8 bytes."""

    ids: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class PathSuspect:
    """Three probes in a row went unanswered. The connection keeps trying until it is idle."""


@dataclass(frozen=True, slots=True)
class PathRecovered:
    """A packet authenticated on a path that was suspect, or the session has left it for one that
    is not."""


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The session's data go on another path now: the peer has another address, or this side or the
    peer has chosen another road. ``path`` is where the peer is reached."""

    path: NetworkPath


@dataclass(frozen=True, slots=True)
class RoadFailed:
    """A road was tried and does not lead to the peer now; others are tried."""

    road: Road
    failure: RoadFailure


@dataclass(frozen=True, slots=True)
class MtuChanged:
    """Datagrams now have up to ``datagram_bytes`` bytes of UDP payload."""

    datagram_bytes: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event. ``error`` is ``None`` after a close without error."""

    code: int
    reason: str
    by_peer: bool
    error: WraithError | None


Event = (
    PeerAuthenticated
    | Established
    | Confirmed
    | StreamOpened
    | StreamReadable
    | StreamWritable
    | StreamSent
    | StreamWasReset
    | StreamWasStopped
    | StreamsAvailable
    | GoingAway
    | DatagramReceived
    | Rekeyed
    | PathSuspect
    | PathRecovered
    | PathChanged
    | RoadFailed
    | RoadsSeen
    | MtuChanged
    | Closed
)
