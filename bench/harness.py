"""What every benchmark shares: two processes, medians, and results that name their machine.

A *bulk peer* is a program with two verbs: ``recv [DATAGRAM]`` prints ``{"port": N}``, takes one
stream and prints ``{"bytes", "seconds", "cpu_s"}``; ``send PORT MIB DATAGRAM`` prints
``{"cpu_s"}``.
Peers of one table are run in turn (a, b, c, a, b, c, …), so that a noisy minute hurts all alike.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PEERS = ROOT / "bench" / "peers"
BUILT = ROOT / "interop-bin"
TIMEOUT_S = 300


@dataclass(frozen=True)
class BulkPeer:
    """One line of a throughput table."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    mib: int = 256

    @property
    def is_present(self) -> bool:
        return Path(self.command[0]).exists()


@dataclass(frozen=True)
class BulkFigure:
    """One run. CPU is that of both sides together, per GiB."""

    mb_per_s: float
    cpu_s_per_gib: float


def python_peer(name: str, script: Path, mib: int, *options: str, **environment: str) -> BulkPeer:
    return BulkPeer(name, (sys.executable, str(script), *options), dict(environment), mib)


def run_bulk(
    peer: BulkPeer, datagram: int, prefix: Sequence[Sequence[str]] = ((), ())
) -> BulkFigure:
    """One transfer. ``prefix`` goes before the receiver's and the sender's command (namespaces)."""
    environment = {**os.environ, **peer.environment}
    receiver = subprocess.Popen(
        [*prefix[0], *peer.command, "recv", str(datagram)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert receiver.stdout is not None
        port = json.loads(receiver.stdout.readline())["port"]
        sent = subprocess.run(
            [*prefix[1], *peer.command, "send", str(port), str(peer.mib), str(datagram)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            timeout=TIMEOUT_S,
            check=True,
        )
        received, _ = receiver.communicate(timeout=TIMEOUT_S)
    finally:
        receiver.kill()
    arrival = json.loads(received.strip().splitlines()[-1])
    cpu = arrival["cpu_s"] + json.loads(sent.stdout.strip().splitlines()[-1])["cpu_s"]
    gib = arrival["bytes"] / (1 << 30)
    return BulkFigure(arrival["bytes"] / arrival["seconds"] / 1e6, cpu / gib)


def alternate(peers: Sequence[BulkPeer], datagram: int, runs: int) -> dict[str, list[BulkFigure]]:
    """``runs`` transfers of each peer, in turn."""
    figures: dict[str, list[BulkFigure]] = {peer.name: [] for peer in peers}
    for _ in range(runs):
        for peer in peers:
            figures[peer.name].append(run_bulk(peer, datagram))
    return figures


def medians(figures: Sequence[BulkFigure]) -> BulkFigure:
    return BulkFigure(
        statistics.median(f.mb_per_s for f in figures),
        statistics.median(f.cpu_s_per_gib for f in figures),
    )


def machine() -> dict[str, object]:
    """Where a result comes from."""
    import wraith
    from wraith import hotpath

    model = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        model = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        model = platform.processor()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wraith": wraith.__version__,
        "hotpath": hotpath.NAME,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def save(name: str, result: dict[str, object]) -> Path:
    """Writes ``bench/results/NAME.json`` with the machine it was measured on."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
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
