"""What a subject of the benchmark suite hands back: tables, bounds with pass or miss, and reasons.

``run.py`` prints it, keeps it as JSON in ``bench/results/`` and makes the page from that JSON, so
a subject that was not run today still stands on the page with its last figures and their date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness import save, table

Cell = str | int | float | None


def shown(value: Cell) -> str:
    """Three significant digits or so, as people read them."""
    if value is None:
        return "–"
    if isinstance(value, float):
        size = abs(value)
        return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value


@dataclass(frozen=True)
class Table:
    """Rows of cells under a title; the first column names the row."""

    title: str
    headers: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    def text(self) -> str:
        return table(self.headers, [[shown(cell) for cell in row] for row in self.rows])

    def markdown(self) -> str:
        lines = ["| " + " | ".join(self.headers) + " |"]
        lines.append("|---|" + "---:|" * (len(self.headers) - 1))
        lines += ["| " + " | ".join(shown(cell) for cell in row) + " |" for row in self.rows]
        return "\n".join(lines)


@dataclass(frozen=True)
class Bound:
    """A figure and what it must reach."""

    what: str
    value: float
    limit: float
    unit: str = ""
    at_most: bool = False
    is_regression: bool = False
    """No target: what it was, with a margin (``regression.py``)."""

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def text(self) -> str:
        sign = "≤" if self.at_most else "≥"
        word = "pass" if self.is_met else "MISS"
        return (
            f"{word}  {self.what}: {shown(self.value)} {self.unit}".rstrip()
            + f" ({sign} {shown(self.limit)}{', regression bound' if self.is_regression else ''})"
        )


@dataclass
class Report:
    """One subject. ``left_out`` says what was not measured and why; ``curves`` are for plots."""

    name: str
    title: str
    how: str
    tables: list[Table] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        self.tables.append(Table(title, tuple(headers), [tuple(row) for row in rows]))

    def need(
        self,
        what: str,
        value: float,
        limit: float,
        unit: str = "",
        *,
        at_most: bool = False,
        is_regression: bool = False,
    ) -> None:
        self.bounds.append(Bound(what, value, limit, unit, at_most, is_regression))

    def text(self) -> str:
        parts = [f"== {self.title}", self.how]
        for one in self.tables:
            parts.append(f"\n{one.title}\n{one.text()}")
        if self.bounds:
            parts.append("\n" + "\n".join(bound.text() for bound in self.bounds))
        parts += [f"left out: {reason}" for reason in self.left_out]
        return "\n".join(parts) + "\n"

    def save(self, *, quick: bool) -> None:
        """Quick figures go to a folder of their own: they prove that it works and nothing else."""
        save(f"quick/{self.name}" if quick else self.name, asdict(self))


def report_of(saved: dict[str, Any]) -> Report:
    """The report that ``save`` wrote."""
    tables = [
        Table(t["title"], tuple(t["headers"]), [tuple(row) for row in t["rows"]])
        for t in saved["tables"]
    ]
    return Report(
        name=saved["name"],
        title=saved["title"],
        how=saved["how"],
        tables=tables,
        bounds=[Bound(**bound) for bound in saved["bounds"]],
        left_out=saved["left_out"],
        data=saved["data"],
        seconds=saved["seconds"],
    )
