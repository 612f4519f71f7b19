"""Memory: of an idle session, and of the commands while they move a file far larger than memory.

    python bench/memory.py [--quick] [--gib N]

What is counted is RssAnon + RssShmem, what a process has to itself. Idle sessions: one process a
side holds 500, then 1,000, then 10,000 sessions; the figure per session is what the process grew
since it held none, two seconds after the last handshake. Files: a sparse file by ``wraith send``
and ``wraith receive``, looked at 50 times a second.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cli_transfer import cli_transfer
from harness import GIB, PEERS, PeerFailed, private_bytes, started
from report import Cell, Report

SETTLE_S = 2.0
SCRIPT = (sys.executable, str(PEERS / "wraith_sessions.py"))


def idle_sessions(report: Report, counts: tuple[int, ...]) -> None:
    rows: list[tuple[Cell, ...]] = []
    try:
        with started((*SCRIPT, "serve")) as server:
            code = str(server.line()["port"])
            with started((*SCRIPT, "dial", code)) as client:
                client.ask("open 10")  # what is loaded with the first handshakes is not a session's
                base = {p.pid: private_bytes(p.pid) for p in (server, client)}
                for n in counts:
                    opened = client.ask(f"open {n}")
                    time.sleep(SETTLE_S)
                    each = [
                        (private_bytes(p.pid) - base[p.pid]) / (n - 10) / 1000
                        for p in (server, client)
                    ]
                    rows.append((f"{n:,} sessions", *each, opened["open"], opened["seconds"]))
                    report.data[f"idle {n}"] = {"responder_kb": each[0], "initiator_kb": each[1]}
                    sides = ("responder", "initiator with an endpoint of its own")
                    for bound in (100, 50):
                        for side, kilobytes in zip(sides, each, strict=True):
                            what = f"idle session, {n:,} in one process, {side}"
                            report.need(what, kilobytes, bound, "KB", at_most=True)
    except PeerFailed as error:
        report.left_out.append(f"idle sessions beyond {len(rows)} steps: {error}")
    report.add(
        "Idle sessions",
        ("", "responder KB each", "initiator KB each", "still open", "s to open"),
        rows,
    )


def large_file(report: Report, gib: float) -> None:
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        free = shutil.disk_usage(folder).free
        if free < (gib + 1) * GIB:
            report.left_out.append(f"{gib:g} GiB file: only {free / GIB:.0f} GiB free")
            return
        source = Path(folder) / "sparse.bin"
        with source.open("wb") as file:
            file.truncate(int(gib * GIB))
        try:
            figure = cli_transfer(source, Path(folder) / "work")
        except PeerFailed as error:
            report.left_out.append(f"{gib:g} GiB file: {error}")
            return
    sides = (("send", figure.send), ("receive", figure.receive))
    report.add(
        f"A sparse file of {gib:g} GiB",
        ("", "peak MB", "CPU s"),
        [(f"wraith {name}", side.peak_bytes / 1e6, side.cpu_s) for name, side in sides],
    )
    report.data["file"] = {"gib": gib, "seconds": figure.seconds}
    for name, side in sides:
        report.need(f"wraith {name}, {gib:g} GiB", side.peak_bytes / 1e6, 150, "MB", at_most=True)


def run(*, quick: bool, gib: float | None = None) -> Report:
    report = Report(
        "memory",
        "Memory",
        "RssAnon + RssShmem of each process, suite B. The responder's budgets against strangers "
        "are raised for the sessions.",
    )
    idle_sessions(report, (100, 200) if quick else (500, 1_000, 10_000))
    large_file(report, gib if gib is not None else 0.25 if quick else 10)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of sessions and of large files")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--gib", type=float, help="size of the file")
    arguments = parser.parse_args()
    print(run(quick=arguments.quick, gib=arguments.gib).text())


if __name__ == "__main__":
    main()
