"""TLS 1.3 over asyncio streams, in the same shape as the other bulk peers.

``tls_bulk.py recv`` prints {"port": N}, takes one connection, prints what it measured;
``tls_bulk.py send PORT MIB DATAGRAM`` sends (the datagram size means nothing to TCP).
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from certificate import write_pair
from content import Expected, enlarge, pieces

HOST = os.environ.get("BULK_HOST", "127.0.0.1")


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*write_pair(Path(folder)))
    return context


async def receive() -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start, total, expected, cpu = 0.0, 0, Expected(), cpu_seconds()
        while data := await reader.read(1 << 20):
            start = start or time.perf_counter()
            total += len(data)
            expected.take(data)
        seconds = time.perf_counter() - start
        said = {"bytes": total, "seconds": seconds, "cpu_s": cpu_seconds() - cpu}
        print(json.dumps({**said, "equal": expected.equal}))
        writer.close()
        done.set_result(None)

    listener = socket.create_server((HOST, 0))
    enlarge(listener)  # what it accepts inherits this
    server = await asyncio.start_server(serve, sock=listener, ssl=server_context(), limit=4 << 20)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await done
    server.close()


async def send(port: int, mib: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection((HOST, port))
    enlarge(raw)
    _, writer = await asyncio.open_connection(sock=raw, ssl=context, server_hostname=HOST)
    cpu = cpu_seconds()
    for piece in pieces(mib << 20):
        writer.write(piece)
        await writer.drain()
    writer.close()
    await writer.wait_closed()
    print(json.dumps({"cpu_s": cpu_seconds() - cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "recv":
        asyncio.run(receive())
    else:
        asyncio.run(send(int(sys.argv[2]), int(sys.argv[3])))
