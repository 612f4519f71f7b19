"""Runs a transfer inside an event loop for a command: signals, a tick, the exit code.

Ctrl-C once ends the transfer in good order (the other side is told, everything verified stays);
twice ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from wraith.aio.transports.routes import any_route, wait_until
from wraith.transfer.reasons import Interrupted
from wraith.types import Address

if TYPE_CHECKING:  # a command that waits shows its code before it loads what answers there
    from wraith.aio.transfers import Transfer
    from wraith.cli.acquaintances import Acquaintances
    from wraith.cli.history import Recorder
    from wraith.cli.narrator import Narrator
    from wraith.node.events import Finished, NodeEvent

Result = TypeVar("Result")
TICK_S = 1.0
PARTLY_DONE = 3


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Runs on a loop that has ``add_reader`` (on Windows the default loop has not)."""
    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    # Before there is a transfer to end in good order, a request to end is an interruption, too.
    for number in ending_signals():
        if number != signal.SIGINT:  # the loop's own business
            signal.signal(number, signal.default_int_handler)
    # What was imported stays: the collector need not look through it again and again.
    gc.freeze()
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(coroutine)


async def shown_events(
    transfer: Transfer, narrator: Narrator, peers: Acquaintances, recorder: Recorder | None = None
) -> AsyncIterator[NodeEvent]:
    """The events of ``transfer``, each told by ``narrator``, who was met noted by ``peers`` and
    what was completed by ``recorder`` before the caller sees it."""
    ticking = asyncio.create_task(_tick(narrator))
    try:
        with interrupts(transfer), resizes(narrator):
            async for event in transfer.events():
                narrator.show(event)
                peers.met(event)
                if recorder is not None:
                    recorder.on_event(event)
                yield event
    finally:
        ticking.cancel()


async def find_route(addresses: tuple[Address, ...], narrator: Narrator, *, waits: bool) -> None:
    """Looks whether this machine has a way to one of ``addresses``, if some are named; ``waits``
    for it.

    Raises:
        ConnectFailed: it has none, and nobody waits.
    """
    if not addresses or any_route(addresses):
        return
    error = narrator.no_route(addresses, waits=waits)
    if error is not None:
        raise error
    await wait_until(lambda: any_route(addresses))


def conclude(
    finished: Finished,
    narrator: Narrator,
    connect_timeout_s: float,
    file_ids: tuple[tuple[bytes, bytes], ...],
) -> int:
    """Tells how it ended; the exit code.

    Raises:
        WraithError: it failed; with what may help.
    """
    if finished.error is not None:
        raise narrator.explain(finished.error, connect_timeout_s)
    assert finished.done is not None
    narrator.done(finished.done, file_ids)
    return PARTLY_DONE if finished.done.n_failed else 0


async def _tick(narrator: Narrator) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        narrator.redraw()


def ending_signals() -> tuple[signal.Signals, ...]:
    """Signals that end a command in good order. A closed terminal (SIGHUP) is one unless it is
    ignored: under ``nohup`` the command goes on, and a handler would undo that. [TR-128]"""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, hangup


@contextlib.contextmanager
def interrupts(transfer: Transfer) -> Iterator[None]:
    """While inside, Ctrl-C, a request to terminate and a terminal that is closed end the transfer
    in good order."""
    loop = asyncio.get_running_loop()
    asked = False

    def on_signal(number: int) -> None:
        nonlocal asked
        if asked:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        asked = True
        transfer.stop(
            Interrupted("interrupted", hint="run the same command again to go on where it stopped")
        )

    added: list[signal.Signals] = []
    for number in ending_signals():
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, on_signal, number)
            added.append(number)
    try:
        yield
    finally:
        for number in added:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def resizes(narrator: Narrator) -> Iterator[None]:
    """Draws the progress line anew as soon as the terminal has another size."""
    number = getattr(signal, "SIGWINCH", None)
    loop = asyncio.get_running_loop()
    if number is None:
        yield
        return
    with contextlib.suppress(NotImplementedError, RuntimeError):
        loop.add_signal_handler(number, narrator.resized)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.remove_signal_handler(number)
