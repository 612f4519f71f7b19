"""The voice of the command line.

Rules: results alone go to stdout, so that it can be piped. Everything for people goes to stderr as
``wraith: …``, lower case, no full stop, then ``wraith: hint: …``. With ``--json`` stdout holds one
JSON object per line, each with an ``event``, and stderr stays silent.
Progress is drawn only on a terminal. Control characters from a peer never reach the terminal.
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

from wraith.errors import WraithError

REDRAW_S = 0.1
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def printable(text: str) -> str:
    """``text`` with control and format characters replaced, safe to show on a terminal."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c
        for c in text
    )


def size(n_bytes: float) -> str:
    """``n_bytes`` for people, as in 3.2 MiB."""
    value = float(n_bytes)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """``seconds`` for people, as in 1:05 or 2:03:09."""
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


class Output:
    """Where a command's words go. One per command."""

    def __init__(
        self,
        *,
        json_events: bool,
        quiet: bool,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.json_events = json_events
        self.quiet = quiet
        self._stdout = stdout if stdout is not None else sys.stdout
        self._stderr = stderr if stderr is not None else sys.stderr
        self._on_terminal = self._stdout.isatty()
        self._line = ""
        self._drawn_at = 0.0
        #: A question that waits for its answer at the end of the screen.
        self.prompt = ""

    @property
    def is_terminal(self) -> bool:
        return self._stderr.isatty()

    @property
    def is_silent(self) -> bool:
        """Nothing but errors is said to people."""
        return self.quiet or self.json_events

    def result(self, line: str) -> None:
        """The answer itself, on stdout; nothing with ``--json``, where events carry it."""
        if not self.json_events:
            self._answer(line)

    def event(self, name: str, /, **fields: object) -> None:
        """One line of JSON on stdout with ``--json``; nothing without."""
        if self.json_events:
            self._answer(json.dumps({"event": name, **fields}, ensure_ascii=True))

    def say(self, text: str) -> None:
        """A sentence for people."""
        if self.is_silent:
            return
        self.clear_progress()
        before = "\n" if self.prompt else ""
        self._tell(f"{before}wraith: {text}\n{self.prompt}")

    def withdraw_prompt(self) -> None:
        """The question at the end of the screen is void: what is said next stands below it."""
        if self.prompt:
            self.prompt = ""
            self._tell("\n")

    def warning(self, text: str) -> None:
        """A sentence about danger: red on a terminal."""
        self.say(f"\x1b[31mWARNING: {text}\x1b[0m" if self.is_terminal else f"WARNING: {text}")

    def hint(self, text: str) -> None:
        """What to do next."""
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
        self.clear_progress()
        text = printable(message.replace("\n", "; "))
        self._tell(f"wraith: {text}\n")
        if hint:
            self._tell(f"wraith: hint: {printable(hint)}\n")

    def error(self, error: WraithError) -> None:
        message = " ".join(str(error).split()).rstrip(".")
        if message[1:2].islower():  # a class's sentence begins as sentences do; X25519 stays
            message = message[:1].lower() + message[1:]
        self.failure(error.code, message, error.hint, error.exit_code)

    def progress(self, line: str, *, last: bool = False) -> None:
        """Redraws the one progress line, at most ten times a second."""
        if self.is_silent or self.prompt or not self.is_terminal:
            return
        now = time.monotonic()
        if not last and now - self._drawn_at < REDRAW_S:
            return
        self._drawn_at = now
        text = f"wraith: {line}"
        self._tell("\r" + text + " " * max(0, len(self._line) - len(text)))
        self._line = text
        if last:
            self._tell("\n")
            self._line = ""

    def clear_progress(self) -> None:
        if self._line:
            self._tell("\r" + " " * len(self._line) + "\r")
            self._line = ""

    def _tell(self, text: str) -> None:
        """Writes for people. A terminal that has gone, or a full disk under a log, must not keep a
        transfer from ending in good order."""
        try:
            self._stderr.write(text)
            self._stderr.flush()
        except OSError:
            _let_go(self._stderr)

    def _answer(self, line: str) -> None:
        """Writes a line on stdout, which matters: only a terminal that has gone is no error."""
        try:
            self._stdout.write(line + "\n")
            self._stdout.flush()
        except OSError as exc:
            if not self._on_terminal or exc.errno != errno.EIO:
                raise
            _let_go(self._stdout)


def _let_go(stream: TextIO) -> None:
    """What is left in the stream's buffer goes nowhere, else the interpreter fails at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
