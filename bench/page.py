"""Makes ``docs/explanation/performance.md``, its tables and its plots from ``bench/results``.

    python bench/page.py

The page opens for a reader: a paragraph, three figures, two plots. All tables, and the list of what
is reached, stand behind it in ``performance-tables.md``. Takes a second and measures nothing.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from behind import behind, unknown, value
from harness import RESULTS, ROOT, spread
from machine import is_same
from plots import Panel, bar_chart, described
from report import Report, report_of, shown

PAGE = ROOT / "docs" / "explanation" / "performance.md"
TABLES = PAGE.with_name("performance-tables.md")
Measured = Mapping[str, tuple[Report, dict[str, Any]]]
"""Each subject that has results: its report, and the machine that made it."""

DEFAULT, SUITE_B = "wraith A", "wraith B"
COMPARED = {
    "quinn": "quinn (QUIC in Rust)",
    "TLS 1.3 (blocking sockets)": "TLS over blocking sockets (the kernel does its packets)",
}
"""Peers that the first paragraph names."""
LOSING = {
    "handshakes": "handshake",
    "short echoes": "echo",
    "cards without segmentation": "GRO off",
}
"""What the first paragraph says of comparisons that hold these words, where we are behind."""

WRITTEN = (
    "<!-- Written by bench/page.py from bench/results/*.json: change those, not this page. -->"
)

READING = """## How to read the figures

`make bench` measures them ([how, and what is compared](../../bench/README.md)), and each was taken
with its peer **in the same run on the same machine**. Trust the ratios; an absolute figure belongs
to the machine that stands beside it. Figures are medians. CPU is that of both sides together
unless a column says otherwise. Suite A is the default. Suite B is faster where both ends have AES
instructions, and a user gets it on request (`--suite B`). Memory, growth, flood, hostile peers and
the regression bounds are measured with suite B alone.
"""

TABLES_INTRO = f"""# Performance: all figures

{WRITTEN}

[Performance](performance.md) says what these figures mean and how to read them. Here stand the
bounds of every subject, reached or missed, and then its tables. Memory, growth, use of a link and
parts of the program stand beside bounds or themselves, everything else beside a peer or a limit.
Where a table shows no n or range, it is one run.
"""

WHY = """## Why it is so

Python does nothing per packet. One call cuts, seals and masks the datagrams of a run of stream
bytes; the run takes few kernel bursts and one record for loss recovery, and on the other side one
call opens each received burst ([decision 2](../adr/0002-work-in-runs.md), [the native
part](native.md)). The price is a Python event loop on each side: small messages and single packets
pay for an interpreter that a Rust or Go peer does not have.
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
    """Writes everything that has results; subjects in ``order`` first."""
    for path, text in pages(measured(), order).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def measured() -> dict[str, tuple[Report, dict[str, Any]]]:
    """What ``bench/results`` holds."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    return {
        name: (report_of(saved), saved["machine"])
        for name, saved in found.items()
        if "tables" in saved
    }


def pages(results: Measured, order: Sequence[str]) -> dict[Path, str]:
    """Every file of the page with its text; nothing is written."""
    names = [n for n in order if n in results] + sorted(set(results) - set(order))
    reports = {name: results[name][0] for name in names}
    figures = three_figures(reports)
    parts = ["# Performance\n", WRITTEN + "\n", opening(reports)]
    if figures:
        parts += ["Three figures:\n", "\n".join(f"- {line}" for line in figures) + "\n"]
    files: dict[Path, str] = {}
    for name, title, panels, text in plots(results):
        path = PAGE.with_name(f"performance-{name}.svg")
        files[path] = bar_chart(title, panels)
        parts += [f"![{title}. {described(panels)}]({path.name})\n", text]
    parts += ["## Where it loses\n", losses(list(reports.values())) + "\n", WHY, READING]
    parts.append(
        f"[All figures]({TABLES.name}) holds the bounds of every subject, reached or missed, and "
        "the tables."
    )
    files[PAGE] = "\n".join(parts).rstrip() + "\n"
    files[TABLES] = tables(results, names)
    return files


def tables(results: Measured, names: Sequence[str]) -> str:
    """The page behind: what must be reached, and every table."""
    main = most_common([results[name][1] for name in names])
    strangers = [results[n][0].title for n in names if not is_same(results[n][1], main)]
    parts = [TABLES_INTRO, "## What must be reached\n"]
    parts.append(f"Most of it was measured on this machine: {machine_line(main)}.\n")
    if strangers:
        parts.append(
            "**By another machine:** " + ", ".join(strangers) + ". These figures, and whether they "
            "reach their bounds, say nothing about the machine above. A machine whose raw figures "
            "differ by more than 1.5 times counts as another: the same may have been busy.\n"
        )
    parts.append(bounds_table([(results[n][0], is_same(results[n][1], main)) for n in names]))
    for name in names:
        parts.append(section(*results[name], is_other=not is_same(results[name][1], main)))
    return "\n".join(parts).rstrip() + "\n"


# --- for a reader ---------------------------------------------------------------------------------


def opening(reports: Mapping[str, Report]) -> str:
    """The paragraph that a reader sees first, out of what there is."""
    said = ["WRAITH's protocol is Python, and a small native part does the work of the packets."]
    streams = bulk(reports)
    compared = [
        f"{shown(streams[DEFAULT] / streams[name])} times the rate of {words}"
        for name, words in COMPARED.items()
        if {DEFAULT, name} <= set(streams)
    ]
    if compared:
        said.append(
            "With its default suite one stream over UDP reaches "
            + listed(compared)
            + ", measured in the same run."
        )
    lost = [name for name, words in LOSING.items() if is_behind(reports, words)]
    if lost:
        said.append(
            f"It loses with {listed(lost)}: there Python answers for single packets, a cost "
            "that a peer in Rust, Go or the kernel does not have."
        )
    return filled(" ".join(said))


def listed(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def bulk(reports: Mapping[str, Report]) -> dict[str, float]:
    """MB/s of one stream of 1400-byte datagrams over loopback, by party."""
    found = reports["throughput"].data.get("1400", {}) if "throughput" in reports else {}
    return {name: value(one, "mb_per_s") for name, one in found.items()}


def comparisons(reports: Mapping[str, Report]) -> list[tuple[float, str, str]]:
    """How far each peer is ahead of us, in what, and of which subject; where the default suite
    was measured, with that one alone."""
    found = []
    for name, report in reports.items():
        ratios = dict(behind({name: report.data}))
        for what, ratio in ratios.items():
            if SUITE_B not in what or what.replace(SUITE_B, DEFAULT) not in ratios:
                found.append((ratio, what, name))
    return found


def is_behind(reports: Mapping[str, Report], words: str) -> bool:
    return any(ratio > 1 and words in what for ratio, what, _ in comparisons(reports))


def three_figures(reports: Mapping[str, Report]) -> list[str]:
    """A rate, a time, and our worst comparison, each with the command that measures it anew."""
    lines = []
    streams = bulk(reports)
    if {DEFAULT, "quinn"} <= set(streams):
        lines.append(
            f"**{shown(streams[DEFAULT])} MB/s** is the rate of one stream over UDP with the "
            f"default suite, over loopback with 1400-byte datagrams. quinn reaches "
            f"{shown(streams['quinn'])} MB/s. `make bench ONLY=throughput`"
        )
    for title, tools in one_file(reports):
        if {DEFAULT, "scp"} <= set(tools):
            ours, theirs = (value(tools[who], "seconds") for who in (DEFAULT, "scp"))
            lines.append(
                f"**{shown(ours)} s** is the time of the whole command for {title[0].lower()}"
                f"{title[1:]} to disk. scp takes {shown(theirs)} s. `make bench ONLY=files`"
            )
    worst = max(comparisons(reports), default=None)
    if worst is not None and worst[0] > 1:
        ratio, what, name = worst
        lines.append(
            f"**{shown(ratio)} times** is how far a peer is ahead where we are worst: {what}. "
            f"`make bench ONLY={name}`"
        )
    return lines


def one_file(reports: Mapping[str, Report]) -> list[tuple[str, dict[str, Any]]]:
    """The workload of one file on a disk, with the figures of each tool."""
    data = reports["files"].data if "files" in reports else {}
    return [(t, tools) for t, tools in data.items() if t.startswith("One file") and "disk" in t]


def plots(results: Measured) -> list[tuple[str, str, list[Panel], str]]:
    """Name, title, panels and the text below each plot that there are figures for."""
    found = []
    if "throughput" in results and "1400" in results["throughput"][0].data:
        report, machine = results["throughput"]
        panels = [rates("Over loopback", report.data["1400"])]
        text = first_table(report, machine)
        if "veth" in results:
            slow = results["veth"][0].data.get("segmentation and GRO off", {})
            if slow:
                panels.append(
                    rates("Between two network namespaces, segmentation and GRO off", slow)
                )
                text += "\n" + filled(panels[-1].words())
        found.append(("throughput", "One stream, 1400-byte datagrams", panels, text))
    if "files" in results:
        panels = [
            Panel(
                title, {k: value(one, "seconds") for k, one in tools.items()}, "seconds", least=True
            )
            for title, tools in results["files"][0].data.items()
            if "disk" in title
        ]
        if panels:
            text = "\n".join(filled(panel.words()) for panel in panels)
            text += f"\n*{machine_line(results['files'][1])}.*\n"
            found.append(("files", "Files: time of the whole command", panels, text))
    return found


def rates(heading: str, parties: Mapping[str, Any]) -> Panel:
    return Panel(heading, {k: value(one, "mb_per_s") for k, one in parties.items()}, "MB/s")


def filled(text: str) -> str:
    """``text`` in lines, with one line break at the end."""
    return (
        "\n".join(textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)) + "\n"
    )


# --- the parts ------------------------------------------------------------------------------------


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


if __name__ == "__main__":
    from run import SUBJECTS

    write_page(list(SUBJECTS))
