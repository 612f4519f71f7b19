"""The streams of one connection: what may be opened, what was written, what waits to be read.

The half of :class:`wraith.libp2p.connection.PeerConnection` that is about streams. Must not decide
when a connection ends. Received bytes stay here until they are read, and only reading opens the
peer's window, so memory is bounded by the windows [LQ-43].

Spec: libp2p-quic section 5 [LQ-73].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from enum import Enum

from wraith.errors import LocalProtocolError, StreamReset
from wraith.libp2p import events, quic
from wraith.libp2p.codes import code_words
from wraith.libp2p.config import QuicTransportConfig
from wraith.types import Role


class ConnectionState(Enum):
    HANDSHAKING = "handshaking"
    CONNECTED = "connected"
    FLUSHING = "closing, delivering what was accepted"
    CLOSING = "closing"
    DRAINED = "drained"


class _Stream:
    """One stream's two halves, as far as the application is concerned."""

    __slots__ = (
        "chunks",
        "fin_received",
        "fin_sent",
        "readable_told",
        "reset_code",
        "stop_code",
        "stopped",
        "unread",
        "wants_room",
    )

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque()
        self.unread = 0
        self.fin_received = False
        self.fin_sent = False
        self.readable_told = False
        self.reset_code: int | None = None
        self.stop_code: int | None = None
        self.stopped = False
        self.wants_room = False


class ConnectionStreams(ABC):
    """The commands about streams, and what arriving frames do to them."""

    def __init__(self, role: Role, config: QuicTransportConfig) -> None:
        self.role = role
        self.state = ConnectionState.HANDSHAKING
        self.packet: quic.PacketConnection
        self._config = config
        self._streams: dict[int, _Stream] = {}
        self._blocked: set[int] = set()
        #: The peer's streams that it has opened: all below the first number, and these above it.
        self._opened_below = 1 if role is Role.INITIATOR else 0
        self._opened: set[int] = set()
        self._has_undelivered = False
        self._credit_watched = False

    @abstractmethod
    def _tell(self, event: events.Libp2pEvent) -> None:
        """Hands ``event`` to the owner."""

    @abstractmethod
    def _touched(self) -> None:
        """Something may have to be sent."""

    # ---- facts and commands ----------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self.state in (
            ConnectionState.HANDSHAKING,
            ConnectionState.CONNECTED,
            ConnectionState.FLUSHING,
        )

    @property
    def n_streams(self) -> int:
        return len(self._streams)

    @property
    def stream_credit(self) -> int:
        """How many streams :meth:`open_stream` may open now: what the peer allows [LQ-73]."""
        if self.state is not ConnectionState.CONNECTED:
            return 0
        return max(0, self.packet.streams_allowed() - self.packet.next_stream_id() // 4)

    def watch_credit(self) -> None:
        """``StreamCredit`` comes when the peer allows another stream."""
        self._require_connected()
        self._credit_watched = True
        self._touched()

    def open_stream(self) -> int:
        """A new bidirectional stream; the peer learns of it with the first byte or the end.

        Raises :class:`LocalProtocolError` without :attr:`stream_credit`: a stream beyond it could
        neither be sent nor given up.
        """
        self._require_connected()
        if not self.stream_credit:
            raise LocalProtocolError("the peer allows no further stream now")
        stream_id = self.packet.next_stream_id()
        self._streams[stream_id] = _Stream()
        self.packet.stream_write(stream_id, b"", False)  # reserves the id
        return stream_id

    def stream_write(self, stream_id: int, data: bytes, *, fin: bool = False) -> int:
        """Takes as much as the send buffer has room for and returns how much.

        ``fin`` counts only when everything was taken. After a short count, ``StreamWritable`` tells
        when to go on. Raises :class:`StreamReset` when the peer asked to stop.
        """
        self._require_connected()
        stream = self._stream(stream_id)
        if stream.stop_code is not None:
            raise StreamReset(stream.stop_code, words=code_words(stream.stop_code))
        if stream.fin_sent:
            raise LocalProtocolError("this side of the stream is finished")
        taken = data[: self._send_room(stream_id)]
        fin = fin and len(taken) == len(data)
        if taken or fin:
            self._has_undelivered = True
            self.packet.stream_write(stream_id, bytes(taken), fin)
            stream.fin_sent = fin
            self._touched()
            self._forget_if_over(stream_id, stream)
        if len(taken) < len(data):
            stream.wants_room = True
            self._blocked.add(stream_id)
        return len(taken)

    def stream_read(self, stream_id: int, n_max: int) -> bytes:
        """At most ``n_max`` bytes that have arrived, possibly none; opens the peer's window.

        Works after the end of the connection too, for what had arrived before it.

        Raises :class:`StreamReset` when the peer reset the stream; what had arrived is dropped.
        """
        stream = self._stream(stream_id)
        if stream.reset_code is not None:
            raise StreamReset(stream.reset_code, words=code_words(stream.reset_code))
        taken: list[bytes] = []
        n = 0
        while stream.chunks and n < n_max:
            chunk = stream.chunks[0]
            if len(chunk) > n_max - n:
                stream.chunks[0] = chunk[n_max - n :]
                chunk = chunk[: n_max - n]
            else:
                stream.chunks.popleft()
            taken.append(chunk)
            n += len(chunk)
        if n:
            stream.unread -= n
            if self.is_open:
                self.packet.stream_consumed(stream_id, n)
                self._touched()  # the next drain also takes what the packet layer held back
        stream.readable_told = bool(stream.chunks)
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def stream_at_end(self, stream_id: int) -> bool:
        """Whether everything up to the peer's end was read. True for a forgotten stream, so check
        the connection's state first: on a connection that ended it proves nothing without
        :meth:`has_stream`.
        """
        stream = self._streams.get(stream_id)
        return stream is None or (stream.fin_received and not stream.chunks)

    def stream_finished_by_peer(self, stream_id: int) -> bool:
        """Whether the peer's end has arrived, and with it all that was before it; read or not."""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.fin_received and stream.reset_code is None

    def has_stream(self, stream_id: int) -> bool:
        """False once a stream is over; an event that was queued before may still name it."""
        return stream_id in self._streams

    def stream_unread(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.unread

    def stream_reset(self, stream_id: int, code: int) -> None:
        """Gives up sending; the peer sees ``code``. Reading goes on."""
        stream = self._streams.get(stream_id)
        if stream is None or self.state is not ConnectionState.CONNECTED:
            return
        stream.fin_sent = True
        self._blocked.discard(stream_id)
        self.packet.stream_reset(stream_id, code)
        self._touched()
        self._forget_if_over(stream_id, stream)

    def stream_stop(self, stream_id: int, code: int) -> None:
        """Gives up reading: what is unread is dropped and the peer is asked to stop."""
        stream = self._streams.get(stream_id)
        if stream is None or self.state is not ConnectionState.CONNECTED:
            return
        stream.stopped = True
        self._drop_unread(stream_id, stream)
        if not stream.fin_received:
            self.packet.stream_stop(stream_id, code)
        self._touched()
        self._forget_if_over(stream_id, stream)

    def forget_stream(self, stream_id: int) -> None:
        """The owner is done with this stream: its end was read and sent, or it was given up."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.stopped = True
            self._drop_unread(stream_id, stream)
            self._forget_if_over(stream_id, stream)

    # ---- inside ------------------------------------------------------------------------------

    def _require_connected(self) -> None:
        if self.state is not ConnectionState.CONNECTED:
            raise LocalProtocolError(f"the connection is {self.state.value}")

    def _stream(self, stream_id: int) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None:
            raise LocalProtocolError("the stream is over")
        return stream

    def _forget_if_over(self, stream_id: int, stream: _Stream) -> None:
        """Both halves done and nothing left to read: only then may the entry go.

        A stream that we stopped stays until the peer's end or reset has come, else its late data
        would look like a new stream.
        """
        if stream.fin_sent and stream.stopped and stream.fin_received:
            self._streams.pop(stream_id, None)
            self._blocked.discard(stream_id)

    def _send_room(self, stream_id: int) -> int:
        """How many bytes ``stream_write`` takes now."""
        room = self._config.send_buffer_bytes - self.packet.stream_buffered(stream_id)
        unsent_max = self._config.unsent_bytes_max
        if unsent_max is not None:
            room = min(room, unsent_max - self.packet.stream_unsent(stream_id))
        return max(0, room)

    def _tell_room(self) -> None:
        """Tells of each stream that was full and has half its room again."""
        room_max = self._config.send_buffer_bytes
        if self._config.unsent_bytes_max is not None:
            room_max = min(room_max, self._config.unsent_bytes_max)
        for stream_id in list(self._blocked):
            stream = self._streams.get(stream_id)
            if stream is None:
                self._blocked.discard(stream_id)
            elif 2 * self._send_room(stream_id) >= room_max:
                self._blocked.discard(stream_id)
                stream.wants_room = False
                self._tell(events.StreamWritable(stream_id))

    def _drop_unread(self, stream_id: int, stream: _Stream) -> None:
        if stream.unread:
            self.packet.stream_consumed(stream_id, stream.unread)
        stream.chunks.clear()
        stream.unread = 0

    def _on_stream_data(self, event: quic.StreamData) -> None:
        stream = self._known_or_new(event.stream_id)
        if stream is None:
            self.packet.stream_consumed(event.stream_id, len(event.data))
            return
        if event.fin:
            stream.fin_received = True
        if stream.stopped:
            self.packet.stream_consumed(event.stream_id, len(event.data))
            self._forget_if_over(event.stream_id, stream)
            return
        if event.data:
            stream.chunks.append(event.data)
            stream.unread += len(event.data)
        if not stream.readable_told:
            stream.readable_told = True
            self._tell(events.StreamReadable(event.stream_id))

    def _known_or_new(self, stream_id: int) -> _Stream | None:
        """The stream, opened by this first frame of it if it is bidirectional and the peer's.

        What comes late for one that is over opens nothing.
        """
        stream = self._streams.get(stream_id)
        ours = 0 if self.role is Role.INITIATOR else 1
        if stream is not None or stream_id & 2 or stream_id & 1 == ours:
            return stream
        if stream_id < self._opened_below or stream_id in self._opened:
            return None
        self._opened.add(stream_id)
        while self._opened_below in self._opened:
            self._opened.discard(self._opened_below)
            self._opened_below += 4
        stream = self._streams[stream_id] = _Stream()
        self._tell(events.StreamOpened(stream_id))
        return stream

    def _on_reset(self, event: quic.StreamResetReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.fin_received = True
        stream.reset_code = event.code
        self._drop_unread(event.stream_id, stream)
        self._tell(events.StreamWasReset(event.stream_id, event.code))
        self._forget_if_over(event.stream_id, stream)

    def _on_stop(self, event: quic.StopReceived) -> None:
        stream = self._known_or_new(event.stream_id)  # it may overtake the stream's first data
        if stream is None:
            return
        stream.stop_code = event.code
        self._blocked.discard(event.stream_id)
        if not stream.fin_sent:
            stream.fin_sent = True
            self.packet.stream_reset(event.stream_id, event.code)
        self._tell(events.StreamWasStopped(event.stream_id, event.code))
