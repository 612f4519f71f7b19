"""Streams of a session over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import cast

import pytest

import wraith
from wraith.aio.sessions.session import Session
from wraith.aio.sessions.stream import Stream
from wraith.errors import LimitExceeded, LocalProtocolError, StreamReset
from wraith.testing.sessions import session_pair

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


def random_bytes(n: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(n)


async def echo(session: Session) -> None:
    async with asyncio.TaskGroup() as group:
        async for stream in session:
            group.create_task(echo_stream(stream))


async def echo_stream(stream: Stream) -> None:
    async for data in stream:
        await stream.write(data)
    stream.finish()


async def test_what_is_written_comes_back() -> None:
    async with session_pair() as pair:
        server = asyncio.create_task(echo(pair.server))
        async with pair.client.open_stream() as stream:
            await stream.write(b"hello")
            assert await stream.read() == b"hello"
            await stream.write(bytearray(b"wor"))
            await stream.write(memoryview(b"ld"))
            assert await stream.read_exactly(5) == b"world"
            stream.finish()
            assert await stream.read() == b""
            assert await stream.read() == b"", "the end stays the end"
            await stream.wait_sent()
        await pair.client.close()
        await server


async def test_a_megabyte_both_ways_at_once() -> None:
    data = random_bytes(3 << 20)
    async with session_pair() as pair:
        server = asyncio.create_task(echo(pair.server))
        stream = await pair.client.open_stream()

        async def write() -> None:
            await stream.write(data)
            stream.finish()

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            reader = group.create_task(stream.read_all())
        assert hashlib.sha256(reader.result()).digest() == hashlib.sha256(data).digest()
        assert stream.n_accepted == len(data)
        await pair.client.close()
        await server


async def test_chunks_are_the_same_bytes_without_joining() -> None:
    data = random_bytes(1 << 20, 2)
    async with session_pair() as pair:
        stream = await pair.client.open_stream()

        async def write() -> None:
            await stream.write(data)
            stream.finish()

        writer = asyncio.create_task(write())
        incoming = await pair.server.accept_stream()
        pieces: list[bytes] = []
        while chunks := await incoming.read_chunks(100_000):
            assert sum(map(len, chunks)) <= 100_000
            pieces.extend(bytes(chunk) for chunk in chunks)
        assert b"".join(pieces) == data
        await writer


async def test_fifty_streams_do_not_mix() -> None:
    async with session_pair() as pair:
        server = asyncio.create_task(echo(pair.server))

        async def one(i: int) -> None:
            data = random_bytes(20_000 + i, i)
            async with pair.client.open_stream() as stream:
                await stream.write(data)
                stream.finish()
                assert await stream.read_all() == data

        async with asyncio.TaskGroup() as group:
            for i in range(50):
                group.create_task(one(i))
        await pair.client.close()
        await server
        assert pair.client._streams == {}, "finished streams are forgotten"


async def test_half_close_lets_the_other_half_live() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"question")
        stream.finish()
        stream.finish()
        with pytest.raises(LocalProtocolError, match="finished"):
            await stream.write(b"more")
        incoming = await pair.server.accept_stream()
        assert incoming.id == stream.id
        assert await incoming.read_all() == b"question"
        await incoming.write(b"answer")
        incoming.finish()
        assert await stream.read_all() == b"answer"


async def test_a_reset_is_seen_with_its_code() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"x" * 1000)
        incoming = await pair.server.accept_stream()
        await incoming.read_exactly(1000)
        waiting = asyncio.create_task(incoming.read())
        await asyncio.sleep(0)
        stream.reset(0x1234)
        stream.reset(0x1234)
        with pytest.raises(StreamReset) as caught:
            await waiting
        assert caught.value.stream_code == 0x1234
        with pytest.raises(StreamReset):
            await incoming.read()
        await incoming.write(b"the other half still works")
        incoming.finish()
        assert await stream.read_all() == b"the other half still works"


async def test_a_stop_ends_the_writer() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"begin")
        incoming = await pair.server.accept_stream()
        incoming.stop(0x1777)
        with pytest.raises(StreamReset) as caught:
            while True:
                await stream.write(b"x" * 65_536)
                await asyncio.sleep(0)
        assert caught.value.stream_code == 0x1777


async def test_leaving_the_context_with_an_exception_resets() -> None:
    async with session_pair() as pair:
        with pytest.raises(ZeroDivisionError):
            async with pair.client.open_stream() as stream:
                await stream.write(b"begin")
                incoming = await pair.server.accept_stream()
                assert await incoming.read() == b"begin"
                raise ZeroDivisionError
        with pytest.raises(StreamReset):
            await incoming.read()


async def test_a_reader_that_stops_stops_the_writer() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        chunk = b"x" * 65_536

        async def pour() -> None:
            while True:
                await stream.write(chunk)

        writer = asyncio.create_task(pour())
        incoming = await pair.server.accept_stream()
        config = pair.client._endpoint.machine.config
        before = -1
        while stream.n_accepted != before:
            before = stream.n_accepted
            await asyncio.sleep(0.1)
        assert not writer.done()
        bound = config.stream_window_max + config.send_buffer_bytes
        assert 0 < stream.n_accepted <= bound
        assert pair.client.stats().bytes_in_flight <= bound

        await incoming.read_exactly(before)
        while stream.n_accepted == before:  # reading opens the window again
            await asyncio.sleep(0.01)
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer


async def test_a_cancelled_write_tells_what_was_accepted() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        data = random_bytes(40 << 20, 3)
        writer = asyncio.create_task(stream.write(data))
        incoming = await pair.server.accept_stream()
        before = -1
        while stream.n_accepted != before:
            before = stream.n_accepted
            await asyncio.sleep(0.1)
        writer.cancel()
        n_accepted = -1
        try:
            await writer
        except asyncio.CancelledError as exc:
            n_accepted = cast(int, getattr(exc, "n_accepted", -1))
        assert n_accepted == stream.n_accepted == before
        stream.finish()
        received = await incoming.read_all(64 << 20)
        assert len(received) == n_accepted
        assert received == data[:n_accepted], "what was accepted arrives, in order, nothing else"


async def test_a_timeout_around_a_write_is_a_timeout() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.3):
                await stream.write(bytes(40 << 20))
        assert 0 < getattr(caught.value.__cause__, "n_accepted", 0) < 40 << 20


async def test_a_cancelled_read_loses_nothing() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"a")
        incoming = await pair.server.accept_stream()
        assert await incoming.read() == b"a"
        reader = asyncio.create_task(incoming.read())
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await stream.write(b"b")
        assert await incoming.read() == b"b"


async def test_two_readers_or_writers_at_once_are_refused() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"a")
        reader = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        with pytest.raises(LocalProtocolError, match="another task is reading"):
            await stream.read()
        reader.cancel()
        writer = asyncio.create_task(stream.write(bytes(40 << 20)))
        await asyncio.sleep(0.05)
        with pytest.raises(LocalProtocolError, match="another task is writing"):
            await stream.write(b"b")
        writer.cancel()


async def test_an_early_end_and_too_much_data_are_errors() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"short")
        stream.finish()
        incoming = await pair.server.accept_stream()
        with pytest.raises(EOFError):
            await incoming.read_exactly(6)
        await incoming.write(b"x" * 100)
        incoming.finish()
        with pytest.raises(LimitExceeded):
            await stream.read_all(99)


async def _open_one(session: Session, number: int) -> Stream:
    stream = await session.open_stream()
    await stream.write(number.to_bytes(2, "big"))
    return stream


@pytest.mark.parametrize("is_held", [False, True], ids=["each ends", "all stay open"])
async def test_a_burst_of_streams_waits_and_none_is_reset(is_held: bool) -> None:
    """A thousand tasks open a stream before the other side has accepted the first."""
    async with session_pair() as pair:
        opening = [asyncio.create_task(_open_one(pair.client, n)) for n in range(1_000)]
        await asyncio.sleep(0.2)
        numbers: set[int] = set()
        held: list[Stream] = []
        for _ in range(1_000):
            incoming = await pair.server.accept_stream()
            numbers.add(int.from_bytes(await incoming.read_exactly(2), "big"))
            if is_held:
                held.append(incoming)
            else:
                async with incoming:
                    pass
        assert numbers == set(range(1_000))
        assert len(await asyncio.gather(*opening)) == 1_000


async def test_nobody_who_accepts_none_is_opened_more_than_its_places() -> None:
    async with (
        wraith.listen("127.0.0.1:0", max_pending_streams=20) as listener,
        wraith.connect(listener.code) as client,
    ):
        server = await listener.accept()
        opening = [asyncio.create_task(_open_one(client, n)) for n in range(50)]
        await asyncio.sleep(0.3)
        assert sum(task.done() for task in opening) == 20
        for stream in [task.result() for task in opening if task.done()]:
            stream.reset()
            stream.stop()
        await asyncio.sleep(0.3)
        assert sum(task.done() for task in opening) == 20, "what has ended still waits"
        for _ in range(30):
            await server.accept_stream()
        assert len(await asyncio.wait_for(asyncio.gather(*opening), 10)) == 50


async def test_an_urgent_stream_overtakes_a_bulk_transfer() -> None:
    async with session_pair() as pair:
        bulk = await pair.client.open_stream(priority=200)
        writer = asyncio.create_task(bulk.write(bytes(8 << 20)))
        incoming = await pair.server.accept_stream()
        n_read = len(await incoming.read())
        urgent = await pair.client.open_stream(priority=0)
        await urgent.write(b"now")
        urgent_in = await pair.server.accept_stream()
        assert await urgent_in.read() == b"now"
        while n_read < 8 << 20:
            n_read += len(await incoming.read(1 << 20))
        await writer
