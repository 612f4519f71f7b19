"""WRAITH as a peer of the benchmark of roads. Lines of JSON; commands are read from stdin.

``serve`` listens everywhere, and with ``serve URL PLACE`` on WebSocket, too. It prints ``{"port":
code}``, lets everybody in, and writes 64 KiB on a stream of each session every 20 ms. ``dial
CARRIERS`` takes commands: ``connect CODE N`` dials so often and answers ``{"ms": [...], "carriers":
[...]}``; ``pull CODE`` opens a session; ``report`` answers ``{"gap_s", "carrier", "moves":
[[seconds, carrier], ...]}``: the longest time without data since the last ``mark``, and which
carriers came into use when.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import wraith

BLOCK = bytes(64 * 1024)
EVERY_S = 0.02
CARRIERS = ("udp", "tcp")


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


async def serve(url: str | None = None, place: str | None = None) -> None:
    tasks: set[asyncio.Task[None]] = set()
    carriers = CARRIERS if url is None else (*CARRIERS, "ws")
    async with wraith.listen(carriers=carriers, ws=url, ws_listen=place) as listener:
        say(port=listener.code)
        async for session in listener:
            tasks.add(asyncio.create_task(feed(session)))


async def feed(session: wraith.Session) -> None:
    with contextlib.suppress(wraith.WraithError):
        stream = await session.open_stream()
        while True:
            await stream.write(BLOCK)
            await asyncio.sleep(EVERY_S)


class Pull:
    """One session, from which data come."""

    def __init__(self, session: wraith.Session) -> None:
        self.session = session
        self.mark()

    def mark(self) -> None:
        self.began = self.last = time.monotonic()
        self.gap_s = 0.0
        self.moves: list[tuple[float, str]] = []
        self.carrier = self.session.carrier

    async def run(self) -> None:
        stream = await self.session.accept_stream()
        while await stream.read(len(BLOCK)):
            now = time.monotonic()
            self.gap_s = max(self.gap_s, now - self.last)
            self.last = now
            if self.session.carrier != self.carrier:
                self.carrier = self.session.carrier
                self.moves.append((round(now - self.began, 3), self.carrier))

    def report(self) -> None:
        gap_s = max(self.gap_s, time.monotonic() - self.last)
        say(gap_s=round(gap_s, 3), carrier=self.carrier, moves=self.moves)


async def connect(code: str, n: int, carriers: Sequence[str]) -> None:
    times, names = [], []
    for _ in range(n):
        start = time.perf_counter()
        session = await wraith.connect(code, carriers=carriers)
        times.append(round((time.perf_counter() - start) * 1000, 1))
        names.append(session.carrier)
        await session.close()
    say(ms=times, carriers=names)


async def dial(carriers: Sequence[str]) -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    pull: Pull | None = None
    task: asyncio.Task[None] | None = None
    while line := (await lines.readline()).decode().split():
        match line:
            case ["connect", code, n]:
                await connect(code, int(n), carriers)
            case ["pull", code]:
                pull = Pull(await wraith.connect(code, carriers=carriers))
                task = asyncio.create_task(pull.run())
                say(carrier=pull.carrier)
            case ["mark"] if pull is not None:
                pull.mark()
                say(carrier=pull.carrier)
            case ["report"] if pull is not None and task is not None:
                pull.report()
            case _:
                say(error="what?")


def main() -> None:
    match sys.argv[1:]:
        case ["serve", *web]:
            asyncio.run(serve(*web))
        case ["dial", carriers]:
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(dial(carriers.split(",")))
    os._exit(0)  # sessions whose roads are cut would be waited for


if __name__ == "__main__":
    main()
