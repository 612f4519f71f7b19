"""Runs a transfer inside an event loop for a command: signals, a tick, the peers' names, the line
with the code, the exit code.

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
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from wraith.aio.clock import SystemClock
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.kept_code import KeptCode
from wraith.aio.files.reaching import code_addresses
from wraith.aio.files.waiting import announce
from wraith.aio.sockets.routes import any_route, is_loopback, wait_until
from wraith.aio.transfers import Transfer
from wraith.cli.handover import copy_code, show_qr
from wraith.cli.history import Recorder
from wraith.cli.narrator import Narrator
from wraith.cli.output import Output
from wraith.cli.screen import BOLD, CYAN
from wraith.errors import PeerKeyMismatch, TransferError, WraithError
from wraith.node.events import Connected, Finished, NodeEvent
from wraith.transfer.reasons import Interrupted
from wraith.types import Address, PeerKey

Result = TypeVar("Result")
TICK_S = 1.0
PARTLY_DONE = 3


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Runs on a loop that has ``add_reader`` (on Windows the default loop has not)."""
    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
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


@dataclass(frozen=True, slots=True)
class Invitation:
    """The words of a command that waits for its code: ``line`` is what to run on the machine that
    ``where`` speaks of."""

    where: str
    line: str
    is_new_line: str
    is_old_line: str | None
    maker_receives: bool


def invite(
    invitation: Invitation,
    narrator: Narrator,
    output: Output,
    transfer: Transfer,
    local: Address,
    kept: KeptCode | None,
    *,
    copies: bool = False,
    as_qr: bool = False,
    left_out: Sequence[str] | None = None,
) -> None:
    """Shows the code of ``transfer``, which waits at ``local``. ``kept`` notes what the code names;
    what is ``left_out`` stands in the event too."""
    addresses = code_addresses(local, transfer.port)
    announced = announce(transfer, addresses, kept, maker_receives=invitation.maker_receives)
    narrator.tell(announced.event(left_out))
    if announced.is_changed:
        output.say(invitation.is_new_line)
    elif announced.is_resumed and invitation.is_old_line is not None:
        output.say(invitation.is_old_line)
    output.say(invitation.where)
    output.result(invitation.line.format(code=announced.code), BOLD, CYAN)
    if as_qr:
        show_qr(output, announced.code)
    if copies:
        copy_code(output, announced.code)
    where = ", ".join(announced.addresses)
    output.say(f"waiting at {where}; a firewall must let UDP port {announced.port} in")


async def find_route(addresses: tuple[Address, ...], narrator: Narrator, *, waits: bool) -> None:
    """Looks whether this machine has a way to one of ``addresses``; ``waits`` for it.

    Raises:
        ConnectFailed: it has none, and nobody waits.
    """
    if any_route(addresses):
        return
    error = narrator.no_route(addresses, waits=waits)
    if error is not None:
        raise error
    await wait_until(lambda: any_route(addresses))


async def find_address(
    local: Address, transfer: Transfer, narrator: Narrator, *, waits: bool
) -> None:
    """Looks whether a code could name an address of this machine, as ``find_route``. While
    somebody waits, its own loopback address is none."""

    def found() -> tuple[Address, ...]:
        return code_addresses(local, transfer.port)

    if any(local.ip):
        return  # it was named
    if found() and not (waits and all(is_loopback(each) for each in found())):
        return
    error = narrator.no_address(waits=waits)
    if error is not None:
        raise error
    await wait_until(lambda: not all(is_loopback(each) for each in found()))


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


class Acquaintances:
    """The peers that are known here. Records whom a transfer met."""

    def __init__(self, home: HomeFolder) -> None:
        self._home = home
        self._names = {entry.key: entry.name for entry in home.peers()}

    def name_of(self, key: PeerKey) -> str:
        return self._names.get(key, "")

    def pinned(self, name: str) -> PeerKey:
        """The key that a person gave this name.

        Raises:
            TransferError: nobody has it.
        """
        entry = self._home.find_peer(name)
        if entry is None:
            raise TransferError(
                f"no peer is called {name}", hint="`wraith peers name NAME KEY` gives a name"
            )
        return entry.key

    def met(self, event: NodeEvent) -> None:
        """Records the peer of a ``Connected``. A disk that is full does not end a transfer."""
        if isinstance(event, Connected) and event.peer is not None and not event.is_this_machine:
            with contextlib.suppress(OSError, WraithError):
                self._home.peer_seen(event.peer, SystemClock().unix_time())

    def check_pin(self, name: str, key: PeerKey) -> None:
        """The code's key must be the one that this name stands for.

        Raises:
            PeerKeyMismatch: it is another one: nothing is dialled.
        """
        expected = self.pinned(name)
        if expected != key:
            raise PeerKeyMismatch(
                f"this code is from {key.short}…, but {name} is known as {expected.short}…",
                hint=f"ask {name} through another channel; if their key really changed, "
                f"`wraith peers forget {name}` and name the new one",
            )
