"""Applies the frames of the authenticated peer to a session.

Frames are applied in the order of their packets. A breach raises ``RemoteProtocolError`` with the
close code; the connection closes with it. What concerns the life of the connection (CLOSE, path
messages, a completed record) is left in attributes for it to act on.
Spec: docs/spec/connection.md, docs/spec/recovery.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wraith.connection import events as ev
from wraith.connection.data.mux import Token
from wraith.connection.data.sent import SentSlice
from wraith.connection.packet_builder import ACK_TOKEN, CID_TOKEN, PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.connection.paths.acks import DELAY_UNIT_S
from wraith.connection.paths.mtu import BASE_DATAGRAM_BYTES
from wraith.connection.paths.open_path import Path
from wraith.connection.paths.validation import AnswerBudget
from wraith.connection.ticketing import Tickets
from wraith.errors import RemoteProtocolError
from wraith.types import NetworkPath, Role, StreamId
from wraith.wire.control_records import (
    Goaway,
    HandshakeConfirm,
    NewTicket,
    RekeyInit,
    RekeyRequest,
    RekeyResp,
    TicketRequest,
)
from wraith.wire.frames import (
    Ack,
    Close,
    FrameType,
    MaxStreams,
    Pad,
    PathResponse,
    Pong,
    QosUpdate,
    StreamOpen,
    encode_frame,
    split_frames,
)
from wraith.wire.road_frames import ROAD_FRAMES, RoadFrame

ONESHOTS_MAX = 32
ROAD_FRAMES_MAX = 16
"""So many of one packet are looked at."""
_NONE: Final[frozenset[int]] = frozenset()


class Inbound:
    """Applies frames and records of the peer to ``parts``."""

    __slots__ = (
        "_answers", "_builder", "_emit", "_has_answered", "_is_initiator", "_now", "_parts",
        "_path", "_tickets", "path_answers", "path_responses", "peer_close", "road_frames",
    )  # fmt: skip

    def __init__(
        self,
        parts: ConnectionParts,
        builder: PacketBuilder,
        role: Role,
        emit: Callable[[ev.Event], None],
        tickets: Tickets | None = None,
    ) -> None:
        self._parts = parts
        self._tickets = tickets
        self._builder = builder
        self._is_initiator = role is Role.INITIATOR
        self._emit = emit
        self._answers = AnswerBudget()
        # Of the packet at hand: when and where it came, and whether a PING of it was answered.
        self._now, self._path = 0.0, parts.paths.main.network
        self._has_answered = False
        #: ``(code, reason)`` once the peer has closed.
        self.peer_close: tuple[int, str] | None = None
        #: Encoded PATH_RESPONSE frames that must leave on another path than the main one.
        self.path_answers: list[tuple[NetworkPath, bytes]] = []
        #: Frames about roads and paths that arrived, where both sides know them.
        self.road_frames: list[RoadFrame] = []
        #: Data of PATH_RESPONSE frames that arrived.
        self.path_responses: list[bytes] = []

    # -- frames

    def on_frames(self, payload: bytes, path: NetworkPath, now: float) -> None:
        """Applies all frames of one packet. Raises ``RemoteProtocolError``."""
        self._has_answered = False
        self._now, self._path = now, path
        agreed = ROAD_FRAMES if self._parts.has_roads else _NONE
        for type_, fields in split_frames(payload, skips=True, agreed=agreed):
            apply = _APPLY.get(type_)
            if apply is None:
                raise RemoteProtocolError("a frame that does not belong here")
            apply(self, *fields)

    def _ignore(self, *fields: object) -> None:
        """Nothing to do beyond the acknowledgement."""

    def _on_window_update(self, sid: StreamId, limit: int) -> None:
        self._parts.mux.on_window_update(sid, limit)

    def _on_datagram(self, flow: int, id_: int, data: bytes) -> None:
        if self._parts.datagrams.admit():
            self._emit(ev.DatagramReceived(data))

    def _on_stream_open(self, frame: StreamOpen) -> None:
        self._parts.mux.on_stream_open(frame)

    def _on_stream_close(self, sid: StreamId, final: int) -> None:
        self._parts.mux.on_stream_close(sid, final)

    def _on_reset(self, sid: StreamId, code: int, final: int) -> None:
        self._parts.mux.on_reset(sid, code, final, self._now, self._parts.paths.main.rtt.srtt)

    def _on_stop(self, sid: StreamId, code: int) -> None:
        self._parts.mux.on_stop(sid, code)

    def _on_max_streams(self, frame: MaxStreams) -> None:
        if self._parts.mux.on_max_streams(frame):
            self._emit(ev.StreamsAvailable())

    def _on_priority(self, sid: StreamId, priority: int) -> None:
        self._parts.mux.on_priority(sid, priority)

    def _on_qos(self, frame: QosUpdate) -> None:
        self._parts.mux.on_qos(frame)

    def _on_path_response(self, token: bytes) -> None:
        self.path_responses.append(token)

    def _on_road_frame(self, frame: RoadFrame) -> None:
        if len(self.road_frames) < ROAD_FRAMES_MAX:
            self.road_frames.append(frame)

    def _on_close(self, frame: Close) -> None:
        if self.peer_close is None:
            self.peer_close = (frame.code, frame.reason)

    def _once(self, frame: bytes) -> None:
        """Answers are never worth a queue: beyond a few they are not sent."""
        if len(self._builder.oneshots) < ONESHOTS_MAX:
            self._builder.oneshots.append(frame)

    def _on_ping(self, token: int) -> None:
        """One PONG a packet: every answer costs a datagram sooner or later. [CN-64]"""
        if not self._has_answered:
            self._has_answered = True
            self._once(encode_frame(Pong(token=token)))

    def _on_challenge(self, token: bytes) -> None:
        if not self._answers.take(self._now):
            return
        # Never behind the congestion window: what fills it may be lost on the path that the peer
        # is leaving, and until this answer arrives the peer stays there.
        self.path_answers.append((self._path, encode_frame(PathResponse(token))))

    # -- acknowledgements

    def _on_ack(self, frame: Ack) -> None:
        parts, now = self._parts, self._now
        epoch = self._epoch_of(frame.epoch)
        if epoch is None:
            return  # keys of that epoch are gone, and what was unacknowledged was sent again
        parts.omitted.check(epoch, frame.ranges)
        outcome = parts.recovery.on_ack(
            epoch, frame.largest, frame.ranges, frame.delay_us8 * DELAY_UNIT_S, now
        )
        main, sampled = parts.paths.main, outcome.sampled
        if sampled is not None:
            sampled.acks.set_rtt(sampled.rtt.srtt)
        if outcome.acked or outcome.late:
            self._on_acked(outcome.acked, now)
            self._on_acked(outcome.late, now)  # off the queue for sending again, if still there
            for path in parts.paths.open:
                path.set_pace()
            parts.mux.send_buffer = max(parts.config.send_buffer_bytes, 2 * main.window)
        if outcome.lost:
            self.on_lost(outcome.lost, now)

    def _epoch_of(self, low_bits: int) -> int | None:
        """The live epoch whose number ends in these 8 bits. [RC-24]"""
        keys = self._parts.keys
        for epoch in (keys.send, keys.current, keys.old_receive):
            if epoch is not None and epoch & 0xFF == low_bits:
                return epoch
        return None

    def _on_acked(self, slices: list[SentSlice], now: float) -> None:
        parts = self._parts
        for piece in slices:
            run = piece.run
            if run.length or run.fin:
                sid, offset, length, fin = piece.stream_range()
                if sid:
                    parts.mux.on_range_acked(sid, offset, length, fin)
                else:
                    parts.control.send.on_acked(offset, length, False)
            if run.lead and piece.first == 0:
                for token in run.lead:
                    self._on_token_acked(run.path, token)  # type: ignore[arg-type]
            mtu = run.path.mtu
            if mtu.n_large_losses and piece.largest_bytes > BASE_DATAGRAM_BYTES:
                mtu.n_large_losses = 0
            if run.mtu_probe and mtu.on_acked(run.datagram_bytes, now):
                self.resized(run.path)

    def resized(self, path: Path) -> None:
        """The datagrams of ``path`` have another size."""
        size = path.mtu.current
        path.controller.set_datagram_bytes(size)
        if path is self._parts.paths.main:
            self._parts.datagrams.drop_oversized(self._parts.keys.sealer.capacity(size))
            self._emit(ev.MtuChanged(size))

    def _on_token_acked(self, path: Path, token: Token) -> None:
        if token[0] == CID_TOKEN:
            self._parts.cids.on_acked(token[1])
        elif token[0] == ACK_TOKEN:
            path.acks.on_heard(token[1])
        else:
            self._parts.mux.on_token_acked(token)

    def on_lost(self, slices: list[SentSlice], now: float) -> None:
        """Queues again what these datagrams carried and what must arrive."""
        swallowed: Path | None = None
        for piece in slices:
            run = piece.run
            if run.mtu_probe:
                run.path.mtu.on_lost(run.datagram_bytes, now)
                continue
            self.send_again(piece)
            if run.path is not swallowed and piece.largest_bytes > BASE_DATAGRAM_BYTES:
                swallowed = run.path
                if swallowed.mtu.on_large_lost(now):
                    self.resized(swallowed)

    def send_again(self, piece: SentSlice) -> None:
        """Queues the contents of ``piece`` for sending; what was acknowledged meanwhile is not."""
        parts = self._parts
        run = piece.run
        if run.length or run.fin:
            sid, offset, length, fin = piece.stream_range()
            if sid:
                parts.mux.on_range_lost(sid, offset, length, fin)
            else:
                parts.control.send.on_lost(offset, length, False)
        if run.lead and piece.first == 0:
            for token in run.lead:
                self._on_token_lost(run.path, token)  # type: ignore[arg-type]

    def _on_token_lost(self, path: Path, token: Token) -> None:
        if token[0] == ACK_TOKEN:
            path.acks.on_told_lost()
        elif token[0] != CID_TOKEN:
            self._parts.mux.on_token_lost(token)

    # -- stream 0

    def on_control_data(self, offset: int, data: memoryview, fin: bool, now: float) -> None:
        """Raises ``RemoteProtocolError``."""
        for record in self._parts.control.receive_data(offset, data, fin):
            apply = _APPLY_RECORD.get(type(record))
            if apply is not None:  # post-quantum signatures: not offered yet
                apply(self, record, now)

    def _on_confirm(self, record: HandshakeConfirm, now: float) -> None:
        parts = self._parts
        if not self._is_initiator:
            raise RemoteProtocolError("only the responder confirms a handshake")
        parts.keys.sealer.set_hmk(record.hmk)
        parts.knows_hmk = True

    def _on_new_ticket(self, record: NewTicket, now: float) -> None:
        if self._tickets is not None:  # else it was not agreed on, and means nothing
            self._tickets.on_new_ticket(record)

    def _on_ticket_request(self, record: TicketRequest, now: float) -> None:
        if self._tickets is not None:
            self._tickets.on_request(record, now)

    def _on_rekey_init(self, record: RekeyInit, now: float) -> None:
        parts = self._parts
        if parts.keys.old_receive is not None:
            self.drop_old_epoch(now)
        parts.control.push(parts.rekey.on_init(record))

    def _on_rekey_resp(self, record: RekeyResp, now: float) -> None:
        parts = self._parts
        parts.rekey.on_resp(record, now)
        index = parts.cids.take()
        if index is not None:
            parts.paths.main.index = index
        parts.renew_cid_range()
        # The responder waits for this epoch. Not a PING: its answer would count as traffic and
        # keep an idle session rekeying.
        self._once(encode_frame(Pad(b"", eliciting=True)))

    def _on_rekey_request(self, record: RekeyRequest, now: float) -> None:
        self._parts.rekey.on_request()

    def _on_goaway(self, record: Goaway, now: float) -> None:
        if not self._parts.has_heard_goaway:  # one record per class, one event
            self._parts.has_heard_goaway = True
            self._emit(ev.GoingAway(record.code))

    def drop_old_epoch(self, now: float) -> None:
        """Erases the old receive keys; what was unacknowledged under them is sent again. [RK-8]"""
        parts = self._parts
        epoch = parts.keys.drop_old_receive()
        if epoch is None:
            return
        for path in parts.paths.open:
            path.acks.drop_epoch(epoch)
        parts.omitted.forget_epoch(epoch)
        self.on_lost(parts.recovery.forget_epoch(epoch), now)


_APPLY: Final[dict[int, Callable[..., None]]] = {
    FrameType.ACK: Inbound._on_ack,
    FrameType.WINDOW_UPDATE: Inbound._on_window_update,
    FrameType.DATAGRAM: Inbound._on_datagram,
    FrameType.STREAM_OPEN: Inbound._on_stream_open,
    FrameType.STREAM_CLOSE: Inbound._on_stream_close,
    FrameType.RESET: Inbound._on_reset,
    FrameType.STOP: Inbound._on_stop,
    FrameType.MAX_STREAMS: Inbound._on_max_streams,
    FrameType.PRIORITY: Inbound._on_priority,
    FrameType.QOS_UPDATE: Inbound._on_qos,
    FrameType.PING: Inbound._on_ping,
    FrameType.PATH_CHALLENGE: Inbound._on_challenge,
    FrameType.PATH_RESPONSE: Inbound._on_path_response,
    FrameType.CLOSE: Inbound._on_close,
    FrameType.ROADS: Inbound._on_road_frame,
    FrameType.ROAD_TRIED: Inbound._on_road_frame,
    FrameType.ROAD_SEEN: Inbound._on_road_frame,
    FrameType.PATH_USE: Inbound._on_road_frame,
    FrameType.PONG: Inbound._ignore,
    FrameType.TIMESTAMP: Inbound._ignore,
    # Not offered in the handshake, so nobody listens.
    FrameType.GROUP_JOIN: Inbound._ignore,
    FrameType.GROUP_LEAVE: Inbound._ignore,
    FrameType.GROUP_REKEY: Inbound._ignore,
}

_APPLY_RECORD: Final[dict[type, Callable[..., None]]] = {
    HandshakeConfirm: Inbound._on_confirm,
    NewTicket: Inbound._on_new_ticket,
    TicketRequest: Inbound._on_ticket_request,
    RekeyInit: Inbound._on_rekey_init,
    RekeyResp: Inbound._on_rekey_resp,
    RekeyRequest: Inbound._on_rekey_request,
    Goaway: Inbound._on_goaway,
}
