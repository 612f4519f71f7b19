"""A terminal that is closed ends a transfer in good order; under ``nohup`` it goes on."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from wraith.testing.two_homes import MIB, TwoHomes, code_of, finish, number, signalled


def running(
    homes: TwoHomes,
    command: list[str],
    *,
    stdin: int,
    stderr: int,
    preexec_fn: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """A sender of our own making, with its stdout in a pipe."""
    home = homes.work / "home-sender"
    home.mkdir(mode=0o700, exist_ok=True)
    return subprocess.Popen(
        command,
        env={**os.environ, "WRAITH_HOME": str(home)},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        preexec_fn=preexec_fn,
    )


def sending(path: Path, *options: str) -> list[str]:
    where = ("--listen", "127.0.0.1:0", "--limit", "2M")
    return [sys.executable, "-m", "wraith", "send", *options, *where, str(path)]


@pytest.mark.spec("TR-128")
@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_a_hangup_ends_either_side_like_a_request_to_terminate(homes: TwoHomes, side: str) -> None:
    sender = homes.send("--limit", "2M", homes.file("a.bin", 4 * MIB))
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    one, other = (sender, receiver) if side == "sender" else (receiver, sender)
    signalled(one, signal.SIGHUP)
    assert one.wait_exit() == 130
    assert one.last("error")["code"] == "interrupted" and one.events[-1]["event"] == "error"
    heard = other.wait_event("interrupted")
    assert "silent" not in str(heard["reason"])
    again = homes.receive(code) if side == "receiver" else homes.send(homes.source / "a.bin")
    assert finish(again, other) == (0, 0)


@pytest.mark.spec("TR-128")
def test_a_terminal_that_is_closed_ends_a_sender_and_its_receiver_hears_it(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 8 * MIB)
    outer, inner = pty.openpty()

    def own_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)

    sender = running(homes, sending(path), stdin=inner, stderr=inner, preexec_fn=own_the_terminal)
    os.close(inner)
    assert sender.stdout is not None
    receiver = homes.receive(sender.stdout.readline().decode().split()[-1])
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    os.close(outer)
    assert sender.wait(timeout=30) == 130
    assert "silent" not in str(receiver.wait_event("interrupted")["reason"])
    sender.stdout.close()


@pytest.mark.spec("TR-128")
def test_under_nohup_a_hangup_changes_nothing(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 4 * MIB)
    sender = running(
        homes,
        ["nohup", *sending(path, "--json")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert sender.stdout is not None
    receiver = homes.receive(json.loads(sender.stdout.readline())["code"])
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    os.kill(sender.pid, signal.SIGHUP)
    assert receiver.wait_exit() == 0 and sender.wait(timeout=30) == 0
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()
    sender.stdout.close()


@pytest.mark.spec("TR-128")
def test_a_terminal_that_is_closed_at_the_question_ends_a_receiver(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.bin", b"a"))
    outer, inner = pty.openpty()

    def own_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)

    words = homes.work / "words"
    with words.open("wb") as stderr:
        receiver = running(
            homes,
            [sys.executable, "-m", "wraith", "receive", "--out", str(homes.out), code_of(sender)],
            stdin=inner,
            stderr=stderr.fileno(),
            preexec_fn=own_the_terminal,
        )
    os.close(inner)
    sender.wait_event("deciding")
    os.close(outer)
    assert receiver.wait(timeout=30) == 130
    assert "Traceback" not in words.read_text() and "interrupted" in words.read_text()
    assert receiver.stdout is not None
    receiver.stdout.close()


INTERRUPTED_AT_THE_SCAN = """
import os, signal
listdir = os.listdir
def interrupted(*where):
    os.kill(os.getpid(), signal.SIGINT)
    return listdir(*where)
os.listdir = interrupted
"""


def test_an_interruption_before_anything_is_shown_is_an_event_too(homes: TwoHomes) -> None:
    homes.file("tree/a.txt", b"a")
    sender = homes.send(homes.source / "tree", prelude=INTERRUPTED_AT_THE_SCAN)
    assert sender.wait_exit() == 130
    assert [e["event"] for e in sender.events] == ["error"]
    assert (sender.events[0]["code"], sender.events[0]["exit_code"]) == ("interrupted", 130)
    assert sender.stderr().strip() == ""  # an empty line is all
