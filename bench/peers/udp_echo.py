"""The limit of the latency benchmark: 64 bytes there and back over plain asyncio UDP."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


async def serve() -> None:
    sock, loop = bound(), asyncio.get_running_loop()
    print(json.dumps({"port": sock.getsockname()[1]}), flush=True)
    while True:
        data, source = await loop.sock_recvfrom(sock, 2048)
        await loop.sock_sendto(sock, data, source)


async def echo(port: int, n: int) -> None:
    sock, loop = bound(), asyncio.get_running_loop()
    sock.connect(("127.0.0.1", port))
    times = []
    for _ in range(n):
        start = time.perf_counter()
        await loop.sock_sendall(sock, bytes(64))
        await loop.sock_recv(sock, 2048)
        times.append((time.perf_counter() - start) * 1000)
    print(json.dumps({"ms": times}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        asyncio.run(echo(int(sys.argv[2]), int(sys.argv[3])))
