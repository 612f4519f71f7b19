"""Bars as SVG, written by hand: no library, the same bytes for the same figures.

A plot follows the reader's light or dark mode. Whoever cannot see it is told every figure: in the
drawing's own description, and in the text that ``page.py`` writes around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from behind import LIMITS
from report import shown


@dataclass(frozen=True)
class Palette:
    """Colours of one mode, as ``#rrggbb``."""

    ground: str
    text: str
    ours: str
    others: str


LIGHT = Palette(ground="#ffffff", text="#1f2328", ours="#1f5fd0", others="#6e7781")
DARK = Palette(ground="#0d1117", text="#e6edf3", ours="#6cb0ff", others="#8b949e")
ROW, LEFT, WIDTH, RIGHT = 26, 210, 420, 80
HEAD, PANEL_HEAD, FOOT = 40, 30, 12


@dataclass(frozen=True)
class Panel:
    """Bars on one scale under a heading; the longest is as wide as the plot."""

    heading: str
    values: Mapping[str, float]
    unit: str
    least: bool = False
    """The smaller is ahead, and stands first."""

    def ordered(self) -> list[tuple[str, float]]:
        """Names with figures, the best first; limits are no peers and are left out."""
        rows = [(name, one) for name, one in self.values.items() if not name.startswith(LIMITS)]
        return sorted(rows, key=lambda row: row[1] if self.least else -row[1])

    def words(self) -> str:
        """All of it in one sentence."""
        bars = ", ".join(f"{name} {shown(value)}" for name, value in self.ordered())
        return f"{self.heading}, {self.unit}: {bars}."


def described(panels: Sequence[Panel]) -> str:
    """What the plot says, for its alternative text."""
    return " ".join(panel.words() for panel in panels)


def bar_chart(title: str, panels: Sequence[Panel]) -> str:
    """One drawing of ``panels`` below each other, ours in another colour."""
    n_rows = sum(len(panel.ordered()) for panel in panels)
    height = HEAD + PANEL_HEAD * len(panels) + ROW * n_rows + FOOT
    width = LEFT + WIDTH + RIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"',
        f'  viewBox="0 0 {width} {height}"',
        '  role="img" aria-labelledby="title desc" font-family="sans-serif" font-size="13">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(described(panels))}</desc>',
        "<style>",
        *style(LIGHT),
        "@media (prefers-color-scheme: dark) {",
        *style(DARK),
        "}",
        "</style>",
        f'<rect class="ground" width="{width}" height="{height}" rx="6"/>',
        f'<text x="16" y="26" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    y = HEAD
    for panel in panels:
        head = escape(f"{panel.heading}, {panel.unit}")
        lines.append(f'<text x="16" y="{y + 18}" font-style="italic">{head}</text>')
        y += PANEL_HEAD
        longest = max((value for _, value in panel.ordered()), default=1.0) or 1.0
        for name, value in panel.ordered():
            length = max(value / longest * WIDTH, 1)
            kind = "ours" if name.startswith("wraith") else "others"
            bar = f'x="{LEFT}" y="{y + 2}" width="{length:.1f}" height="{ROW - 8}" rx="2"'
            lines += [
                f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
                f'<rect class="{kind}" {bar}/>',
                f'<text x="{LEFT + length + 6:.1f}" y="{y + 15}">{shown(value)}</text>',
            ]
            y += ROW
    return "\n".join([*lines, "</svg>"]) + "\n"


def style(palette: Palette) -> list[str]:
    return [
        f".ground {{ fill: {palette.ground} }}",
        f"text {{ fill: {palette.text} }}",
        f".ours {{ fill: {palette.ours} }}",
        f".others {{ fill: {palette.others} }}",
    ]
