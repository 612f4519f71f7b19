"""Two people with a ``wraith`` each, on one machine: the ground on which end-to-end tests stand.

Also the kill test itself, because the long and the short suite run it with other numbers.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wraith.testing.demo import Command, DemoFailed

MIB = 1 << 20
SLOW_CLOCK = "import time; real = time.time; time.time = lambda: real() + ({})"


class TwoHomes:
    """Starts commands of a sender and of receivers; ``close`` ends what still runs."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.out = work / "out"
        self.source = work / "source"
        self.source.mkdir()
        self.out.mkdir()
        self.commands: list[Command] = []

    def start(
        self,
        *arguments: str,
        home: str,
        stdin: str | bytes | None = None,
        keep_stdin: bool = False,
        environment: dict[str, str] | None = None,
        prelude: str = "",
        under: Sequence[str] = (),
        program: Sequence[str] = (),
    ) -> Command:
        """Any command."""
        command = Command(
            list(arguments),
            home=self.work / home,
            stdin=stdin,
            keep_stdin=keep_stdin,
            environment=environment,
            prelude=prelude,
            under=under,
            program=program,
        )
        self.commands.append(command)
        return command

    def send(
        self,
        *arguments: str | Path,
        home: str = "home-sender",
        stdin: str | bytes | None = None,
        keep_stdin: bool = False,
        prelude: str = "",
    ) -> Command:
        """``wraith send --json --listen 127.0.0.1:0 ARGUMENTS``."""
        return self.start(
            *("send", "--json", "--listen", "127.0.0.1:0"),
            *map(str, arguments),
            home=home,
            stdin=stdin,
            keep_stdin=keep_stdin,
            prelude=prelude,
        )

    def receive(
        self,
        code: str,
        *arguments: str | Path,
        home: str = "home-receiver",
        prelude: str = "",
        out: Path | None = None,
        environment: dict[str, str] | None = None,
        under: Sequence[str] = (),
        program: Sequence[str] = (),
    ) -> Command:
        """``wraith receive --json --yes --out OUT ARGUMENTS -`` with the code on stdin."""
        return self.start(
            *("receive", "--json", "--yes", "--out", str(out if out is not None else self.out)),
            *map(str, arguments),
            "-",
            home=home,
            stdin=code,
            prelude=prelude,
            environment=environment,
            under=under,
            program=program,
        )

    def file(self, name: str, content: bytes | int, *, seed: int = 1) -> Path:
        """A file among what is sent; a number makes that many random bytes."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else random.Random(seed).randbytes(content)
        path.write_bytes(data)
        return path

    def leftovers(self) -> list[Path]:
        """State folders in the destination."""
        return sorted(self.out.glob(".wraith-*"))

    def close(self) -> None:
        for command in self.commands:
            command.close()


def code_of(sender: Command) -> str:
    """The code that it shows."""
    return str(sender.wait_event("waiting")["code"])


def finish(*commands: Command) -> tuple[int, ...]:
    """Waits for all of them; their exit codes."""
    return tuple(command.wait_exit() for command in commands)


def number(event: dict[str, object], key: str) -> int:
    """An integer field of an event."""
    value = event[key]
    if not isinstance(value, int):
        raise DemoFailed(f"{key} of {event} is not an integer")
    return value


def signalled(command: Command, signal_number: int) -> None:
    """Sends a signal to the process."""
    os.kill(command.process.pid, signal_number)


@dataclass(slots=True)
class Kills:
    """What a run with kills showed. ``kept`` holds (verified before, reused after) per kill."""

    seed: int
    points: list[int] = field(default_factory=list)
    kept: list[tuple[int, int]] = field(default_factory=list)
    done_receiver: dict[str, object] = field(default_factory=dict)
    done_sender: dict[str, object] = field(default_factory=dict)
    exits: tuple[int, ...] = ()

    @property
    def lost(self) -> list[tuple[int, int]]:
        """Kills after which more than the last MiB had to cross again."""
        return [pair for pair in self.kept if pair[1] < pair[0] - MIB]


def run_with_kills(
    homes: TwoHomes,
    source: Path,
    *,
    side: Literal["sender", "receiver"],
    n_kills: int,
    n_bytes: int,
    seed: int,
    limit: str,
    deadline_s: float = 60.0,
) -> Kills:
    """Sends ``source`` and kills one side (SIGKILL) whenever the next verified-byte count is
    reached, drawn from ``seed``; each time the same command is started again.

    Raises:
        DemoFailed: anything but a complete transfer in the end; the message begins with the seed.
    """
    draw = random.Random(seed)
    kills = Kills(seed, sorted(draw.randrange(n_bytes // 50, n_bytes) for _ in range(n_kills)))
    print(f"kills of the {side}: seed {seed}, points {kills.points}")
    try:
        _run_with_kills(homes, source, side, kills, limit, deadline_s)
    except DemoFailed as error:
        raise DemoFailed(f"seed {seed}, points {kills.points}: {error}") from None
    return kills


def _run_with_kills(
    homes: TwoHomes, source: Path, side: str, kills: Kills, limit: str, deadline_s: float
) -> None:
    sender = homes.send("--limit", limit, source)
    code = code_of(sender)
    receiver = homes.receive(code)
    for point in kills.points:
        done = left = 0
        while done < point:
            event = receiver.wait_event("progress", "done", "error", deadline_s=deadline_s)
            if event["event"] != "progress":
                raise DemoFailed(f"ended before {point}\n{receiver.story()}")
            done = number(event, "bytes_done")
            left = number(event, "bytes_total") - done
        victim = receiver if side == "receiver" else sender
        if not left:
            break  # the last point lay so near the end that the receipt may be out: all is over
        victim.kill()
        before = number(receiver.last("progress"), "bytes_done")
        if side == "receiver":
            victim = receiver = homes.receive(code)
        else:
            victim = sender = homes.send("--limit", limit, source)
            if code_of(sender) != code:
                raise DemoFailed("the code changed")
        # With everything verified there is nothing to accept any more: the receipt comes at once.
        after = victim.wait_event("accepted", "done", "error", deadline_s=deadline_s)
        if after["event"] == "error":
            raise DemoFailed(f"{receiver.story()}\n{sender.story()}")
        kills.kept.append((before, number(after, "bytes_reused")))
    kills.exits = finish(sender, receiver)
    if kills.exits != (0, 0):
        raise DemoFailed(f"{receiver.story()}\n{sender.story()}")
    kills.done_receiver, kills.done_sender = receiver.last("done"), sender.last("done")
