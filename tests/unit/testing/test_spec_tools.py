"""The tools that hold the specification against its tests and count what nobody could check."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / "tools"


def seen_tool() -> ModuleType:
    return tool("spec_seen")


def tool(name: str) -> ModuleType:
    """A module of tools/, imported as the tools import each other."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TOOLS))


PAGE = """# Rules

- **AB-1** One thing
  over two lines. **AB-2** Another.

| Id | Rule |
|---|---|
| AB-3 | third |

Text that belongs to nobody.
"""


def a_tree(folder: Path) -> tuple[dict[str, Path], dict[str, set[Path]], list[dict[str, str]]]:
    page = folder / "rules.md"
    page.write_text(PAGE)
    (folder / "code.py").write_text("limit = 3\n")
    (folder / "test_code.py").write_text("def test(): pass\n")
    defined = dict.fromkeys(("AB-1", "AB-2", "AB-3"), page)
    cited = {spec_id: {Path("test_code.py")} for spec_id in defined}
    mutated = [{"id": "AB-1", "file": "code.py", "old": "3", "new": "4"}]
    return defined, cited, mutated


def test_the_text_of_an_id_ends_at_the_next_id_or_blank_line() -> None:
    texts = seen_tool().texts_of(PAGE)
    assert texts["AB-1"] == "**AB-1** One thing over two lines."
    assert texts["AB-2"] == "**AB-2** Another."
    assert texts["AB-3"].startswith("| AB-3 | third")
    assert "nobody" not in texts["AB-3"]


def test_an_unchanged_tree_has_nothing_to_run(tmp_path: Path) -> None:
    seen = seen_tool()
    first = seen.entries(*a_tree(tmp_path), root=tmp_path)
    again = seen.entries(*a_tree(tmp_path), root=tmp_path)
    assert seen.differing(first, again) == {}


@pytest.mark.parametrize(
    ("file", "text", "stale"),
    [
        ("code.py", "limit = 3  # three\n", {"AB-1"}),
        ("test_code.py", "def test(): assert True\n", {"AB-1", "AB-2", "AB-3"}),
        ("rules.md", PAGE.replace("third", "fourth"), {"AB-3"}),
        ("rules.md", PAGE.replace("nobody", "everybody"), set()),
    ],
)
def test_each_part_that_an_id_rests_on_makes_its_entry_stale(
    tmp_path: Path, file: str, text: str, stale: set[str]
) -> None:
    seen = seen_tool()
    defined, cited, mutated = a_tree(tmp_path)
    before = seen.entries(defined, cited, mutated, root=tmp_path)
    (tmp_path / file).write_text(text)
    after = seen.entries(defined, cited, mutated, root=tmp_path)
    assert set(seen.differing(before, after)) == stale


def test_a_mutation_that_is_new_and_an_id_that_is_gone_are_stale(tmp_path: Path) -> None:
    seen = seen_tool()
    defined, cited, mutated = a_tree(tmp_path)
    before = seen.entries(defined, cited, mutated, root=tmp_path)
    more = [*mutated, {"id": "AB-2", "file": "code.py", "old": "limit", "new": "bound"}]
    del defined["AB-3"]
    after = seen.entries(defined, cited, more, root=tmp_path)
    assert seen.differing(before, after) == {
        "AB-2": "changed: mutations, files",
        "AB-3": "defined no more",
    }


# --- known vulnerabilities ------------------------------------------------------------------------


def test_packages_that_nobody_could_be_asked_about_are_counted_and_never_called_checked() -> None:
    advisories = tool("check_advisories")
    dependencies = [
        {"name": "known", "version": "1", "vulns": []},
        {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1"}]},
        {"name": "skipped", "skip_reason": "not found"},
    ]
    answer = advisories.python_answer(["known", "bad", "skipped", "silent"], dependencies)
    assert answer.unchecked == ["skipped", "silent"]
    said = "\n".join(answer.lines())
    assert "2 checked, 1 vulnerable" in said
    assert "VULNERABLE: bad 2: PYSEC-1" in said
    assert "2 NOT CHECKED" in said and "skipped silent" in said


def test_without_the_auditor_nothing_is_called_checked() -> None:
    answer = tool("check_advisories").of_python("/nowhere/pip-audit")
    assert answer.checked == 0
    assert "cryptography" in answer.unchecked


def test_the_resolver_that_writes_the_hashes_is_pinned_by_hash_itself() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.split("\nlock:", 1)[1].split("\n\n", 1)[0]
    installs = [line for line in recipe.splitlines() if "pip install" in line]
    assert installs
    assert recipe.count("--require-hashes") == len(installs)
    pinned = (ROOT / "requirements" / "tools.txt").read_text(encoding="utf-8")
    assert "\nuv==" in pinned
    assert "--hash=sha256:" in pinned.split("\nuv==", 1)[1]


def test_a_test_that_does_not_end_before_a_mend_is_not_counted_as_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    red_before = tool("red_before")

    def never_ends(command: list[str], **options: object) -> NoReturn:
        raise subprocess.TimeoutExpired(command, 600)

    mend = red_before.Mend("0" * 40, "a mend", ("X-1",), ("tests/test_it.py::test_it",))
    with monkeypatch.context() as patched:
        patched.setattr(red_before.subprocess, "run", never_ends)
        rows = [(test, *red_before.run_one(test, tmp_path, {})) for test in mend.tests]
    monkeypatch.setattr(red_before, "mends", lambda ranges: [mend])
    monkeypatch.setattr(red_before, "run_before", lambda mend: rows)
    monkeypatch.setattr(sys, "argv", ["red_before.py"])
    assert red_before.main() == 1
    out = capsys.readouterr().out
    assert "TIMED OUT: X-1: tests/test_it.py::test_it" in out
    assert "0 of 1 tests were red before 1 commits, 1 timed out" in out
