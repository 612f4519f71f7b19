"""Loss detection and round-trip time, by runs (RFC 9002, docs/spec/recovery.md).

One record is kept per *run* (what one ``seal_run`` call put on the wire), never per packet; what
is acknowledged or lost comes back as slices of runs. Each epoch is a packet-number space of its
own, but packets are ordered across epochs by a send counter, and both thresholds compare that
counter, never numbers of different epochs. What was declared lost is remembered for a while: if it
is acknowledged after all it was late, and both thresholds grow (data/reordering.py).

This module decides what is lost and when to probe. It does not know streams or frames, and it
never sends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from wraith.connection.data.reordering import LateLedger, LostRange, Reduction, ReorderWindow
from wraith.connection.data.sent import SentRun, SentSlice
from wraith.connection.paths.congestion import AckSample, CongestionController
from wraith.errors import RemoteProtocolError

GRANULARITY_S = 0.001
PERSISTENT_CONGESTION_PTOS = 3
PTO_MAX_S = 5.0
SUSPECT_PTOS = 3
LATE_SRTTS = 2
ROOM_QUANTUM_BYTES = 65_536


class AckOutcome(NamedTuple):
    """``late`` was declared lost before, and has arrived."""

    acked: list[SentSlice]
    late: list[SentSlice]
    lost: list[SentSlice]
    rtt_updated: bool


class TimerOutcome(NamedTuple):
    lost: list[SentSlice]
    pto: bool


class Recovery:
    """RTT estimator, loss detector and the ledger of bytes in flight of one path.

    Args:
        controller: told about acknowledgements and losses, asked for its window.
        initial_rtt_s: used until the first sample.
        max_ack_delay_s: the peer's promise; enters the PTO and caps reported delays.
    """

    __slots__ = (
        "_epochs",
        "_first_sample_time",
        "_largest_acked",
        "_last_eliciting_time",
        "_late",
        "_loss_time",
        "_n_eliciting",
        "_next_counter",
        "_next_pn",
        "_reduction",
        "_window_used_at",
        "bytes_in_flight",
        "controller",
        "initial_rtt_s",
        "latest_rtt",
        "lost_packets",
        "max_ack_delay_s",
        "min_rtt",
        "pto_count",
        "reordering",
        "rttvar",
        "sent_packets",
        "srtt",
    )

    def __init__(
        self, *, controller: CongestionController, initial_rtt_s: float, max_ack_delay_s: float
    ) -> None:
        self.controller = controller
        self.initial_rtt_s = initial_rtt_s
        self.max_ack_delay_s = max_ack_delay_s
        self.bytes_in_flight = 0
        self.pto_count = 0
        self.lost_packets = 0  # without those that proved late
        self.sent_packets = 0
        self._epochs: dict[int, list[SentRun]] = {}
        self._next_pn: dict[int, int] = {}
        self._next_counter = 0
        self._largest_acked = -1
        self._window_used_at = 0  # the send counter when the window was last the limit
        self._loss_time: float | None = None
        self._last_eliciting_time = 0.0
        self._n_eliciting = 0
        self.reordering = ReorderWindow()
        self._late = LateLedger()
        self._reduction = Reduction()  # the newest: losses that come later may belong to it
        self._reset_rtt()

    def _reset_rtt(self) -> None:
        self.srtt = self.initial_rtt_s
        self.rttvar = self.initial_rtt_s / 2
        self.latest_rtt = 0.0
        self.min_rtt = 0.0
        self._first_sample_time: float | None = None

    # -- facts

    def pto_s(self) -> float:
        """One probe timeout without back-off (RFC 9002 §6.2.1)."""
        return self.srtt + max(4 * self.rttvar, GRANULARITY_S) + self.max_ack_delay_s

    def timer(self) -> float | None:
        """When ``on_timer`` is due: the loss time, else the PTO, else nothing is outstanding."""
        if self._loss_time is not None:
            return self._loss_time
        if not self._n_eliciting:
            return None
        return self._last_eliciting_time + min(
            self.pto_s() * (1 << min(self.pto_count, 16)), PTO_MAX_S
        )

    def room(self) -> int:
        """Bytes that the congestion window still allows; negative when over it."""
        return self.controller.window - self.bytes_in_flight

    def is_window_full(self, datagram_bytes: int) -> bool:
        """Whether less room is left than one datagram or, with a large window, than the smaller of
        an eighth of it and a kernel burst. [RC-38] Otherwise a sender would fill a large window
        datagram by datagram, one per acknowledgement, and each would cost as much as a burst."""
        quantum = min(self.controller.window // 8, ROOM_QUANTUM_BYTES)
        return self.room() < max(quantum, datagram_bytes)

    @property
    def n_eliciting(self) -> int:
        """Ack-eliciting datagrams that are neither acknowledged nor declared lost."""
        return self._n_eliciting

    def oldest(self, n_max: int) -> SentSlice | None:
        """The oldest outstanding ack-eliciting datagrams, at most ``n_max``: what a probe repeats.
        They stay outstanding."""
        best: SentRun | None = None
        for runs in self._epochs.values():
            for run in runs:
                if run.pending and run.eliciting and not run.mtu_probe:
                    if best is None or run.counter < best.counter:
                        best = run
                    break
        if best is None:
            return None
        first, last = best.pending[0]
        return SentSlice(best, first, min(last, first + n_max - 1))

    # -- inputs

    def seed_rtt(self, sample_s: float, now: float) -> None:
        """The first sample, taken from the handshake."""
        self._update_rtt(sample_s, 0.0, now)

    def reset_path(self) -> None:
        """Nothing known of the old path's round-trip time and reordering counts. Call it before
        ``leave_path``."""
        self._reset_rtt()
        self.reordering = ReorderWindow()
        self._late.clear()

    def leave_path(self, now: float) -> list[SentSlice]:
        """The peer has moved: returns everything outstanding, which was sent to where it is no
        longer. It is out of flight and no congestion signal, and gives neither a round-trip time
        nor window when it is acknowledged after all (RFC 9000 §9.4). [RC-36]"""
        left = [
            SentSlice(run, first, last)
            for runs in self._epochs.values()
            for run in runs
            for first, last in run.pending
        ]
        self._settle(left)
        self._epochs.clear()
        self._loss_time = None
        self.pto_count = 0
        expires_at = self._late_until(now)
        for piece in left:
            if not piece.run.mtu_probe:
                self._late.add(piece, expires_at, None)
        return left

    def on_sent(self, run: SentRun) -> None:
        """Registers a run. Runs of one epoch come in order of packet number."""
        self._next_pn[run.epoch] = run.first_pn + run.n
        self.sent_packets += run.n
        if not run.eliciting:
            return  # never acknowledged by itself, never lost: only its numbers count
        run.counter = self._next_counter
        self._next_counter += run.n
        run.pending = [(0, run.n - 1)]
        self._n_eliciting += run.n
        self._last_eliciting_time = run.time
        if run.in_flight:
            self.bytes_in_flight += run.slice_bytes(0, run.n - 1)
        self._epochs.setdefault(run.epoch, []).append(run)
        self._note_use(run.datagram_bytes)

    def _note_use(self, datagram_bytes: int) -> None:
        """Whether the window is the limit now: full, or in slow start, where the pacer keeps a
        sender a little below a window that doubles meanwhile, half full. A sender that has no more
        to send, or that flow control or its own speed holds back, never gets there. [RC-12]"""
        if self.is_window_full(datagram_bytes) or (
            self.controller.in_slow_start and 2 * self.bytes_in_flight >= self.controller.window
        ):
            self._window_used_at = self._next_counter

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
            return AckOutcome(acked, late, [], False)
        newest = max(acked, key=lambda s: s.run.counter + s.last)
        newest_counter = newest.run.counter + newest.last
        self._largest_acked = max(self._largest_acked, newest_counter)
        rtt_updated = False
        if newest.run.first_pn + newest.last == largest:
            self._update_rtt(now - newest.run.time, ack_delay_s, now)
            rtt_updated = True
        n_bytes = self._settle(acked)
        self.reordering.on_ack(newest_counter, self._next_counter)
        lost = self._detect_lost(now)
        self.pto_count = 0
        self.controller.on_ack(
            AckSample(
                n_bytes=n_bytes,
                sent_time=newest.run.time,
                counter=newest_counter,
                next_counter=self._next_counter,
                rtt=self.latest_rtt if rtt_updated else 0.0,
                srtt=self.srtt,
                app_limited=newest_counter >= self._window_used_at,
                now=now,
            )
        )
        self._trim(epoch)
        return AckOutcome(acked, late, lost, rtt_updated)

    def on_timer(self, now: float) -> TimerOutcome:
        """Call when ``timer()`` is due. ``pto`` asks for one or two ack-eliciting probes."""
        if self._loss_time is not None:
            if now < self._loss_time:
                return TimerOutcome([], False)
            return TimerOutcome(self._detect_lost(now), False)
        due = self.timer()
        if due is None or now < due:
            return TimerOutcome([], False)
        self.pto_count += 1
        self._last_eliciting_time = now  # the next back-off counts from this probe
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

    def _update_rtt(self, sample_s: float, ack_delay_s: float, now: float) -> None:
        sample_s = max(sample_s, 1e-6)
        self.latest_rtt = sample_s
        if self._first_sample_time is None:
            self._first_sample_time = now
            self.min_rtt = sample_s
            self.srtt = sample_s
            self.rttvar = sample_s / 2
            return
        self.min_rtt = min(self.min_rtt, sample_s)
        delay = min(ack_delay_s, self.max_ack_delay_s)
        adjusted = sample_s - delay if sample_s >= self.min_rtt + delay else sample_s
        self.rttvar = 0.75 * self.rttvar + 0.25 * abs(self.srtt - adjusted)
        self.srtt = 0.875 * self.srtt + 0.125 * adjusted

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

    def _settle(self, slices: list[SentSlice]) -> int:
        """Takes ``slices`` out of the ledger; returns their bytes that were in flight."""
        n_bytes = 0
        for run, first, last in slices:
            self._n_eliciting -= last - first + 1
            if run.in_flight:
                n_bytes += run.slice_bytes(first, last)
        self.bytes_in_flight -= n_bytes
        return n_bytes

    def _detect_lost(self, now: float) -> list[SentSlice]:
        """Declares lost what either threshold says (RFC 9002 §6.1) and tells the controller."""
        self._loss_time = None
        if self._largest_acked < 0:
            return []
        reordering = self.reordering
        rtt_s = max(self.srtt, self.latest_rtt)
        delay = max((1 + reordering.time_share) * rtt_s, GRANULARITY_S)
        lost: list[SentSlice] = []
        for epoch, runs in self._epochs.items():
            for run in runs:
                if run.counter >= self._largest_acked:
                    break
                if run.pending:
                    self._split_lost(run, run.time + delay, now, lost)
            self._trim(epoch)
        if lost:
            self._on_lost(lost, now)
        return lost

    def _split_lost(self, run: SentRun, due: float, now: float, lost: list[SentSlice]) -> None:
        """Moves the lost datagrams of ``run`` to ``lost``; notes when the rest may be lost."""
        if due <= now:
            threshold = self._largest_acked - 1
        else:
            threshold = self._largest_acked - self.reordering.packets
        bound = threshold - run.counter  # datagrams up to this index are lost
        candidates = self._largest_acked - 1 - run.counter  # up to here the timer may take them
        rest: list[tuple[int, int]] = []
        for low, high in run.pending:
            if low > bound:
                rest.append((low, high))
                if low <= candidates:
                    self._note_loss_time(due)
                continue
            lost.append(SentSlice(run, low, min(high, bound)))
            if high > bound:
                rest.append((bound + 1, high))
                if bound + 1 <= candidates:
                    self._note_loss_time(due)
        run.pending = rest

    def _note_loss_time(self, due: float) -> None:
        if self._loss_time is None or due < self._loss_time:
            self._loss_time = due

    def _on_lost(self, lost: list[SentSlice], now: float) -> None:
        self._settle(lost)
        lost.sort(key=lambda s: s.run.counter + s.first)
        congestive = [s for s in lost if s.run.in_flight and not s.run.mtu_probe]
        self.lost_packets += sum(s.last - s.first + 1 for s in lost if not s.run.mtu_probe)
        if not congestive:
            return
        newest = congestive[-1]
        n_bytes = sum(s.n_bytes for s in congestive)
        if self.controller.on_loss(n_bytes, newest.run.time, now, self.bytes_in_flight):
            self._reduction = Reduction()
        expires_at = self._late_until(now)
        for piece in congestive:
            self._reduction.n_lost += piece.last - piece.first + 1
            self._late.add(piece, expires_at, self._reduction)
        if self._is_persistent(congestive):
            self.controller.on_persistent()

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
                continue  # it says nothing about this path [RC-36]
            self._allow_for(entry, now)
            n = entry.last_pn - entry.first_pn + 1
            self.lost_packets -= n
            entry.reduction.n_lost -= n
            if not entry.reduction.n_lost and entry.reduction is self._reduction:
                self.controller.on_spurious()
        return [entry.piece() for entry in late]

    def _allow_for(self, entry: LostRange, now: float) -> None:
        run = entry.run
        distance = self._largest_acked - (run.counter + entry.first_pn - run.first_pn)
        rtt_s = max(self.srtt, self.latest_rtt)
        self.reordering.on_late(distance, (now - run.time) / rtt_s - 1)

    def _late_until(self, now: float) -> float:
        """How long what counts as lost is remembered. [RC-30]"""
        return now + max(LATE_SRTTS * self.srtt, self.pto_s())

    def _is_persistent(self, lost: list[SentSlice]) -> bool:
        """RFC 9002 §7.6: everything over three PTOs was lost, nothing between acknowledged."""
        if self._first_sample_time is None:
            return False
        duration = PERSISTENT_CONGESTION_PTOS * self.pto_s()
        start: float | None = None
        expected = -1
        for piece in lost:
            begin = piece.run.counter + piece.first
            if piece.run.time <= self._first_sample_time:
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
