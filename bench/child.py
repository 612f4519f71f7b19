"""Foreign programs as children: what they print, their CPU, an end in any case."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness import PeerFailed

TOOL_TIMEOUT_S = 120


class Child:
    """A process whose CPU, with that of the children it waited for, is known at its end. What it
    prints goes to a file, so that it never waits for a reader."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name = Path(words[0]).name
        self._output = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # lives as long as the process
        self.process = subprocess.Popen(
            list(words),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )

    def _said(self) -> str:
        return os.pread(self._output.fileno(), 1 << 20, 0).decode(errors="replace")

    def _last_words(self) -> str:
        return " / ".join(self._said().strip().splitlines()[-2:])

    def wait_line(self, word: str, timeout_s: float = 60) -> str:
        """The first line with ``word`` in it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self._said().splitlines(keepends=True):
                if word in line and line.endswith("\n"):
                    return line.strip()
            if self.process.returncode is not None:
                break
            time.sleep(0.01)
        raise PeerFailed(f"{self.name} did not say {word!r}: {self._last_words()}")

    def end(self, *, interrupt: bool = False) -> float:
        """Waits (after an interrupt, when asked); CPU seconds. Raises ``PeerFailed`` on failure."""
        if interrupt:
            self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + TOOL_TIMEOUT_S
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                words = self._last_words()
                self.stop()
                raise PeerFailed(f"{self.name} took more than {TOOL_TIMEOUT_S} s: {words}")
            time.sleep(0.005)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        words = self._last_words()
        self._output.close()
        if self.process.returncode and not interrupt:
            raise PeerFailed(f"{self.name} ended with {self.process.returncode}: {words}")
        return usage.ru_utime + usage.ru_stime

    def stop(self) -> None:
        """Kills what is still there."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self._output.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise PeerFailed(f"nothing listens on port {port}")


def cpu_with_children(pid: int) -> float:
    """CPU of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
