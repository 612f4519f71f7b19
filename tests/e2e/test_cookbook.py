"""Each recipe of the cookbook runs as it stands, and does what its heading says."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wraith.testing.documents import Block, Running, World, blocks

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "cookbook.md"
BLOCKS = blocks(PAGE)
HEADINGS = list(dict.fromkeys(block.heading for block in BLOCKS))
Said = list[Running]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "world")
    yield world
    world.close()


def same(world: World, name: str, where: str = "") -> None:
    """What the sender calls ``name`` has arrived."""
    sent, received = world.home("sender") / name, world.home("receiver") / where / name
    pairs = [(sent, received)]
    if sent.is_dir():
        pairs = [(each, received / each.name) for each in sent.iterdir()]
    assert pairs
    for one, other in pairs:
        assert other.read_bytes() == one.read_bytes(), other


def names(world: World, folder: str = "") -> set[str]:
    return {
        each.name
        for each in (world.home("receiver") / folder).iterdir()
        if not each.name.startswith(".")
    }


def folder(world: World, said: Said) -> None:
    same(world, "photos")


def several(world: World, said: Said) -> None:
    same(world, "notes.txt")
    same(world, "report.pdf")
    assert names(world, "photos") == {"img1.jpg", "img2.jpg", "img3.jpg"}


def looked(world: World, said: Said) -> None:
    same(world, "photos")
    assert "photos/img2.jpg" in said[1].said


def inbox(world: World, said: Said) -> None:
    same(world, "notes.txt", "inbox")
    same(world, "report.pdf", "inbox")


def from_one(world: World, said: Said) -> None:
    same(world, "notes.txt")
    assert "alice" in said[-1].said
    # Somebody else's code is refused: the key that was pinned is not the one that made it.
    other = world.start("HOME=$HOME/other; mkdir $HOME; wraith send --text hello", "sender")
    other.wait(lambda one: bool(one.code))
    world.code = other.code
    world.start("wraith receive --yes --from alice CODE", "receiver").end(13)


def to_one(world: World, said: Said) -> None:
    same(world, "report.pdf")
    assert "bob" in said[1].said


def limited(world: World, said: Said) -> None:
    same(world, "disk.img")
    (done,) = [line for line in said[0].said.splitlines() if "done:" in line]
    seconds = int(done.split(" in ")[1].split()[0].split(":")[1])
    assert seconds >= 1, "3 MiB at 2 MB/s take more than a second"


def went_on(world: World, said: Said) -> None:
    same(world, "disk.img")
    assert "stopped: 130" in said[1].said


def through_tar(world: World, said: Said) -> None:
    same(world, "photos")
    assert names(world) == {"photos"}


def notes(world: World, said: Said) -> None:
    same(world, "notes.txt")


def text(world: World, said: Said) -> None:
    assert (world.home("receiver") / "text.txt").read_text() == "the door code is 4711\n"


def renamed(world: World, said: Said) -> None:
    assert (world.home("receiver") / "notes.txt").read_text() == "mine\n"
    (other,) = names(world) - {"notes.txt"}
    sent = (world.home("sender") / "notes.txt").read_bytes()
    assert (world.home("receiver") / other).read_bytes() == sent


def twice(world: World, said: Said) -> None:
    same(world, "photos", "first")
    same(world, "photos", "second")


def in_inbox(world: World, said: Said) -> None:
    same(world, "report.pdf", "inbox")


def nightly(world: World, said: Said) -> None:
    same(world, "photos")


def events(world: World, said: Said) -> None:
    same(world, "notes.txt")
    assert said[0].said.splitlines()[-1] == "1 file, 31 bytes"
    assert said[1].said.strip().endswith("/receiver/notes.txt")


def ended(world: World, said: Said) -> None:
    same(world, "notes.txt")
    assert said[1].said == "all is here\n"


def settings(world: World, said: Said) -> None:
    same(world, "notes.txt", "inbox")
    assert "config.toml, line 1" in said[0].said and "24437" in said[0].said


def compared(world: World, said: Said) -> None:
    same(world, "report.pdf")
    sent, received = (run.said.splitlines()[-1].split()[-1] for run in said)
    assert sent == received and len(sent) == 17  # sixteen digits and an ellipsis


def from_python(world: World, said: Said) -> None:
    same(world, "photos")
    assert said[0].said.splitlines()[-1] == "arrived: 4 files"
    assert said[1].said.splitlines()[-1].endswith("/receiver/photos")


CHECKS: dict[str, Callable[[World, Said], None]] = {
    "Send a folder": folder,
    "Send several things, leave some out": several,
    "Look before you take": looked,
    "Receive unattended": inbox,
    "Receive from one peer only": from_one,
    "Send to one peer only": to_one,
    "Limit the rate": limited,
    "Stop now, go on later": went_on,
    "Pipe a folder through tar": through_tar,
    "Compress a stream": notes,
    "Send a short text": text,
    "Keep what exists already": renamed,
    "Serve several receivers": twice,
    "One port for the firewall": notes,
    "The sender cannot be reached": in_inbox,
    "Through one address only": notes,
    "Keep the code out of the process list": notes,
    "A nightly copy with cron": nightly,
    "Events for a program": events,
    "Act on how it ended": ended,
    "The same settings every day": settings,
    "Compare what arrived": compared,
    "From Python": from_python,
}
#: Has a test of its own.
UNIT = "An inbox that is always there"


def test_there_are_twenty_recipes_and_each_has_its_check() -> None:
    assert len(HEADINGS) >= 20
    assert set(CHECKS) | {UNIT} == set(HEADINGS)


@pytest.mark.parametrize("heading", CHECKS)
def test_recipe(heading: str, world: World) -> None:
    said = world.play([block for block in BLOCKS if block.heading == heading])
    CHECKS[heading](world, said)


def test_the_unit_of_the_inbox_receives_again_and_again(world: World) -> None:
    """What systemd does with the unit, done by hand: the command, its stdout, a restart."""
    (block,) = [block for block in BLOCKS if block.heading == UNIT]
    service = unit_of(block)["Service"]
    home = world.home("receiver")
    (home / "inbox").mkdir()
    key = world.start("wraith id").end().strip()
    world.start(f"wraith peers name alice {key}", "receiver").end()
    command, line = service["ExecStart"], service["StandardOutput"]
    assert command.startswith("%h/.local/bin/wraith ") and line.startswith("truncate:%h/")
    command = command.removeprefix("%h/.local/bin/").replace("%h", str(home))
    shown = home / line.removeprefix("truncate:%h/")
    for _ in range(2):
        shown.unlink(missing_ok=True)
        receiver = world.start(f"exec {command} > {shlex.quote(str(shown))}", "receiver")
        receiver.wait(lambda one: shown.exists() and shown.read_text().endswith("\n"))
        words = shown.read_text().split()
        assert words[:3] == ["wraith", "send", "--to"] and words[4] == "PATH..."
        world.start(f"wraith send --to {words[3]} notes.txt").end()
        receiver.end()
    assert len(names(world, "inbox")) == 2, "the second one got another name"
    # It is stopped as systemd stops it.
    receiver = world.start(f"exec {command} > {shlex.quote(str(shown))}", "receiver")
    receiver.wait(lambda one: "waiting at" in one.said)
    receiver.signal("SIGTERM")
    receiver.end(130)


def unit_of(block: Block) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parsed.optionxform = str  # type: ignore[method-assign,assignment]
    parsed.read_string(block.text)
    assert block.title.endswith(".service")
    return parsed


def test_systemd_takes_the_unit_where_it_is_there(tmp_path: Path) -> None:
    (block,) = [block for block in BLOCKS if block.heading == UNIT]
    unit = unit_of(block)
    assert set(unit) == {"DEFAULT", "Unit", "Service", "Install"}
    analyse = next(
        (
            Path(folder) / "systemd-analyze"
            for folder in os.environ["PATH"].split(":")
            if (Path(folder) / "systemd-analyze").exists()
        ),
        None,
    )
    if analyse is None:
        return  # the sections and their keys were read above
    file = tmp_path / "wraith-inbox.service"
    file.write_text(block.text.replace("%h/.local/bin/wraith", "/bin/true"), "utf-8")
    done = subprocess.run(
        [str(analyse), "verify", "--user", str(file)], capture_output=True, text=True, timeout=60
    )
    assert "Unknown" not in done.stderr, done.stderr
