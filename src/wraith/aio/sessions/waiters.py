"""Tasks that wait for a change of something that they share."""

from __future__ import annotations

import asyncio


class Waiters(set["asyncio.Future[None]"]):
    """Holds tasks that wait. A change wakes all of them, so none is lost; each looks again."""

    __slots__ = ()

    async def wait(self) -> None:
        """Until the next ``notify``. Cancellation is harmless."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.add(waiter)
        try:
            await waiter
        finally:
            self.discard(waiter)

    def notify(self) -> None:
        """Something has changed."""
        for waiter in self:
            if not waiter.done():
                waiter.set_result(None)
