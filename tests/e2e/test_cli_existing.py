"""A name that exists is asked about on a terminal, and ends nobody."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wraith.testing.terminal import TerminalCommand
from wraith.testing.two_homes import TwoHomes, code_of, signalled

QUESTION = "accept? [y/N/l]: "
EXISTING = "[o/r/s/N]: "
Receive = Callable[..., TerminalCommand]


def _there(homes: TwoHomes) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in homes.out.iterdir()
        if not path.name.startswith(".wraith-")
    }


@pytest.mark.parametrize(
    ("answer", "exit_code", "there"),
    [
        ("o\n", 0, {"a.txt": b"new"}),
        ("r\n", 0, {"a.txt": b"old", "a (1).txt": b"new"}),
        ("s\n", 0, {"a.txt": b"old"}),
        ("x\noverwrite\n", 0, {"a.txt": b"new"}),
        ("\n", 16, {"a.txt": b"old"}),
        ("\x04", 16, {"a.txt": b"old"}),
    ],
)
def test_who_answers_decides(
    homes: TwoHomes, receive: Receive, answer: str, exit_code: int, there: dict[str, bytes]
) -> None:
    (homes.out / "a.txt").write_bytes(b"old")
    sender = homes.send("--keep", homes.file("a.txt", b"new"))
    receiver = receive(code_of(sender))
    receiver.wait_for("already there: a.txt")
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    for line in answer.splitlines(keepends=True):
        receiver.wait_for(EXISTING)
        receiver.type(line)
    assert receiver.wait_exit() == exit_code, receiver.screen
    assert _there(homes) == there
    assert sender.process.poll() is None, "the sender has ended"


def test_a_name_that_is_free_is_not_asked_about(homes: TwoHomes, receive: Receive) -> None:
    (homes.out / "b.txt").write_bytes(b"old")
    sender = homes.send(homes.file("a.txt", b"new"))
    receiver = receive(code_of(sender))
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    assert receiver.wait_exit() == 0
    assert EXISTING not in receiver.screen
    assert sender.wait_exit() == 0


def test_with_yes_nobody_is_asked_and_nothing_is_touched(homes: TwoHomes, receive: Receive) -> None:
    (homes.out / "a.txt").write_bytes(b"old")
    sender = homes.send(homes.file("a.txt", b"new"))
    receiver = receive(code_of(sender), "--yes")
    assert receiver.wait_exit() == 16
    assert _there(homes) == {"a.txt": b"old"}


@pytest.mark.spec("TR-107")
def test_the_choice_is_noted_before_the_answer_and_not_asked_for_again(
    homes: TwoHomes, receive: Receive
) -> None:
    path = homes.file("a.bin", 4 << 20)
    (homes.out / "a.bin").write_bytes(b"old")
    sender = homes.send("--limit", "1M", path)
    code = code_of(sender)
    receiver = receive(code)
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    receiver.wait_for(EXISTING)
    receiver.type("r\n")
    while not sender.wait_event("progress")["bytes_done"]:
        pass
    receiver.process.kill()
    receiver.process.wait()
    again = receive(code)
    again.wait_for(QUESTION)
    again.type("y\n")
    assert again.wait_exit() == 0, again.screen
    assert EXISTING not in again.screen
    assert sender.wait_exit() == 0
    assert (homes.out / "a.bin").read_bytes() == b"old"
    assert (homes.out / "a (1).bin").read_bytes() == path.read_bytes()


def test_a_choice_for_one_offer_is_none_for_another(homes: TwoHomes, receive: Receive) -> None:
    gift = homes.source / "gift"
    homes.file("gift/a.txt", b"new")
    (homes.out / "gift").mkdir()
    (homes.out / "gift/a.txt").write_bytes(b"old")
    sender = homes.send(gift)
    code = code_of(sender)
    receiver = receive(code)
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    receiver.wait_for(EXISTING)
    signalled(sender, signal.SIGTERM)
    sender.wait_exit()
    homes.file("gift/b.txt", b"another")
    again = homes.send(gift)
    assert code_of(again) == code
    again.wait_event("deciding")
    receiver.type("o\n")  # meant for the first offer
    receiver.wait_for("CHANGED")
    time.sleep(1.5)
    assert (homes.out / "gift/a.txt").read_bytes() == b"old"
    receiver.wait_for(QUESTION)
    receiver.type("n\n")
    assert receiver.wait_exit() == 16
    assert [path.name for path in (homes.out / "gift").iterdir()] == ["a.txt"]
    assert Path(homes.out / "gift/a.txt").read_bytes() == b"old"
