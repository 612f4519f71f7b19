"""Packets that overtake each other, and loss on a LAN: one stream beside the kernel's TCP.

    python bench/reorder.py [--quick] [--case NAME]... [--runs N] [--seconds S]
    python bench/reorder.py --validate-only [--into bench/results/reorder.json]

Two network namespaces joined by an emulated link (``native/link``), both directions alike. One
stream of a session (``wraith.connect`` and ``wraith.listen`` as they come, no option set), then one
TCP connection with CUBIC, in turn, each pair with the same seed of the link. The figure is the
payload that arrives in the given time from its first byte on. Before anything is compared the link
itself is measured: rate by UDP and by TCP, round-trip time by an echo. From the echo's time that of
the same echo over the same link without delay is taken away, so that what is left is the error of
the delay and not the scheduling of the processes. Where the link misses a bound, the report says
that it was not valid. ``--validate-only`` measures the link alone, in a minute instead of 45;
``--into`` puts that in the place of the link's rows in a result that is there. Needs root, ``ip``,
``/dev/net/tun`` and ``tools/build-link.sh``; without them the subject is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from emulated_link import RECEIVER, Ends, LinkPath, joined, missing, two_namespaces
from harness import PEERS, PeerFailed, check_arrival, finished, percentile, started, with_block
from machine import machine
from report import Cell, Report, report_of

SCRIPT = (sys.executable, str(PEERS / "timed_bulk.py"))
WIDE = LinkPath(rate_mbit=20, delay_ms=20, queue_bytes=100_000)
LAN = LinkPath(rate_mbit=100, delay_ms=0.2, queue_bytes=256_000)
VALID = LinkPath(rate_mbit=100, delay_ms=20, queue_bytes=500_000)
LINK_TITLE = "The link itself"
LINK_BOUND = "the link: "
NOT_VALID = (
    " **The link was not valid**: it missed a bound of its own, so nothing measured on it counts."
)
APART = " The link itself was measured apart from the streams,"
TCP_SHARE = 1448 / 1500
"""Payload of a full TCP segment with time stamps, of the IP packet that the link counts."""


@dataclass(frozen=True)
class Case:
    """A path, and which part of TCP's rate must be reached on it (``None``: shown only)."""

    name: str
    path: LinkPath
    least: float | None


def like(path: LinkPath, **changes: float) -> LinkPath:
    return LinkPath(**{**vars(path), **changes})


CASES = (
    Case("clean", WIDE, None),
    Case("0.5 % late", like(WIDE, late=0.005, late_min_ms=2, late_max_ms=22), 0.9),
    Case("5 % late", like(WIDE, late=0.05, late_min_ms=2, late_max_ms=22), 0.9),
    Case("5 ms jitter", like(WIDE, jitter_ms=5), 0.9),
    Case("20 ms jitter", like(WIDE, jitter_ms=20), 0.8),
    Case("LAN, 1 % loss", like(LAN, loss=0.01), 0.5),
)


@dataclass(frozen=True)
class Run:
    """One stream over the link."""

    mbit_per_s: float
    cpu_s: float
    per_second: list[float]
    sent: dict[str, float]
    link: dict[str, dict[str, int]]


def one_run(
    ends: Ends, path: LinkPath, kind: str, seconds: float, seed: int, **environment: str
) -> Run:
    environment = with_block({"BULK_HOST": RECEIVER, **environment})
    with joined(ends, path, seed) as link:
        receive = [*ends.prefix[0], *SCRIPT, kind, "recv", str(seconds)]
        with started(receive, environment=environment) as receiver:
            port = str(receiver.line()["port"])
            send = [*ends.prefix[1], *SCRIPT, kind, "send", port, str(seconds)]
            sent = finished(send, environment=environment)
            arrival = receiver.line()
    if kind != "udp":
        check_arrival(arrival, None)
    rate = arrival["bytes"] * 8 / arrival["seconds"] / 1e6
    per_second = [n_bytes * 8 / 1e6 for n_bytes in arrival["per_second"]]
    return Run(rate, arrival["cpu_s"] + sent.pop("cpu_s"), per_second, sent, link.counts)


def round_trips(ends: Ends, path: LinkPath, n: int) -> list[float]:
    """Milliseconds of ``n`` echoes over the link."""
    environment = {**os.environ, "BULK_HOST": RECEIVER}
    with (
        joined(ends, path, 1),
        started([*ends.prefix[0], *SCRIPT, "echo", "serve"], environment=environment) as server,
    ):
        port = str(server.line()["port"])
        answer = finished([*ends.prefix[1], *SCRIPT, "echo", port, str(n)], environment=environment)
    times: list[float] = answer["ms"]
    return times


def validate(report: Report, ends: Ends, *, quick: bool) -> None:
    """The link does what it says, or nothing measured on it counts."""
    seconds, begin = (3.0, 1) if quick else (12.0, 2)  # TCP's slow start says nothing of the link
    udp = one_run(ends, VALID, "udp", seconds, 1).mbit_per_s / VALID.rate_mbit
    tcp = statistics.mean(one_run(ends, VALID, "tcp", seconds, 1).per_second[begin:])
    tcp_share = tcp / TCP_SHARE / VALID.rate_mbit
    rows: list[tuple[Cell, ...]] = [
        ("UDP, IP bytes, % of the rate", udp * 100),
        ("TCP, IP bytes, % of the rate", tcp_share * 100),
    ]
    report.need(f"{LINK_BOUND}UDP at 100 Mbit/s", udp * 100, 95, "%")
    report.need(f"{LINK_BOUND}TCP at 100 Mbit/s", tcp_share * 100, 95, "%")
    for path in (WIDE, LAN):
        delayed, plain = echoes(ends, path, 50 if quick else 500)
        due = 2 * path.delay_ms
        report.data[f"the link, {due:g} ms"] = {"ms": delayed, "ms_without_delay": plain}
        for what, share, most in (("median", 0.5, 0.5), ("P99", 0.99, 2.0)):
            there, without = percentile(delayed, share), percentile(plain, share)
            error = there - without - due
            rows += [
                (f"echo, delays of {due:g} ms: {what}, ms", there),
                (f"echo, the same link without delay: {what}, ms", without),
                (f"error of {due:g} ms: {what}, ms", error),
            ]
            name = f"{LINK_BOUND}error of a round trip of {due:g} ms, {what}"
            # A median may miss both ways; a P99 below due had a late wake-up without delay.
            error = abs(error) if what == "median" else error
            report.need(name, error, most, "ms", at_most=True)
    report.add(LINK_TITLE, ("", "measured"), rows)
    mark(report)


def echoes(ends: Ends, path: LinkPath, n: int) -> tuple[list[float], list[float]]:
    """Milliseconds of ``n`` echoes over the path and of ``n`` over it without delay, in turn."""
    delayed: list[float] = []
    plain: list[float] = []
    for _ in range(2):
        plain += round_trips(ends, like(path, delay_ms=0), n // 2)
        delayed += round_trips(ends, path, n // 2)
    return delayed, plain


def mark(report: Report) -> None:
    """Says in the report that the link was not valid, where that is so."""
    report.how = report.how.replace(NOT_VALID, "")
    if any(b.what.startswith(LINK_BOUND) and not b.is_met for b in report.bounds):
        report.how += NOT_VALID


def merged(saved: dict[str, Any], link: Report, where: dict[str, object]) -> dict[str, Any]:
    """A saved result with the link's rows, bounds and figures of ``link``; nothing else changes.
    ``where`` is the machine that ``link`` was measured by."""
    report = report_of(saved)
    report.tables = link.tables + [t for t in report.tables if t.title != LINK_TITLE]
    report.bounds = link.bounds + [b for b in report.bounds if not b.what.startswith(LINK_BOUND)]
    report.data |= link.data | {"the link was measured by": where}
    report.how = report.how.partition(APART)[0] + f"{APART} at {where['time']}."
    mark(report)
    return {"machine": saved["machine"], **asdict(report)}


def compare(report: Report, ends: Ends, case: Case, runs: int, seconds: float) -> tuple[Cell, ...]:
    """``runs`` streams of each kind in turn; a row of the table."""
    figures: dict[str, list[Run]] = {"wraith": [], "tcp": []}
    for seed in range(1, runs + 1):
        for kind, each in figures.items():
            run = one_run(ends, case.path, kind, seconds, seed)
            each.append(run)
            print(
                f"  {case.name}, {kind}: {run.mbit_per_s:.1f} Mbit/s", file=sys.stderr, flush=True
            )
    ours, theirs = ([run.mbit_per_s for run in figures[kind]] for kind in ("wraith", "tcp"))
    ratio = statistics.median(ours) / statistics.median(theirs)
    if case.least is not None:
        report.need(f"{case.name}, to TCP", ratio, case.least, "×")
    report.data[case.name] = {
        "load": os.getloadavg()[0],
        "path": vars(case.path),
        **{kind: [vars(run) for run in each] for kind, each in figures.items()},
    }
    return (
        case.name,
        statistics.median(ours),
        f"{min(ours):.1f} to {max(ours):.1f}",
        statistics.median(theirs),
        f"{min(theirs):.1f} to {max(theirs):.1f}",
        ratio,
        statistics.median(run.cpu_s for run in figures["wraith"]) / seconds * 100,
    )


def run(
    *,
    quick: bool,
    cases: list[str] | None = None,
    runs: int = 5,
    seconds: float = 40.0,
    only_link: bool = False,
) -> Report:
    runs, seconds = (1, 3.0) if quick else (runs, seconds)
    report = Report(
        "reorder",
        "Packets that overtake each other, and loss on a LAN",
        "Two namespaces joined by an emulated link (native/link), both directions alike: 20 "
        "Mbit/s, 40 ms, a queue of 100,000 bytes; some packets 2 to 22 ms late, or every packet up "
        "to 5 or 20 ms later; LAN: 100 Mbit/s, 0.4 ms, 256,000 bytes, 1 % lost. One session stream "
        f"with all defaults, then kernel TCP with CUBIC, in turn, {runs} runs of {seconds:.0f} s "
        "each; payload over time from the first byte on, every byte compared.",
    )
    if lacks := missing():
        report.left_out.append(f"everything: {', '.join(lacks)}")
        return report
    rows: list[tuple[Cell, ...]] = []
    try:
        with two_namespaces() as ends:
            validate(report, ends, quick=quick)
            for case in () if only_link else CASES:
                if cases and case.name not in cases:
                    continue
                try:
                    rows.append(compare(report, ends, case, runs, seconds))
                except PeerFailed as error:
                    report.left_out.append(f"{case.name}: {error}")
    except PeerFailed as error:
        report.left_out.append(f"everything: {error}")
    except subprocess.CalledProcessError as error:
        report.left_out.append(f"everything: {' '.join(error.cmd[:4])}: {error.stderr.strip()}")
    headers = (
        "", "wraith, Mbit/s", "least to most", "TCP CUBIC, Mbit/s", "least to most", "× TCP",
        "CPU of both sides, %",
    )  # fmt: skip
    if not only_link:
        report.add("One stream", headers, rows)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Reordering and loss beside the kernel's TCP")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--validate-only", action="store_true", help="measure the link alone")
    parser.add_argument("--into", type=Path, metavar="FILE", help="with it: replace the link there")
    options = parser.parse_args()
    if options.into and not options.validate_only:
        parser.error("--into needs --validate-only")
    report = run(
        quick=options.quick,
        cases=options.case,
        runs=options.runs,
        seconds=options.seconds,
        only_link=options.validate_only,
    )
    print(report.text())
    if options.into and not report.left_out:
        saved = json.loads(options.into.read_text(encoding="utf-8"))
        text = json.dumps(merged(saved, report, machine()), indent=1)
        options.into.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
