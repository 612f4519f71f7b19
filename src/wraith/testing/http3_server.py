"""HTTP/3 on our endpoint, for browsers and curl: answers GET, echoes WebTransport streams.

Only for interoperability tests: the aioquic backend's connection is wrapped, so that its stream
bytes go to aioquic's HTTP/3 layer instead of the libp2p streams. The TLS handshake, the endpoint
and the sockets are the product's own.
"""

from __future__ import annotations

from typing import Any

from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.events import StreamDataReceived

from wraith.aio.libp2p import Libp2pHost
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.libp2p.quic import HandshakeCompleted, PacketEvent, StreamData

BODY = b"post-quantum hello\n"
HTTP3_CONFIG = QuicTransportConfig(
    policy=PqPolicy.REQUIRE,
    alpn=("h3",),
    require_client_certificate=False,
    datagram_frame_bytes=65_536,
)
"""Browsers present no certificate; everything else is the strict default."""


class _Http3Packet:
    """Everything of the wrapped connection, except that stream bytes become HTTP/3."""

    def __init__(self, packet: Any) -> None:
        self._packet = packet
        self._http: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packet, name)

    def next_event(self) -> PacketEvent | None:
        while True:
            event: PacketEvent | None = self._packet.next_event()
            if isinstance(event, HandshakeCompleted):
                self._http = H3Connection(self._packet._quic, enable_webtransport=True)
            if not isinstance(event, StreamData):
                return event
            self._packet.stream_consumed(event.stream_id, len(event.data))
            raw = StreamDataReceived(
                data=event.data, end_stream=event.fin, stream_id=event.stream_id
            )
            for each in self._http.handle_event(raw):
                self._serve(each)

    def _serve(self, event: object) -> None:
        match event:
            case HeadersReceived():
                self._answer(event.stream_id, dict(event.headers))
            case WebTransportStreamDataReceived():
                self._packet._quic.send_stream_data(event.stream_id, event.data, event.stream_ended)
            case DataReceived():
                pass

    def _answer(self, stream_id: int, headers: dict[bytes, bytes]) -> None:
        if headers.get(b":method") == b"CONNECT":
            self._http.send_headers(
                stream_id, [(b":status", b"200"), (b"sec-webtransport-http3-draft", b"draft02")]
            )
            return
        self._http.send_headers(
            stream_id, [(b":status", b"200"), (b"content-length", str(len(BODY)).encode())]
        )
        self._http.send_data(stream_id, BODY, end_stream=True)


async def http3_host() -> Libp2pHost:
    """A listening host on loopback that speaks HTTP/3; close it like any other."""
    host = await Libp2pHost.create(listen=["/ip4/127.0.0.1/udp/0/quic-v1"], config=HTTP3_CONFIG)
    make = host.machine._make_connection

    def wrapped(*arguments: Any, **named: Any) -> Any:
        return _Http3Packet(make(*arguments, **named))

    host.machine._make_connection = wrapped
    return host
