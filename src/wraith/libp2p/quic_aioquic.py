"""aioquic behind the seam of :mod:`wraith.libp2p.quic`; the only module that
reaches into it; what comes before a connection is in ``first_packets.py``.

What we change in the library is stated at each override: the TLS engine, the handshake buffers, the
stream limits, and flow control, which follows what the application has *read*. Everything here that
starts with an underscore on the library's side is pinned by its version and by the contract test.

Spec: libp2p-quic section 4 [LQ-40] to [LQ-45]; RFC 9000.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from wraith.errors import MissingExtra
from wraith.libp2p.config import QuicTransportConfig
from wraith.libp2p.quic import (
    PROTOCOL_VIOLATION,
    EngineFactory,
    TlsAdapterBase,
    TokenOfCid,
    address_of,
    library_address,
)
from wraith.libp2p.quic_library import LibraryConnection, library_settings
from wraith.libp2p.ranges import BoundedRanges
from wraith.libp2p.tls.engine import Level
from wraith.types import Address

try:
    from aioquic import tls as _tls
    from aioquic.quic import events as _events
    from aioquic.quic.configuration import QuicConfiguration as _Configuration
    from aioquic.quic.connection import QuicConnection as _QuicConnection
    from aioquic.quic.connection import QuicConnectionError as _QuicConnectionError
    from aioquic.quic.packet import QuicProtocolVersion as _Version
except ImportError as _missing:  # pragma: no cover - the extra is part of the test environment
    raise MissingExtra("quic", "the QUIC transport") from _missing


_CRYPTO = 0x06
_STREAM_FRAMES = range(0x08, 0x10)
_STREAM_FRAME_BYTES_MIN = 4
"""Type, stream and length of a frame without an offset; less room than that holds none."""
FRAMES_MAX = 256
"""STREAM frames that a datagram may hold: there is room for four hundred that say nothing, and
each costs what a full one does."""
GAPS_MAX = 256
"""Ranges of a stream, or of a level's handshake bytes, that may wait for what is before them."""


class _AioquicAdapter(TlsAdapterBase):
    """aioquic's form: no epoch argument; the connection notes it in ``level`` beforehand."""

    def handle_message(self, data: bytes, output: dict[Any, Any]) -> None:
        self.run(data, output)


class _Outbox:
    """Stands in for the library's three 16 KiB buffers per connection; only what it calls."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def push_bytes(self, data: bytes) -> None:
        self._parts.append(data)

    @property
    def data(self) -> bytes:
        return b"".join(self._parts)

    def seek(self, position: int) -> None:
        assert position == 0
        self._parts.clear()


# ---- aioquic ---------------------------------------------------------------------------------


class _AioquicConnection(_QuicConnection):  # type: ignore[misc]  # aioquic has no types we can follow
    """aioquic's connection with our engine, our limits and flow control by consumption."""

    def __init__(
        self,
        *,
        make_engine: EngineFactory,
        config: QuicTransportConfig,
        reset_token: TokenOfCid | None,
        **arguments: Any,
    ) -> None:
        self._reset_token = reset_token
        self._make_engine = make_engine
        self._wraith_config = config
        self.adapter: _AioquicAdapter | None = None
        self._delivered: dict[int, int] = {}
        self._consumed: dict[int, int] = {}
        self._consumed_total = 0
        self.closed_here = False
        self.n_frames = 0  # STREAM frames of the datagram at hand
        super().__init__(**arguments)
        self._name_reset_tokens()

    # -- the override that puts our engine in; runs again after a Retry

    def _initialize(self, peer_cid: bytes) -> None:
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = self._wraith_config.limits.streams
        self._local_max_data.value = self._local_max_data.sent = (
            self._wraith_config.connection_window
        )
        super()._initialize(peer_cid)
        self.adapter = _AioquicAdapter(_tls, self._make_engine(), self.tls)
        self.tls: Any = self.adapter
        self._crypto_buffers = {
            epoch: _Outbox()
            for epoch in (_tls.Epoch.INITIAL, _tls.Epoch.HANDSHAKE, _tls.Epoch.ONE_RTT)
        }
        for stream in self._crypto_streams.values():
            stream.receiver._ranges = BoundedRanges(GAPS_MAX, partial(_too_many_gaps, _CRYPTO))

    # -- the library looks through all ranges of a stream for each frame, and keeps any number of
    #    them: one-byte pieces at every second offset cost 0.1 s of CPU per datagram [LQ-70]

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> Any:
        if frame_type in _STREAM_FRAMES:
            self.n_frames += 1
            if self.n_frames > FRAMES_MAX:
                reason = f"more than {FRAMES_MAX} STREAM frames in a datagram"
                raise _QuicConnectionError(PROTOCOL_VIOLATION, frame_type, reason)
        stream = super()._get_or_create_stream(frame_type, stream_id)
        if not isinstance(stream.receiver._ranges, BoundedRanges):
            stream.receiver._ranges = BoundedRanges(GAPS_MAX, partial(_too_many_gaps, frame_type))
        return stream

    def _handle_crypto_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        assert self.adapter is not None
        self.adapter.level = Level(context.epoch.value)
        super()._handle_crypto_frame(context, frame_type, buf)

    # -- stateless reset: the library draws tokens that no restart remembers [LQ-75]

    def _name_reset_tokens(self) -> None:
        for each in self._host_cids:
            if self._reset_token is not None and each.stateless_reset_token is not None:
                each.stateless_reset_token = self._reset_token(each.cid)

    def _replenish_connection_ids(self) -> None:
        super()._replenish_connection_ids()
        self._name_reset_tokens()

    @property
    def is_confirmed(self) -> bool:
        return bool(self._handshake_confirmed)

    @property
    def peer_reset_token(self) -> bytes | None:
        return self._peer_cid.stateless_reset_token or None

    # -- flow control: the library doubles windows as bytes arrive, read or not; we hide what makes
    #    it do so and raise the limits ourselves, by what was consumed [LQ-43]

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        # Asked for each stream and packet: with many streams this line is what it costs.
        if stream.max_stream_data_local_sent == stream.max_stream_data_local:
            return
        receiver = stream.receiver
        if receiver.is_finished:
            return
        highest, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = highest

    def _write_stream_frame(self, builder: Any, space: Any, stream: Any, max_offset: int) -> int:
        # The library asks every stream again for a packet that the first ones have filled.
        if builder.remaining_flight_space < _STREAM_FRAME_BYTES_MIN:
            return 0
        return int(super()._write_stream_frame(builder, space, stream, max_offset))

    def _write_connection_limits(self, builder: Any, space: Any) -> None:
        limit = self._local_max_data
        window = self._wraith_config.connection_window
        wanted = self._consumed_total + window
        if wanted - limit.value >= window // 4:
            limit.value = wanted
        used, limit.used = limit.used, 0
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used

    def close(self, *arguments: Any, **named: Any) -> None:
        """The library calls it too, when the peer broke the rules."""
        self.closed_here = self.closed_here or self._close_event is None
        super().close(*arguments, **named)

    def note_delivered(self, stream_id: int, n: int) -> None:
        self._delivered[stream_id] = self._delivered.get(stream_id, 0) + n

    def note_consumed(self, stream_id: int, n: int) -> None:
        self._consumed_total += n
        stream = self._streams.get(stream_id)
        if stream is None or stream.receiver.is_finished:
            return  # nothing more will come on it: no window, and no entry that stays
        self._consumed[stream_id] = consumed = self._consumed.get(stream_id, 0) + n
        window = self._wraith_config.stream_window
        wanted = consumed + window
        if wanted - stream.max_stream_data_local >= window // 4:
            stream.max_stream_data_local = wanted

    def note_ended(self, stream_id: int) -> None:
        """The receiving side is over: whatever was never delivered counts as consumed."""
        stream = self._streams.get(stream_id)
        delivered = self._delivered.pop(stream_id, 0)
        self._consumed.pop(stream_id, None)
        if stream is not None:
            self._consumed_total += max(0, stream.receiver.highest_offset - delivered)

    def forget(self, stream_id: int) -> None:
        self._delivered.pop(stream_id, None)
        self._consumed.pop(stream_id, None)

    @property
    def closing(self) -> Any:
        """The library's close event, which it publishes only after the draining period."""
        return self._close_event


def _too_many_gaps(frame_type: int) -> Exception:
    reason = f"more than {GAPS_MAX} gaps in a stream"
    refusal: Exception = _QuicConnectionError(PROTOCOL_VIOLATION, frame_type, reason)
    return refusal


class _Silent:
    """Takes the library's log lines: records go to a Tracer, and a library must not print."""

    __slots__ = ()

    def debug(self, *_: object, **__: object) -> None:
        """Dropped."""

    info = warning = error = debug


class AioquicConnection(LibraryConnection):
    """:class:`PacketConnection` over aioquic."""

    def __init__(
        self,
        make_engine: EngineFactory,
        config: QuicTransportConfig,
        *,
        is_client: bool,
        original_cid: bytes | None = None,
        retry_cid: bytes | None = None,
        reset_token: TokenOfCid | None = None,
    ) -> None:
        configuration = _Configuration(
            **library_settings(config, is_client=is_client),
            supported_versions=[_Version.VERSION_1],
        )
        if not is_client:
            # Our engine signs; the library only checks that something is configured.
            configuration.certificate = configuration.private_key = True
        quic = _AioquicConnection(
            make_engine=make_engine,
            config=config,
            reset_token=reset_token,
            configuration=configuration,
            original_destination_connection_id=original_cid,
            retry_source_connection_id=retry_cid,
        )
        quic._logger = quic._loss._logger = _Silent()
        super().__init__(quic, _events)

    @property
    def is_confirmed(self) -> bool:
        return bool(self._quic.is_confirmed)

    @property
    def peer_reset_token(self) -> bytes | None:
        token: bytes | None = self._quic.peer_reset_token
        return token

    @property
    def remote(self) -> Address | None:
        address = self._quic.get_peer_address()
        return None if address is None else address_of(address)

    def connect(self, remote: Address, now: float) -> None:
        self._quic.connect(library_address(remote), now)

    def receive_datagrams(self, datagrams: Sequence[bytes], remote: Address, now: float) -> None:
        address = library_address(remote)
        for datagram in datagrams:
            self._quic.n_frames = 0
            self._guard(self._quic.receive_datagram, datagram, address, now)
        self._collect()

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        if self._quic.get_peer_address() is None:
            return []
        datagrams = self._guard(self._quic.datagrams_to_send, now) or []
        self._collect()
        return [(data, address_of(address)) for data, address in datagrams]

    def streams_allowed(self) -> int:
        return int(self._quic._remote_max_streams_bidi)

    def stream_write(self, stream_id: int, data: bytes, fin: bool) -> None:
        self._quic.send_stream_data(stream_id, data, fin)

    def stream_buffered(self, stream_id: int) -> int:
        stream = self._quic._streams.get(stream_id)
        return 0 if stream is None else stream.sender._buffer_stop - stream.sender._buffer_start

    def stream_unsent(self, stream_id: int) -> int:
        stream = self._quic._streams.get(stream_id)
        return 0 if stream is None else stream.sender._buffer_stop - stream.sender.highest_offset

    def has_undelivered(self) -> bool:
        return any(
            not sender.is_finished
            and sender._reset_error_code is None
            and (sender._buffer_stop > sender._buffer_start or sender._buffer_fin is not None)
            for sender in (stream.sender for stream in self._quic._streams.values())
        )

    def stream_consumed(self, stream_id: int, n: int) -> None:
        self._quic.note_consumed(stream_id, n)

    def stream_reset(self, stream_id: int, code: int) -> None:
        self._quic.reset_stream(stream_id, code)

    def stream_stop(self, stream_id: int, code: int) -> None:
        if stream_id in self._quic._streams:
            self._quic.stop_stream(stream_id, code)

    def send_datagram(self, data: bytes) -> None:
        self._quic.send_datagram_frame(data)

    def ping(self, uid: int) -> None:
        self._quic.send_ping(uid)

    def change_cid(self) -> None:
        self._quic.change_connection_id()

    def close(self, code: int, reason: str, *, by_application: bool) -> None:
        self._quic.close(code, None if by_application else 0, reason)
        self._collect()

    # ---- inside ------------------------------------------------------------------------------

    def _note(self, event: Any) -> None:
        quic = self._quic
        match event:
            case _events.StreamDataReceived():
                quic.note_delivered(event.stream_id, len(event.data))
                if event.end_stream:
                    quic.forget(event.stream_id)
            case _events.StreamReset():
                quic.note_ended(event.stream_id)
            case _events.HandshakeCompleted():
                quic._crypto_buffers = {}  # the engine writes nothing more
            case _:
                pass

    def _closed_here(self) -> bool:
        return bool(self._quic.closed_here)
