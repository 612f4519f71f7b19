"""Datagrams before there is a connection: their first header, version negotiation, Retry.

The formats are aioquic's, whichever library carries the connections; only public names of it are
used here. Must not keep state for a stranger [LQ-41]. Spec: libp2p-quic section 4 [LQ-40]; RFC 9000
sections 5.2, 6 and 8.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.errors import MissingExtra
from wraith.libp2p.quic import QUIC_CID_BYTES, QUIC_V1, library_address
from wraith.types import Address

try:
    from aioquic.buffer import Buffer as _Buffer
    from aioquic.quic.packet import QuicPacketType as _PacketType
    from aioquic.quic.packet import encode_quic_retry as _encode_retry
    from aioquic.quic.packet import (
        encode_quic_version_negotiation as _encode_version_negotiation,
    )
    from aioquic.quic.packet import pull_quic_header as _pull_header
    from aioquic.quic.retry import QuicRetryTokenHandler as _TokenHandler
except ImportError as _missing:  # pragma: no cover - the extra is part of the test environment
    raise MissingExtra("quic", "the QUIC transport") from _missing


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a datagram's first packet that routing needs."""

    is_long: bool
    is_initial: bool
    version: int
    destination_cid: bytes
    source_cid: bytes
    token: bytes


def read_header(datagram: bytes) -> Header | None:
    """The first packet's header, ``None`` for anything that is not QUIC [LQ-40]."""
    if len(datagram) < 1 + QUIC_CID_BYTES or not datagram[0] & 0x40:
        return None
    if not datagram[0] & 0x80:
        return Header(False, False, 0, datagram[1 : 1 + QUIC_CID_BYTES], b"", b"")
    try:
        header = _pull_header(_Buffer(data=datagram), host_cid_length=QUIC_CID_BYTES)
    except ValueError:
        return None
    if header.version is None or header.packet_type == _PacketType.VERSION_NEGOTIATION:
        version = 0
    else:
        version = header.version
    return Header(
        True,
        header.packet_type == _PacketType.INITIAL,
        version,
        header.destination_cid,
        header.source_cid,
        header.token,
    )


def version_negotiation(header: Header) -> bytes:
    """The answer to a version that we do not speak."""
    packet: bytes = _encode_version_negotiation(
        source_cid=header.destination_cid,
        destination_cid=header.source_cid,
        supported_versions=[QUIC_V1],
    )
    return packet


class RetryTokens:
    """Issues Retry packets and checks the tokens that come back (RFC 9000 §8.1)."""

    def __init__(self) -> None:
        self._tokens = _TokenHandler()

    def retry_packet(self, header: Header, new_cid: bytes, remote: Address, now: float) -> bytes:
        """A Retry for ``header``; it costs no state."""
        packet: bytes = _encode_retry(
            version=header.version,
            source_cid=new_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=self._tokens.create_token(
                address=library_address(remote),
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=new_cid,
                now=now,
            ),
        )
        return packet

    def original_cid(self, header: Header, remote: Address, now: float) -> bytes | None:
        """The first destination id, ``None`` for a token that is not ours or not for this peer."""
        try:
            original: bytes = self._tokens.validate_token(
                address=library_address(remote),
                destination_cid=header.destination_cid,
                token=header.token,
                now=now,
            )
        except ValueError:
            return None
        return original
