"""A seeded link: latency, jitter, loss, duplication, reordering, a rate with a finite queue.

Sans-I/O like everything it connects: datagrams go in with ``send``, come out with ``due`` when
virtual time has reached their arrival. The same seed and the same calls give the same fate to
every datagram.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

Tap = Callable[[bytes], "bytes | None"]
"""Sees each datagram before the link: returns it, another one, or ``None`` to lose it."""


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One direction of a path. Probabilities are 0 … 1, independent per datagram.

    ``rate_bps`` (bits per second) serialises datagrams through a drop-tail queue of
    ``queue_bytes``; ``None`` means no limit. ``mtu_bytes`` silently drops what is longer. A share
    ``reorder`` of the datagrams comes ``reorder_min_s`` to ``reorder_delay_s`` later than the rest.
    With ``keeps_order`` no datagram overtakes another: what was delayed holds up what follows.
    ``tick_s`` delivers at multiples of it only, as an interface does that gathers its interrupts.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay_s: float = 0.01
    reorder_min_s: float = 0.0
    keeps_order: bool = False
    rate_bps: float | None = None
    queue_bytes: int | None = None
    mtu_bytes: int = 65_535
    tick_s: float = 0.0


class Link:
    """One direction. Change ``config`` at any time; datagrams already under way keep their fate."""

    def __init__(self, config: LinkConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.taps: list[Tap] = []
        self.n_sent = 0
        self.n_lost = 0
        self.n_queue_drops = 0
        self.n_delivered = 0
        self.bytes_sent = 0
        self.bytes_delivered = 0
        self._random = random.Random(seed)
        self._in_flight: list[tuple[float, int, bytes]] = []
        self._order = 0
        self._free_at = 0.0
        self._newest_at = 0.0

    def send(self, datagram: bytes, now: float) -> None:
        """Takes one datagram at time ``now``."""
        self.n_sent += 1
        self.bytes_sent += len(datagram)
        for tap in self.taps:
            passed = tap(datagram)
            if passed is None:
                self.n_lost += 1
                return
            datagram = passed
        config = self.config
        draw = self._random.random
        if len(datagram) > config.mtu_bytes or (config.loss and draw() < config.loss):
            self.n_lost += 1
            return
        leave = now
        if config.rate_bps is not None:
            start = max(now, self._free_at)
            waiting = (start - now) * config.rate_bps / 8
            if (
                config.queue_bytes is not None
                and waiting + len(datagram) > config.queue_bytes + 0.5
            ):
                self.n_queue_drops += 1
                return
            leave = self._free_at = start + len(datagram) * 8 / config.rate_bps
        self._schedule(datagram, leave)
        if config.duplicate and draw() < config.duplicate:
            self._schedule(datagram, leave)

    def _schedule(self, datagram: bytes, leave: float) -> None:
        config = self.config
        at = leave + config.latency_s
        if config.jitter_s:
            at += self._random.random() * config.jitter_s
        if config.reorder and self._random.random() < config.reorder:
            spread = config.reorder_delay_s - config.reorder_min_s
            at += config.reorder_min_s + self._random.random() * spread
        if config.keeps_order:
            at = self._newest_at = max(at, self._newest_at)
        if config.tick_s:
            at = math.ceil(at / config.tick_s) * config.tick_s
        self._order += 1
        heapq.heappush(self._in_flight, (at, self._order, datagram))

    def next_time(self) -> float | None:
        """When the next datagram arrives."""
        return self._in_flight[0][0] if self._in_flight else None

    def due(self, now: float) -> list[bytes]:
        """Everything that has arrived by ``now``, in order of arrival."""
        arrived: list[bytes] = []
        while self._in_flight and self._in_flight[0][0] <= now:
            datagram = heapq.heappop(self._in_flight)[2]
            self.n_delivered += 1
            self.bytes_delivered += len(datagram)
            arrived.append(datagram)
        return arrived

    def clear(self) -> None:
        """Loses everything under way."""
        self.n_lost += len(self._in_flight)
        self._in_flight.clear()
