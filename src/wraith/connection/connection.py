"""One peer, sans-I/O: the connection that programs and the endpoint hold.

Bytes, time and commands go in; datagrams, a deadline and events come out. The handshake is the
endpoint's business: it creates the connection, and ``establish`` hands over what it has agreed.

This file is facts and commands. A connection is composed of machines that see what is ``shared``
and not each other's inside: ``data_phase`` (bursts and time in, runs out), ``moving`` (other
addresses, datagram sizes) and ``ending`` (how it closes).

Spec: docs/spec/connection.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from wraith.abc import Kem, Rng, Tracer
from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.data.datagrams import FRAME_OVERHEAD
from wraith.connection.data.flow import WindowBudget
from wraith.connection.data.stream_table import DEFAULT_PRIORITY
from wraith.connection.data_phase import DataPhase
from wraith.connection.ending import Ending
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.inbound import Inbound
from wraith.connection.moving import Moving, PathNews
from wraith.connection.packet_builder import PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.connection.paths.shaper import Shaper
from wraith.connection.road_reports import RoadReports
from wraith.connection.roads.reasons import RoadFailure
from wraith.connection.shared import Shared
from wraith.connection.state import Input, SessionState
from wraith.connection.stats import ConnectionStats, stats_of
from wraith.connection.ticketing import Tickets
from wraith.connection.timers import Timer
from wraith.crypto.suite import SUITES
from wraith.errors import CloseCode, LocalProtocolError, WraithError
from wraith.types import (
    Buffer,
    NetworkPath,
    PeerKey,
    Road,
    Role,
    SecurityInfo,
    StreamId,
    Transmit,
)
from wraith.wire.control_records import HandshakeConfirm
from wraith.wire.frames import Ping, encode_frame

SESSION_AGE_MAX_S = 86_400.0
GOAWAY_LEAD_S = 60.0
"""An aged session says so this long before it ends."""


class Connection:
    """One peer. Created by an endpoint, in state Connecting.

    Args:
        role: who began.
        path: where the peer is reached; the endpoint may set it until ``establish``.
        config: borrowed.
        rng, kem, tracer: the seams to the world.
        now: monotonic seconds; the handshake timeout counts from here.
        budget: windows promised by all connections of the endpoint together.
        pool: shared output buffers.
        wake: called by every command that may leave something to send, so that an endpoint with
            many connections need not ask all of them. It must only take a note.
        shaper: decides sizes and release times of runs, beside window and pacer.
        tickets: what this session does about tickets, if both sides agree on them.
        is_resuming: a ticket is used.

    Commands raise ``LocalProtocolError`` when they are not allowed now, and change nothing then.
    """

    __slots__ = (
        "_authenticated_by",
        "_counts_taken",
        "_ending",
        "_kem",
        "_moving",
        "_own_hmk",
        "_phase",
        "_shaper",
        "_shared",
        "_suite",
        "_tickets",
        "access_key",
        "config",
        "has_more",
        "owner",
        "peer",
        "role",
    )

    def __init__(
        self,
        *,
        role: Role,
        path: NetworkPath,
        config: EndpointConfig,
        rng: Rng,
        kem: Kem,
        tracer: Tracer,
        now: float,
        budget: WindowBudget | None = None,
        pool: BufferPool | None = None,
        wake: Callable[[], None] | None = None,
        shaper: Shaper | None = None,
        tickets: Tickets | None = None,
        is_resuming: bool = False,
    ) -> None:
        self.role = role
        self.config = config
        #: The identity that the peer has proved.
        self.peer: PeerKey | None = None
        #: Responder: the public half (32 bytes) of the access key that the peer's hello proved.
        self.access_key: bytes | None = None
        #: For whoever uses this connection to keep what it likes; nothing here looks at it.
        self.owner: object = None
        #: ``datagrams_to_send`` stopped at its limit: more may be due at once.
        self.has_more = False
        self._counts_taken = False
        self._kem = kem
        self._shaper = shaper
        self._tickets = tickets
        self._suite = SUITES[config.suites[0]]
        self._authenticated_by = ""
        self._own_hmk = b""
        self._shared = shared = Shared(
            role=role, path=path, config=config, rng=rng, tracer=tracer, budget=budget, wake=wake,
            is_resuming=is_resuming,
        )  # fmt: skip
        self._ending = Ending(shared)
        self._moving = Moving(shared)
        self._phase = DataPhase(shared, self._ending, self._moving, pool)
        if role is Role.INITIATOR:
            shared.timers.set(Timer.CONFIRM, now + config.handshake_timeout_s)

    # -- from the handshake

    def establish(self, result: HandshakeResult, now: float) -> None:
        """Installs what the handshake has agreed; ``result.session_secret`` is wiped.

        The initiator may send at once (a few datagrams until it is confirmed). The responder
        waits for ``accept`` or ``refuse``; meanwhile nothing is delivered.
        """
        shared = self._shared
        shared.life.apply(Input.ESTABLISH)
        self._suite = SUITES[result.suite]
        self._authenticated_by = result.authenticated_by
        self.peer = result.peer
        self.access_key = result.access_key
        self._own_hmk = result.own_hmks[0] if result.own_hmks else b""
        parts = shared.parts = ConnectionParts(
            result,
            path=shared.path,
            config=self.config,
            rng=shared.rng,
            kem=self._kem,
            emit=shared.emit,
            budget=shared.budget,
            now=now,
        )
        if self._counts_taken:
            parts.mux.table.count_taken()
        if shared.budget is not None:
            shared.budget.charge(parts.mux.table.conn_window.window)
        is_initiator = self.role is Role.INITIATOR
        builder = shared.builder = PacketBuilder(
            parts, is_initiator=is_initiator, shaper=self._shaper
        )
        if result.ticket_terms is None or result.peer is None:
            self._tickets = None
        elif self._tickets is not None:
            self._tickets.begin(parts, result.ticket_terms, result.suite, result.peer)
        shared.inbound = Inbound(parts, builder, self.role, shared.emit, self._tickets)
        shared.timers.set(Timer.SESSION_AGE, now + SESSION_AGE_MAX_S - GOAWAY_LEAD_S)
        shared.timers.set(Timer.SESSION_END, now + SESSION_AGE_MAX_S)
        shared.timers.set(Timer.MTU_BEGIN, parts.paths.main.mtu.next_time)
        shared.events.append(ev.PeerAuthenticated(result.peer))
        if is_initiator:
            shared.is_authorised = True
            builder.oneshots.append(encode_frame(Ping(token=0)))  # its answer confirms
            shared.events.append(ev.Established(self.security))
        else:
            parts.is_confirmed = True
            parts.mux.grants = False
            shared.timers.set(Timer.AUTHORISE, now + self.config.authorise_timeout_s)
        shared.draw_keepalive()
        shared.touch(now)

    def resume_refused(self) -> None:
        """The ticket is not taken: a full handshake goes on in its place."""
        if self._shared.life.state is SessionState.RESUMING:
            self._shared.life.apply(Input.RETRY_FULL)

    def fail(self, error: WraithError) -> None:
        """The handshake failed: Closed in silence, with ``error`` in the event."""
        self._ending.fail(error)

    def tell_road(self, road: Road, failure: RoadFailure) -> None:
        """A road does not lead to the peer."""
        self._shared.events.append(ev.RoadFailed(road, failure))

    @property
    def road_reports(self) -> RoadReports:
        """What the two ends tell each other of roads."""
        return self._moving.reports

    # -- facts

    @property
    def path(self) -> NetworkPath:
        """Where the peer is reached."""
        return self._shared.path

    @path.setter
    def path(self, path: NetworkPath) -> None:
        self._shared.path = path

    @property
    def state(self) -> SessionState:
        return self._shared.life.state

    @property
    def confirmed(self) -> bool:
        """The peer has shown that it holds the session's keys."""
        return self._shared.parts is not None and self._shared.parts.is_confirmed

    @property
    def authorised(self) -> bool:
        """Application data is delivered."""
        return self._shared.is_authorised

    @property
    def security(self) -> SecurityInfo:
        """What was really negotiated."""
        parts = self._shared.parts
        return SecurityInfo(
            key_exchange=self._suite.key_exchange,
            post_quantum=self._suite.post_quantum,
            suite=self._suite.id,
            aead=self._suite.aead_name,
            peer=self.peer,
            epoch=parts.keys.current if parts is not None else 0,
            authenticated_by=self._authenticated_by,
        )

    @property
    def n_authenticated(self) -> int:
        """Datagrams that have authenticated so far."""
        return 0 if self._shared.parts is None else self._shared.parts.n_datagrams_received

    @property
    def n_broken(self) -> int:
        """Datagrams so far that looked like this session's and did not open, though neither an
        erased epoch nor the end of the window explains it."""
        return self._phase.n_broken

    @property
    def cid_offset(self) -> int:
        """Where the connection id lies in this session's datagrams (0 … 13); -1 without keys."""
        return self._shared.parts.keys.cid_offset if self._shared.parts is not None else -1

    @property
    def pto_s(self) -> float:
        """One probe timeout without back-off; of a connection without keys the handshake's."""
        parts = self._shared.parts
        return self.config.initial_rtt_s if parts is None else parts.paths.slowest_pto_s()

    def claims(self, datagram: Buffer) -> bool:
        """Whether ``datagram`` looks like one of this session's (header test only)."""
        return self._shared.parts is not None and self._shared.parts.keys.opener.claims(datagram)

    def fits(self, datagram: Buffer) -> bool:
        """As ``claims``, and its connection id is one that this session accepts."""
        return self._shared.parts is not None and self._shared.parts.keys.opener.fits(datagram)

    def live_cids(self) -> tuple[bytes, ...]:
        """The connection ids that this side accepts now, 8 bytes each; at most 16."""
        if self._shared.parts is None:
            return ()
        low, high = self._shared.parts.cid_range
        return tuple(self._shared.parts.keys.cids(low, high))

    @property
    def cid_range(self) -> tuple[int, int]:
        """Indices of ``live_cids``, inclusive: they change only when this does."""
        return self._shared.parts.cid_range if self._shared.parts is not None else (0, -1)

    @property
    def is_open(self) -> bool:
        """The session stands: neither side has closed it."""
        return self._shared.life.is_open

    @property
    def is_drained(self) -> bool:
        """Closed for good: the endpoint may forget this connection."""
        return self._ending.is_drained

    @property
    def is_settled(self) -> bool:
        """Nothing is left to say: Closed, or Draining and both sides have said CLOSE."""
        return self._ending.is_settled

    def stats(self) -> ConnectionStats:
        """The figures of this moment."""
        return stats_of(self._require_parts(), self._phase.n_dropped)

    # -- life

    def accept(self, now: float) -> None:
        """Responder: the peer may use this connection. Delivers what has waited."""
        parts = self._shared.parts
        if parts is None or not self._shared.life.is_open or self._shared.is_authorised:
            raise LocalProtocolError("there is nobody to accept")
        self._shared.is_authorised = True
        self._shared.timers.set(Timer.AUTHORISE, None)
        parts.mux.grant(now, parts.paths.main.rtt.srtt)
        parts.control.push(HandshakeConfirm(hmk=self._own_hmk))
        if self._tickets is not None:
            self._tickets.on_accept(now)
        self._shared.events.append(ev.Established(self.security))
        self._shared.events.extend(self._shared.withheld)
        self._shared.withheld.clear()
        self._shared.woken()

    def stay(self, until: float) -> None:
        """Responder: the peer is neither accepted nor refused until then. [RO-66]"""
        self._shared.timers.set(Timer.AUTHORISE, until)

    def load(self, n_bytes: int) -> None:
        """Sends so many bytes that mean nothing, when nothing else waits: the peer acknowledges
        them, and what is lost is not sent again. For measuring, before ``accept`` too. Replaces
        what is left of an earlier call. [RO-66]"""
        assert self._shared.builder is not None
        self._shared.usable()
        self._shared.builder.load_bytes = n_bytes
        self._shared.woken()

    @property
    def load_left(self) -> int:
        """Bytes of ``load`` that have not been sent."""
        return 0 if self._shared.builder is None else self._shared.builder.load_bytes

    def refuse(self, now: float, code: int = CloseCode.AUTHENTICATION_FAILED) -> None:
        """Responder: the peer may not use this connection."""
        self._ending.refuse(now, code)

    def ping(self, now: float) -> None:
        """Sends something that the peer acknowledges."""
        self._phase.ping(now)

    def ask(self, now: float) -> None:
        """As ``ping``, in the form that finds the session even if this side's address has changed
        unnoticed. [CN-41]"""
        self._phase.ping(now)
        assert self._shared.builder is not None
        self._shared.builder.names_session = True

    def close(self, code: int, reason: str, now: float) -> None:
        """Closes at once; unsent and unacknowledged bytes are lost. No effect when closing."""
        self._ending.close(code, reason, now)

    def go_away(self, now: float) -> None:
        """Tells the peer that this session will end: it opens no new streams from now on, and
        neither does this side. What is open goes on. Idempotent. [CN-8]"""
        self._ending.go_away(now)

    def end(self, reason: str, now: float) -> None:
        """A planned end: GOAWAY, and CLOSE without error as soon as it has left. [CN-8]

        Unsent and unacknowledged bytes are lost, as with ``close``. A connection that is not in
        use yet is closed at once.
        """
        self._ending.end(reason, now)

    def poison(self) -> None:
        """After a fork: both processes would repeat keys and nonces. Erases everything, sends and
        tells nothing, refuses all commands. [CN-50]"""
        self._ending.poison()

    # -- paths

    def join(self, path: NetworkPath, now: float) -> bool:
        """Opens one more path, which stands by once the peer has answered there. False: no
        connection id is free for it now. [CN-84]

        Raises:
            LocalProtocolError: not established.
        """
        return self._moving.join(path, now)

    def probe(self, path: NetworkPath, now: float, *, is_padded: bool = False) -> bool:
        """Asks whether the peer answers on an open path; with a packet of full size if
        ``is_padded``. False: it is not open, since it never answered."""
        return self._moving.probe(path, now, is_padded=is_padded)

    def use(self, path: NetworkPath, now: float) -> None:
        """Sends data on this path from now on, as soon as it is proven. [CN-86]"""
        self._moving.use(path, now)

    def leave(self, path: NetworkPath, now: float) -> None:
        """Gives up a path that stands by."""
        self._moving.leave(path, now)

    def guided(self) -> deque[tuple[PathNews, NetworkPath]]:
        """Whoever chooses the road of this session takes what happens on its paths from here."""
        self._moving.has_guide = True
        return self._moving.news

    @property
    def has_guide(self) -> bool:
        """Somebody looks for another road when this one fails."""
        return self._moving.has_guide

    @property
    def knows_endpoint(self) -> bool:
        """The peer has said how packets to it may name the session from any place; the initiator
        hears it when it was accepted."""
        parts = self._shared.parts
        return parts is not None and parts.is_confirmed and parts.knows_hmk

    @property
    def has_roads(self) -> bool:
        """Both sides can have more than one path."""
        return self._shared.parts is not None and self._shared.parts.has_roads

    @property
    def paths(self) -> tuple[NetworkPath, ...]:
        """The paths that are open and proven; data go on ``path``."""
        parts = self._shared.parts
        if parts is None:
            return ()
        return tuple(path.network for path in parts.paths.open if path.is_proven)

    # -- bytes and time in

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> list[int]:
        """Takes a burst: datagrams of ``segment_bytes``, the last possibly shorter. Borrowed.

        Returns:
            Positions of the datagrams that are not this session's.
        """
        return self._phase.receive_datagrams(data, segment_bytes, path, now)

    def handle_timer(self, now: float) -> None:
        """Acts on every deadline up to ``now``."""
        self._phase.handle_timer(now)

    def handle_mtu_exceeded(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        """The local network refused a datagram of ``n_bytes`` for its size. A probe of that size
        is given up; if it was the size in use, back to 1,200 bytes, and search later. [CN-37]"""
        self._moving.handle_mtu_exceeded(path, n_bytes, now)

    def on_link_room(self, path: NetworkPath, n_bytes: int) -> bool:
        """A link takes ``n_bytes`` more. True: something may leave because of that."""
        parts = self._shared.parts
        found = None if parts is None else parts.paths.find(path)
        if found is None:
            return False
        was_full = found.is_window_full(found.mtu.current)
        found.link_room = n_bytes
        return was_full

    def on_link_closed(self, path: NetworkPath, now: float) -> None:
        """A link has ended. What is under way there goes back for sending. [CN-88]"""
        self._moving.on_link_closed(path, now)

    # -- bytes, time and events out

    def datagrams_to_send(self, now: float, pool: BufferPool | None = None) -> list[Transmit]:
        """What is due now, at most a few runs; call again while ``has_more``.

        The buffers belong to ``pool``, which its owner reclaims; without one, to this connection,
        and stay valid until the next call.
        """
        transmits = self._phase.datagrams_to_send(now, pool)
        self.has_more = self._phase.has_more
        return transmits

    def next_timer(self) -> float | None:
        """The earliest deadline, absolute monotonic seconds."""
        return self._phase.next_timer()

    def next_event(self) -> ev.Event | None:
        """The oldest fact not yet told."""
        if not self._shared.events:
            return None
        event = self._shared.events.popleft()
        if type(event) is ev.DatagramReceived and self._shared.parts is not None:
            self._shared.parts.datagrams.n_unread -= 1
        return event

    # -- what the application asks; each raises ``LocalProtocolError`` when it is not allowed now

    def _require_parts(self) -> ConnectionParts:
        if self._shared.parts is None:
            raise LocalProtocolError("there is no session yet, or no longer")
        return self._shared.parts

    def _reading(self) -> ConnectionParts:
        """The session for reading: what arrived before a close may be read while it drains."""
        parts = self._require_parts()
        if not self._shared.is_authorised:
            raise LocalProtocolError("the connection is not established")
        return parts

    # -- streams

    def open_stream(
        self, *, priority: int | None = None, expedited: bool = False, now: float
    ) -> StreamId:
        """Opens a bidirectional stream. ``priority`` 0 (most urgent) … 255, default 128, or 0 for
        an expedited stream. Raises ``LocalProtocolError`` when the peer allows no more now."""
        if priority is None:
            priority = 0 if expedited else DEFAULT_PRIORITY
        if not 0 <= priority <= 255:
            raise LocalProtocolError("a priority lies between 0 and 255")
        parts = self._shared.command()
        if parts.is_going_away:
            raise LocalProtocolError("this connection is about to end: no new streams")
        return parts.mux.open(priority=priority, expedited=expedited)

    def can_open_stream(self, *, expedited: bool = False) -> bool:
        """Whether the peer allows one more stream now (event ``StreamsAvailable`` else)."""
        parts = self._shared.usable()
        return not parts.is_going_away and parts.mux.table.can_open(expedited=expedited)

    def count_taken_streams(self) -> None:
        """Lets the peer open streams as this side takes them: at most ``max_streams`` of a class
        wait for ``stream_taken``, whether they have ended or not. Without it, at most so many are
        open at once. Call it before ``accept``; at a dialled connection, right away. [CN-83]"""
        self._counts_taken = True
        if self._shared.parts is not None:
            self._shared.parts.mux.table.count_taken()

    def stream_taken(self, sid: StreamId) -> None:
        """The application has taken this stream, which the peer opened: its place is free. No
        effect once the connection has ended."""
        if self._shared.parts is not None and self._shared.life.is_open:
            self._shared.parts.mux.take(sid)
            self._shared.woken()

    def stream_write(self, sid: StreamId, data: Buffer, *, fin: bool = False, now: float) -> int:
        """Takes as much of ``data`` as the send buffer has room for and returns how much.

        ``bytes`` are kept by reference, anything else is copied. ``fin`` ends the stream once all
        of ``data`` was taken. After a short count, ``StreamWritable`` tells of new room.
        """
        return self._shared.command().mux.write(sid, data, fin)

    def stream_write_chunks(
        self, sid: StreamId, chunks: Iterable[Buffer], n_max: int, now: float
    ) -> int:
        """As ``stream_write`` for the first ``n_max`` bytes of several buffers, which have so many
        at least."""
        return self._shared.command().mux.write_chunks(sid, chunks, n_max)

    def stream_room(self, sid: StreamId) -> int:
        """Bytes that ``stream_write`` would take now."""
        return self._shared.usable().mux.room(sid)

    def stream_unsent(self, sid: StreamId) -> int:
        """Bytes that were written and never sent; 0 for a stream or a connection that is over."""
        parts = self._shared.parts
        return parts.mux.unsent(sid) if parts is not None else 0

    def stream_finish(self, sid: StreamId, now: float) -> None:
        """Ends the stream after what was written."""
        self._shared.command().mux.write(sid, b"", True)

    def stream_read(self, sid: StreamId, n_max: int, now: float) -> bytes:
        """Up to ``n_max`` bytes in order; empty when nothing is there."""
        return b"".join(self.stream_read_chunks(sid, n_max, now))

    def stream_read_chunks(self, sid: StreamId, n_max: int, now: float) -> list[Buffer]:
        """As ``stream_read``, in the pieces that arrived, without joining them: the caller's."""
        parts = self._reading()
        chunks = parts.mux.read(sid, n_max, now, parts.paths.main.rtt.srtt)
        if parts.mux.pending:
            self._shared.woken()
        return chunks

    @property
    def has_announcements(self) -> bool:
        """Frames about streams wait to be sent: windows that reading has opened, above all."""
        parts = self._shared.parts
        return parts is not None and bool(parts.mux.pending)

    def stream_readable(self, sid: StreamId) -> int:
        """Bytes that can be read now."""
        return self._reading().mux.readable(sid)

    def stream_is_finished(self, sid: StreamId) -> bool:
        """Everything was read and nothing more will come; true for a stream that is gone."""
        return self._reading().mux.is_finished(sid)

    def stream_reset(self, sid: StreamId, code: int, now: float) -> None:
        """Gives up sending on the stream; what was not acknowledged may never arrive."""
        self._shared.command().mux.reset(sid, code)

    def stream_stop(self, sid: StreamId, code: int, now: float) -> None:
        """Asks the peer to stop sending on the stream; what comes is thrown away."""
        parts = self._shared.command()
        parts.mux.stop(sid, code, now, parts.paths.main.rtt.srtt)

    def set_priority(self, sid: StreamId, priority: int, now: float) -> None:
        """Changes the urgency of a stream on both sides: 0 … 255."""
        if not 0 <= priority <= 255:
            raise LocalProtocolError("a priority lies between 0 and 255")
        self._shared.command().mux.set_priority(sid, priority)

    @property
    def max_datagram_bytes(self) -> int:
        """Largest message for ``send_datagram`` on the present path."""
        parts = self._shared.usable()
        return parts.keys.sealer.capacity(parts.paths.main.mtu.current) - FRAME_OVERHEAD

    def send_datagram(self, data: bytes, now: float) -> bool:
        """Queues one unreliable message; false when the queue is full and it was dropped.

        Raises:
            LocalProtocolError: larger than ``max_datagram_bytes``.
        """
        if len(data) > self.max_datagram_bytes:
            raise LocalProtocolError("this message is too large for one datagram")
        return self._shared.command().datagrams.push(data, now)

    def has_urgent_flows(self, now: float) -> bool:
        """Something must not wait behind bulk: an urgent stream is open, or messages are sent."""
        parts = self._shared.parts
        return parts is not None and (
            parts.mux.table.n_urgent > 0 or now < parts.datagrams.flows_until
        )

    def rekey(self, now: float) -> None:
        """Asks for fresh keys; event ``Rekeyed`` follows. At most once per second."""
        self._shared.command().rekey.request()

    def export_key(self, label: str, n: int, context: bytes = b"") -> bytes:
        """``n`` bytes (1 … 65,535) that both ends derive for ``label`` and ``context``, unlike for
        any others."""
        return self._require_parts().keys.export(label, n, context)
