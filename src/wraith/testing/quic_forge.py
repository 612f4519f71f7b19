"""1-RTT packets of any content from a connected aioquic client, for tests of what a peer can cost.

A peer that keeps no rule holds the keys all the same: what is sealed here passes every check up to
the frames themselves. Must not be used by anything but tests and benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aioquic.buffer import encode_uint_var
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

from wraith.libp2p.connection import PeerConnection
from wraith.libp2p.quic import QUIC_V1

FRAMES_BYTES = 1150
"""Frames of one packet that fills a datagram of 1,200 bytes."""
_STREAM_WITH_OFFSET_AND_LENGTH = 0x0E
_CRYPTO = 0x06
_PING = b"\x01"


class Forger:
    """Seals frames with the keys of ``client``, which must be connected and on aioquic."""

    def __init__(self, client: PeerConnection) -> None:
        library: Any = client.packet
        self._quic = library._quic

    def packet(self, frames: bytes, *, skip: int = 0) -> bytes:
        """One datagram with ``frames``; ``skip`` packet numbers before it are never used."""
        quic = self._quic
        builder = QuicPacketBuilder(
            host_cid=quic.host_cid,
            is_client=True,
            max_datagram_size=1200,
            packet_number=quic._packet_number + skip,
            peer_cid=quic._peer_cid.cid,
            version=QUIC_V1,
        )
        builder.start_packet(QuicPacketType.ONE_RTT, quic._cryptos[Epoch.ONE_RTT])
        builder.start_frame(frames[0], capacity=len(frames)).push_bytes(frames[1:])
        (datagram,), _ = builder.flush()
        quic._packet_number = builder.packet_number
        return bytes(datagram)

    def handshake_packet(self, n_bytes: int = 10) -> bytes:
        """A Handshake packet with the first bytes of the client's Certificate, and no more."""
        quic = self._quic
        builder = QuicPacketBuilder(
            host_cid=quic.host_cid,
            is_client=True,
            max_datagram_size=1200,
            packet_number=quic._packet_number,
            peer_cid=quic._peer_cid.cid,
            version=QUIC_V1,
        )
        builder.start_packet(QuicPacketType.HANDSHAKE, quic._cryptos[Epoch.HANDSHAKE])
        sent = bytes(quic._crypto_streams[Epoch.HANDSHAKE].sender._buffer[:n_bytes])
        frame = crypto_frame(0, sent)
        builder.start_frame(frame[0], capacity=len(frame)).push_bytes(frame[1:])
        (datagram,), _ = builder.flush()
        quic._packet_number = builder.packet_number
        return bytes(datagram)

    def in_order(self, stream_id: int, n_packets: int) -> list[bytes]:
        """What an honest sender costs: full packets of one stream, in order."""
        size = FRAMES_BYTES - 8
        return [
            self.packet(stream_frame(stream_id, number * size, bytes(size)))
            for number in range(n_packets)
        ]

    def gaps(self, n_packets: int, *, stream_id: int = 0, crypto: bool = False) -> list[bytes]:
        """Packets full of one-byte frames at every second offset: each of them leaves a gap."""
        offsets = iter(range(1, 1 << 30, 2))

        def frames() -> Iterator[bytes]:
            for offset in offsets:
                yield (
                    crypto_frame(offset, b"x") if crypto else stream_frame(stream_id, offset, b"x")
                )

        source = frames()
        return [self.packet(_fill(source)) for _ in range(n_packets)]

    def void(self, n_packets: int) -> list[bytes]:
        """Small packets with every second packet number left out."""
        return [self.packet(_PING, skip=1) for _ in range(n_packets)]


def stream_frame(stream_id: int, offset: int, data: bytes, *, fin: bool = False) -> bytes:
    kind = _STREAM_WITH_OFFSET_AND_LENGTH | fin
    return bytes((kind,)) + _varints(stream_id, offset, len(data)) + data


def crypto_frame(offset: int, data: bytes) -> bytes:
    return bytes((_CRYPTO,)) + _varints(offset, len(data)) + data


def _varints(*values: int) -> bytes:
    return b"".join(encode_uint_var(value) for value in values)


def _fill(source: Iterator[bytes]) -> bytes:
    """As many frames as fit, and one small one more."""
    frames = b""
    while len(frames) < FRAMES_BYTES:
        frames += next(source)
    return frames
