"""A code that is not given is asked for, and shown nowhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wraith.cli.handover import CODE_PROMPT
from wraith.testing.terminal import TerminalCommand
from wraith.testing.two_homes import TwoHomes, code_of


@pytest.mark.parametrize("spaced", [False, True])
def test_the_code_is_asked_for_and_not_shown(homes: TwoHomes, spaced: bool) -> None:
    sender = homes.send(homes.file("a.txt", b"a"))
    code = code_of(sender)
    typed = " ".join(code[i : i + 20] for i in range(0, len(code), 20)) if spaced else code
    receiver = TerminalCommand("receive", "--out", homes.out, home=homes.work / "home-receiver")
    try:
        receiver.wait_for(CODE_PROMPT)
        receiver.type(typed + "\n")
        receiver.wait_for("accept? [y/N/l]: ")
        receiver.type("y\n")
        assert receiver.wait_exit() == 0, receiver.screen
        assert code[3:23] not in receiver.screen
        arguments = receiver.process.args
        assert isinstance(arguments, list) and not any(code in str(each) for each in arguments)
    finally:
        receiver.close()
    assert (homes.out / "a.txt").read_bytes() == b"a"


@pytest.mark.parametrize("typed", ["\n", "\x04"])
def test_nothing_typed_is_a_mistake_and_no_traceback(homes: TwoHomes, typed: str) -> None:
    receiver = TerminalCommand("receive", home=homes.work / "home-receiver")
    try:
        receiver.wait_for(CODE_PROMPT)
        receiver.type(typed)
        assert receiver.wait_exit() == 2
        assert "no code was given" in receiver.screen and "Traceback" not in receiver.screen
    finally:
        receiver.close()


def test_without_a_terminal_nobody_is_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wraith", "receive", "--yes"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "give a code" in done.stderr
