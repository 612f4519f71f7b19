"""Why a connection ended: from the packet layer's close to the error that its owner sees.

Must not hold state. The order of the questions matters: a close by the application is not an alert,
and an idle timeout has no code of its own. Spec: libp2p-quic section 5; RFC 9000 §20.
"""

from __future__ import annotations

from wraith.errors import ConnectFailed, ConnectionLost, PeerClosed, PeerKeyMismatch, WraithError
from wraith.libp2p import quic
from wraith.libp2p.codes import Libp2pCode, code_words
from wraith.libp2p.config import PqPolicy
from wraith.libp2p.tls.alerts import (
    AlertDescription,
    TlsAlert,
    WrongPeerAlert,
    alert_of_close_code,
)
from wraith.libp2p.tls.server import HINT_PREFER

HINT_PRIVATE_ELSEWHERE = (
    "`--policy private` is a closed profile: the peer must be told the same, and no standard peer "
    "accepts its extension"
)
_REFUSALS_OF_THE_PRIVATE_PROFILE = (
    AlertDescription.DECODE_ERROR,
    AlertDescription.UNEXPECTED_MESSAGE,
    AlertDescription.ILLEGAL_PARAMETER,
    AlertDescription.UNSUPPORTED_EXTENSION,
    AlertDescription.MISSING_EXTENSION,
    AlertDescription.HANDSHAKE_FAILURE,
    AlertDescription.NO_APPLICATION_PROTOCOL,
)
"""The alerts of stacks that meet 0xff01 with our body, our protocol name, or its absence."""
NOTHING_HEARD = "nothing was heard for too long"
"""The reason of a ``ConnectionLost`` that is an idle timeout."""
_IDLE_REASONS = ("Idle timeout", "idle timeout")


def own_refusal(alert: TlsAlert) -> WraithError:
    """Our engine refused. A wrong identity gets the error that says so [LQ-6]."""
    if isinstance(alert, WrongPeerAlert):
        return PeerKeyMismatch(str(alert))
    return alert


def peer_error(event: quic.Closing, *, handshaking: bool, policy: PqPolicy) -> WraithError | None:
    """The peer, or the network, ended the connection; ``None`` for a graceful end.

    Args:
        handshaking: it ended before the handshake did, which is never graceful.
        policy: what we offered, for the hint.
    """
    if event.code == Libp2pCode.NO_ERROR and not handshaking:
        return None
    if event.by_application:
        return PeerClosed(event.code, event.reason, words=code_words(event.code))
    if event.reason in _IDLE_REASONS:
        return ConnectionLost(NOTHING_HEARD)
    alert = alert_of_close_code(event.code)
    if alert is not None:
        return ConnectFailed(
            f"the peer refused the handshake: {alert.word}", hint=_hint_for(alert, policy)
        )
    if event.code == quic.INTERNAL_ERROR and event.reason.startswith("packet layer"):
        return ConnectionLost(event.reason)
    return PeerClosed(event.code, event.reason, words=code_words(event.code))


def _hint_for(alert: AlertDescription, policy: PqPolicy) -> str:
    if policy is PqPolicy.PRIVATE_EXT and alert in _REFUSALS_OF_THE_PRIVATE_PROFILE:
        return HINT_PRIVATE_ELSEWHERE
    if alert is AlertDescription.NO_APPLICATION_PROTOCOL:
        return "the peer is no libp2p host, or it runs the closed profile (`--policy private`)"
    if alert is AlertDescription.HANDSHAKE_FAILURE and policy.post_quantum:
        return f"the peer probably has no post-quantum key exchange; {HINT_PREFER}"
    if alert is AlertDescription.HANDSHAKE_FAILURE:
        return "the peer probably requires a post-quantum key exchange (`--policy require`)"
    if alert in (AlertDescription.CERTIFICATE_REQUIRED, AlertDescription.BAD_CERTIFICATE):
        return "the peer did not accept our certificate"
    return ""
