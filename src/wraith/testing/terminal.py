"""One ``wraith`` process on a real terminal: what a person sees, and what they type.

The process has a pseudo-terminal of its own as standard input, output and error, in the mode in
which a shell leaves it: lines are edited and echoed, and what is typed waits until it is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
import tty
from pathlib import Path

from wraith.testing.demo import EVENT_DEADLINE_S, DemoFailed


class TerminalCommand:
    """Starts ``wraith ARGUMENTS`` on a terminal of ``columns`` by ``rows``; ``close`` ends it.

    ``screen`` is everything that was written to the terminal, echo included, without any
    interpretation of control sequences.
    """

    def __init__(
        self,
        *arguments: str | Path,
        home: Path,
        columns: int = 100,
        rows: int = 40,
        environment: dict[str, str] | None = None,
        raw: bool = False,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if raw:  # as a program leaves it that has died
            tty.setraw(inner)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wraith", *map(str, arguments)],
            env={**os.environ, "WRAITH_HOME": str(home), "TERM": "xterm", "NO_COLOR": "1"}
            | (environment or {}),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self._written = bytearray()
        self._seen = 0

    @property
    def screen(self) -> str:
        """All that was shown so far."""
        self._read(0.0)
        return self._written.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """As if a person pressed these keys; ``\\n`` is Enter."""
        os.write(self._terminal, text.encode())

    @property
    def written(self) -> bytes:
        """The same as it was written, for an emulator."""
        self._read(0.0)
        return bytes(self._written)

    def resize(self, columns: int, rows: int = 40) -> None:
        """As if a person drew the window to another size; the process is told."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def wait_for(self, text: str, *, deadline_s: float = EVENT_DEADLINE_S) -> str:
        """Waits until ``text`` was shown after what was waited for last; returns what was shown
        up to its end.

        Raises:
            DemoFailed: it was not, in time.
        """
        wanted = text.encode()
        until = time.monotonic() + deadline_s
        while (at := self._written.find(wanted, self._seen)) < 0:
            is_over = not self._read(0.1)  # and may have brought the last that was written
            if (is_over and wanted not in self._written[self._seen :]) or time.monotonic() >= until:
                raise DemoFailed(
                    f"{text!r} was not shown:\n{self._written.decode(errors='replace')}"
                )
        before, self._seen = self._seen, at + len(wanted)
        return self._written[before : self._seen].decode("utf-8", "replace")

    def shows_nothing_new(self, seconds: float) -> bool:
        """Whether nothing is written to the terminal for so long, after what was waited for."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self._read(0.05):
                break
        return len(self._written) == self._seen

    def wait_exit(self, *, deadline_s: float = EVENT_DEADLINE_S) -> int:
        """The exit code."""
        until = time.monotonic() + deadline_s
        while self.process.poll() is None:
            if time.monotonic() >= until:
                raise DemoFailed(f"still running:\n{self.screen}")
            self._read(0.05)
        self._read(0.0)
        return self.process.returncode

    def close(self) -> None:
        """Kills what still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self._terminal)

    def _read(self, wait_s: float) -> bool:
        """Takes what was written; false when the terminal is closed at the other end."""
        readable = select.poll()  # takes any descriptor, not only the first 1,024
        readable.register(self._terminal, select.POLLIN)
        while readable.poll(wait_s * 1_000):
            try:
                data = os.read(self._terminal, 65_536)
            except OSError:  # nobody has it open any more
                return False
            if not data:
                return False
            self._written += data
            wait_s = 0.0
        return True
