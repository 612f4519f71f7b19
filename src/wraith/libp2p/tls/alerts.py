"""Alerts: what a TLS peer is told when a handshake fails, and the error that carries one.

Must not decide anything; every raise site names its alert.

Spec: libp2p-quic [LQ-20]; RFC 8446 §6.2.
"""

from __future__ import annotations

from enum import IntEnum

from wraith.errors import RemoteProtocolError

QUIC_CRYPTO_ERROR = 0x0100
"""QUIC close codes 0x0100-0x01ff carry an alert in the low byte (RFC 9001 §4.8)."""


class AlertDescription(IntEnum):
    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    INAPPROPRIATE_FALLBACK = 86
    USER_CANCELED = 90
    MISSING_EXTENSION = 109
    UNSUPPORTED_EXTENSION = 110
    UNRECOGNIZED_NAME = 112
    BAD_CERTIFICATE_STATUS_RESPONSE = 113
    UNKNOWN_PSK_IDENTITY = 115
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120

    @property
    def word(self) -> str:
        """The name as RFC 8446 writes it."""
        return self.name.lower()


class TlsAlert(RemoteProtocolError):
    """The TLS handshake was refused."""

    code = "tls-alert"

    def __init__(self, alert: AlertDescription, message: str, *, hint: str | None = None) -> None:
        super().__init__(
            f"{message} ({alert.word})", close_code=QUIC_CRYPTO_ERROR + alert, hint=hint
        )
        self.alert = alert


class WrongPeerAlert(TlsAlert):
    """The certificate proves another PeerId than the one that was dialled [LQ-6]."""

    code = "tls-wrong-peer"


def alert_of_close_code(code: int) -> AlertDescription | None:
    """The alert in a QUIC close code, ``None`` when it carries none that we know."""
    value = code - QUIC_CRYPTO_ERROR
    try:
        return AlertDescription(value)
    except ValueError:
        return None
