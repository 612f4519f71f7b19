"""Who looks at the roads of this endpoint and wants nothing else.

A visit is a session whose initiator takes no streams and no stream bytes: nobody could offer it
anything. It has proved the access key, is never shown to the application, and ends by itself. It
costs what a session costs, so there are few.

Spec: docs/spec/roads.md §6 [RO-66].
"""

from __future__ import annotations

from typing import Final

from wraith.connection.handshake.budget import prefix_of
from wraith.types import Address, PeerKey

STAY_S: Final = 20.0
AGAIN_S: Final = 10.0
SESSIONS_MAX: Final = 16
PREFIXES_MAX: Final = 64


class Visits:
    """One visitor, by its identity, of each prefix in 10 s, with at most 16 sessions."""

    __slots__ = ("_by_prefix",)

    def __init__(self) -> None:
        #: Who, until when nobody else may come, and with how many sessions he has come.
        self._by_prefix: dict[bytes, tuple[PeerKey, float, int]] = {}

    def admit(self, remote: Address, peer: PeerKey | None, now: float) -> bool:
        """Whether ``peer`` may look round now."""
        if peer is None:
            return False
        prefix = prefix_of(remote)
        visitor, until, n_sessions = self._by_prefix.get(prefix, (peer, now, 0))
        if until <= now:
            visitor, until, n_sessions = peer, now + AGAIN_S, 0
            self._forget_old(now)
        if visitor != peer or n_sessions >= SESSIONS_MAX or self._is_full(prefix):
            return False
        self._by_prefix[prefix] = visitor, until, n_sessions + 1
        return True

    def _is_full(self, prefix: bytes) -> bool:
        return prefix not in self._by_prefix and len(self._by_prefix) >= PREFIXES_MAX

    def _forget_old(self, now: float) -> None:
        for prefix in [p for p, (_, until, _) in self._by_prefix.items() if until <= now]:
            del self._by_prefix[prefix]
