"""The outcome of a transfer: decided once, told after last words, which may take ``GRACE_S``.

Spec: docs/spec/transfer.md §6.
"""

from __future__ import annotations

from wraith.errors import WraithError
from wraith.node.events import Finished
from wraith.transfer.events import Done

GRACE_S = 2.0
"""How long last words (a receipt's answer, an abort) may take before the connection closes."""


class NodeOutcome:
    """Undecided, then decided, then told."""

    def __init__(self) -> None:
        self.is_told = False
        self.words_until: float | None = None
        """Decided, and last words are still under way."""
        self.receipt_until: float | None = None
        """All is in its place; only the sender's answer to the receipt is waited for."""
        self._done: Done | None = None
        self._error: WraithError | None = None

    @property
    def is_decided(self) -> bool:
        return self.is_told or self.words_until is not None

    def decide(self, done: Done | None, error: WraithError | None, now: float) -> None:
        """Raises nothing: who decides first has decided."""
        if self.is_decided:
            return
        self._done, self._error = done, error
        self.receipt_until = None
        self.words_until = now + GRACE_S

    def tell(self) -> Finished:
        self.words_until = None
        self.is_told = True
        return Finished(self._done, self._error)
