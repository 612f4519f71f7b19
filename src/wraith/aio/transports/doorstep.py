"""Keeps the links that no session answers for: the timer and the orders of ``LinkPools``.

Every endpoint has one, for the links of all its listeners and for those that it dialled and that
discard. Time and randomness come from outside, so tests need not wait for ten minutes.

Spec: carriers.md [CA-20 to CA-22].
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable
from typing import Final

from wraith.abc import Rng
from wraith.aio.transports.link_socket import LinkSocket
from wraith.connection.links.pools import LinkPools, Order, Stage

_FILES_UNKNOWN: Final = 1_024


class Doorstep:
    """Watches over links from their coming until a session answers for them or they are gone.

    Args:
        rng: for the time that a link discards.
        clock: monotonic seconds; the loop's without one.
        files_max: as of ``LinkPools``; what the process may open without one.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        rng: Rng,
        *,
        clock: Callable[[], float] | None = None,
        files_max: int | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock or loop.time
        self._pools = LinkPools(rng, files_max or open_files_max())
        self._links: dict[int, LinkSocket] = {}
        self._timer: TimerHandle | None = None

    def count(self, stage: Stage) -> int:
        """Links of that stage."""
        return self._pools.count(stage)

    def came(self, link: LinkSocket) -> None:
        """A connection was accepted."""
        self._links[link.path.link] = link
        self._obey(self._pools.add(link.path.link, link.path.remote, self._clock()))

    def proven(self, link: LinkSocket) -> None:
        """Its preface is good."""
        self._obey(self._pools.proven(link.path.link, self._clock()))

    def settle(self, number: int) -> None:
        """Something authenticated on the link of this number: a session answers for it from now
        on. One that is not here, or discards, is left as it is."""
        if self._pools.stage_of(number) in (Stage.UNDECIDED, Stage.PROVEN):
            del self._links[number]
            self._pools.remove(number)
            self._set_timer()

    def discards(self, link: LinkSocket) -> None:
        """It throws away what comes, from now on."""
        self._links[link.path.link] = link
        self._obey(self._pools.discard(link.path.link, link.path.remote, self._clock()))

    def gone(self, link: LinkSocket) -> None:
        """It is closed, or a session answers for it."""
        if self._links.pop(link.path.link, None) is not None:
            self._pools.remove(link.path.link)

    def run(self) -> None:
        """Does what is due now. The timer calls it."""
        self._obey(self._pools.due(self._clock()))

    def close(self) -> None:
        """Resets every link that is still here."""
        if self._timer is not None:
            self._timer.cancel()
        for link in list(self._links.values()):
            link.reset()

    def _obey(self, orders: Iterable[Order]) -> None:
        for order in orders:
            link = self._links.get(order.number)
            if link is None:
                continue
            if order.reset:
                link.reset()
            else:
                link.give_up()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._pools.next_time()
        if at is not None:
            self._timer = self._loop.call_later(max(0.0, at - self._clock()), self.run)


def open_files_max() -> int:
    """How many files this process may have open."""
    if sys.platform == "win32":
        return _FILES_UNKNOWN
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _FILES_UNKNOWN if soft == resource.RLIM_INFINITY else soft
