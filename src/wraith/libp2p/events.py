"""The events of a QUIC endpoint for its owner: frozen values, oldest first.

Must not carry secrets or a library's types.
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.errors import WraithError
from wraith.libp2p.peer_id import PeerId
from wraith.types import Address


@dataclass(frozen=True, slots=True)
class QuicSecurity:
    """The result of a finished handshake; every field comes from its messages.

    ``handshake_ms`` runs from the first datagram of this side to the end of its handshake.
    """

    peer_id: PeerId | None
    group: str
    post_quantum: bool
    cipher: str
    alpn: str
    retried: bool
    handshake_ms: float


@dataclass(frozen=True, slots=True)
class Connected:
    security: QuicSecurity


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The peer has completed the handshake as well; told to the dialling side only."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamCredit:
    """The peer allows another stream of ours, after it allowed none."""


@dataclass(frozen=True, slots=True)
class StreamReadable:
    """Bytes or the end are waiting; told once until the stream was read empty."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """There is room again after a write that was not taken whole."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamWasReset:
    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class StreamWasStopped:
    """The peer does not want to read any more."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    data: bytes


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """The transport's own ping was acknowledged (not ``/ipfs/ping``)."""

    uid: int


@dataclass(frozen=True, slots=True)
class AllDelivered:
    """The peer has acknowledged everything that this side's streams had accepted."""


@dataclass(frozen=True, slots=True)
class PeerMoved:
    """The peer's address changed and its new path is used."""

    remote: Address


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The last event of a connection. ``error`` is ``None`` after a graceful close by either side.

    ``by_peer`` tells who ended it; ``code`` is the application's code, or the transport's.
    """

    code: int
    reason: str
    by_peer: bool
    error: WraithError | None


Libp2pEvent = (
    Connected
    | Confirmed
    | StreamOpened
    | StreamCredit
    | StreamReadable
    | StreamWritable
    | StreamWasReset
    | StreamWasStopped
    | DatagramReceived
    | PingAnswered
    | AllDelivered
    | PeerMoved
    | ConnectionClosed
)
