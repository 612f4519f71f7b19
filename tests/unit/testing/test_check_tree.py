"""The check that nothing that keeps files goes past the seam to the disk."""

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
