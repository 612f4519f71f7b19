"""The established connection at work: bursts and time in, runs out.

Dispatches and decides little: frames go to ``inbound``, stream bytes to ``mux``, keys are those of
``keys`` and ``rekey``, loss is found in ``recovery``, runs are made by ``packet_builder``.
Malformed input that is not authenticated is silence; a breach of the protocol by the authenticated
peer is one CLOSE and the event ``Closed``, never an exception.

Spec: docs/spec/connection.md.
"""

from __future__ import annotations

from wraith.connection import events as ev
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.data.recovery import SUSPECT_PTOS
from wraith.connection.ending import Ending
from wraith.connection.inbound import ONESHOTS_MAX
from wraith.connection.keys import CLOSE_ONLY
from wraith.connection.moving import Moving
from wraith.connection.parts import ConnectionParts
from wraith.connection.paths.open_path import Path
from wraith.connection.rekey import RekeyFailed, old_epoch_ttl_s
from wraith.connection.shared import Shared
from wraith.connection.state import Input
from wraith.connection.timers import Timer
from wraith.errors import (
    CloseCode,
    HandshakeTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    TransportTimeout,
)
from wraith.hotpath import OpenResult
from wraith.types import Buffer, NetworkPath, Transmit
from wraith.wire.frames import Ping, encode_frame

RUNS_PER_CALL = 4
CALL_BYTES = 128 * 1024
"""No further run is begun once a call has made so much: what is sealed should leave the machine
while it is in the processor's cache, and other connections wait for it."""
SKIPPED_TTL_MIN_S, SKIPPED_TTL_MAX_S = 1.0, 10.0
QUIET_PTOS, QUIET_MIN_S = 3, 0.1
"""A side that can choose another road asks for the peer when its stream bytes stay away so long."""
LINK_SILENCES = 2
"""A link is suspect when it was silent for twice its patience. [RC-41]"""


class DataPhase:
    """Drives the parts of one session; does nothing before there is one.

    Args:
        pool: shared output buffers; without it, buffers of this connection.
    """

    __slots__ = ("_ending", "_moving", "_pool", "_shared", "has_more", "n_broken", "n_dropped")

    def __init__(
        self, shared: Shared, ending: Ending, moving: Moving, pool: BufferPool | None
    ) -> None:
        self._shared = shared
        self._ending = ending
        self._moving = moving
        self._pool = pool
        self.has_more = False
        #: Datagrams that were this session's by their header and did not open.
        self.n_dropped = 0
        #: Those of them that a link cannot have brought unless somebody changed them. [CN-90]
        self.n_broken = 0

    # -- bytes in

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> list[int]:
        """Takes a burst: datagrams of ``segment_bytes``, the last possibly shorter. Borrowed.

        Returns:
            Positions of the datagrams that are not this session's.
        """
        parts = self._shared.parts
        if parts is None:
            return list(range(-(-len(data) // segment_bytes)))
        out = bytearray(len(data))  # never used again: a stream may keep what it gets of it
        result = parts.keys.opener.open_run(data, segment_bytes, out, now)
        self.n_dropped += result.dropped
        self.n_broken += result.broken
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
        n_packets = 0
        for _, first, last, _ in result.received:
            n_packets += last - first + 1
        parts.n_datagrams_received += n_packets
        parts.n_bytes_received += result.authenticated_bytes
        if not self._shared.life.is_open:
            self._ending.on_packets_while_draining(result, n_packets)
            return
        inbound = self._shared.inbound
        assert inbound is not None
        parts.last_received = now
        self._shared.touch(now)
        if not parts.is_confirmed:
            parts.is_confirmed = True
            self._shared.timers.set(Timer.CONFIRM, None)
            self._shared.events.append(ev.Confirmed())
        main = parts.paths.main
        epoch, pn = result.highest
        keys = parts.keys
        arrival, is_newest = main, False
        if path != main.network:
            is_newest = keys.is_highest(epoch, pn)
            arrival = self._moving.arrived(parts, path, result, is_newest, now)
        if arrival.is_suspect:
            self._on_recovered(parts, arrival, now)
        if keys.newest > keys.current and result.received[0][0] == keys.current:
            parts.rekey.on_old_packet()
            parts.rekey.check(now)
        if keys.on_authenticated(epoch, pn):
            self._on_new_epoch(parts, epoch, now)
        if arrival.acks.on_received(result.received, result.n_eliciting, now):
            self._on_gap(parts, now)
        if result.n_eliciting:
            parts.rekey.on_traffic()
        if result.cid_index > arrival.index_received and self._is_of(parts, arrival, path):
            self._on_cid_index(parts, arrival, result.cid_index)
            self._moving.on_index(arrival, now)
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
        if parts.rekey.is_running and not self._shared.life.is_rekeying:
            self._shared.life.apply(Input.REKEY)
        if inbound.path_responses:
            self._moving.on_responses(parts, inbound.path_responses, now)
        if inbound.road_frames:
            self._moving.on_road_frames(parts, inbound.road_frames, path, result, now)
        if result.runs and self._moving.has_guide:
            quiet_s = max(QUIET_PTOS * arrival.rtt.pto_s(), QUIET_MIN_S)
            self._shared.timers.set(Timer.QUIET, now + quiet_s)
        if is_newest and result.runs:
            self._moving.on_newest_data(arrival, path, now)
        if inbound.peer_close is not None:
            self._ending.on_peer_close(parts, *inbound.peer_close, now)

    @staticmethod
    def _is_of(parts: ConnectionParts, path: Path, network: NetworkPath) -> bool:
        """Packets from ``network`` are those of ``path``; what is no path counts for the main one,
        and says nothing of its index."""
        moved = (one.network for one in parts.paths.validations if one.path is path)
        return network == path.network or network in moved

    @staticmethod
    def _on_cid_index(parts: ConnectionParts, path: Path, index: int) -> None:
        """The peer writes another index on this path: this side follows. [CN-31]"""
        parts.cids.on_received(index)
        path.index_received = index
        path.index = max(path.index, index)
        parts.renew_cid_range()

    def _on_gap(self, parts: ConnectionParts, now: float) -> None:
        """Keys of packets that have not come are kept, but not for long. [CN-49]"""
        parts.last_gap = now
        if self._shared.timers.get(Timer.SKIPPED_KEYS) is None:
            self._shared.timers.set(Timer.SKIPPED_KEYS, now + self._skipped_ttl_s(parts))

    def _on_new_epoch(self, parts: ConnectionParts, epoch: int, now: float) -> None:
        parts.rekey.on_epoch(now)
        self._shared.life.apply(Input.REKEYED)
        ttl = old_epoch_ttl_s(parts.paths.slowest_pto_s())
        self._shared.timers.set(Timer.OLD_EPOCH, now + ttl)
        self._shared.events.append(ev.Rekeyed(epoch))

    def _on_breach(self, error: RemoteProtocolError, now: float) -> None:
        """The authenticated peer broke a rule: exactly one CLOSE. [CN-3]"""
        self._shared.tracer.record("breach", what=str(error), code=error.close_code)
        if self._shared.parts is None or not self._shared.life.is_open:
            return
        if isinstance(error, RekeyFailed):
            self._ending.on_rekey_failed(self._shared.parts, error, now)
        else:
            self._ending.shut(error.close_code, "", now, error=error)

    # -- time in

    def handle_timer(self, now: float) -> None:
        """Acts on every deadline up to ``now``."""
        for timer in self._shared.timers.pop_due(now):
            self._on_timer(timer, now)
        parts = self._shared.parts
        if parts is None or not self._shared.life.is_open:
            return
        for path in parts.paths.open:
            path.acks.on_timer(now)
            due = path.timer()
            if due is not None and now >= due:
                self._on_path_timer(parts, path, now)
        if parts.paths.validations:
            self._moving.handle_timer(parts, now)
        try:
            parts.rekey.check(now)
        except RekeyFailed as error:
            self._ending.on_rekey_failed(parts, error, now)

    def _on_timer(self, timer: Timer, now: float) -> None:
        parts = self._shared.parts
        if timer is Timer.CONFIRM:
            self._ending.fail(HandshakeTimeout())
        elif timer is Timer.DRAIN:
            self._shared.life.apply(Input.DRAINED)
            self._ending.erase()
        elif parts is None or not self._shared.life.is_open:
            return
        elif timer is Timer.IDLE:
            self._ending.shut(CloseCode.IDLE_TIMEOUT, "idle", now, error=TransportTimeout())
        elif timer is Timer.AUTHORISE:
            self._ending.refuse(now)
        elif timer is Timer.SESSION_AGE:
            if self._shared.is_authorised:
                self._ending.go_away(now)
        elif timer is Timer.SESSION_END:
            self._ending.shut(CloseCode.NO_ERROR, "session too old", now, error=None)
        elif timer is Timer.END:
            self._ending.end_as_planned(now)
        elif timer is Timer.OLD_EPOCH:
            assert self._shared.inbound is not None
            self._shared.inbound.drop_old_epoch(now)
        elif timer is Timer.KEEPALIVE:
            self.ping(now)
            self._shared.draw_keepalive()
            shared = self._shared
            shared.timers.set(Timer.KEEPALIVE, now + shared.keepalive_factor * parts.idle_s)
        elif timer is Timer.QUIET:
            self.ping(now)  # who only receives has nothing outstanding, and would not miss the path
        elif timer is Timer.ROADS_ASKED:
            self._moving.reports.on_timer()
        elif timer is Timer.SKIPPED_KEYS:
            ttl_s = self._skipped_ttl_s(parts)
            if any(path.network.link and not path.is_gone for path in parts.paths.open):
                parts.last_link = now  # what is missing may still be in the link [CN-49]
            elif parts.last_link + ttl_s <= now:
                parts.keys.opener.expire(now, ttl_s)
            again_at = max(parts.last_gap, parts.last_link) + ttl_s
            if again_at > now:
                self._shared.timers.set(Timer.SKIPPED_KEYS, again_at)

    def _on_path_timer(self, parts: ConnectionParts, path: Path, now: float) -> None:
        assert self._shared.inbound is not None
        outcome = parts.recovery.on_timer(path, now)
        if outcome.lost:
            path.set_pace()
            self._shared.inbound.on_lost(outcome.lost, now)
        if not outcome.pto:
            return
        if path.traits.is_reliable:
            self.ping(now)  # nothing on a link is sent twice: whether it lives is all to be known
        else:
            path.n_probes = 2 if parts.is_confirmed else 1
            oldest = parts.recovery.oldest(path, path.n_probes)
            if oldest is not None:
                self._shared.inbound.send_again(oldest)
        patience = LINK_SILENCES if path.traits.is_reliable else SUSPECT_PTOS
        if path.pto_count >= patience and not path.is_suspect:
            path.is_suspect = True
            self._moving.shrink_mtu(path, now)
            self._moving.tell_suspect(path)
            if path is parts.paths.main:
                parts.rekey.suspend(now)
                self._shared.events.append(ev.PathSuspect())

    def _on_recovered(self, parts: ConnectionParts, path: Path, now: float) -> None:
        path.is_suspect = False
        self._moving.tell_recovered(path)
        if path is not parts.paths.main:
            return
        parts.rekey.resume(now)
        path.mtu.restart(now)
        self._shared.events.append(ev.PathRecovered())

    def _skipped_ttl_s(self, parts: ConnectionParts) -> float:
        return min(max(3 * parts.paths.slowest_pto_s(), SKIPPED_TTL_MIN_S), SKIPPED_TTL_MAX_S)

    def next_timer(self) -> float | None:
        """The earliest deadline, absolute monotonic seconds."""
        due = self._shared.timers.next()
        parts = self._shared.parts
        if parts is None or not self._shared.life.is_open:
            return due
        times = [due, parts.paths.next_time()]
        if parts.is_confirmed:  # until then a rekey that is due would have to wait, not to wake
            times.append(parts.rekey.next_time())
        for validation in parts.paths.validations:
            times.append(validation.deadline)
        earliest: float | None = None
        for at in times:
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    # -- bytes out

    def datagrams_to_send(self, now: float, pool: BufferPool | None = None) -> list[Transmit]:
        """What is due now, at most a few runs; call again while ``has_more``.

        The buffers belong to ``pool``, which its owner reclaims; without one, to this connection,
        and stay valid until the next call.
        """
        parts, builder = self._shared.parts, self._shared.builder
        self.has_more = False
        if parts is None or builder is None:
            return []
        if pool is None:
            pool = self._pool or self._ensure_pool()
            pool.reclaim()
        out: list[Transmit] = []
        if not self._shared.life.is_open:
            self._ending.send_close(parts, builder, out, pool, now)
            return out
        if parts.keys.highest_pn() >= CLOSE_ONLY:
            self._ending.on_rekey_failed(parts, RekeyFailed("out of packet numbers"), now)
            self._ending.send_close(parts, builder, out, pool, now)
            return out
        self._begin_rekey(parts, now)
        quiet = parts.last_eliciting_sent <= parts.last_received
        self._moving.send_elsewhere(builder, out, pool, now)
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
            transmits = builder.next_run(path, now, pool)
            if not transmits:
                break
            for transmit in transmits:
                n_bytes += len(transmit.data)
            out += transmits
        else:
            self.has_more = True
        self._shared.timers.set(Timer.PACE, path.pace_at)
        if self._ending.planned is not None and not parts.control.has_data():
            self._ending.end_as_planned(now)
            self._ending.send_close(parts, builder, out, pool, now)
            return out
        if quiet and parts.last_eliciting_sent == now > parts.last_received:
            self._shared.touch(now)
        return out

    def ping(self, now: float) -> None:
        """Sends something that the peer acknowledges."""
        if self._shared.builder is None or not self._shared.life.is_open:
            raise LocalProtocolError("the connection is not established")
        if len(self._shared.builder.oneshots) < ONESHOTS_MAX:
            self._shared.builder.oneshots.append(encode_frame(Ping(token=0)))
        self._shared.woken()

    def _ensure_pool(self) -> BufferPool:
        if self._shared.own_pool is None:
            self._shared.own_pool = BufferPool(n_buffers=RUNS_PER_CALL + 2)
        return self._shared.own_pool

    def _begin_rekey(self, parts: ConnectionParts, now: float) -> None:
        rekey = parts.rekey
        if not parts.is_confirmed:
            return
        if parts.keys.old_receive is not None and rekey.is_pn_due():
            self._hurry_old_epoch(parts, now)
        if rekey.should_begin(now):
            parts.control.push(rekey.begin(now))
            self._shared.life.apply(Input.REKEY)
        elif (request := rekey.should_ask()) is not None:
            parts.control.push(request)

    def _hurry_old_epoch(self, parts: ConnectionParts, now: float) -> None:
        """With packet numbers running out, old receive keys go after three PTOs already."""
        assert self._shared.inbound is not None
        if now - parts.rekey.epoch_at >= 3 * parts.paths.slowest_pto_s():
            self._shared.timers.set(Timer.OLD_EPOCH, None)
            self._shared.inbound.drop_old_epoch(now)
