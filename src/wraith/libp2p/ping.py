"""``/ipfs/ping/1.0.0``: 32 random bytes out, the same 32 bytes back, over and over.

Must not measure time; the shell does. Spec: libp2p-quic [LQ-62]; libp2p ping specification.
"""

from __future__ import annotations

from wraith.abc import Rng
from wraith.errors import RemoteProtocolError

PROTOCOL = "/ipfs/ping/1.0.0"
PAYLOAD_BYTES = 32


def make_payload(rng: Rng) -> bytes:
    """Random, so that an answer cannot be prepared."""
    return rng.public_bytes(PAYLOAD_BYTES)


def check_answer(sent: bytes, answer: bytes) -> None:
    """Raises :class:`RemoteProtocolError` when the peer sent something else back."""
    if sent != answer:
        raise RemoteProtocolError("the peer answered a ping with other bytes")
