"""Blocks of code in documents, and a scratch world in which they run as a reader would run them.

The language of a fence says what becomes of it: ``python`` is a whole program, ``sh`` a script,
``console`` commands behind ``$ `` with what they print, ``toml`` and ``ini`` are read, and ``text``
is no code. A comment on the line above a block says why it is not run, or which test runs it:
``<!-- not run: reason -->``, ``<!-- run by tests/file.py::test_name -->``. A title says on which
side a script runs, or what the file is called that the block is: ``title="sender"``.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wraith.testing.demo import DemoFailed

DEADLINE_S = 60.0
LANGUAGES = frozenset(
    ("python", "sh", "console", "text", "toml", "ini", "json", "mermaid", "cron", "nginx")
)
SIDES = ("sender", "receiver")
_FENCE = re.compile(r'```(?P<language>[\w-]*)(?: title="(?P<title>[^"]*)")?')
_MARKER = re.compile(r"<!-- (not run|run by|until)(?::| ) ?(.+?) -->")
_CODE = re.compile(r"\bwr1[a-z2-7]{60,}")
_KEY = re.compile(r"^[a-z2-7]{52}$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\b(?:CODE|KEY)\b")
_CRON_TIME = re.compile(r"^(?:\S+ ){5}", re.MULTILINE)
#: What differs from run to run, and the word that stands for it.
_CHANGING = (
    (r"wr1[a-z2-7]{20,}…?", "CODE"),
    (r"\b[a-z2-7]{12}…", "PEER"),
    (r"\b[a-z2-7]{52}\b", "KEY"),
    (r"^[0-9a-f]{12}\b", "ID"),
    (r"\b[0-9a-f]{16}…", "DIGEST"),
    (r"(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]):\d+(?:, \S+:\d+)*", "ADDRESS"),
    (r"\(\d[\d.]* [KMG]?i?B/s\)", "(RATE)"),
    (r"\d[\d.]* (?:[KMG]i)?B\b", "SIZE"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?", "DATE"),
    (r"\d+:\d\d(?::\d\d)?", "TIME"),
    (r"suite [AB] \([\w-]+\)", "suite SUITE"),
    (r"(UDP|TCP) port \d+", r"\1 port N"),
    (r"(?<=into )\S+|(?<=received )/\S+", "PLACE"),
    (r"12D3Koo\w+(?:\.\.\.)?", "PEERID"),
    (r"/udp/\d+/", "/udp/N/"),
    (r"\d+\.\d+ ms", "N ms"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fence of a page.

    Attributes:
        line: of the opening fence, from 1.
        heading: the nearest heading above it.
        follows: it stands right below the block before it, empty lines aside.
        not_run: why it is not run; empty if it is.
        run_by: the test that runs it, as ``file::name``; empty if the general one does.
        until: the signal that ends its last command, such as ``SIGINT``; empty if it ends itself.
    """

    page: Path
    line: int
    language: str
    title: str
    text: str
    heading: str
    follows: bool
    not_run: str
    run_by: str
    until: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """The commands of a ``console`` block, each with the lines that it prints."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
            else:
                raise DemoFailed(f"{self}: a line of output stands before the first command")
        return found


def blocks(page: Path) -> list[Block]:
    """Every fence of ``page``.

    Raises:
        DemoFailed: a fence is open at the end, or its first line is none that is known.
    """
    found: list[Block] = []
    marks: dict[str, str] = {}
    heading = above = ""
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    for number, line in lines:
        if line.startswith("```"):
            opening = _FENCE.fullmatch(line)
            if opening is None:
                raise DemoFailed(f"{page.name}:{number}: not a fence: {line}")
            text = "".join(f"{inside}\n" for inside in _until_fence(lines, page, number))
            found.append(
                Block(
                    page,
                    number,
                    opening["language"],
                    opening["title"] or "",
                    text,
                    heading,
                    above == "```",
                    marks.get("not run", ""),
                    marks.get("run by", ""),
                    marks.get("until", ""),
                )
            )
            marks, above = {}, "```"
        elif line.strip():
            above = line
            marker = _MARKER.fullmatch(line)
            marks = marks | {marker[1]: marker[2]} if marker else {}
            if line.startswith("#"):
                heading = line.lstrip("#").strip()
    return found


def _until_fence(lines: Iterator[tuple[int, str]], page: Path, opened: int) -> Iterator[str]:
    for _, line in lines:
        if line == "```":
            return
        yield line
    raise DemoFailed(f"{page.name}:{opened}: this fence is never closed")


def shape(line: str) -> str:
    """``line`` with everything that differs from run to run replaced."""
    for pattern, word in _CHANGING:
        line = re.sub(pattern, word, line)
    return line.rstrip()


def script_of(block: Block) -> str:
    """What a shell runs for a block."""
    if block.language == "console":
        return "\n".join(command for command, _ in block.commands)
    if block.language == "cron":
        return _CRON_TIME.sub("", block.text)
    if block.language == "python":
        return f"exec python -c {shlex.quote(block.text)}"
    return block.text


class Running:
    """A script that was started. ``said`` is what it wrote on stdout and stderr so far."""

    def __init__(self, script: str, folder: Path, environment: dict[str, str]) -> None:
        self.script = script
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        return "".join(self._lines)

    @property
    def code(self) -> str:
        """The code that it shows; empty before it did."""
        found = _CODE.search(self.said)
        return found[0] if found else ""

    @property
    def key(self) -> str:
        """The key of a node that it shows on a line of its own; empty before it did."""
        found = _KEY.search(self.said)
        return found[0] if found else ""

    def wait(self, is_enough: Callable[[Running], bool] = lambda _: False) -> None:
        """Waits until it has ended, or ``is_enough``.

        Raises:
            DemoFailed: neither came within ``DEADLINE_S``.
        """
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and not is_enough(self):
            if time.monotonic() > deadline:
                raise DemoFailed(f"no end within {DEADLINE_S:g} s\n{self.story()}")
            time.sleep(0.01)
        if self.process.poll() is not None:
            self._reader.join(DEADLINE_S)

    def end(self, expected: int = 0) -> str:
        """Waits for its end; what it said.

        Raises:
            DemoFailed: another exit code, or no end.
        """
        self.wait()
        if self.process.returncode != expected:
            raise DemoFailed(f"exit {self.process.returncode}, not {expected}\n{self.story()}")
        return self.said

    def signal(self, name: str) -> None:
        """Sends a signal such as ``SIGINT`` to the script and everything that it started."""
        os.killpg(self.process.pid, signal.Signals[name])

    def close(self) -> None:
        """Kills what still runs."""
        if self.process.poll() is None:
            self.signal("SIGKILL")
            self.process.wait()
        self._reader.join(DEADLINE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def story(self) -> str:
        """The script and what it said, for a message."""
        return f"--- {self.script.strip()}\n{self.said}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)


class World:
    """A machine for each side, as far as ``HOME`` goes; the sender's has things to send.

    Attributes:
        code: the last code that anybody showed; it stands for ``CODE`` in what runs next.
        key: the last key, for ``KEY``.
    """

    def __init__(self, work: Path, environment: dict[str, str] | None = None) -> None:
        self._work = work
        self._environment = environment or {}
        self._running: list[Running] = []
        self.code = self.key = ""
        for side in SIDES:
            self.home(side).mkdir(parents=True)
        self._furnish(self.home("sender"))

    def home(self, side: str) -> Path:
        """The folder that a side's scripts run in; it is their ``HOME``."""
        return self._work / side

    def start(self, script: str, side: str = "sender") -> Running:
        """Starts a script; ``CODE`` in it is the code that was shown last."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name == "WRAITH_PURE_PYTHON" or not name.startswith(("WRAITH_", "XDG_"))
        }
        environment |= {
            "HOME": str(self.home(side)),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "WRAITH_COLOR": "never",
        } | self._environment
        running = Running(self._filled(script), self.home(side), environment)
        self._running.append(running)
        return running

    def play(self, scene: Sequence[Block]) -> list[Running]:
        """Runs the blocks of a scene in their order, each on its side. A script that shows a code
        goes on beside the next ones; in the end all must have ended with 0.

        Raises:
            DemoFailed: something did not end, or not with 0, or said something else than a
                ``console`` block shows.
        """
        played: list[tuple[Block, Running]] = []
        for block in scene:
            if block.title and block.title not in SIDES:  # a file that what follows uses
                self._write(self.home("receiver") / block.title.removeprefix("~/"), block.text)
                continue
            running = self.start(script_of(block), block.title or "sender")
            running.wait(lambda one: bool(one.code))
            self.code = running.code or self.code
            self.key = running.key or self.key
            played.append((block, running))
        for block, running in played:
            if block.until:
                running.signal(block.until)
                running.end(128 + signal.Signals[block.until])
            else:
                running.end()
            if block.language == "console":
                self._compare(block, running)
        return [running for _, running in played]

    def close(self) -> None:
        for running in self._running:
            running.close()

    def _filled(self, text: str) -> str:
        known = {"CODE": self.code, "KEY": self.key}
        return _PLACEHOLDER.sub(lambda found: known[found[0]] or found[0], text)

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(self._filled(text), "utf-8")

    @staticmethod
    def _compare(block: Block, running: Running) -> None:
        expected = [shape(line) for _, lines in block.commands for line in lines]
        said = [shape(line) for line in running.said.splitlines()]
        if said != expected:
            raise DemoFailed(
                f"{block} shows\n" + "\n".join(expected) + "\nand it says\n" + "\n".join(said)
            )

    @staticmethod
    def _furnish(home: Path) -> None:
        """Things to send."""
        draw = random.Random(7)
        (home / "photos").mkdir()
        for number in (1, 2, 3):
            (home / "photos" / f"img{number}.jpg").write_bytes(draw.randbytes(40_000))
        (home / "photos" / "notes.tmp").write_bytes(b"draft\n")
        (home / "notes.txt").write_text("the first line\nthe second line\n", "utf-8")
        (home / "report.pdf").write_bytes(draw.randbytes(120_000))
        (home / "disk.img").write_bytes(draw.randbytes(3 << 20))


__all__ = ["LANGUAGES", "SIDES", "Block", "Running", "World", "blocks", "script_of", "shape"]
