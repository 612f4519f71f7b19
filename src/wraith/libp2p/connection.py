"""One connection of the endpoint: its life cycle and its streams' read and write bookkeeping.

Must not touch sockets, other connections or the library: bytes come and go through the
:class:`wraith.libp2p.quic.PacketConnection` that it owns. Received bytes stay here until they are
read, and only reading opens the peer's window, so memory is bounded by the windows [LQ-43].

::

    HANDSHAKING --Connected--> CONNECTED --close--> FLUSHING --delivered--> CLOSING --> DRAINED
         |                         └------------------ error ------------------^
         └------------------------ ConnectionClosed ---------------------------┘

Spec: libp2p-quic section 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from wraith.errors import (
    ConnectionLost,
    HandshakeTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    StreamReset,
    WraithError,
)
from wraith.libp2p import events, quic
from wraith.libp2p.admission import Place
from wraith.libp2p.closing import own_refusal, peer_error
from wraith.libp2p.codes import Libp2pCode
from wraith.libp2p.config import QuicTransportConfig
from wraith.libp2p.peer_id import PeerId
from wraith.libp2p.tls.engine import TlsEngine
from wraith.types import Address, Role

_KEEPALIVE_UID = 0


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


class PeerConnection:
    """Made by :class:`wraith.libp2p.endpoint.QuicEndpoint` only; commands are for its owner.

    After a command the owner drains the endpoint. Commands raise :class:`LocalProtocolError` in the
    wrong state and :class:`StreamReset` on a stream that the peer gave up.
    """

    def __init__(
        self,
        role: Role,
        config: QuicTransportConfig,
        remote: Address,
        *,
        expected_peer: PeerId | None,
        emit: Callable[[PeerConnection, events.Libp2pEvent], None],
        touch: Callable[[PeerConnection], None],
        timeout_s: float,
        now: float,
    ) -> None:
        self.role = role
        self.remote = remote
        self.expected_peer = expected_peer
        self.state = ConnectionState.HANDSHAKING
        self.security: events.QuicSecurity | None = None
        self.cids: set[bytes] = set()
        self.routed_cids: set[bytes] = set()
        #: What an incoming connection takes of the endpoint's limits.
        self.place: Place | None = None
        self.started_at = now
        self.timeout_s = timeout_s
        self.deadline = now + timeout_s
        self.last_received = now
        self.next_keepalive: float | None = None
        #: Whether the peer is known to have completed the handshake; the dialled side always knows.
        self.confirmed = role is Role.RESPONDER
        #: The token that the endpoint looks out for.
        self.watched_token: bytes | None = None
        self.packet: quic.PacketConnection
        self._config = config
        self._emit = emit
        self._touch = touch
        self._streams: dict[int, _Stream] = {}
        self._blocked: set[int] = set()
        #: The peer's streams that it has opened: all below the first number, and these above it.
        self._opened_below = 1 if role is Role.INITIATOR else 0
        self._opened: set[int] = set()
        self._next_uid = _KEEPALIVE_UID + 1
        self._closed_by_us: tuple[int, str, WraithError | None] | None = None
        self._close_wanted: tuple[int, str] = (Libp2pCode.NO_ERROR, "")
        self._flush_deadline: float | None = None
        self._delivery_watched = False
        self._has_undelivered = False
        self._credit_watched = False

    # ---- facts -----------------------------------------------------------------------------------

    @property
    def engine(self) -> TlsEngine:
        return self.packet.engine

    @property
    def peer_id(self) -> PeerId | None:
        return None if self.security is None else self.security.peer_id

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

    def export_key(self, label: str, context: bytes, n: int) -> bytes:
        """``n`` bytes that only the two ends of this connection can derive (RFC 8446 §7.5)."""
        return self.packet.engine.export(label, context, n)

    # ---- commands --------------------------------------------------------------------------------

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
        self._touch(self)

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
            raise StreamReset(stream.stop_code)
        if stream.fin_sent:
            raise LocalProtocolError("this side of the stream is finished")
        room = max(0, self._config.send_buffer_bytes - self.packet.stream_buffered(stream_id))
        taken = data[:room]
        fin = fin and len(taken) == len(data)
        if taken or fin:
            self._has_undelivered = True
            self.packet.stream_write(stream_id, bytes(taken), fin)
            stream.fin_sent = fin
            self._touch(self)
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
            raise StreamReset(stream.reset_code)
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
                self._touch(self)  # the next drain also takes what the packet layer held back
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
        self._touch(self)
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
        self._touch(self)
        self._forget_if_over(stream_id, stream)

    def forget_stream(self, stream_id: int) -> None:
        """The owner is done with this stream: its end was read and sent, or it was given up."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.stopped = True
            self._drop_unread(stream_id, stream)
            self._forget_if_over(stream_id, stream)

    def send_datagram(self, data: bytes) -> None:
        """One unreliable datagram frame (RFC 9221); both sides need ``datagram_frame_bytes``."""
        self._require_connected()
        if self._config.datagram_frame_bytes is None:
            raise LocalProtocolError("datagram frames are switched off (datagram_frame_bytes)")
        self.packet.send_datagram(data)
        self._touch(self)

    def ping(self) -> int:
        """Sends a PING frame; ``PingAnswered`` carries the returned number once acknowledged."""
        self._require_connected()
        uid, self._next_uid = self._next_uid, self._next_uid + 1
        self.packet.ping(uid)
        self._touch(self)
        return uid

    def path_changed(self) -> None:
        """Our own address changed: use a fresh connection id and make the peer see the new path."""
        if self.state is ConnectionState.CONNECTED:
            self.packet.change_cid()
            self.packet.ping(_KEEPALIVE_UID)
            self._touch(self)

    def watch_delivery(self) -> None:
        """``AllDelivered`` comes once the peer has acknowledged all that streams were given."""
        self._require_connected()
        self._delivery_watched = True
        self._touch(self)

    def close(self, code: int = Libp2pCode.NO_ERROR, reason: str = "") -> None:
        """Graceful: delivers what streams have accepted, then tells the peer and drains [LQ-71].

        At once nothing more can be opened or written. The peer's acknowledgements are waited for
        at most ``close_flush_s``. Idempotent.
        """
        if self.state is not ConnectionState.CONNECTED:
            if self.state is ConnectionState.HANDSHAKING:
                self.abandon(code, reason, None, by_application=True)
            return
        self.state = ConnectionState.FLUSHING
        self._close_wanted = (code, reason)
        self._blocked.clear()
        self._touch(self)

    def abandon(
        self, code: int, reason: str, error: WraithError | None, *, by_application: bool = False
    ) -> None:
        """Closes for a reason of our own; ``error`` is what the owner sees in the last event."""
        if not self.is_open:
            return
        self._closed_by_us = (code, reason, error)
        self.packet.close(code, reason, by_application=by_application)
        self.take_packet_events(self.last_received)
        self._touch(self)

    # ---- called by the endpoint ------------------------------------------------------------------

    def take_packet_events(self, now: float) -> None:
        """Moves the packet layer's events into this connection's state and out to the owner."""
        while (event := self.packet.next_event()) is not None:
            match event:
                case quic.HandshakeCompleted():
                    self._on_handshake_completed(now)
                case quic.StreamData():
                    self._on_stream_data(event)
                case quic.StreamResetReceived():
                    self._on_reset(event)
                case quic.StopReceived():
                    self._on_stop(event)
                case quic.DatagramFrameReceived():
                    self._emit(self, events.DatagramReceived(event.data))
                case quic.PingAcknowledged():
                    if event.uid != _KEEPALIVE_UID:
                        self._emit(self, events.PingAnswered(event.uid))
                case quic.CidIssued():
                    self.cids.add(event.cid)
                case quic.CidRetired():
                    self.cids.discard(event.cid)
                case quic.Closing():
                    self._on_closing(event)
                case quic.Terminated():
                    self.state = ConnectionState.DRAINED

    def forgotten_by_peer(self) -> None:
        """A stateless reset came: the peer has no such connection, and nothing more is sent."""
        if self.is_open:
            self.state = ConnectionState.DRAINED
            error = ConnectionLost("the peer has forgotten this connection; perhaps it restarted")
            self._emit(self, events.ConnectionClosed(0, "", False, error))
        self.state = ConnectionState.DRAINED
        self._touch(self)

    def after_receive(self, now: float) -> None:
        """What arriving packets may have changed beyond the events."""
        self.last_received = now
        if not self.confirmed and self.security is not None and self.packet.is_confirmed:
            self.confirmed = True
            self._emit(self, events.Confirmed())
        if self.state is not ConnectionState.CONNECTED:
            return
        remote = self.packet.remote
        if remote is not None and remote != self.remote:
            self.remote = remote
            self._emit(self, events.PeerMoved(remote))
        for stream_id in list(self._blocked):
            stream = self._streams.get(stream_id)
            if stream is None:
                self._blocked.discard(stream_id)
            elif self.packet.stream_buffered(stream_id) <= self._config.send_buffer_bytes // 2:
                self._blocked.discard(stream_id)
                stream.wants_room = False
                self._emit(self, events.StreamWritable(stream_id))

    def after_send(self, now: float) -> None:
        """Everything that may leave has left: is what was accepted delivered, and may more be?"""
        if self._credit_watched and self.stream_credit:
            self._credit_watched = False
            self._emit(self, events.StreamCredit())
        if self.state is not ConnectionState.FLUSHING and not self._delivery_watched:
            return
        if self._has_undelivered:
            self._has_undelivered = self.packet.has_undelivered()
        if self._delivery_watched and not self._has_undelivered:
            self._delivery_watched = False
            self._emit(self, events.AllDelivered())
        if self.state is ConnectionState.FLUSHING:
            if self._flush_deadline is None:
                self._flush_deadline = now + self._config.close_flush_s
            if now >= self._flush_deadline or not self._has_undelivered:
                code, reason = self._close_wanted
                self.abandon(code, reason, None, by_application=True)

    def check_timers(self, now: float) -> None:
        """The handshake's deadlines and the keepalive; :meth:`after_send` has the flush's."""
        if self.state is ConnectionState.HANDSHAKING and now >= self.deadline:
            self._on_handshake_timeout()
        if self._is_unconfirmed and now >= self.deadline:
            error = ConnectionLost(f"the peer confirmed no handshake within {self.timeout_s:g} s")
            self.abandon(quic.INTERNAL_ERROR, "handshake not confirmed", error)
        if self.next_keepalive is not None and now >= self.next_keepalive:
            keepalive_s = self._config.keepalive_s or 0.0
            if self.state is not ConnectionState.CONNECTED:
                self.next_keepalive = None
            elif now < self.last_received + keepalive_s:
                self.next_keepalive = self.last_received + keepalive_s
            else:
                self.packet.ping(_KEEPALIVE_UID)
                self.next_keepalive = now + keepalive_s

    @property
    def _is_unconfirmed(self) -> bool:
        return self.state is ConnectionState.CONNECTED and not self.confirmed

    def _on_handshake_timeout(self) -> None:
        error = HandshakeTimeout(
            f"no handshake within {self.timeout_s:g} s",
            hint="check the address, and whether a firewall filters UDP",
        )
        proven = self.place is not None and self.place.proven
        if self.role is Role.INITIATOR or proven or self.packet.is_address_validated:
            self.abandon(quic.INTERNAL_ERROR, "handshake timeout", error)
            return
        # The address has proved nothing: a close frame would come on top of the three times that
        # it may be sent, because the library does not count it [LQ-46]. Silence instead.
        self.state = ConnectionState.DRAINED
        self._emit(self, events.ConnectionClosed(0, "", False, error))

    def own_timer(self) -> float | None:
        """The earliest of the deadlines that are not the packet layer's."""
        if self.state is ConnectionState.HANDSHAKING:
            return self.deadline
        if self.state is ConnectionState.FLUSHING:
            return self._flush_deadline
        if self._is_unconfirmed:
            return min(self.deadline, self.next_keepalive or self.deadline)
        return self.next_keepalive if self.state is ConnectionState.CONNECTED else None

    # ---- inside ----------------------------------------------------------------------------------

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

    def _drop_unread(self, stream_id: int, stream: _Stream) -> None:
        if stream.unread:
            self.packet.stream_consumed(stream_id, stream.unread)
        stream.chunks.clear()
        stream.unread = 0

    def _on_handshake_completed(self, now: float) -> None:
        if self.state is not ConnectionState.HANDSHAKING:
            return
        negotiated = self.packet.engine.negotiated
        self.state = ConnectionState.CONNECTED
        self.deadline = now + self.timeout_s  # for the peer to confirm it [LQ-76]
        self.security = events.QuicSecurity(
            peer_id=None if negotiated.peer is None else negotiated.peer.peer_id,
            group=negotiated.group,
            post_quantum=negotiated.post_quantum,
            cipher=negotiated.suite.name,
            alpn=negotiated.alpn,
            retried=negotiated.retried,
            handshake_ms=(now - self.started_at) * 1000,
        )
        if self._config.keepalive_s is not None and self.role is Role.INITIATOR:
            self.next_keepalive = now + self._config.keepalive_s
        self._emit(self, events.Connected(self.security))

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
            self._emit(self, events.StreamReadable(event.stream_id))

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
        self._emit(self, events.StreamOpened(stream_id))
        return stream

    def _on_reset(self, event: quic.StreamResetReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.fin_received = True
        stream.reset_code = event.code
        self._drop_unread(event.stream_id, stream)
        self._emit(self, events.StreamWasReset(event.stream_id, event.code))
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
        self._emit(self, events.StreamWasStopped(event.stream_id, event.code))

    def _on_closing(self, event: quic.Closing) -> None:
        if not self.is_open:
            return
        handshaking = self.state is ConnectionState.HANDSHAKING
        self.state = ConnectionState.CLOSING
        self.next_keepalive = None
        self._blocked.clear()  # what has arrived can still be read
        code, reason, by_peer, error = event.code, event.reason, True, None
        if self._closed_by_us is not None:
            code, reason, error = self._closed_by_us
            by_peer = False
        elif event.alert is not None:
            by_peer, error = False, own_refusal(event.alert)
        elif event.here:
            by_peer, error = False, RemoteProtocolError(event.reason, close_code=event.code)
        else:
            error = peer_error(event, handshaking=handshaking, policy=self._config.policy)
            by_peer = not isinstance(error, ConnectionLost)
        self._emit(self, events.ConnectionClosed(code, reason, by_peer, error))
