"""``/ipfs/id/1.0.0``: what peers tell each other about themselves. Codec and checks only.

======  ======  ==================================================
number  type    content
======  ======  ==================================================
1       bytes   public key protobuf; must match the connection's
2       bytes*  listen addresses, binary multiaddrs
3       bytes*  protocols
4       bytes   observed address of the receiver
5       bytes   protocol version
6       bytes   agent version
8       bytes   signed peer record, kept opaque
======  ======  ==================================================

On the wire the message stands behind its varint length. Nothing in it is trusted beyond what the
TLS certificate proved [LQ-61]. Spec: libp2p identify specification.
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.errors import DecodeError, RemoteProtocolError
from wraith.libp2p.multiaddr import Multiaddr
from wraith.libp2p.peer_id import HostPublicKey, PeerId
from wraith.libp2p.protobuf import bytes_of, decode_fields, encode_bytes_field
from wraith.libp2p.reader import Reader, encode_uvarint

PROTOCOL = "/ipfs/id/1.0.0"
PUSH_PROTOCOL = "/ipfs/id/push/1.0.0"
MESSAGE_BYTES_MAX = 8 * 1024
"""The limit of the specification for one message."""
_TEXT_BYTES_MAX = 256
_LIST_MAX = 256


@dataclass(frozen=True, slots=True)
class IdentifyInfo:
    """Decoded message. Addresses with unknown protocols are left out, not an error."""

    public_key: HostPublicKey | None
    listen_addresses: tuple[Multiaddr, ...] = ()
    protocols: tuple[str, ...] = ()
    observed_address: Multiaddr | None = None
    protocol_version: str = ""
    agent_version: str = ""

    def encode(self) -> bytes:
        """The message behind its length."""
        body = b""
        if self.public_key is not None:
            body += encode_bytes_field(1, self.public_key.encode())
        for address in self.listen_addresses:
            body += encode_bytes_field(2, address.encode())
        for protocol in self.protocols:
            body += encode_bytes_field(3, protocol.encode())
        if self.observed_address is not None:
            body += encode_bytes_field(4, self.observed_address.encode())
        body += encode_bytes_field(5, self.protocol_version.encode())
        body += encode_bytes_field(6, self.agent_version.encode())
        return encode_uvarint(len(body)) + body

    @classmethod
    def decode(cls, data: bytes) -> IdentifyInfo:
        """From the message behind its length. Raises :class:`DecodeError`."""
        reader = Reader(data, "identify message")
        length = reader.uvarint()
        if length > MESSAGE_BYTES_MAX:
            raise reader.error()
        body = reader.take(length)
        reader.end()
        fields = decode_fields(body, "identify message")
        keys = bytes_of(fields, 1, "identify public key")
        observed = _addresses(bytes_of(fields, 4, "identify observed address")[:1])
        return cls(
            public_key=HostPublicKey.decode(keys[-1]) if keys else None,
            listen_addresses=_addresses(bytes_of(fields, 2, "identify address")[:_LIST_MAX]),
            protocols=tuple(
                _text(raw) for raw in bytes_of(fields, 3, "identify protocol")[:_LIST_MAX]
            ),
            observed_address=observed[0] if observed else None,
            protocol_version=_last_text(bytes_of(fields, 5, "identify protocol version")),
            agent_version=_last_text(bytes_of(fields, 6, "identify agent version")),
        )

    def check_peer(self, peer: PeerId | None) -> None:
        """Raises :class:`RemoteProtocolError` for another key than the connection's [LQ-61]."""
        if self.public_key is not None and PeerId.from_public_key(self.public_key) != peer:
            raise RemoteProtocolError("identify names another key than the certificate")


def is_complete(data: bytes) -> bool:
    """Whether ``data`` holds a whole message. Raises :class:`DecodeError` when it never will."""
    reader = Reader(data, "identify message")
    try:
        length = reader.uvarint()
    except DecodeError:
        if len(data) >= 3:
            raise
        return False
    if length > MESSAGE_BYTES_MAX:
        raise DecodeError("identify message")
    return reader.remaining >= length


def _addresses(encoded: list[bytes]) -> tuple[Multiaddr, ...]:
    found = []
    for raw in encoded:
        try:
            found.append(Multiaddr.decode(raw))
        except DecodeError:
            continue
    return tuple(found)


def _text(raw: bytes) -> str:
    """Shown to people: bounded, and without control characters."""
    text = raw[:_TEXT_BYTES_MAX].decode(errors="replace")
    return "".join(character for character in text if character.isprintable())


def _last_text(values: list[bytes]) -> str:
    return _text(values[-1]) if values else ""
