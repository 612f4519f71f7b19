"""The contract of every machine, and the one order in which it is driven.

::

    input ──► receive_datagrams, commands
    time  ──► handle_timer ──► next_event ──► datagrams_to_send ──┐
                                   ▲───────── while either finds more

``drain`` is what the driver of real sockets (``aio/driver.py``) and the simulated networks
(``testing/pair.py``) have in common, so a machine meets the same order in both. It knows no socket,
no clock and no machine in particular: what is outside of the machine is an ``Outside``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Protocol, TypeVar

from wraith.types import Buffer, NetworkPath, Transmit

EventT_co = TypeVar("EventT_co", covariant=True)


class Drainable(Protocol):
    """The part of the contract that moves datagrams and time. Times are monotonic seconds, never
    decreasing."""

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float, /
    ) -> object:
        """Takes a burst: datagrams of ``segment_bytes``, the last possibly shorter. Borrowed for
        the call."""
        ...

    def handle_timer(self, now: float, /) -> None:
        """Does what is due at ``now``."""
        ...

    def datagrams_to_send(self, now: float, /) -> Sequence[Transmit]:
        """Datagrams that are due now. Call again until it returns none. The buffers are lent until
        the next call."""
        ...

    def next_timer(self) -> float | None:
        """When to call ``handle_timer``; the present moment while something waits to be sent."""
        ...


class Machine(Drainable, Protocol[EventT_co]):
    """Everything that a driver may ask of a machine."""

    def knows(self, datagram: Buffer, path: NetworkPath, /) -> bool:
        """True if a datagram from ``path`` seems to belong to a known peer. Says nothing about its
        authenticity. An empty ``datagram`` asks about the path alone, which is the cheaper."""
        ...

    def handle_mtu_exceeded(self, path: NetworkPath, n_bytes: int, now: float, /) -> None:
        """The host's network refused a single datagram of ``n_bytes`` on ``path`` for its size."""
        ...

    def hold(self, path: NetworkPath, /) -> None:
        """The way out to ``path`` is full. What is bulk waits in the machine until ``release``;
        single datagrams may still be handed out, and other paths are served as ever."""
        ...

    def release(self, path: NetworkPath, /) -> None:
        """The way out to ``path`` has room again."""
        ...

    def next_event(self) -> EventT_co | None:
        """The next fact, oldest first."""
        ...


class Outside(Protocol):
    """The outside of a machine while it is drained."""

    @property
    def is_open(self) -> bool:
        """False: nothing more is to be sent or delivered. May change while events are handled."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def deliver(self, now: float, /) -> bool:
        """Delivers every event. True when a command was issued meanwhile."""
        ...

    def can_send(self) -> bool:
        """Whether the machine may be asked for datagrams. Asked before each time; what must be on
        disk before they leave is stored here."""
        ...

    def send(self, transmits: Sequence[Transmit], /) -> bool:
        """Takes datagrams; they are lent until the machine is asked again. True when it may have
        more."""
        ...


def drain(
    machine: Drainable, outside: Outside, *, deadline: float | None, stop_at: float = inf
) -> bool:
    """Brings ``machine`` to rest after input, a command or the passing of time.

    The timer comes first, then events, so that what a handler answers shares a datagram with what
    is due; then datagrams, and again while sending made events or handling one issued a command.

    Args:
        deadline: what ``next_timer`` said last.
        stop_at: the drain ends here even if the machine has more.

    Returns:
        True when it ended at ``stop_at``: call again soon.
    """
    now = outside.now()
    if deadline is not None and now >= deadline:
        machine.handle_timer(now)
    outside.deliver(now)
    now = outside.now()
    while outside.is_open:
        has_more = outside.can_send() and outside.send(machine.datagrams_to_send(now))
        was_told = outside.deliver(now)
        now = outside.now()
        if not (has_more or was_told):
            return False
        if now >= stop_at:
            return True
    return False
