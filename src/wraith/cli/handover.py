"""Ways for a code from one person to the other: typed where nobody sees it, out of the clipboard,
into the clipboard, or as a picture for a camera."""

from __future__ import annotations

import base64
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from wraith.cli.output import Output
from wraith.errors import MissingExtra

CODE_PROMPT: Final = "wraith: the code (it is not shown): "
QR_COLUMNS_MIN: Final = 60
_PASTE_S: Final = 5.0
_PASTE_BYTES_MAX: Final = 4_096
#: What reads a clipboard, and the variable without which it cannot (``None``: always).
_READERS: Final = (
    (("wl-paste", "--no-newline"), "WAYLAND_DISPLAY"),
    (("xclip", "-o", "-selection", "clipboard"), "DISPLAY"),
    (("pbpaste",), None),
)


def ask_code() -> str:
    """The code that somebody types or pastes into the terminal; it is shown nowhere, and no shell
    remembers it.

    Raises:
        click.UsageError: nothing was typed.
    """
    import getpass  # every other run starts without it

    try:
        typed = getpass.getpass(CODE_PROMPT, stream=sys.stderr)
    except EOFError:
        typed = ""
    if not typed.strip():
        raise click.UsageError("no code was given")
    return typed


def pasted_code(environ: Mapping[str, str] | None = None) -> str:
    """Reads the clipboard.

    Raises:
        click.UsageError: no program is there that reads it, or it holds nothing.
    """
    environ = os.environ if environ is None else environ
    for command, variable in _READERS:
        found = shutil.which(command[0], path=environ.get("PATH"))
        if found is None or (variable is not None and not environ.get(variable)):
            continue
        try:
            done = subprocess.run(
                [found, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PASTE_S,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        text = done.stdout[:_PASTE_BYTES_MAX].decode("utf-8", "replace").strip()
        if done.returncode or not text:
            raise click.UsageError(f"the clipboard holds no text ({command[0]})")
        # Somebody may have copied the whole line.
        return text.split()[-1] if text.startswith("wraith ") else text
    raise click.UsageError("nothing here reads a clipboard: none of wl-paste, xclip and pbpaste")


def copy_code(output: Output, code: str) -> None:
    """Asks the terminal to put ``code`` into its clipboard (OSC 52). It does not say whether it
    did."""
    encoded = base64.b64encode(code.encode()).decode()
    if output.control(f"\x1b]52;c;{encoded}\x1b\\"):
        output.say("the code is in the clipboard, if this terminal allows that")
    else:
        output.say("--copy: there is no terminal that could take the code")


def show_qr(output: Output, code: str) -> None:
    """Draws ``code`` for a camera: in upper case, which QR codes pack tighter. [TR-11]

    Raises:
        MissingExtra: segno is not installed.
        click.UsageError: the terminal is too narrow.
    """
    qr_lines = _qr_lines(code)
    needed = max(QR_COLUMNS_MIN, len(qr_lines[0]))
    if output.columns < needed:
        raise click.UsageError(
            f"--qr needs a terminal of {needed} columns; this one has {output.columns}"
        )
    output.draw("\n".join(qr_lines) + "\n")


def require_qr(output: Output) -> None:
    """Raises what ``show_qr`` would, before a code is made."""
    _segno()
    if output.columns < QR_COLUMNS_MIN:
        raise click.UsageError(
            f"--qr needs a terminal of {QR_COLUMNS_MIN} columns; this one has {output.columns}"
        )


def _qr_lines(code: str) -> list[str]:
    """Two rows of modules in one line. What is light is drawn: most terminals are dark."""
    rows = [list(row) for row in _segno().make(code.upper(), error="l").matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    return [
        "".join("█▄▀ "[2 * bool(low) + bool(high)] for high, low in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    ]


def _segno() -> Any:
    try:
        return importlib.import_module("segno")
    except ImportError:
        raise MissingExtra("qr", "--qr") from None


__all__ = ["CODE_PROMPT", "ask_code", "copy_code", "pasted_code", "require_qr", "show_qr"]
