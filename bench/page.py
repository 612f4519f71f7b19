"""Makes ``docs/explanation/performance.md`` and its plots from ``bench/results/*.json``.

    python bench/page.py

Takes a second and measures nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from behind import LIMITS, behind, unknown
from harness import RESULTS, ROOT, spread
from machine import is_same
from report import Report, report_of, shown

PAGE = ROOT / "docs" / "explanation" / "performance.md"

INTRO = """# Performance

<!-- Written by bench/page.py from bench/results/*.json: change those, not this page. -->

Measured by `make bench` ([how, and what is compared](../../bench/README.md)). What has a peer or a
limit stands beside it **from the same run on the same machine**; memory, growth, use of a link and
parts of the program stand beside bounds or themselves. Trust the ratios; absolute figures belong to
the machine under each table. Figures are medians; where a table shows no n or range, it is one run.
CPU is that of both sides together unless the column says otherwise. Suite A is the default. Suite B
is faster where both ends have AES instructions, and nobody gets it who does not ask for it
(`--suite B`); memory, growth, flood, hostile peers and the regression bounds are measured with it
alone.
"""

WHY = """
What makes it fast: nothing is done per packet in Python. A run of stream bytes becomes one call
that cuts, seals and masks its datagrams, few kernel bursts, one record for loss recovery, and on
the other side one call per received burst ([decision 2](../adr/0002-work-in-runs.md),
[the native part](native.md)). What it costs: a session needs a Python event loop on each side, so
small messages and single packets pay for an interpreter that a Rust or Go peer does not have.
"""

FIRST = (
    "wraith A",
    "wraith B",
    "quinn",
    "quic-go",
    "TLS 1.3 (blocking sockets)",
    "TLS 1.3 (asyncio)",
    "qh3",
    "aioquic",
    "raw UDP with GSO",
)
NOTES = {
    "wraith A": "ChaCha20-Poly1305; the default",
    "wraith B": "AES-256-GCM; on request (`--suite B`)",
    "quinn": "QUIC in Rust",
    "quic-go": "QUIC in Go",
    "TLS 1.3 (blocking sockets)": "TCP, plain `ssl`; the kernel does its packets",
    "TLS 1.3 (asyncio)": "TCP, asyncio streams",
    "qh3": "QUIC, Rust under Python",
    "aioquic": "QUIC in Python",
    "raw UDP with GSO": "limit: no protocol, nothing encrypted or compared",
}


def write_page(order: Sequence[str]) -> None:
    """Renders everything that has results; subjects in ``order`` first."""
    found = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    reports = {
        name: (report_of(saved), saved["machine"])
        for name, saved in found.items()
        if "tables" in saved
    }
    names = [n for n in order if n in reports] + sorted(set(reports) - set(order))
    main = most_common([reports[name][1] for name in names])
    parts = [INTRO]
    if "throughput" in reports:
        parts.append(first_table(*reports["throughput"]))
    parts.append(losses([reports[name][0] for name in names]))
    parts.append(WHY)
    parts += plots({name: reports[name][0] for name in names})
    strangers = [reports[n][0].title for n in names if not is_same(reports[n][1], main)]
    parts.append("## What must be reached\n")
    parts.append(f"Most of it was measured on this machine: {machine_line(main)}.\n")
    if strangers:
        parts.append(
            "**By another machine:** " + ", ".join(strangers) + ". These figures, and whether they "
            "reach their bounds, say nothing about the machine above. A machine whose raw figures "
            "differ by more than 1.5 times counts as another: the same may have been busy.\n"
        )
    rows = [(reports[name][0], is_same(reports[name][1], main)) for name in names]
    parts.append(bounds_table(rows))
    for name in names:
        parts.append(section(*reports[name], is_other=not is_same(reports[name][1], main)))
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def most_common(machines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The machine that made most of the results."""
    return max(machines, key=lambda one: sum(is_same(one, other) for other in machines))


def first_table(report: Report, machine: dict[str, Any]) -> str:
    """One stream of 1400-byte datagrams, ours and everybody else's, before all explanations."""
    figures: dict[str, Any] = report.data.get("1400", {})
    lines = [
        "One stream, memory to memory, over loopback, 1400-byte datagrams:\n",
        "| | MB/s | lowest–highest | CPU-s/GiB | |",
        "|---|---:|---:|---:|---|",
    ]
    for name in FIRST:
        if name in figures:
            one = figures[name]
            runs = one.get("all_mb_per_s")
            lines.append(
                f"| {name} | {shown(one['mb_per_s'])} | {spread(runs) if runs else '–'} "
                f"| {shown(one['cpu_s_per_gib'])} | {NOTES[name]} |"
            )
    lines.append(f"\n*{machine_line(machine)}.*\n")
    return "\n".join(lines)


def losses(reports: Sequence[Report]) -> str:
    """Where a peer is ahead (``behind.py``), and what is missed."""
    data: dict[str, dict[str, Any]] = {report.name: report.data for report in reports}
    lines = ["Where a peer is ahead or a bound is missed:\n"]
    for what, ratio in behind(data):
        if ratio > 1:
            lines.append(f"- {what}: {shown(ratio)} ×")
    lines += [
        f"- not known of {report.title}: its result is older than this list"
        for report in reports
        if report.name in unknown(data)
    ]
    for report in reports:
        for bound in report.bounds:
            if not bound.is_met:
                sign = "≤" if bound.at_most else "≥"
                value = f"{shown(bound.value)} {bound.unit}".rstrip()
                lines.append(
                    f"- missed: {report.title}, {bound.what}: {value} "
                    f"(must be {sign} {shown(bound.limit)})"
                )
    if len(lines) > 1:
        return "\n".join(lines)
    return "No bound is missed, and in no comparison below that was measured is a peer ahead."


def machine_line(machine: dict[str, Any]) -> str:
    """The machine in one line, with what it does without any protocol."""
    raw = [
        f"{what} {machine[key]:,} MB/s"
        for what, key in (
            ("AES-256-GCM alone", "aes_256_gcm_mb_per_s"),
            ("raw UDP with GSO", "udp_gso_mb_per_s"),
        )
        if machine.get(key)
    ]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, CPython "
        f"{machine['python']}, wraith {machine['wraith']} ({machine['hotpath']} hot path), load "
        f"{machine.get('load', 0):.1f}" + (f"; just then {', '.join(raw)}" if raw else "")
    )


def bounds_table(reports: Sequence[tuple[Report, bool]]) -> str:
    lines = ["| Subject | Figure | Measured | Must be | |", "|---|---|---:|---:|---|"]
    for report, is_ours in reports:
        for bound in report.bounds:
            sign = "≤" if bound.at_most else "≥"
            verdict = "reached" if bound.is_met else "**missed**"
            verdict += ", regression bound" if bound.is_regression else ""
            verdict += "" if is_ours else ", by another machine"
            lines.append(
                f"| {report.title} | {bound.what} | {shown(bound.value)} {bound.unit} "
                f"| {sign} {shown(bound.limit)} | {verdict} |"
            )
    return "\n".join(lines) + "\n"


def section(report: Report, machine: dict[str, Any], *, is_other: bool) -> str:
    lines = [f"## {report.title}\n", f"{report.how}\n"]
    if is_other:
        lines.append("**Measured by another machine than most of this page.**\n")
    for table in report.tables:
        lines += [f"**{table.title}**\n", table.markdown() + "\n"]
    if report.left_out:
        lines += ["Left out: " + "; ".join(report.left_out) + ".\n"]
    lines.append(f"*{machine_line(machine)}; {machine['time']}, took {report.seconds:.0f} s.*\n")
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


if __name__ == "__main__":
    from run import SUBJECTS

    write_page(list(SUBJECTS))
