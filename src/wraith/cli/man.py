"""Man pages, made from the commands: ``python -m wraith.cli.man FOLDER`` writes one per command.

The pages say what ``--help`` says, and are made anew for every build: nothing in them is written
by hand. Their layout is that of ``man-pages(7)``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import wraith
from wraith.cli.helping import TOPICS, topic
from wraith.cli.main import cli

SECTION = 1


def pages() -> Iterator[tuple[str, str]]:
    """The name of each page's file, and its text."""
    yield from _walk(cli, click.Context(cli, info_name="wraith"))
    for name in TOPICS:
        yield f"wraith-{name}.7", _topic_page(name)


def _walk(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    name = context.command_path.replace(" ", "-")
    yield f"{name}.{SECTION}", _page(name, command, context)
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            child = command.get_command(context, word)
            if child is not None:
                yield from _walk(child, click.Context(child, info_name=word, parent=context))


def _page(name: str, command: click.Command, context: click.Context) -> str:
    short = command.get_short_help_str(200).rstrip(".")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{name.upper()}" "{SECTION}" "" "wraith {wraith.__version__}" "User Commands"',
        ".SH NAME",
        f"{_safe(name)} \\- {_safe(short)}",
        ".SH SYNOPSIS",
        f".B {_safe(context.command_path)}",
        _safe(usage),
        ".SH DESCRIPTION",
        *_paragraphs(command.help or short),
    ]
    options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    if options:
        lines.append(".SH OPTIONS")
        for option in options:
            record = option.get_help_record(context)
            if record is not None:
                lines += [".TP", f".B {_safe(record[0])}", _safe(record[1])]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for word in command.list_commands(context):
            child = command.get_command(context, word)
            if child is not None:
                short = child.get_short_help_str(200)
                lines += [".TP", f".BR {_safe(name)}-{_safe(word)} ({SECTION})", _safe(short)]
    if command.epilog:
        lines += [".SH NOTES", *_paragraphs(command.epilog)]
    lines += [".SH SEE ALSO", ".BR wraith (1), wraith-exit-codes (7), wraith-environment (7)", ""]
    return "\n".join(lines)


def _topic_page(name: str) -> str:
    title, _, body = topic(name).partition("\n")
    return "\n".join(
        [
            f'.TH "WRAITH-{name.upper()}" "7" "" "wraith {wraith.__version__}" "wraith"',
            ".SH NAME",
            f"wraith\\-{_safe(name)} \\- {_safe(title.lower())} of wraith",
            ".SH DESCRIPTION",
            ".nf",
            *(_safe(line) or ".sp" for line in body.strip("\n").splitlines()),
            ".fi",
            "",
        ]
    )


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of a help text; click's ``\\b`` begins one whose lines stay as they are."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip("\n") for line in paragraph.splitlines()]
        if lines[0].strip() == "\b":
            yield ".PP"
            yield ".nf"
            yield from (_safe(line) for line in lines[1:])
            yield ".fi"
        else:
            yield ".PP"
            yield _safe(" ".join(line.strip() for line in lines))


def _safe(text: str) -> str:
    """``text`` with what roff would take for its own made plain."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def main(folder: Path) -> int:
    """Writes every page into ``folder``; the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        folder.joinpath(name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/man")))
