"""What an earlier run left beside new data: time to the first new byte, and the rate of new data.

    python bench/kept.py [--quick]

A receiver is ended when 4 GiB of a folder have arrived; then it is started again and again and
ended each time after another 256 MiB. In turn: with the 4 GiB there, read again in the background
as by default; the same with ``--no-verify``, which reads nothing again; and into an empty folder.
One sender stays. Everything is the two commands with their defaults (suite A), over loopback, on
the disk; the source is sparse (zeros), what is received is not. What was kept a moment before is
still in the system's memory, so reading it again costs the processor and not the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cli_transfer import Watched
from harness import GIB, MIB, PEERS, TIMEOUT_S, PeerFailed, spread
from report import Cell, Report

FILE_MIB = 64
RUNS = 9
INTERRUPTED = 130
SLOWER_MOST = 1.2
RATE_LEAST = 0.8
KEPT, UNREAD, EMPTY = "kept data read again", "kept data, --no-verify", "nothing kept"


@dataclass(frozen=True)
class Figure:
    """One start of the receiver. ``command_s`` and ``dialled_s`` are to the first new byte on its
    way to the disk, from the start of the command and from dialling."""

    command_s: float
    dialled_s: float
    mb_per_s: float
    n_read_again: int
    was_reading: bool


def receive(code: str, out: Path, work: Path, n_bytes: int, *options: str) -> Figure:
    """Receives until ``n_bytes`` more are there.

    Raises:
        PeerFailed: it did not get so far.
    """
    place = work / "figures.json"
    place.unlink(missing_ok=True)
    script = (sys.executable, str(PEERS / "kept_receive.py"), str(n_bytes), str(place))
    words = ["--json", "-q", "--yes", "--out", str(out), *options, code]
    environment = {**os.environ, "WRAITH_HOME": str(work / "home-receiver")}
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*script, *words],
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"receive took more than {TIMEOUT_S} s") from None
    if done.returncode != INTERRUPTED or not place.exists():
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise PeerFailed(f"receive ended with code {done.returncode}: {''.join(last)[:300]}")
    found = json.loads(place.read_text())
    seconds = found["last"] - found["first"]
    return Figure(
        command_s=found["first"] - began,
        dialled_s=found["first"] - found["dialled"],
        mb_per_s=found["bytes"] / seconds / 1e6 if seconds else 0.0,
        n_read_again=found["reread"],
        was_reading=found["rereading"],
    )


def sparse_folder(path: Path, n_bytes: int) -> Path:
    """Files of zeros that take no room."""
    path.mkdir()
    for number in range(n_bytes // (FILE_MIB * MIB) or 1):
        with (path / f"{number:05}.bin").open("wb") as file:
            file.truncate(min(FILE_MIB * MIB, n_bytes))
    return path


def measured(work: Path, kept_bytes: int, new_bytes: int, runs: int) -> dict[str, list[Figure]]:
    """``runs`` starts of each kind in turn, beside one sender."""
    # Each run with kept data leaves what it received and what was under way when it was ended.
    source = sparse_folder(work / "source", kept_bytes + 4 * runs * new_bytes)
    words = ["send", "--json", "-q", "--listen", "127.0.0.1:0", "--new-code", str(source)]
    sender = Watched(words, work / "home-sender", {})
    figures: dict[str, list[Figure]] = {KEPT: [], UNREAD: [], EMPTY: []}
    try:
        code = str(sender.wait_event("waiting")["code"])
        kept, empty = work / "kept", work / "empty"
        receive(code, kept, work, kept_bytes)
        for _ in range(runs):
            for name, each in figures.items():
                out = empty if name == EMPTY else kept
                options = ["--no-verify"] if name == UNREAD else []
                each.append(receive(code, out, work, new_bytes, *options))
                print(
                    f"  {name}: {each[-1].command_s:.2f} s, {each[-1].mb_per_s:.0f} MB/s",
                    file=sys.stderr,
                    flush=True,
                )
                shutil.rmtree(empty, ignore_errors=True)
    finally:
        sender.close()
    return figures


def run(*, quick: bool) -> Report:
    kept_bytes, new_bytes, runs = (64 * MIB, 16 * MIB, 1) if quick else (4 * GIB, 256 * MIB, RUNS)
    size = f"{kept_bytes // GIB} GiB" if kept_bytes >= GIB else f"{kept_bytes // MIB} MiB"
    report = Report(
        "kept",
        "New data beside what an earlier run left",
        f"Receivers that are ended after {new_bytes // MIB} MiB of new data, in turn, "
        f"{runs} of each, with defaults (suite A), over loopback, on the disk: with {size} of "
        "an earlier run that are read again in the background, the same with --no-verify, and into "
        "an empty folder. Seconds are to the first new byte written. The source is sparse; the "
        "kept data are in the system's memory. A rate is from the first to the last new byte.",
    )
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        room = 2 * (kept_bytes + 4 * runs * new_bytes)
        if (free := shutil.disk_usage(folder).free) < room:
            why = f"{room / GIB:.0f} GiB of disk are needed, {free / GIB:.0f} are free"
            report.left_out.append(f"everything: {why}")
            return report
        try:
            figures = measured(Path(folder), kept_bytes, new_bytes, runs)
        except PeerFailed as error:
            report.left_out.append(f"everything: {error}")
            report.need("receivers that got so far", 0, 1)
            return report
    rows: list[tuple[Cell, ...]] = []
    middle: dict[str, tuple[float, float, float]] = {}
    for name, each in figures.items():
        command = [f.command_s for f in each]
        rates = [f.mb_per_s for f in each]
        dialled = [f.dialled_s for f in each]
        middle[name] = (
            statistics.median(command), statistics.median(dialled), statistics.median(rates),
        )  # fmt: skip
        rows.append(
            (
                name, middle[name][0], spread(command), middle[name][1], spread(dialled),
                middle[name][2], spread(rates), sum(f.was_reading for f in each),
            )
        )  # fmt: skip
        report.data[name] = [asdict(figure) for figure in each]
    headers = (
        "", "s from the command", "lowest–highest", "s from dialling", "lowest–highest",
        "MB/s of new data", "lowest–highest", "still reading at the end",
    )  # fmt: skip
    report.add(f"n = {runs}", headers, rows)
    # A person waits from the command on. What dialling alone takes is shown: reading the journal
    # of what is kept is most of it, and it grows with that.
    ratio = middle[KEPT][0] / middle[EMPTY][0]
    name = f"first new byte from the command, {size} kept to nothing kept"
    report.need(name, ratio, SLOWER_MOST, "×", at_most=True)
    ratio = middle[KEPT][2] / middle[UNREAD][2]
    report.need("rate of new data, reading again to --no-verify", ratio, RATE_LEAST, "×")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="New data beside what an earlier run left")
    parser.add_argument("--quick", action="store_true")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
