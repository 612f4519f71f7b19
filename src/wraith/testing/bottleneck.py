"""Senders that share one bottleneck, in virtual time: congestion control without connections.

Each ``LightSender`` drives the product's own ``Recovery``, ``Pacer`` and controller by runs, as a
connection does. Nothing is sealed, framed or buffered. A run enters the ``Bottleneck`` at once, a
datagram that finds the queue full is dropped, and random loss is drawn behind the queue. The
acknowledgement of a run is back one round trip after its last datagram has left the queue.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from itertools import count
from statistics import mean

from wraith.connection.data.recovery import Recovery
from wraith.connection.data.sent import SentRun
from wraith.connection.paths.congestion import Controller
from wraith.testing.one_path import one_path

DATAGRAM_BYTES = 1_400
RUN_DATAGRAMS_MAX = 46
PROBES_PER_PTO = 2


@dataclass(slots=True)
class Policer:
    """Drops what is above ``rate_bps``, but for ``burst_bytes`` that were saved up."""

    rate_bps: float
    burst_bytes: float
    _tokens: float = field(init=False)
    _at_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._tokens = self.burst_bytes

    def passes(self, now: float) -> bool:
        """Whether one datagram goes on."""
        grown = self._tokens + (now - self._at_s) * self.rate_bps / 8
        self._tokens, self._at_s = min(grown, self.burst_bytes), now
        if self._tokens < DATAGRAM_BYTES:
            return False
        self._tokens -= DATAGRAM_BYTES
        return True


class Bottleneck:
    """One link with a drop-tail queue.

    Args:
        rate_bps: bits per second; may be changed at any time, as ``loss`` may.
        queue_bytes: what waits at most, the datagram on the link included.
        loss: independent share of what has passed the queue, 0 … 1.
        burst: the mean length of bursts of loss, in datagrams; 1: each loss is by itself.
    """

    def __init__(
        self,
        rate_bps: float,
        queue_bytes: float,
        *,
        loss: float = 0.0,
        burst: float = 1.0,
        policer: Policer | None = None,
        seed: int = 1,
    ) -> None:
        self.rate_bps = rate_bps
        self.queue_bytes = queue_bytes
        self.loss = loss
        self.burst = burst
        self.policer = policer
        self.n_sent = self.n_dropped = self.n_lost = 0
        #: (when, seconds in the queue) of what was let in.
        self.waits: list[tuple[float, float]] = []
        self._random = random.Random(seed)
        self._is_in_burst = False
        self._free_s = 0.0

    def enter(self, n: int, now: float) -> tuple[list[int], float]:
        """``n`` datagrams arrive together. Returns which of them arrive, and when the last one has
        left the queue."""
        arrived: list[int] = []
        bytes_per_s = self.rate_bps / 8
        for index in range(n):
            self.n_sent += 1
            start = max(now, self._free_s)
            is_dropped = self.policer is not None and not self.policer.passes(now)
            if is_dropped or (start - now) * bytes_per_s + DATAGRAM_BYTES > self.queue_bytes:
                self.n_dropped += 1
                continue
            self._free_s = start + DATAGRAM_BYTES / bytes_per_s
            self.waits.append((now, start - now))
            if self._is_lost():
                self.n_lost += 1
            else:
                arrived.append(index)
        return arrived, max(now, self._free_s)

    def wait_s(self, since: float = 0.0) -> float:
        """The mean time in the queue."""
        return mean(wait for at, wait in self.waits if at >= since)

    def _is_lost(self) -> bool:
        if not self.loss:
            return False
        draw = self._random.random()
        if self._is_in_burst:
            self._is_in_burst = draw > 1 / self.burst
        else:
            self._is_in_burst = draw < self.loss / (self.burst * (1 - self.loss))
        return self._is_in_burst


class LightSender:
    """Sends without end from ``start_s`` on.

    Attributes:
        delivered: (when its acknowledgement was back, bytes) of what has arrived.
    """

    def __init__(
        self, controller: Controller, link: Bottleneck, *, rtt_s: float, start_s: float = 0.0
    ) -> None:
        self.controller = controller
        self.link = link
        self.rtt_s = rtt_s
        self.start_s = start_s
        self.delivered: list[tuple[float, int]] = []
        self._recovery = Recovery()
        self._path = one_path(controller, datagram_bytes=DATAGRAM_BYTES, initial_rtt_s=rtt_s)
        self._path.rtt.update(rtt_s, 0.0, start_s)
        self._path.set_pace()
        self._arrivals: list[tuple[float, int, list[tuple[int, int]]]] = []
        self._pace_at: float | None = None
        self._n_sent = 0

    def rate_bps(self, start_s: float, end_s: float) -> float:
        """Bits that arrived each second."""
        return 8 * sum(n for at, n in self.delivered if start_s <= at < end_s) / (end_s - start_s)

    def next_time(self) -> float:
        """When something is due; ``start_s`` before anything was sent."""
        if not self._n_sent:
            return self.start_s
        times = [at for at in (self._path.timer(), self._pace_at) if at is not None]
        if self._arrivals:
            times.append(self._arrivals[0][0])
        return min(times)

    def step(self, now: float) -> None:
        """Does what is due, and sends what may leave then."""
        while self._arrivals and self._arrivals[0][0] <= now:
            _, _, ranges = heapq.heappop(self._arrivals)
            n = sum(last - first + 1 for first, last in ranges)
            self.delivered.append((now, n * DATAGRAM_BYTES))
            self._recovery.on_ack(0, ranges[0][1], ranges, 0.0, now)
            self._path.set_pace()
        timer = self._path.timer()
        if timer is not None and timer <= now and self._recovery.on_timer(self._path, now).pto:
            self._send_run(PROBES_PER_PTO, now)
        self._path.set_pace()
        self._send_allowed(now)

    def _send_allowed(self, now: float) -> None:
        """As ``PacketBuilder._allowed``."""
        path, pacer = self._path, self._path.pacer
        due, self._pace_at = self._pace_at, None
        while not path.is_window_full(DATAGRAM_BYTES):
            room, budget = path.room(), pacer.budget(now, due)
            quantum = max(min(pacer.burst // 2, room), DATAGRAM_BYTES)
            if budget < quantum:
                self._pace_at = max(pacer.next_time(now, quantum), now + 1e-6)
                return
            self._send_run(min(min(room, budget) // DATAGRAM_BYTES, RUN_DATAGRAMS_MAX), now)

    def _send_run(self, n: int, now: float) -> None:
        first = self._n_sent
        self._recovery.on_sent(
            SentRun(
                path=self._path, epoch=0, first_pn=first, n=n, time=now,
                datagram_bytes=DATAGRAM_BYTES, last_bytes=DATAGRAM_BYTES, eliciting=True,
                in_flight=True,
            )
        )  # fmt: skip
        self._path.pacer.on_sent(n * DATAGRAM_BYTES, now)
        self._n_sent = first + n
        arrived, left_at = self.link.enter(n, now)
        ranges: list[tuple[int, int]] = []
        for index in arrived:
            pn = first + index
            if ranges and ranges[-1][1] == pn - 1:
                ranges[-1] = (ranges[-1][0], pn)
            else:
                ranges.append((pn, pn))
        if ranges:
            heapq.heappush(self._arrivals, (left_at + self.rtt_s, first, ranges[::-1]))


def run_senders(senders: list[LightSender], until_s: float) -> None:
    """Goes on until ``until_s``."""
    order = count()
    due = [(sender.next_time(), next(order), sender) for sender in senders]
    heapq.heapify(due)
    while due[0][0] < until_s:
        now, _, sender = heapq.heappop(due)
        sender.step(now)
        heapq.heappush(due, (max(sender.next_time(), now), next(order), sender))
