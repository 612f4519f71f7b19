"""Echo latency, idle and beside a bulk stream, and the time to the first byte of a small file.

    python bench/latency.py [--quick]

Two processes over loopback; one 64-byte message there and back at a time. Under load the same
session carries a bulk stream as fast as it goes; the echo stream is the more urgent one where the
library has priorities. First byte: a new session for each file of 1 KiB, timed from the call that
dials.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import regression
from harness import PEERS, PeerFailed, finished, percentile, rounded, started
from report import Cell, Report

PLAIN_UDP = "plain UDP (asyncio)"
PLAN_P50_MS, PLAN_P99_MS = 3.0, 10.0
"""What the plan asks of version 2 (1 and 5 if possible)."""

PARTIES = {
    "wraith A": ("wraith_echo.py A", ("echo", "loaded", "first")),
    "wraith B": ("wraith_echo.py B", ("echo", "loaded", "first")),
    "aioquic": ("aioquic_echo.py", ("echo", "loaded", "first")),
    PLAIN_UDP: ("udp_echo.py", ("echo",)),
}
TITLES = {
    "echo": "Echo, idle",
    "loaded": "Echo beside a bulk stream of the same session",
    "first": "From dialling to the first byte of a 1 KiB file",
}

#: Bounds where aioquic is ahead, or was.
REGRESSIONS = {"echo": regression.IDLE_ECHO, "loaded": regression.ECHO}


def measure(script: str, verb: str, n: int) -> dict[str, Any]:
    """``script`` is a peer, with the suite behind it where it has a choice."""
    name, *suite = script.split()
    base = (sys.executable, str(PEERS / name))
    with started((*base, "serve", *suite)) as server:
        port = str(server.line()["port"])
        found: dict[str, Any] = finished((*base, verb, port, str(n), *suite))
    return found


def run(*, quick: bool) -> Report:
    counts = {"echo": 2000, "loaded": 1000, "first": 100}
    report = Report(
        "latency",
        "Latency",
        "Two processes over loopback, 64 bytes there and back, one at a time. One run a "
        "line; the percentiles are over its messages. What comes back is counted and not compared.",
    )
    for verb, title in TITLES.items():
        n = counts[verb] // (10 if quick else 1)
        rows: list[tuple[Cell, ...]] = []
        for name, (script, verbs) in PARTIES.items():
            if verb not in verbs:
                continue
            try:
                found = measure(script, verb, n)
            except PeerFailed as error:
                report.left_out.append(f"{name}, {title}: {error}")
                continue
            times = found["ms"]
            p50, p99 = statistics.median(times), percentile(times, 0.99)
            rows.append((name, p50, p99, max(times), found.get("bulk_mb_per_s")))
            kept = rounded({"all_ms": times})
            report.data[f"{verb} {name}"] = {"p50_ms": p50, "p99_ms": p99, **kept}
            if verb == "echo" and name.startswith("wraith"):
                what = f"echo on an idle machine, suite {name[-1]}"
                report.need(f"{what}, P50", p50, PLAN_P50_MS, "ms", at_most=True)
                report.need(f"{what}, P99", p99, PLAN_P99_MS, "ms", at_most=True)
        ours, theirs = (report.data.get(f"{verb} {name}") for name in ("wraith B", "aioquic"))
        if verb in REGRESSIONS and ours and theirs:
            regression.need(report, REGRESSIONS[verb], ours["p50_ms"] / theirs["p50_ms"])
        report.add(f"{title}, {n} times", ("", "P50 ms", "P99 ms", "worst ms", "bulk MB/s"), rows)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Echo latency and time to first byte")
    parser.add_argument("--quick", action="store_true")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
