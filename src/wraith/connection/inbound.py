"""What the frames of the authenticated peer do to a session.

Frames are applied in the order of their packets. A breach raises ``RemoteProtocolError`` with the
close code; the connection closes with it. What concerns the life of the connection (CLOSE, path
messages, a completed record) is left in attributes for it to act on.
Spec: docs/spec/connection.md, docs/spec/recovery.md.
"""

from __future__ import annotations

from collections.abc import Callable

from wraith.connection import events as ev
from wraith.connection.acks import DELAY_UNIT_S
from wraith.connection.data.sent import SentSlice
from wraith.connection.mux import Token
from wraith.connection.packet_builder import ACK_TOKEN, CID_TOKEN, PacketBuilder
from wraith.connection.path import AnswerBudget
from wraith.connection.session import Session
from wraith.errors import RemoteProtocolError
from wraith.types import NetworkPath, Role
from wraith.wire.frames import (
    Ack,
    Close,
    DatagramFrame,
    Extension,
    FecRepair,
    Frame,
    GroupFrame,
    MaxStreams,
    MtuProbe,
    Pad,
    PathChallenge,
    PathResponse,
    Ping,
    Pong,
    Priority,
    QosUpdate,
    Reset,
    Stop,
    StreamClose,
    StreamOpen,
    Timestamp,
    WindowUpdate,
    decode_frames,
    encode_frame,
)
from wraith.wire.records import (
    Goaway,
    HandshakeConfirm,
    Record,
    RekeyInit,
    RekeyRequest,
    RekeyResp,
)

ONESHOTS_MAX = 32


class Inbound:
    """Applies frames and records of the peer to ``session``."""

    __slots__ = (
        "_answers", "_builder", "_emit", "_has_answered", "_is_initiator", "_s", "path_answers",
        "path_responses", "peer_close",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        builder: PacketBuilder,
        role: Role,
        emit: Callable[[ev.Event], None],
    ) -> None:
        self._s = session
        self._builder = builder
        self._is_initiator = role is Role.INITIATOR
        self._emit = emit
        self._answers = AnswerBudget()
        self._has_answered = False  # a PING of the packet at hand
        #: ``(code, reason)`` once the peer has closed.
        self.peer_close: tuple[int, str] | None = None
        #: Encoded PATH_RESPONSE frames that must leave on another path than the main one.
        self.path_answers: list[tuple[NetworkPath, bytes]] = []
        #: Data of PATH_RESPONSE frames that arrived.
        self.path_responses: list[bytes] = []

    # -- frames

    def on_frames(self, payload: bytes, path: NetworkPath, now: float) -> None:
        """Applies all frames of one packet. Raises ``RemoteProtocolError``."""
        self._has_answered = False
        for frame in decode_frames(payload, skips=True):
            self._on_frame(frame, path, now)

    def _on_frame(self, frame: Frame, path: NetworkPath, now: float) -> None:
        s = self._s
        mux = s.mux
        match frame:
            case Ack():
                self._on_ack(frame, now)
            case WindowUpdate():
                mux.on_window_update(frame)
            case DatagramFrame():
                if s.datagrams.admit():
                    self._emit(ev.DatagramReceived(frame.data))
            case StreamOpen():
                mux.check_not_control(frame.sid)
                mux.on_stream_open(frame)
            case StreamClose():
                mux.check_not_control(frame.sid)
                mux.on_stream_close(frame)
            case Reset():
                mux.check_not_control(frame.sid)
                mux.on_reset(frame, now, s.recovery.srtt)
            case Stop():
                mux.check_not_control(frame.sid)
                mux.on_stop(frame)
            case MaxStreams():
                if mux.on_max_streams(frame):
                    self._emit(ev.StreamsAvailable())
            case Priority():
                mux.check_not_control(frame.sid)
                mux.on_priority(frame)
            case QosUpdate():
                mux.check_not_control(frame.sid)
                mux.on_qos(frame)
            case Ping():
                self._on_ping(frame)
            case PathChallenge():
                self._on_challenge(frame, path, now)
            case PathResponse():
                self.path_responses.append(frame.token)
            case Close():
                if self.peer_close is None:
                    self.peer_close = (frame.code, frame.reason)
            case Pong() | Pad() | MtuProbe() | Timestamp() | Extension() | FecRepair():
                pass  # nothing to do beyond the acknowledgement
            case GroupFrame():
                pass  # not offered in the handshake, so nobody listens
            case _:
                raise RemoteProtocolError("a frame that does not belong here")

    def _once(self, frame: bytes) -> None:
        """Answers are never worth a queue: beyond a few they are not sent."""
        if len(self._builder.oneshots) < ONESHOTS_MAX:
            self._builder.oneshots.append(frame)

    def _on_ping(self, frame: Ping) -> None:
        """One PONG a packet: every answer costs a datagram sooner or later. [CN-64]"""
        if not self._has_answered:
            self._has_answered = True
            self._once(encode_frame(Pong(token=frame.token)))

    def _on_challenge(self, frame: PathChallenge, path: NetworkPath, now: float) -> None:
        if not self._answers.take(now):
            return
        # Never behind the congestion window: what fills it may be lost on the path that the peer
        # is leaving, and until this answer arrives the peer stays there.
        self.path_answers.append((path, encode_frame(PathResponse(frame.token))))

    # -- acknowledgements

    def _on_ack(self, frame: Ack, now: float) -> None:
        s = self._s
        epoch = self._epoch_of(frame.epoch)
        if epoch is None:
            return  # keys of that epoch are gone, and what was unacknowledged was sent again
        s.omitted.check(epoch, frame.ranges)
        recovery = s.recovery
        outcome = recovery.on_ack(
            epoch, frame.largest, frame.ranges, frame.delay_us8 * DELAY_UNIT_S, now
        )
        if outcome.rtt_updated:
            s.acks.set_rtt(recovery.srtt)
        if outcome.acked or outcome.late:
            self._on_acked(outcome.acked, now)
            self._on_acked(outcome.late, now)  # off the queue for sending again, if still there
            window = recovery.controller.window
            s.pacer.update(window, recovery.srtt, s.mtu.current)
            s.mux.send_buffer = max(s.config.send_buffer_bytes, 2 * window)
        if outcome.lost:
            self.on_lost(outcome.lost, now)

    def _epoch_of(self, low_bits: int) -> int | None:
        """The live epoch whose number ends in these 8 bits. [RC-24]"""
        keys = self._s.keys
        for epoch in (keys.send, keys.current, keys.old_receive):
            if epoch is not None and epoch & 0xFF == low_bits:
                return epoch
        return None

    def _on_acked(self, slices: list[SentSlice], now: float) -> None:
        s = self._s
        s.is_path_proven = True
        for piece in slices:
            run = piece.run
            if run.length or run.fin:
                sid, offset, length, fin = piece.stream_range()
                if sid:
                    s.mux.on_range_acked(sid, offset, length, fin)
                else:
                    s.control.send.on_acked(offset, length, False)
            if run.lead and piece.first == 0:
                for token in run.lead:
                    self._on_token_acked(token)  # type: ignore[arg-type]
            if run.mtu_probe and s.mtu.on_acked(run.datagram_bytes, now):
                size = s.mtu.current
                s.recovery.controller.set_datagram_bytes(size)
                self._emit(ev.MtuChanged(size))

    def _on_token_acked(self, token: Token) -> None:
        if token[0] == CID_TOKEN:
            self._s.cids.on_acked(token[1])
        elif token[0] == ACK_TOKEN:
            self._s.acks.on_heard(token[1])
        else:
            self._s.mux.on_token_acked(token)

    def on_lost(self, slices: list[SentSlice], now: float) -> None:
        """Queues again what these datagrams carried and what must arrive."""
        s = self._s
        for piece in slices:
            run = piece.run
            if run.mtu_probe:
                s.mtu.on_lost(run.datagram_bytes, now)
            else:
                self.send_again(piece)

    def send_again(self, piece: SentSlice) -> None:
        """Queues the contents of ``piece`` for sending; what was acknowledged meanwhile is not."""
        s = self._s
        run = piece.run
        if run.length or run.fin:
            sid, offset, length, fin = piece.stream_range()
            if sid:
                s.mux.on_range_lost(sid, offset, length, fin)
            else:
                s.control.send.on_lost(offset, length, False)
        if run.lead and piece.first == 0:
            for token in run.lead:
                self._on_token_lost(token)  # type: ignore[arg-type]

    def _on_token_lost(self, token: Token) -> None:
        if token[0] == ACK_TOKEN:
            self._s.acks.on_told_lost()
        elif token[0] != CID_TOKEN:
            self._s.mux.on_token_lost(token)

    # -- stream 0

    def on_control_data(self, offset: int, data: memoryview, fin: bool, now: float) -> None:
        """Raises ``RemoteProtocolError``."""
        for record in self._s.control.receive_data(offset, data, fin):
            self._on_record(record, now)

    def _on_record(self, record: Record, now: float) -> None:
        s = self._s
        match record:
            case HandshakeConfirm():
                if not self._is_initiator:
                    raise RemoteProtocolError("only the responder confirms a handshake")
                s.keys.sealer.set_hmk(record.hmk)
                s.knows_hmk = True
            case RekeyInit():
                if s.keys.old_receive is not None:
                    self.drop_old_epoch(now)
                s.control.push(s.rekey.on_init(record))
            case RekeyResp():
                s.rekey.on_resp(record, now)
                s.cids.advance()
                s.keys.opener.set_cids(*s.cids.accepted())
                # The responder waits for this epoch. Not a PING: its answer would count as traffic
                # and keep an idle session rekeying.
                self._once(encode_frame(Pad(b"", eliciting=True)))
            case RekeyRequest():
                s.rekey.on_request()
            case Goaway():
                if not s.has_heard_goaway:  # one record per class, one event
                    s.has_heard_goaway = True
                    self._emit(ev.GoingAway(record.code))
            case _:
                pass  # tickets and post-quantum signatures: not offered yet, ignored

    def drop_old_epoch(self, now: float) -> None:
        """Erases the old receive keys; what was unacknowledged under them is sent again. [RK-8]"""
        s = self._s
        epoch = s.keys.drop_old_receive()
        if epoch is None:
            return
        s.acks.drop_epoch(epoch)
        s.omitted.forget_epoch(epoch)
        self.on_lost(s.recovery.forget_epoch(epoch), now)
