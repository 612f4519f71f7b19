"""What goes on at the sender after a receiver has said no."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wraith.testing.terminal import TerminalCommand
from wraith.testing.two_homes import TwoHomes, code_of, finish

Watched = Callable[..., TerminalCommand]


@pytest.fixture
def watched(homes: TwoHomes) -> Iterator[Watched]:
    """Starts a command on a terminal."""
    started: list[TerminalCommand] = []

    def start(*arguments: str | Path, home: str = "home-sender") -> TerminalCommand:
        command = TerminalCommand(*arguments, home=homes.work / home)
        started.append(command)
        return command

    yield start
    for command in started:
        command.close()


def _shown_code(sender: TerminalCommand) -> str:
    sender.wait_for("wraith receive wr1")
    sender.wait_for("waiting at")
    found = re.search(r"wraith receive (wr1\w+)", sender.screen)
    assert found is not None
    return found[1]


def _refuses(homes: TwoHomes, watched: Watched, code: str, **other: str) -> None:
    receiver = watched("receive", code, "--out", homes.out, **(other or {"home": "home-receiver"}))
    receiver.wait_for("accept? [y/N/l]: ")
    receiver.type("n\n")
    assert receiver.wait_exit() == 16


def test_a_sender_on_a_terminal_waits_on_after_a_refusal_and_says_so(
    homes: TwoHomes, watched: Watched
) -> None:
    path = homes.file("a.txt", b"a")
    sender = watched("send", "--listen", "127.0.0.1:0", path)
    code = _shown_code(sender)
    _refuses(homes, watched, code)
    said = sender.wait_for("Ctrl-C ends it")
    assert "refused the offer; waiting for the next receiver, the code is still good" in said
    # What it says is true: another person takes it, with the same code.
    assert finish(homes.receive(code, home="home-3")) == (0,)
    assert sender.wait_exit() == 0
    assert (homes.out / "a.txt").read_bytes() == b"a"


def test_with_once_it_ends_and_says_what_holds_then(homes: TwoHomes, watched: Watched) -> None:
    path = homes.file("a.txt", b"a")
    sender = watched("send", "--once", "--listen", "127.0.0.1:0", path)
    code = _shown_code(sender)
    _refuses(homes, watched, code)
    assert sender.wait_exit() == 16
    assert "wraith: the receiver refused the offer" in sender.screen
    assert "run again it offers the same under the same code" in sender.screen
    again = homes.send(path)
    assert code_of(again) == code, "the hint is not true"


def test_a_text_has_a_new_code_next_time_and_the_hint_says_so(
    homes: TwoHomes, watched: Watched
) -> None:
    sender = watched("send", "--once", "--listen", "127.0.0.1:0", "--text", "at noon")
    _refuses(homes, watched, _shown_code(sender))
    assert sender.wait_exit() == 16
    assert "run again it shows a new one" in sender.screen


def test_a_sender_that_keeps_is_ended_by_no_refusal(homes: TwoHomes, watched: Watched) -> None:
    sender = homes.send("--keep", homes.file("a.txt", b"a"))
    code = code_of(sender)
    _refuses(homes, watched, code)
    declined = sender.wait_event("declined")
    assert declined["reason"] == "declined" and len(str(declined["peer"])) == 52
    assert finish(homes.receive(code, home="home-3")) == (0,)
    assert sender.process.poll() is None


def test_a_program_that_sends_gets_the_event_and_exit_16(homes: TwoHomes, watched: Watched) -> None:
    sender = homes.send(homes.file("a.txt", b"a"))
    _refuses(homes, watched, code_of(sender))
    assert sender.wait_event("declined", "error")["event"] == "declined"
    assert sender.wait_event("error")["code"] == "offer-refused"
    assert sender.wait_exit() == 16


@pytest.mark.parametrize("options", [(), ("--keep",)], ids=["once", "keep"])
def test_a_list_is_shown_where_a_name_exists_too_and_ends_no_sender(
    homes: TwoHomes, options: tuple[str, ...]
) -> None:
    (homes.out / "a.txt").write_bytes(b"old")
    sender = homes.send(*options, homes.file("a.txt", b"new"))
    code = code_of(sender)
    looker = homes.receive(code, "--list-only")
    assert looker.wait_event("entry")["path"] == "a.txt"
    assert looker.wait_exit() == 0
    assert sender.wait_event("declined")["reason"] == "list_only"
    time.sleep(0.5)
    assert sender.process.poll() is None
    assert (homes.out / "a.txt").read_bytes() == b"old"


def test_once_and_keep_exclude_each_other(homes: TwoHomes) -> None:
    sender = homes.send("--once", "--keep", homes.file("a.txt", b"a"))
    assert sender.wait_event("error")["code"] == "usage"
    assert sender.wait_exit() == 2
