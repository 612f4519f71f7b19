"""Says what to do about a road that failed, in one line; docs/reference/roads.md says more."""

from __future__ import annotations

from typing import Final

from wraith.connection.roads.reasons import RoadReason
from wraith.types import Carrier

_TO_DO: Final[dict[RoadReason, str]] = {
    RoadReason.UDP_SILENT: "see that the other side waits, and that UDP gets through to its port",
    RoadReason.UDP_BLOCKED: "allow outgoing UDP on this network, or stay with TCP",
    RoadReason.UDP_ONEWAY: "allow the answers over UDP in the firewall on this side",
    RoadReason.PORT_UNREACHABLE: "nothing listens at that port: ask for a new code",
    RoadReason.REFUSED: "the other side does not listen there, or a firewall rejects it",
    RoadReason.SYN_TIMEOUT: "a firewall drops it: try another network, or let the other side dial",
    RoadReason.UNREACHABLE: "this host has no route there: nothing to do if another road works",
    RoadReason.RESET_AT_PREFACE: "unknown protocols are not let through here: use wss://",
    RoadReason.RESET_AT_CLIENTHELLO: "this network blocks the name of that server",
    RoadReason.RESET_LATER: "something on the way cuts connections: another road is better",
    RoadReason.FROZEN: "something on the way stops unknown protocols: use wss://",
    RoadReason.ACCEPTED_SILENT: "a firewall or proxy answers in its place, or the code is old",
    RoadReason.TLS_UNTRUSTED: "somebody may read along on this network: do not use this road",
    RoadReason.TLS_ALERT: "see that TLS is spoken where the URL begins with wss://",
    RoadReason.HTTP_STATUS: "404: the path, the code or a clock is wrong; 502: nobody waits there",
    RoadReason.CAPTIVE_PORTAL: "sign in to this network with a browser first",
    RoadReason.NOT_UPGRADED: "a proxy on the way does not know WebSocket",
    RoadReason.WS_CLOSED: "1001: the server ended; 1009: large messages are refused on the way",
    RoadReason.PROXY_AUTH: "give the proxy a user and a password: HTTPS_PROXY, or --proxy",
    RoadReason.PROXY_REFUSED: "most proxies allow port 443 alone: let the other side listen there",
    RoadReason.NAME_UNKNOWN: "a misspelt host, or no DNS on this network",
    RoadReason.MTU_HOLE: "a tunnel on the way drops large packets: another road is better",
    RoadReason.POLICY: "settings of this side leave it out, or an optional part is missing",
    RoadReason.CLOSED: "the other side has ended it: see that it still waits",
    RoadReason.BROKEN: "something on the way changes what it does not know: use wss://",
    RoadReason.UNPROVEN: "a firewall or proxy answers in its place, or the code is old",
}

#: What means something else on a road over QUIC.
_TO_DO_OVER_QUIC: Final[dict[RoadReason, str]] = {
    RoadReason.TLS_ALERT: "the two agree on no key exchange: update the older side",
    RoadReason.NOT_UPGRADED: "another QUIC server has that port: ask for a new code",
}


def to_do(carrier: Carrier, reason: RoadReason) -> str:
    """Says what to do about a road over ``carrier`` that failed for ``reason``."""
    if carrier is Carrier.QUIC and reason in _TO_DO_OVER_QUIC:
        return _TO_DO_OVER_QUIC[reason]
    return _TO_DO[reason]
