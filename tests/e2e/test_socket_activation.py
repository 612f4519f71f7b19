"""A server whose sockets were bound by another process, as systemd does it (LISTEN_FDS)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wraith

EXAMPLE = Path(__file__).parents[2] / "examples" / "socket_activated.py"
pytestmark = pytest.mark.timeout(60)


@contextlib.contextmanager
def started(sock: socket.socket, state: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The example, with ``sock`` as its descriptor 3; and the code that it shows."""

    def place() -> None:
        os.dup2(sock.fileno(), 3)

    # The shell's process becomes the example's, so it knows the number before the example begins.
    command = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$1"'
    with open(os.devnull, "rb") as other:  # descriptor 3 may be something else here
        process = subprocess.Popen(
            ["sh", "-c", command, sys.executable, str(EXAMPLE)],
            stdin=other,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "STATE_DIRECTORY": str(state),
            },
            pass_fds=(3,),
            preexec_fn=place,
        )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


async def ask(code: str) -> bytes:
    async with wraith.connect(code) as session, session.open_stream() as stream:
        await stream.write(b"awake?")
        stream.finish()
        return await stream.read_all()


def test_the_example_serves_at_a_socket_that_it_did_not_bind(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.set_inheritable(True)
        codes = []
        for _ in range(2):
            with started(sock, tmp_path) as (process, code):
                codes.append(code)
                assert asyncio.run(ask(codes[0])) == b"awake?"
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
        assert codes[0] == codes[1] and codes[0].startswith("wr1")


def test_what_a_peer_sends_before_the_service_runs_is_answered(tmp_path: Path) -> None:
    """The socket is bound all the time: a dial that begins while nobody serves succeeds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.set_inheritable(True)
        with started(sock, tmp_path) as (process, code):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0

        async def dial_first() -> bytes:
            asking = asyncio.create_task(ask(code))
            await asyncio.sleep(0.5)
            assert not asking.done()
            service = started(sock, tmp_path)
            await asyncio.to_thread(service.__enter__)
            try:
                return await asking
            finally:
                service.__exit__(None, None, None)

        assert asyncio.run(dial_first()) == b"awake?"


def test_without_a_socket_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 1 and done.stderr == "no sockets were passed: start echo.socket\n"
