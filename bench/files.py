"""Whole commands that move files between two processes on one host.

    python bench/files.py [--quick] [--only NAME]

A file of 1 GiB of random bytes and a folder of 3,000 files of 4 KiB, by ``wraith send`` and
``wraith receive`` and by the tools that people use today, each over loopback. The time is that of
the whole receiving command, interpreter, handshake, hashing and placing included, with the sender
ready and waiting; WRAITH's own figure (from connected to done) stands beside it. CPU is both sides.
What arrives is compared with what was sent by digest, outside the time. On the disk WRAITH makes
the file durable before it says done (fsync) and most others do not. Small files go to a file system
that was made a moment before, each run to its own: on one that has just lost ten thousand files the
first tool is fast and the next one slow. The order of the tools turns by one place from run to run.
The last table is in memory that is at hand (``populated.py``). Datagrams are Ethernet's (1472
bytes) unless the line says so: jumbo frames, and the largest that the loopback carries, which shows
how much of the time is not due to packets at all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import blake3
from file_tools import FileFigure, Tool, all_tools
from harness import GIB, MIB, PeerFailed, spread
from populated import populated
from report import Cell, Report

SHM = Path("/dev/shm")
PLAN_GBIT = 2.0
"""What the plan asks of version 2, for streams; files are held to it too."""
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


def picture(path: Path) -> tuple[int, str]:
    """How many files are under ``path``, and a digest of their names and contents."""
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    whole = blake3.blake3()
    for file in found:
        whole.update(str(file.relative_to(path.parent)).encode() + b"\0")
        whole.update(blake3.blake3(max_threads=2).update_mmap(file).digest())
    return len(found), whole.hexdigest()


def can_mount() -> bool:
    """Whether a file system of our own can be made and mounted here."""
    return os.geteuid() == 0 and all(map(shutil.which, ("mkfs.ext4", "mount", "umount")))


@contextmanager
def plain_folder(path: Path) -> Iterator[None]:
    """A new folder, gone afterwards."""
    path.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(path)


@contextmanager
def fresh_file_system(path: Path) -> Iterator[None]:
    """``path`` is the root of an ext4 of 1 GiB in a file, made for this one run."""
    image = path.with_suffix(".ext4")
    with image.open("wb") as file:
        file.truncate(GIB)
    path.mkdir()
    lazy = "lazy_itable_init=0,lazy_journal_init=0"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", lazy, str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=True)
    try:
        shutil.rmtree(path / "lost+found", ignore_errors=True)
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)
        path.rmdir()
        image.unlink()


def alternate(
    tools: Sequence[Tool],
    source: Path,
    work: Path,
    runs: int,
    left_out: list[str],
    place: Callable[[Path], AbstractContextManager[None]] = plain_folder,
) -> dict[str, list[FileFigure]]:
    """Each tool in turn, another one first in each run; what arrived is compared, then removed.
    ``place`` makes the folder that a transfer goes to."""
    expected = picture(source)
    figures: dict[str, list[FileFigure]] = {}
    with ExitStack() as stack:
        ready: list[Tool] = []
        for tool in tools:
            home = work / tool.name.replace(" ", "-")
            home.mkdir()
            try:
                stack.enter_context(tool.ready(home))
            except PeerFailed as error:
                left_out.append(f"{tool.name}: {error}")
            else:
                ready.append(tool)
        for i in range(runs):
            turn = i % max(len(ready), 1)
            for tool in [t for t in ready[turn:] + ready[:turn] if i < t.runs_full]:
                out = work / "out"
                with place(out):
                    os.sync()
                    try:
                        figure = tool.transfer(source, out, work / tool.name.replace(" ", "-"))
                        if picture(out / source.name) != expected:
                            raise PeerFailed("what arrived is not what was sent")
                    except (PeerFailed, FileNotFoundError) as error:
                        left_out.append(f"{tool.name}, {source.name}: {error}")
                        ready.remove(tool)
                    else:
                        figures.setdefault(tool.name, []).append(figure)
                        print(f"  {tool.name}: {figure.seconds:.2f} s", file=sys.stderr, flush=True)
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
        spread_s = spread([f.seconds for f in each])
        per_gib = cpu * GIB / n_bytes
        rows.append((name, seconds, spread_s, len(each), n_bytes / seconds / 1e6, rate, per_gib))
    headers = ("", "s", "lowest–highest", "n", "MB/s", "MB/s connected to done", "CPU-s/GiB")
    report.add(title, headers, rows)
    report.data[title] = {
        name: {
            "seconds": f.seconds,
            "cpu_s": f.cpu_s,
            "own_seconds": f.own_seconds,
            "all_seconds": [round(each.seconds, 3) for each in figures[name]],
            "all_cpu_s": [round(each.cpu_s, 3) for each in figures[name]],
            "all_own_seconds": [each.own_seconds for each in figures[name]],
        }
        for name, f in middle.items()
    }
    return middle


def run(*, quick: bool, only: str | None = None) -> Report:
    mounts = can_mount()
    small_place = (
        "an ext4 in a file that was made a moment before, each run to its own"
        if mounts
        else "a new folder of the disk (no file system of its own can be made here)"
    )
    report = Report(
        "files",
        "Files by whole commands",
        "Seconds from starting the receiving (or only) command until it has ended; CPU of both "
        "sides; random content, compared by digest afterwards. WRAITH hashes on both sides and "
        f"syncs to the disk. Small files go to {small_place}. The order of the tools turns by one "
        "place from run to run. The table in memory is measured, for all alike, in memory that the "
        "host of a virtual machine cannot take back between the runs (`bench/populated.py`).",
    )
    tools = [tool for tool in all_tools() if only is None or tool.name.startswith(only)]
    for tool in list(tools):
        why = tool.missing()
        if why is not None:
            report.left_out.append(f"{tool.name}: {why}")
            tools.remove(tool)
    mib, n_small, runs = (32, 300, 1) if quick else (1024, 3_000, 3)
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        source = random_file(Path(folder) / "large.bin", mib * MIB)
        work = Path(folder) / "large"
        work.mkdir()
        on_disk = [tool for tool in tools if not tool.in_memory_only]
        figures = alternate(on_disk, source, work, runs, report.left_out)
        middle = add_table(report, f"One file of {mib} MiB, disk", figures, mib * MIB)
        beside(report, "file on the disk", middle, ("sendme", "scp", "croc --no-compress"))
        source = small_files(Path(folder) / "many", n_small)
        work = Path(folder) / "small"
        work.mkdir()
        small = [tool for tool in on_disk if tool.for_small]
        report.left_out += [
            f"{tool.name}: many small files take it too long"
            for tool in on_disk
            if tool not in small
        ]
        place = fresh_file_system if mounts else plain_folder
        figures = alternate(small, source, work, runs, report.left_out, place)
        title = f"{n_small:,} files of 4 KiB, {'fresh ext4' if mounts else 'disk'}"
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
    for suite in "BA":
        ours = middle.get(f"wraith {suite}")
        if ours is not None and ours.own_seconds:
            rate = mib * MIB * 8 / ours.own_seconds / 1e9
            report.need(f"file, suite {suite}, connected to done", rate, PLAN_GBIT, "Gbit/s")
    beside(report, "file in memory", middle, ("sendme", "scp"))


def beside(report: Report, what: str, middle: dict[str, FileFigure], others: Sequence[str]) -> None:
    """Nobody is faster, neither beside the default (A) nor beside suite B."""
    for other in others:
        for suite in "AB":
            ours = middle.get(f"wraith {suite}")
            if other in middle and ours is not None:
                ratio = middle[other].seconds / ours.seconds
                report.need(f"{what}, {other}'s time to suite {suite}'s", ratio, 1.0, "×")


def main() -> None:
    parser = argparse.ArgumentParser(description="Files by whole commands")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="tools whose name begins so")
    arguments = parser.parse_args()
    print(run(quick=arguments.quick, only=arguments.only).text())


if __name__ == "__main__":
    main()
