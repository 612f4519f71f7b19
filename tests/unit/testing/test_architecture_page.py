"""The map of the house: its import graph is the tree's, and its calls name what exists."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import grimp
import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("import_graph")
    finally:
        sys.path.remove(str(ROOT / "tools"))


# --- who imports whom -----------------------------------------------------------------------------


def test_the_page_draws_the_imports_of_this_tree(tool: ModuleType) -> None:
    page = PAGE.read_text("utf-8")
    assert tool.with_block(page, tool.block()) == page, "run make architecture-graph"


def test_the_drawing_has_every_room_and_an_arrow_that_nothing_implies(tool: ModuleType) -> None:
    text = tool.block()
    assert "    cli --> aio\n" in text
    assert "    cli --> node\n" not in text  # over aio
    for room in tool.floors():
        assert f"| `{room}` |" in text


def test_an_arrow_that_a_longer_path_implies_is_left_out(tool: ModuleType) -> None:
    graph = {"a": frozenset("bcd"), "b": frozenset("c"), "c": frozenset("d")}
    assert tool.reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": {"d"}}


def test_a_page_without_its_marks_is_refused(tool: ModuleType) -> None:
    page = PAGE.read_text("utf-8")
    with pytest.raises(ValueError, match="both marks"):
        tool.with_block(page.replace(tool.END, ""), "")
    with pytest.raises(ValueError, match="both marks"):
        tool.with_block(page + tool.BEGIN, "")


def test_sub_rooms_are_drawn_once_a_room_has_two(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "planted/__init__.py": "",
        "planted/one/__init__.py": "",
        "planted/one/plain.py": "import planted.one.sub.deep\n",
        "planted/one/sub/__init__.py": "",
        "planted/one/sub/deep.py": "",
    }
    more = {
        "planted/one/other/__init__.py": "",
        "planted/one/other/far.py": "import planted.one.plain\nimport planted.one.sub.deep\n",
    }
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(tool, "PACKAGE", "planted")
    found = []
    for added in (files, more):
        for name, text in added.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        graph = grimp.build_graph("planted", cache_dir=None)
        found.append(tool.inside(graph, "one"))
    assert found == [
        {},
        {tool.ITSELF: {"sub"}, "other": {tool.ITSELF, "sub"}, "sub": set()},
    ]


# --- who calls whom -------------------------------------------------------------------------------


@cache
def methods() -> dict[str, set[str]]:
    """For each class of the package its methods, those of the classes above it included."""
    own: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for path in sorted((ROOT / "src" / "wraith").rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
                own.setdefault(node.name, set()).update(names)
                above = {base.id for base in node.bases if isinstance(base, ast.Name)}
                bases.setdefault(node.name, set()).update(above)

    def of(name: str) -> set[str]:
        return own.get(name, set()).union(*(of(base) for base in bases.get(name, set()) - {name}))

    return {name: of(name) for name in own}


def calls(page: str) -> Iterator[tuple[str, str]]:
    """What the drawings under "Who calls whom" name, as class and method."""
    for part in page.split("### Who calls whom")[1:]:
        drawing = part.split("```")[1]
        yield from re.findall(r"\b([A-Z]\w+)\.(\w+)", drawing)


def missing(page: str) -> list[str]:
    known = methods()
    return [f"{cls}.{name}" for cls, name in calls(page) if name not in known.get(cls, set())]


def test_the_checker_sees_a_call_that_is_gone() -> None:
    page = "### Who calls whom: x\n```\nEndpoint.next_timer\nEndpoint.gone ─► Nobody.run\n```\n"
    assert missing(page) == ["Endpoint.gone", "Nobody.run"]


def test_everything_that_the_drawings_name_exists() -> None:
    page = PAGE.read_text("utf-8")
    assert len(list(calls(page))) > 30
    assert missing(page) == []
