"""Nothing that was verified is lost, whoever is killed and whenever."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Literal

import pytest

from wraith.testing.demo import compare_trees
from wraith.testing.json_events import undocumented
from wraith.testing.two_homes import (
    TwoHomes,
    code_of,
    finish,
    number,
    run_with_kills,
    signalled,
)

MIB = 1 << 20
REFERENCE = Path(__file__).parents[2] / "docs/reference/json-events.md"
SEED = int(os.environ.get("WRAITH_TEST_SEED", "20261"))


def _tree(homes: TwoHomes, n_bytes: int) -> Path:
    homes.file("tree/big.bin", n_bytes - 60_000)
    for i in range(20):
        homes.file(f"tree/small/{i:02}.txt", 3_000, seed=i)
    return homes.source / "tree"


@pytest.mark.parametrize("side", ["receiver", "sender"])
def test_three_kills(homes: TwoHomes, side: Literal["receiver", "sender"]) -> None:
    n_bytes = 10 * MIB
    tree = _tree(homes, n_bytes)
    kills = run_with_kills(
        homes, tree, side=side, n_kills=3, n_bytes=n_bytes, seed=SEED, limit="20M"
    )
    _check(homes, tree, kills.kept, kills.lost)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [SEED, SEED + 1])
@pytest.mark.parametrize("side", ["receiver", "sender"])
def test_twenty_kills(homes: TwoHomes, side: Literal["receiver", "sender"], seed: int) -> None:
    n_bytes = 120 * MIB
    tree = _tree(homes, n_bytes)
    kills = run_with_kills(
        homes, tree, side=side, n_kills=20, n_bytes=n_bytes, seed=seed, limit="20M"
    )
    _check(homes, tree, kills.kept, kills.lost)


def _check(
    homes: TwoHomes, tree: Path, kept: list[tuple[int, int]], lost: list[tuple[int, int]]
) -> None:
    assert lost == [], kept
    assert compare_trees(tree, homes.out / "tree") == []
    assert homes.leftovers() == []


def test_a_receiver_killed_between_rename_and_receipt_reuses_everything(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 2 * MIB)
    sender = homes.send(path)
    code = code_of(sender)
    killed = homes.receive(
        code,
        prelude="import os, signal\n"
        "from wraith.transfer.receiver import Receiver\n"
        "Receiver._tell_placed = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
    )
    assert killed.wait_exit() == -signal.SIGKILL
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()
    receiver = homes.receive(code)
    assert finish(receiver, sender) == (0, 0)
    done = receiver.last("done")
    assert (done["bytes_transferred"], done["bytes_reused"]) == (0, 2 * MIB)
    assert homes.leftovers() == []
    assert sorted(p.name for p in homes.out.iterdir()) == ["a.bin"]


@pytest.mark.spec("TR-140")
def test_a_receiver_killed_after_its_receipt_says_that_it_was_complete(homes: TwoHomes) -> None:
    """The sender has ended and nobody answers: the note of the earlier run does."""
    path = homes.file("a.bin", MIB)
    sender = homes.send(path)
    code = code_of(sender)
    killed = homes.receive(
        code,
        prelude="import os, signal\n"
        "from wraith.aio.disk.file_target import FileTarget\n"
        "FileTarget.remove_state = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
    )
    assert killed.wait_exit() == -signal.SIGKILL
    assert sender.wait_exit() == 0
    assert len(homes.leftovers()) == 1
    again = homes.receive(code)
    assert again.wait_exit() == 0, again.story()
    done = again.last("done")
    assert (done["earlier"], done["bytes_total"], done["files"]) == (True, MIB, 1)
    assert done["paths"] == [str(homes.out / "a.bin")]
    assert undocumented(REFERENCE, again.events) == []
    assert homes.leftovers() == []
    # Into another folder it is not complete, and nobody answers there either.
    other = homes.receive(code, "--connect-timeout", "4", out=homes.work / "elsewhere")
    assert other.wait_event("error")["code"] == "handshake-timeout"


def test_a_receiver_of_a_killed_sender_that_never_comes_back_gives_up(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 4 * MIB)
    sender = homes.send("--limit", "2M", path)
    receiver = homes.receive(code_of(sender), "--wait", "2")
    receiver.wait_event("progress")
    sender.kill()
    error = receiver.wait_event("error")
    assert (error["code"], receiver.wait_exit()) == ("connection-lost", 23)
    assert len(homes.leftovers()) == 1  # what is verified is kept


@pytest.mark.parametrize(
    "number_sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupted_receiver_goes_on(homes: TwoHomes, number_sent: signal.Signals) -> None:
    path = homes.file("a.bin", 4 * MIB)
    sender = homes.send("--limit", "4M", path)
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    signalled(receiver, number_sent)
    error = receiver.wait_event("error")
    assert (error["code"], receiver.wait_exit()) == ("interrupted", 130)
    before = number(receiver.last("progress"), "bytes_done")
    assert not (homes.out / "a.bin").exists()
    again = homes.receive(code)
    assert finish(again, sender) == (0, 0)
    assert number(again.last("done"), "bytes_reused") >= before - MIB
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()


def test_an_interrupted_sender_goes_on_and_its_receiver_waits(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 4 * MIB)
    sender = homes.send("--limit", "4M", path)
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    signalled(sender, signal.SIGINT)
    assert sender.wait_exit() == 130
    receiver.wait_event("interrupted")
    again = homes.send(path)
    waiting = again.wait_event("waiting")
    assert (waiting["code"], waiting["resumed"]) == (code, True)
    assert finish(again, receiver) == (0, 0)
    assert number(again.last("done"), "bytes_transferred") < 4 * MIB


def test_a_stream_survives_a_killed_receiver(homes: TwoHomes) -> None:
    data = os.urandom(3 * MIB)
    sender = homes.send("-", "--limit", "3M", stdin=data)
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    receiver.kill()
    before = number(receiver.last("progress"), "bytes_done")
    again = homes.receive(code)
    assert finish(again, sender) == (0, 0)
    assert number(again.last("done"), "bytes_reused") >= before - MIB
    assert (homes.out / "stdin").read_bytes() == data


@pytest.mark.slow
def test_another_port_is_said_and_the_data_is_kept(homes: TwoHomes) -> None:
    """The old port is taken when the sender comes back: a new line, and a receiver started anew."""
    path = homes.file("a.bin", 4 * MIB)
    sender = homes.send("--limit", "4M", path)
    waiting = sender.wait_event("waiting")
    receiver = homes.receive(str(waiting["code"]), "--wait", "1")
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    sender.kill()
    before = number(receiver.last("progress"), "bytes_done")
    receiver.wait_exit()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", number(waiting, "port")))
        again = homes.send(path)
        now = again.wait_event("waiting")
    assert now["port"] != waiting["port"]
    assert now["code"] != waiting["code"]
    resumed = homes.receive(str(now["code"]))
    assert finish(resumed, again) == (0, 0)
    assert number(resumed.last("done"), "bytes_reused") >= before - MIB


def test_a_new_code_can_be_asked_for(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 1000)
    first = homes.send(path)
    code = code_of(first)
    first.kill()
    second = homes.send("--new-code", path)
    assert code_of(second) != code
