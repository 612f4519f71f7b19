"""Draws who imports whom into docs/explanation/architecture.md, from the imports of the tree.

    python tools/import_graph.py           # write the drawing
    python tools/import_graph.py --check   # exit 1 if the page shows another one

``make architecture-graph`` writes it too. The drawing stands between two marks. It shows rooms,
not files, and no counts: it changes when a room begins or ceases to import another one.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
BEGIN = "<!-- Written by tools/import_graph.py: run `make architecture-graph`. -->"
END = "<!-- The end of what tools/import_graph.py wrote. -->"
PACKAGE = "wraith"
WORDS = frozenset({"config", "abc", "types", "errors"})
"""Rooms that nearly every other one imports: the drawing leaves them out, the table names them."""
ITSELF = "(its own files)"
"""The files of a room that stand in none of its sub-rooms."""
SUB_ROOMS_MIN = 2
Imports = Mapping[str, frozenset[str]]


def floors() -> list[str]:
    """Every room from the top floor to the lowest, as the contract in pyproject.toml has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers: list[str] = next(one["layers"] for one in contracts if one["id"] == "floors")
    return [room.strip() for layer in layers for room in layer.split("|")]


def import_graph() -> grimp.ImportGraph:
    """The imports that run; those for a type checker alone are left out."""
    return grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)


def between_rooms(graph: grimp.ImportGraph) -> Imports:
    """For each room the other rooms that its files import."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            room, other = room_of(module), room_of(imported)
            if room and other and room != other:
                found[room].add(other)
    return {room: frozenset(found[room]) for room in floors()}


def room_of(module: str) -> str:
    """``connection`` for ``wraith.connection.data.sent``; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def inside(graph: grimp.ImportGraph, room: str) -> Imports:
    """For each sub-room of ``room`` the others that its files import; empty if it has too few."""
    above = f"{PACKAGE}.{room}"
    subs = (
        {module for module in graph.find_children(above) if graph.find_children(module)}
        if above in graph.modules
        else set()
    )
    if len(subs) < SUB_ROOMS_MIN:
        return {}

    def part_of(module: str) -> str:
        part = ".".join(module.split(".")[:3])
        return part.removeprefix(f"{above}.") if part in subs else ITSELF

    found: dict[str, set[str]] = {part_of(module): set() for module in sorted(subs)}
    for module in {above} | graph.find_descendants(above):
        for imported in graph.find_modules_directly_imported_by(module):
            if imported == above or imported.startswith(f"{above}."):
                part, other = part_of(module), part_of(imported)
                if part != other:
                    found.setdefault(part, set()).add(other)
    return {part: frozenset(others) for part, others in sorted(found.items())}


def reduced(imports: Imports) -> Imports:
    """Without the arrows that a path of other arrows implies. ``imports`` has no circle."""

    def below(room: str) -> set[str]:
        reached: set[str] = set()
        for other in imports.get(room, ()):
            reached |= {other} | below(other)
        return reached

    return {
        room: others - {far for other in others for far in below(other)}
        for room, others in imports.items()
    }


def mermaid(imports: Imports, order: Sequence[str]) -> list[str]:
    """A flow chart with one arrow for each import, top down."""
    ids = {name: re.sub(r"\W+", "", name).strip("_") for name in order}
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    {ids[name]}["{name}"]' for name in order]
    lines += [
        f"    {ids[name]} --> {ids[other]}"
        for name in order
        for other in sorted(imports.get(name, ()), key=order.index)
    ]
    return [*lines, "```"]


def block() -> str:
    """What stands between the marks."""
    graph, order = import_graph(), floors()
    imports = between_rooms(graph)
    drawn = [room for room in order if room not in WORDS]
    arrows = {room: imports[room] - WORDS for room in drawn}
    lines = ["", *mermaid(reduced(arrows), drawn), ""]
    lines += ["| Room | Imports |", "|---|---|"]
    for room in order:
        others = ", ".join(sorted(imports[room], key=order.index))
        lines.append(f"| `{room}` | {others or 'nothing of this package'} |")
    lines.append("")
    for room in order:
        if parts := inside(graph, room):
            every = sorted(set(parts) | {other for others in parts.values() for other in others})
            lines += [f"Inside `{room}`:", "", *mermaid(parts, every), ""]
    return "\n".join(lines)


def with_block(page: str, text: str) -> str:
    """``page`` with ``text`` between its marks.

    Raises:
        ValueError: a mark is missing, or stands twice.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError("the page needs both marks of tools/import_graph.py, once each")
    head, rest = page.split(BEGIN)
    return head + BEGIN + "\n" + text + END + rest.split(END)[1]


def main() -> int:
    parser = argparse.ArgumentParser(description="Draws who imports whom")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    fresh = with_block(page, block())
    if fresh == page:
        return 0
    if options.check:
        print("the import graph of architecture.md is stale: make architecture-graph")
        return 1
    PAGE.write_text(fresh, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} shows the imports of this tree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
