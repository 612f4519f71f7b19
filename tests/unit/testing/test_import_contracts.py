"""The import contracts of ``pyproject.toml``, run: a room that has no floor turns them red."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
#: Rooms that may touch the world.
WORLDLY = {"testing", "__main__", "cli", "aio"}


def contracts() -> dict[str, dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return {one["id"]: one for one in settings["tool"]["importlinter"]["contracts"]}


def placed() -> set[str]:
    """Every room that the floors name."""
    return {room.strip() for layer in contracts()["floors"]["layers"] for room in layer.split("|")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The package and its contracts, to be changed."""
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def linted(tree: Path, contract: str = "floors") -> subprocess.CompletedProcess[str]:
    """One contract, checked on ``tree``."""
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports("
    return subprocess.run(
        [sys.executable, "-c", f"{lint}limit_to_contracts=({contract!r},), cache_dir=None))"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
    )


def test_the_tree_as_it_is_keeps_the_floors(tree: Path) -> None:
    done = linted(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_a_room_without_a_floor_is_refused_even_when_it_is_empty(tree: Path) -> None:
    room = tree / "src" / "wraith" / "unplaced"
    room.mkdir()
    (room / "__init__.py").touch()
    done = linted(tree)
    assert done.returncode == 1, done.stderr
    assert "wraith.unplaced" in done.stdout


def test_a_file_of_aio_without_a_place_is_refused(tree: Path) -> None:
    assert linted(tree, "aio").returncode == 0
    (tree / "src" / "wraith" / "aio" / "unplaced.py").touch()
    done = linted(tree, "aio")
    assert done.returncode == 1, done.stderr
    assert "unplaced" in done.stdout


@pytest.mark.parametrize(
    ("contract", "file", "imported"),
    [
        ("aio", "aio/transports/udp.py", "wraith.aio.sessions.stream"),
        ("circles", "connection/paths/acks.py", "wraith.connection.parts"),
        ("circles", "connection/parts.py", "wraith.connection.handshake.cookies"),
    ],
)
def test_a_circle_between_rooms_is_refused(
    tree: Path, contract: str, file: str, imported: str
) -> None:
    path = tree / "src" / "wraith" / file
    path.write_text(path.read_text("utf-8") + f"\nimport {imported}\n", "utf-8")
    assert linted(tree, contract).returncode == 1


def test_an_import_that_points_up_is_refused(tree: Path) -> None:
    errors = tree / "src" / "wraith" / "errors.py"
    errors.write_text(errors.read_text("utf-8") + "\nimport wraith.types\n", "utf-8")
    done = linted(tree)
    assert done.returncode == 1, done.stderr
    assert "wraith.errors -> wraith.types" in done.stdout


def test_the_contracts_that_list_rooms_list_every_room() -> None:
    """A ``forbidden`` contract checks what it names and nothing else."""
    listed = {
        name: {room.removeprefix("wraith.") for room in contracts()[name]["source_modules"]}
        for name in ("pure", "testing")
    }
    assert listed["pure"] == placed() - WORLDLY
    assert listed["testing"] == placed() - {"testing", "__main__"}
