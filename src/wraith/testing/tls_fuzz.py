"""The one target of the TLS codec's fuzzer: used by ``tests/fuzz`` and by the corpus replay.

Documented errors only: anything but :class:`DecodeError`, or a value that does not encode to the
bytes it came from, is a defect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wraith.errors import DecodeError
from wraith.libp2p import private_ext
from wraith.libp2p.identify import IdentifyInfo
from wraith.libp2p.multiaddr import Multiaddr
from wraith.libp2p.peer_id import HostPublicKey, PeerId
from wraith.libp2p.tls import codec

_MESSAGES: list[Callable[[bytes], Any]] = [
    codec.ClientHello.decode,
    codec.ServerHello.decode,
    codec.EncryptedExtensions.decode,
    codec.CertificateRequest.decode,
    codec.Certificate.decode,
    codec.CertificateVerify.decode,
    codec.NewSessionTicket.decode,
    HostPublicKey.decode,
    private_ext.LiteralExtension.decode,
]
_BODIES: list[Callable[[bytes], object]] = [
    codec.read_client_shares,
    codec.read_server_share,
    codec.read_alpn,
    codec.read_cookie,
    private_ext.decode_client_body,
    private_ext.decode_server_body,
    PeerId.decode,
    Multiaddr.decode,
    IdentifyInfo.decode,
]


def decode_anything(data: bytes) -> None:
    """Every decoder on ``data``; raises on anything undocumented."""
    for decode in _MESSAGES:
        try:
            value = decode(data)
        except DecodeError:
            continue
        encoded = value.encode()
        if encoded != data:
            raise AssertionError(f"{decode} accepted a second encoding of one value")
    for read in _BODIES:
        try:
            read(data)
        except DecodeError:
            continue
    try:
        length = codec.next_message_bytes(data)
        if length is not None and length != 4 + int.from_bytes(data[1:4], "big"):
            raise AssertionError("message length")
    except DecodeError:
        pass
