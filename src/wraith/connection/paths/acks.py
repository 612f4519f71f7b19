"""Notes which packets have arrived, and decides when to say so.

One ``AckState`` a path, with one range set per live epoch: packets of two paths overtake each
other, and what is missing on one says nothing about the other. An acknowledgement is due at the end
of a receive batch with two ack-eliciting packets outstanding or a new gap, else after half a round
trip or ``max_ack_delay``.
Never per packet: halving the batch halves the throughput of a fast path. On a link nothing is sent
again for want of an acknowledgement, so one comes every 64 packets.

Spec: docs/spec/recovery.md [RC-20 to RC-24, RC-35, RC-43].
"""

from __future__ import annotations

from wraith.content.ranges import RangeSet
from wraith.wire.frames import Ack

ACK_RANGES_MAX = 64
ACK_BATCH = 2
LINK_ACK_BATCH = 64
ANSWER_RANGES = 8
"""With more ranges than this an acknowledgement asks whether it has arrived."""
DELAY_UNIT_S = 8e-6
DELAY_RTT_SHARE = 0.5
DELAY_MIN_S = 0.001


class EpochAcks:
    """Received packet numbers of one epoch."""

    __slots__ = ("largest", "largest_time", "ranges")

    def __init__(self) -> None:
        self.ranges = RangeSet()
        self.largest = -1
        self.largest_time = 0.0


class AckState:
    """What has arrived on one path, in all epochs whose receive keys live.

    ``is_reliable``: it is a link, which keeps order and loses nothing.
    """

    __slots__ = (
        "_batch",
        "_delay_s",
        "_epochs",
        "_is_asking",
        "_is_reliable",
        "_max_delay_s",
        "_n_pending",
        "_pending",
        "deadline",
        "is_due",
    )

    def __init__(self, max_delay_s: float, *, is_reliable: bool = False) -> None:
        self._is_reliable = is_reliable
        self._batch = LINK_ACK_BATCH if is_reliable else ACK_BATCH
        self._max_delay_s = self._delay_s = max_delay_s
        self._epochs: dict[int, EpochAcks] = {}
        self._pending: dict[int, None] = {}  # epochs with something unacknowledged, in order
        self._n_pending = 0
        self._is_asking = False  # an acknowledgement that is to be acknowledged is under way
        self.deadline: float | None = None
        self.is_due = False

    def set_rtt(self, srtt_s: float) -> None:
        """A peer on a short path waits for this acknowledgement with a window of few packets: it
        is not kept waiting for many round trips. [RC-35]"""
        if self._is_reliable:
            return
        self._delay_s = min(self._max_delay_s, max(DELAY_RTT_SHARE * srtt_s, DELAY_MIN_S))

    @property
    def has_pending(self) -> bool:
        """There is something that an outgoing packet may acknowledge on the way."""
        return bool(self._pending)

    def on_received(
        self, received: list[tuple[int, int, int, bool]], n_eliciting: int, now: float
    ) -> bool:
        """Takes one receive batch: ``(epoch, first_pn, last_pn, any eliciting)`` each. [RC-20]

        Returns:
            Whether numbers are missing or came late.
        """
        gap = is_broken = False
        for epoch, first, last, eliciting in received:
            state = self._epochs.get(epoch)
            if state is None:
                state = self._epochs[epoch] = EpochAcks()
            ranges = state.ranges
            if first != state.largest + 1:
                is_broken = True
                # A new gap, or an old one filled: the peer decides on losses by it, so at once.
                gap = gap or (eliciting and not self._is_reliable)
            if eliciting:
                self._pending[epoch] = None
            ranges.add(first, last + 1)
            if len(ranges) > ACK_RANGES_MAX + 1:
                ranges.keep_highest(ACK_RANGES_MAX + 1)
            if last > state.largest:
                state.largest = last
                state.largest_time = now
        if n_eliciting:
            self._n_pending += n_eliciting
            if gap or self._n_pending >= self._batch:
                self.is_due = True
            elif self.deadline is None:
                self.deadline = now + self._delay_s
        return is_broken

    def on_timer(self, now: float) -> None:
        if self.deadline is not None and now >= self.deadline:
            self.is_due = True

    def frames(self, now: float) -> list[Ack]:
        """The frames that acknowledge everything pending, newest epoch first. Unchanged state:
        ``on_sent`` commits."""
        frames: list[Ack] = []
        for epoch in sorted(self._pending, reverse=True):
            state = self._epochs[epoch]
            delay = min(int((now - state.largest_time) / DELAY_UNIT_S), 0xFFFF)
            ranges = [(start, end - 1) for start, end in state.ranges]
            ranges = ranges[-1 - ACK_RANGES_MAX :]
            ranges.reverse()
            frames.append(
                Ack(
                    epoch=epoch & 0xFF,
                    largest=state.largest,
                    delay_us8=max(delay, 0),
                    ranges=tuple(ranges),
                )
            )
        return frames

    def on_sent(self) -> None:
        """Everything pending has been acknowledged."""
        self._pending.clear()
        self._n_pending = 0
        self.deadline = None
        self.is_due = False

    @property
    def wants_answer(self) -> bool:
        """Much is told again and again, and nothing says yet that the peer has heard it."""
        epochs = self._epochs
        return not self._is_asking and any(
            len(epochs[epoch].ranges) > ANSWER_RANGES for epoch in self._pending
        )

    def on_told(self) -> list[int]:
        """A packet that will be acknowledged carries ``frames``. What they tell of, for
        ``on_heard``: a number for each epoch in which something is missing."""
        told = [
            epoch << 32 | self._epochs[epoch].largest
            for epoch in self._pending
            if len(self._epochs[epoch].ranges) > 1
        ]
        self._is_asking = self._is_asking or bool(told)
        return told

    def on_told_lost(self) -> None:
        """That packet was lost."""
        self._is_asking = False

    def on_heard(self, told: int) -> None:
        """That packet was acknowledged: what lies below the highest range of then need not be
        told again. [RC-23]"""
        self._is_asking = False
        state = self._epochs.get(told >> 32)
        if state is not None:
            state.ranges.keep_from(told & 0xFFFF_FFFF)

    def absorb(self, other: AckState) -> None:
        """Takes over what ``other``, of a path that is given up, has not acknowledged yet."""
        for epoch in other._pending:
            state = self._epochs.setdefault(epoch, EpochAcks())
            for start, end in other._epochs[epoch].ranges:
                state.ranges.add(start, end)
            if len(state.ranges) > ACK_RANGES_MAX + 1:
                state.ranges.keep_highest(ACK_RANGES_MAX + 1)
            if other._epochs[epoch].largest > state.largest:
                state.largest = other._epochs[epoch].largest
                state.largest_time = other._epochs[epoch].largest_time
            self._pending[epoch] = None
            self.is_due = True
        other.on_sent()

    def drop_epoch(self, epoch: int) -> None:
        """The receive keys of ``epoch`` are gone: nothing of it is acknowledged any more."""
        self._epochs.pop(epoch, None)
        self._pending.pop(epoch, None)
        if not self._pending:
            self.on_sent()
