"""What ``wraith.send`` opens: an offer that stands until a receiver has everything.

Behaviour: docs/reference/api.md, "send".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final

from wraith.aio.files.calls import Call
from wraith.aio.files.events import DoneEvent, Event, ProgressEvent, WaitingEvent
from wraith.aio.files.following import check_route, ended, follow, note_end
from wraith.aio.files.offering import Offering
from wraith.aio.files.reaching import explained, no_address, place_texts, routed
from wraith.aio.files.telling import FileIds, Teller
from wraith.aio.files.waiting import announce
from wraith.aio.sessions.waiters import Waiters
from wraith.errors import LocalProtocolError
from wraith.node.codes import record_of
from wraith.node.config import NodeConfig
from wraith.node.events import Finished, NodeEvent
from wraith.transfer.code import Code
from wraith.transfer.events import Done
from wraith.transfer.path_rules import display_path

OTHER: Final = "the receiver"
EVENTS_MAX: Final = 1_000
"""So many facts wait for a program that looks at them late; the oldest go first."""


class Sending:
    """An offer that stands. Not thread-safe; belongs to the loop in which it was made.

    Leaving ``async with`` closes it: what a receiver has by then is kept there.
    """

    def __init__(
        self,
        offering: Offering,
        call: Call,
        code: Code | None,
        node_config: NodeConfig,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        source, transfer = offering.source, offering.transfer
        assert source is not None and transfer is not None
        self._name = display_path(source.outgoing.name)
        self._offering = offering
        self._config = node_config
        self._on_event = on_event
        self._teller = Teller(OTHER, name_of=call.name_of)
        self._transfer = transfer
        self._dialled = place_texts(code.roads) if code is not None else ()
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._waiters = Waiters()
        self._done: DoneEvent | None = None
        self._failure: Exception | None = None
        self._is_over = False
        self._has_begun = self._is_closing = False
        self._code: str | None = None
        first = self._begin(call, code)
        self._task = asyncio.create_task(self._run(first))

    def _begin(self, call: Call, code: Code | None) -> WaitingEvent:
        left_out = getattr(self._offering.source, "left_out", ())
        names = tuple(display_path(path) for path, _ in left_out[:EVENTS_MAX])
        if code is not None:
            record = record_of(code)
            roads = call.roads(record)
            check_route(routed(roads))
            self._transfer.start(record)
            return WaitingEvent(None, place_texts(roads), None, False, names)
        announced = announce(
            self._transfer, call.addresses(self._transfer.port), self._offering.kept
        )
        if not announced.addresses:
            raise no_address()
        self._code = announced.code
        self._transfer.start()
        return announced.event(names)

    def __repr__(self) -> str:
        if self._is_over:
            how = "closed" if self._done is None else "done"
        else:
            how = f"{self._teller.progress.bytes_done} bytes at {OTHER}"
        return f"<wraith.Sending {self._name!r}: {how}>"

    # --- facts ------------------------------------------------------------------------------

    @property
    def code(self) -> str:
        """The code for ``wraith.receive`` or ``wraith receive``. It is a secret: whoever has it may
        look at the offer and take it.

        Raises:
            LocalProtocolError: this side dials, so that it needs none.
        """
        if self._code is None:
            raise LocalProtocolError("only who waits has a code, and this side dials")
        return self._code

    @property
    def is_done(self) -> bool:
        """A receiver has everything."""
        return self._done is not None

    def __aiter__(self) -> Sending:
        return self

    async def __anext__(self) -> Event:
        """The next event; one task at a time. The loop ends when the offer does, and raises why if
        it failed. Of progress that nobody took only the newest is kept."""
        while not self._events:
            if not self._is_over:
                await self._waiters.wait()
            elif self._failure is not None:
                raise self._failure
            else:
                raise StopAsyncIteration
        return self._events.popleft()

    async def done(self) -> DoneEvent:
        """Waits until a receiver has everything. Several tasks may wait; cancellation is harmless.

        Files that failed (they changed while they were sent) are counted in ``failed``; the rest
        is there.

        Raises:
            OfferRefused: the receiver does not take it.
            WraithError: why else it has ended.
            LocalProtocolError: it was closed before.
        """
        while self._done is None and not self._is_over:
            await self._waiters.wait()
        if self._done is not None:
            return self._done
        raise self._failure or LocalProtocolError("this offer was closed before it was complete")

    # --- the end ----------------------------------------------------------------------------

    async def close(self) -> None:
        """Ends it: a receiver is told and keeps what it has. Idempotent. Returns when nothing of it
        is left, seconds at most; cancelled, the end goes on by itself."""
        self._is_closing = True
        if not self._task.done():
            note_end(self._offering.place, self._task)
        if self._has_begun and not self._is_over:
            self._task.cancel()
        await asyncio.wait({self._task})

    async def __aenter__(self) -> Sending:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- inside -----------------------------------------------------------------------------

    async def _run(self, first: WaitingEvent) -> None:
        is_finished = False
        self._has_begun = True
        try:
            if self._is_closing:
                raise asyncio.CancelledError
            self._tell(first)
            outcome = await follow(self._transfer, self._teller, self._tell, self._act)
            is_finished = True
            self._conclude(outcome)
        except asyncio.CancelledError:
            if not self._is_closing:
                self._failure = LocalProtocolError("the loop of this offer has ended")
        except Exception as exc:
            self._failure = exc
        finally:
            self._is_over = True
            self._waiters.notify()
            await ended(self._offering, finished=is_finished)

    def _act(self, event: NodeEvent) -> None:
        self._offering.on_event(event)
        if isinstance(event, Done) and self._config.keep:
            self._tell_done(event, ())  # the next receiver may be reading already

    def _conclude(self, outcome: Finished) -> None:
        if outcome.error is not None:
            limit_s = self._config.connect_timeout_s
            self._failure = explained(outcome.error, self._dialled, limit_s, OTHER)
        elif outcome.done is not None:
            self._tell_done(outcome.done, self._offering.file_ids())

    def _tell_done(self, done: Done, file_ids: FileIds) -> None:
        for fact in self._teller.done(done, file_ids):
            if isinstance(fact, DoneEvent):
                self._done = fact
            self._tell(fact)

    def _tell(self, event: Event) -> None:
        events = self._events
        if isinstance(event, ProgressEvent) and events and isinstance(events[-1], ProgressEvent):
            events[-1] = event
        else:
            events.append(event)
        self._waiters.notify()
        if self._on_event is not None:
            self._on_event(event)
