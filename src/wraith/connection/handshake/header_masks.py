"""This endpoint's own header-mask keys: given to authorised peers, used to find their packets.

One key per process, replaced every 24 hours; the one before stays good for lookups for 24 more.
Spec: handshake.md [HS-42].
"""

from __future__ import annotations

from wraith.abc import Rng
from wraith.connection.deadlines import Deadline

HMK_BYTES = 32
ROTATION_S = 24 * 3600.0


class HeaderMaskKeys(Deadline):
    """The current key first, then the previous one, if any."""

    __slots__ = ("live", "_rng", "_rotates_at")

    def __init__(self, rng: Rng, now: float) -> None:
        super().__init__()
        self._rng = rng
        self.live: tuple[bytes, ...] = (rng.secret_bytes(HMK_BYTES),)
        self._rotates_at = now + ROTATION_S

    def next_time(self) -> float:
        return self._rotates_at

    def on_timer(self, now: float) -> None:
        """Makes a new key when it is time."""
        if now >= self._rotates_at:
            self.live = (self._rng.secret_bytes(HMK_BYTES), self.live[0])
            self._rotates_at = now + ROTATION_S
