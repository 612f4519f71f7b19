"""The README is true: its programs are the examples, its commands exist, its transcript is real.
So are the transcripts of the pages that begin where it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from wraith.cli.main import cli
from wraith.testing.documents import shape
from wraith.testing.two_homes import TwoHomes, code_of, number

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
TUTORIAL = (ROOT / "docs/tutorial/first-transfer.md").read_text("utf-8")
RESUME = (ROOT / "docs/howto/resume.md").read_text("utf-8")
MIB = 1 << 20
PEOPLE = [
    page
    for folder in ("tutorial", "howto", "security", "explanation", "reference")
    for page in sorted((ROOT / "docs" / folder).glob("*.md"))
]


def body_of(example: str) -> str:
    """An example without its docstring."""
    return (ROOT / "examples" / example).read_text("utf-8").split('"""', 2)[2].lstrip("\n")


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Language and text of each block of code."""
    return re.findall(r"^```([\w-]*)[^\n]*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def transcript(page: str, beginning: str) -> list[str]:
    """The block that begins so, without the line that is typed."""
    blocks = [code for _, code in blocks_of(page) if code.startswith(beginning)]
    assert len(blocks) == 1, blocks
    return [line for line in blocks[0].splitlines() if not line.startswith("$ ")]


def shapes(lines: list[str]) -> list[str]:
    return [shape(line) for line in lines]


def test_the_programs_are_the_examples() -> None:
    programs = [code for language, code in blocks_of(README) if language == "python"]
    assert programs == [body_of("echo_server.py"), body_of("echo_client.py")]


def test_one_screen_and_the_honest_words() -> None:
    assert len([line for line in README.splitlines() if not line.startswith("<!--")]) <= 110
    assert "No outsider has audited it" in README
    assert README.index("make demo") < README.index("make test") < README.index("wraith send")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PEOPLE], ids=lambda page: page.name
)
def test_commands_in_documents_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    code = [line for _, block in blocks_of(text) for line in block.splitlines()]
    code += re.findall(r"`([^`\n]+)`", text)
    for line in code:
        for made in re.findall(r"(?:^|[ ;])make((?: [a-z-]+)+)", line.split("#")[0]):
            assert set(made.split()) <= targets, line
        for words in re.findall(r"(?:^|\$ |[|] |=\S* )wraith ([a-z]+(?: [^#|`]*)?)", line):
            _check_command(words.split(), line)


def _check_command(words: list[str], line: str) -> None:
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            break
        command = found
        words.pop(0)
    assert command is not cli, f"no such command: {line}"
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    for option in (word.split("=")[0].strip("…") for word in words if word.startswith("-")):
        assert option == "-" or option in known, f"no such option {option}: {line}"


def started(home: Path, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command as a person runs it, in ``folder``."""
    return subprocess.Popen(
        [sys.executable, "-m", "wraith", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "WRAITH_HOME": str(home),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_transcript_is_what_the_commands_say(homes: TwoHomes) -> None:
    """Runs two terminals (with --yes for the question) and compares line by line: with the README,
    and with the tutorial, which shows both on one screen and the sender's first lines only."""
    photos = homes.work / "photos"
    photos.mkdir()
    for i in (1, 2, 3):
        (photos / f"img{i}.jpg").write_bytes(os.urandom(300_000))
    inbox = homes.work / "inbox"
    inbox.mkdir()

    sender = started(homes.work / "home-a", homes.work, "send", "photos")
    receiver = None
    try:
        assert sender.stdout is not None
        line = sender.stdout.readline()
        receiver = started(homes.work / "home-b", inbox, *line.split()[1:], "--yes")
        received = receiver.communicate(timeout=60)[1].splitlines()
        sent = sender.communicate(timeout=60)[1].splitlines()
    finally:
        for process in (sender, receiver):
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()
    assert (sender.returncode, receiver.returncode) == (0, 0), sent + received

    seen = [text for text in [line, *sent] if "on the other machine run" not in text]
    assert shapes(seen) == shapes(transcript(README, "$ wraith send "))
    together = [*sent[:2], line, sent[2]]
    assert shapes(together) == shapes(transcript(TUTORIAL, "$ wraith send "))
    seen = [shape(text).replace("this machine", "the sender PEER") for text in received]
    for page in (README, TUTORIAL):
        shown = transcript(page, "$ wraith receive ")
        assert seen == [shape(text) for text in shown if "accept?" not in text]


def test_the_transcripts_of_going_on_are_what_the_commands_say(homes: TwoHomes) -> None:
    """A receiver is killed in the middle and started again, as the tutorial and the page about
    interruptions show it."""
    sender = homes.send("--limit", "4M", homes.file("disk.img", 12 * MIB))
    code = code_of(sender)
    killed = homes.receive(code)
    while number(killed.wait_event("progress"), "bytes_done") < MIB:
        pass
    killed.kill()
    home = homes.work / "home-receiver"
    listed = started(home, homes.out, "receive", "--list").communicate(timeout=60)[0]
    receiver = started(home, homes.out, "receive", "--yes", code)
    try:
        said = receiver.communicate(timeout=120)[1].splitlines()
    finally:
        receiver.kill()
    assert (receiver.returncode, sender.wait_exit()) == (0, 0), said

    # Not whom it dials and the security card, nor how far a slow machine is.
    seen = shapes([line for line in said[2:] if " % of " not in line and " done; " not in line])
    assert seen == shapes(transcript(TUTORIAL, "wraith: offered: 1 file"))
    rest = iter(seen)  # the page shows some of them, in this order
    assert all(text in rest for text in shapes(transcript(RESUME, "wraith: ")))
    assert shapes(listed.splitlines()) == shapes(transcript(RESUME, "$ wraith receive --list"))
