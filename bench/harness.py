"""What every benchmark shares: two processes, medians, and results that name their machine.

A *bulk peer* is a program with two verbs: ``recv [DATAGRAM]`` prints ``{"port": N}``, takes one
stream and prints ``{"bytes", "seconds", "cpu_s"}``; ``send PORT MIB DATAGRAM`` prints
``{"cpu_s"}``. Both use the address in ``BULK_HOST`` (127.0.0.1 without it). What is sent repeats
the file in ``BULK_BLOCK``; the receiver compares every byte and says ``"equal"``. A peer that does
not say so fails, but for the one that is marked as unchecked (raw UDP).
Peers of one table are run in turn (a, b, c, a, b, c, …), so that a noisy minute hurts all alike.
"""

from __future__ import annotations

import atexit
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PEERS = ROOT / "bench" / "peers"
BUILT = ROOT / "interop-bin"
TIMEOUT_S = 300
GIB = 1 << 30
MIB = 1 << 20


class PeerFailed(Exception):
    """A program ended badly or said nothing; the message is its last words."""


@dataclass(frozen=True)
class BulkPeer:
    """One line of a throughput table."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    mib: int = 256
    is_unchecked: bool = False
    """It compares nothing and may lose bytes: a limit, no peer."""

    @property
    def is_present(self) -> bool:
        return Path(self.command[0]).exists()


@dataclass(frozen=True)
class BulkFigure:
    """One run. CPU is that of both sides together, per GiB. ``tcp``: the congestion control of the
    receiver and of the sender, where they say so."""

    mb_per_s: float
    cpu_s_per_gib: float
    tcp: tuple[str, ...] = ()


_block: list[str] = []


def block_file() -> str:
    """The random bytes that bulk senders repeat; a prime number of them, made once."""
    if not _block:
        fd, path = tempfile.mkstemp(prefix="wraith-bench-block-")
        with os.fdopen(fd, "wb") as file:
            file.write(os.urandom(262_139))
        atexit.register(os.unlink, path)
        _block.append(path)
    return _block[0]


def with_block(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which both ends of a stream know what it consists of."""
    return {**os.environ, **(environment or {}), "BULK_BLOCK": block_file()}


def check_arrival(arrival: Mapping[str, Any], n_bytes: int | None) -> None:
    """All has arrived, and the receiver says that it compared it. ``None``: however much came.

    Raises:
        PeerFailed: not so.
    """
    came = int(arrival["bytes"])
    if n_bytes is not None and came != n_bytes:
        raise PeerFailed(f"{came} bytes arrived of {n_bytes}")
    if arrival.get("equal") is not True:
        why = "others than were sent" if "equal" in arrival else "compared by nobody"
        raise PeerFailed(f"the {came} bytes that arrived are {why}")


def python_peer(name: str, script: Path, mib: int, *options: str, **environment: str) -> BulkPeer:
    return BulkPeer(name, (sys.executable, str(script), *options), dict(environment), mib)


def run_bulk(
    peer: BulkPeer, datagram: int, prefix: Sequence[Sequence[str]] = ((), ())
) -> BulkFigure:
    """One transfer. ``prefix`` goes before the receiver's and the sender's command (namespaces).

    Raises:
        PeerFailed: with the last words of the side that failed, or what arrived is not what was
            sent, byte for byte.
    """
    environment = with_block(peer.environment)
    with started(
        [*prefix[0], *peer.command, "recv", str(datagram)], environment=environment
    ) as receiver:
        port = str(receiver.line()["port"])
        sent = finished(
            [*prefix[1], *peer.command, "send", port, str(peer.mib), str(datagram)],
            environment=environment,
        )
        arrival = receiver.line()
    if not peer.is_unchecked:
        check_arrival(arrival, peer.mib * MIB)
    cpu = float(arrival["cpu_s"]) + float(sent["cpu_s"])
    n_bytes = int(arrival["bytes"])
    tcp = tuple(str(side["tcp"]) for side in (arrival, sent) if side.get("tcp"))
    return BulkFigure(n_bytes / float(arrival["seconds"]) / 1e6, cpu * GIB / n_bytes, tcp)


def alternate(
    peers: Sequence[BulkPeer],
    datagram: int,
    runs: int,
    prefix: Sequence[Sequence[str]] = ((), ()),
    left_out: list[str] | None = None,
) -> dict[str, list[BulkFigure]]:
    """``runs`` transfers of each peer, in turn. One that is absent or fails is left out, and
    ``left_out`` says why."""
    figures: dict[str, list[BulkFigure]] = {}
    reasons: list[str] = [] if left_out is None else left_out
    present = [peer for peer in peers if peer.is_present]
    reasons += [f"{peer.name}: not built" for peer in peers if not peer.is_present]
    failed: set[str] = set()
    for _ in range(runs):
        for peer in present:
            if peer.name in failed:
                continue
            try:
                figure = run_bulk(peer, datagram, prefix)
            except PeerFailed as error:
                failed.add(peer.name)
                reasons.append(f"{peer.name}, {datagram}-byte datagrams: {error}")
                continue
            figures.setdefault(peer.name, []).append(figure)
            print(f"  {peer.name}: {figure.mb_per_s:.0f} MB/s", file=sys.stderr, flush=True)
    return figures


def medians(figures: Sequence[BulkFigure]) -> BulkFigure:
    return BulkFigure(
        statistics.median(f.mb_per_s for f in figures),
        statistics.median(f.cpu_s_per_gib for f in figures),
    )


def spread(values: Sequence[float]) -> str:
    """The lowest and the highest of single runs, for people."""
    low, high = min(values), max(values)
    digits = 0 if high >= 100 else 1 if high >= 10 else 2
    return f"{low:.{digits}f}–{high:.{digits}f}"


def singles(figures: Sequence[BulkFigure]) -> dict[str, object]:
    """Medians with every run behind them, for the JSON."""
    middle = medians(figures)
    return {
        "mb_per_s": middle.mb_per_s,
        "cpu_s_per_gib": middle.cpu_s_per_gib,
        "runs": len(figures),
        "all_mb_per_s": [round(f.mb_per_s, 1) for f in figures],
        "all_cpu_s_per_gib": [round(f.cpu_s_per_gib, 3) for f in figures],
    }


def rounded(runs: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Every single figure by name, for the JSON."""
    return {name: [round(value, 4) for value in values] for name, values in runs.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 … 1) of ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


# --- processes ------------------------------------------------------------------------------------


class Program:
    """A process that speaks JSON lines on stdout and takes lines on stdin."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> dict[str, Any]:
        """Its next line.

        Raises:
            PeerFailed: it ended instead.
        """
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            code = self.process.wait(timeout=10)
            raise PeerFailed(f"{Path(self.process.args[0]).name} ended with code {code}")  # type: ignore[arg-type,index]
        value: dict[str, Any] = json.loads(text)
        return value

    def ask(self, command: str) -> dict[str, Any]:
        """Writes a line, reads a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.line()


@contextmanager
def started(
    command: Sequence[str], *, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Program]:
    """A process that is stopped on the way out."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cwd,
    )
    try:
        yield Program(process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def finished(command: Sequence[str], *, environment: dict[str, str] | None = None) -> Any:
    """Runs to the end and returns the JSON of the last line of stdout.

    Raises:
        PeerFailed: a failure, silence, or more than ``TIMEOUT_S``.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, env=environment, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"{name} took more than {TIMEOUT_S} s") from None
    if done.returncode or not done.stdout.strip():
        words = done.stderr.strip().splitlines()
        raise PeerFailed(f"{name} ended with code {done.returncode}: {words[-1] if words else ''}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def cpu_of(pid: int) -> float:
    """CPU seconds of all live threads of a process, as the scheduler counts them."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def private_bytes(pid: int) -> int:
    """What a process has to itself: RssAnon and RssShmem."""
    total = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            total += int(line.split()[1]) * 1024
    return total


# --- results --------------------------------------------------------------------------------------


def save(name: str, result: dict[str, object]) -> Path:
    """Writes ``bench/results/NAME.json`` with the machine it was measured on."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n", encoding="utf-8")
    return path


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Plain columns, numbers to the right."""
    cells = [[str(c) for c in headers], *[[str(c) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]))
    return "\n".join(lines)
