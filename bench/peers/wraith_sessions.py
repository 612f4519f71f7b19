"""WRAITH with many sessions in one process a side.

``serve`` prints ``{"port": code}``, lets everybody in, keeps every session and drops what comes
over its streams. ``dial CODE`` answers lines on stdin with lines on stdout: ``open N`` dials until
it holds N sessions, each from a socket and endpoint of its own, because the protocol allows four
sessions between two sockets; ``send BYTES`` sends that much over all sessions at once, the same
share on each, and answers when all of it is acknowledged.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import wraith

sys.path.insert(0, str(Path(__file__).parent))
from wraith_connect import HOST, config_of

AT_ONCE = 8
WRITE_BYTES = 64 * 1024


def config() -> wraith.EndpointConfig:
    base = config_of("B")
    limits = replace(base.budgets, connections_max=65_536)
    return replace(base, budgets=limits, datagram_bytes=1400)


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def drain(stream: wraith.Stream) -> None:
    while await stream.read_chunks(1 << 20):
        pass
    stream.finish()


async def keep(session: wraith.Session, tasks: set[asyncio.Task[None]]) -> None:
    async for stream in session:
        task = asyncio.create_task(drain(stream))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def serve() -> None:
    tasks: set[asyncio.Task[None]] = set()
    async with wraith.listen(f"{HOST}:0", config=config()) as listener:
        say(port=listener.code)
        async for session in listener:
            task = asyncio.create_task(keep(session, tasks))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def dial(code: str) -> None:
    sessions: list[wraith.Session] = []
    loop = asyncio.get_running_loop()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, number = line.split()
        start, cpu = time.perf_counter(), time.process_time()
        if verb == "open":
            await open_until(code, sessions, int(number))
            gc.collect()
        else:
            each = int(number) // len(sessions)
            await asyncio.gather(*(send(session, each) for session in sessions))
        stats = [session.stats() for session in sessions]
        say(
            sessions=len(sessions),
            lost_packets=sum(each.lost_packets for each in stats),
            sent_packets=sum(each.sent_packets for each in stats),
            open=sum(not session.is_closed for session in sessions),
            seconds=time.perf_counter() - start,
            cpu_s=time.process_time() - cpu,
        )


async def open_until(code: str, sessions: list[wraith.Session], n: int) -> None:
    todo = iter(range(n - len(sessions)))

    async def worker() -> None:
        for _ in todo:
            sessions.append(await wraith.connect(code, config=config()))

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def send(session: wraith.Session, n_bytes: int) -> None:
    piece = bytes(min(WRITE_BYTES, n_bytes))
    async with session.open_stream() as stream:
        while n_bytes > 0:
            await stream.write(piece[:n_bytes])
            n_bytes -= len(piece)
        stream.finish()
        await stream.wait_sent()


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else dial(sys.argv[2]))
