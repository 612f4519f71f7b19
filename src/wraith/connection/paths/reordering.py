"""How far a packet may lag behind later ones of its path before it counts as lost (RFC 9002 §6.1,
RFC 8985), and what the last reduction of the window answered.

Both only keep accounts: ``recovery.py`` asks and decides.
Spec: docs/spec/recovery.md [RC-31 to RC-34].
"""

from __future__ import annotations

from dataclasses import dataclass

PACKET_THRESHOLD = 3
TIME_SHARE = 1 / 8
TIME_SHARE_MAX = 1.0
SHRINK_ROUNDS = 16
SHRINK_DIVISOR = 16


class ReorderWindow:
    """The lag that a packet may have: in packets that were sent after it, and in time.

    ``packets``: a packet is lost when one sent so many later is acknowledged. ``time_share``: or
    when this part of a round trip, beyond the round trip itself, has passed since it was sent.
    """

    __slots__ = ("_n_quiet_rounds", "_round_end", "packets", "time_share")

    def __init__(self) -> None:
        self.packets = PACKET_THRESHOLD
        self.time_share = TIME_SHARE
        self._round_end = 0
        self._n_quiet_rounds = 0

    @property
    def is_raised(self) -> bool:
        return self.packets > PACKET_THRESHOLD or self.time_share > TIME_SHARE

    def on_late(self, distance: int, time_share: float) -> None:
        """A packet that counted as lost was ``distance`` packets behind, and later than a round
        trip by ``time_share`` of one: from now on that is waited for. [RC-31]"""
        self.packets = max(self.packets, distance + 1)
        self.time_share = min(max(self.time_share, time_share), TIME_SHARE_MAX)
        self._n_quiet_rounds = 0

    def on_ack(self, counter: int, next_counter: int) -> None:
        """Counts round trips: ``counter`` is the newest datagram acknowledged, ``next_counter``
        the one that is sent next. [RC-32]"""
        if counter < self._round_end:
            return
        self._round_end = next_counter
        if not self.is_raised:
            return
        self._n_quiet_rounds += 1
        if self._n_quiet_rounds >= SHRINK_ROUNDS:
            self._n_quiet_rounds = 0
            step = max(self.packets // SHRINK_DIVISOR, 1)
            self.packets = max(self.packets - step, PACKET_THRESHOLD)
            self.time_share = max(self.time_share * (1 - 1 / SHRINK_DIVISOR), TIME_SHARE)


@dataclass(slots=True, eq=False)
class Reduction:
    """The losses that one reduction of the window answers and that have not proved late."""

    n_lost: int = 0
