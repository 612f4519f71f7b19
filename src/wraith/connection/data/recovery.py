"""Loss detection by runs (RFC 9002, docs/spec/recovery.md).

One record is kept per *run* (what one ``seal_run`` call put on the wire), never per packet; what
is acknowledged or lost comes back as slices of runs. Each epoch is a packet-number space of its
own and belongs to the parts. A run names its path: acknowledgements and losses go to that path's
estimates, controller and bytes in flight. Packets of a path are ordered across epochs by its send
counter, and both thresholds compare that counter, never numbers of different epochs or packets of
different paths. A link keeps the order: there a packet is lost if a later one is acknowledged and
it is not, and nothing else is a loss. What was declared lost is remembered for a while: if it is
acknowledged after all it was late, and both thresholds of its path grow (data/late.py,
paths/reordering.py).

This module decides what is lost and when to probe. It does not know streams or frames, and it
never sends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from wraith.connection.data.late import LateLedger, LostRange
from wraith.connection.data.sent import SentRun, SentSlice
from wraith.connection.paths.congestion import AckSample
from wraith.connection.paths.open_path import Path
from wraith.connection.paths.reordering import Reduction
from wraith.connection.paths.rtt import GRANULARITY_S
from wraith.errors import RemoteProtocolError

PERSISTENT_CONGESTION_PTOS = 3
SUSPECT_PTOS = 3
LATE_SRTTS = 2


class AckOutcome(NamedTuple):
    """``late`` was declared lost before, and has arrived. ``sampled`` is the path that has got a
    new round-trip time."""

    acked: list[SentSlice]
    late: list[SentSlice]
    lost: list[SentSlice]
    sampled: Path | None


class TimerOutcome(NamedTuple):
    lost: list[SentSlice]
    pto: bool


class Recovery:
    """Loss detector and ledger of what a session has sent, on whichever path."""

    __slots__ = ("_epochs", "_late", "_next_pn", "lost_packets", "sent_packets")

    def __init__(self) -> None:
        self.lost_packets = 0  # without those that proved late
        self.sent_packets = 0
        self._epochs: dict[int, list[SentRun]] = {}
        self._next_pn: dict[int, int] = {}
        self._late = LateLedger()

    def oldest(self, path: Path, n_max: int) -> SentSlice | None:
        """The oldest outstanding ack-eliciting datagrams of ``path``, at most ``n_max``: what a
        probe repeats. They stay outstanding."""
        best: SentRun | None = None
        for runs in self._epochs.values():
            for run in runs:
                if run.path is path and run.pending and run.eliciting and not run.mtu_probe:
                    if best is None or run.counter < best.counter:
                        best = run
                    break
        if best is None:
            return None
        first, last = best.pending[0]
        return SentSlice(best, first, min(last, first + n_max - 1))

    # -- inputs

    def leave(self, path: Path, successor: Path, now: float) -> list[SentSlice]:
        """The peer has moved: returns everything outstanding on ``path``, which was sent to where
        it is no longer. It is out of flight and no congestion signal, and gives neither a
        round-trip time nor window when it is acknowledged after all (RFC 9000 §9.4). [RC-36]

        ``successor`` is the path that acknowledgements come on from now on. If it is another one
        and not the same under a new address, what was declared lost before is forgotten. [RC-34]
        """
        if successor is not path:
            self._late.forget_path(path)
        left = [
            SentSlice(run, first, last)
            for runs in self._epochs.values()
            for run in runs
            if run.path is path
            for first, last in run.pending
        ]
        self._settle(left)
        self._epochs = {
            epoch: kept
            for epoch, runs in self._epochs.items()
            if (kept := [run for run in runs if run.path is not path])
        }
        path.loss_time = None
        path.pto_count = 0
        expires_at = self._late_until(successor, now)
        for piece in left:
            if not piece.run.mtu_probe:
                self._late.add(piece, expires_at, None)
        return left

    def on_unfollowed(self, epoch: int, pn: int) -> None:
        """A packet with number ``pn`` has left that is never followed up, on whatever path."""
        self._next_pn[epoch] = pn + 1
        self.sent_packets += 1

    def on_sent(self, run: SentRun) -> None:
        """Registers a run. Runs of one epoch come in order of packet number."""
        self._next_pn[run.epoch] = run.first_pn + run.n
        self.sent_packets += run.n
        if not run.eliciting:
            return  # never acknowledged by itself, never lost: only its numbers count
        n_bytes = run.slice_bytes(0, run.n - 1) if run.in_flight else 0
        run.counter = run.path.on_sent(run.n, n_bytes, run.datagram_bytes, run.time)
        path = run.path
        run.delivered_bytes, run.delivered_time = path.delivered_bytes, path.delivered_time
        run.first_sent_time = path.first_sent_time
        run.pending = [(0, run.n - 1)]
        self._epochs.setdefault(run.epoch, []).append(run)

    def on_ack(
        self,
        epoch: int,
        largest: int,
        ranges: Sequence[tuple[int, int]],
        ack_delay_s: float,
        now: float,
    ) -> AckOutcome:
        """Takes one ACK frame: ``ranges`` are inclusive ``(first, last)``, highest first.

        Raises:
            RemoteProtocolError: ``largest`` was never sent in this epoch.
        """
        if largest >= self._next_pn.get(epoch, 0):
            raise RemoteProtocolError("acknowledgement of a packet that was never sent")
        acked: list[SentSlice] = []
        runs = self._epochs.get(epoch)
        if runs:
            lowest = runs[0].first_pn
            for first, last in ranges:
                if last < lowest:
                    break  # what was acknowledged before is told again and again
                self._collect(runs, first, last, acked)
        late = self._on_late(epoch, ranges, now) if self._late.n_ranges else []
        if not acked:
            return AckOutcome(acked, late, [], None)
        by_path: dict[Path, list[SentSlice]] = {}
        for piece in acked:
            by_path.setdefault(piece.run.path, []).append(piece)
        sampled: Path | None = None
        lost: list[SentSlice] = []
        for path, pieces in by_path.items():
            if self._on_path_acked(path, pieces, largest, ack_delay_s, lost, now):
                sampled = path
            if path.traits.is_reliable:
                lost += self._detect_gaps(path, epoch, ranges, pieces)
        self._trim(epoch)
        return AckOutcome(acked, late, lost, sampled)

    def _on_path_acked(
        self,
        path: Path,
        acked: list[SentSlice],
        largest: int,
        ack_delay_s: float,
        lost: list[SentSlice],
        now: float,
    ) -> bool:
        """What one ACK frame says of one path; adds to ``lost``. True: the round-trip time is
        new."""
        newest = max(acked, key=lambda s: s.run.counter + s.last)
        newest_counter = newest.run.counter + newest.last
        path.largest_acked = max(path.largest_acked, newest_counter)
        rtt_updated = newest.run.first_pn + newest.last == largest
        if rtt_updated:
            path.rtt.update(now - newest.run.time, ack_delay_s, now)
        n_bytes = self._settle(acked)
        path.progress_time = now
        run = newest.run
        path.delivered_bytes += n_bytes
        path.delivered_time, path.first_sent_time = now, run.time
        path.pto_count = 0
        if path.traits.is_reliable:
            return rtt_updated
        interval_s = max(run.time - run.first_sent_time, now - run.delivered_time)
        path.reordering.on_ack(newest_counter, path.next_counter)
        lost += self._detect_lost(path, now)
        path.controller.on_ack(
            AckSample(
                n_bytes=n_bytes,
                sent_time=newest.run.time,
                counter=newest_counter,
                next_counter=path.next_counter,
                rtt=path.rtt.latest_rtt if rtt_updated else 0.0,
                srtt=path.rtt.srtt,
                app_limited=newest_counter >= path.window_used_at,
                now=now,
                delivered_bytes=path.delivered_bytes - run.delivered_bytes,
                interval_s=interval_s if interval_s >= path.rtt.min_rtt else 0.0,
                in_flight=path.bytes_in_flight,
            )
        )
        return rtt_updated

    def on_timer(self, path: Path, now: float) -> TimerOutcome:
        """Call when ``path.timer()`` is due. ``pto`` asks for one or two ack-eliciting probes."""
        if path.loss_time is not None:
            if now < path.loss_time:
                return TimerOutcome([], False)
            return TimerOutcome(self._detect_lost(path, now), False)
        due = path.timer()
        if due is None or now < due:
            return TimerOutcome([], False)
        path.pto_count += 1
        if not path.traits.is_reliable:
            path.last_eliciting_time = now  # the next back-off counts from this probe
        return TimerOutcome([], True)

    def forget_epoch(self, epoch: int) -> list[SentSlice]:
        """Everything still outstanding in ``epoch``, removed without a congestion signal: it is
        sent again under newer keys."""
        slices = [
            SentSlice(run, first, last)
            for run in self._epochs.pop(epoch, [])
            for first, last in run.pending
        ]
        self._settle(slices)
        self._late.forget_epoch(epoch)
        self._next_pn.pop(epoch, None)
        return slices

    # -- inner

    @staticmethod
    def _collect(runs: list[SentRun], first_pn: int, last_pn: int, out: list[SentSlice]) -> None:
        """Moves what is pending of ``first_pn`` … ``last_pn`` from ``runs`` to ``out``."""
        at = bisect_right(runs, first_pn, key=lambda run: run.first_pn) - 1
        at = max(at, 0)
        for i in range(at, len(runs)):
            run = runs[i]
            if run.first_pn > last_pn:
                break
            if not run.pending:
                continue
            first = max(first_pn - run.first_pn, 0)
            last = min(last_pn - run.first_pn, run.n - 1)
            if last < first:
                continue
            if len(run.pending) == 1:
                low, high = run.pending[0]
                if first <= low and high <= last:  # the common case: all that is left of the run
                    run.pending = []
                    out.append(SentSlice(run, low, high))
                    continue
            rest: list[tuple[int, int]] = []
            for low, high in run.pending:
                if high < first or low > last:
                    rest.append((low, high))
                    continue
                out.append(SentSlice(run, max(low, first), min(high, last)))
                if low < first:
                    rest.append((low, first - 1))
                if high > last:
                    rest.append((last + 1, high))
            run.pending = rest

    @staticmethod
    def _settle(slices: list[SentSlice]) -> int:
        """Takes ``slices`` off the accounts of their paths; returns their bytes that were in
        flight."""
        n_bytes = 0
        for run, first, last in slices:
            path = run.path
            path.n_eliciting -= last - first + 1
            if run.in_flight:
                in_flight = run.slice_bytes(first, last)
                path.bytes_in_flight -= in_flight
                n_bytes += in_flight
        return n_bytes

    def _detect_gaps(
        self,
        path: Path,
        epoch: int,
        ranges: Sequence[tuple[int, int]],
        acked: list[SentSlice],
    ) -> list[SentSlice]:
        """What ``ranges`` leave out on a link below the newest that they acknowledge there. The
        link has delivered it, and it did not open: a bit was flipped on the way, or its keys were
        gone. Below the lowest range the peer may have forgotten what it has. [RC-42]"""
        newest_pn = max(piece.run.first_pn + piece.last for piece in acked)
        lowest_pn = ranges[-1][0]
        gone: list[SentSlice] = []
        for run in self._epochs.get(epoch, ()):
            if run.path is path and run.pending and run.first_pn < newest_pn:
                self._collect([run], lowest_pn, newest_pn, gone)
        self._settle(gone)
        self.lost_packets += sum(piece.last - piece.first + 1 for piece in gone)
        return gone

    def _detect_lost(self, path: Path, now: float) -> list[SentSlice]:
        """Declares lost what either threshold says (RFC 9002 §6.1) and tells the controller. A
        reliable path loses nothing."""
        path.loss_time = None
        if path.largest_acked < 0 or path.traits.is_reliable:
            return []
        rtt_s = max(path.rtt.srtt, path.rtt.latest_rtt)
        delay = max((1 + path.reordering.time_share) * rtt_s, GRANULARITY_S)
        lost: list[SentSlice] = []
        for epoch, runs in self._epochs.items():
            for run in runs:
                if run.path is not path:
                    continue
                if run.counter >= path.largest_acked:
                    break
                if run.pending:
                    self._split_lost(run, run.time + delay, now, lost)
            self._trim(epoch)
        if lost:
            self._on_lost(path, lost, now)
        return lost

    @staticmethod
    def _split_lost(run: SentRun, due: float, now: float, lost: list[SentSlice]) -> None:
        """Moves the lost datagrams of ``run`` to ``lost``; notes when the rest may be lost."""
        path = run.path
        if due <= now:
            threshold = path.largest_acked - 1
        else:
            threshold = path.largest_acked - path.reordering.packets
        bound = threshold - run.counter  # datagrams up to this index are lost
        candidates = path.largest_acked - 1 - run.counter  # up to here the timer may take them
        rest: list[tuple[int, int]] = []
        for low, high in run.pending:
            kept = low
            if low <= bound:
                lost.append(SentSlice(run, low, min(high, bound)))
                if high <= bound:
                    continue
                kept = bound + 1
            rest.append((kept, high))
            if kept <= candidates and (path.loss_time is None or due < path.loss_time):
                path.loss_time = due
        run.pending = rest

    def _on_lost(self, path: Path, lost: list[SentSlice], now: float) -> None:
        self._settle(lost)
        lost.sort(key=lambda s: s.run.counter + s.first)
        congestive = [s for s in lost if s.run.in_flight and not s.run.mtu_probe]
        self.lost_packets += sum(s.last - s.first + 1 for s in lost if not s.run.mtu_probe)
        if not congestive:
            return
        newest = congestive[-1]
        n_bytes = sum(s.n_bytes for s in congestive)
        if path.controller.on_loss(n_bytes, newest.run.time, now, path.bytes_in_flight):
            path.reduction = Reduction()
        expires_at = self._late_until(path, now)
        for piece in congestive:
            path.reduction.n_lost += piece.last - piece.first + 1
            self._late.add(piece, expires_at, path.reduction)
        if self._is_persistent(path, congestive):
            path.controller.on_persistent()

    def _on_late(
        self, epoch: int, ranges: Sequence[tuple[int, int]], now: float
    ) -> list[SentSlice]:
        """What ``ranges`` acknowledge of what was declared lost: it was only late. The windows
        grow to that, and a reduction that answered nothing else is taken back. [RC-31] [RC-33]"""
        late = self._late.take(epoch, ranges, now)
        if not late:
            return []
        for entry in late:
            if entry.reduction is None:
                continue  # it says nothing about the path that was left [RC-36]
            self._allow_for(entry, now)
            n = entry.last_pn - entry.first_pn + 1
            self.lost_packets -= n
            entry.reduction.n_lost -= n
            if not entry.reduction.n_lost and entry.reduction is entry.run.path.reduction:
                entry.run.path.controller.on_spurious()
        return [entry.piece() for entry in late]

    @staticmethod
    def _allow_for(entry: LostRange, now: float) -> None:
        run, path = entry.run, entry.run.path
        distance = path.largest_acked - (run.counter + entry.first_pn - run.first_pn)
        rtt_s = max(path.rtt.srtt, path.rtt.latest_rtt)
        path.reordering.on_late(distance, (now - run.time) / rtt_s - 1)

    @staticmethod
    def _late_until(path: Path, now: float) -> float:
        """How long what counts as lost is remembered. [RC-30]"""
        return now + max(LATE_SRTTS * path.rtt.srtt, path.rtt.pto_s())

    @staticmethod
    def _is_persistent(path: Path, lost: list[SentSlice]) -> bool:
        """RFC 9002 §7.6: everything over three PTOs was lost, nothing between acknowledged."""
        first_sample_time = path.rtt.first_sample_time
        if first_sample_time is None:
            return False
        duration = PERSISTENT_CONGESTION_PTOS * path.rtt.pto_s()
        start: float | None = None
        expected = -1
        for piece in lost:
            begin = piece.run.counter + piece.first
            if piece.run.time <= first_sample_time:
                continue
            if start is None or begin != expected:
                start = piece.run.time
            expected = piece.run.counter + piece.last + 1
            if piece.run.time - start > duration:
                return True
        return False

    def _trim(self, epoch: int) -> None:
        """Drops settled runs at the head, so that memory follows what is outstanding."""
        runs = self._epochs.get(epoch)
        if runs is None:
            return
        n = 0
        for run in runs:
            if run.pending:
                break
            n += 1
        if n:
            del runs[:n]
