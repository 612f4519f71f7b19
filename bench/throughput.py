"""One stream, memory to memory, one process a side, over loopback: MB/s and CPU-seconds per GiB.

    python bench/throughput.py --suite B --datagram 1400 --mib 1024 --runs 5
    python bench/throughput.py --suite B --mib 256 --peer aioquic        # alternating in one run
    WRAITH_PURE_PYTHON=1 python bench/throughput.py --mib 64 --runs 1 --parts

Prints one JSON object on stdout; progress goes to stderr. bench/README.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from harness import PEERS, TIMEOUT_S, machine, medians, python_peer, run_bulk

GIB = 1 << 30
SCRIPT = PEERS / "wraith_bulk.py"
FIGURES = ("mb_per_s", "cpu_s_per_gib", "sender_us_per_packet", "receiver_us_per_packet")
Result = dict[str, Any]


def run_once(options: list[str], mib: int, datagram: int, *, parts: bool) -> Result:
    """One transfer between two fresh processes, in more detail than the harness keeps."""
    base = [sys.executable, str(SCRIPT), *options]
    pipes: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE if parts else None,
        "text": True,
    }
    receiver = subprocess.Popen([*base, "recv", str(datagram)], **pipes)
    try:
        assert receiver.stdout is not None
        port = json.loads(receiver.stdout.readline())["port"]
        sender = subprocess.run(
            [*base, "send", port, str(mib), str(datagram)], timeout=TIMEOUT_S, check=True, **pipes
        )
        out, err = receiver.communicate(timeout=TIMEOUT_S)
    finally:
        receiver.kill()
    sent = json.loads(sender.stdout.splitlines()[-1])
    received = json.loads(out.splitlines()[-1])
    if sent["bytes"] != received["bytes"] or sent["digest"] != received["digest"]:
        raise SystemExit(f"the transfer is broken: {sent} {received}")
    packets = sent["packets"]
    result: Result = {
        "mb_per_s": round(received["bytes"] / received["seconds"] / 1e6, 1),
        "cpu_s_per_gib": round((sent["cpu_s"] + received["cpu_s"]) * GIB / received["bytes"], 2),
        "sender_us_per_packet": round(sent["cpu_s"] / packets * 1e6, 2),
        "receiver_us_per_packet": round(received["cpu_s"] / packets * 1e6, 2),
        "sender": sent,
        "receiver": received,
    }
    if parts:
        result["parts_us_per_packet"] = {
            "sender": per_packet(sender.stderr, packets),
            "receiver": per_packet(err, packets),
        }
    return result


def per_packet(profile: str, packets: int) -> dict[str, float]:
    """Microseconds per packet by part, the profiler's own cost included: read the shares."""
    seconds: dict[str, float] = json.loads(profile.splitlines()[-1])
    each = {part: round(value / packets * 1e6, 2) for part, value in seconds.items()}
    return {part: us for part, us in each.items() if us >= 0.05 and part != "waiting"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Bulk throughput of one stream over loopback")
    parser.add_argument("--suite", choices=["A", "B"], default="B")
    parser.add_argument("--datagram", type=int, default=1400, help="UDP payload bytes")
    parser.add_argument("--mib", type=int, default=256, help="size of one transfer")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--congestion", choices=["cubic", "newreno"], default="cubic")
    parser.add_argument("--peer", choices=["aioquic", "qh3", "tls"], help="alternate with a peer")
    parser.add_argument("--peer-mib", type=int, default=32, help="size of one of its transfers")
    parser.add_argument("--verify", action="store_true", help="compare hashes of both ends")
    parser.add_argument("--parts", action="store_true", help="profile: microseconds by part")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()

    options = ["--suite", arguments.suite, "--congestion", arguments.congestion]
    options += ["--verify"] * arguments.verify + ["--parts"] * arguments.parts
    peer = None
    if arguments.peer:
        script = PEERS / f"{arguments.peer}_bulk.py"
        peer = python_peer(arguments.peer, script, arguments.peer_mib)
    runs: list[Result] = []
    figures = []
    for i in range(arguments.runs):
        one = run_once(options, arguments.mib, arguments.datagram, parts=arguments.parts)
        runs.append(one)
        print(f"run {i + 1}: wraith {one['mb_per_s']} MB/s", file=sys.stderr)
        if peer is not None:
            figures.append(run_bulk(peer, arguments.datagram))
            print(f"run {i + 1}: {peer.name} {figures[-1].mb_per_s:.1f} MB/s", file=sys.stderr)
    median = {key: statistics.median(run[key] for run in runs) for key in FIGURES}
    report: Result = {
        "machine": machine(),
        "what": f"one stream of {arguments.mib} MiB, loopback",
        "suite": arguments.suite,
        "datagram_bytes": arguments.datagram,
        "median": median,
        "runs": runs,
    }
    if peer is not None:
        middle = medians(figures)
        report["peer"] = {
            "name": peer.name,
            "mib": peer.mib,
            "mb_per_s": round(middle.mb_per_s, 1),
            "cpu_s_per_gib": round(middle.cpu_s_per_gib, 2),
            "runs_mb_per_s": [round(figure.mb_per_s, 1) for figure in figures],
        }
        report["ratio"] = round(median["mb_per_s"] / middle.mb_per_s, 2)
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
