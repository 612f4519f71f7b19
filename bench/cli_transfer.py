"""One transfer by ``wraith send`` and ``wraith receive`` as two processes, watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import TIMEOUT_S, PeerFailed, private_bytes

LOOK_S = 0.02


@dataclass(frozen=True)
class Usage:
    """What one side took: CPU to its end, and the most that it ever had to itself."""

    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class CliFigure:
    """``command_s`` is from starting the receiver until it has ended; ``seconds`` is the
    receiver's own figure, from connected to done."""

    n_bytes: int
    command_s: float
    seconds: float
    send: Usage
    receive: Usage

    @property
    def cpu_s(self) -> float:
        return self.send.cpu_s + self.receive.cpu_s


class Watched:
    """A ``wraith`` process: its NDJSON, its CPU, its memory."""

    def __init__(
        self,
        words: Sequence[str],
        home: Path,
        environment: dict[str, str],
        prefix: Sequence[str] = (),
        program: Sequence[str] = ("-m", "wraith"),
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, *program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "WRAITH_HOME": str(home), **environment},
        )
        self.events: list[dict[str, Any]] = []
        self.peak_bytes = 0
        self.cpu_s = 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._words: list[str] = []
        self._news = threading.Condition()
        self._is_over = False
        self._reader.start()
        self._errors.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._words.extend(self.process.stderr)

    def wait_event(self, name: str) -> dict[str, Any]:
        """The first event called ``name``. Raises ``PeerFailed`` when the process ends first."""

        def found() -> dict[str, Any] | None:
            return next((e for e in self.events if e["event"] == name), None)

        with self._news:
            self._news.wait_for(lambda: found() or self._is_over, timeout=TIMEOUT_S)
            event = found()
        if event is None:
            raise PeerFailed(f"no {name} event: {self.last_words()}")
        return event

    def last_words(self) -> str:
        self._errors.join(timeout=1)
        errors = [str(e.get("message", e)) for e in self.events if e["event"] == "error"]
        return " / ".join([*errors, *[w.strip() for w in self._words[-2:]]])

    def look(self) -> bool:
        """Notes its memory. False once it has ended; its CPU is known then."""
        with contextlib.suppress(OSError, ValueError):  # it may be on its way out
            self.peak_bytes = max(self.peak_bytes, private_bytes(self.process.pid))
        if self.process.returncode is not None:
            return False
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if not pid:
            return True
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        return False

    def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=5)
        self._errors.join(timeout=5)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def usage(self) -> Usage:
        return Usage(self.cpu_s, self.peak_bytes)


def cli_transfer(
    source: Path,
    work: Path,
    *,
    suite: str = "B",
    out: Path | None = None,
    environment: dict[str, str] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    prefix: Sequence[Sequence[str]] = ((), ()),
    program: Sequence[str] = ("-m", "wraith"),
) -> CliFigure:
    """Sends ``source`` into ``out`` (``work/out`` without it); homes are made under ``work``.

    ``host`` and ``port`` are where the sender listens; ``prefix`` goes before the receiver's and
    the sender's command (namespaces); ``program`` is what Python runs in place of the command.

    Raises:
        PeerFailed: anything but two exit codes 0.
    """
    extra = environment or {}
    out = out if out is not None else work / "out"
    out.mkdir(parents=True, exist_ok=True)
    common = ["--json", "-q", "--suite", suite]
    send = ["send", *common, "--listen", f"{host}:{port}", "--new-code", str(source)]
    sender = Watched(send, work / "home-sender", extra, prefix[1], program)
    try:
        code = str(sender.wait_event("waiting")["code"])
        start = time.perf_counter()
        receive = ["receive", *common, "--yes", "--overwrite", "--out", str(out)]
        receiver = Watched(
            receive, work / "home-receiver", {**extra, "WRAITH_CODE": code}, prefix[0], program
        )
        try:
            deadline = start + TIMEOUT_S
            while receiver.look():
                sender.look()
                time.sleep(LOOK_S)
                if time.perf_counter() > deadline:
                    raise PeerFailed(f"not done after {TIMEOUT_S} s")
            command_s = time.perf_counter() - start
            while sender.look() and time.perf_counter() < deadline:
                time.sleep(LOOK_S)
            codes = (sender.process.returncode, receiver.process.returncode)
            if codes != (0, 0):
                words = f"{sender.last_words()} | {receiver.last_words()}"
                raise PeerFailed(f"exit codes {codes}: {words}")
            done = receiver.wait_event("done")
        finally:
            receiver.close()
    finally:
        sender.close()
    return CliFigure(
        n_bytes=int(done["bytes_total"]),
        command_s=command_s,
        seconds=float(done["seconds"]),
        send=sender.usage(),
        receive=receiver.usage(),
    )
