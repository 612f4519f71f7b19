"""Packets that come late are not lost: how long to wait, and what to do when the wait was short.

``ReorderWindow`` says how far a packet may lag behind later ones before it counts as lost (RFC 9002
§6.1, RFC 8985). ``LateLedger`` remembers for a while what was declared lost, in ranges and never
per packet, so that an acknowledgement of it is understood. Both only keep accounts: ``recovery.py``
asks and decides. Spec: docs/spec/recovery.md [RC-30 to RC-34].
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from operator import itemgetter
from typing import NamedTuple

from wraith.connection.data.sent import SentRun, SentSlice

PACKET_THRESHOLD = 3
TIME_SHARE = 1 / 8
TIME_SHARE_MAX = 1.0
SHRINK_ROUNDS = 16
SHRINK_DIVISOR = 16
LATE_RANGES_MAX = 4_096
STEPS_MAX = 8
"""A longer list is searched: else an acknowledgement could cost thousands of steps."""


class ReorderWindow:
    """How late a packet may be: in packets that were sent after it, and in time.

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


class LostRange(NamedTuple):
    """Datagrams with consecutive numbers of one run that count as lost; without ``reduction`` they
    were under way to an address that the peer has left."""

    first_pn: int
    last_pn: int
    run: SentRun
    expires_at: float
    reduction: Reduction | None

    def piece(self) -> SentSlice:
        start = self.run.first_pn
        return SentSlice(self.run, self.first_pn - start, self.last_pn - start)


_first_pn = itemgetter(0)


class LateLedger:
    """What was declared lost, until it is acknowledged after all or its time is over.

    Losses are declared in the order of sending, so each epoch's ranges ascend, in number and in
    time. At most ``LATE_RANGES_MAX`` ranges over all epochs; the oldest go first. [RC-30]
    """

    __slots__ = ("_epochs", "_expires_at", "n_ranges")

    def __init__(self) -> None:
        self._epochs: dict[int, list[LostRange]] = {}
        self._expires_at = inf  # when the first range goes, or before
        #: How many ranges are remembered.
        self.n_ranges = 0

    def add(self, piece: SentSlice, expires_at: float, reduction: Reduction | None) -> None:
        run = piece.run
        first_pn, last_pn = run.first_pn + piece.first, run.first_pn + piece.last
        self._expires_at = min(self._expires_at, expires_at) if self.n_ranges else expires_at
        entry = LostRange(first_pn, last_pn, run, expires_at, reduction)
        self._epochs.setdefault(run.epoch, []).append(entry)
        self.n_ranges += 1
        self._limit()

    def take(self, epoch: int, ranges: Sequence[tuple[int, int]], now: float) -> list[LostRange]:
        """Removes and returns what ``ranges`` (highest first) acknowledge of it. On a lossy path
        this runs for every acknowledgement and finds nothing."""
        if now >= self._expires_at:
            self._expire(now)
        late: list[LostRange] = []
        entries = self._epochs.get(epoch)
        if not entries:
            return late
        at = len(entries) - 1
        lost_first, lost_last = entries[at][:2]
        for first, last in ranges:
            while lost_last >= first:
                if lost_first <= last:
                    self._split(entries, at, first, last, late)
                    if lost_first < first:  # what is left of it below belongs to the next range
                        lost_last = first - 1
                        break
                    at -= 1
                elif at > STEPS_MAX:
                    at = bisect_right(entries, last, 0, at, key=_first_pn) - 1
                else:
                    at -= 1
                if at < 0:
                    self._limit()
                    return late
                lost_first, lost_last = entries[at][:2]
        self._limit()
        return late

    def _split(
        self, entries: list[LostRange], at: int, first: int, last: int, late: list[LostRange]
    ) -> None:
        """Moves ``first`` … ``last`` of one entry to ``late``; what lies around it stays."""
        entry = entries[at]
        low, high = max(entry.first_pn, first), min(entry.last_pn, last)
        late.append(entry._replace(first_pn=low, last_pn=high))
        rest = []
        if entry.first_pn < low:
            rest.append(entry._replace(last_pn=low - 1))
        if high < entry.last_pn:
            rest.append(entry._replace(first_pn=high + 1))
        entries[at : at + 1] = rest
        self.n_ranges += len(rest) - 1

    def forget_epoch(self, epoch: int) -> None:
        self.n_ranges -= len(self._epochs.pop(epoch, ()))

    def clear(self) -> None:
        self._epochs.clear()
        self.n_ranges = 0

    def _expire(self, now: float) -> None:
        self._expires_at = inf
        for epoch, entries in list(self._epochs.items()):
            n = 0
            for entry in entries:
                if entry.expires_at > now:
                    self._expires_at = min(self._expires_at, entry.expires_at)
                    break
                n += 1
            self._drop(epoch, entries, n)

    def _limit(self) -> None:
        while self.n_ranges > LATE_RANGES_MAX:
            epoch, entries = next(iter(self._epochs.items()))
            self._drop(epoch, entries, min(self.n_ranges - LATE_RANGES_MAX, len(entries)))

    def _drop(self, epoch: int, entries: list[LostRange], n: int) -> None:
        """Forgets the ``n`` oldest ranges of ``epoch``."""
        del entries[:n]
        self.n_ranges -= n
        if not entries:
            del self._epochs[epoch]
