"""Waiting until every peer of a service knows that it is over.

A connection is settled once its peer has said CLOSE too, or has had three probe timeouts for it.
That changes in a drain only, so it is looked at after each of them and at no other time.

Spec: docs/spec/connection.md [CN-5, CN-6].
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from wraith.connection.connection import Connection


class Watchable(Protocol):
    """The part of a driver that is needed here."""

    @property
    def closed(self) -> bool: ...

    def watch(self, look: Callable[[], bool], /) -> None: ...


def when_settled(
    driver: Watchable,
    connections: Callable[[], Iterable[Connection]],
    limit_s: float,
    then: Callable[[], None],
) -> None:
    """Calls ``then`` once: when nothing is left to tell the peer of any of ``connections``, when
    ``driver`` is closed, or after ``limit_s``. Never before this returns."""
    limit: asyncio.TimerHandle | None = None
    is_over = False

    def end() -> None:
        nonlocal is_over
        if not is_over:
            is_over = True
            if limit is not None:
                limit.cancel()
            then()

    def look() -> bool:
        if driver.closed or all(connection.is_settled for connection in connections()):
            end()
        return is_over

    loop = asyncio.get_running_loop()
    if driver.closed:
        loop.call_soon(end)
        return
    limit = loop.call_later(limit_s, end)
    driver.watch(look)


async def settled(
    driver: Watchable, connections: Callable[[], Iterable[Connection]], limit_s: float
) -> None:
    """As ``when_settled``. Cancellation is harmless."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def then() -> None:
        if not done.done():
            done.set_result(None)

    when_settled(driver, connections, limit_s, then)
    await done
