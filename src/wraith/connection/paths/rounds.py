"""What became of the bytes of one round trip, and how much of the loss is not ours.

A round is what was sent between two moments that lie one round trip apart. It is judged when the
round after it ends: by then its bytes have arrived or count as lost.

The loss floor is the share of datagrams that the path loses whatever we do. It is measured in
rounds in which we cannot be the cause, because they send little and their round-trip time is that
of an empty queue. Spec: docs/spec/recovery.md [RC-53].
"""

from __future__ import annotations

from collections import deque
from statistics import mean, median
from typing import Final

from wraith.connection.paths.congestion import AckSample

ROUNDS_KEPT: Final = 4
RTTS_KEPT: Final = 64
QUIET_SHARE: Final = 0.75
"""A round is quiet if it sends at most this share of what the rounds before it delivered."""
FLOOR_PACKETS: Final = 400
FLOOR_WINDOWS: Final = 3
FLOOR_MAX: Final = 0.25
FLOOR_LIFE_S: Final = 15.0


class Round:
    """One round, by the bytes that were sent in it.

    Attributes:
        start_s: the first byte left not before that.
        is_full: it was sent at the rate of the path, neither less nor more.
    """

    __slots__ = (
        "acked_bytes",
        "is_full",
        "lost_bytes",
        "rtts",
        "sent_bytes",
        "start_s",
    )

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.is_full = False
        self.sent_bytes = self.acked_bytes = self.lost_bytes = 0
        self.rtts: list[float] = []

    @property
    def settled_bytes(self) -> int:
        """What has arrived or counts as lost."""
        return self.acked_bytes + self.lost_bytes

    @property
    def loss(self) -> float:
        """The share of it that counts as lost, 0 … 1."""
        return self.lost_bytes / self.settled_bytes if self.lost_bytes else 0.0

    @property
    def rtt_s(self) -> float:
        """The median round-trip time of it; 0 if there is none."""
        return median(self.rtts) if self.rtts else 0.0


class Rounds:
    """Sorts what is sent, acknowledged and lost into rounds."""

    __slots__ = ("_end", "_rounds")

    def __init__(self) -> None:
        #: The newest last.
        self._rounds: deque[Round] = deque([Round(0.0)], maxlen=ROUNDS_KEPT)
        self._end = 0

    @property
    def current(self) -> Round:
        """What is being sent now."""
        return self._rounds[-1]

    def of(self, sent_time: float) -> Round:
        """The round that was being sent then, or the oldest that is known."""
        for one in reversed(self._rounds):
            if one.start_s <= sent_time:
                return one
        return self._rounds[0]

    @property
    def settled(self) -> Round | None:
        """The round whose bytes have all arrived or count as lost: that before the last."""
        return self._rounds[-3] if len(self._rounds) > 2 else None

    def advance(self, ack: AckSample) -> bool:
        """True: ``ack`` is of a datagram that left in the present round, which ends by that, and
        another one begins."""
        if ack.counter < self._end:
            return False
        self._end = ack.next_counter
        self._rounds.append(Round(ack.now))
        return True


class LossFloor:
    """The share of loss that is not ours."""

    __slots__ = ("_full", "_n_lost", "_n_packets", "_until", "_windows")

    def __init__(self) -> None:
        self._windows: deque[float] = deque(maxlen=FLOOR_WINDOWS)
        #: What the last rounds at the full rate delivered.
        self._full: deque[int] = deque(maxlen=3)
        self._n_packets = self._n_lost = 0.0
        self._until = 0.0

    def value(self, now: float) -> float:
        """The floor, 0 … 0.25. 0: none was measured of late."""
        if self._windows and now > self._until:
            self._windows.clear()
        return min(min(self._windows), FLOOR_MAX) if self._windows else 0.0

    @property
    def is_known(self) -> bool:
        return bool(self._windows)

    def take(self, settled: Round, datagram_bytes: int, *, rtt_most_s: float, now: float) -> None:
        """Counts a settled round if it was quiet: it sent little, and its round-trip time was at
        most ``rtt_most_s``."""
        if settled.is_full:
            self._full.append(settled.acked_bytes)
            return
        if not self._full or not settled.rtts or settled.rtt_s > rtt_most_s:
            return
        if settled.sent_bytes > QUIET_SHARE * mean(self._full):
            return
        self._n_packets += settled.settled_bytes / datagram_bytes
        self._n_lost += settled.lost_bytes / datagram_bytes
        if self._n_packets >= FLOOR_PACKETS:
            self._windows.append(self._n_lost / self._n_packets)
            self._n_packets = self._n_lost = 0.0
            self._until = now + FLOOR_LIFE_S
