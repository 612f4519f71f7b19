"""Streams as the connection uses them: commands in, frames in and out, events.

Joins the stream table, the scheduler and the announcements that are resent until acknowledged. An
announcement is a token ``(frame type, key)``; its frame is made when it is sent, so the latest
value goes out. This file knows frames but no packets, keys or time other than ``now``.
Spec: docs/spec/connection.md [CN-11 to CN-26].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from wraith.config import EndpointConfig
from wraith.connection.data.flow import SendMemory
from wraith.connection.data.scheduler import Scheduler
from wraith.connection.data.stream_table import OpenStream, StreamTable, stream_class
from wraith.connection.events import (
    Event,
    StreamOpened,
    StreamReadable,
    StreamSent,
    StreamWasReset,
    StreamWasStopped,
    StreamWritable,
)
from wraith.errors import LocalProtocolError
from wraith.types import Buffer, StreamId
from wraith.wire.frames import (
    FrameType,
    MaxStreams,
    QosUpdate,
    StreamOpen,
    encode_fixed,
    encode_frame,
)

Token = tuple[int, int]
"""``(frame type, stream id or class)``: something to tell the peer until it is acknowledged."""

WRITABLE_ROOM = 32_768

# Reading a member of an enumeration costs as much as a call, and these are compared for each frame.
_NOTES: Final = int(FrameType.ROADS)
_STREAM_OPEN: Final = int(FrameType.STREAM_OPEN)
_RESET: Final = int(FrameType.RESET)
_STOP: Final = int(FrameType.STOP)
_WINDOW_UPDATE: Final = int(FrameType.WINDOW_UPDATE)
_PRIORITY: Final = int(FrameType.PRIORITY)
_MAX_STREAMS: Final = int(FrameType.MAX_STREAMS)


class StreamMux:
    """All streams of one connection but stream 0."""

    __slots__ = (
        "_config",
        "_emit",
        "_starved",
        "grants",
        "memory",
        "n_retransmitted",
        "notes",
        "pending",
        "scheduler",
        "send_buffer",
        "table",
    )

    def __init__(
        self,
        table: StreamTable,
        config: EndpointConfig,
        emit: Callable[[Event], None],
        memory: SendMemory,
    ) -> None:
        self.table = table
        #: What all streams together may hold unacknowledged.
        self.memory = memory
        self._starved: dict[int, None] = {}  # streams whose writer waits for ``memory``
        self.scheduler = Scheduler()
        #: What each stream may hold unacknowledged; the connection raises it with its window.
        self.send_buffer = config.send_buffer_bytes
        #: Windows and stream limits may open: false while nobody has accepted the peer. [CN-60]
        self.grants = True
        #: Announcements that are due, oldest first.
        self.pending: dict[Token, None] = {}
        #: Frames of others that are sent until they are acknowledged, by kind and key.
        self.notes: dict[Token, bytes] = {}
        #: Stream bytes that were sent more than once.
        self.n_retransmitted = 0
        self._config = config
        self._emit = emit

    # -- commands

    def open(self, *, priority: int, expedited: bool) -> StreamId:
        stream = self.table.open_local(priority=priority, expedited=expedited)
        self.pending[_STREAM_OPEN, stream.sid] = None
        return stream.sid

    def _get(self, sid: int) -> OpenStream:
        stream = self.table.streams.get(sid)
        if stream is None:
            raise LocalProtocolError("this stream is closed or was never opened")
        return stream

    def _known(self, sid: int) -> OpenStream | None:
        """The stream, ``None`` when it is over; raises for an id that was never open."""
        stream = self.table.streams.get(sid)
        if stream is None and not self.table.was_opened(sid):
            raise LocalProtocolError("this stream was never opened")
        return stream

    def write(self, sid: int, data: Buffer, fin: bool) -> int:
        n_bytes = self.write_chunks(sid, (data,), len(data))
        if fin and n_bytes == len(data):
            stream = self._get(sid)
            stream.send.finish()
            if stream.send.is_ready():
                self.scheduler.add(sid, stream.priority)
        return n_bytes

    def write_chunks(self, sid: int, chunks: Iterable[Buffer], n_max: int) -> int:
        """Takes the first ``n_max`` bytes of ``chunks``, as far as there is room, and returns how
        many; they have so many at least."""
        stream = self._get(sid)
        half = stream.send
        if half.finished or half.reset_code is not None:
            raise LocalProtocolError("this stream was finished or reset")
        n_taken = min(n_max, self.room(sid))
        if n_taken < n_max:
            stream.wants_writable = True
            if n_taken < self.send_buffer - half.buffered:
                self._starved[sid] = None
        self.memory.take(n_taken)
        left = n_taken
        for chunk in chunks:
            if not left:
                break
            n_bytes = min(len(chunk), left)
            half.write(chunk, n_bytes)
            left -= n_bytes
        if half.is_ready():
            self.scheduler.add(sid, stream.priority)
        return n_taken

    def room(self, sid: int) -> int:
        stream = self.table.streams.get(sid)
        if stream is None or stream.send.finished or stream.send.reset_code is not None:
            return 0
        kept = stream.send.buffered
        return max(min(self.send_buffer - kept, self.memory.room_for(kept)), 0)

    def unsent(self, sid: int) -> int:
        stream = self.table.streams.get(sid)
        return 0 if stream is None else stream.send.written - stream.send.next_offset

    def read(self, sid: int, n_max: int, now: float, srtt_s: float) -> list[Buffer]:
        """The next bytes in order; none from a stream that is over."""
        stream = self._known(sid)
        if stream is None:
            return []
        chunks = stream.receive.read_chunks(n_max)
        n_bytes = sum(map(len, chunks))
        if n_bytes:
            self.table.consume(stream, n_bytes)
            self._extend(stream, now, srtt_s)
        if not stream.receive.readable:
            stream.wants_readable = True
        self._forget_if_closed(stream)
        return chunks

    def readable(self, sid: int) -> int:
        stream = self.table.streams.get(sid)
        return 0 if stream is None else stream.receive.readable

    def is_finished(self, sid: int) -> bool:
        """Every byte up to the end has been read; true for a closed stream."""
        stream = self.table.streams.get(sid)
        return stream is None or stream.receive.is_done

    def reset(self, sid: int, code: int) -> None:
        stream = self._known(sid)
        if stream is not None:
            self._reset(stream, code)

    def _reset(self, stream: OpenStream, code: int) -> bool:
        """False when there is nothing to reset any more."""
        half = stream.send
        if half.reset_code is not None or half.is_done:
            return False
        if half.written:
            self.memory.give(half.buffered)
        half.reset(code)
        self.scheduler.remove(stream.sid)
        self.pending[_RESET, stream.sid] = None
        if half.fin_acked:
            self._forget_if_closed(stream)
        if self._starved:
            self._wake_starved()
        return True

    def stop(self, sid: int, code: int, now: float, srtt_s: float) -> None:
        stream = self._known(sid)
        if stream is None:
            return
        half = stream.receive
        if half.is_done or half.is_stopped:
            return
        stream.stop_code = code
        freed = half.stop()
        if freed:
            self.table.consume(stream, freed)
            self._extend(stream, now, srtt_s)
        if not half.is_done:
            self.pending[_STOP, sid] = None
        self._forget_if_closed(stream)

    def set_priority(self, sid: int, priority: int) -> None:
        stream = self._known(sid)
        if stream is None:
            return
        self.table.set_priority(stream, priority)
        self.scheduler.move(sid, priority)
        self.pending[_PRIORITY, sid] = None

    def _extend(self, stream: OpenStream, now: float, srtt_s: float) -> None:
        half = stream.receive
        if half.final_size is None and self.grants and stream.window.extend(now, srtt_s):
            self.pending[_WINDOW_UPDATE, stream.sid] = None
        self._extend_connection(now, srtt_s)

    def _extend_connection(self, now: float, srtt_s: float) -> None:
        if self.grants and self.table.conn_window.extend(now, srtt_s):
            self.pending[_WINDOW_UPDATE, 0] = None

    def _raise_max_streams(self, number_class: int) -> None:
        if self.grants and self.table.raise_max_remote(number_class):
            self.pending[_MAX_STREAMS, number_class] = None

    def take(self, sid: int) -> None:
        """The application has taken a stream of the peer's: its place is free. [CN-83]"""
        self.table.take(sid)
        self._raise_max_streams(stream_class(sid))

    def grant(self, now: float, srtt_s: float) -> None:
        """The peer was accepted: what it has used up meanwhile opens again. [CN-60]"""
        self.grants = True
        self._extend_connection(now, srtt_s)
        for last in self.table.last_remote():
            self._raise_max_streams(stream_class(last))

    def _forget_if_closed(self, stream: OpenStream) -> None:
        if not (stream.send.is_done and stream.receive.is_done):
            return
        if not self.table.remove(stream):
            return
        self.scheduler.remove(stream.sid)
        self._raise_max_streams(stream_class(stream.sid))

    # -- frames in

    def on_data(
        self, sid: int, offset: int, data: memoryview, fin: bool, now: float, srtt_s: float
    ) -> None:
        """One run of contiguous stream bytes, which nobody may write to afterwards."""
        stream = self.table.streams.get(sid)
        if stream is None:
            stream = self._lookup(StreamId(sid))
            if stream is None:
                return
        half = stream.receive
        before = half.next_offset
        self.table.receive_data(stream, offset, data, fin)
        if half.is_stopped:
            self._extend(stream, now, srtt_s)
            self._forget_if_closed(stream)
        elif half.next_offset > before or fin:
            self._tell_readable(stream)

    def _lookup(self, sid: StreamId) -> OpenStream | None:
        """The stream that a frame of the peer is about, ``None`` when it is over. What the peer
        opens by naming it is told."""
        stream = self.table.streams.get(sid)
        if stream is None:
            for opened in self.table.open_remote(sid):
                self._emit(StreamOpened(opened.sid))
                stream = opened
            if stream is not None:
                self._raise_max_streams(stream_class(sid))  # it may have been the last one allowed
        return stream

    def _tell_readable(self, stream: OpenStream) -> None:
        half = stream.receive
        if half.is_complete and not stream.is_told_finished:
            stream.is_told_finished = True
            stream.wants_readable = True
        if stream.wants_readable and (half.readable or half.is_complete):
            stream.wants_readable = False
            self._emit(StreamReadable(stream.sid))

    def on_stream_open(self, frame: StreamOpen) -> None:
        stream = self._lookup(frame.sid)
        if stream is None or self._is_own(frame.sid):
            return
        self.table.set_priority(stream, frame.priority)
        stream.qos = frame.qos
        stream.qos_parameter = frame.parameter
        self.scheduler.move(stream.sid, frame.priority)
        if frame.window > stream.send.limit:
            self._raise_limit(stream, frame.window)

    def _is_own(self, sid: int) -> bool:
        return self.table.is_own(sid)

    def on_stream_close(self, sid: StreamId, final: int) -> None:
        stream = self._lookup(sid)
        if stream is None:
            return
        self.table.receive_end(stream, final)
        self._tell_readable(stream)
        self._forget_if_closed(stream)

    def on_reset(self, sid: StreamId, code: int, final: int, now: float, srtt_s: float) -> None:
        stream = self._lookup(sid)
        if stream is None:
            return
        was_over = stream.receive.is_done
        if self.table.receive_reset(stream, code, final):
            self._extend_connection(now, srtt_s)
        if not was_over:
            self._emit(StreamWasReset(sid, code))
        self._forget_if_closed(stream)

    def on_stop(self, sid: StreamId, code: int) -> None:
        stream = self._lookup(sid)
        if stream is not None and self._reset(stream, code):
            self._emit(StreamWasStopped(sid, code))

    def on_window_update(self, sid: StreamId, limit: int) -> None:
        if sid == 0:
            self.table.conn_send.raise_to(limit)
            return
        stream = self._lookup(sid)
        if stream is not None and limit > stream.send.limit:
            self._raise_limit(stream, limit)

    def _raise_limit(self, stream: OpenStream, limit: int) -> None:
        stream.send.limit = limit
        if stream.send.is_ready():
            self.scheduler.add(stream.sid, stream.priority)

    def on_max_streams(self, frame: MaxStreams) -> bool:
        """True when more streams may be opened now."""
        return self.table.on_max_streams(frame.stream_class, frame.limit)

    def on_priority(self, sid: StreamId, priority: int) -> None:
        stream = self._lookup(sid)
        if stream is not None:
            self.table.set_priority(stream, priority)
            self.scheduler.move(sid, priority)

    def on_qos(self, frame: QosUpdate) -> None:
        stream = self._lookup(frame.sid)
        if stream is not None:
            stream.qos = frame.qos
            stream.qos_parameter = frame.parameter

    # -- frames out

    def frame_for(self, token: Token) -> bytes | None:
        """The encoded frame with the present value, ``None`` when nothing need be said any more."""
        kind, key = token
        if kind >= _NOTES:
            return self.notes.get(token)
        if kind == _WINDOW_UPDATE and key == 0:
            return encode_fixed(_WINDOW_UPDATE, 0, self.table.conn_window.limit)
        if kind == _MAX_STREAMS:
            return encode_frame(MaxStreams(stream_class=key, limit=self.table.max_remote(key)))
        stream = self.table.streams.get(key)
        if stream is None:
            return None
        if kind == _WINDOW_UPDATE:
            if stream.receive.final_size is not None:
                return None
            return encode_fixed(_WINDOW_UPDATE, key, stream.window.limit)
        if kind == _STREAM_OPEN:
            return encode_frame(
                StreamOpen(
                    sid=stream.sid,
                    window=stream.window.limit,
                    priority=stream.priority,
                    qos=stream.qos,
                    parameter=stream.qos_parameter,
                )
            )
        if kind == _RESET:
            half = stream.send
            if half.reset_code is None or half.reset_acked:
                return None
            return encode_fixed(_RESET, key, half.reset_code, half.next_offset)
        if kind == _STOP:
            if stream.receive.is_done or stream.receive.final_size is not None:
                return None
            return encode_fixed(_STOP, key, stream.stop_code)
        if kind != _PRIORITY:
            raise AssertionError(f"no announcement has type {kind}")
        return encode_fixed(_PRIORITY, key, stream.priority)

    def pick(self) -> OpenStream | None:
        """The stream that sends next."""
        scheduler = self.scheduler
        while True:
            sid = scheduler.pick(self._is_sendable)
            if sid is None:
                return None
            stream = self.table.streams[sid]
            if stream.send.is_ready():
                return stream
            scheduler.remove(sid)

    def _is_sendable(self, sid: int) -> bool:
        half = self.table.streams[sid].send
        if half.has_lost or self.table.conn_send.room > 0:
            return True
        return half.next_offset == half.written  # an end without bytes needs no window

    def on_sent(self, stream: OpenStream, offset: int, length: int, fin: bool, n_wire: int) -> None:
        """A run of ``stream`` has left."""
        n_new = stream.send.on_sent(offset, length, fin)
        self.table.conn_send.used += n_new
        self.n_retransmitted += length - n_new
        self.scheduler.on_sent(stream.sid, n_wire)
        if not stream.send.is_ready():
            self.scheduler.remove(stream.sid)

    def on_range_acked(self, sid: int, offset: int, length: int, fin: bool) -> None:
        stream = self.table.streams.get(sid)
        if stream is None:
            return
        half = stream.send
        was_done, before = half.is_done, half.acked_to
        half.on_acked(offset, length, fin)
        if half.acked_to > before:
            self.memory.give(half.acked_to - before)
        if half.is_done and not was_done and half.reset_code is None:
            self._emit(StreamSent(stream.sid))
            self.scheduler.remove(sid)
            self._forget_if_closed(stream)
        elif stream.wants_writable:
            self._tell_writable(stream)
        if self._starved:
            self._wake_starved()

    @property
    def _room_to_tell(self) -> int:
        return min(WRITABLE_ROOM, self.send_buffer // 2)

    def _tell_writable(self, stream: OpenStream) -> None:
        room = self.room(stream.sid)
        # Who keeps nothing hears of no acknowledgement of its own: any room is told.
        if room >= self._room_to_tell or (room and not stream.send.buffered):
            stream.wants_writable = False
            self._starved.pop(stream.sid, None)
            self._emit(StreamWritable(stream.sid))

    def _wake_starved(self) -> None:
        """Memory has become free: writers that wait for it hear of it."""
        if not self.memory.room:
            return
        for sid in list(self._starved):
            stream = self.table.streams.get(sid)
            if stream is None or not stream.wants_writable:
                del self._starved[sid]
            else:
                self._tell_writable(stream)

    def on_range_lost(self, sid: int, offset: int, length: int, fin: bool) -> None:
        stream = self.table.streams.get(sid)
        if stream is None:
            return
        stream.send.on_lost(offset, length, fin)
        if stream.send.is_ready():
            self.scheduler.add(sid, stream.priority)

    def post(self, kind: int, key: int, frame: bytes) -> None:
        """Sends ``frame`` until it is acknowledged or withdrawn; ``kind`` is its type, above those
        of streams, and ``key`` tells it from others of its kind."""
        self.notes[kind, key] = frame
        self.pending[kind, key] = None

    def withdraw(self, kind: int, key: int) -> None:
        """``post`` is void: the frame need not be sent any more."""
        self.notes.pop((kind, key), None)
        self.pending.pop((kind, key), None)

    def on_token_acked(self, token: Token) -> None:
        kind, key = token
        if kind >= _NOTES:
            self.notes.pop(token, None)
            return
        if kind == _RESET and (stream := self.table.streams.get(key)) is not None:
            stream.send.reset_acked = True
            self._forget_if_closed(stream)

    def on_token_lost(self, token: Token) -> None:
        if self.frame_for(token) is not None:
            self.pending[token] = None
