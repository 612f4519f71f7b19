"""Connection ids by index: says which one is written and which ones are accepted.

Both sides derive every id from the session secret, so only an index moves. This file holds the
index rules and no keys but the id key it derives from.
Spec: docs/spec/connection.md [CN-30, CN-31].
"""

from __future__ import annotations

AHEAD_MAX = 7
ACCEPTED_MAX = 16


class CidIndices:
    """The shared index number of one session, as this side sees it."""

    __slots__ = ("confirmed", "received", "sent")

    def __init__(self) -> None:
        self.sent = 0  # what this side writes now
        self.received = 0  # highest in an authenticated packet of the peer
        self.confirmed = 0  # highest that the peer has acknowledged or used

    def accepted(self) -> tuple[int, int]:
        """Lowest and highest index to accept, inclusive. [CN-30]"""
        low = max(self.received - 1, 0)
        return low, min(self.sent + AHEAD_MAX, low + ACCEPTED_MAX - 1)

    def advance(self) -> bool:
        """A voluntary path change, or the driver's first packet of an epoch. False at the bound:
        the last index is used again (reachable comes before unlinkable). [CN-31]"""
        target = max(self.sent, self.received) + 1
        if target > self.confirmed + AHEAD_MAX:
            return False
        self.sent = target
        return True

    def on_received(self, index: int) -> bool:
        """An index in an authenticated packet; true when the accepted ones have changed."""
        if index <= self.received:
            return False
        self.received = index
        self.confirmed = max(self.confirmed, index)
        self.sent = max(self.sent, index)
        return True

    def on_acked(self, index: int) -> None:
        """The peer acknowledged a packet that carried ``index``."""
        self.confirmed = max(self.confirmed, index)
