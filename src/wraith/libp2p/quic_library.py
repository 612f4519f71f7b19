"""All that aioquic and its descendant qh3 share behind the seam of :mod:`wraith.libp2p.quic`:
the settings, the events, the clock, and what a defect of theirs means.

Imports neither library; each backend hands its own in.

Spec: libp2p-quic section 4 [LQ-44].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from wraith.libp2p.config import QuicTransportConfig
from wraith.libp2p.quic import (
    INTERNAL_ERROR,
    QUIC_CID_BYTES,
    CidIssued,
    CidRetired,
    Closing,
    DatagramFrameReceived,
    HandshakeCompleted,
    PacketEvent,
    PingAcknowledged,
    StopReceived,
    StreamData,
    StreamResetReceived,
    Terminated,
)
from wraith.libp2p.tls.engine import Level, TlsEngine


def library_settings(config: QuicTransportConfig, *, is_client: bool) -> dict[str, Any]:
    """The arguments of either library's configuration."""
    return {
        "is_client": is_client,
        "alpn_protocols": list(config.offered_alpn),
        "connection_id_length": QUIC_CID_BYTES,
        "idle_timeout": config.idle_timeout_s,
        "max_data": config.connection_window,
        "max_stream_data": config.stream_window,
        "max_datagram_size": config.datagram_bytes,
        "max_datagram_frame_size": config.datagram_frame_bytes,
        "initial_rtt": config.initial_rtt_s,
    }


class LibraryConnection:
    """The part of :class:`wraith.libp2p.quic.PacketConnection` that is the same over both.

    Args:
        quic: the backend's connection; has ``adapter``, ``closing`` and the library's methods.
        library: the library's module of events.
    """

    def __init__(self, quic: Any, library: Any) -> None:
        self._quic = quic
        self._library = library
        self._events: deque[PacketEvent] = deque()
        self._closing_told = False
        self._broken = False

    @property
    def engine(self) -> TlsEngine:
        assert self._quic.adapter is not None, "the connection has not started"
        engine: TlsEngine = self._quic.adapter.engine
        return engine

    @property
    def host_cid(self) -> bytes:
        return bytes(self._quic.host_cid)

    @property
    def is_address_validated(self) -> bool:
        # Handshake bytes were opened with keys that only the address in question could have.
        return self._quic.adapter is not None and self.engine.has_heard(Level.HANDSHAKE)

    def handle_timer(self, now: float) -> None:
        timer = self._quic.get_timer()
        if timer is not None and timer <= now:
            self._guard(self._quic.handle_timer, now)
            self._collect()

    def next_timer(self) -> float | None:
        timer: float | None = self._quic.get_timer()
        return timer

    def next_event(self) -> PacketEvent | None:
        return self._events.popleft() if self._events else None

    def next_stream_id(self) -> int:
        return int(self._quic.get_next_available_stream_id())

    # ---- inside ------------------------------------------------------------------------------

    def _guard(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """A defect of the library ends this connection, not the endpoint [LQ-44]."""
        if self._broken:
            return None
        try:
            return operation(*arguments)
        except Exception as error:
            # Whatever a foreign library raises out of a receive path is contained here.
            self._broken = True
            if not self._closing_told:
                self._closing_told = True
                self._events.append(
                    Closing(INTERNAL_ERROR, False, f"packet layer: {error!r}", None)
                )
            self._events.append(Terminated())
            return None

    def _collect(self) -> None:
        """Hands on what the library tells, each event as the seam has it."""
        library, quic = self._library, self._quic
        while (event := quic.next_event()) is not None:
            self._note(event)
            match event:
                case library.StreamDataReceived():
                    self._events.append(StreamData(event.stream_id, event.data, event.end_stream))
                case library.StreamReset():
                    self._events.append(StreamResetReceived(event.stream_id, event.error_code))
                case library.StopSendingReceived():
                    self._events.append(StopReceived(event.stream_id, event.error_code))
                case library.HandshakeCompleted():
                    self._events.append(HandshakeCompleted())
                case library.DatagramFrameReceived():
                    self._events.append(DatagramFrameReceived(event.data))
                case library.PingAcknowledged():
                    self._events.append(PingAcknowledged(event.uid))
                case library.ConnectionIdIssued():
                    self._events.append(CidIssued(event.connection_id))
                case library.ConnectionIdRetired():
                    self._events.append(CidRetired(event.connection_id))
                case library.ConnectionTerminated():
                    self._tell_closing(event)
                    self._events.append(Terminated())
                case _:
                    pass
        if quic.closing is not None:
            self._tell_closing(quic.closing)

    def _note(self, event: Any) -> None:
        """What a backend has to do for an event before it is handed on."""

    def _closed_here(self) -> bool:
        """The library itself closed, because the peer broke the rules; unknown is no."""
        return False

    def _tell_closing(self, event: Any) -> None:
        if self._closing_told:
            return
        self._closing_told = True
        adapter = self._quic.adapter
        alert = adapter.failure if adapter is not None else None
        self._events.append(
            Closing(
                int(event.error_code),
                event.frame_type is None,
                event.reason_phrase,
                alert,
                here=self._closed_here(),
            )
        )
