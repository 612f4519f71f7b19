"""Why nobody answers: no network, no route, refused and silent are four different sentences, and
none of them waits for the others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from wraith.crypto.secret import Secret
from wraith.testing.terminal import TerminalCommand
from wraith.testing.two_homes import TwoHomes, code_of
from wraith.transfer.code import Code, encode_code
from wraith.types import Address, PeerKey, SuiteId

CODE = Code(
    (SuiteId.A,),
    access_key=bytes(range(32)),
    peer=PeerKey(bytes(range(1, 33))),
    access_psk=Secret(bytes(32)),
    addresses=(),
)
HERE = bytes([127, 0, 0, 1])
SOON_S = 1.0


def _code(ip: bytes, port: int) -> str:
    return encode_code(replace(CODE, addresses=(Address(ip, port),)))


@pytest.fixture
def port() -> Iterator[socket.socket]:
    """A UDP port of this machine where somebody listens and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def dialling(tmp_path: Path) -> Iterator[list[TerminalCommand]]:
    started: list[TerminalCommand] = []
    yield started
    for command in started:
        command.close()


def _dial(
    started: list[TerminalCommand], tmp_path: Path, code: str, *options: str
) -> tuple[TerminalCommand, float]:
    """Returns when it has said whom it dials, and that time."""
    command = TerminalCommand("receive", code, *options, home=tmp_path / "home")
    started.append(command)
    command.wait_for("wraith: dialling 127.0.0.1:")
    return command, time.monotonic()


def test_a_port_where_nobody_waits_is_said_within_a_second_and_dialling_goes_on(
    tmp_path: Path, dialling: list[TerminalCommand], port: socket.socket
) -> None:
    number = port.getsockname()[1]
    port.close()
    command, at = _dial(dialling, tmp_path, _code(HERE, number), "--connect-timeout", "4")
    command.wait_for(f"nobody waits at 127.0.0.1:{number}", deadline_s=SOON_S)
    assert time.monotonic() - at < SOON_S
    command.wait_for("still trying")
    assert command.wait_exit(deadline_s=20) == 12
    assert command.screen.count("nobody waits at") == 1


def test_silence_is_said_after_three_seconds_and_judged_at_the_timeout(
    tmp_path: Path, dialling: list[TerminalCommand], port: socket.socket
) -> None:
    code = _code(HERE, port.getsockname()[1])
    command, at = _dial(dialling, tmp_path, code, "--connect-timeout", "5")
    command.wait_for("no answer yet after 3 s")
    assert 2.5 < time.monotonic() - at < 4.5
    command.wait_for("nobody answered at 127.0.0.1:")
    assert command.wait_exit() == 12


def _without_network(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a network namespace that has nothing, not even a loopback address."""
    return subprocess.run(
        ["unshare", "-rn", sys.executable, "-m", "wraith", *arguments],
        env={**os.environ, "WRAITH_HOME": str(tmp_path / "home")},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )


def test_without_an_address_no_code_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    done = _without_network(tmp_path, "send", "a.txt")
    assert (done.returncode, done.stdout) == (11, ""), done.stderr
    assert "no address that anybody could reach" in done.stderr
    assert "--wait-for-network" in done.stderr


def test_without_a_route_nobody_waits_for_an_answer(tmp_path: Path) -> None:
    began = time.monotonic()
    code = _code(bytes([192, 0, 2, 7]), 4433)
    done = _without_network(tmp_path, "receive", "--yes", code)
    assert done.returncode == 11, done.stderr
    assert "no route to 192.0.2.7:4433" in done.stderr
    assert time.monotonic() - began < 15, "it has waited for the time-out"


def test_who_waits_for_a_network_goes_on_when_there_is_one(homes: TwoHomes) -> None:
    receiver = homes.start(
        *("receive", "--json", "--yes", "--out", str(homes.out)),
        *("--wait-for-network", "--listen"),
        home="home-receiver",
        under=("unshare", "-rn"),
    )
    assert receiver.wait_event("no_address")["waiting"] is True
    namespace = ["nsenter", "-t", str(receiver.process.pid), "-U", "-n", "--preserve-credentials"]
    for words in (
        "address add 192.0.2.1/32 dev lo",
        "link set lo up",
    ):
        subprocess.run([*namespace, "ip", *words.split()], check=True, timeout=30)
    assert "192.0.2.1:" in str(receiver.wait_event("waiting")["addresses"])


def test_a_transfer_says_nothing_of_refusals(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.bin", 1 << 20))
    receiver = homes.receive(code_of(sender))
    assert (sender.wait_exit(), receiver.wait_exit()) == (0, 0)
    assert "unreachable" not in receiver.story()
