"""One stream for a fixed time, by this project's sessions, the kernel's TCP or bare UDP.

``timed_bulk.py KIND recv SECONDS`` prints ``{"port": …}`` (for wraith the code), counts what
arrives in ``SECONDS`` from the first byte on, and prints ``{"bytes", "seconds", "cpu_s",
"per_second", "equal"}``: the sender repeats ``BULK_BLOCK``, and what is counted is compared.
``timed_bulk.py KIND send PORT SECONDS`` sends without end for a little longer and prints
``{"cpu_s", …}``. ``udp`` sends ``UDP_MBIT`` of IP packets per second and is not reliable.
``timed_bulk.py echo serve`` and ``echo PORT N`` measure round trips of 64 bytes.
Both use the address in ``BULK_HOST``; ``link`` is wraith over TCP alone.
``BULK_TCP`` is the congestion control of ``link`` and ``tcp``; the latter has CUBIC without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import wraith

sys.path.insert(0, str(Path(__file__).parent))
import kernel_tcp
from content import Expected, block

HOST = os.environ.get("BULK_HOST", "127.0.0.1")
UDP_MBIT = float(os.environ.get("UDP_MBIT", "120"))
UDP_BYTES, UDP_HEADERS = 1472, 28
EXTRA_S = 1.0
ECHO_GAP_S = 0.005


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


class Count:
    """What arrives in the seconds after the first byte."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.n_bytes = 0
        self.began = self.cpu = 0.0
        self.per_second: dict[int, int] = defaultdict(int)
        self.expected: Expected | None = None

    def compare(self) -> None:
        """From now on what is taken must be what every sender repeats."""
        self.expected = Expected()

    def take(self, chunk: Any) -> bool:
        """The next bytes of a stream. False once the time is over."""
        if not self.add(len(chunk)):
            return False
        if self.expected is not None:
            self.expected.take(chunk)
        return True

    def add(self, n_bytes: int) -> bool:
        """False once the time is over."""
        now = time.perf_counter()
        if not self.began:
            self.began, self.cpu = now, cpu_seconds()
        if now - self.began >= self.seconds:
            return False
        self.n_bytes += n_bytes
        self.per_second[int(now - self.began)] += n_bytes
        return True

    def say(self) -> None:
        say(
            bytes=self.n_bytes,
            seconds=self.seconds,
            cpu_s=cpu_seconds() - self.cpu,
            per_second=[self.per_second[i] for i in range(int(self.seconds))],
            equal=self.expected is not None and self.expected.equal,
        )


# --- this project ---------------------------------------------------------------------------------


async def receive_wraith(seconds: float, carrier: str) -> None:
    count = Count(seconds)
    count.compare()
    async with wraith.listen(f"{HOST}:0", carriers=(carrier,)) as listener:
        say(port=listener.code)
        session = await listener.accept()
        stream = await session.accept_stream()
        while chunks := await stream.read_chunks(1 << 20):
            if not all(count.take(chunk) for chunk in chunks):
                break
        count.say()
        with contextlib.suppress(wraith.WraithError):
            while await stream.read_chunks(1 << 20):
                pass
            await session.wait_closed()


async def send_wraith(code: str, seconds: float, carrier: str) -> None:
    piece = block()
    async with wraith.connect(code, carriers=(carrier,)) as session:
        stream = await session.open_stream()
        cpu, end = cpu_seconds(), time.perf_counter() + seconds + EXTRA_S
        while (left := end - time.perf_counter()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stream.write(piece), left)
        stats = session.stats()
        say(
            cpu_s=cpu_seconds() - cpu,
            sent_packets=stats.sent_packets,
            lost_packets=stats.lost_packets,
            rtt_ms=stats.rtt_s * 1000,
            cwnd_bytes=stats.cwnd_bytes,
        )
        stream.reset(0)


# --- the kernel's TCP -----------------------------------------------------------------------------


def receive_tcp(seconds: float) -> None:
    count = Count(seconds)
    count.compare()
    with socket.create_server((HOST, 0)) as server:
        say(port=server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            buffer = bytearray(1 << 20)
            view = memoryview(buffer)
            while (n := connection.recv_into(buffer)) and count.take(view[:n]):
                pass
            count.say()
            with contextlib.suppress(OSError):
                while connection.recv_into(buffer):
                    pass


def send_tcp(port: int, seconds: float) -> None:
    piece, at = memoryview(block()), 0
    with socket.socket() as sock:
        name = kernel_tcp.CONGESTION or "cubic"
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        sock.connect((HOST, port))
        cpu, end = cpu_seconds(), time.perf_counter() + seconds + EXTRA_S
        while (left := end - time.perf_counter()) > 0:
            sock.settimeout(left)
            with contextlib.suppress(TimeoutError):
                at = (at + sock.send(piece[at:])) % len(piece)
        say(cpu_s=cpu_seconds() - cpu)


# --- bare UDP -------------------------------------------------------------------------------------


def receive_udp(seconds: float) -> None:
    count = Count(seconds)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.bind((HOST, 0))
        say(port=sock.getsockname()[1])
        sock.settimeout(30)
        while count.add(len(sock.recv(2048)) + UDP_HEADERS):
            pass
    count.say()


def send_udp(port: int, seconds: float) -> None:
    packet = os.urandom(UDP_BYTES)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((HOST, port))
        cpu, began, n_sent = cpu_seconds(), time.perf_counter(), 0
        while (past := time.perf_counter() - began) < seconds + EXTRA_S:
            due = int(past * UDP_MBIT * 1e6 / 8 / (UDP_BYTES + UDP_HEADERS))
            for _ in range(due - n_sent):
                with contextlib.suppress(OSError):
                    sock.send(packet)
            n_sent = max(due, n_sent)
            time.sleep(0.0005)
    say(cpu_s=cpu_seconds() - cpu)


def serve_echo() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        say(port=sock.getsockname()[1])
        while True:
            data, source = sock.recvfrom(2048)
            sock.sendto(data, source)


def echo(port: int, n: int) -> None:
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((HOST, port))
        sock.settimeout(2)
        for _ in range(n):
            start = time.perf_counter()
            sock.send(bytes(64))
            sock.recv(2048)
            times.append((time.perf_counter() - start) * 1000)
            time.sleep(ECHO_GAP_S)
    say(ms=times)


def main() -> None:
    kind, verb, *rest = sys.argv[1:]
    if kind == "echo":
        serve_echo() if verb == "serve" else echo(int(verb), int(rest[0]))
    elif kind in ("wraith", "link"):
        carrier = "tcp" if kind == "link" else "udp"
        if kind == "link":
            kernel_tcp.choose_for_links()
        if verb == "recv":
            asyncio.run(receive_wraith(float(rest[0]), carrier))
        else:
            asyncio.run(send_wraith(rest[0], float(rest[1]), carrier))
    elif verb == "recv":
        (receive_tcp if kind == "tcp" else receive_udp)(float(rest[0]))
    else:
        (send_tcp if kind == "tcp" else send_udp)(int(rest[0]), float(rest[1]))


if __name__ == "__main__":
    main()
