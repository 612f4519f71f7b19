"""Whole commands that move files between two processes on one host.

    python bench/files.py [--quick] [--only NAME]

A file of 1 GiB of random bytes and a folder of 10,000 files of 4 KiB, by ``wraith send`` and
``wraith receive`` and by the tools that people use today, each over loopback. The time is that of
the whole receiving command, interpreter, handshake, hashing and placing included; WRAITH's own
figure (from connected to done) stands beside it. CPU is both sides. On the disk WRAITH makes the
file durable before it says done (fsync) and most others do not; the last table is in memory that
is at hand (``populated.py``). Its datagrams are Ethernet's (1472 bytes) unless the line says so:
jumbo frames, and the largest that the loopback carries, which shows how much of the time is not
due to packets at all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from file_tools import FileFigure, Tool, all_tools
from harness import GIB, MIB, PeerFailed
from populated import populated
from report import Cell, Report

SHM = Path("/dev/shm")
FAST = ("wraith A", "wraith B", "sendme", "scp", "rsync over ssh", "cp (limit)")
SMALL_BYTES = 4096


def random_file(path: Path, n_bytes: int) -> Path:
    with path.open("wb") as file:
        for _ in range(n_bytes // MIB):
            file.write(os.urandom(MIB))
    return path


def small_files(folder: Path, n: int) -> Path:
    for i in range(n):
        if i % 100 == 0:
            part = folder / f"{i // 100:03}"
            part.mkdir(parents=True)
        (part / f"{i:05}.bin").write_bytes(os.urandom(SMALL_BYTES))
    return folder


def sizes(path: Path) -> tuple[int, int]:
    """``(files, bytes)`` under ``path``."""
    found = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return len(found), sum(p.stat().st_size for p in found)


def alternate(
    tools: Sequence[Tool], source: Path, work: Path, runs: int, left_out: list[str]
) -> dict[str, list[FileFigure]]:
    """Each tool in turn; what arrived is counted, then removed."""
    expected = sizes(source)
    figures: dict[str, list[FileFigure]] = {}
    with ExitStack() as stack:
        ready: list[Tool] = []
        for tool in tools:
            place = work / tool.name.replace(" ", "-")
            place.mkdir()
            try:
                stack.enter_context(tool.ready(place))
            except PeerFailed as error:
                left_out.append(f"{tool.name}: {error}")
            else:
                ready.append(tool)
        for i in range(runs):
            for tool in [t for t in ready if i < t.runs_full]:
                out = work / "out"
                out.mkdir()
                os.sync()
                try:
                    figure = tool.transfer(source, out, work / tool.name.replace(" ", "-"))
                    if sizes(out / source.name) != expected:
                        raise PeerFailed(f"{sizes(out)} arrived instead of {expected}")
                except (PeerFailed, FileNotFoundError) as error:
                    left_out.append(f"{tool.name}, {source.name}: {error}")
                    ready.remove(tool)
                else:
                    figures.setdefault(tool.name, []).append(figure)
                    print(f"  {tool.name}: {figure.seconds:.2f} s", file=sys.stderr, flush=True)
                shutil.rmtree(out)
    return figures


def add_table(
    report: Report, title: str, figures: dict[str, list[FileFigure]], n_bytes: int
) -> dict[str, FileFigure]:
    middle: dict[str, FileFigure] = {}
    rows: list[tuple[Cell, ...]] = []
    for name, each in figures.items():
        seconds = statistics.median(f.seconds for f in each)
        cpu = statistics.median(f.cpu_s for f in each)
        own = [f.own_seconds for f in each if f.own_seconds is not None]
        figure = middle[name] = FileFigure(seconds, cpu, statistics.median(own) if own else None)
        rate = n_bytes / figure.own_seconds / 1e6 if figure.own_seconds else None
        rows.append((name, seconds, n_bytes / seconds / 1e6, rate, cpu, cpu * GIB / n_bytes))
    headers = ("", "s", "MB/s", "MB/s connected to done", "CPU-s", "CPU-s/GiB")
    report.add(title, headers, rows)
    report.data[title] = {
        name: {"seconds": f.seconds, "cpu_s": f.cpu_s, "own_seconds": f.own_seconds}
        for name, f in middle.items()
    }
    return middle


def run(*, quick: bool, only: str | None = None) -> Report:
    report = Report(
        "files",
        "Files by whole commands",
        "Seconds from starting the receiving (or only) command until it has ended; CPU of both "
        "sides; random content. WRAITH hashes on both sides and syncs to the disk. The table in "
        "memory is measured, for all alike, in memory that the host of a virtual machine cannot "
        "take back between the runs (`bench/populated.py`).",
    )
    tools = [tool for tool in all_tools() if only is None or tool.name.startswith(only)]
    for tool in list(tools):
        why = tool.missing()
        if why is not None:
            report.left_out.append(f"{tool.name}: {why}")
            tools.remove(tool)
    mib, n_small, runs = (32, 500, 1) if quick else (1024, 10_000, 3)
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        source = random_file(Path(folder) / "large.bin", mib * MIB)
        work = Path(folder) / "large"
        work.mkdir()
        on_disk = [tool for tool in tools if not tool.in_memory_only]
        figures = alternate(on_disk, source, work, runs, report.left_out)
        middle = add_table(report, f"One file of {mib} MiB, disk", figures, mib * MIB)
        for other in ("sendme", "scp", "croc"):
            if other in middle and "wraith B" in middle:
                ratio = middle[other].seconds / middle["wraith B"].seconds
                report.need(f"file on the disk, {other}'s time to suite B's", ratio, 1.0, "×")
        source = small_files(Path(folder) / "many", n_small)
        work = Path(folder) / "small"
        work.mkdir()
        figures = alternate(on_disk, source, work, 1, report.left_out)
        title = f"{n_small:,} files of 4 KiB, disk"
        add_table(report, title, figures, n_small * SMALL_BYTES)
    if SHM.is_dir() and shutil.disk_usage(SHM).free > 4 * mib * MIB:
        fast = [t for t in tools if t.name in FAST or t.in_memory_only]
        in_memory(report, fast, mib, runs)
    else:
        report.left_out.append(f"in memory: not enough room in {SHM}")
    return report


def in_memory(report: Report, tools: list[Tool], mib: int, runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="wraith-bench-", dir=SHM) as folder:
        source = random_file(Path(folder) / "large.bin", mib * MIB)
        work = Path(folder) / "work"
        work.mkdir()
        with populated(3 * mib * MIB) as is_at_hand:
            figures = alternate(tools, source, work, runs, report.left_out)
    if not is_at_hand:
        report.left_out.append("keeping memory at hand: too little of it is free")
    middle = add_table(report, f"One file of {mib} MiB, in memory", figures, mib * MIB)
    for suite, gbit in (("B", 6.0), ("A", 4.0)):
        ours = middle.get(f"wraith {suite}")
        if ours is not None and ours.own_seconds:
            rate = mib * MIB * 8 / ours.own_seconds / 1e9
            report.need(f"file, suite {suite}, connected to done", rate, gbit, "Gbit/s")
    for other in ("sendme", "scp"):
        if other in middle and "wraith B" in middle:
            ratio = middle[other].seconds / middle["wraith B"].seconds
            report.need(f"file in memory, {other}'s time to suite B's", ratio, 1.0, "×")


def main() -> None:
    parser = argparse.ArgumentParser(description="Files by whole commands")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="tools whose name begins so")
    arguments = parser.parse_args()
    print(run(quick=arguments.quick, only=arguments.only).text())


if __name__ == "__main__":
    main()
