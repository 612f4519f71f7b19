"""What went over which carrier in one transfer: for how long, and how many bytes.

Bytes are content that the receiver has verified meanwhile, so what was on its way at a switch
counts for the carrier that brought it the second time.

Behaviour: docs/reference/json-events.md, ``done``.
"""

from __future__ import annotations

from wraith.aio.files.events import RoadUse
from wraith.types import Carrier


class RoadUses:
    """Counts. ``mark`` is how much the receiver has, which only grows while a carrier is used."""

    def __init__(self) -> None:
        self.carrier: Carrier | None = None
        self._since = 0.0
        self._mark = 0
        #: Seconds and bytes, in the order of first use.
        self._totals: dict[Carrier, tuple[float, int]] = {}

    def use(self, carrier: Carrier | None, now: float, mark: int) -> None:
        """From ``now`` on it is ``carrier``; ``None``: nothing."""
        if self.carrier is not None:
            seconds, n_bytes = self._totals.get(self.carrier, (0.0, 0))
            more = max(0, mark - self._mark)
            self._totals[self.carrier] = (seconds + now - self._since, n_bytes + more)
        self.carrier, self._since, self._mark = carrier, now, mark

    def begins_at(self, mark: int) -> None:
        """So much is there already: nobody brings it."""
        self._mark = mark

    def finished(self, now: float, mark: int) -> tuple[RoadUse, ...]:
        """All of it up to now; the count begins anew."""
        self.use(self.carrier, now, mark)
        totals, self._totals = self._totals, {}
        return tuple(
            RoadUse(carrier.name.lower(), round(seconds, 3), n_bytes)
            for carrier, (seconds, n_bytes) in totals.items()
        )
