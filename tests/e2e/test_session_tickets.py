"""Sessions that come back by ticket, over real sockets."""

from __future__ import annotations

import asyncio
import inspect
import os

import pytest

import wraith
from wraith.errors import ConfigError

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


async def visit(code: str, store: wraith.MemoryTickets, **options: object) -> wraith.SecurityInfo:
    """One session in which a stream goes there and back: its tickets have come by then."""
    async with wraith.connect(code, tickets=store, **options) as session:  # type: ignore[arg-type]
        async with session.open_stream() as stream:
            await stream.write(b"hello")
            stream.finish()
            assert await stream.read_all() == b"hello"
        return session.security


async def serve(listener: wraith.Listener) -> None:
    async for session in listener:
        async for stream in session:
            await stream.write(await stream.read_all())
            stream.finish()


@pytest.mark.parametrize("carrier", ["udp", "tcp"])
async def test_the_second_dial_with_a_store_is_by_ticket(carrier: str) -> None:
    store = wraith.MemoryTickets()
    async with wraith.listen("127.0.0.1:0", carriers=("udp", "tcp")) as listener:
        server = asyncio.create_task(serve(listener))
        ways = [await visit(listener.code, store, carriers=(carrier,)) for _ in range(3)]
        server.cancel()
    assert [way.authenticated_by for way in ways] == ["static-key", "ticket", "ticket"]
    assert all(way.post_quantum for way in ways) and len({way.peer for way in ways}) == 1
    assert len(store) == 2


async def test_a_listener_that_was_restarted_costs_no_error() -> None:
    store = wraith.MemoryTickets()
    async with wraith.listen("127.0.0.1:0") as listener:
        server = asyncio.create_task(serve(listener))
        await visit(listener.code, store)
        listener._endpoint.running.node.endpoint._tickets.wipe()  # as after a restart
        assert (await visit(listener.code, store)).authenticated_by == "static-key"
        server.cancel()


async def test_what_is_no_store_is_one_clear_error() -> None:
    async with wraith.listen("127.0.0.1:0") as listener:
        with pytest.raises(ConfigError, match=r"tickets.*MemoryTickets"):
            await wraith.connect(listener.code, tickets={"a": 1})  # type: ignore[arg-type]


async def test_a_forked_child_uses_no_ticket() -> None:
    store = wraith.MemoryTickets()
    async with wraith.listen("127.0.0.1:0") as listener:
        server = asyncio.create_task(serve(listener))
        await visit(listener.code, store)
        child = os.fork()
        if child == 0:
            os._exit(len(store))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0 and len(store) == 2
        assert (await visit(listener.code, store)).authenticated_by == "ticket"
        server.cancel()


async def test_there_is_no_early_data() -> None:
    for name in dir(wraith):
        value = getattr(wraith, name)
        words = [name]
        if inspect.isclass(value):
            words += dir(value)
            words += list(getattr(value, "__dataclass_fields__", ()))
        if callable(value) and not inspect.isclass(value):
            words += list(inspect.signature(value).parameters)
        for word in words:
            plain = word.lower().replace("_", "")
            assert "0rtt" not in plain and "zerortt" not in plain and plain != "earlydata", word
