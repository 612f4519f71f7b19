"""Many sessions at one listener."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import wraith
from wraith.aio.sessions.listener import UNACCEPTED_SESSIONS_MAX
from wraith.config import Budgets, EndpointConfig
from wraith.errors import CloseCode, NotAuthorised, PeerClosed

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

#: One host dials a hundred times at once: far more than a stranger's prefix may.
GENEROUS = EndpointConfig(
    budgets=replace(
        Budgets(),
        preauth_burst=5000,
        prefix_rate=5000.0,
        prefix_burst=5000,
        hello_full_rate=1000.0,
        hello_full_burst=1000,
        half_open_per_prefix=1024,
        cookie_half_open=4096,
    )
)


async def serve(session: wraith.Session) -> None:
    stream = await session.accept_stream()
    await stream.write(await stream.read_all())
    stream.finish()


async def test_a_hundred_sessions_at_once() -> None:
    async with wraith.listen("127.0.0.1:0", config=GENEROUS) as listener:
        code = listener.code

        async def accept() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(100):
                    group.create_task(serve(await listener.accept()))

        async def dial(i: int) -> None:
            async with (
                wraith.connect(code, config=GENEROUS) as session,
                session.open_stream() as stream,
            ):
                await stream.write(i.to_bytes(4, "big") * 1000)
                stream.finish()
                assert await stream.read_all() == i.to_bytes(4, "big") * 1000

        async with asyncio.TaskGroup() as group:
            group.create_task(accept())
            for i in range(100):
                group.create_task(dial(i))
        async with asyncio.timeout(10):
            while listener.sessions:
                await asyncio.sleep(0.02)


async def test_sessions_that_nobody_accepts_are_refused_beyond_a_limit() -> None:
    async with wraith.listen("127.0.0.1:0", config=GENEROUS) as listener:
        code = listener.code
        sessions = []
        for _ in range(UNACCEPTED_SESSIONS_MAX):
            sessions.append(await wraith.connect(code, config=GENEROUS))
        with pytest.raises((PeerClosed, NotAuthorised)) as caught:
            await wraith.connect(code, config=GENEROUS)
        assert getattr(caught.value, "close_code", 0) == CloseCode.CONNECTION_ERROR
        await listener.accept()
        sessions.append(await wraith.connect(code, config=GENEROUS))
        for session in sessions:
            await session.close()
