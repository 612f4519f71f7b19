"""qh3 behind the seam of :mod:`wraith.libp2p.quic`: the optional native packet core.

The only module that names qh3. Its public surface does not reach the TLS layer, so one override
(``_create_tls``) puts our engine in; ``_hazmat`` is outside the library's stability promise, so
the version is pinned and aioquic stays the default.

Known limits of this backend, each contained here and covered by the contract test:

- it sometimes raises "packet builder capacity exhausted" while sending and can go on afterwards;
- it cannot serve peers that use an empty connection id (a quic-go client on a socket of its own,
  browsers): it goes on sending to the id that they made up for their first packet;
- it opens the peer's flow-control windows as its events are taken, not as bytes are read: while a
  connection window's worth is unread no event is taken, which stops the peer as connection flow
  control does, and delays the peer's close until there is room [LQ-45].

Spec: libp2p-quic section 4 [LQ-45].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wraith.errors import MissingExtra
from wraith.libp2p.config import QuicTransportConfig
from wraith.libp2p.quic import (
    EngineFactory,
    TlsAdapterBase,
    TokenOfCid,
    address_of,
    library_address,
)
from wraith.libp2p.quic_library import LibraryConnection, library_settings
from wraith.libp2p.reset import token_in
from wraith.libp2p.tls.engine import Level
from wraith.types import Address

try:
    from qh3 import tls as _tls
    from qh3._hazmat import Certificate as _Certificate
    from qh3.quic import connection as _library
    from qh3.quic import events as _events
    from qh3.quic.configuration import QuicConfiguration as _Configuration
    from qh3.quic.connection import QuicConnection as _QuicConnection
    from qh3.quic.connection import QuicConnectionError as _QuicConnectionError
    from qh3.quic.packet import QuicProtocolVersion as _Version
except ImportError as _missing:  # pragma: no cover - the extra is part of the test environment
    raise MissingExtra("qh3", "the qh3 backend") from _missing

_CAPACITY = "capacity exhausted"
_NO_OTHER_CID = "no unused peer connection ID"
# It warns of every close. A program that sets logging up gets that; other terminals stay quiet.
_library.logger.addHandler(_library.logging.NullHandler())


class _Qh3Adapter(TlsAdapterBase):
    """qh3's form: the epoch is an argument."""

    key_schedule = None
    ech_accepted = False
    ech_retry_configs = None
    peer_certificate = None
    peer_certificate_chain: tuple[object, ...] = ()

    def handle_message(self, data: bytes, output: dict[Any, Any], *, epoch: Any) -> None:
        self.level = Level(int(epoch))
        self.run(data, output)


class _Qh3Connection(_QuicConnection):  # type: ignore[misc]  # qh3's types are not followed
    """qh3's connection with our engine."""

    def __init__(self, *, make_engine: EngineFactory, **arguments: Any) -> None:
        self._make_engine = make_engine
        self.adapter: _Qh3Adapter | None = None
        #: While true the core's events stay where they are, and with them the peer's credit.
        self.hold = False
        super().__init__(**arguments)

    def _create_tls(self, remote_source_cid: bytes | None) -> Any:
        bridge = super()._create_tls(remote_source_cid)
        bridge.tls = self.adapter = _Qh3Adapter(_tls, self._make_engine(), bridge.tls)
        return bridge

    def _drain_core(self) -> None:
        if not self.hold:
            super()._drain_core()

    def poll_datagrams(self, now: float) -> list[tuple[bytes, Any]]:
        """As the library's ``datagrams_to_send``, keeping what was built before it raised."""
        found: list[tuple[bytes, Any]] = []
        if self._core is None:
            return found
        try:
            while (transmit := self._call_core(self._core.poll_transmit, now)) is not None:
                found.append((transmit[0], transmit[1]))
        except _QuicConnectionError as error:
            if _CAPACITY not in str(error):
                raise
        return found

    @property
    def closing(self) -> Any:
        """The library's close event, which it publishes only after the draining period."""
        return self._close_event


class Qh3Connection(LibraryConnection):
    """:class:`wraith.libp2p.quic.PacketConnection` over qh3."""

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
        del reset_token  # the core draws its own and does not tell them
        configuration = _Configuration(
            **library_settings(config, is_client=is_client),
            probe_datagram_size=False,
            supported_versions=[_Version.VERSION_1],
        )
        if not is_client:
            # Our engine signs; the library only checks the type of what is configured.
            certificate = make_engine().settings.credentials[0].der
            configuration.certificate = _Certificate(certificate)
            configuration.private_key = object()
        quic = _Qh3Connection(
            make_engine=make_engine,
            configuration=configuration,
            original_destination_connection_id=original_cid,
            retry_source_connection_id=retry_cid,
        )
        super().__init__(quic, _events)
        self._config = config
        self._is_client = is_client
        self._cid_changed = False
        self._unread = 0
        self._remote: Address | None = None

    @property
    def is_confirmed(self) -> bool:
        return not self._is_client or bool(self._quic._handshake_confirmed)

    @property
    def peer_reset_token(self) -> bytes | None:
        # The core does not tell which id it sends to; the first one's token is in the parameters.
        parameters = None if self._quic.adapter is None else self.engine.peer_quic_parameters
        if self._cid_changed or parameters is None:
            return None
        return token_in(parameters)

    @property
    def remote(self) -> Address | None:
        return self._remote

    def connect(self, remote: Address, now: float) -> None:
        self._remote = remote
        self._quic.connect(library_address(remote), now)

    def receive_datagrams(self, datagrams: Sequence[bytes], remote: Address, now: float) -> None:
        if self._remote is None:
            self._remote = remote
        self._guard(
            self._quic.receive_many_datagrams, list(datagrams), library_address(remote), now
        )
        self._collect()

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        datagrams = self._guard(self._quic.poll_datagrams, now) or []
        self._collect()
        due = [(data, address_of(address)) for data, address in datagrams]
        if due:
            self._remote = due[-1][1]
        return due

    def streams_allowed(self) -> int:
        return int(self._quic.max_concurrent_bidi_streams)

    def stream_write(self, stream_id: int, data: bytes, fin: bool) -> None:
        if data or fin:
            self._guard(self._quic.send_stream_data, stream_id, data, fin)
        else:
            self._quic._record_local_stream(stream_id)

    def stream_buffered(self, stream_id: int) -> int:
        return self.stream_unsent(stream_id)  # the core does not tell what is on its way

    def stream_unsent(self, stream_id: int) -> int:
        return int(self._guard(self._quic.get_send_buffer_size, stream_id) or 0)

    def has_undelivered(self) -> bool:
        # The core does not tell streams apart: whatever is in flight may be a stream's.
        core = self._quic._core
        return core is not None and bool(
            self._guard(self._quic.get_send_buffer_size) or core.bytes_in_flight
        )

    def stream_consumed(self, stream_id: int, n: int) -> None:
        del stream_id
        self._unread -= n
        if self._quic.hold and self._unread < self._config.connection_window:
            self._quic.hold = False
            self._guard(self._quic._drain_core)
            self._collect()

    def stream_reset(self, stream_id: int, code: int) -> None:
        self._guard(self._quic.reset_stream, stream_id, code)

    def stream_stop(self, stream_id: int, code: int) -> None:
        self._guard(self._quic.stop_stream, stream_id, code)

    def send_datagram(self, data: bytes) -> None:
        self._guard(self._quic.send_datagram_frame, data)

    def ping(self, uid: int) -> None:
        self._guard(self._quic.send_ping, uid)

    def change_cid(self) -> None:
        self._cid_changed = True
        self._guard(self._change_cid)

    def _change_cid(self) -> None:
        """Where the peer has issued no other id yet, the present one goes on, as it does when a NAT
        gives a new port. Source: RFC 9000, section 9.5."""
        try:
            self._quic.change_connection_id()
        except ValueError as error:
            if _NO_OTHER_CID not in str(error):
                raise

    def close(self, code: int, reason: str, *, by_application: bool) -> None:
        self._guard(self._quic.close, code, None if by_application else 0, reason)
        self._collect()

    # ---- inside ------------------------------------------------------------------------------

    def _collect(self) -> None:
        super()._collect()
        self._quic.hold = self._unread >= self._config.connection_window

    def _note(self, event: Any) -> None:
        if isinstance(event, _events.StreamDataReceived):
            self._unread += len(event.data)
