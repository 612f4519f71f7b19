"""The reference pages say what the code does, one to one."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import wraith
from wraith.cli.receive import receive
from wraith.cli.send import send
from wraith.errors import WraithError

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def _classes(root: type[WraithError] = WraithError) -> Iterator[type[WraithError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("wraith.") and ".testing" not in child.__module__:
            yield from _classes(child)


def _import_everything() -> None:
    for module in pkgutil.walk_packages(wraith.__path__, "wraith."):
        if ".testing" in module.name or module.name.endswith(("__main__", "quic_qh3")):
            continue
        importlib.import_module(module.name)


def test_every_error_class_has_its_row_and_every_row_its_class() -> None:
    _import_everything()
    text = (REFERENCE / "exit-codes.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| `([\w-]+)` \| .+ \|$", text, re.MULTILINE)
    documented = {name: (int(exit_code), code) for name, exit_code, code in rows}
    assert len(documented) == len(rows)
    actual = {c.__name__: (c.exit_code, c.code) for c in _classes()}
    assert documented == actual


def test_no_two_classes_share_a_code() -> None:
    _import_everything()
    codes = [c.code for c in _classes()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("command", [send, receive])
def test_every_option_is_explained(command: click.Command) -> None:
    text = (REFERENCE / "cli.md").read_text()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for name in (*parameter.opts, *parameter.secondary_opts):
                assert f"`{name}" in text, name


@pytest.mark.parametrize("command", [send, receive])
def test_help_has_examples_and_every_exit_code(command: click.Command) -> None:
    with click.Context(command, info_name=command.name) as context:
        shown = command.get_help(context)
    assert "Examples:" in shown
    for exit_code in {c.exit_code for c in _classes()} | {0, 130}:
        if exit_code != 10:
            assert re.search(rf"\b{exit_code} ", shown), exit_code
