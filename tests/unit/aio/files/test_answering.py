"""An answer belongs to one offer."""

from __future__ import annotations

import asyncio

import pytest

from wraith.aio.files.answering import Answering, Ask
from wraith.errors import StateViolation
from wraith.transfer.answers import SurveyResult
from wraith.transfer.events import OfferReceived
from wraith.transfer.messages import Offer, OfferKind, Reason

pytestmark = pytest.mark.asyncio


def offered(number: int) -> OfferReceived:
    offer = Offer(OfferKind.FILES, 1, 1, number, 1, 30, bytes(32))
    return OfferReceived(offer, (), 0, 0, SurveyResult(), bytes([number]) * 32)


class Pending:
    """A transfer whose pending offer is ``offer``; what it was told stands in ``heard``."""

    def __init__(self) -> None:
        self.offer: OfferReceived | None = None
        self.heard: list[tuple[str, object]] = []

    def accept(self, offer_id: bytes) -> None:
        if self.offer is None or self.offer.offer_id != offer_id:
            raise StateViolation("that offer is gone")
        self.heard.append(("accept", offer_id[0]))

    def decline(self, reason: Reason = Reason.DECLINED) -> None:
        self.heard.append(("decline", reason))


class Desk:
    """Offers, and a program that answers when it is told to."""

    def __init__(self, *, asks: bool = True) -> None:
        self.transfer = Pending()
        self.asked: list[tuple[int, bool]] = []
        self.cancelled: list[int] = []
        self.gone: list[str] = []
        self.answers: dict[int, asyncio.Future[Reason | None]] = {}
        ask: Ask | None = self._ask if asks else None
        self.answering = Answering(self.transfer, ask, on_gone=self.gone.append)

    async def _ask(self, event: OfferReceived, changed: bool) -> Reason | None:
        number = event.offer_id[0]
        self.asked.append((number, changed))
        self.answers[number] = asyncio.get_running_loop().create_future()
        try:
            return await self.answers[number]
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise

    async def offer(self, number: int) -> None:
        self.transfer.offer = offered(number)
        self.answering.on_offer(self.transfer.offer)
        await self.turn()

    async def turn(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_without_a_question_everything_is_accepted() -> None:
    desk = Desk(asks=False)
    await desk.offer(1)
    await desk.offer(2)
    assert desk.transfer.heard == [("accept", 1), ("accept", 2)]


@pytest.mark.spec("TR-101")
async def test_the_same_offer_gets_the_same_answer_again() -> None:
    desk = Desk()
    await desk.offer(1)
    await desk.offer(1)  # after a new connection: its question stands
    desk.answers[1].set_result(None)
    await desk.turn()
    await desk.offer(1)
    assert desk.asked == [(1, False)]
    assert desk.transfer.heard == [("accept", 1), ("accept", 1)]


@pytest.mark.spec("TR-101")
async def test_another_offer_cancels_the_question_and_is_asked_about_anew() -> None:
    desk = Desk()
    await desk.offer(1)
    await desk.offer(2)
    assert desk.cancelled == [1] and desk.asked == [(1, False), (2, True)]
    desk.answers[2].set_result(Reason.NAME_EXISTS)
    await desk.turn()
    assert desk.transfer.heard == [("decline", Reason.NAME_EXISTS)]


@pytest.mark.spec("TR-101")
async def test_a_yes_to_an_offer_that_has_gone_accepts_nothing_until_it_comes_again() -> None:
    desk = Desk()
    await desk.offer(1)
    desk.transfer.offer = None  # the connection is lost
    desk.answers[1].set_result(None)
    await desk.turn()
    assert desk.transfer.heard == [] and desk.gone == ["that offer is gone"]
    await desk.offer(1)
    assert desk.transfer.heard == [("accept", 1)] and desk.asked == [(1, False)]


async def test_a_question_that_fails_declines_and_keeps_why() -> None:
    desk = Desk()
    await desk.offer(1)
    desk.answers[1].set_exception(ZeroDivisionError())
    await desk.turn()
    assert desk.transfer.heard == [("decline", Reason.DECLINED)]
    assert isinstance(desk.answering.failure, ZeroDivisionError)


async def test_a_question_that_is_taken_back_answers_nothing() -> None:
    desk = Desk()
    await desk.offer(1)
    desk.answering.close()
    await desk.turn()
    assert desk.transfer.heard == [] and desk.cancelled == [1]
