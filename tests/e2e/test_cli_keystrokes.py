"""Seeded sequences of keys before, at and after the question: nothing is taken that was not shown.

Each seed has a real terminal, cooked or raw, and looks at the disk. What was typed before the offer
was shown must not count; what is typed after the question counts line by line, as the rules of the
question say. In one seed of ten the offer is swapped while its question stands.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wraith.testing.demo import Command
from wraith.testing.terminal import TerminalCommand
from wraith.testing.two_homes import TwoHomes, code_of, signalled

QUESTION = "accept? [y/N/l]: "
YES, NO = ("y", "yes", " Y "), ("n", "no", "")
OTHERS = ("x", "l", "yy", "nope", "\x1b[A", "ö", "y n")
SEEDS = 100
IN_SHORT = 8


def _name(seed: int) -> str:
    return f"gift{seed}.txt"


@contextmanager
def _terminal(homes: TwoHomes, code: str, out: Path, *, raw: bool) -> Iterator[TerminalCommand]:
    command = TerminalCommand(
        "receive", code, "--out", out, home=homes.work / "home-receiver", raw=raw
    )
    try:
        yield command
    finally:
        command.close()


def _took(out: Path) -> list[str]:
    return sorted(p.name for p in out.iterdir() if not p.name.startswith(".wraith-"))


def _enter(text: str, *, raw: bool) -> str:
    return text.replace("\n", "\r") if raw else text


def _play(homes: TwoHomes, sender: Command, code: str, seed: int) -> None:
    draw = random.Random(seed)
    raw = draw.random() < 0.4
    out = homes.work / f"out{seed}"
    out.mkdir()
    with _terminal(homes, code, out, raw=raw) as receiver:
        receiver.wait_for("dialling ")
        signalled(sender, signal.SIGSTOP)  # the offer cannot come while this is typed
        early = [draw.choice((*YES, *NO, *OTHERS)) + "\n" for _ in range(draw.randrange(4))]
        for text in early:
            receiver.type(_enter(text, raw=raw))
            time.sleep(draw.uniform(0, 0.02))
        signalled(sender, signal.SIGCONT)
        receiver.wait_for("offered:")
        receiver.wait_for(QUESTION)
        assert _took(out) == []
        lines = [draw.choice(OTHERS) for _ in range(draw.randrange(3))]
        last = draw.choice(("yes", "no", "end", "gone"))
        for line in lines:
            time.sleep(draw.choice((0.0, draw.uniform(0, 0.05))))
            if draw.random() < 0.2:
                receiver.resize(draw.choice((20, 40, 80, 200)))
                receiver.process.send_signal(signal.SIGWINCH)
            receiver.type(_enter(line + "\n", raw=raw))
            # The question alone may be the old one, drawn again after a resize.
            receiver.wait_for(_name(0) if line == "l" else "l lists everything")
            receiver.wait_for(QUESTION)
            assert _took(out) == [], f"taken after {line!r}"
        time.sleep(draw.choice((0.0, draw.uniform(0, 0.05))))
        if last == "yes":
            # A paste: what follows the line belongs to nobody any more.
            receiver.type(_enter(draw.choice(YES) + "\n" + draw.choice(("", "n\n")), raw=raw))
            assert receiver.wait_exit() == 0, receiver.screen
            assert _took(out) == [_name(0)]
        elif last == "no":
            receiver.type(_enter(draw.choice(NO) + "\n" + draw.choice(("", "y\n")), raw=raw))
            assert receiver.wait_exit() == 16, receiver.screen
        elif last == "end":
            receiver.type("\x04")
            assert receiver.wait_exit() == 16, receiver.screen
        else:
            receiver.process.send_signal(signal.SIGINT)
            assert receiver.wait_exit() == 130, receiver.screen
        if last != "yes":
            assert _took(out) == []
        assert "Traceback" not in receiver.screen


def _play_swap(homes: TwoHomes, seed: int) -> None:
    """The first offer stands, its sender goes, another one comes under the same code."""
    draw = random.Random(seed)
    out = homes.work / f"out{seed}"
    out.mkdir()
    first = homes.file(f"swap{seed}/{_name(seed)}", b"first")
    sender = homes.send(first.parent)
    code = code_of(sender)
    with _terminal(homes, code, out, raw=draw.random() < 0.4) as receiver:
        receiver.wait_for(QUESTION)
        signalled(sender, signal.SIGTERM)
        sender.wait_exit()
        homes.file(f"swap{seed}/.hidden", b"second")
        again = homes.send(first.parent)
        assert code_of(again) == code
        again.wait_event("deciding")
        for _ in range(draw.randrange(1, 4)):  # all of it meant for the first question
            receiver.type("y\n")
            time.sleep(draw.uniform(0, 0.05))
        receiver.wait_for("CHANGED")
        receiver.wait_for(QUESTION)
        time.sleep(0.3)
        assert _took(out) == [], "taken, and never shown"
        receiver.type("n\n")
        assert receiver.wait_exit() == 16
        assert _took(out) == []
    signalled(again, signal.SIGTERM)
    again.wait_exit()


@pytest.mark.spec("TR-101")
@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(IN_SHORT), id="short"),
        pytest.param(
            range(IN_SHORT, SEEDS), id="all", marks=[pytest.mark.slow, pytest.mark.timeout(1_800)]
        ),
    ],
)
def test_nothing_is_taken_that_was_not_shown(homes: TwoHomes, seeds: range) -> None:
    sender = homes.send("--keep", homes.file(_name(0), b"gift"))
    code = code_of(sender)
    for seed in seeds:
        print(f"seed {seed}")
        if seed % 10 == 7:
            _play_swap(homes, seed)
        else:
            _play(homes, sender, code, seed)
    assert sender.process.poll() is None


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "cooked"])
def test_ctrl_d_is_the_end_of_the_input(homes: TwoHomes, raw: bool) -> None:
    out = homes.work / "out-end"
    out.mkdir()
    sender = homes.send("--keep", homes.file(_name(0), b"gift"))
    with _terminal(homes, code_of(sender), out, raw=raw) as receiver:
        receiver.wait_for(QUESTION)
        receiver.type("\x04")
        assert receiver.wait_exit() == 16, receiver.screen
    assert _took(out) == []
