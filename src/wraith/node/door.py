"""Decides who may come in: the identities that were asked for, the receiver that the code belongs
to, or anybody while nobody has accepted yet.

Spec: docs/spec/transfer.md §10 [TR-91, TR-92].
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto

from wraith.types import PeerKey

UNDECIDED_MAX = 4
"""Receivers that may look at an offer at the same time before one accepts."""


class Verdict(Enum):
    WELCOME = auto()
    NOT_ASKED_FOR = auto()
    BUSY = auto()


class Door:
    """One transfer's. ``bound`` is the receiver that has accepted; at a receiver, the sender whose
    offer was accepted."""

    def __init__(
        self,
        *,
        receives: bool,
        expected: Collection[PeerKey] | None,
        bound: PeerKey | None,
    ) -> None:
        self.bound = bound
        self._receives = receives
        self._expected = expected

    def is_expected(self, peer: PeerKey | None) -> bool:
        """It is one that was asked for, or none was. [TR-91]"""
        return self._expected is None or peer in self._expected

    def judge(self, peer: PeerKey | None, inside: Collection[PeerKey | None]) -> Verdict:
        """About someone who has proved to be ``peer``, while those of ``inside`` are in."""
        if not self.is_expected(peer):
            return Verdict.NOT_ASKED_FOR
        return Verdict.BUSY if self._is_taken(peer, inside) else Verdict.WELCOME

    def _is_taken(self, peer: PeerKey | None, inside: Collection[PeerKey | None]) -> bool:
        n_others = sum(other != peer for other in inside)
        if self.bound is not None and self.bound != peer:
            return True
        if self._receives:
            return n_others > 0
        return self.bound is None and n_others >= UNDECIDED_MAX
