"""The libp2p QUIC endpoint in the bulk peers' shape: one raw stream, memory to memory.

libp2p_bulk.py BACKEND POLICY recv [DATAGRAM]
libp2p_bulk.py BACKEND POLICY send MULTIADDR MIB DATAGRAM
libp2p_bulk.py BACKEND POLICY serve         listens until it is ended; for handshakes and memory
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from content import Expected, pieces

from wraith.abc import NullTracer
from wraith.aio.libp2p import Libp2pHost
from wraith.aio.libp2p.stream import Libp2pStream
from wraith.libp2p.config import PqPolicy, QuicLimits, QuicTransportConfig

MIB = 1 << 20


def configuration(backend: str, policy: str, datagram: int) -> QuicTransportConfig:
    """The windows of the other bulk peers: 24 and 16 MiB, 4 MiB ahead."""
    return QuicTransportConfig(
        backend=backend,
        policy=PqPolicy(policy),
        datagram_bytes=datagram,
        connection_window=24 * MIB,
        stream_window=16 * MIB,
        send_buffer_bytes=4 * MIB,
    )


async def receive(config: QuicTransportConfig) -> None:
    done = asyncio.Event()

    async def count(stream: Libp2pStream) -> None:
        async with stream:
            data = await stream.read(1 << 20)
            expected = Expected()
            began, cpu, total = time.perf_counter(), time.process_time(), 0
            while data:
                total += len(data)
                expected.take(data)
                data = await stream.read(1 << 20)
            seconds = time.perf_counter() - began
            used = time.process_time() - cpu
            said = {"bytes": total, "seconds": seconds, "cpu_s": used}
            print(json.dumps({**said, "equal": expected.equal}), flush=True)
            await stream.write(b"k")
            await stream.close_write()
        await stream.connection.wait_closed()
        done.set()

    listen = [f"/ip4/{os.environ.get('BULK_HOST', '127.0.0.1')}/udp/0/quic-v1"]
    async with await Libp2pHost.create(listen=listen, config=config) as host:
        host.on_raw_stream = count
        print(json.dumps({"port": str(host.listen_addresses[0])}), flush=True)
        await done.wait()


async def serve(config: QuicTransportConfig) -> None:
    listen = ["/ip4/127.0.0.1/udp/0/quic-v1"]
    # No tracer: a line on stderr per classical connection would flatter the hybrid.
    host = await Libp2pHost.create(listen=listen, config=config, tracer=NullTracer())
    async with host:
        print(json.dumps({"port": str(host.listen_addresses[0])}), flush=True)
        await asyncio.Event().wait()


async def send(multiaddr: str, mib: int, config: QuicTransportConfig) -> None:
    async with await Libp2pHost.create(config=config) as host:
        connection = await host.dial(multiaddr)
        stream = connection.open_raw_stream()
        cpu = time.process_time()
        for piece in pieces(mib * MIB):
            await stream.write(piece)
        await stream.close_write()
        await stream.read()
        used = time.process_time() - cpu
        print(json.dumps({"cpu_s": used, "group": connection.security.group}))


if __name__ == "__main__":
    backend, policy, verb, *rest = sys.argv[1:]
    if verb == "recv":
        datagram = int(rest[0]) if rest else 1200
        asyncio.run(receive(configuration(backend, policy, datagram)))
    elif verb == "serve":
        limits = QuicLimits(connections_per_peer=1000, pending_in=1000, retry_above_pending=1000)
        config = replace(configuration(backend, policy, 1200), limits=limits, keepalive_s=None)
        print(f"limits raised for this run: {limits}", file=sys.stderr)
        asyncio.run(serve(config))
    else:
        target, mib, datagram = rest[0], int(rest[1]), int(rest[2])
        asyncio.run(send(target, mib, configuration(backend, policy, datagram)))
