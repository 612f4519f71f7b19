"""aioquic as a peer of the handshake benchmark: classical TLS 1.3 with X25519 and ECDSA P-256.

``serve`` prints ``{"port": N}`` and runs until it is stopped; ``connect PORT N`` prints
``{"ms": [...], "cpu_s"}``. Both ends have the socket buffers of all peers. The certificate is not
checked against a store on either side of the comparison.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from aioquic.asyncio import connect, serve
from aioquic_bulk import HOST, Sender, configuration
from certificate import write_pair
from content import enlarge


async def listen() -> None:
    settings = configuration(1200, is_client=False)
    with tempfile.TemporaryDirectory() as folder:
        settings.load_cert_chain(*write_pair(Path(folder)))
    server = await serve(HOST, 0, configuration=settings)
    enlarge(server._transport.get_extra_info("socket"))
    print(json.dumps({"port": server._transport.get_extra_info("sockname")[1]}), flush=True)
    await asyncio.get_running_loop().create_future()


async def dial(port: int, n: int) -> None:
    settings = configuration(1200, is_client=True)
    times = []
    async with connect(HOST, port, configuration=settings, create_protocol=Sender):
        pass
    cpu = time.process_time()
    for _ in range(n):
        start = time.perf_counter()
        async with connect(HOST, port, configuration=settings, create_protocol=Sender):
            times.append((time.perf_counter() - start) * 1000)
    print(json.dumps({"ms": times, "cpu_s": time.process_time() - cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(listen())
    else:
        asyncio.run(dial(int(sys.argv[2]), int(sys.argv[3])))
