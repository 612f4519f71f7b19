"""The tools around the native part: what a licence expression allows, when a build is skipped."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


def load(name: str) -> ModuleType:
    """A module of tools/, imported as the tools import each other."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TOOLS))


check = load("check_rust_dependencies")
build = load("build_native")
gain = load("native_gain")


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT AND ISC", True),
        ("(GPL-3.0-only OR MIT) AND LGPL-2.1", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0 WITH Classpath-exception", False),
        ("MIT/Apache-2.0", True),
        ("Unlicense/MIT", True),
    ],
)
def test_licence_expressions(expression: str, allowed: bool) -> None:
    assert check.is_allowed(expression) is allowed


@pytest.mark.parametrize("nonsense", ["", "MIT OR", "(MIT", "MIT)", "AND MIT", "MIT ISC"])
def test_what_is_no_expression_is_an_error(nonsense: str) -> None:
    with pytest.raises(ValueError):
        check.is_allowed(nonsense)


def test_problems_name_the_crate() -> None:
    crate = {"name": "a", "version": "1", "license": "MIT"}
    assert check.problems_of([crate, crate | {"name": "b"}]) == []
    found = check.problems_of(
        [crate, crate | {"version": "2"}, crate | {"name": "c", "license": None}]
    )
    assert len(found) == 2
    assert "a is there more than once: 1, 2" in found
    assert any(problem.startswith("c 1: licence None") for problem in found)


def test_a_build_is_remembered_by_its_sources(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    source = tmp_path / "core" / "lib.rs"
    source.write_text("one")
    first = build.sources_hash(tmp_path, "cargo 1")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "made.rs").write_text("not a source")
    (tmp_path / "notes.md").write_text("not a source")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "main.rs").write_text("a program of the benchmarks, not of the wheel")
    assert build.sources_hash(tmp_path, "cargo 1") == first
    assert build.sources_hash(tmp_path, "cargo 2") != first
    source.write_text("two")
    assert build.sources_hash(tmp_path, "cargo 1") != first


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    present: set[str] = set()

    def which(name: str, path: str | None = None) -> str | None:
        return f"/bin/{name}" if name in present else None

    monkeypatch.setattr(shutil, "which", which)
    monkeypatch.delenv("CC", raising=False)
    for name, missing in (("cargo", "cargo"), ("gcc", "C compiler"), ("maturin", "maturin")):
        with pytest.raises(build.CannotBuild, match=missing):
            build.find_tools(tmp_path / "python")
        present.add(name)
    assert build.find_tools(tmp_path / "python") == ("/bin/cargo", "/bin/maturin")


def test_what_the_native_part_brings_is_a_ratio_of_the_same_run(tmp_path: Path) -> None:
    assert gain.line(tmp_path) is None
    streams = {"wraith A": {"mb_per_s": 400.0}, "wraith A (pure Python)": {"mb_per_s": 80.0}}
    disk = {"wraith B": {"seconds": 4.0}, "wraith B (pure Python)": {"seconds": 12.1}}
    other = {"wraith B": {"seconds": 1.0}, "wraith B (pure Python)": {"seconds": 9.0}}
    files = {"One file of 1024 MiB, disk": disk, "One file of 1024 MiB, in memory": other}
    for name, data in (("throughput", {"1400": streams}), ("files", files)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"data": data}))
    line = gain.line(tmp_path)
    assert "one stream about 5 times as fast" in line and line.endswith("a file of 1 GiB about 3 times.")
    (tmp_path / "files.json").write_text(json.dumps({"data": {}}))
    assert gain.line(tmp_path) is None


def test_the_readme_says_what_was_measured() -> None:
    found = gain.LINE.findall(gain.README.read_text("utf-8"))
    assert found == [gain.line()], "python tools/native_gain.py --write"
