"""One loop that drives one machine: feed, drain, deliver, re-arm a single timer.

::

    socket ──► receive_datagrams ─┐  next_event ─► on_event
    timer  ──► handle_timer ──────┤► datagrams_to_send ─► store ─► socket
    task   ──► a command, wake() ─┘  next_timer ─► the one timer handle

Works for any ``driving.Machine``. It never decides anything: it does not know what a connection is.
Rules that it keeps:

- after every mutation the machine is drained (``driving.drain``), then the timer is set;
- what the kernel has left of a burst goes again, as the same bytes: they are sealed and their
  numbers spent. A socket that is full stops only what leads through it: the machine is told to hold
  those paths, and while every socket is full it is not asked at all;
- replay records are stored before the datagrams of the same drain are asked for; answers whose
  records cannot be stored have been taken back by then;
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
from functools import partial
from typing import Final, Generic, TypeVar

from wraith.abc import NullTracer, Tracer
from wraith.aio.allocator import keep_freed_memory
from wraith.aio.links import Links
from wraith.aio.strangers import Strangers
from wraith.aio.transports.socket_set import SocketSet
from wraith.aio.transports.udp import DatagramSocket
from wraith.driving import Machine, drain
from wraith.types import NetworkPath, Transmit

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
#: What is kept for a full socket while others are served. A machine hands out no more than one
#: call's bulk for each path that it is told to hold; beyond this datagrams are lost.
HELD_BYTES_MAX: Final = 4 * 1024 * 1024


class _FullSocket:
    """Datagrams that wait for a full socket, oldest first; the first from ``start`` on."""

    __slots__ = ("_is_lent", "_n_bytes", "_transmits", "paths", "start")

    def __init__(self) -> None:
        self.paths: set[NetworkPath] = set()
        self.start = 0
        self._transmits: deque[Transmit] = deque()
        self._n_bytes = 0
        self._is_lent = False

    def put(self, transmit: Transmit) -> bool:
        """Keeps one more; false when there is too much of it."""
        if self._transmits and self._n_bytes + len(transmit.data) > HELD_BYTES_MAX:
            return False
        self._transmits.append(transmit)
        self._n_bytes += len(transmit.data)
        self._is_lent = True
        return True

    def own(self) -> None:
        """Copies what the machine has lent: it is about to be asked again."""
        if self._is_lent:
            self._is_lent = False
            for _ in range(len(self._transmits)):
                one = self._transmits.popleft()
                data = one.data if one.data.readonly else memoryview(bytes(one.data))
                self._transmits.append(Transmit(data, one.segment_bytes, one.path))

    def send(self, sockets: SocketSet) -> bool:
        """True when everything went."""
        while self._transmits:
            first = self._transmits[0]
            self.start = sockets.send(first, self.start)
            if self.start < len(first.data):
                return False
            self.start = 0
            self._n_bytes -= len(first.data)
            self._transmits.popleft()
        return True


class Driver(Generic[EventT]):
    """Drives one machine on one event loop. Not thread-safe: call it from its loop only.

    Args:
        machine: what to drive; the driver alone feeds and drains it, others may issue commands
            and must call ``wake`` after them.
        sockets: taken over; closed by ``close``.
        on_event: called for every event, oldest first; may issue commands. What it raises is
            reported to the loop and loses no event.
        after_events: called whenever the events that were there have been delivered.
        on_failed: called once if the machine raised; the driver is closed by then.
        store: called before each ``datagrams_to_send``. When it returns, what must be on disk is
            there, or the machine has taken back what depends on it.
        links: the stream connections of the machine, if it knows any; closed by ``close``.
    """

    def __init__(
        self,
        machine: Machine[EventT],
        sockets: SocketSet,
        *,
        on_event: Callable[[EventT], None],
        after_events: Callable[[], None] | None = None,
        on_failed: Callable[[Exception], None] | None = None,
        store: Callable[[], None] | None = None,
        links: Links | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._machine = machine
        self._sockets = sockets
        self._on_event = on_event
        self._after_events = after_events
        self._on_failed = on_failed
        self._store = store
        self.links = links
        self._tracer = tracer or NullTracer()
        self._full: dict[DatagramSocket, _FullSocket] = {}
        self.datagrams_dropped = 0
        self._strangers = Strangers()
        self._peers_took_s = 0.0
        self._is_socket_empty = True
        self._ids_looked_at = 0
        self._closed = False
        self._draining = False
        self._again = False
        self._scheduled = False
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # uvloop's handle of a near deadline does not know it
        self._deadline: float | None = None
        self._idle: list[asyncio.Future[None]] = []
        self._watching: list[Callable[[], bool]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.now: Callable[[], float] = time.monotonic

    def start(self) -> None:
        """Begins to drive. Must run inside the event loop."""
        keep_freed_memory()
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._sockets.tell_refused_size(self._on_refused_size)
        self._sockets.start(self._loop, self._on_burst, self._on_turn, self._put_aside)
        if self.links is not None:
            self.links.start(self._loop, self)
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
        self._full.clear()
        self._strangers.clear()
        if self.links is not None:
            self.links.forget()

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

    def watch(self, look: Callable[[], bool]) -> None:
        """Calls ``look`` after every drain that has left nothing to send, and once more after
        ``close``, until it returns true: for what only a drain can change."""
        self._watching.append(look)
        self.wake()

    def close(self) -> None:
        """Stops at once: no more datagrams, events or timers. Idempotent; may run in a callback."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._full.clear()
        if self.links is not None:
            self.links.close()
        self._sockets.close()
        self._release_idle()
        watching, self._watching = self._watching, []
        for look in watching:
            look()

    # --- what links ask (links.Turn) ----------------------------------------------------------

    def feed(self, call: Callable[[], None]) -> None:
        """Calls into the machine; an exception out of it is a defect, and ends the driver."""
        if self._closed:
            return
        try:
            call()
        except Exception as exc:
            self._fail(exc)

    def drain(self) -> None:
        """After something was fed."""
        if self._draining:
            self._again = True
        else:
            self._drain()

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

    def _on_refused_size(self, path: NetworkPath, n_bytes: int) -> None:
        self._machine.handle_mtu_exceeded(path, n_bytes, self.now())

    def _on_writable(self, socket: DatagramSocket) -> None:
        full = self._full.get(socket)
        if self._closed or full is None:
            return
        if full.send(self._sockets):
            self._forget_full(socket)
            self._drain()
        else:
            socket.when_writable(partial(self._on_writable, socket))

    def _forget_full(self, socket: DatagramSocket) -> None:
        for path in self._full.pop(socket).paths:
            self._machine.release(path)

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
        now = self.now()
        stop_at = now + TURN_S
        if self._strangers:
            self._serve_strangers(now)
        self._peers_took_s = 0.0
        self._ids_looked_at = 0
        deadline, self._deadline = self._deadline, None
        if drain(self._machine, self, deadline=deadline, stop_at=stop_at):
            self._schedule()
        if self._closed:
            return
        if self.links is not None:
            self.links.take_wishes()
        if self._strangers:
            self._schedule()
        if not self._full and not self._scheduled:
            self._release_idle()
        self._set_timer(self._machine.next_timer(), self.now())
        if self._watching and not self._full and not self._scheduled:
            self._watching = [look for look in self._watching if not look()]

    # --- what drain asks (driving.Outside) --------------------------------------------------

    @property
    def is_open(self) -> bool:
        """False after ``close`` or a failure."""
        return not self._closed

    def can_send(self) -> bool:
        """Some socket has room; what must be on disk first has been stored."""
        if self._full:
            for socket in [socket for socket in self._full if socket not in self._sockets.sockets]:
                self._forget_full(socket)  # it was replaced
            if not self._has_room():
                return False
            for full in self._full.values():
                full.own()
        if self._store is not None:
            self._store()
        return True

    def send(self, transmits: Sequence[Transmit]) -> bool:
        """Hands ``transmits`` to the kernel. True when the machine may have more."""
        if not transmits:
            return False
        sockets = self._sockets
        for transmit in transmits:
            if transmit.path.link and self.links is not None:
                self.links.send(transmit)
                continue
            if self._full and (socket := sockets.socket_for(transmit.path)) in self._full:
                self._keep(self._full[socket], transmit)
                continue
            sent = sockets.send(transmit, 0)
            if sent < len(transmit.data):
                self._on_full(transmit, sent)
        return self._has_room()

    def _on_full(self, transmit: Transmit, sent: int) -> None:
        socket = self._sockets.socket_for(transmit.path)
        assert socket is not None  # it has just taken a part
        full = self._full[socket] = _FullSocket()
        full.start = sent
        self._keep(full, transmit)
        socket.when_writable(partial(self._on_writable, socket))

    def _keep(self, full: _FullSocket, transmit: Transmit) -> None:
        if not full.put(transmit):
            self.datagrams_dropped += transmit.n_datagrams
            return
        if transmit.path not in full.paths:
            full.paths.add(transmit.path)
            self._machine.hold(transmit.path)

    def deliver(self, now: float) -> bool:
        """Delivers every event; a handler may close the driver, or issue commands."""
        while not self._closed and (event := self._machine.next_event()) is not None:
            try:
                self._on_event(event)
            except Exception as exc:
                assert self._loop is not None
                self._loop.call_exception_handler(
                    {"message": "an event handler of wraith failed", "exception": exc}
                )
        if self._after_events is not None:
            self._after_events()
        again, self._again = self._again, False
        return again

    def _has_room(self) -> bool:
        return len(self._full) < len(self._sockets.sockets) or bool(self.links)

    def _schedule(self) -> None:
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._run_scheduled)

    def _set_timer(self, deadline: float | None, now: float) -> None:
        """Keeps at most one handle. One that fires too early is left alone: waking once for
        nothing is cheaper than cancelling and re-arming for every acknowledgement."""
        if deadline is not None and self._full and not self._has_room():
            deadline = max(deadline, now + _BLOCKED_TIMER_S)
        self._deadline = deadline
        if deadline is None:
            return
        assert self._loop is not None
        if deadline <= now:
            self._schedule()
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
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
