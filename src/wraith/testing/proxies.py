"""Real proxies as child processes, each with a deadline: microsocks, tinyproxy, and one that
misbehaves.

Each is a context manager that gives the proxy's URL as ``--proxy`` takes it. A program that is not
installed skips the test, or fails it where ``WRAITH_REQUIRE_INTEROP`` names it.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from wraith.testing.bad_proxy import SECONDS, Fault
from wraith.testing.foreign_peers import require_program

HOST: Final = "127.0.0.1"
DEADLINE_S: Final = 300
"""So long a proxy lives at most, whatever becomes of the test."""
START_S: Final = 10.0
END_S: Final = 5.0


def free_port(host: str = HOST) -> int:
    """A TCP port that nobody has now."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def microsocks(*, user: str = "", password: str = "") -> Iterator[str]:
    """A SOCKS 5 proxy; with ``user`` it wants both."""
    port = free_port()
    words = [str(require_program("microsocks")), "-i", HOST, "-p", str(port)]
    if user:
        words += ["-u", user, "-P", password]
    with running(words, port):
        yield f"socks5://{_credentials(user, password)}{HOST}:{port}"


@contextlib.contextmanager
def tinyproxy(
    folder: Path, *, user: str = "", password: str = "", ports: Sequence[int] = ()
) -> Iterator[str]:
    """An HTTP proxy. ``folder`` takes its configuration and its log; ``ports`` are all that CONNECT
    may lead to, where there are any."""
    port = free_port()
    lines = [
        f"Port {port}",
        f"Listen {HOST}",
        f"Allow {HOST}",
        "Timeout 60",
        "MaxClients 64",
        f'LogFile "{folder / "tinyproxy.log"}"',
        "LogLevel Connect",
        *([f"BasicAuth {user} {password}"] if user else []),
        *(f"ConnectPort {each}" for each in ports),
    ]
    configuration = folder / "tinyproxy.conf"
    configuration.write_text("".join(f"{line}\n" for line in lines))
    program = str(require_program("tinyproxy"))
    with running([program, "-d", "-c", str(configuration)], port):
        yield f"http://{_credentials(user, password)}{HOST}:{port}"


@contextlib.contextmanager
def bad_proxy(scheme: str, fault: Fault, *, at: int = 0) -> Iterator[str]:
    """``wraith.testing.bad_proxy`` as a process."""
    words = [sys.executable, "-m", "wraith.testing.bad_proxy", scheme, fault.value, "--at", str(at)]
    process = subprocess.Popen(
        [*words, "--seconds", str(SECONDS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield f"{scheme}://{HOST}:{int(process.stdout.readline())}"
    finally:
        _end(process)


@contextlib.contextmanager
def running(words: list[str], port: int) -> Iterator[None]:
    """A server, from when its port answers to the end of the block."""
    process = subprocess.Popen(
        ["timeout", str(DEADLINE_S), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        give_up = time.monotonic() + START_S
        while True:
            if process.poll() is not None:
                raise AssertionError(f"{words[0]} ended with {process.returncode}")
            try:
                socket.create_connection((HOST, port), timeout=START_S).close()
                break
            except OSError:
                if time.monotonic() > give_up:
                    raise AssertionError(f"{words[0]} does not listen at {port}") from None
                time.sleep(0.01)
        yield
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _credentials(user: str, password: str) -> str:
    return f"{user}:{password}@" if user else ""
