"""Other loops: uvloop and anyio on asyncio run sessions as asyncio does; trio is told no."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc
import pytest
import trio

import wraith

uvloop = pytest.importorskip("uvloop", reason="not made for this platform")
pytestmark = pytest.mark.timeout(60)

BULK = random.Random(5).randbytes(3_000_000)

RUNNERS: dict[str, Callable[[Callable[[], Awaitable[None]]], None]] = {
    "asyncio": lambda main: asyncio.run(_coroutine(main)),
    "uvloop": lambda main: uvloop.run(_coroutine(main)),
    "anyio": lambda main: anyio.run(main, backend="asyncio"),
    "anyio with uvloop": lambda main: anyio.run(
        main, backend="asyncio", backend_options={"use_uvloop": True}
    ),
}
_everywhere = pytest.mark.parametrize("runner", RUNNERS)


async def _coroutine(main: Callable[[], Awaitable[None]]) -> None:
    await main()


async def _digests(listener: wraith.Listener) -> None:
    """Answers each stream with the digest of what came, and each message with itself."""
    async for session in listener:
        session.send_datagram(b"hello")
        async for stream in session:
            await stream.write(hashlib.sha256(await stream.read_all()).digest())
            stream.finish()


@_everywhere
def test_a_session_from_begin_to_end(runner: str) -> None:
    async def main() -> None:
        async with wraith.listen("127.0.0.1:0") as listener:
            answering = asyncio.ensure_future(_digests(listener))
            async with wraith.connect(listener.code) as session:
                assert await session.receive_datagram() == b"hello"
                async with session.open_stream() as stream:
                    await stream.write(BULK)
                    stream.finish()
                    assert await stream.read_all() == hashlib.sha256(BULK).digest()
            await listener.close(grace_s=1)
            await answering

    RUNNERS[runner](main)


@_everywhere
def test_time_outs_and_ends_are_the_same(runner: str) -> None:
    async def main() -> None:
        async with wraith.listen("127.0.0.1:0") as listener:
            code = listener.code
            client = await wraith.connect(code)
            server = await listener.accept()
            stream = await client.open_stream()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await stream.read()
            await client.close(0x1001, "enough")
            await server.accept_stream()  # it came before the end
            with pytest.raises(ConnectionError):
                await server.accept_stream()
        quick = wraith.EndpointConfig(handshake_timeout_s=1)
        with pytest.raises(TimeoutError):
            await wraith.connect(code, config=quick)

    RUNNERS[runner](main)


@pytest.mark.parametrize("runner", ["anyio", "anyio with uvloop"])
def test_cancel_scopes_of_anyio_end_a_wait_and_a_session(runner: str) -> None:
    """anyio cancels a task again at each ``await`` until it has left the scope."""

    async def main() -> None:
        async with wraith.listen("127.0.0.1:0") as listener:
            client = await wraith.connect(listener.code)
            server = await listener.accept()
            stream = await client.open_stream()
            with anyio.move_on_after(0.05) as scope:
                await stream.read()
            assert scope.cancelled_caught
            await stream.write(b"still there")  # the wait took nothing with it
            incoming = await server.accept_stream()
            assert await incoming.read() == b"still there"

            with anyio.move_on_after(0.2):
                async with client:
                    await anyio.sleep_forever()
            assert client.is_closed
            with anyio.fail_after(10):
                await server.wait_closed()

            async with anyio.create_task_group() as group:
                for _ in range(3):
                    await group.start(_come_and_stay, listener.code)
                sessions = [await listener.accept() for _ in range(3)]
                group.cancel_scope.cancel()
            for session in sessions:
                with anyio.fail_after(10):
                    await session.wait_closed()

    RUNNERS[runner](main)


async def _come_and_stay(code: str, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    async with wraith.connect(code):
        task_status.started()
        await anyio.sleep_forever()


@pytest.mark.parametrize("call", ["connect", "listen", "open_node", "send", "receive"])
def test_under_trio_one_sentence_says_what_runs_it(call: str) -> None:
    from wraith.aio import open_node

    async def awaited() -> None:
        if call == "connect":
            await wraith.connect("wr1")
        elif call == "listen":
            await wraith.listen("127.0.0.1:0")
        elif call == "send":
            await wraith.send(text="hello")
        elif call == "receive":
            await wraith.receive("wr1", ".", accept=True)
        else:
            await open_node("127.0.0.1:0")

    async def in_a_block() -> None:
        async with wraith.listen("127.0.0.1:0"):
            pass

    for main in (awaited, in_a_block):
        with pytest.raises(wraith.LocalProtocolError, match="needs a running asyncio") as caught:
            trio.run(main)
        assert "not on trio" in caught.value.hint
        with pytest.raises(wraith.LocalProtocolError):
            anyio.run(main, backend="trio")
