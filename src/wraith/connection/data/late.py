"""What was declared lost is remembered for a while, in ranges and never per packet, so that an
acknowledgement of it is understood: it was only late. Keeps accounts; ``recovery.py`` asks and
decides. Spec: docs/spec/recovery.md [RC-30 to RC-36].
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from math import inf
from operator import itemgetter
from typing import NamedTuple

from wraith.connection.data.sent import SentRun, SentSlice
from wraith.connection.paths.open_path import Path
from wraith.connection.paths.reordering import Reduction

LATE_RANGES_MAX = 4_096
STEPS_MAX = 8
"""A longer list is searched: else an acknowledgement could cost thousands of steps."""


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
    """Remembers what was declared lost until it is acknowledged after all or its time is over.

    Each epoch's ranges ascend in number. Of one path they ascend in time too, for losses are
    declared in the order of sending. At most ``LATE_RANGES_MAX`` ranges over all epochs; the
    oldest go first. [RC-30]
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
        entries = self._epochs.setdefault(run.epoch, [])
        if entries and entries[-1].first_pn > first_pn:
            insort(entries, entry, key=_first_pn)  # another path was quicker to lose later ones
        else:
            entries.append(entry)
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

    def forget_path(self, path: Path) -> None:
        for epoch, entries in list(self._epochs.items()):
            kept = [entry for entry in entries if entry.run.path is not path]
            self.n_ranges -= len(entries) - len(kept)
            if kept:
                self._epochs[epoch] = kept
            else:
                del self._epochs[epoch]

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
