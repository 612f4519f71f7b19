"""aioquic in the bulk peers' shape: one stream, memory to memory, one process a side.

The windows are as large as ours and the datagrams as long; everything else is aioquic's default.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived

sys.path.insert(0, str(Path(__file__).parent))
from certificate import write_pair

HOST = os.environ.get("BULK_HOST", "127.0.0.1")
MIB = 1 << 20
WRITE_BYTES = 256 * 1024
AHEAD_BYTES = 4 * MIB


def configuration(datagram: int, *, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=["bulk"],
        is_client=is_client,
        max_datagram_size=datagram,
        max_data=24 * MIB,
        max_stream_data=16 * MIB,
        verify_mode=ssl.CERT_NONE if is_client else None,
    )


class Receiver(QuicConnectionProtocol):  # type: ignore[misc]  # untyped here, see pyproject
    """Counts one stream from its first to its last byte."""

    done: asyncio.Event
    total = 0
    began = cpu = 0.0

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.done.set()
        elif isinstance(event, StreamDataReceived):
            if not self.total:
                self.began, self.cpu = time.perf_counter(), time.process_time()
            self.total += len(event.data)
            if event.end_stream:
                seconds = time.perf_counter() - self.began
                used = time.process_time() - self.cpu
                print(json.dumps({"bytes": self.total, "seconds": seconds, "cpu_s": used}))
                self._quic.send_stream_data(event.stream_id, b"k", end_stream=True)


async def receive(datagram: int) -> None:
    settings = configuration(datagram, is_client=False)
    with tempfile.TemporaryDirectory() as folder:
        settings.load_cert_chain(*write_pair(Path(folder)))
    Receiver.done = asyncio.Event()
    server = await serve(HOST, 0, configuration=settings, create_protocol=Receiver)
    port = server._transport.get_extra_info("sockname")[1]
    print(json.dumps({"port": port}), flush=True)
    await Receiver.done.wait()
    server.close()


async def send(port: int, mib: int, datagram: int) -> None:
    settings = configuration(datagram, is_client=True)
    piece = os.urandom(WRITE_BYTES)
    total = mib * MIB
    async with connect(HOST, port, configuration=settings) as client:
        reader, _ = await client.create_stream()
        quic, stream_id = client._quic, 0
        cpu = time.process_time()
        sent = 0
        while sent < total:
            sent += WRITE_BYTES
            quic.send_stream_data(stream_id, piece, end_stream=sent >= total)
            client.transmit()
            while len(quic._streams[stream_id].sender._buffer) > AHEAD_BYTES:
                await asyncio.sleep(0)
        await reader.read()
        print(json.dumps({"cpu_s": time.process_time() - cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "recv":
        asyncio.run(receive(int(sys.argv[2]) if len(sys.argv) > 2 else 1400))
    else:
        asyncio.run(send(*map(int, sys.argv[2:5])))
