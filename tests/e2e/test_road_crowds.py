"""A crowd of strangers at the TCP port and at the WebSocket port of a command that waits: none
hears a byte of a link, they take little memory, and who has the code gets through meanwhile."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wraith.testing.demo import sender_port
from wraith.testing.proxies import free_port
from wraith.testing.rng import SeededRng
from wraith.testing.two_homes import TwoHomes, finish

NOISE = SeededRng("crowd").public_bytes(8_192)
GREETINGS = [
    b"", NOISE[:1], NOISE[:87], NOISE[:88], NOISE, b"SSH-2.0-OpenSSH_9.9\r\n",
    bytes.fromhex("1603010200010001fc0303") + NOISE[:506],
]  # fmt: skip
GROWTH_KIB_MAX = 64 * 1024
"""Of the resident memory: two crowds of 1,024 connections with the buffers of asyncio are 50 MiB of
it, those of TCP 22."""
MORE_KIB_MAX = 16 * 1024
"""What the second half of a large crowd may add: the pools are full by then."""


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


@contextlib.contextmanager
def files(n: int) -> Iterator[None]:
    """This process may have so many files open, and a command that it starts as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < n:
        pytest.skip(f"at most {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def stranger(number: int, port: int) -> socket.socket:
    """From one of 250 networks; says his greeting and stays."""
    sock = socket.socket()
    sock.bind((f"127.1.{number % 250}.{1 + number // 250 % 250}", 0))
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    with contextlib.suppress(OSError):  # pushed out already
        sock.send(GREETINGS[number % len(GREETINGS)])
    return sock


def heard(sock: socket.socket) -> bytes:
    """What has come by now; a reset is nothing."""
    try:
        return sock.recv(1 << 16)
    except OSError:
        return b""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("n", [600, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("carrier", ["tcp", "ws"])
def test_a_crowd_hears_nothing_and_keeps_nobody_out(homes: TwoHomes, carrier: str, n: int) -> None:
    if carrier == "ws":
        pytest.importorskip("websockets")
    own = free_port()
    web = ("--ws", f"ws://localhost:{own}/share", "--ws-listen", f"127.0.0.1:{own}")
    with files(n + 200), contextlib.ExitStack() as crowd:
        sender = homes.send(*(web if carrier == "ws" else ()), homes.file("a.bin", 300_000))
        waiting = sender.wait_event("waiting")
        port = own if carrier == "ws" else sender_port(waiting)
        before = resident_kib(sender.process.pid)
        socks, half = [], 0
        for number in range(n):
            socks.append(crowd.enter_context(stranger(number, port)))
            if number == n // 2:
                half = resident_kib(sender.process.pid) - before
        receiver = homes.receive(str(waiting["code"]), "--carriers", carrier)
        receiver.wait_event("connected")
        growth = resident_kib(sender.process.pid) - before
        assert finish(sender, receiver) == (0, 0), receiver.story() + sender.story()
        assert {heard(sock) for sock in socks} == {b""}
    print(f"{carrier}: {n} strangers, {half} KiB after half of them, {growth} KiB")
    assert growth < GROWTH_KIB_MAX and growth - half < MORE_KIB_MAX
    assert (homes.out / "a.bin").stat().st_size == 300_000
