"""The README is true: its programs are the examples, its commands exist, its transcript is real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from wraith.cli.main import cli
from wraith.testing.two_homes import TwoHomes

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PEOPLE = [
    page
    for folder in ("tutorial", "howto", "security", "explanation", "reference")
    for page in sorted((ROOT / "docs" / folder).glob("*.md"))
]


def body_of(example: str) -> str:
    """An example without its docstring."""
    return (ROOT / "examples" / example).read_text("utf-8").split('"""', 2)[2].lstrip("\n")


def transcript(verb: str) -> list[str]:
    """What ``wraith VERB`` said, as the README shows it, without the line that is typed."""
    blocks: list[str] = [code for _, code in BLOCKS if code.startswith(f"$ wraith {verb} ")]
    assert len(blocks) == 1
    return blocks[0].splitlines()[1:]


def shape(line: str) -> str:
    """``line`` with everything that differs from run to run replaced."""
    for pattern, word in (
        (r"wr1[a-z2-7]{20,}…?", "CODE"),
        (r"\b[a-z2-7]{12}…", "PEER"),
        (r"(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]):\d+(?:, \S+:\d+)*", "ADDRESS"),
        (r"\(\d[\d.]* [KMG]?i?B/s\)", "(RATE)"),
        (r"\d[\d.]* (?:[KMG]i)?B\b", "SIZE"),
        (r"\d+:\d\d(?::\d\d)?", "TIME"),
        (r"suite [AB] \([\w-]+\)", "suite SUITE"),
        (r"UDP port \d+", "UDP port N"),
        (r"(?<=into )\S+|(?<=received )\S+", "PLACE"),
    ):
        line = re.sub(pattern, word, line)
    return line.rstrip()


def test_the_programs_are_the_examples() -> None:
    programs = [code for language, code in BLOCKS if language == "python"]
    assert programs == [body_of("echo_server.py"), body_of("echo_client.py")]


def test_one_screen_and_the_honest_words() -> None:
    assert len(README.splitlines()) <= 110
    assert "No outsider has audited it" in README
    assert README.index("make demo") < README.index("make test") < README.index("wraith send")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PEOPLE], ids=lambda page: page.name
)
def test_commands_in_documents_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    code = [line for block in blocks for line in block.splitlines()]
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


def test_the_transcript_is_what_the_commands_say(homes: TwoHomes) -> None:
    """Runs the README's two terminals (with --yes for the question) and compares line by line."""
    photos = homes.work / "photos"
    photos.mkdir()
    for number in (1, 2, 3):
        (photos / f"img{number}.jpg").write_bytes(os.urandom(300_000))
    inbox = homes.work / "inbox"
    inbox.mkdir()

    def run(home: str, *arguments: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "WRAITH_HOME": str(homes.work / home),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "wraith", *arguments],
            cwd=homes.work if arguments[0] == "send" else inbox,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    sender = run("home-a", "send", "photos")
    receiver = None
    try:
        assert sender.stdout is not None
        line = sender.stdout.readline()
        receiver = run("home-b", *line.split()[1:], "--yes")
        received = receiver.communicate(timeout=60)[1].splitlines()
        sent = sender.communicate(timeout=60)[1].splitlines()
    finally:
        for process in (sender, receiver):
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()
    assert (sender.returncode, receiver.returncode) == (0, 0), sent + received

    shown = [shape(text) for text in transcript("send")]
    seen = [shape(text) for text in [line, *sent] if "on the other machine run" not in text]
    assert seen == shown
    shown = [shape(text) for text in transcript("receive") if "accept?" not in text]
    assert [shape(text).replace("this machine", "the sender PEER") for text in received] == shown


def test_the_programs_of_the_tutorial_run() -> None:
    page = (ROOT / "docs" / "tutorial" / "first-stream.md").read_text("utf-8")
    program, output = re.findall(r"```python\n(.*?)```\n+```\n(.*?)```", page, re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stdout) == (0, output), done.stderr
