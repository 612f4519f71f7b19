"""Close and reset codes of libp2p over QUIC, in one place.

Must not decide when to use one. Spec: libp2p error codes; libp2p-quic [LQ-51].
"""

from __future__ import annotations

from enum import IntEnum


class Libp2pCode(IntEnum):
    """Application codes of CONNECTION_CLOSE, RESET_STREAM and STOP_SENDING."""

    NO_ERROR = 0x0
    PROTOCOL_NEGOTIATION_FAILED = 0x1001
    RESOURCE_LIMIT_EXCEEDED = 0x1002
    RATE_LIMITED = 0x1003
    PROTOCOL_VIOLATION = 0x1004
    SUPPLANTED = 0x1005
    GARBAGE_COLLECTED = 0x1006
    SHUTDOWN = 0x1007
    GATED = 0x1008
    CODE_OUT_OF_RANGE = 0x1009


def code_words(code: int) -> str:
    """A code as people read it: ``SHUTDOWN (0x1007)``. Codes of QUIC itself have no name here."""
    try:
        return f"{Libp2pCode(code).name} (0x{code:04x})"
    except ValueError:
        return f"code 0x{code:04x}"
