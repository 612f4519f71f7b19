"""One peer, sans-I/O: the established connection.

Bytes, time and commands go in; datagrams, a deadline and events come out. The handshake is the
endpoint's business: it creates the connection, and ``establish`` hands over what it has agreed.

This file is the life cycle and the dispatch. What each part does stands in its own file: frames in
``inbound``, streams in ``mux``, keys in ``keys`` and ``rekey``, loss in ``recovery``, sending in
``packet_builder``, other addresses in ``moving``, the end in ``ending``. Malformed input that is
not authenticated is silence; a breach of the protocol by the authenticated peer is one CLOSE and
the event ``Closed``, never an exception.

Spec: docs/spec/connection.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from wraith.abc import Kem, Rng, Tracer
from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.application import ConnectionStats
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.data.datagrams import QUEUE_MESSAGES
from wraith.connection.data.flow import WindowBudget
from wraith.connection.data.recovery import SUSPECT_PTOS
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.inbound import ONESHOTS_MAX, Inbound
from wraith.connection.keys import CLOSE_ONLY
from wraith.connection.moving import Moving
from wraith.connection.packet_builder import PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.connection.paths.open_path import Path
from wraith.connection.rekey import RekeyFailed, old_epoch_ttl_s
from wraith.connection.state import Input, LifeCycle, SessionState
from wraith.connection.timers import Timer, Timers
from wraith.crypto.suite import SUITES
from wraith.errors import (
    CloseCode,
    HandshakeTimeout,
    LimitExceeded,
    LocalProtocolError,
    RemoteProtocolError,
    TransportTimeout,
)
from wraith.hotpath import OpenResult
from wraith.types import (
    Buffer,
    NetworkPath,
    PeerKey,
    Role,
    SecurityInfo,
    Transmit,
)
from wraith.wire.control_records import HandshakeConfirm
from wraith.wire.frames import Ping, encode_frame

__all__ = ["Connection", "ConnectionStats"]

RUNS_PER_CALL = 4
CALL_BYTES = 128 * 1024
"""No further run is begun once a call has made so much: what is sealed should leave the machine
while it is in the processor's cache, and other connections wait for it."""
SESSION_AGE_MAX_S = 86_400.0
GOAWAY_LEAD_S = 60.0
"""An aged session says so this long before it ends."""
KEEPALIVE_LOW, KEEPALIVE_SPAN = 1 / 2, 1 / 3
IDLE_PTOS_MIN = 3
SKIPPED_TTL_MIN_S, SKIPPED_TTL_MAX_S = 1.0, 10.0
WITHHELD_PER_STREAM = 6
"""So many events for each of ``max_streams`` wait for ``accept``: three a stream, two classes."""
_WITHHELD = (
    ev.StreamOpened,
    ev.StreamReadable,
    ev.StreamWasReset,
    ev.StreamWasStopped,
    ev.DatagramReceived,
)


class Connection(Moving):
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

    Commands raise ``LocalProtocolError`` when they are not allowed now, and change nothing then.
    """

    __slots__ = (
        "_authenticated_by",
        "_is_authorised",
        "_keepalive_factor",
        "_kem",
        "_own_hmk",
        "_pool",
        "_suite",
        "_tracer",
        "access_key",
        "config",
        "has_more",
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
    ) -> None:
        self.role = role
        self.path = path
        self.config = config
        #: The identity that the peer has proved.
        self.peer: PeerKey | None = None
        #: Responder: the public half (32 bytes) of the access key that the peer's hello proved.
        self.access_key: bytes | None = None
        #: ``datagrams_to_send`` stopped at its limit: more may be due at once.
        self.has_more = False
        self._rng = rng
        self._kem = kem
        self._tracer = tracer
        self._budget = budget
        self._pool = pool
        self._wake = wake
        self._own_pool: BufferPool | None = None
        self._life = LifeCycle()
        self._life.apply(Input.CONNECT)
        self._events: deque[ev.Event] = deque()
        self._withheld: list[ev.Event] = []
        self._timers = Timers()
        if role is Role.INITIATOR:
            self._timers.set(Timer.CONFIRM, now + config.handshake_timeout_s)
        self._parts: ConnectionParts | None = None
        self._builder: PacketBuilder | None = None
        self._inbound: Inbound | None = None
        self._suite = SUITES[config.suites[0]]
        self._authenticated_by = ""
        self._is_authorised = False
        self._own_hmk = b""
        self._keepalive_factor = KEEPALIVE_LOW
        self._close: tuple[int, str] | None = None
        self._close_epochs: list[int] = []
        self._ends_with: tuple[int, str] | None = None
        self._n_draining = 0
        self._n_dropped = 0

    # -- from the handshake

    def establish(self, result: HandshakeResult, now: float) -> None:
        """Installs what the handshake has agreed; ``result.session_secret`` is wiped.

        The initiator may send at once (a few datagrams until it is confirmed). The responder
        waits for ``accept`` or ``refuse``; meanwhile nothing is delivered.
        """
        self._life.apply(Input.ESTABLISH)
        self._suite = SUITES[result.suite]
        self._authenticated_by = result.authenticated_by
        self.peer = result.peer
        self.access_key = result.access_key
        self._own_hmk = result.own_hmks[0] if result.own_hmks else b""
        parts = self._parts = ConnectionParts(
            result,
            path=self.path,
            config=self.config,
            rng=self._rng,
            kem=self._kem,
            emit=self._emit,
            budget=self._budget,
            now=now,
        )
        if self._budget is not None:
            self._budget.charge(parts.mux.table.conn_window.window)
        is_initiator = self.role is Role.INITIATOR
        self._builder = PacketBuilder(parts, is_initiator=is_initiator)
        self._inbound = Inbound(parts, self._builder, self.role, self._emit)
        self._timers.set(Timer.SESSION_AGE, now + SESSION_AGE_MAX_S - GOAWAY_LEAD_S)
        self._timers.set(Timer.SESSION_END, now + SESSION_AGE_MAX_S)
        self._timers.set(Timer.MTU_BEGIN, parts.paths.main.mtu.next_time)
        self._events.append(ev.PeerAuthenticated(result.peer))
        if is_initiator:
            self._is_authorised = True
            self._builder.oneshots.append(encode_frame(Ping(token=0)))  # its answer confirms
            self._events.append(ev.Established(self.security))
        else:
            parts.is_confirmed = True
            parts.mux.grants = False
            self._timers.set(Timer.AUTHORISE, now + self.config.authorise_timeout_s)
        self._draw_keepalive()
        self._touch(now)

    # -- facts

    @property
    def state(self) -> SessionState:
        return self._life.state

    @property
    def confirmed(self) -> bool:
        """The peer has shown that it holds the session's keys."""
        return self._parts is not None and self._parts.is_confirmed

    @property
    def authorised(self) -> bool:
        """Application data is delivered."""
        return self._is_authorised

    @property
    def security(self) -> SecurityInfo:
        """What was really negotiated."""
        parts = self._parts
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
        return 0 if self._parts is None else self._parts.n_datagrams_received

    @property
    def cid_offset(self) -> int:
        """Where the connection id lies in this session's datagrams (0 … 13); -1 without keys."""
        return self._parts.keys.cid_offset if self._parts is not None else -1

    @property
    def pto_s(self) -> float:
        """One probe timeout without back-off; of a connection without keys the handshake's."""
        parts = self._parts
        return self.config.initial_rtt_s if parts is None else parts.paths.slowest_pto_s()

    def claims(self, datagram: Buffer) -> bool:
        """Whether ``datagram`` looks like one of this session's (header test only)."""
        return self._parts is not None and self._parts.keys.opener.claims(datagram)

    def fits(self, datagram: Buffer) -> bool:
        """As ``claims``, and its connection id is one that this session accepts."""
        return self._parts is not None and self._parts.keys.opener.fits(datagram)

    def live_cids(self) -> tuple[bytes, ...]:
        """The connection ids that this side accepts now, 8 bytes each; at most 16."""
        if self._parts is None:
            return ()
        low, high = self._parts.cids.accepted()
        return tuple(self._parts.keys.cids(low, high))

    @property
    def cid_range(self) -> tuple[int, int]:
        """Indices of ``live_cids``, inclusive: they change only when this does."""
        return self._parts.cids.accepted() if self._parts is not None else (0, -1)

    def _open(self) -> ConnectionParts:
        """The session, if the application may use it now."""
        if self._parts is None or not self._life.is_open or not self._is_authorised:
            raise LocalProtocolError("the connection is not established")
        return self._parts

    # -- commands

    def accept(self, now: float) -> None:
        """Responder: the peer may use this connection. Delivers what has waited."""
        parts = self._parts
        if parts is None or not self._life.is_open or self._is_authorised:
            raise LocalProtocolError("there is nobody to accept")
        self._is_authorised = True
        self._timers.set(Timer.AUTHORISE, None)
        parts.mux.grant(now, parts.paths.main.rtt.srtt)
        parts.control.push(HandshakeConfirm(hmk=self._own_hmk))
        self._events.append(ev.Established(self.security))
        self._events.extend(self._withheld)
        self._withheld.clear()
        self._woken()

    def refuse(self, now: float, code: int = CloseCode.AUTHENTICATION_FAILED) -> None:
        """Responder: the peer may not use this connection."""
        if self._parts is None or not self._life.is_open or self._is_authorised:
            raise LocalProtocolError("there is nobody to refuse")
        self._shut(code, "not authorised", now, error=None)
        self._woken()

    def ping(self, now: float) -> None:
        """Sends something that the peer acknowledges."""
        if self._builder is None or not self._life.is_open:
            raise LocalProtocolError("the connection is not established")
        if len(self._builder.oneshots) < ONESHOTS_MAX:
            self._builder.oneshots.append(encode_frame(Ping(token=0)))
        self._woken()

    def ask(self, now: float) -> None:
        """As ``ping``, in the form that finds the session even if this side's address has changed
        unnoticed. [CN-41]"""
        self.ping(now)
        assert self._builder is not None
        self._builder.names_session = True

    # -- bytes in

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> list[int]:
        """Takes a burst: datagrams of ``segment_bytes``, the last possibly shorter. Borrowed.

        Returns:
            Positions of the datagrams that are not this session's.
        """
        parts = self._parts
        if parts is None:
            return list(range(-(-len(data) // segment_bytes)))
        out = bytearray(len(data))  # never used again: a stream may keep what it gets of it
        result = parts.keys.opener.open_run(data, segment_bytes, out, now)
        self._n_dropped += result.dropped
        if result.highest is not None:
            try:
                self._on_received(parts, result, memoryview(out), path, now)
            except RemoteProtocolError as error:
                self._on_breach(error, now)
        return result.unclaimed

    def _on_received(
        self,
        parts: ConnectionParts,
        result: OpenResult,
        out: memoryview,
        path: NetworkPath,
        now: float,
    ) -> None:
        assert result.highest is not None
        n_packets = sum(last - first + 1 for _, first, last, _ in result.received)
        parts.n_datagrams_received += n_packets
        parts.n_bytes_received += result.authenticated_bytes
        if not self._life.is_open:
            self._on_packets_while_draining(result, n_packets)
            return
        inbound = self._inbound
        assert inbound is not None
        parts.last_received = now
        self._touch(now)
        if not parts.is_confirmed:
            parts.is_confirmed = True
            self._timers.set(Timer.CONFIRM, None)
            self._events.append(ev.Confirmed())
        main = parts.paths.main
        if main.is_suspect:
            self._on_recovered(parts, now)
        epoch, pn = result.highest
        keys = parts.keys
        if path != main.network:
            self._on_other_path(parts, path, result, keys.is_highest(epoch, pn), now)
        if keys.newest > keys.current and result.received[0][0] == keys.current:
            parts.rekey.on_old_packet()
            parts.rekey.check(now)
        if keys.on_authenticated(epoch, pn):
            self._on_new_epoch(parts, epoch, now)
        if parts.acks.on_received(result.received, result.n_eliciting, now):
            self._on_gap(parts, now)
        if result.n_eliciting:
            parts.rekey.on_traffic()
        if parts.cids.on_received(result.cid_index):
            keys.opener.set_cids(*parts.cids.accepted())
        srtt = main.rtt.srtt
        on_data = parts.mux.on_data
        for sid, offset, at, length, fin in result.runs:
            piece = out[at : at + length]
            if sid:
                on_data(sid, offset, piece, fin, now, srtt)
            else:
                inbound.on_control_data(offset, piece, fin, now)
        for _, _, frames in result.others:
            inbound.on_frames(frames, path, now)
        if parts.rekey.is_running and not self._life.is_rekeying:
            self._life.apply(Input.REKEY)
        if inbound.path_responses:
            self._on_path_responses(parts, inbound.path_responses, now)
        if inbound.peer_close is not None:
            self._on_peer_close(parts, *inbound.peer_close, now)

    def _on_gap(self, parts: ConnectionParts, now: float) -> None:
        """Keys of packets that have not come are kept, but not for long. [CN-49]"""
        parts.last_gap = now
        if self._timers.get(Timer.SKIPPED_KEYS) is None:
            self._timers.set(Timer.SKIPPED_KEYS, now + self._skipped_ttl_s(parts))

    def _on_new_epoch(self, parts: ConnectionParts, epoch: int, now: float) -> None:
        parts.rekey.on_epoch(now)
        self._life.apply(Input.REKEYED)
        ttl = old_epoch_ttl_s(parts.paths.slowest_pto_s())
        self._timers.set(Timer.OLD_EPOCH, now + ttl)
        self._events.append(ev.Rekeyed(epoch))

    def _on_breach(self, error: RemoteProtocolError, now: float) -> None:
        """The authenticated peer broke a rule: exactly one CLOSE. [CN-3]"""
        self._tracer.record("breach", what=str(error), code=error.close_code)
        if self._parts is None or not self._life.is_open:
            return
        if isinstance(error, RekeyFailed):
            self._on_rekey_failed(self._parts, error, now)
        else:
            self._shut(error.close_code, "", now, error=error)

    # -- time in

    def handle_timer(self, now: float) -> None:
        """Acts on every deadline up to ``now``."""
        for timer in self._timers.pop_due(now):
            self._on_timer(timer, now)
        parts = self._parts
        if parts is None or not self._life.is_open:
            return
        parts.acks.on_timer(now)
        paths = parts.paths
        for path in paths.open:
            due = path.timer()
            if due is not None and now >= due:
                self._on_path_timer(parts, path, now)
        for validation in list(paths.validations):
            if validation.on_timer(now):
                paths.validations.remove(validation)
                if not paths.validations:
                    self._life.apply(Input.PATH_DONE)
        try:
            parts.rekey.check(now)
        except RekeyFailed as error:
            self._on_rekey_failed(parts, error, now)

    def _on_timer(self, timer: Timer, now: float) -> None:
        parts = self._parts
        if timer is Timer.CONFIRM:
            self.fail(HandshakeTimeout())
        elif timer is Timer.DRAIN:
            self._life.apply(Input.DRAINED)
            self._erase()
        elif parts is None or not self._life.is_open:
            return
        elif timer is Timer.IDLE:
            self._shut(CloseCode.IDLE_TIMEOUT, "idle", now, error=TransportTimeout())
        elif timer is Timer.AUTHORISE:
            self.refuse(now)
        elif timer is Timer.SESSION_AGE:
            if self._is_authorised:
                self.go_away(now)
        elif timer is Timer.SESSION_END:
            self._shut(CloseCode.NO_ERROR, "session too old", now, error=None)
        elif timer is Timer.END:
            self._end(now)
        elif timer is Timer.OLD_EPOCH:
            assert self._inbound is not None
            self._inbound.drop_old_epoch(now)
        elif timer is Timer.KEEPALIVE:
            self.ping(now)
            self._draw_keepalive()
            self._timers.set(Timer.KEEPALIVE, now + self._keepalive_factor * parts.idle_s)
        elif timer is Timer.SKIPPED_KEYS:
            ttl_s = self._skipped_ttl_s(parts)
            parts.keys.opener.expire(now, ttl_s)
            if parts.last_gap + ttl_s > now:
                self._timers.set(Timer.SKIPPED_KEYS, parts.last_gap + ttl_s)

    def _on_path_timer(self, parts: ConnectionParts, path: Path, now: float) -> None:
        assert self._inbound is not None
        outcome = parts.recovery.on_timer(path, now)
        if outcome.lost:
            path.set_pace()
            self._inbound.on_lost(outcome.lost, now)
        if not outcome.pto:
            return
        path.n_probes = 2 if parts.is_confirmed else 1
        oldest = parts.recovery.oldest(path, path.n_probes)
        if oldest is not None:
            self._inbound.send_again(oldest)
        if path.pto_count >= SUSPECT_PTOS and not path.is_suspect:
            path.is_suspect = True
            parts.rekey.suspend(now)
            self._events.append(ev.PathSuspect())
            self._shrink_mtu(parts, now)

    def _on_recovered(self, parts: ConnectionParts, now: float) -> None:
        path = parts.paths.main
        path.is_suspect = False
        parts.rekey.resume(now)
        path.mtu.restart(now)
        self._events.append(ev.PathRecovered())

    def _skipped_ttl_s(self, parts: ConnectionParts) -> float:
        return min(max(3 * parts.paths.slowest_pto_s(), SKIPPED_TTL_MIN_S), SKIPPED_TTL_MAX_S)

    def next_timer(self) -> float | None:
        """The earliest deadline, absolute monotonic seconds."""
        due = self._timers.next()
        parts = self._parts
        if parts is None or not self._life.is_open:
            return due
        times = [due, parts.paths.next_time()]
        if parts.is_confirmed:  # until then a rekey that is due would have to wait, not to wake
            times.append(parts.rekey.next_time())
        if not parts.acks.is_due:
            times.append(parts.acks.deadline)
        for validation in parts.paths.validations:
            times.append(validation.deadline)
        earliest: float | None = None
        for at in times:
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    def _touch(self, now: float) -> None:
        """Restarts idle and keep-alive. [CN-4]"""
        parts = self._parts
        assert parts is not None
        idle = max(parts.idle_s, IDLE_PTOS_MIN * parts.paths.slowest_pto_s())
        self._timers.set(Timer.IDLE, now + idle)
        if self.role is Role.INITIATOR and self.config.keepalive:
            self._timers.set(Timer.KEEPALIVE, now + self._keepalive_factor * parts.idle_s)

    def _draw_keepalive(self) -> None:
        """A new jittered interval: ½ … ⅚ of the idle timeout."""
        draw = int.from_bytes(self._rng.public_bytes(2), "big") / 65_536
        self._keepalive_factor = KEEPALIVE_LOW + KEEPALIVE_SPAN * draw

    # -- bytes out

    def datagrams_to_send(self, now: float, pool: BufferPool | None = None) -> list[Transmit]:
        """What is due now, at most a few runs; call again while ``has_more``.

        The buffers belong to ``pool``, which its owner reclaims; without one, to this connection,
        and stay valid until the next call.
        """
        parts, builder = self._parts, self._builder
        self.has_more = False
        if parts is None or builder is None:
            return []
        if pool is None:
            pool = self._pool or self._ensure_pool()
            pool.reclaim()
        out: list[Transmit] = []
        if not self._life.is_open:
            self._send_close(parts, builder, out, pool, now)
            return out
        if parts.keys.highest_pn() >= CLOSE_ONLY:
            self._on_rekey_failed(parts, RekeyFailed("out of packet numbers"), now)
            self._send_close(parts, builder, out, pool, now)
            return out
        self._begin_rekey(parts, now)
        quiet = parts.last_eliciting_sent <= parts.last_received
        self._send_on_other_paths(builder, out, pool, now)
        path = parts.paths.main
        mtu = path.mtu
        if parts.is_confirmed and mtu.next_time is not None:
            if not mtu.is_begun and (len(parts.mux.scheduler) or parts.datagrams):
                mtu.begin(now)
            size = mtu.due(now) if not parts.rekey.is_stopped(now) else 0
            if size and not pool.is_exhausted and path.room() >= size:
                probe = builder.mtu_probe(path, now, pool, size)
                if probe is not None:
                    out.append(probe)
        n_bytes = 0
        while len(out) < RUNS_PER_CALL and n_bytes < CALL_BYTES and not pool.is_exhausted:
            transmit = builder.next_run(path, now, pool)
            if transmit is None:
                break
            n_bytes += len(transmit.data)
            out.append(transmit)
        else:
            self.has_more = True
        self._timers.set(Timer.PACE, path.pace_at)
        if self._ends_with is not None and not parts.control.has_data():
            self._end(now)
            self._send_close(parts, builder, out, pool, now)
            return out
        if quiet and parts.last_eliciting_sent == now > parts.last_received:
            self._touch(now)
        return out

    def _ensure_pool(self) -> BufferPool:
        if self._own_pool is None:
            self._own_pool = BufferPool(n_buffers=RUNS_PER_CALL + 2)
        return self._own_pool

    def _begin_rekey(self, parts: ConnectionParts, now: float) -> None:
        rekey = parts.rekey
        if not parts.is_confirmed:
            return
        if parts.keys.old_receive is not None and rekey.is_pn_due():
            self._hurry_old_epoch(parts, now)
        if rekey.should_begin(now):
            parts.control.push(rekey.begin(now))
            self._life.apply(Input.REKEY)
        elif (request := rekey.should_ask()) is not None:
            parts.control.push(request)

    def _hurry_old_epoch(self, parts: ConnectionParts, now: float) -> None:
        """With packet numbers running out, old receive keys go after three PTOs already."""
        assert self._inbound is not None
        if now - parts.rekey.epoch_at >= 3 * parts.paths.slowest_pto_s():
            self._timers.set(Timer.OLD_EPOCH, None)
            self._inbound.drop_old_epoch(now)

    # -- events out

    def next_event(self) -> ev.Event | None:
        """The oldest fact not yet told."""
        if not self._events:
            return None
        event = self._events.popleft()
        if type(event) is ev.DatagramReceived and self._parts is not None:
            self._parts.datagrams.n_unread -= 1
        return event

    def _emit(self, event: ev.Event) -> None:
        if self._is_authorised or not isinstance(event, _WITHHELD):
            self._events.append(event)
        elif len(self._withheld) < WITHHELD_PER_STREAM * self.config.max_streams + QUEUE_MESSAGES:
            self._withheld.append(event)
        else:  # [CN-61]
            raise LimitExceeded(
                "too much before being accepted", close_code=CloseCode.STREAM_LIMIT_EXCEEDED
            )
