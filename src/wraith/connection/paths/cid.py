"""Connection ids by index: says which one is free and which ones are accepted.

Both sides derive every id from the session secret, so only an index moves. Every path has its own
index, written in both directions, so that an onlooker finds nothing in common between two paths.
Each side takes new ones of its own parity, so that both may take one at once. This file holds the
index rules and no keys.
Spec: docs/spec/connection.md [CN-30, CN-31].
"""

from __future__ import annotations

from wraith.types import Role

AHEAD_MAX = 7
ACCEPTED_MAX = 16


class CidIndices:
    """The index numbers of one session, as this side sees them."""

    __slots__ = ("_parity", "_silent", "confirmed", "highest")

    def __init__(self, role: Role) -> None:
        self._parity = 0 if role is Role.INITIATOR else 1
        #: The highest in use on any path, by either side.
        self.highest = 0
        #: The highest that the peer has acknowledged or used.
        self.confirmed = 0
        #: Taken by this side for paths that were never answered; at most ``AHEAD_MAX``.
        self._silent: set[int] = set()

    def accepted(self, lowest: int) -> tuple[int, int]:
        """Lowest and highest index to accept, inclusive. [CN-30]

        Args:
            lowest: the lowest index that the peer writes on any open path.
        """
        low = max(lowest - 1, 0)
        return low, min(self.highest + AHEAD_MAX, low + ACCEPTED_MAX - 1)

    def take(self) -> int | None:
        """A fresh index: for another path, or for the driver's first packet of an epoch. ``None``
        at the bound: the last one is used again (reachable comes before unlinkable). [CN-31]"""
        index = self.highest + 1
        if index & 1 != self._parity:
            index += 1
        if index > self.confirmed + AHEAD_MAX:
            return None
        self.highest = index
        return index

    def on_silent(self, index: int) -> None:
        """The path that ``index`` was taken for has gone without an answer."""
        if index > self.confirmed and index & 1 == self._parity:
            self._silent.add(index)

    def take_silent(self) -> int | None:
        """The index of a try that went unanswered, for the next one: tries may be many. ``None``:
        there is none, or the peer has seen a higher one and would take the path for another."""
        index = max(self._silent, default=0)
        self._silent.discard(index)
        return index if index > self.confirmed else None

    def on_received(self, index: int) -> None:
        """An index in an authenticated packet of the peer."""
        self.confirmed = max(self.confirmed, index)
        self.highest = max(self.highest, index)

    def on_acked(self, index: int) -> None:
        """The peer acknowledged a packet that carried ``index``."""
        self.confirmed = max(self.confirmed, index)
