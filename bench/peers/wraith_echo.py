"""WRAITH as a peer of the latency benchmark.

The first byte of a stream says what it is for: ``e`` echoes what follows, ``b`` takes bulk and
drops it, ``f`` answers with a file of 1 KiB. ``serve`` prints ``{"port": code}``;
``echo CODE N`` sends 64-byte messages one after the other and prints ``{"ms": [...]}``;
``loaded CODE N`` does so beside a bulk stream of the same session; ``first CODE N`` makes N new
sessions and prints how long each took from the call to the first byte of the file. A suite may
follow each of them; it is B otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

import wraith

sys.path.insert(0, str(Path(__file__).parent))
from wraith_connect import HOST, config_of

SUITE = sys.argv[-1] if sys.argv[-1] in ("A", "B") else "B"
MESSAGE = bytes(64)
FILE = bytes(1024)
BULK = bytes(256 * 1024)


async def serve_stream(stream: wraith.Stream) -> None:
    kind = await stream.read_exactly(1)
    if kind == b"f":
        await stream.write(FILE)
        stream.finish()
    elif kind == b"e":
        async for data in stream:
            await stream.write(data)
    else:
        while await stream.read_chunks(1 << 20):
            pass


async def serve_session(session: wraith.Session, tasks: set[asyncio.Task[None]]) -> None:
    async for stream in session:
        keep(serve_stream(stream), tasks)


def keep(work: object, tasks: set[asyncio.Task[None]]) -> None:
    async def quietly() -> None:
        with contextlib.suppress(wraith.WraithError):
            await work  # type: ignore[misc]

    task = asyncio.create_task(quietly())
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def serve() -> None:
    tasks: set[asyncio.Task[None]] = set()
    async with wraith.listen(f"{HOST}:0", config=config_of(SUITE)) as listener:
        print(json.dumps({"port": listener.code}), flush=True)
        async for session in listener:
            keep(serve_session(session, tasks), tasks)


async def echoes(session: wraith.Session, n: int) -> list[float]:
    times = []
    async with session.open_stream(expedited=True) as stream:
        await stream.write(b"e")
        for _ in range(n):
            start = time.perf_counter()
            await stream.write(MESSAGE)
            await stream.read_exactly(len(MESSAGE))
            times.append((time.perf_counter() - start) * 1000)
    return times


async def echo(code: str, n: int) -> None:
    async with wraith.connect(code, config=config_of(SUITE)) as session:
        await echoes(session, 50)
        print(json.dumps({"ms": await echoes(session, n)}))


async def loaded(code: str, n: int) -> None:
    session = await wraith.connect(code, config=config_of(SUITE))
    sent = 0

    async def bulk() -> None:
        nonlocal sent
        stream = await session.open_stream()
        await stream.write(b"b")
        while True:
            await stream.write(BULK)
            sent += len(BULK)

    task = asyncio.create_task(bulk())
    await asyncio.sleep(0.5)  # past slow start
    before, start = sent, time.perf_counter()
    times = await echoes(session, n)
    rate = (sent - before) / (time.perf_counter() - start)
    task.cancel()
    await session.close()
    print(json.dumps({"ms": times, "bulk_mb_per_s": rate / 1e6}))


async def first(code: str, n: int) -> None:
    times = []
    await (await wraith.connect(code, config=config_of(SUITE))).close()  # imports are paid once
    for _ in range(n):
        start = time.perf_counter()
        async with wraith.connect(code, config=config_of(SUITE)) as session:
            stream = await session.open_stream()
            await stream.write(b"f")
            await stream.read(1)
            times.append((time.perf_counter() - start) * 1000)
    print(json.dumps({"ms": times}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        verb = {"echo": echo, "loaded": loaded, "first": first}[sys.argv[1]]
        asyncio.run(verb(sys.argv[2], int(sys.argv[3])))
