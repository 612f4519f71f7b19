"""Why a connection ended: from the packet layer's close to the error that its owner sees.

Must not hold state. The order of the questions matters: a close by the application is not an alert,
and an idle timeout has no code of its own. Spec: libp2p-quic section 5; RFC 9000 §20.
"""

from __future__ import annotations

from wraith.errors import ConnectFailed, ConnectionLost, PeerClosed, PeerKeyMismatch, WraithError
from wraith.libp2p import quic
from wraith.libp2p.codes import Libp2pCode
from wraith.libp2p.tls.alerts import AlertDescription, TlsAlert, alert_of_close_code
from wraith.libp2p.tls.server import HINT_PREFER

_IDLE_REASONS = ("Idle timeout", "idle timeout")


def own_refusal(alert: TlsAlert) -> WraithError:
    """Our engine refused. A wrong identity gets the error that says so [LQ-6]."""
    if alert.alert is AlertDescription.BAD_CERTIFICATE and "belongs to" in str(alert):
        return PeerKeyMismatch(str(alert))
    return alert


def peer_error(event: quic.Closing, *, handshaking: bool, post_quantum: bool) -> WraithError | None:
    """The peer, or the network, ended the connection; ``None`` for a graceful end.

    Args:
        handshaking: it ended before the handshake did, which is never graceful.
        post_quantum: whether our policy offers nothing classical, for the hint.
    """
    if event.code == Libp2pCode.NO_ERROR and not handshaking:
        return None
    if event.by_application:
        return PeerClosed(event.code, event.reason)
    if event.reason in _IDLE_REASONS:
        return ConnectionLost("nothing was heard for too long")
    alert = alert_of_close_code(event.code)
    if alert is not None:
        return ConnectFailed(
            f"the peer refused the handshake: {alert.word}", hint=_hint_for(alert, post_quantum)
        )
    if event.code == quic.INTERNAL_ERROR and event.reason.startswith("packet layer"):
        return ConnectionLost(event.reason)
    return PeerClosed(event.code, event.reason)


def _hint_for(alert: AlertDescription, post_quantum: bool) -> str:
    if alert is AlertDescription.HANDSHAKE_FAILURE and post_quantum:
        return f"the peer probably has no post-quantum key exchange; {HINT_PREFER}"
    if alert is AlertDescription.HANDSHAKE_FAILURE:
        return "the peer probably requires a post-quantum key exchange (`--policy require`)"
    if alert in (AlertDescription.CERTIFICATE_REQUIRED, AlertDescription.BAD_CERTIFICATE):
        return "the peer did not accept our certificate"
    return ""
