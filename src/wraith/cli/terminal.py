"""The terminal on which a person is asked: a question, and the line that answers it.

An answer is what is typed after its question was shown; what was typed before is thrown away.

Spec: transfer §6 [TR-101].
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from wraith.cli.output import Output

if sys.platform != "win32":
    import termios

INTERRUPT, END = b"\x03", b"\x04"
"""Ctrl-C and Ctrl-D, on a terminal that leaves them to the program."""
HANGUP_S = 0.2
"""So long the end of the input waits for the signal that would say why it came."""


class Terminal:
    """The terminal for one conversation: ``path``, or stdin and stderr."""

    def __init__(self, path: str | None, output: Output) -> None:
        self._opened = None if path is None else os.open(path, os.O_RDWR | os.O_NOCTTY)
        self._output = output

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._output.prompt = ""
        if self._opened is not None:
            os.close(self._opened)

    def write(self, text: str) -> None:
        sys.stdout.flush()
        data = text.encode("utf-8", "backslashreplace")
        os.write(self._opened if self._opened is not None else sys.stderr.fileno(), data)

    @property
    def lines(self) -> int:
        """The number of lines that fit on the screen above a question."""
        try:
            return max(4, os.get_terminal_size(self._input).lines - 2)
        except OSError:
            return 22

    async def ask(self, question: str, *, forget: bool = True) -> str:
        """The line that is typed from now on; empty at the end of input. What was typed before
        the question was there is thrown away, unless nothing hangs on it."""
        self._output.clear_progress()
        if forget:
            self._forget_input()
        self.write(question)
        self._output.prompt = question
        try:
            return await self._read_line()
        finally:
            self._output.prompt = ""

    @property
    def _input(self) -> int:
        return self._opened if self._opened is not None else sys.stdin.fileno()

    def _forget_input(self) -> None:
        if sys.platform != "win32":
            with contextlib.suppress(termios.error):
                termios.tcflush(self._input, termios.TCIFLUSH)

    async def _read_line(self) -> str:
        """One line, read without blocking the loop."""
        loop = asyncio.get_running_loop()
        descriptor = self._input
        line: asyncio.Future[str] = loop.create_future()
        gathered = bytearray()

        def on_readable() -> None:
            try:
                data = os.read(descriptor, 4096)
            except OSError:  # the terminal has gone
                data = b""
            gathered.extend(data.replace(b"\r", b"\n"))  # Enter, where the terminal is raw
            if INTERRUPT in data:  # likewise
                signal.raise_signal(signal.SIGINT)
            if not data or END in data:
                # The end of the input, or of the terminal: then SIGHUP is on its way and says more.
                loop.remove_reader(descriptor)
                loop.call_later(HANGUP_S, answer)
            elif b"\n" in gathered:
                answer()

        def answer() -> None:
            if not line.done():
                if b"\n" not in gathered:  # nothing has ended the line on the screen
                    with contextlib.suppress(OSError):
                        self.write("\n")
                typed = gathered.partition(END)[0].partition(b"\n")[0]
                line.set_result(typed.decode("utf-8", "replace"))

        loop.add_reader(descriptor, on_readable)
        try:
            return await line
        finally:
            loop.remove_reader(descriptor)
