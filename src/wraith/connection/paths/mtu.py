"""How large the datagrams of a path may be: the probing of RFC 8899.

Sends nothing: it says what is due. Spec: docs/spec/connection.md [CN-36, CN-37].
"""

from __future__ import annotations

BASE_DATAGRAM_BYTES = 1_200
MTU_PROBES_MAX = 3
MTU_STEP_MIN = 16
MTU_RAISE_S = 600.0
BLACK_HOLE_LOSSES = 4
"""So often in a row large datagrams are found lost, with none acknowledged, until the path is held
to carry small ones only."""
MTU_IDLE_S = 0.25
"""So long the search waits for the application's first data; many sessions end before."""
ETHERNET_BYTES = 1_500
"""What most links carry: the first size to be probed is this less what the carrier adds."""


class MtuSearch:
    """Finds the largest datagram that crosses the path, between ``current`` and ``ceiling``.

    Nothing is due before ``begins_at`` (monotonic seconds) unless ``begin`` comes first. The first
    probe goes for what Ethernet carries beside ``overhead_bytes``, the next for the local ceiling;
    then the interval is halved. A size is given up after three lost probes.
    """

    __slots__ = (
        "_failed",
        "_is_pinned",
        "_usual",
        "ceiling",
        "current",
        "is_begun",
        "n_large_losses",
        "n_lost",
        "next_time",
        "probing",
    )

    def __init__(
        self, base: int, ceiling: int, *, overhead_bytes: int, pinned: bool, begins_at: float = 0.0
    ) -> None:
        self._usual = ETHERNET_BYTES - overhead_bytes
        self._is_pinned = pinned
        self.current = base
        self.ceiling = base if pinned else max(ceiling, base)
        self._failed = self.ceiling + 1  # smallest size known not to pass
        self.probing = 0
        self.n_lost = 0
        #: In a row, and with no datagram above the base acknowledged since.
        self.n_large_losses = 0
        self.next_time: float | None = None if pinned or ceiling <= base else begins_at
        self.is_begun = self.next_time is None

    def begin(self, now: float) -> None:
        """There is something to send: the search begins now if it has not yet."""
        if not self.is_begun:
            self.is_begun = True
            self._schedule(now)

    def due(self, now: float) -> int:
        """The size to probe now; 0 if no probe is due."""
        if self.next_time is None or self.probing or now < self.next_time:
            return 0
        return self._candidate()

    def _candidate(self) -> int:
        top = self._failed - 1
        if top <= self.current:
            return 0
        if self.current < self._usual <= top:
            return self._usual
        if top == self.ceiling:
            return top
        if self._failed - self.current <= MTU_STEP_MIN:
            return 0
        return (self.current + self._failed) // 2

    def on_sent(self, size: int) -> None:
        self.is_begun = True
        self.probing = size

    def on_acked(self, size: int, now: float) -> bool:
        """A probe of ``size`` has arrived; true: ``current`` has grown."""
        if size != self.probing:
            return False  # given up meanwhile
        grown = self.probing > self.current
        self.current = max(self.current, self.probing)
        self.probing = 0
        self.n_lost = 0
        self._schedule(now)
        return grown

    def on_lost(self, size: int, now: float) -> None:
        if size != self.probing:
            return
        self.probing = 0
        self.n_lost += 1
        if self.n_lost >= MTU_PROBES_MAX:
            self._failed = min(self._failed, size)
            self.n_lost = 0
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        if self._candidate():
            self.next_time = now
        else:
            self._failed = self.ceiling + 1
            raises = self.current < self.ceiling and not self._is_pinned
            self.next_time = now + MTU_RAISE_S if raises else None

    def on_refused(self, size: int, now: float) -> None:
        """This host's own network does not take ``size``: no need to try that again. [CN-37]"""
        self._failed = max(min(self._failed, size), self.current + 1)
        if self.probing >= self._failed:
            self.probing = 0
        self.n_lost = 0
        self._schedule(now)

    def on_large_lost(self, now: float) -> bool:
        """Datagrams above the base were found lost, however many at once. True if the path has now
        fallen back to the base: it answers, but what is large no longer arrives. [CN-36]"""
        self.n_large_losses += 1
        return self.n_large_losses >= BLACK_HOLE_LOSSES and self.on_black_hole(now)

    def on_black_hole(self, now: float) -> bool:
        """Nothing of the present size gets through: back to the base. True if that is smaller."""
        if self._is_pinned or self.current <= BASE_DATAGRAM_BYTES:
            return False
        self._failed = self.current
        self.current = BASE_DATAGRAM_BYTES
        self.probing = 0
        self.n_lost = self.n_large_losses = 0
        self.next_time = now + MTU_RAISE_S
        return True

    def restart(self, now: float) -> None:
        """A new path, or one that works again after an outage: search anew."""
        self._failed = self.ceiling + 1
        self.n_lost = 0
        self._schedule(now)
