"""The checks that nothing that keeps files goes past the seam to the disk, and that nothing but
content/ reckons with chunks."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from wraith.aio.disk.seam import Disk

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_tree", ROOT / "tools" / "check_tree.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "code",
    [
        "open('x')",
        "os.open('x', 0)",
        "f = os.pwrite",
        "os.path.realpath(out)",
        "import ctypes",
        "from fcntl import flock",
        "from os import unlink",
        "from os import path",
        "import shutil as s",
        "home.read_text()",
        "(out / 'x').exists()",
    ],
)
def test_what_goes_past_the_seam_is_found(check: ModuleType, code: str) -> None:
    assert len(check.past_the_seam(ast.parse(code))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "self.disk.open('x', 0)",
        "folder.disk.realpath(out)",
        "disk.exists(out)",
        "os.path.join(a, b)",
        "os.O_RDWR",
        "self._opened.open(x)",
        "import os",
        "from wraith.aio.disk.seam import Disk",
    ],
)
def test_what_goes_through_it_is_not(check: ModuleType, code: str) -> None:
    assert check.past_the_seam(ast.parse(code)) == []


def test_every_call_of_the_seam_that_python_has_is_looked_for(check: ModuleType) -> None:
    named_elsewhere = {"flock", "mmap", "realpath", "lexists", "rmtree", "makedirs"}
    import os

    calls = {name for name in vars(Disk) if not name.startswith("_") and hasattr(os, name)}
    assert calls - named_elsewhere <= check.DISK_CALLS


@pytest.mark.parametrize(
    "code",
    [
        "from wraith.content.chunking import CHUNK_BYTES",
        "from wraith.content.chunking import UNKNOWN_SIZE as _NONE",
        "at = chunk * CHUNK_BYTES",
        "chunking.UNKNOWN_SIZE",
    ],
)
def test_who_reckons_with_chunks_is_found(check: ModuleType, code: str) -> None:
    assert [line for line, _ in check.chunk_arithmetic(ast.parse(code))] == [1]


@pytest.mark.parametrize(
    "code",
    [
        "Cut(size).offset(chunk)",
        "'CHUNK_BYTES'",
        "BATCH_CHUNKS = 4",
        "from a import CHUNK_BYTES_MAX",
    ],
)
def test_who_asks_content_is_not(check: ModuleType, code: str) -> None:
    assert check.chunk_arithmetic(ast.parse(code)) == []


@pytest.mark.parametrize(
    ("room", "n"),
    [
        ("src/wraith/transfer", 1),
        ("src/wraith/testing", 1),
        ("bench/peers", 1),
        ("src/wraith/content", 0),
        ("tests/unit/transfer", 0),
    ],
)
def test_content_and_tests_alone_may(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, room: str, n: int
) -> None:
    monkeypatch.setattr(check, "ROOT", tmp_path)
    planted = tmp_path / room / "planted.py"
    planted.parent.mkdir(parents=True)
    planted.write_text("def at(chunk: int) -> int:\n    return chunk * chunking.CHUNK_BYTES\n")
    findings = check.chunk_findings(planted)
    assert len(findings) == n
    assert all("planted.py:2: CHUNK_BYTES" in finding for finding in findings)
