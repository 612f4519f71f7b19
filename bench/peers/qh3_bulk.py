"""qh3 in the bulk peers' shape: one stream, memory to memory, one process a side.

Windows, socket buffers and datagrams are as large as ours; everything else is qh3's default. A
sender whose buffer is full waits for the connection's next turn.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from qh3.asyncio.client import connect
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.asyncio.server import serve
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived

sys.path.insert(0, str(Path(__file__).parent))
from certificate import write_pair
from content import Expected, enlarge, pieces

HOST = os.environ.get("BULK_HOST", "127.0.0.1")


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Sender(QuicConnectionProtocol):  # type: ignore[misc]  # untyped here, see pyproject
    """Says when there may be room: after each turn of the connection, for a datagram or a timer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.has_turned = asyncio.Event()

    def transmit(self) -> None:
        super().transmit()
        self.has_turned.set()


class Receiver(QuicConnectionProtocol):  # type: ignore[misc]  # untyped here, see pyproject
    done: asyncio.Event
    expected: Expected
    start = 0.0
    total = 0
    cpu = 0.0

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            if not self.start:
                self.start, self.cpu = time.perf_counter(), cpu_seconds()
            self.total += len(event.data)
            self.expected.take(event.data)
            if event.end_stream:
                seconds = time.perf_counter() - self.start
                used = cpu_seconds() - self.cpu
                said = {"bytes": self.total, "seconds": seconds, "cpu_s": used}
                print(json.dumps({**said, "equal": self.expected.equal}))
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
    Receiver.done, Receiver.expected = done, Expected()
    server = await serve(HOST, 0, configuration=configuration, create_protocol=Receiver)
    transport = server._transport
    enlarge(transport.get_extra_info("socket"))
    print(json.dumps({"port": transport.get_extra_info("sockname")[1]}), flush=True)
    await done.wait()
    server.close()


async def send(port: int, mib: int, datagram: int) -> None:
    configuration = QuicConfiguration(
        alpn_protocols=["bulk"], max_datagram_size=datagram, verify_mode=0
    )
    async with connect(HOST, port, configuration=configuration, create_protocol=Sender) as client:
        enlarge(client._transport.get_extra_info("socket"))
        cpu = cpu_seconds()
        reader, writer = await client.create_stream()
        stream_id = 0
        for piece in pieces(mib << 20):
            client._quic.send_stream_data(stream_id, piece)
            client.transmit()
            while client._quic.get_send_buffer_size(stream_id) > 4 << 20:
                client.has_turned.clear()
                await client.has_turned.wait()
        writer.write_eof()
        await reader.read()
        print(json.dumps({"cpu_s": cpu_seconds() - cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "recv":
        asyncio.run(receive(int(sys.argv[2]) if len(sys.argv) > 2 else 1400))
    else:
        asyncio.run(send(*map(int, sys.argv[2:5])))
