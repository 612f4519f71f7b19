"""The help of ``wraith`` alone, the first thing that people type, shown before anything is loaded.

The text comes with the package and is what click makes of the commands at 80 columns; a test
compares the two, and ``python -m wraith.cli.front_page`` writes it anew. A narrower terminal, and
whatever is unusual, is left to click. This module imports nothing that an interpreter has not
loaded already.
"""

from __future__ import annotations

import os
import sys

FILE = os.path.join(os.path.dirname(__file__), "front_page.txt")
COLUMNS = 80
_ASKING: tuple[list[str], ...] = ([], ["-h"], ["--help"])


def show(arguments: list[str]) -> bool:
    """Shows the page if ``arguments`` ask for it, and it fits; false if it could not, and the
    commands have to say it, or what is in the way."""
    if arguments not in _ASKING or "_WRAITH_COMPLETE" in os.environ or sys.stdout is None:
        return False
    try:
        said = os.environ.get("COLUMNS", "")
        columns = int(said) if said.isascii() and said.isdigit() else 0
        if not columns and sys.stdout.isatty():
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        if 0 < columns < COLUMNS:
            return False
        with open(FILE, encoding="utf-8") as file:
            sys.stdout.write(file.read())
        sys.stdout.flush()
    except (OSError, ValueError):  # no such file in an archive; a stream that is closed or full
        return False
    return True


def text() -> str:
    """The page as click makes it."""
    import click

    from wraith.cli.main import cli

    context = click.Context(
        cli, info_name="wraith", terminal_width=COLUMNS - 2, **cli.context_settings
    )
    return cli.get_help(context) + "\n"


if __name__ == "__main__":
    with open(FILE, "w", encoding="utf-8") as page:
        page.write(text())
