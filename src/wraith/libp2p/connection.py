"""One connection of the endpoint: its life cycle, from the first datagram to the drained end.

Must not touch sockets, other connections or the library: bytes come and go through the
:class:`wraith.libp2p.quic.PacketConnection` that it owns. Its streams are in ``streams.py``.

::

    HANDSHAKING --Connected--> CONNECTED --close--> FLUSHING --delivered--> CLOSING --> DRAINED
         |                         └------------------ error ------------------^
         └------------------------ ConnectionClosed ---------------------------┘

Spec: libp2p-quic section 5.
"""

from __future__ import annotations

from collections.abc import Callable

from wraith.errors import (
    ConnectionLost,
    HandshakeTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    WraithError,
)
from wraith.libp2p import events, quic
from wraith.libp2p.admission import Place
from wraith.libp2p.closing import own_refusal, peer_error
from wraith.libp2p.codes import Libp2pCode
from wraith.libp2p.config import QuicTransportConfig
from wraith.libp2p.peer_id import PeerId
from wraith.libp2p.streams import ConnectionState, ConnectionStreams
from wraith.libp2p.tls.engine import TlsEngine
from wraith.types import Address, Role

__all__ = ["ConnectionState", "PeerConnection"]

_KEEPALIVE_UID = 0


class PeerConnection(ConnectionStreams):
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
        super().__init__(role, config)
        self.remote = remote
        self.expected_peer = expected_peer
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
        self._emit = emit
        self._touch = touch
        self._next_uid = _KEEPALIVE_UID + 1
        self._closed_by_us: tuple[int, str, WraithError | None] | None = None
        self._close_wanted: tuple[int, str] = (Libp2pCode.NO_ERROR, "")
        self._flush_deadline: float | None = None
        self._delivery_watched = False

    def _tell(self, event: events.Libp2pEvent) -> None:
        self._emit(self, event)

    def _touched(self) -> None:
        self._touch(self)

    # ---- facts -----------------------------------------------------------------------------------

    @property
    def engine(self) -> TlsEngine:
        return self.packet.engine

    @property
    def peer_id(self) -> PeerId | None:
        return None if self.security is None else self.security.peer_id

    def export_key(self, label: str, context: bytes, n: int) -> bytes:
        """``n`` bytes that only the two ends of this connection can derive (RFC 8446 §7.5)."""
        return self.packet.engine.export(label, context, n)

    # ---- commands --------------------------------------------------------------------------------

    def send_datagram(self, data: bytes) -> None:
        """One unreliable datagram frame (RFC 9221); both sides need ``datagram_frame_bytes``."""
        self._require_connected()
        if self._config.datagram_frame_bytes is None:
            raise LocalProtocolError("datagram frames are switched off (datagram_frame_bytes)")
        self.packet.send_datagram(data)
        self._touched()

    def ping(self) -> int:
        """Sends a PING frame; ``PingAnswered`` carries the returned number once acknowledged."""
        self._require_connected()
        uid, self._next_uid = self._next_uid, self._next_uid + 1
        self.packet.ping(uid)
        self._touched()
        return uid

    def path_changed(self) -> None:
        """Our own address changed: use a fresh connection id and make the peer see the new path."""
        if self.state is ConnectionState.CONNECTED:
            self.packet.change_cid()
            self.packet.ping(_KEEPALIVE_UID)
            self._touched()

    def watch_delivery(self) -> None:
        """``AllDelivered`` comes once the peer has acknowledged all that streams were given."""
        self._require_connected()
        self._delivery_watched = True
        self._touched()

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
        self._touched()

    def abandon(
        self, code: int, reason: str, error: WraithError | None, *, by_application: bool = False
    ) -> None:
        """Closes for a reason of our own; ``error`` is what the owner sees in the last event."""
        if not self.is_open:
            return
        self._closed_by_us = (code, reason, error)
        self.packet.close(code, reason, by_application=by_application)
        self.take_packet_events(self.last_received)
        self._touched()

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
                    self._tell(events.DatagramReceived(event.data))
                case quic.PingAcknowledged():
                    if event.uid != _KEEPALIVE_UID:
                        self._tell(events.PingAnswered(event.uid))
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
            self._tell(events.ConnectionClosed(0, "", False, error))
        self.state = ConnectionState.DRAINED
        self._touched()

    def after_receive(self, now: float) -> None:
        """What arriving packets may have changed beyond the events."""
        self.last_received = now
        if not self.confirmed and self.security is not None and self.packet.is_confirmed:
            self.confirmed = True
            self._tell(events.Confirmed())
        if self.state is not ConnectionState.CONNECTED:
            return
        remote = self.packet.remote
        if remote is not None and remote != self.remote:
            self.remote = remote
            self._tell(events.PeerMoved(remote))
        self._tell_room()

    def after_send(self, now: float) -> None:
        """Everything that may leave has left: is what was accepted delivered, and may more be?"""
        if self._credit_watched and self.stream_credit:
            self._credit_watched = False
            self._tell(events.StreamCredit())
        if self.state is ConnectionState.CONNECTED:
            self._tell_room()
        if self.state is not ConnectionState.FLUSHING and not self._delivery_watched:
            return
        if self._has_undelivered:
            self._has_undelivered = self.packet.has_undelivered()
        if self._delivery_watched and not self._has_undelivered:
            self._delivery_watched = False
            self._tell(events.AllDelivered())
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
        self._tell(events.ConnectionClosed(0, "", False, error))

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
        self._tell(events.Connected(self.security))

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
        self._tell(events.ConnectionClosed(code, reason, by_peer, error))
