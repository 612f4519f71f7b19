"""The note of a transfer that is complete: found for a day, while all of it is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from wraith.aio.disk.complete_notes import LIFETIME_S, CompleteNote, CompleteNotes

pytestmark = pytest.mark.spec("TR-140")


def made(tmp_path: Path) -> tuple[CompleteNotes, CompleteNote]:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("a")
    note = CompleteNote(str(out), (str(out / "a"),), str(out / ".wraith-0"), 1, 1, 0)
    notes = CompleteNotes(tmp_path / "home")
    notes.write("wr1abc", note, 1000.0)
    return notes, note


def test_it_is_found_by_its_code_and_folder_alone(tmp_path: Path) -> None:
    notes, note = made(tmp_path)
    assert notes.find("wr1abc", note.out, 1001.0) == note
    assert notes.find("wr1xyz", note.out, 1001.0) is None
    assert notes.find("code", str(tmp_path), 1001.0) is None


@pytest.mark.parametrize("later", [-1.0, LIFETIME_S])
def test_it_counts_for_a_day(tmp_path: Path, later: float) -> None:
    notes, note = made(tmp_path)
    assert notes.find("wr1abc", note.out, 1000.0 + later) is None


def test_what_was_removed_since_is_not_complete(tmp_path: Path) -> None:
    notes, note = made(tmp_path)
    (tmp_path / "out" / "a").unlink()
    assert notes.find("wr1abc", note.out, 1001.0) is None


def test_neither_the_code_nor_others_can_read_it(tmp_path: Path) -> None:
    notes, note = made(tmp_path)
    (path,) = (tmp_path / "home" / "complete").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "wr1abc" not in path.name + path.read_text()
    path.write_text("{")
    assert notes.find("wr1abc", note.out, 1001.0) is None


def test_old_ones_go_when_a_new_one_comes(tmp_path: Path) -> None:
    notes, note = made(tmp_path)
    (old,) = (tmp_path / "home" / "complete").iterdir()
    os.utime(old, (0, 0))
    notes.write("wr1xyz", note, LIFETIME_S + 1)
    assert not old.exists()
