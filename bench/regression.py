"""Where we lose, and how much we may lose: bounds that notice when it gets worse.

    python bench/regression.py [WORD]   measures three sets, keeps the worst (about four minutes);
                                        with a word those bounds alone whose names hold it

A target says what must be reached; for these there is none yet. The bound is the ratio as it was
measured on one machine with equal buffers, the worst of three sets, times 1.15. Each bound keeps
its machine and sets in ``regression.json``. They are of suite B, which is not the default: the
faster one.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from harness import ROOT, alternate
from machine import machine
from report import Report

FILE = ROOT / "bench" / "regression.json"
MARGIN = 1.15
SETS = 3
NO_GRO = "no segmentation, no GRO: quinn's rate to suite B's"
IDLE_ECHO = "echo on an idle machine, suite B, P50 to aioquic's"
ECHO = "echo beside a bulk stream, suite B, P50 to aioquic's"
HANDSHAKE = "handshake, suite B, median to quinn's classical one"


def need(report: Report, what: str, ratio: float) -> None:
    """Adds the bound on ``what`` to ``report``; nothing where none was measured yet."""
    if not FILE.is_file():
        return
    kept: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))["bounds"]
    if what in kept:
        report.need(what, ratio, kept[what]["bound"], "×", at_most=True, is_regression=True)


def no_gro() -> float:
    import veth

    with veth.two_namespaces() as ends:
        state = veth.STATES[-1]
        veth.set_offloads(ends, state)
        peers = [p for p in veth.peers(quick=False, state=state) if p.name in ("wraith B", "quinn")]
        figures = alternate(peers, veth.DATAGRAM_BYTES, 3, ends.prefix)
    rate = {name: statistics.median(f.mb_per_s for f in each) for name, each in figures.items()}
    return rate["quinn"] / rate["wraith B"]


def echo(verb: str, n: int) -> float:
    import latency

    ours, theirs = (
        statistics.median(latency.measure(script, verb, n)["ms"])
        for script in ("wraith_echo.py B", "aioquic_echo.py")
    )
    return float(ours / theirs)


def handshake() -> float:
    import handshake as subject

    middle = {
        party.name: statistics.median(subject.measure(party, 200).ms)
        for party in subject.parties()
        if party.name in ("wraith B", "quinn (classical)")
    }
    return middle["wraith B"] / middle["quinn (classical)"]


MEASURES: dict[str, Callable[[], float]] = {
    NO_GRO: no_gro,
    IDLE_ECHO: lambda: echo("echo", 2000),
    ECHO: lambda: echo("loaded", 500),
    HANDSHAKE: handshake,
}


def main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = {what: measure for what, measure in MEASURES.items() if word in what}
    if not chosen:
        print(f"no bound's name holds {word!r}: " + "; ".join(MEASURES))
        return 2
    kept = json.loads(FILE.read_text(encoding="utf-8"))["bounds"] if FILE.is_file() else {}
    bounds = {what: kept[what] for what in MEASURES if what in kept}
    for what, measure in chosen.items():
        if what == NO_GRO and os.geteuid() != 0:
            print(f"{what}: needs root")
            return 1
        sets = [round(measure(), 3) for _ in range(SETS)]
        bound = round(max(sets) * MARGIN, 3)
        bounds[what] = {"sets": sets, "bound": bound, "machine": machine()}
        print(f"{what}: {sets}, bound {bound}", flush=True)
    FILE.write_text(json.dumps({"bounds": bounds}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
