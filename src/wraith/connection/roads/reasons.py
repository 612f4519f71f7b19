"""Why a road failed: one word for each reason, and the evidence beside it.

A reason says what was seen, never who is to blame. Nothing here ends a session: whatever the
network says of itself is a hint, which hurries the next road.

Spec: docs/spec/roads.md §6 [RO-60]; docs/reference/roads.md says what to do about each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DETAIL_CHARS_MAX: Final = 64


class RoadReason(StrEnum):
    """The word for a failed road, as it stands in output and in events.

    The comment says what was seen, and in brackets the detail that belongs to it.
    """

    UDP_SILENT = "udp-silent"  # no answer to any hello
    UDP_BLOCKED = "udp-blocked"  # the same, and the peer saw none of them (how many)
    UDP_ONEWAY = "udp-oneway"  # the same, but the peer saw them: no answer comes back (how many)
    PORT_UNREACHABLE = "port-unreachable"  # ICMP: nothing listens there
    REFUSED = "refused"  # RST instead of a connection
    SYN_TIMEOUT = "syn-timeout"  # no answer to the SYN
    UNREACHABLE = "unreachable"  # no route, or ICMP says so
    RESET_AT_PREFACE = "reset-at-preface"  # RST after the first write of a plain link
    RESET_AT_CLIENTHELLO = "reset-at-clienthello"  # RST after the first write of TLS
    RESET_LATER = "reset-later"  # RST afterwards (bytes that had been exchanged)
    FROZEN = "frozen"  # the kernel sends again and again, nothing is acknowledged (bytes before)
    ACCEPTED_SILENT = "accepted-silent"  # connected, and never an answer
    TLS_UNTRUSTED = "tls-untrusted"  # the certificate is not trusted (its issuer)
    TLS_ALERT = "tls-alert"  # TLS ended with an alert, or does not speak TLS (the alert)
    HTTP_STATUS = "http-status"  # an HTTP answer other than 101 (the status)
    CAPTIVE_PORTAL = "captive-portal"  # a redirect or a 200 where 101 belongs (the status)
    NOT_UPGRADED = "not-upgraded"  # 101 that is no WebSocket, or an answer that is no HTTP
    WS_CLOSED = "ws-closed"  # a close frame (its code)
    PROXY_AUTH = "proxy-auth"  # the proxy wants a user and a password, or refuses them
    PROXY_REFUSED = "proxy-refused"  # the proxy does not connect (its status or code)
    NAME_UNKNOWN = "name-unknown"  # the name has no address
    MTU_HOLE = "mtu-hole"  # small packets arrive, large ones do not (bytes)
    POLICY = "policy"  # this side's own settings leave it out (what is missing)
    CLOSED = "closed"  # the peer has ended the link in good order
    BROKEN = "broken"  # what came on the link was changed on the way
    UNPROVEN = "unproven"  # nothing that proves a peer came in time


#: Reasons that are silence. All others are something that the network or the peer has said.
_SILENT: Final = frozenset(
    (
        RoadReason.UDP_SILENT,
        RoadReason.UDP_BLOCKED,
        RoadReason.UDP_ONEWAY,
        RoadReason.SYN_TIMEOUT,
        RoadReason.FROZEN,
        RoadReason.ACCEPTED_SILENT,
        RoadReason.MTU_HOLE,
    )
)
#: Asking again at once is no use: the answer depends on what people set up.
_FINAL: Final = frozenset((RoadReason.TLS_UNTRUSTED, RoadReason.PROXY_AUTH, RoadReason.POLICY))
#: What the number of a reason counts.
_UNITS: Final = {
    RoadReason.UDP_BLOCKED: " hellos",
    RoadReason.UDP_ONEWAY: " hellos",
    RoadReason.RESET_LATER: " bytes",
    RoadReason.FROZEN: " bytes",
    RoadReason.MTU_HOLE: " bytes",
}


@dataclass(frozen=True, slots=True)
class RoadFailure:
    """Why one attempt at a road failed.

    Attributes:
        reason: the word.
        detail: what was seen: a count of hellos or bytes, a status or code, the issuer of a
            certificate. Text may come from a stranger; ``str`` shows printable characters alone,
            64 at most. Never a secret.
    """

    reason: RoadReason
    detail: int | str | None = None

    @classmethod
    def from_text(cls, text: str) -> RoadFailure:
        """Inverse of ``str`` for what transports say of links; anything else is a reset."""
        word, _, rest = text.partition("(")
        try:
            reason = RoadReason(word)
        except ValueError:
            return cls(RoadReason.RESET_LATER, text)
        unit = _UNITS.get(reason, "")
        detail = rest.removesuffix(")").removesuffix(unit).removesuffix(unit[:-1])
        is_count = detail.isdecimal() and len(detail) <= DETAIL_CHARS_MAX
        return cls(reason, int(detail) if is_count else detail or None)

    @property
    def is_hard(self) -> bool:
        """Something said no, so nothing is gained by waiting: the next row starts at once.
        [RO-12]"""
        return self.reason not in _SILENT

    @property
    def is_final(self) -> bool:
        """The same ``connect()`` does not try this road again. [RO-16]"""
        return self.reason in _FINAL

    def __str__(self) -> str:
        """``refused``, ``http-status(403)``, ``reset-later(18231 bytes)``."""
        if self.detail is None:
            return self.reason.value
        if isinstance(self.detail, int):
            unit = _UNITS.get(self.reason, "")
            return f"{self.reason.value}({self.detail}{unit[:-1] if self.detail == 1 else unit})"
        shown = "".join(c for c in self.detail[:DETAIL_CHARS_MAX] if c.isprintable())
        return f"{self.reason.value}({shown})"
