"""What a flood of garbage at the port costs a transfer that is under way.

    python bench/flood.py [--quick] [--runs N]

Loopback, suite B. Beside each transfer a process throws single datagrams of 1,200 random bytes at
the listening port, from another address, at a steady rate. A stream goes *into* the flooded port
(its packets share the receive buffer with the garbage), a file comes *out of* it (its
acknowledgements do). Runs without a flood, with 10,000 and with 30,000 datagrams a second
alternate; the ratio is that of the medians. The thrower's processor time is shown: on two cores it
is taken from the transfer too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cli_transfer import cli_transfer
from harness import MIB, PEERS, PeerFailed, check_arrival, finished, started, with_block
from report import Cell, Report

from wraith.node.codes import text_to_record

RATES = (0, 10_000, 30_000)
BOUND_RATE = 10_000
LEAST_RATIO = 0.5
STREAM_MIB = 1024
FILE_MIB = 1024
FLOOD_S = 60


class Thrower:
    """Throws until the block is left; then it knows how many it sent a second, and its CPU."""

    def __init__(self, port: int, rate: int) -> None:
        command = (sys.executable, str(PEERS / "garbage.py"), str(port), str(rate), str(FLOOD_S))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.per_s = 0.0
        self.cpu = 0.0

    def stop(self) -> None:
        said, _ = self.process.communicate(timeout=10)  # closes its stdin: it ends
        report = json.loads(said)
        self.per_s = report["sent"] / report["seconds"]
        self.cpu = report["cpu_s"] / report["seconds"]


@contextmanager
def thrown(port: int, rate: int) -> Iterator[Thrower | None]:
    """A flood of ``rate`` datagrams a second while the block runs; none for 0."""
    if not rate:
        yield None
        return
    thrower = Thrower(port, rate)
    try:
        time.sleep(0.3)
        yield thrower
        thrower.stop()
    finally:
        thrower.process.kill()
        thrower.process.wait()


def stream_into(rate: int, mib: int) -> tuple[float, Thrower | None]:
    """MB/s of one stream into the flooded port."""
    base = (sys.executable, str(PEERS / "wraith_bulk.py"), "--suite", "B")
    environment = with_block()
    with started([*base, "recv", "1400"], environment=environment) as receiver:
        code = str(receiver.line()["port"])
        with thrown(text_to_record(code).addresses[0].port, rate) as thrower:
            finished([*base, "send", code, str(mib), "1400"], environment=environment)
            arrival = receiver.line()
    check_arrival(arrival, mib * MIB)
    return int(arrival["bytes"]) / float(arrival["seconds"]) / 1e6, thrower


def file_out_of(rate: int, mib: int) -> tuple[float, Thrower | None]:
    """MB/s of one file out of the flooded port, by the two commands, connected to done."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="wraith-flood-", dir=memory))
    try:
        source = folder / "file"
        with source.open("wb") as file:
            file.truncate(mib * MIB)
        with thrown(port, rate) as thrower:
            figure = cli_transfer(source, folder, port=port)
        if figure.n_bytes != mib * MIB:
            raise PeerFailed(f"{figure.n_bytes} bytes arrived of {mib * MIB}")
    finally:
        shutil.rmtree(folder)
    return figure.n_bytes / figure.seconds / 1e6, thrower


def run(*, quick: bool, runs: int = 5) -> Report:
    """The subject ``flood`` of the suite."""
    report = Report(
        "flood",
        "A flood of garbage",
        "Loopback, suite B, single datagrams of 1,200 random bytes at the listening port; medians "
        "of alternating runs. Every byte of the stream is compared; the file is hashed by the "
        "transfer.",
    )
    runs, share = (1, 8) if quick else (runs, 1)
    for title, transfer, mib in (
        ("A stream into the flooded port", stream_into, STREAM_MIB // share),
        ("A file out of the flooded port", file_out_of, FILE_MIB // share),
    ):
        speeds: dict[int, list[float]] = {rate: [] for rate in RATES}
        throwers: dict[int, list[Thrower]] = {rate: [] for rate in RATES}
        for _ in range(runs):
            for rate in RATES:
                speed, thrower = transfer(rate, mib)
                speeds[rate].append(speed)
                if thrower is not None:
                    throwers[rate].append(thrower)
                print(f"  {title}, {rate}/s: {speed:.0f} MB/s", file=sys.stderr, flush=True)
        quiet = statistics.median(speeds[0])
        rows: list[tuple[Cell, ...]] = []
        for rate in RATES:
            median, thrown_by = statistics.median(speeds[rate]), throwers[rate]
            rows.append(
                (
                    f"{rate:,} a second" if rate else "no flood",
                    median,
                    median / quiet,
                    statistics.median(t.per_s for t in thrown_by) if thrown_by else None,
                    statistics.median(t.cpu for t in thrown_by) if thrown_by else None,
                )
            )
            report.data[f"{title}, {rate}"] = {"mb_per_s": speeds[rate]}
            if rate == BOUND_RATE:
                what = f"{title.lower()}, {rate:,} a second, of the rate without"
                report.need(what, median / quiet, LEAST_RATIO)
        report.add(title, ("", "MB/s", "ratio", "thrown a second", "cores of the thrower"), rows)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="A garbage flood beside a transfer")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(run(quick=options.quick, runs=options.runs).text())


if __name__ == "__main__":
    main()
