"""WRAITH as a peer of the handshake benchmark.

``serve SUITE`` prints ``{"port": code}`` and lets everybody in until it is stopped.
``connect CODE N SUITE`` makes N handshakes one after the other, each from a new socket and
identity as ``wraith.connect`` does it, and prints ``{"ms": [...], "cpu_s"}``. ``resume`` does the
same by ticket, and prints ``n_resumed`` too.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace

import wraith
from wraith.config import Budgets

HOST = os.environ.get("BULK_HOST", "127.0.0.1")


def config_of(suite: str) -> wraith.EndpointConfig:
    """Budgets against strangers are raised: one address makes all the handshakes here."""
    return wraith.EndpointConfig(
        suites=(wraith.SuiteId[suite],),
        budgets=replace(
            Budgets.native(),
            preauth_rate=1e6,
            preauth_burst=100_000,
            prefix_rate=1e6,
            prefix_burst=100_000,
            hello_full_rate=1e6,
            hello_full_burst=100_000,
        ),
    )


async def serve(suite: str) -> None:
    async with wraith.listen(f"{HOST}:0", config=config_of(suite)) as listener:
        print(json.dumps({"port": listener.code}), flush=True)
        async for _ in listener:
            pass


async def connect(code: str, n: int, suite: str, tickets: wraith.MemoryTickets | None) -> None:
    config = config_of(suite)
    times = []
    n_resumed = 0
    # Imports what is imported lazily, and brings the first tickets.
    await (await wraith.connect(code, config=config, tickets=tickets)).close()
    cpu = time.process_time()
    for _ in range(n):
        start = time.perf_counter()
        session = await wraith.connect(code, config=config, tickets=tickets)
        times.append((time.perf_counter() - start) * 1000)
        n_resumed += session.security.authenticated_by == "ticket"
        await session.close()
    cpu_s = time.process_time() - cpu
    print(json.dumps({"ms": times, "cpu_s": cpu_s, "n_resumed": n_resumed}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2]))
    else:
        store = wraith.MemoryTickets() if sys.argv[1] == "resume" else None
        asyncio.run(connect(sys.argv[2], int(sys.argv[3]), sys.argv[4], store))
