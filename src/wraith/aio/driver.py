"""One loop that drives one machine: feed, drain, deliver, re-arm a single timer.

::

    socket ──► receive_datagrams ─┐  next_event ─► on_event
    timer  ──► handle_timer ──────┤► datagrams_to_send ─► store ─► socket
    task   ──► a command, wake() ─┘  next_timer ─► the one timer handle

Works for any machine with the sans-I/O contract. It never decides anything: it does not know what
a connection is. Rules that it keeps:

- after every mutation every event is delivered, then everything due is sent, again while sending
  made events or handling one issued a command, then the timer is set;
- ``datagrams_to_send`` is not called while the kernel has left something of the last result: those
  bytes are sealed and their numbers spent, so the same bytes go again;
- replay records are stored before the datagrams of the same drain are asked for; if they cannot be
  stored the datagrams are dropped, which the protocol survives: a forgotten record it does not;
- what comes from nobody that the machine knows waits until the known ones have been fed; it gets
  what is left of a turn of ``STRANGERS_TURN_S``, and ``STRANGERS_LEAST_S`` in any case;
- a drain ends after ``TURN_S`` and goes on in the next turn, so other tasks, reads and timers live;
- an exception out of the machine is a defect: the driver stops, closes and reports it once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from wraith.abc import NullTracer, Tracer
from wraith.aio.memory import keep_freed_memory
from wraith.aio.strangers import Strangers
from wraith.aio.udp import SocketSet
from wraith.types import NetworkPath, Transmit

EventT_co = TypeVar("EventT_co", covariant=True)
EventT = TypeVar("EventT")

TURN_S: Final = 0.002
#: Strangers get so much of a turn that emptied the socket, less what the peers' datagrams took.
STRANGERS_TURN_S: Final = 0.001
#: Datagrams from unknown paths whose connection ids are looked up in one turn; the others wait.
IDS_PER_TURN: Final = 16
#: In a turn that peers have filled, strangers still get this much: nobody is shut out for good.
STRANGERS_LEAST_S: Final = 0.0001
#: A timer that is due while the kernel's buffer is full waits this long instead of spinning.
_BLOCKED_TIMER_S: Final = 0.001
_DROPPED_CALLS_MAX: Final = 64


class Machine(Protocol[EventT_co]):
    """The contract. Times are monotonic seconds, never decreasing."""

    def knows(self, datagram: memoryview, path: NetworkPath) -> bool:
        """Whether a datagram from ``path`` seems to belong to a known peer. Says nothing about its
        authenticity. An empty ``datagram`` asks about the path alone, which is the cheaper."""
        ...

    def receive_datagrams(
        self, data: memoryview, segment_bytes: int, path: NetworkPath, now: float
    ) -> object: ...

    def handle_timer(self, now: float) -> None: ...

    def datagrams_to_send(self, now: float) -> Sequence[Transmit]: ...

    def next_timer(self) -> float | None: ...

    def next_event(self) -> EventT_co | None: ...


class StoreFailureTold(OSError):
    """Raised by a ``store`` whose owner tells the failure: no warning is needed as well."""


class Driver(Generic[EventT]):
    """Drives one machine on one event loop. Not thread-safe: call it from its loop only.

    Args:
        machine: what to drive; the driver alone feeds and drains it, others may issue commands
            and must call ``wake`` after them.
        sockets: taken over; closed by ``close``.
        on_event: called for every event, oldest first; may issue commands. What it raises is
            reported to the loop and loses no event.
        on_failed: called once if the machine raised; the driver is closed by then.
        store: called before each ``datagrams_to_send``; raises ``OSError`` when what must be on
            disk is not.
    """

    def __init__(
        self,
        machine: Machine[EventT],
        sockets: SocketSet,
        *,
        on_event: Callable[[EventT], None],
        on_failed: Callable[[Exception], None] | None = None,
        store: Callable[[], None] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._machine = machine
        self._sockets = sockets
        self._on_event = on_event
        self._on_failed = on_failed
        self._store = store
        self._tracer = tracer or NullTracer()
        self._pending: deque[Transmit] = deque()
        self._strangers = Strangers()
        self._peers_took_s = 0.0
        self._is_socket_empty = True
        self._ids_looked_at = 0
        self._sent_of_first = 0
        self._blocked = False
        self._closed = False
        self._draining = False
        self._again = False
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._idle: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.now: Callable[[], float] = time.monotonic

    def start(self) -> None:
        """Begins to drive. Must run inside the event loop."""
        keep_freed_memory()
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        # Not every machine searches for the path MTU.
        refused = getattr(self._machine, "handle_mtu_exceeded", None)
        if refused is not None:
            self._sockets.tell_refused_size(lambda path, n: refused(path, n, self.now()))
        self._sockets.start(self._loop, self._on_burst, self._on_turn, self._put_aside)
        self.wake()

    @property
    def closed(self) -> bool:
        """True after ``close`` or a failure."""
        return self._closed

    @property
    def port(self) -> int:
        """The UDP port of the sockets."""
        return self._sockets.port

    def poison(self) -> None:
        """In a forked child: never sends, reads or delivers again, and leaves the loop, whose
        readiness table the parent shares, untouched."""
        self._closed = True
        self._pending.clear()
        self._strangers.clear()

    def wake(self) -> None:
        """Says that a command was issued. Cheap; many commands of one turn cost one drain."""
        if self._draining:
            self._again = True
        elif not self._scheduled and not self._closed and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._run_scheduled)

    async def flushed(self) -> None:
        """Waits until everything that is due now is with the kernel. Cancellation is harmless."""
        if self._closed or self._loop is None:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(waiter)
        self.wake()
        await waiter

    def close(self) -> None:
        """Stops at once: no more datagrams, events or timers. Idempotent; may run in a callback."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pending.clear()
        self._sockets.close()
        self._release_idle()

    # --- the loop ---------------------------------------------------------------------------

    def _on_burst(self, data: memoryview, segment_bytes: int, path: NetworkPath) -> None:
        if self._closed:
            return
        began = self.now()
        try:
            self._machine.receive_datagrams(data, segment_bytes, path, began)
        except Exception as exc:
            self._fail(exc)
        self._peers_took_s += self.now() - began

    def _put_aside(self, data: memoryview, segment_bytes: int, path: NetworkPath) -> bool:
        """Keeps what comes from nobody that the machine knows for the end of the turn."""
        if self._closed:
            return True
        try:
            if self._is_known(data[:segment_bytes], path):
                return False
        except Exception as exc:
            self._fail(exc)
        self._strangers.put(data, segment_bytes, path, self.now())
        return True

    def _is_known(self, datagram: memoryview, path: NetworkPath) -> bool:
        """By its path; by its connection id for as many of a turn as a flood may cost."""
        if self._machine.knows(datagram[:0], path):
            return True
        if self._ids_looked_at == IDS_PER_TURN:
            return False
        self._ids_looked_at += 1
        return self._machine.knows(datagram, path)

    def _on_turn(self, is_socket_empty: bool) -> None:
        self._is_socket_empty = is_socket_empty
        self._drain()

    def _serve_strangers(self, now: float) -> None:
        """Feeds what unknown senders sent, oldest first, while the turn has time left. A socket
        that was not emptied may hold more of the peers': they go first."""
        left_s = STRANGERS_TURN_S - self._peers_took_s if self._is_socket_empty else 0.0
        stop_at = now + max(left_s, STRANGERS_LEAST_S)
        while now < stop_at and (burst := self._strangers.take(now)) is not None:
            self._machine.receive_datagrams(memoryview(burst[0]), *burst[1:], now)
            now = self.now()

    def _run_scheduled(self) -> None:
        self._scheduled = False
        self._drain()

    def _on_timer(self) -> None:
        self._timer = None
        self._drain()

    def _on_writable(self) -> None:
        self._blocked = False
        self._drain()

    def _drain(self) -> None:
        if self._closed or self._draining:
            return
        self._draining = True
        try:
            self._drain_machine()
        except Exception as exc:
            self._fail(exc)
        finally:
            self._draining = False

    def _drain_machine(self) -> None:
        machine = self._machine
        now = self.now()
        stop_at = now + TURN_S
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            machine.handle_timer(now)
        if self._strangers:
            self._serve_strangers(now)
        self._peers_took_s = 0.0
        self._ids_looked_at = 0
        self._deliver_due()  # first: what a handler answers shares a datagram with what is due
        now = self.now()
        while not self._closed:
            self._again = False
            more = self._send_due(now)
            self._deliver_due()
            now = self.now()
            if not (more or self._again):
                break
            if now >= stop_at:
                self._schedule()
                break
        if self._closed:
            return
        if self._strangers:
            self._schedule()
        if not self._pending and not self._scheduled:
            self._release_idle()
        self._set_timer(machine.next_timer(), now)

    def _send_due(self, now: float) -> bool:
        """Asks the machine once and sends. True when it may have more."""
        if self._blocked:
            return False
        if not self._pending:
            stored = self._store is None or self._stored()
            transmits = self._machine.datagrams_to_send(now)
            if not transmits:
                return False
            if not stored:
                self._drop_due(now)
                return False
            self._pending.extend(transmits)
        return self._send_pending()

    def _send_pending(self) -> bool:
        pending = self._pending
        while pending:
            transmit = pending[0]
            sent = self._sockets.send(transmit, self._sent_of_first)
            if sent < len(transmit.data):
                self._sent_of_first = sent
                self._blocked = True
                self._sockets.when_writable(transmit, self._on_writable)
                return False
            self._sent_of_first = 0
            pending.popleft()
        return True

    def _stored(self) -> bool:
        assert self._store is not None
        try:
            self._store()
        except OSError as exc:
            told = isinstance(exc, StoreFailureTold)
            self._tracer.record("driver.store_failed", warning=not told, errno=exc.errno)
            return False
        return True

    def _drop_due(self, now: float) -> None:
        """Loses everything that is due: among it are the answers that must not leave."""
        for _ in range(_DROPPED_CALLS_MAX):
            if not self._machine.datagrams_to_send(now):
                break

    def _deliver_due(self) -> None:
        """Delivers every event; a handler may close the driver."""
        while not self._closed and (event := self._machine.next_event()) is not None:
            try:
                self._on_event(event)
            except Exception as exc:
                assert self._loop is not None
                self._loop.call_exception_handler(
                    {"message": "an event handler of wraith failed", "exception": exc}
                )

    def _schedule(self) -> None:
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._run_scheduled)

    def _set_timer(self, deadline: float | None, now: float) -> None:
        """Keeps at most one handle. One that fires too early is left alone: waking once for
        nothing is cheaper than cancelling and re-arming for every acknowledgement."""
        if deadline is not None and self._blocked:
            deadline = max(deadline, now + _BLOCKED_TIMER_S)
        self._deadline = deadline
        if deadline is None:
            return
        assert self._loop is not None
        if deadline <= now:
            self._schedule()
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _release_idle(self) -> None:
        waiters, self._idle = self._idle, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _fail(self, exc: Exception) -> None:
        if self._closed:
            return
        self.close()
        assert self._loop is not None
        self._loop.call_exception_handler(
            {"message": "the wraith machine failed; its endpoint is closed", "exception": exc}
        )
        if self._on_failed is not None:
            self._on_failed(exc)
