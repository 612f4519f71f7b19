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

On the wire each message stands behind its varint length, and the end of the stream ends the last
one: go-libp2p cuts what exceeds 2 KiB into two, and so do we beyond what rust-libp2p reads. Several
messages are one, as protobuf merges them: lists are joined, of a single field the last one counts.
Nothing in it is trusted beyond what the TLS certificate proved [LQ-61]. Spec: libp2p identify
specification.
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.errors import DecodeError, RemoteProtocolError
from wraith.libp2p.multiaddr import Multiaddr
from wraith.libp2p.peer_id import HostPublicKey, PeerId
from wraith.libp2p.protobuf import bytes_of, decode_fields, encode_bytes_field
from wraith.libp2p.reader import Libp2pReader, encode_uvarint

PROTOCOL = "/ipfs/id/1.0.0"
PUSH_PROTOCOL = "/ipfs/id/push/1.0.0"
MESSAGE_BYTES_MAX = 8 * 1024
"""The limit of the specification for one message."""
MESSAGES_MAX = 10
"""The most that go-libp2p reads; we send and read no more either."""
SENT_BYTES_MAX = 4096
"""A message that we send; rust-libp2p reads one message of at most this size."""
_TEXT_BYTES_MAX = 256
_LIST_MAX = 1024


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
        """One message behind its length, or several; names that fit into no more are left out."""
        first = b""
        if self.public_key is not None:
            first += encode_bytes_field(1, self.public_key.encode())
        if self.observed_address is not None:
            first += encode_bytes_field(4, self.observed_address.encode())
        first += encode_bytes_field(5, self.protocol_version.encode())
        first += encode_bytes_field(6, self.agent_version.encode())
        bodies = [first]
        for number, value in (
            *((2, address.encode()) for address in self.listen_addresses),
            *((3, protocol.encode()) for protocol in self.protocols),
        ):
            entry = encode_bytes_field(number, value)
            if len(bodies[-1]) + len(entry) <= SENT_BYTES_MAX:
                bodies[-1] += entry
            elif len(bodies) < MESSAGES_MAX and len(entry) <= SENT_BYTES_MAX:
                bodies.append(entry)
        return b"".join(encode_uvarint(len(body)) + body for body in bodies)

    @classmethod
    def decode(cls, data: bytes) -> IdentifyInfo:
        """From a whole stream: one message or several. Raises :class:`DecodeError`."""
        reader = IdentifyReader()
        reader.feed(data)
        return reader.finish()

    @classmethod
    def from_fields(cls, fields: list[tuple[int, int | bytes]]) -> IdentifyInfo:
        """From the fields of all messages together. Raises :class:`DecodeError`."""
        keys = bytes_of(fields, 1, "identify public key")
        if len(set(keys)) > 1:
            raise DecodeError("identify public key")
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


class IdentifyReader:
    """Collects a stream's messages; memory is bounded by ten of them."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: list[tuple[int, int | bytes]] = []
        self._n_messages = 0

    @property
    def is_whole(self) -> bool:
        """Whether what has come ends with the end of a message."""
        return self._n_messages > 0 and not self._rest

    def feed(self, data: bytes) -> None:
        """Takes more of the stream. Raises :class:`DecodeError` for what can never be right."""
        self._rest += data
        while (body := self._next_body()) is not None:
            self._n_messages += 1
            if self._n_messages > MESSAGES_MAX:
                raise DecodeError("identify messages")
            self._fields += decode_fields(body, "identify message")

    def _next_body(self) -> bytes | None:
        reader = Libp2pReader(self._rest, "identify message")
        try:
            length = reader.uvarint()
        except DecodeError:
            if len(self._rest) >= 3:
                raise
            return None
        if length > MESSAGE_BYTES_MAX:
            raise reader.error()
        if reader.remaining < length:
            return None
        body = reader.take(length)
        self._rest = self._rest[len(self._rest) - reader.remaining :]
        return body

    def finish(self) -> IdentifyInfo:
        """The messages as one. Raises :class:`DecodeError`, also for one that was cut off."""
        if not self.is_whole:
            raise DecodeError("identify message")
        return IdentifyInfo.from_fields(self._fields)


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
