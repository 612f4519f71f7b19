"""Follows one transfer to its end and tells its facts; and ends it in good order when the program
wants no more of it.

The last part is what makes a cancelled call one that can be made again: the other side is told,
what is verified is journalled, and no file of it stays open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from wraith.aio.files.events import Event
from wraith.aio.files.reaching import no_route
from wraith.aio.files.telling import Teller
from wraith.aio.transfers import Transfer
from wraith.aio.transports.routes import any_route
from wraith.errors import WraithError
from wraith.node.events import Finished, NodeEvent
from wraith.transfer.reasons import Interrupted
from wraith.types import Address

TICK_S: Final = 1.0
END_S: Final = 5.0
"""The end of a transfer that is stopped comes within two seconds."""
INTERRUPTED: Final = "the call was cancelled"
INTERRUPTED_HINT: Final = "the same call goes on where it stopped"


class Holder(Protocol):
    """Who holds a transfer and its files: an ``Offering`` or a ``Taking``. ``place`` names what one
    call at a time can hold of them; empty where there is no such thing."""

    transfer: Transfer | None
    place: str

    async def close(self) -> None: ...


async def follow(
    transfer: Transfer,
    teller: Teller,
    tell: Callable[[Event], None],
    act: Callable[[NodeEvent], None],
) -> Finished:
    """Takes every event to the last one: its facts go to ``tell``, then ``act`` gets it.

    Raises:
        WraithError: as ``Transfer.events``; and whatever ``tell`` and ``act`` raise.
    """
    events = transfer.events()
    waiting: asyncio.Future[NodeEvent] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(_next(events))
            done, _ = await asyncio.wait({waiting}, timeout=TICK_S)
            if not done:
                for fact in teller.tick():
                    tell(fact)
                continue
            event, waiting = waiting.result(), None
            for fact in teller.take(event):
                tell(fact)
            act(event)
            if isinstance(event, Finished):
                return event
    finally:
        if waiting is not None:
            waiting.cancel()


async def _next(events: AsyncIterator[NodeEvent]) -> NodeEvent:
    return await anext(events)


async def ended(holder: Holder, *, finished: bool) -> None:
    """Ends the transfer of ``holder``, if it has not ``finished``, and closes everything.

    Cancelled, it goes on by itself: what is on its way to a file is written before that is closed.
    Whoever wants the place meanwhile waits for it (``previous_end``).
    """
    ending = asyncio.ensure_future(_end(holder, finished))
    note_end(holder.place, ending)
    await asyncio.shield(ending)


#: What is ending now, and the place that it still holds. A loop holds its tasks weakly.
_ENDING: dict[asyncio.Future[None], str] = {}


def note_end(place: str, ending: asyncio.Future[None]) -> None:
    """``place`` is free when ``ending`` is done."""
    _ENDING[ending] = place
    ending.add_done_callback(lambda done: _ENDING.pop(done, None))


async def previous_end(place: str) -> None:
    """Waits until no cancelled call of this loop holds ``place`` any more. anyio cancels again
    whoever waits after a cancellation, so such a call may have returned before its end."""
    loop = asyncio.get_running_loop()
    while before := {
        ending
        for ending, held in list(_ENDING.items())
        if held and held == place and ending.get_loop() is loop and not ending.done()
    }:
        await asyncio.wait(before)


async def _end(holder: Holder, finished: bool) -> None:
    transfer = holder.transfer
    is_over = finished or transfer is None or transfer.is_closed or transfer.service.is_finished
    try:
        if transfer is not None and not is_over:
            transfer.stop(Interrupted(INTERRUPTED, hint=INTERRUPTED_HINT))
            with contextlib.suppress(WraithError, TimeoutError):
                async with asyncio.timeout(END_S):
                    async for _ in transfer.events():
                        pass
    finally:
        await holder.close()


def check_route(addresses: tuple[Address, ...]) -> None:
    """Raises ``ConnectFailed`` if this machine has no way to any of ``addresses``, if some are
    named."""
    if addresses and not any_route(addresses):
        raise no_route(addresses)
