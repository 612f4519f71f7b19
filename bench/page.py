"""Makes ``docs/explanation/performance.md`` and its plots from ``bench/results/*.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from harness import RESULTS, ROOT
from report import Report, report_of, shown

PAGE = ROOT / "docs" / "explanation" / "performance.md"
LIMITS = ("raw UDP", "AES-256", "ChaCha20", "cp (limit)")

INTRO = """# Performance

<!-- Written by bench/run.py from bench/results/*.json: change those, not this page. -->

Every figure here was measured by `make bench` ([how, and what is compared](../../bench/README.md))
and stands beside a peer or a limit measured **in the same run on the same machine**. Trust the
ratios; absolute figures belong to the machine named with them. Medians of alternating runs; CPU is
that of both sides together unless the column says otherwise.

What makes it fast: nothing is done per packet in Python. A run of stream bytes becomes one call
that cuts, seals and masks its datagrams, few kernel bursts, one record for loss recovery, and on
the other side one call per received burst ([decision 2](../adr/0002-work-in-runs.md),
[the native part](native.md)). What it costs: a session needs a Python event loop on each side, so
small messages and single packets pay for an interpreter that a Rust or Go peer does not have.
"""


def write_page(order: Sequence[str]) -> None:
    """Renders everything that has results; subjects in ``order`` first."""
    found = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    reports = {
        name: (report_of(saved), saved["machine"])
        for name, saved in found.items()
        if "tables" in saved
    }
    names = [n for n in order if n in reports] + sorted(set(reports) - set(order))
    parts = [INTRO, *plots({name: reports[name][0] for name in names}), "## What must be reached\n"]
    parts.append(bounds_table([reports[name][0] for name in names]))
    for name in names:
        parts.append(section(*reports[name]))
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def bounds_table(reports: Sequence[Report]) -> str:
    lines = ["| Subject | Figure | Measured | Must be | |", "|---|---|---:|---:|---|"]
    for report in reports:
        for bound in report.bounds:
            sign = "≤" if bound.at_most else "≥"
            verdict = "reached" if bound.is_met else "**missed**"
            lines.append(
                f"| {report.title} | {bound.what} | {shown(bound.value)} {bound.unit} "
                f"| {sign} {shown(bound.limit)} | {verdict} |"
            )
    return "\n".join(lines) + "\n"


def section(report: Report, machine: dict[str, Any]) -> str:
    lines = [f"## {report.title}\n", f"{report.how}\n"]
    for table in report.tables:
        lines += [f"**{table.title}**\n", table.markdown() + "\n"]
    if report.left_out:
        lines += ["Left out: " + "; ".join(report.left_out) + ".\n"]
    lines.append(
        f"*{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, CPython "
        f"{machine['python']}, wraith {machine['wraith']} ({machine['hotpath']} hot path), load "
        f"{machine.get('load', 0):.1f}, {machine['time']}, took {report.seconds:.0f} s.*\n"
    )
    return "\n".join(lines)


# --- plots ----------------------------------------------------------------------------------------


def plots(reports: dict[str, Report]) -> list[str]:
    """Writes the plots there is data for; returns the lines that show them."""
    lines = []
    throughput = reports.get("throughput")
    if throughput is not None and "1400" in throughput.data:
        bars = {name: f["mb_per_s"] for name, f in throughput.data["1400"].items()}
        lines.append(plot("throughput", "One stream, 1400-byte datagrams, MB/s", bars))
    files = reports.get("files")
    if files is not None:
        for title, tools in files.data.items():
            if title.startswith("One file") and "disk" in title:
                bars = {name: f["seconds"] for name, f in tools.items()}
                lines.append(plot("files", f"{title}: seconds of the whole command", bars))
    return lines


def plot(name: str, title: str, values: dict[str, float]) -> str:
    shown_values = {k: v for k, v in values.items() if not k.startswith(LIMITS)}
    path = PAGE.parent / f"performance-{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bar_chart(title, shown_values), encoding="utf-8")
    return f"![{title}]({path.name})\n"


def bar_chart(title: str, values: dict[str, float]) -> str:
    """Horizontal bars, ours in another colour; readable on light and on dark pages."""
    row, left, width, top = 26, 190, 420, 44
    height = top + row * len(values) + 12
    longest = max(values.values(), default=1.0) or 1.0
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 100}" height="{height}"',
        f'  role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="{height}" rx="6" fill="#fbfbfb"/>',
        f'<text x="16" y="26" font-size="15" font-weight="bold" fill="#222">{escape(title)}</text>',
    ]
    for i, (name, value) in enumerate(values.items()):
        y = top + i * row
        colour = "#2f6fde" if name.startswith("wraith") else "#a9b4c2"
        length = max(value / longest * width, 1)
        bar = f'x="{left}" y="{y + 2}" width="{length:.1f}" height="{row - 8}" rx="2"'
        lines += [
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect {bar} fill="{colour}"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 15}">{shown(value)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
