"""Picks the stream that sends next: eight strict queues, round robin by run inside each.

A sixteenth of the bytes is kept for the queues below, so that a busy urgent stream cannot starve
the rest. Stream 0 never passes here: it goes before all others.
Spec: docs/spec/connection.md [CN-25].
"""

from __future__ import annotations

from collections.abc import Callable

N_QUEUES = 8
LOWER_SHARE = 16


class Scheduler:
    """Ready streams by priority (0 most urgent … 255)."""

    __slots__ = ("_credit", "_priority", "_queues")

    def __init__(self) -> None:
        self._queues: list[list[int] | None] = [None] * N_QUEUES
        self._priority: dict[int, int] = {}
        self._credit = [0.0] * N_QUEUES  # bytes that each queue owes to those below it

    def __len__(self) -> int:
        return len(self._priority)

    def __contains__(self, sid: int) -> bool:
        return sid in self._priority

    def add(self, sid: int, priority: int) -> None:
        """Marks ``sid`` ready, at the end of its queue; no effect when it already is."""
        if sid in self._priority:
            return
        number = priority >> 5
        self._priority[sid] = number
        queue = self._queues[number]
        if queue is None:
            queue = self._queues[number] = []
        queue.append(sid)

    def remove(self, sid: int) -> None:
        number = self._priority.pop(sid, None)
        if number is not None:
            queue = self._queues[number]
            assert queue is not None
            queue.remove(sid)
            if not queue:
                self._queues[number] = None
                self._credit[number] = 0.0

    def move(self, sid: int, priority: int) -> None:
        """Changes the priority of a stream if it is ready."""
        if sid in self._priority and self._priority[sid] != priority >> 5:
            self.remove(sid)
            self.add(sid, priority)

    def pick(self, is_sendable: Callable[[int], bool]) -> int | None:
        """The stream that sends next, ``None`` if no ready one is sendable now."""
        chosen: int | None = None
        for number, queue in enumerate(self._queues):
            if queue is None:
                continue
            for sid in queue:
                if is_sendable(sid):
                    break
            else:
                continue
            chosen = sid
            if self._credit[number] <= 0:
                return chosen
        return chosen

    def on_sent(self, sid: int, n_bytes: int) -> None:
        """``sid`` has sent a run: it goes to the end of its queue, and the bytes are booked."""
        number = self._priority.get(sid)
        if number is None:
            return
        queue = self._queues[number]
        assert queue is not None
        if len(queue) > 1:
            queue.remove(sid)
            queue.append(sid)
        for above in range(number):
            if self._credit[above] > 0:
                self._credit[above] -= n_bytes
        if any(self._queues[number + 1 :]):
            self._credit[number] += n_bytes / (LOWER_SHARE - 1)
        else:
            self._credit[number] = 0.0
