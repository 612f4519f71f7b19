"""qh3 in the bulk peers' shape: one stream, memory to memory, one process a side."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from qh3.asyncio.client import connect
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.asyncio.server import serve
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived

sys.path.insert(0, str(Path(__file__).parent))
from certificate import write_pair

HOST = os.environ.get("BULK_HOST", "127.0.0.1")


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Receiver(QuicConnectionProtocol):  # type: ignore[misc]  # untyped here, see pyproject
    done: asyncio.Event
    start = 0.0
    total = 0
    cpu = 0.0

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            if not self.start:
                self.start, self.cpu = time.perf_counter(), cpu_seconds()
            self.total += len(event.data)
            if event.end_stream:
                seconds = time.perf_counter() - self.start
                used = cpu_seconds() - self.cpu
                print(json.dumps({"bytes": self.total, "seconds": seconds, "cpu_s": used}))
                self._quic.send_stream_data(event.stream_id, b"done", end_stream=True)
        elif isinstance(event, ConnectionTerminated):
            self.done.set()


async def receive(datagram: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = write_pair(Path(folder))
        configuration = QuicConfiguration(
            is_client=False,
            alpn_protocols=["bulk"],
            max_datagram_size=datagram,
            max_data=24 << 20,
            max_stream_data=16 << 20,
        )
        configuration.load_cert_chain(certificate, key)
    done = asyncio.Event()
    Receiver.done = done
    server = await serve(HOST, 0, configuration=configuration, create_protocol=Receiver)
    transport = server._transport
    print(json.dumps({"port": transport.get_extra_info("sockname")[1]}), flush=True)
    await done.wait()
    server.close()


async def send(port: int, mib: int, datagram: int) -> None:
    configuration = QuicConfiguration(
        alpn_protocols=["bulk"], max_datagram_size=datagram, verify_mode=0
    )
    async with connect(HOST, port, configuration=configuration) as client:
        cpu = cpu_seconds()
        reader, writer = await client.create_stream()
        stream_id = 0
        block = bytes(1 << 20)
        for _ in range(mib):
            client._quic.send_stream_data(stream_id, block)
            client.transmit()
            while client._quic.get_send_buffer_size(stream_id) > 4 << 20:
                await asyncio.sleep(0)
        writer.write_eof()
        await reader.read()
        print(json.dumps({"cpu_s": cpu_seconds() - cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "recv":
        asyncio.run(receive(int(sys.argv[2]) if len(sys.argv) > 2 else 1400))
    else:
        asyncio.run(send(*map(int, sys.argv[2:5])))
