"""``websockets`` alone, in the bulk peers' shape: messages of 64 KiB, behind a web server that adds
TLS.

``BULK_WS_PORT`` is where the receiver listens, ``BULK_WS_URL`` leads there. Compression is off, and
nothing limits a message or a queue earlier than the kernel does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

sys.path.insert(0, str(Path(__file__).parent))
import kernel_tcp
from content import Expected, enlarge, pieces
from tls_bulk import cpu_seconds

MESSAGE_BYTES = 64 * 1024
WRITE_BYTES = 256 * 1024


async def receive() -> None:
    done = asyncio.Event()

    async def take(connection: ServerConnection) -> None:
        sock = connection.transport.get_extra_info("socket")
        enlarge(sock)
        kernel_tcp.choose(sock)
        start, total, expected, cpu = 0.0, 0, Expected(), cpu_seconds()
        try:
            while data := await connection.recv(decode=False):
                start = start or time.perf_counter()
                total += len(data)
                expected.take(data)
        except ConnectionClosed:
            pass
        seconds = time.perf_counter() - start
        said = {"bytes": total, "seconds": seconds, "cpu_s": cpu_seconds() - cpu}
        print(json.dumps(said | {"equal": expected.equal, "tcp": kernel_tcp.used()}))
        done.set()

    port = int(os.environ["BULK_WS_PORT"])
    async with serve(
        take, "127.0.0.1", port, compression=None, max_size=None, max_queue=None,
        ping_interval=None,
    ):  # fmt: skip
        print(json.dumps({"port": port}), flush=True)
        await done.wait()


async def send(mib: int) -> None:
    async with connect(
        os.environ["BULK_WS_URL"], compression=None, write_limit=WRITE_BYTES, ping_interval=None
    ) as connection:
        sock = connection.transport.get_extra_info("socket")
        enlarge(sock)
        kernel_tcp.choose(sock)
        cpu = cpu_seconds()
        for piece in pieces(mib << 20):
            for at in range(0, len(piece), MESSAGE_BYTES):
                await connection.send(piece[at : at + MESSAGE_BYTES])
    print(json.dumps({"cpu_s": cpu_seconds() - cpu, "tcp": kernel_tcp.used()}))


if __name__ == "__main__":
    asyncio.run(receive() if sys.argv[1] == "recv" else send(int(sys.argv[3])))
