"""The voice of the command line.

Rules: results alone go to stdout, so that it can be piped. Everything for people goes to stderr as
``wraith: …``, lower case, no full stop, then ``wraith: hint: …``. With ``--json`` stdout holds one
JSON object per line, each with an ``event``, and stderr stays silent.
Progress is one line that is drawn over on a terminal, and a sentence every five seconds elsewhere.
Control characters from a peer never reach the terminal.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
import unicodedata
from typing import TextIO

from wraith.cli.screen import (
    BOLD,
    DIM,
    GREEN,
    RED,
    YELLOW,
    View,
    duration,
    screen_of,
    size,
)
from wraith.errors import WraithError

REDRAW_S = 0.1
STEADY_S = 5.0
"""A sentence says so often how far things are, where no line can be drawn over."""
_MARKED = {"done:": (GREEN,), "hint:": (DIM,), "offered:": (BOLD,)}
"""First words of sentences that the eye should find, and their colours."""


def printable(text: str) -> str:
    """``text`` with control and format characters replaced, safe to show on a terminal."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c
        for c in text
    )


class Output:
    """The place where a command's words go. One per command."""

    def __init__(
        self,
        *,
        json_events: bool,
        quiet: bool,
        color: str | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.json_events = json_events
        self.quiet = quiet
        self._stdout = stdout if stdout is not None else sys.stdout
        self._stderr = stderr if stderr is not None else sys.stderr
        self._screen = screen_of(self._stderr)
        self._answers = screen_of(self._stdout)
        self._screen.configure(color=color)
        self._answers.configure(color=color)
        self._on_terminal = self._answers.is_terminal
        self._drawn_at = 0.0
        self._steady_at: float | None = None
        #: A question that waits for its answer at the end of the screen.
        self.prompt = ""

    @property
    def is_terminal(self) -> bool:
        return self._screen.is_terminal

    @property
    def is_silent(self) -> bool:
        """Nothing but errors is said to people."""
        return self.quiet or self.json_events

    def result(self, line: str, *styles: str) -> None:
        """The answer itself, on stdout; nothing with ``--json``, where events carry it."""
        if not self.json_events:
            self._answer(self._answers.palette(line, *styles))

    def event(self, name: str, /, **fields: object) -> None:
        """One line of JSON on stdout with ``--json``; nothing without."""
        if self.json_events:
            self._answer(json.dumps({"event": name, **fields}, ensure_ascii=True))

    def say(self, text: str, *styles: str) -> None:
        """A sentence for people."""
        if self.is_silent:
            return
        first, _, _ = text.partition(" ")
        words = self._screen.palette(text, *(styles or _MARKED.get(first, ())))
        before = self._screen.lifted() + ("\n" if self.prompt else "")
        after = self.prompt or self._screen.put_back()
        self._tell(f"{before}{self._prefix} {words}\n{after}")

    @property
    def _prefix(self) -> str:
        return self._screen.palette("wraith:", DIM)

    def withdraw_prompt(self) -> None:
        """The question at the end of the screen is void: what is said next stands below it."""
        if self.prompt:
            self.prompt = ""
            self._tell("\n")

    def warning(self, text: str) -> None:
        """A sentence about danger: red on a terminal."""
        self.say(f"WARNING: {text}", RED)

    def hint(self, text: str) -> None:
        """Says what to do next."""
        self.say(f"hint: {text}")

    def note(self, text: str) -> None:
        """A sentence for people, if there is one."""
        if text:
            self.say(text)

    def failure(self, code: str, message: str, hint: str, exit_code: int = 1) -> None:
        """An error, said even when ``quiet``."""
        self.event("error", code=code, message=message, hint=hint, exit_code=exit_code)
        if self.json_events:
            return
        text = self._screen.palette(printable(message.replace("\n", "; ")), RED)
        before = "\n" if self.prompt else ""
        self._tell(f"{self._screen.forget()}{before}{self._prefix} {text}\n")
        if hint:
            words = self._screen.palette(f"hint: {printable(hint)}", YELLOW)
            self._tell(f"{self._prefix} {words}\n")

    def error(self, error: WraithError) -> None:
        message = " ".join(str(error).split()).rstrip(".")
        if message[1:2].islower():  # a class's sentence begins as sentences do; X25519 stays
            message = message[:1].lower() + message[1:]
        self.failure(error.code, message, error.hint, error.exit_code)

    # --- for the terminal itself ----------------------------------------------------------------

    @property
    def columns(self) -> int:
        """The width of the terminal."""
        return self._screen.columns

    def control(self, sequence: str) -> bool:
        """Sends a control sequence to the terminal; false where there is none."""
        if not self._screen.is_live:
            return False
        self._tell(sequence)
        return True

    def draw(self, text: str) -> None:
        """Lines for the eye alone, as they are; not with ``--json`` or ``--quiet``."""
        if not self.is_silent:
            self._tell(self._screen.lifted() + text)

    # --- progress -------------------------------------------------------------------------------

    def progress(self, view: View) -> None:
        """Shows how far things are: at most ten times a second where the line can be drawn over,
        else once in five seconds."""
        if self.is_silent or self.prompt:
            return
        now = time.monotonic()
        if not self._screen.is_live:
            if self._steady_at is None:
                self._steady_at = now
            elif now - self._steady_at >= STEADY_S:
                self._steady_at = now
                self.say(view.sentence)
        elif now - self._drawn_at >= REDRAW_S:
            self._drawn_at = now
            self._tell(self._screen.draw(view))

    def redraw(self) -> None:
        """The terminal has another size, or something was written over the line."""
        if not self.prompt:
            self._tell(self._screen.put_back())

    def clear_progress(self) -> None:
        """Takes the line away for a question; the next sentence or report puts it back."""
        self._tell(self._screen.lifted())

    def end_progress(self) -> None:
        """Takes the line away for good."""
        self._steady_at = None
        self._tell(self._screen.forget())

    # --- writing --------------------------------------------------------------------------------

    def _tell(self, text: str) -> None:
        """Writes for people. A terminal that has gone, or a full disk under a log, must not keep a
        transfer from ending in good order."""
        if not text:
            return
        try:
            self._stderr.write(text)
            self._stderr.flush()
        except (OSError, ValueError):  # gone, full, or closed
            _let_go(self._stderr)

    def _answer(self, line: str) -> None:
        """Writes a line on stdout, which matters: only a terminal that has gone is no error."""
        if self._on_terminal and self._screen.is_terminal:
            self.clear_progress()
        try:
            self._stdout.write(line + "\n")
            self._stdout.flush()
        except OSError as exc:
            if not self._on_terminal or exc.errno != errno.EIO:
                raise
            _let_go(self._stdout)


def _let_go(stream: TextIO) -> None:
    """Leads the rest of the stream's buffer nowhere, else the interpreter fails at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


__all__ = ["Output", "duration", "printable", "size"]
