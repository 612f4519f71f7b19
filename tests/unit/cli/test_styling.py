"""Colour and its absence hold for every command, not for transfers alone. [U-35]"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from wraith.cli.main import cli, main


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def commands() -> Iterator[tuple[str, click.Command]]:
    """Each command with its words, groups and the root included."""

    def walk(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from walk(found, f"{words} {name}")

    yield from walk(cli, "wraith")


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What commands run on, with a home that is empty."""
    monkeypatch.setenv("WRAITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "WRAITH_COLOR", "WRAITH_PLAIN"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def run(stdout: io.StringIO, *words: str, stderr: io.StringIO | None = None) -> int:
    """The exit code of a command; stderr is where stdout is, unless it is given."""
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr or stdout),
        pytest.raises(SystemExit) as stop,
    ):
        main(list(words))
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_every_command_has_both_options_once() -> None:
    found = dict(commands())
    assert {"wraith", "wraith peers", "wraith peers name", "wraith quic dial"} < set(found)
    for words, command in found.items():
        given = [name for parameter in command.params for name in parameter.opts]
        assert (given.count("--color"), given.count("--plain")) == (1, 1), words


#: Commands that say something to people, with the exit code of each in an empty home.
SAYING = {
    ("peers",): 0,
    ("history",): 0,
    ("history", "clear"): 0,
    ("config", "check"): 0,
    ("peers", "forget", "nobody"): 1,
    ("send", "no-such-file"): 1,
    ("receive", "--yes", "wr1abc"): 2,
    ("quic", "ping", "not-an-address"): 2,
}


@pytest.mark.parametrize("words", SAYING, ids=" ".join)
def test_a_terminal_gets_colour(words: tuple[str, ...], terminal: Terminal) -> None:
    assert run(terminal, *words) == SAYING[words]
    assert "\x1b[" in terminal.getvalue()


@pytest.mark.parametrize("option", [("--color", "never"), ("--plain",)], ids=" ".join)
@pytest.mark.parametrize("words", SAYING, ids=" ".join)
def test_no_command_colours_against_an_option(
    words: tuple[str, ...], option: tuple[str, ...], terminal: Terminal
) -> None:
    assert run(terminal, *words, *option) == SAYING[words]
    assert terminal.getvalue() and "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("variable", "value"), [("NO_COLOR", "1"), ("WRAITH_COLOR", "never"), ("WRAITH_PLAIN", "1")]
)
@pytest.mark.parametrize("words", [*SAYING, ("sned",)], ids=" ".join)
def test_no_command_colours_against_the_environment(
    words: tuple[str, ...],
    variable: str,
    value: str,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    assert run(terminal, *words) == SAYING.get(words, 2)
    assert terminal.getvalue() and "\x1b" not in terminal.getvalue()


def test_an_option_before_the_command_holds_and_one_behind_it_is_stronger(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRAITH_COLOR", "always")
    run(terminal, "--color", "never", "peers")
    assert "\x1b" not in terminal.getvalue()
    run(terminal, "--color", "never", "peers", "--color", "always")
    assert "\x1b[" in terminal.getvalue()


def test_what_one_command_was_told_is_not_told_to_the_next(terminal: Terminal) -> None:
    run(terminal, "peers", "--plain")
    assert "\x1b" not in terminal.getvalue()
    run(terminal, "peers")
    assert "\x1b[" in terminal.getvalue()


def test_a_pipe_gets_colour_when_it_was_asked_for(terminal: Terminal) -> None:
    pipe = io.StringIO()
    run(terminal, "peers", stderr=pipe)
    assert "\x1b" not in pipe.getvalue()
    run(terminal, "peers", "--color", "always", stderr=pipe)
    assert "\x1b[" in pipe.getvalue()
