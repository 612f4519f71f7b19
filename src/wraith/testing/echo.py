"""The smallest machine with the sans-I/O contract: it sends back what it receives.

For tests of what drives machines: commands queue bursts, timers fire once, every call is counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from wraith.types import Buffer, NetworkPath, Transmit


@dataclass(frozen=True, slots=True)
class Received:
    """One call of ``receive_datagrams``; ``data`` is a copy."""

    data: bytes
    segment_bytes: int
    path: NetworkPath


@dataclass(frozen=True, slots=True)
class Fired:
    """The timer came."""

    at: float


EchoEvent = Received | Fired


class EchoMachine:
    """Queues back every burst when ``echo`` is true, and turns it into an event.

    Attributes:
        reuse: overwrite sent buffers at the next ``datagrams_to_send``, as the real machines may:
            a driver that keeps them longer then sends rubbish.
        fail_with: raised by the next ``receive_datagrams``.
        per_call: how many bursts one ``datagrams_to_send`` hands out.
        strangers: the paths of unknown senders; all others are known peers'.
        held: paths that it was told to hold; refused: sizes that it was told of.
    """

    def __init__(self, *, echo: bool = True, reuse: bool = True, per_call: int = 2) -> None:
        self.echo = echo
        self.reuse = reuse
        self.per_call = per_call
        self.strangers: set[NetworkPath] = set()
        self.fail_with: Exception | None = None
        self.held: set[NetworkPath] = set()
        self.refused: list[tuple[NetworkPath, int]] = []
        self.timer: float | None = None
        self.records: list[bytes] = []
        self.calls: list[str] = []
        self._due: deque[Transmit] = deque()
        self._lent: list[bytearray] = []
        self._events: deque[EchoEvent] = deque()

    def queue(self, data: bytes, segment_bytes: int, path: NetworkPath) -> None:
        """A command: this burst is due now."""
        buffer = bytearray(data)
        self._due.append(Transmit(memoryview(buffer), segment_bytes, path))

    @property
    def n_due(self) -> int:
        """Bursts that were not handed out yet."""
        return len(self._due)

    def knows(self, datagram: Buffer, path: NetworkPath) -> bool:
        return path not in self.strangers

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> None:
        self.calls.append("receive")
        if self.fail_with is not None:
            raise self.fail_with
        self._events.append(Received(bytes(data), segment_bytes, path))
        if self.echo:
            self.queue(bytes(data), segment_bytes, path)

    def handle_mtu_exceeded(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        self.refused.append((path, n_bytes))

    def hold(self, path: NetworkPath) -> None:
        self.held.add(path)

    def release(self, path: NetworkPath) -> None:
        self.held.remove(path)

    def handle_timer(self, now: float) -> None:
        self.calls.append("timer")
        if self.timer is not None and now >= self.timer:
            self.timer = None
            self._events.append(Fired(now))

    def datagrams_to_send(self, now: float) -> list[Transmit]:
        self.calls.append("send")
        for buffer in self._lent:
            buffer[:] = b"\xee" * len(buffer)
        self._lent.clear()
        out: list[Transmit] = []
        waiting = [burst for burst in self._due if burst.path in self.held]
        self._due = deque(burst for burst in self._due if burst.path not in self.held)
        while self._due and len(out) < self.per_call:
            out.append(self._due.popleft())
        self._due.extend(waiting)
        if self.reuse:
            self._lent.extend(t.data.obj for t in out if isinstance(t.data.obj, bytearray))
        return out

    def next_timer(self) -> float | None:
        return self.timer

    def next_event(self) -> EchoEvent | None:
        return self._events.popleft() if self._events else None
