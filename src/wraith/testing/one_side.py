"""One side of a session without its connection: the parts, what builds packets and what applies
frames, all of them real. For tests that look at one of these alone.

The keys come from a fixed secret, so nothing here is secure. Nothing happens by itself: a test
says what is written, when a run leaves and where it arrives. There is no timer, no rekey and no
end here; those are the connection's.
"""

from __future__ import annotations

from typing import TypeVar

from wraith.config import EndpointConfig
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.events import Event
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.inbound import Inbound
from wraith.connection.packet_builder import PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.hotpath import OpenResult
from wraith.testing.established import handshake_results
from wraith.testing.pair import ADDRESS_A, ADDRESS_B
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import NetworkPath, Role, StreamId, Transmit

E = TypeVar("E")


class OneSide:
    """Parts, builder and inbound of one side, confirmed unless a test says otherwise."""

    def __init__(self, result: HandshakeResult, path: NetworkPath, config: EndpointConfig) -> None:
        self.events: list[Event] = []
        self.pool = BufferPool()
        self.path = path
        self.parts = ConnectionParts(
            result,
            path=path,
            config=config,
            rng=SeededRng(f"one-side-{result.role.value}"),
            kem=HashKem(),
            emit=self.events.append,
            budget=None,
            now=0.0,
        )
        is_initiator = result.role is Role.INITIATOR
        self.builder = PacketBuilder(self.parts, is_initiator=is_initiator)
        self.inbound = Inbound(self.parts, self.builder, result.role, self.events.append)
        self.parts.is_confirmed = True

    # -- what lies on the path, wherever that keeps it

    @property
    def datagram_bytes(self) -> int:
        """UDP payload bytes of a full datagram."""
        return self.parts.paths.main.mtu.current

    @property
    def room(self) -> int:
        """Bytes that the congestion window still lets go."""
        return self.parts.paths.main.room()

    def allow_probes(self, n: int) -> None:
        """As a probe timeout does: ``n`` datagrams may leave beyond window and pacer."""
        self.parts.paths.main.n_probes = n

    def next_run(self, now: float) -> list[Transmit]:
        """The next run on the main path, by bursts; empty when nothing may leave."""
        return self.builder.next_run(self.parts.paths.main, now, self.pool)

    # -- what a connection does with them

    def runs(self, now: float) -> list[list[bytes]]:
        """Every run that may leave at ``now``, as datagrams, copied out of the pool."""
        found = []
        while transmits := self.next_run(now):
            found.append([each for burst in transmits for each in datagrams_of(burst)])
            self.pool.reclaim()
        return found

    def opened(self, datagram: bytes, now: float) -> tuple[OpenResult, bytes]:
        """``datagram`` opened: what is in it, and the stream bytes that its runs point into."""
        out = bytearray(len(datagram))
        return self.parts.keys.opener.open_run(datagram, len(datagram), out, now), bytes(out)

    def receive(self, datagram: bytes, now: float) -> OpenResult:
        """Takes one datagram of the peer as a connection does."""
        result, out = self.opened(datagram, now)
        self.parts.paths.main.acks.on_received(result.received, result.n_eliciting, now)
        for sid, offset, at, length, fin in result.runs:
            piece = memoryview(out)[at : at + length]
            if sid:
                self.parts.mux.on_data(sid, offset, piece, fin, now, 0.1)
            else:
                self.inbound.on_control_data(offset, piece, fin, now)
        for _, _, frames in result.others:
            self.inbound.on_frames(frames, self.path, now)
        return result

    def open_stream(self, data: bytes = b"", *, fin: bool = False) -> StreamId:
        """A new stream with ``data`` on it."""
        sid = self.parts.mux.open(priority=128, expedited=False)
        if data or fin:
            assert self.parts.mux.write(sid, data, fin) == len(data)
        return sid

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]


def datagrams_of(transmit: Transmit) -> list[bytes]:
    """The datagrams of one burst, copied."""
    data, size = bytes(transmit.data), transmit.segment_bytes
    return [data[at : at + size] for at in range(0, len(data), size)]


def two_sides(config: EndpointConfig | None = None) -> tuple[OneSide, OneSide]:
    """Initiator and responder of the same session."""
    config = config if config is not None else EndpointConfig()
    ours, theirs = handshake_results(config, config)
    return (
        OneSide(ours, NetworkPath(ADDRESS_A, ADDRESS_B), config),
        OneSide(theirs, NetworkPath(ADDRESS_B, ADDRESS_A), config),
    )
