"""A name that exists is asked about on a terminal, and ends nobody."""

from __future__ import annotations

import os
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


def _album(homes: TwoHomes) -> Path:
    """Four files to send; three of their names are there, and a file of the receiver's own."""
    for name in ("a.txt", "b.txt", "sub/c.txt", "d.txt"):
        homes.file(f"album/{name}", f"new {name}".encode())
    (homes.out / "album/sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "sub/c.txt", "mine.txt"):
        (homes.out / "album" / name).write_bytes(b"old")
    return homes.source / "album"


def _found(homes: TwoHomes) -> dict[str, str]:
    """The texts of the album that was received."""
    album = homes.out / "album"
    return {
        os.fspath(path.relative_to(album)): path.read_text()
        for path in album.rglob("*")
        if path.is_file() and path.suffix == ".txt"
    }


@pytest.mark.spec("TR-70")
def test_each_file_of_a_merge_is_asked_about(homes: TwoHomes, receive: Receive) -> None:
    sender = homes.send(_album(homes))
    receiver = receive(code_of(sender))
    receiver.wait_for("already there: album/a.txt, album/b.txt, album/sub/c.txt")
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    for name, answer in (("a.txt", "o"), ("b.txt", "what\ns"), ("sub/c.txt", "r")):
        for line in answer.split("\n"):
            receiver.wait_for(f"album/{name} exists")
            receiver.wait_for("[o/r/s/oa/ra/sa/N]: ")
            receiver.type(line + "\n")
    assert receiver.wait_exit() == 0, receiver.screen
    assert _found(homes) == {
        "a.txt": "new a.txt",
        "b.txt": "old",
        "sub/c.txt": "old",
        "sub/c (1).txt": "new sub/c.txt",
        "d.txt": "new d.txt",
        "mine.txt": "old",
    }


@pytest.mark.spec("TR-70")
@pytest.mark.parametrize(
    ("answers", "exit_code", "new"),
    [
        (["oa"], 0, {"a.txt", "b.txt", "sub/c.txt", "d.txt"}),
        (["s", "oa"], 0, {"b.txt", "sub/c.txt", "d.txt"}),
        (["o", "sa"], 0, {"a.txt", "d.txt"}),
        (["o", ""], 16, set[str]()),
    ],
)
def test_an_answer_may_hold_for_all_that_follow(
    homes: TwoHomes, receive: Receive, answers: list[str], exit_code: int, new: set[str]
) -> None:
    sender = homes.send("--keep", _album(homes))
    receiver = receive(code_of(sender))
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    for answer in answers:
        receiver.wait_for("[o/r/s/oa/ra/sa/N]: ")
        receiver.type(answer + "\n")
    assert receiver.wait_exit() == exit_code, receiver.screen
    found = _found(homes)
    assert {name for name, text in found.items() if text != "old"} == new
    assert set(found) == {"a.txt", "b.txt", "sub/c.txt", "mine.txt"} | (new & {"d.txt"})


@pytest.mark.spec("TR-70")
def test_of_more_than_twenty_names_one_answer_is_asked_for(
    homes: TwoHomes, receive: Receive
) -> None:
    (homes.out / "many").mkdir()
    for i in range(21):
        homes.file(f"many/{i}", b"new")
        (homes.out / f"many/{i}").write_bytes(b"old")
    sender = homes.send(homes.source / "many")
    receiver = receive(code_of(sender))
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    receiver.wait_for(EXISTING)
    receiver.type("o\n")
    assert receiver.wait_exit() == 0, receiver.screen
    assert {path.read_bytes() for path in (homes.out / "many").iterdir()} == {b"new"}


@pytest.mark.parametrize(("answer", "exit_code"), [("y", 0), ("", 16)])
def test_a_folder_with_none_of_the_files_that_come_is_asked_about_as_well(
    homes: TwoHomes, receive: Receive, answer: str, exit_code: int
) -> None:
    homes.file("album/a.txt", b"new a.txt")
    (homes.out / "album").mkdir()
    (homes.out / "album/mine.txt").write_bytes(b"old")
    sender = homes.send("--keep", homes.source / "album")
    receiver = receive(code_of(sender))
    receiver.wait_for("already there: album/, with none of the files that come")
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    receiver.wait_for("beside what is there")
    receiver.type(answer + "\n")
    assert receiver.wait_exit() == exit_code, receiver.screen
    assert _found(homes) == {"mine.txt": "old"} | ({"a.txt": "new a.txt"} if answer else {})


@pytest.mark.spec("TR-107")
def test_choices_for_single_files_hold_after_a_kill(homes: TwoHomes, receive: Receive) -> None:
    big = homes.file("album/big.bin", 4 << 20)
    sender = homes.send("--limit", "1M", _album(homes))
    code = code_of(sender)
    receiver = receive(code)
    receiver.wait_for(QUESTION)
    receiver.type("y\n")
    for answer in "ors":
        receiver.wait_for("[o/r/s/oa/ra/sa/N]: ")
        receiver.type(answer + "\n")
    while not sender.wait_event("progress")["bytes_done"]:
        pass
    receiver.process.kill()
    receiver.process.wait()
    again = receive(code)
    again.wait_for(QUESTION)
    again.type("y\n")
    assert again.wait_exit() == 0, again.screen
    assert "[o/r/s/oa/ra/sa/N]" not in again.screen
    assert (homes.out / "album/big.bin").read_bytes() == big.read_bytes()
    found = {name for name, text in _found(homes).items() if text.startswith("new")}
    assert found == {"a.txt", "b (1).txt", "d.txt"}
    assert _found(homes)["sub/c.txt"] == "old"
