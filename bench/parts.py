"""Where the microseconds of a packet go, for the pure-Python hot path and for the native one.

    python bench/parts.py [--quick]

Two views. *By call*: what sealing and opening one packet costs, and the ratchet, mask and AEAD in
it, each measured alone (``packet_cost.py``). *By part of the program*: one bulk transfer with both
sides under the profiler. The profiler slows down what consists of many small calls, so of the
second view read the shares; the row of totals comes from a transfer without it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from harness import ROOT, PeerFailed, finished
from report import Cell, Report
from throughput import run_once

DATAGRAM_BYTES = 1400
IMPLEMENTATIONS = {"python": "1", "native": "0"}
SHOWN = 14


def by_call(report: Report) -> None:
    columns: dict[str, dict[str, dict[str, float]]] = {}
    for name in IMPLEMENTATIONS:
        words = [sys.executable, str(ROOT / "bench" / "packet_cost.py"), "--hotpath", name]
        try:
            columns[name] = finished([*words, "--json"])["us_per_packet"]
        except PeerFailed as error:
            report.left_out.append(f"{name}: {error}")
    rows: list[tuple[Cell, ...]] = []
    for what in columns.get("python", {}).get("A", {}):
        cells = [columns.get(n, {}).get(s, {}).get(what) for n in IMPLEMENTATIONS for s in "AB"]
        rows.append((what, *cells))
    headers = ("µs per packet of 1400 bytes", *(f"{n} {s}" for n in IMPLEMENTATIONS for s in "AB"))
    report.add("By call", headers, rows)
    report.data["by call"] = columns


def by_part(report: Report, name: str, mib: int) -> None:
    environment = {"WRAITH_PURE_PYTHON": IMPLEMENTATIONS[name]}
    options = ["--suite", "B"]
    plain = run_once(options, mib, DATAGRAM_BYTES, parts=False, environment=environment)
    profiled: dict[str, Any] = run_once(
        [*options, "--parts"], mib, DATAGRAM_BYTES, parts=True, environment=environment
    )
    sides = profiled["parts_us_per_packet"]
    sums = {side: sum(parts.values()) for side, parts in sides.items()}
    names = sorted(
        {*sides["sender"], *sides["receiver"]},
        key=lambda part: -max(sides["sender"].get(part, 0.0), sides["receiver"].get(part, 0.0)),
    )
    rows: list[tuple[Cell, ...]] = [
        ("all, without the profiler", plain["sender_us_per_packet"], None,
         plain["receiver_us_per_packet"], None),
        ("all, under the profiler", sums["sender"], 100.0, sums["receiver"], 100.0),
    ]  # fmt: skip
    for part in names[:SHOWN]:
        cells: list[Cell] = []
        for side in ("sender", "receiver"):
            value = sides[side].get(part)
            cells += [value, None if value is None else value / sums[side] * 100]
        rows.append((part, *cells))
    headers = ("µs per packet, suite B", "sender", "%", "receiver", "%")
    report.add(f"By part of the program, {name} hot path, {mib} MiB", headers, rows)
    report.data[f"by part, {name}"] = sides


def run(*, quick: bool) -> Report:
    report = Report(
        "parts",
        "Where a packet's time goes",
        "CPU time. Shares of a profiled run; the profiler weighs on what consists of many calls.",
    )
    by_call(report)
    by_part(report, "python", 8 if quick else 64)
    by_part(report, "native", 64 if quick else 512)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Microseconds of a packet by part")
    parser.add_argument("--quick", action="store_true")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
