"""``wraith quic`` as a person uses it: two processes, real sockets, words and exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wraith.aio.libp2p import Libp2pHost
from wraith.errors import ConnectFailed, ConnectionLost
from wraith.libp2p.config import PqPolicy, QuicTransportConfig

pytestmark = pytest.mark.timeout(90)
NOBODY = "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv"
WRAITH = [sys.executable, "-m", "wraith", "quic"]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "WRAITH_HOME": str(home)}


class Listener:
    def __init__(self, home: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*WRAITH, "listen", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(home),
        )
        assert self.process.stdout is not None
        self.multiaddr = self.process.stdout.readline().strip()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and everything that it said to people."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    started = Listener(tmp_path / "listener")
    yield started
    if started.process.poll() is None:
        started.stop(signal.SIGKILL)


def quic(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WRAITH, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(tmp_path / "dialler"),
    )


def test_listen_prints_its_address_first(listener: Listener) -> None:
    assert listener.multiaddr.startswith("/ip4/127.0.0.1/udp/")
    assert "/quic-v1/p2p/12D3KooW" in listener.multiaddr
    assert listener.stop(signal.SIGINT)[0] == 130


def test_the_peer_id_stays_across_restarts(tmp_path: Path) -> None:
    first = Listener(tmp_path)
    first.stop()
    second = Listener(tmp_path)
    code, _ = second.stop()
    assert code == 0
    assert first.multiaddr.partition("/p2p/")[2] == second.multiaddr.partition("/p2p/")[2]


@pytest.mark.asyncio
@pytest.mark.spec("LQ-75")
async def test_a_peer_of_a_killed_and_restarted_host_learns_of_it(tmp_path: Path) -> None:
    """kill -9, the same command again: the next keepalive is answered by a reset."""
    first = Listener(tmp_path)
    where = first.multiaddr.partition("/p2p/")[0]
    config = QuicTransportConfig(keepalive_s=1.0)
    async with await Libp2pHost.create(config=config) as host:
        connection = await host.dial(first.multiaddr)
        await connection.ping()
        first.stop(signal.SIGKILL)
        second = Listener(tmp_path, "--multiaddr", where)
        assert second.multiaddr == first.multiaddr
        try:
            async with asyncio.timeout(10):
                error = await connection.wait_closed()
        finally:
            second.stop()
        assert isinstance(error, ConnectionLost) and "restarted" in str(error)


def test_ping_in_words_and_in_json(listener: Listener, tmp_path: Path) -> None:
    words = quic(tmp_path, "ping", listener.multiaddr, "--count", "2")
    assert words.returncode == 0, words.stderr
    lines = words.stdout.splitlines()
    assert "X25519MLKEM768 (post-quantum)" in lines[0] and len(lines) == 3

    answer = quic(tmp_path, "ping", listener.multiaddr, "--json")
    fields: dict[str, Any] = json.loads(answer.stdout)
    assert fields["peer_id"] == listener.multiaddr.partition("/p2p/")[2]
    assert fields["group"] == "X25519MLKEM768" and fields["post_quantum"] is True
    assert 0 < fields["rtt_ms"] < 5000 and 0 < fields["handshake_ms"] < 5000
    assert answer.stderr == ""
    _, said = listener.stop()
    assert said.count("wraith: connected: 12D3KooW") == 2


def test_dial_identifies_and_echoes(listener: Listener, tmp_path: Path) -> None:
    answer = quic(tmp_path, "dial", listener.multiaddr, "--echo", "1048576", "--json")
    fields = json.loads(answer.stdout)
    assert fields["agent"].startswith("wraith/") and fields["echo_bytes"] == 1 << 20
    assert len(fields["sha256"]) == 64 and "/wraith/echo/1.0.0" in fields["protocols"]


def test_a_classical_peer_is_refused_by_name_of_the_way_out(
    listener: Listener, tmp_path: Path
) -> None:
    refused = quic(tmp_path, "ping", listener.multiaddr, "--policy", "classical")
    assert refused.returncode == 11 and refused.stdout == ""
    assert "handshake_failure" in refused.stderr and "Traceback" not in refused.stderr
    _, said = listener.stop()
    assert "no post-quantum key exchange" in said and "--policy prefer" in said


def test_another_peer_than_the_named_one(listener: Listener, tmp_path: Path) -> None:
    other = f"{listener.multiaddr.partition('/p2p/')[0]}/p2p/{NOBODY}"
    done = quic(tmp_path, "dial", other)
    assert done.returncode == 13 and "belongs to" in done.stderr and done.stdout == ""


@pytest.mark.asyncio
async def test_refusals_do_not_fill_the_listener_s_log(listener: Listener) -> None:
    """Strangers choose how often it refuses: five are told, the others are counted."""
    config = QuicTransportConfig(policy=PqPolicy.CLASSICAL)
    async with await Libp2pHost.create(config=config) as host:
        for _ in range(12):
            with pytest.raises(ConnectFailed):
                await host.dial(listener.multiaddr)
    _, said = listener.stop()
    assert said.count("wraith: refused:") == 5
    assert "wraith: 7 more were refused" in said


@pytest.mark.spec("LQ-77")
def test_a_key_log_is_asked_for_by_name_and_new(listener: Listener, tmp_path: Path) -> None:
    path, inherited = tmp_path / "keys.log", tmp_path / "inherited.log"
    command = [*WRAITH, "ping", listener.multiaddr]
    environ = environment(tmp_path / "dialler") | {"SSLKEYLOGFILE": str(inherited)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=60, env=environ
        )

    assert run().returncode == 0
    assert not inherited.exists(), "an inherited variable must not leak"
    done = run("--key-log", str(path))
    assert done.returncode == 0 and "WARNING" in done.stderr and str(path) in done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().splitlines()) == 4
    assert path.read_text().split()[2] not in done.stdout + done.stderr

    link = tmp_path / "link.log"
    link.symlink_to(tmp_path / "elsewhere.log")
    for taken in (path, link, tmp_path / "missing" / "keys.log"):
        again = run("--key-log", str(taken))
        assert again.returncode == 2 and "a new file" in again.stderr
        assert "Traceback" not in again.stderr and again.stdout == ""
    assert not (tmp_path / "elsewhere.log").exists() and not inherited.exists()


def test_prefer_accepts_and_says_so(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "listener", "--policy", "prefer")
    try:
        answer = quic(tmp_path, "ping", listener.multiaddr, "--policy", "classical", "--json")
        fields = json.loads(answer.stdout)
        assert fields["group"] == "X25519" and fields["post_quantum"] is False
    finally:
        _, said = listener.stop()
    assert "NOT post-quantum" in said and "libp2p.classical" in said


def test_the_library_below_says_nothing_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("qh3")
    listener = Listener(tmp_path / "listener", "--backend", "qh3")
    try:
        done = quic(tmp_path, "ping", listener.multiaddr, "--backend", "qh3")
        assert done.returncode == 0 and done.stderr == ""
    finally:
        _, said = listener.stop()
    assert all(line.startswith("wraith: ") for line in said.splitlines()), said


def test_private_profile(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "listener", "--policy", "private")
    try:
        answer = quic(tmp_path, "ping", listener.multiaddr, "--policy", "private", "--json")
        assert json.loads(answer.stdout)["post_quantum"] is True
    finally:
        listener.stop()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("ping", "/ip4/127.0.0.1/udp/1/quic-v1"), 2, "/p2p/<PeerId"),
        (("ping", "nonsense"), 2, "multiaddr"),
        (("ping", "/ip4/127.0.0.1/tcp/1/p2p/{peer}"), 2, "quic-v1"),
        (
            ("dial", "/ip4/127.0.0.1/udp/9/quic-v1/p2p/{peer}", "--timeout", "0.3"),
            12,
            "no handshake",
        ),
        (("listen", "--multiaddr", "/ip4/203.0.113.9/udp/0/quic-v1"), 10, "cannot bind"),
        (("listen", "--multiaddr", "/dns4/localhost/udp/0/quic-v1"), 2, "name to resolve"),
        (("ping", "/ip4/127.0.0.1/udp/1/quic-v1/p2p/{peer}", "--policy", "none"), 2, "policy"),
    ],
)
def test_errors_are_sentences_with_exit_codes(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = quic(tmp_path, *[each.format(peer=NOBODY) for each in arguments])
    assert done.returncode == code, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""
