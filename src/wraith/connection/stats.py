"""The figures of one connection, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from wraith.connection.parts import ConnectionParts
from wraith.types import Carrier


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """Facts of this moment: of the path in use, and of the connection since it began. Bytes are UDP
    payload."""

    rtt_s: float
    min_rtt_s: float
    cwnd_bytes: int
    bytes_in_flight: int
    datagram_bytes: int
    lost_packets: int
    sent_packets: int
    received_packets: int
    sent_bytes: int
    received_bytes: int
    retransmitted_bytes: int
    dropped_packets: int
    datagrams_dropped: int
    epoch: int
    carrier: Carrier


def stats_of(parts: ConnectionParts, n_dropped: int) -> ConnectionStats:
    """The figures of an established connection; ``n_dropped`` datagrams did not open."""
    recovery, path = parts.recovery, parts.paths.main
    return ConnectionStats(
        rtt_s=path.rtt.srtt,
        min_rtt_s=path.rtt.min_rtt,
        cwnd_bytes=path.controller.window,
        bytes_in_flight=path.bytes_in_flight,
        datagram_bytes=path.mtu.current,
        lost_packets=recovery.lost_packets,
        sent_packets=parts.n_datagrams_sent,
        received_packets=parts.n_datagrams_received,
        sent_bytes=parts.n_bytes_sent,
        received_bytes=parts.n_bytes_received,
        retransmitted_bytes=parts.mux.n_retransmitted,
        dropped_packets=n_dropped,
        datagrams_dropped=parts.datagrams.n_dropped_in + parts.datagrams.n_dropped_out,
        epoch=parts.keys.current,
        carrier=path.network.carrier,
    )
