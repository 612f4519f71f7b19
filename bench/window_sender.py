"""A sender with the product's own recovery, congestion control and pacing, and nothing else.

``WindowSender`` drives the very ``Recovery``, ``Pacer`` and controllers that a connection drives,
by runs as a connection does, over a path with a fixed round trip, independent loss and no queue.
Nothing is sealed, framed or buffered, acknowledgements are never lost and come once per run; a
million datagrams take seconds instead of minutes. Which datagrams are lost is drawn as the number
that survive until the next loss, so that nothing is done per datagram.

The gates of a run are those of ``connection/packet_builder.py``; ``loss_response.py`` shows for
some points that a real connection gives the same windows.
"""

from __future__ import annotations

import math
import random
from collections import deque

from wraith.connection.data.recovery import Recovery
from wraith.connection.data.sent import SentRun
from wraith.connection.paths.congestion import Controller
from wraith.testing.one_path import one_path

RUN_DATAGRAMS_MAX = 46
PROBES_PER_PTO = 2

Arrival = tuple[float, list[tuple[int, int]]]
"""When the acknowledgement of a run is back, and the ranges of it that arrived, highest first."""


class WindowSender:
    """Sends without end. Times are virtual seconds.

    Args:
        rtt_s: fixed; acknowledgements are immediate.
        loss: independent per datagram, 0 … 1.
    """

    def __init__(
        self,
        controller: Controller,
        *,
        rtt_s: float,
        loss: float,
        datagram_bytes: int,
        seed: int,
    ) -> None:
        self.now = 0.0
        self.n_sent = 0
        self.n_lost = 0
        self.n_received = 0
        self._rtt_s = rtt_s
        self._datagram_bytes = datagram_bytes
        self._recovery = Recovery()
        self._path = one_path(controller, datagram_bytes=datagram_bytes, initial_rtt_s=rtt_s)
        self._path.rtt.update(rtt_s, 0.0, 0.0)
        self._path.set_pace()
        self._arrivals: deque[Arrival] = deque()
        self._random = random.Random(seed)
        self._log_keep = math.log1p(-loss) if loss else 0.0
        self._next_lost = self._gap()
        self._pace_at: float | None = None

    def _gap(self) -> int:
        """How many datagrams survive before the next one is lost."""
        if not self._log_keep:
            return 1 << 62
        return int(math.log(1.0 - self._random.random()) / self._log_keep)

    def run_until_lost(self, n: int) -> None:
        """Goes on until ``n`` datagrams have been lost since the beginning."""
        while self.n_lost < n:
            self.step()

    def step(self) -> None:
        """Sends what may leave, then goes to the next thing that happens."""
        self._send_allowed()
        arrival = self._arrivals[0][0] if self._arrivals else math.inf
        timer = self._path.timer()
        timer = math.inf if timer is None else timer
        pace = math.inf if self._pace_at is None else self._pace_at
        self.now = max(self.now, min(arrival, timer, pace))
        if arrival <= self.now:
            self._acknowledge()
        elif timer <= self.now and self._recovery.on_timer(self._path, self.now).pto:
            self._send_run(PROBES_PER_PTO)
            self._path.set_pace()

    def _send_allowed(self) -> None:
        """As ``PacketBuilder._allowed``: window first, then half a burst's worth of tokens."""
        size, path, pacer = self._datagram_bytes, self._path, self._path.pacer
        self._pace_at = None
        while not path.is_window_full(size):
            room = path.room()
            budget = pacer.budget(self.now)
            quantum = max(min(pacer.burst // 2, room), size)
            if budget < quantum:
                self._pace_at = pacer.next_time(self.now, quantum)
                return
            self._send_run(min(min(room, budget) // size, RUN_DATAGRAMS_MAX))

    def _send_run(self, n: int) -> None:
        size, first = self._datagram_bytes, self.n_sent
        self._recovery.on_sent(
            SentRun(
                path=self._path, epoch=0, first_pn=first, n=n, time=self.now, datagram_bytes=size,
                last_bytes=size, eliciting=True, in_flight=True,
            )
        )  # fmt: skip
        self._path.pacer.on_sent(n * size, self.now)
        self.n_sent = end = first + n
        ranges: list[tuple[int, int]] = []
        start = first
        while self._next_lost < end:
            if self._next_lost > start:
                ranges.append((start, self._next_lost - 1))
            start = self._next_lost + 1
            self._next_lost = start + self._gap()
            self.n_lost += 1
        if start < end:
            ranges.append((start, end - 1))
        if ranges:
            ranges.reverse()
            self._arrivals.append((self.now + self._rtt_s, ranges))

    def _acknowledge(self) -> None:
        _, ranges = self._arrivals.popleft()
        self.n_received += sum(last - first + 1 for first, last in ranges)
        self._recovery.on_ack(0, ranges[0][1], ranges, 0.0, self.now)
        self._path.set_pace()
