"""The page that ``wraith`` alone shows: what click makes of the commands, without loading them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wraith.cli import front_page
from wraith.testing.terminal import TerminalCommand

PAGE = Path(front_page.FILE).read_text("utf-8")


def run(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "wraith", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, timeout=60)


def test_the_page_is_what_the_commands_say() -> None:
    code = "from wraith.cli import front_page; print(front_page.text(), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.stdout.decode() == PAGE, "python -m wraith.cli.front_page writes it anew"


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)], ids=" ".join)
def test_it_is_shown_to_who_asks(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, PAGE, b"")


def test_the_commands_would_show_the_same() -> None:
    done = run("--color", "never", "--help")
    assert (done.returncode, done.stdout.decode()) == (0, PAGE)


@pytest.mark.parametrize(("columns", "is_narrow"), [(50, True), (80, False), (200, False)])
def test_a_narrow_terminal_gets_lines_that_fit(
    tmp_path: Path, columns: int, is_narrow: bool
) -> None:
    command = TerminalCommand("--help", home=tmp_path, columns=columns, environment={"COLUMNS": ""})
    try:
        assert command.wait_exit() == 0
        shown = command.screen.replace("\r\n", "\n")
    finally:
        command.close()
    assert (shown == PAGE) is not is_narrow
    assert "Usage: wraith" in shown


def test_a_full_disk_and_a_reader_that_has_gone_are_no_traceback() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        for stream, exit_code in ((full, 19), (writer, 1)):
            done = run("--help", stdout=stream)
            assert done.returncode == exit_code
            assert b"Traceback" not in done.stderr and done.stderr.count(b"\n") <= 2
    finally:
        os.close(full)
        os.close(writer)


@pytest.mark.parametrize(("columns", "is_narrow"), [("50", True), ("80", False), ("x", False)])
def test_the_environment_says_how_wide_it_is(
    monkeypatch: pytest.MonkeyPatch, columns: str, is_narrow: bool
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert (run().stdout.decode() == PAGE) is not is_narrow


def test_where_the_file_cannot_be_read_the_commands_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_page, "FILE", "/nowhere/front_page.txt")
    assert not front_page.show(["--help"])
