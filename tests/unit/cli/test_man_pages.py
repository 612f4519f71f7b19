"""Man pages have every command and every option, and nothing that roff would take for its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from wraith.cli.helping import TOPICS
from wraith.cli.main import cli
from wraith.cli.man import main


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("man")
    assert main(folder) == 0
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()}


def _commands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield context.command_path.replace(" ", "-"), command, context
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            child = command.get_command(context, word)
            assert child is not None
            yield from _commands(child, click.Context(child, info_name=word, parent=context))


ALL = list(_commands(cli, click.Context(cli, info_name="wraith")))


def test_there_is_a_page_for_each_command_and_topic_and_no_other(pages: dict[str, str]) -> None:
    expected = {f"{name}.1" for name, _, _ in ALL} | {f"wraith-{name}.7" for name in TOPICS}
    assert set(pages) == expected
    assert len(ALL) > 15


@pytest.mark.parametrize(("name", "command", "context"), ALL, ids=[name for name, _, _ in ALL])
def test_a_page_has_every_option_and_what_it_is_for(
    pages: dict[str, str], name: str, command: click.Command, context: click.Context
) -> None:
    page = pages[f"{name}.1"].replace("\\-", "-")
    for part in (".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"):
        assert part in page
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option):
            for word in (*parameter.opts, *parameter.secondary_opts):
                assert word in page, word
        else:
            assert parameter.make_metavar(context) in page
    for line in page.splitlines():
        assert not line.startswith((".", "'")) or line.split()[0] in {
            *(".TH", ".SH", ".TP", ".B", ".BR", ".PP", ".nf", ".fi", ".sp"),
        }, line


def test_roff_takes_every_page(pages: dict[str, str], tmp_path: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        assert all("\b" not in page for page in pages.values())
        return
    for name, page in pages.items():
        done = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), (name, done.stderr)
