"""aioquic in the bulk peers' shape: one stream, memory to memory, one process a side.

Windows, socket buffers and datagrams are as large as ours; everything else is aioquic's default. A
sender whose buffer is full waits for the connection's next turn.
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
from typing import Any

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived

sys.path.insert(0, str(Path(__file__).parent))
from certificate import write_pair
from content import Expected, enlarge, pieces

HOST = os.environ.get("BULK_HOST", "127.0.0.1")
MIB = 1 << 20
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


class Sender(QuicConnectionProtocol):  # type: ignore[misc]  # untyped here, see pyproject
    """A client with the socket buffers that every peer gets. It says when there may be room: after
    each turn of the connection, for a datagram or a timer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.has_turned = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        enlarge(transport.get_extra_info("socket"))

    def transmit(self) -> None:
        super().transmit()
        self.has_turned.set()

    async def room(self, stream_id: int, ahead_bytes: int) -> None:
        """Waits until at most ``ahead_bytes`` of a stream are unsent."""
        while len(self._quic._streams[stream_id].sender._buffer) > ahead_bytes:
            self.has_turned.clear()
            await self.has_turned.wait()


class Receiver(QuicConnectionProtocol):  # type: ignore[misc]  # untyped here, see pyproject
    """Counts one stream from its first to its last byte."""

    done: asyncio.Event
    expected: Expected
    total = 0
    began = cpu = 0.0

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.done.set()
        elif isinstance(event, StreamDataReceived):
            if not self.total:
                self.began, self.cpu = time.perf_counter(), time.process_time()
            self.total += len(event.data)
            self.expected.take(event.data)
            if event.end_stream:
                seconds = time.perf_counter() - self.began
                used = time.process_time() - self.cpu
                said = {"bytes": self.total, "seconds": seconds, "cpu_s": used}
                print(json.dumps({**said, "equal": self.expected.equal}))
                self._quic.send_stream_data(event.stream_id, b"k", end_stream=True)


async def receive(datagram: int) -> None:
    settings = configuration(datagram, is_client=False)
    with tempfile.TemporaryDirectory() as folder:
        settings.load_cert_chain(*write_pair(Path(folder)))
    Receiver.done, Receiver.expected = asyncio.Event(), Expected()
    server = await serve(HOST, 0, configuration=settings, create_protocol=Receiver)
    enlarge(server._transport.get_extra_info("socket"))
    port = server._transport.get_extra_info("sockname")[1]
    print(json.dumps({"port": port}), flush=True)
    await Receiver.done.wait()
    server.close()


async def send(port: int, mib: int, datagram: int) -> None:
    settings = configuration(datagram, is_client=True)
    total = mib * MIB
    async with connect(HOST, port, configuration=settings, create_protocol=Sender) as client:
        reader, _ = await client.create_stream()
        quic, stream_id = client._quic, 0
        cpu = time.process_time()
        sent = 0
        for piece in pieces(total):
            sent += len(piece)
            quic.send_stream_data(stream_id, piece, end_stream=sent >= total)
            client.transmit()
            await client.room(stream_id, AHEAD_BYTES)
        await reader.read()
        print(json.dumps({"cpu_s": time.process_time() - cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "recv":
        asyncio.run(receive(int(sys.argv[2]) if len(sys.argv) > 2 else 1400))
    else:
        asyncio.run(send(*map(int, sys.argv[2:5])))
