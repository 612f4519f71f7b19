"""What the kernel knows of a TCP connection that stands still: ``TCP_INFO``, where there is one.

The bytes that a connection carried before it froze are evidence: something on the way that counts
freezes every connection at the same count. Nobody but the kernel knows what was acknowledged.

Linux ``tcp(7)``, ``struct tcp_info``.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final, NamedTuple, Protocol

from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Buffer

# Eight bytes; 24 figures from rto to total_retrans; pacing rates; bytes acknowledged and received.
_LAYOUT: Final = struct.Struct("=8B24I4Q")
_RETRANSMITS: Final = 2
_UNACKED: Final = 8 + 4
_LAST_ACK_RECEIVED: Final = 8 + 12
_BYTES_ACKED: Final = 8 + 24 + 2
_TCP_INFO: Final = {"linux": 11}.get(sys.platform)


class _HasOptions(Protocol):
    def getsockopt(self, level: int, option: int, n_bytes: int, /) -> bytes: ...


class TcpInfo(NamedTuple):
    """Of one connection.

    Attributes:
        n_unacked: segments that were sent and are not acknowledged.
        n_retransmits: how often in a row the oldest of them was sent again in vain.
        ack_silence_s: seconds since the last acknowledgement.
        bytes_acked, bytes_received: of the stream, in all.
    """

    n_unacked: int
    n_retransmits: int
    ack_silence_s: float
    bytes_acked: int
    bytes_received: int

    @property
    def failure(self) -> RoadFailure | None:
        """``frozen`` with the bytes that crossed before, if the kernel sends the same again and
        again and nothing is acknowledged. ``None``: the silence is not the connection's."""
        if not self.n_unacked or not self.n_retransmits:
            return None
        return RoadFailure(RoadReason.FROZEN, self.bytes_acked + self.bytes_received)


def parse_tcp_info(data: Buffer) -> TcpInfo | None:
    """``None`` for what an older kernel gives, which lacks the last of these figures."""
    if len(data) < _LAYOUT.size:
        return None
    fields = _LAYOUT.unpack_from(data)
    return TcpInfo(
        fields[_UNACKED],
        fields[_RETRANSMITS],
        fields[_LAST_ACK_RECEIVED] / 1_000,
        fields[_BYTES_ACKED],
        fields[_BYTES_ACKED + 1],
    )


def read_tcp_info(sock: _HasOptions) -> TcpInfo | None:
    """What the kernel knows now; ``None`` where it says nothing of this socket."""
    if _TCP_INFO is None:
        return None
    try:
        data = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _LAYOUT.size)
    except OSError:
        return None
    return parse_tcp_info(data)
