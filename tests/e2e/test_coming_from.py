"""Each row of "coming from": the two commands move what they name, from one side to the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from wraith.testing.documents import World

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "coming-from.md"
#: What stands in a cell and is tried with a terminal: ``test_cli_asks_for_code.py``.
ON_A_TERMINAL = "on a terminal"


@dataclass(frozen=True)
class Row:
    tool: str
    there: str
    sender: str
    receiver: list[str]

    def __str__(self) -> str:
        return f"{self.tool}: {self.there}"


def commands(cell: str) -> list[str]:
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`]+)`", cell)]


def rows() -> Iterator[Row]:
    tool = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            tool = line.removeprefix("## ")
        elif line.startswith("| ") and " sender " not in line:
            there, sender, receiver = re.split(r" (?<!\\)\| ", line.strip("| "))
            if ON_A_TERMINAL not in receiver:
                (command,) = commands(sender)
                yield Row(tool, there, command, commands(receiver))


ROWS = list(rows())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "world")
    (world.home("receiver") / "inbox").mkdir()
    yield world
    world.close()


def answered(command: str) -> str:
    """``command`` without a terminal: it does not ask, and takes one address."""
    if command.startswith("wraith history"):
        return command
    return re.sub(r"wraith receive(?! .*--(?:yes|list-only))", "wraith receive --yes", command)


def test_every_tool_has_its_rows() -> None:
    assert {row.tool for row in ROWS} == {"scp", "rsync", "croc", "wormhole"}
    assert len(ROWS) >= 30


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row, world: World) -> None:
    key = world.start("wraith id").end().strip()
    if "--from alice" in row.receiver[0]:
        world.start(f"wraith peers name alice {key}", "receiver").end()
    if "--overwrite" in row.receiver[0]:
        (world.home("receiver") / "notes.txt").write_text("older", "utf-8")
    waits, dials = (row.sender, "sender"), (answered(row.receiver[0]), "receiver")
    if "--listen" in row.receiver[0]:
        waits, dials = dials, waits
    waiting = world.start(*waits)
    waiting.wait(lambda one: bool(one.code))
    assert waiting.code, waiting.story()
    world.code = waiting.code
    world.start(*dials).end()
    if "--list-only" in row.receiver[0]:
        waiting.signal("SIGINT")
        waiting.end(130)
        return
    waiting.end()
    for command in row.receiver[1:]:
        assert world.start(command, "receiver").end().strip()
    arrived(row, world)


def arrived(row: Row, world: World) -> None:
    """What the sender's command names lies at the receiver."""
    here, there = world.home("sender"), world.home("receiver")
    out = there / "inbox" if "--out inbox" in row.receiver[0] else there
    for name in ("notes.txt", "report.pdf", "disk.img"):
        if re.search(rf"\b{re.escape(name)}\b", row.sender):
            assert (out / name).read_bytes() == (here / name).read_bytes()
    if "photos" in row.sender:
        expected = {each.name for each in (here / "photos").iterdir()}
        if "--exclude" in row.sender:
            expected.remove("notes.tmp")
        assert {each.name for each in (out / "photos").iterdir()} == expected
