"""Answers the offers of one receive, so that what is accepted is what was shown.

An answer belongs to one offer, by its ``offer_id``: the same offer, after a new connection, gets
the same answer again. When another offer comes in its place, the question that stands is
cancelled, and the new offer is asked about anew.

Spec: transfer §6 [TR-100, TR-101].
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from wraith.errors import StateViolation
from wraith.transfer.events import OfferReceived
from wraith.transfer.messages import Reason

Ask = Callable[[OfferReceived, bool], Awaitable[Reason | None]]
"""Asks about an offer; the flag says that it took the place of another one. Returns ``None`` to
accept it, or why it is refused."""


class Answerable(Protocol):
    """The transfer that an offer came over."""

    def accept(self, offer_id: bytes) -> None: ...

    def decline(self, reason: Reason = ...) -> None: ...


class Answering:
    """See the module. Belongs to one event loop.

    Args:
        ask: ``None`` accepts whatever is offered.
        on_gone: told when an accepted offer had gone meanwhile; it is accepted when it comes again.
    Attributes:
        failure: the exception of an ``ask`` that failed. The offer was declined then.
    """

    def __init__(
        self,
        transfer: Answerable,
        ask: Ask | None,
        *,
        on_gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.failure: Exception | None = None
        self._transfer = transfer
        self._ask = ask
        self._on_gone = on_gone
        self._answers: dict[bytes, Reason | None] = {}
        self._asked: bytes | None = None
        self._asking: asyncio.Task[None] | None = None

    def on_offer(self, event: OfferReceived) -> None:
        """An offer is pending. Call it after the offer was told. [TR-101]"""
        if self._ask is None or event.offer_id in self._answers:
            self._answer(event, self._answers.get(event.offer_id))
        elif self._asked != event.offer_id:  # else its question stands already
            before, self._asked = self._asking, event.offer_id
            if before is not None:
                before.cancel()
            self._asking = asyncio.create_task(self._question(self._ask, event, before))

    def close(self) -> None:
        """Takes a question that stands back."""
        if self._asking is not None:
            self._asking.cancel()

    async def _question(
        self, ask: Ask, event: OfferReceived, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            refused = await ask(event, before is not None)
        except asyncio.CancelledError:
            return
        except Exception as exc:
            self.failure, refused = exc, Reason.DECLINED
        self._asked = None
        self._answer(event, refused)

    def _answer(self, event: OfferReceived, refused: Reason | None) -> None:
        self._answers[event.offer_id] = refused
        if refused is not None:
            self._transfer.decline(refused)
            return
        try:
            self._transfer.accept(event.offer_id)
        except StateViolation as gone:  # it is taken when it comes again; another is asked about
            self._on_gone(str(gone))
