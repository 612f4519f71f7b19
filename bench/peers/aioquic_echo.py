"""aioquic as a peer of the latency benchmark; the verbs are those of ``wraith_echo.py``.

Both ends have the socket buffers of all peers; a full buffer waits for the connection's next turn.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic_bulk import HOST, Sender, configuration
from certificate import write_pair
from content import enlarge

MESSAGE = bytes(64)
FILE = bytes(1024)
AHEAD_BYTES = 1 << 20


class Server(QuicConnectionProtocol):  # type: ignore[misc]  # untyped here, see pyproject
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.kinds: dict[int, bytes] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        if not isinstance(event, StreamDataReceived) or not event.data:
            return
        sid, data = event.stream_id, event.data
        if sid not in self.kinds:
            self.kinds[sid], data = data[:1], data[1:]
            if self.kinds[sid] == b"f":
                self._quic.send_stream_data(sid, FILE, end_stream=True)
        if self.kinds[sid] == b"e" and data:
            self._quic.send_stream_data(sid, data)


async def listen() -> None:
    settings = configuration(1400, is_client=False)
    with tempfile.TemporaryDirectory() as folder:
        settings.load_cert_chain(*write_pair(Path(folder)))
    server = await serve(HOST, 0, configuration=settings, create_protocol=Server)
    enlarge(server._transport.get_extra_info("socket"))
    print(json.dumps({"port": server._transport.get_extra_info("sockname")[1]}), flush=True)
    await asyncio.get_running_loop().create_future()


async def echoes(client: QuicConnectionProtocol, n: int) -> list[float]:
    reader, writer = await client.create_stream()
    writer.write(b"e")
    times = []
    for _ in range(n):
        start = time.perf_counter()
        writer.write(MESSAGE)
        await reader.readexactly(len(MESSAGE))
        times.append((time.perf_counter() - start) * 1000)
    return times


async def measure(verb: str, port: int, n: int) -> None:
    options = {"configuration": configuration(1400, is_client=True), "create_protocol": Sender}
    if verb == "first":
        times = []
        for _ in range(n):
            start = time.perf_counter()
            async with connect(HOST, port, **options) as client:
                reader, writer = await client.create_stream()
                writer.write(b"f")
                await reader.read(1)
                times.append((time.perf_counter() - start) * 1000)
        print(json.dumps({"ms": times}))
        return
    async with connect(HOST, port, **options) as client:
        await echoes(client, 50)
        if verb == "echo":
            print(json.dumps({"ms": await echoes(client, n)}))
            return
        sent = 0
        _, writer = await client.create_stream()
        quic, sid = client._quic, writer.get_extra_info("stream_id")
        quic.send_stream_data(sid, b"b")

        async def bulk() -> None:
            nonlocal sent
            piece = bytes(64 * 1024)
            while True:
                quic.send_stream_data(sid, piece)
                client.transmit()
                sent += len(piece)
                await client.room(sid, AHEAD_BYTES)

        task = asyncio.create_task(bulk())
        await asyncio.sleep(0.5)
        before, start = sent, time.perf_counter()
        found = await echoes(client, n)
        rate = (sent - before) / (time.perf_counter() - start)
        task.cancel()
        print(json.dumps({"ms": found, "bulk_mb_per_s": rate / 1e6}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(listen())
    else:
        asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
