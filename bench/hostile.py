"""What an authenticated peer can make its victim work: each kind of frame beside packets in order.

    python bench/hostile.py [--quick]

Victim and attacker are separate processes over loopback; all packets are sealed before the first
is sent, the victim takes one datagram per read and answers as it must. Hostile and ordinary packets
have equal size and number and go through the same hot path. The figure is the victim's processor
time per packet. Then the memory of a transfer's machine under 200 MiB of each control message: a
legal flood must be taken to its end, a breach refused.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import MIB, PEERS, Program, rounded, started
from report import Cell, Report

from wraith.testing.control_floods import Flood, floods
from wraith.testing.grammar import IN_ORDER, KINDS, LARGE, LONE

HOT_PATHS = {"native": "", "python": "1"}
SMALL_KINDS = tuple(kind for kind in KINDS if kind not in LARGE)
WARM = 300
"""Packets before the clock runs: the victim has sent enough then for any acknowledgement."""
FULL_BYTES = 1_200
SMALL_BYTES = 199
LONE_BYTES = 33
FLOODS = "wraith.testing.control_floods"
FLOOD_BYTES = 200 * MIB
FLOOD_S = 900
MEMORY_LIMIT_MIB = 64.0
FULL_LIMIT = 20.0
SMALL_LIMIT = 3.0
Runs = dict[str, list[float]]
"""Microseconds of every run by kind."""


class Pair:
    """A victim and its attacker."""

    def __init__(self, victim: Program, attacker: Program) -> None:
        self._victim = victim
        self._attacker = attacker

    def microseconds(self, kind: str, size: int, n: int) -> float:
        """The victim's processor time for each of ``n`` packets of ``size`` bytes."""
        for program, line in (
            (self._victim, f"{WARM} {n}"),
            (self._attacker, f"{size} {WARM} {n} {kind}"),
        ):
            assert program.process.stdin is not None
            program.process.stdin.write(line + "\n")
            program.process.stdin.flush()
        self._attacker.line()
        found = self._victim.line()
        self._attacker.line()
        if found["closed"] is not None:
            raise RuntimeError(f"{kind}: the victim closed with 0x{found['closed']:04x}")
        return float(found["cpu_s"]) / n * 1e6


def rows_of(pair: Pair, n: int, runs: int) -> tuple[Runs, Runs]:
    """``runs`` by kind: of full packets and of small ones, in turn."""
    full: dict[str, list[float]] = {}
    small: dict[str, list[float]] = {}
    for _ in range(runs):
        for kind in (IN_ORDER, *KINDS):
            full.setdefault(kind, []).append(pair.microseconds(kind, FULL_BYTES, n))
        small.setdefault(LONE, []).append(pair.microseconds(LONE, LONE_BYTES, n))
        for kind in SMALL_KINDS:
            small.setdefault(kind, []).append(pair.microseconds(kind, SMALL_BYTES, n))
    return full, small


def run(*, quick: bool) -> Report:
    n, runs = (100, 1) if quick else (400, 3)
    report = Report(
        "hostile",
        "Hostile peers",
        f"The victim's processor time per packet, median of {runs} runs of {n} packets each: every "
        f"packet of {FULL_BYTES} bytes is filled with as many frames of its kind as the protocol "
        f"takes; beside it packets of the same size in order, one datagram per read. Packets of "
        f"{SMALL_BYTES} bytes stand beside a lone valid one of {LONE_BYTES}. Two processes over "
        "loopback, packets sealed before, suite B.",
    )
    for name, pure in HOT_PATHS.items():
        environment = {**os.environ, "WRAITH_PURE_PYTHON": pure}
        script = (sys.executable, str(PEERS / "hostile_pair.py"))
        with started((*script, "victim"), environment=environment) as victim:
            hello = victim.line()
            if hello["hotpath"] != name:
                report.left_out.append(f"{name}: this hot path is not here")
                continue
            command = (*script, "attacker", str(hello["port"]))
            with started(command, environment=environment) as attacker:
                full, small = rows_of(Pair(victim, attacker), n, runs)
        add(report, name, full, small)
    add_memory(report, quick=quick)
    return report


@dataclass(frozen=True)
class Outcome:
    """How a flood ended, in words, whether that is right, and the peak of memory if it is known."""

    words: str
    is_right: bool
    mib: float | None = None


def judged(flood: Flood, n_bytes: int, said: str, error: str) -> Outcome:
    """A legal flood is taken to its end; a breach is refused; both say what they took."""
    found = re.search(r"n_bytes=(\d+).*is_closed=(True|False)\) KiB above idle: (\d+)", said)
    if found is None:
        return Outcome(f"no result: {error.strip()[-200:]}", is_right=False)
    n_taken, is_closed, mib = int(found[1]), found[2] == "True", int(found[3]) / 1024
    if is_closed:
        return Outcome("closed", not flood.is_legal, mib)
    if flood.is_legal and n_taken >= n_bytes:
        return Outcome("", is_right=True, mib=mib)
    words = f"only {n_taken:,} bytes taken" if flood.is_legal else "not refused"
    return Outcome(words, is_right=False, mib=mib)


def drowned(flood: Flood, n_bytes: int) -> Outcome:
    """One flood in a process of its own."""
    command = [sys.executable, "-m", FLOODS, flood.name, str(n_bytes)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FLOOD_S)
    except subprocess.TimeoutExpired:
        return Outcome(f"not done after {FLOOD_S} s", is_right=False)
    return judged(flood, n_bytes, done.stdout, done.stderr)


def add_memory(report: Report, *, quick: bool) -> None:
    """Peak of memory of a transfer's machine under floods of control messages, as many at a time as
    there are cores: each has a process of its own, and its memory does not ask for the time."""
    n_bytes = 4 * MIB if quick else FLOOD_BYTES
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ends = list(pool.map(lambda flood: drowned(flood, n_bytes), floods()))
    outcomes = list(zip(floods(), ends, strict=True))
    rows: list[tuple[Cell, ...]] = [
        (flood.name, flood.victim, "legal" if flood.is_legal else "a breach", end.words, end.mib)
        for flood, end in outcomes
    ]
    report.add(
        f"{n_bytes // MIB} MiB of one control message of a transfer",
        ("", "victim", "flood", "", "peak MiB above idle"),
        rows,
    )
    n_right = sum(end.is_right for _, end in outcomes)
    report.need("floods taken whole if legal, refused if not", n_right, len(outcomes))
    report.data["floods"] = {flood.name: asdict(end) for flood, end in outcomes}
    known = [end.mib for _, end in outcomes if end.mib is not None]
    if known:
        report.need("peak memory, worst flood", max(known), MEMORY_LIMIT_MIB, "MiB", at_most=True)


def add(report: Report, name: str, all_full: Runs, all_small: Runs) -> None:
    full = {kind: statistics.median(found) for kind, found in all_full.items()}
    small = {kind: statistics.median(found) for kind, found in all_small.items()}
    in_order, lone = full[IN_ORDER], small[LONE]
    rows: list[tuple[Cell, ...]] = [
        (IN_ORDER, in_order, 1.0, None, None),
        (f"{LONE}, {LONE_BYTES} bytes", None, None, lone, 1.0),
    ]
    rows += [
        (
            kind,
            full[kind],
            full[kind] / in_order,
            small.get(kind),
            small[kind] / lone if kind in small else None,
        )
        for kind in KINDS
    ]
    report.add(
        f"Hot path: {name}",
        ("", f"{FULL_BYTES} bytes: µs", "times in order", f"{SMALL_BYTES} bytes: µs", "times lone"),
        rows,
    )
    worst = max(KINDS, key=lambda kind: full[kind])
    worst_small = max(SMALL_KINDS, key=lambda kind: small[kind])
    report.need(
        f"worst kind ({worst}), {name}", full[worst] / in_order, FULL_LIMIT, "times", at_most=True
    )
    report.need(
        f"worst small packet ({worst_small}), {name}",
        small[worst_small] / lone, SMALL_LIMIT, "times", at_most=True,
    )  # fmt: skip
    report.data[name] = {
        "full_us": full,
        "small_us": small,
        "all_full_us": rounded(all_full),
        "all_small_us": rounded(all_small),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Work per packet of a hostile peer")
    parser.add_argument("--quick", action="store_true")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
