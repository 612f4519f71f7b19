"""How a code is handed over: clipboards, cameras, and a question that shows nothing."""

from __future__ import annotations

import base64
import io
import os
import stat
from pathlib import Path

import click
import pytest

from wraith.cli.handover import copy_code, pasted_code, require_qr, show_qr
from wraith.cli.output import Output
from wraith.cli.screen import screen_of
from wraith.errors import MissingExtra
from wraith.testing.pictures import EmulatedTerminal

CODE = "wr1" + "a2b3c4d5" * 22


def _output(columns: int) -> tuple[Output, EmulatedTerminal]:
    terminal = EmulatedTerminal(columns, rows=60)
    screen_of(terminal).columns_fixed = columns
    return Output(json_events=False, quiet=False, stdout=io.StringIO(), stderr=terminal), terminal


def _program(folder: Path, name: str, text: str, status: int = 0) -> dict[str, str]:
    path = folder / name
    path.write_text(f"#!/bin/sh\nprintf '%s' '{text}'\nexit {status}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}{os.pathsep}/bin{os.pathsep}/usr/bin"}


@pytest.mark.parametrize(
    ("name", "variable"), [("wl-paste", "WAYLAND_DISPLAY"), ("xclip", "DISPLAY"), ("pbpaste", "")]
)
@pytest.mark.parametrize("text", [CODE, f"wraith receive {CODE}"])
def test_the_clipboard_is_read_by_the_program_that_is_there(
    tmp_path: Path, name: str, variable: str, text: str
) -> None:
    environ = _program(tmp_path, name, text)
    if variable:
        environ[variable] = ":0"
    assert pasted_code(environ) == CODE


def test_without_a_program_or_text_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="none of wl-paste, xclip and pbpaste"):
        pasted_code({"PATH": str(tmp_path)})
    with pytest.raises(click.UsageError, match="holds no text"):
        pasted_code(_program(tmp_path, "pbpaste", ""))


def test_a_copy_goes_to_the_terminal_and_to_nothing_else() -> None:
    output, terminal = _output(80)
    copy_code(output, CODE)
    encoded = base64.b64encode(CODE.encode()).decode()
    assert f"\x1b]52;c;{encoded}\x1b\\" in terminal.getvalue()
    assert CODE not in "\n".join(terminal.lines)
    pipe = io.StringIO()
    copy_code(Output(json_events=False, quiet=False, stdout=io.StringIO(), stderr=pipe), CODE)
    assert "\x1b" not in pipe.getvalue() and "no terminal" in pipe.getvalue()


def test_a_camera_sees_every_module_of_the_code() -> None:
    import segno

    output, terminal = _output(80)
    show_qr(output, CODE)
    rows = [list(row) for row in segno.make(CODE.upper(), error="l").matrix_iter(border=2)]
    shown: list[list[int]] = []
    for line in terminal.lines:
        cells = line.ljust(len(rows[0]))
        shown.append([int(cell in " ▄") for cell in cells])
        shown.append([int(cell in " ▀") for cell in cells])
    assert shown[: len(rows)] == rows
    assert len(rows[0]) <= 60


def test_a_narrow_terminal_is_refused_before_a_code_is_made() -> None:
    output, _ = _output(59)
    with pytest.raises(click.UsageError, match="60 columns; this one has 59"):
        require_qr(output)


def test_without_segno_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtra) as caught:
        require_qr(_output(80)[0])
    assert "segno" in caught.value.hint
