"""What end-to-end tests of the command line stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wraith.testing.terminal import TerminalCommand
from wraith.testing.two_homes import TwoHomes


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[TwoHomes]:
    """Two homes, a folder of sources and a destination; what still runs is killed at the end."""
    two = TwoHomes(tmp_path)
    yield two
    two.close()


@pytest.fixture
def receive(homes: TwoHomes) -> Iterator[Callable[..., TerminalCommand]]:
    """Starts ``wraith receive CODE --out OUT`` on a terminal; closed at the end."""
    started: list[TerminalCommand] = []

    def start(code: str, *options: str) -> TerminalCommand:
        command = TerminalCommand(
            "receive", code, "--out", homes.out, *options, home=homes.work / "home-receiver"
        )
        started.append(command)
        return command

    yield start
    for command in started:
        command.close()
