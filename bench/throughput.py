"""One stream, memory to memory, one process a side, over loopback: MB/s and CPU-seconds per GiB.

    python bench/throughput.py --suite B --datagram 1400 --mib 1024 --runs 5
    python bench/throughput.py --suite B --mib 256 --peer aioquic        # alternating in one run
    WRAITH_PURE_PYTHON=1 python bench/throughput.py --mib 64 --runs 1 --parts

Prints one JSON object on stdout; progress goes to stderr. ``run`` is the whole table of the suite.
bench/README.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from harness import (
    BUILT,
    GIB,
    MIB,
    PEERS,
    TIMEOUT_S,
    BulkFigure,
    BulkPeer,
    PeerFailed,
    alternate,
    check_arrival,
    medians,
    python_peer,
    run_bulk,
    singles,
    spread,
    with_block,
)
from machine import machine
from report import Report

SCRIPT = PEERS / "wraith_bulk.py"
FIGURES = ("mb_per_s", "cpu_s_per_gib", "sender_us_per_packet", "receiver_us_per_packet")
TLS = "TLS 1.3 (blocking sockets)"
PLAN_GBIT = 2.0
"""What the plan asks of version 2 (its table of performance; 1 at least, 5 if possible)."""
Result = dict[str, Any]


# --- the table of the suite -----------------------------------------------------------------------


def wraith_peer(suite: str, mib: int, *, twin: bool = False) -> BulkPeer:
    """Our own line of a table; ``twin`` is the pure-Python hot path."""
    environment = {"WRAITH_PURE_PYTHON": "1"} if twin else {}
    name = f"wraith {suite}" + (" (pure Python)" if twin else "")
    return python_peer(name, SCRIPT, mib, "--suite", suite, **environment)


def raw_udp(mib: int) -> BulkPeer:
    """The limit: nothing is reliable and nothing is compared."""
    peer = python_peer("raw UDP with GSO", PEERS / "raw_udp_gso.py", mib)
    return replace(peer, is_unchecked=True)


def all_peers(*, quick: bool) -> list[BulkPeer]:
    """Transfers are long enough to be past slow start and short enough for slow peers."""
    fast, slow = (128, 8) if quick else (1024, 64)
    return [
        wraith_peer("A", fast),
        wraith_peer("B", fast),
        wraith_peer("A", slow, twin=True),
        wraith_peer("B", slow, twin=True),
        python_peer("aioquic", PEERS / "aioquic_bulk.py", slow // 2),
        python_peer("qh3", PEERS / "qh3_bulk.py", slow),
        BulkPeer("quinn", (str(BUILT / "quinn-bulk"),), mib=fast),
        BulkPeer("quic-go", (str(BUILT / "quicgo-bulk"),), mib=fast // 2),
        python_peer(TLS, PEERS / "tls_blocking.py", fast),
        python_peer("TLS 1.3 (asyncio)", PEERS / "tls_bulk.py", fast),
        raw_udp(fast),
    ]


def aead_alone(kind: type[AESGCM] | type[ChaCha20Poly1305]) -> BulkFigure:
    """The limit that the cipher sets: sealing on one core while another opens. 64 KiB messages
    under one key, so neither key set-up nor the call counts."""
    cipher, nonce, text = kind(os.urandom(32)), bytes(12), os.urandom(1 << 16)
    sealed = cipher.encrypt(nonce, text, None)
    seconds = []
    for call, data in ((cipher.encrypt, text), (cipher.decrypt, sealed)):
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            for _ in range(400):
                call(nonce, data, None)
            best = min(best, (time.process_time() - start) / 400)
        seconds.append(best)
    return BulkFigure(len(text) / max(seconds) / 1e6, sum(seconds) * GIB / len(text))


def run(*, quick: bool) -> Report:
    """All peers at 1400 and at 8900 bytes."""
    report = Report(
        "throughput",
        "One stream over loopback",
        "One process a side, memory to memory, first to last application byte, medians of "
        "alternating runs. CPU is both sides together. Every peer has socket buffers of 8 MiB and "
        "compares every byte that arrives with what was sent, but for raw UDP. TLS is TCP: the "
        "kernel does its packets, losses and windows. Quinn, quic-go and WRAITH read many "
        "datagrams a call; aioquic, and qh3 on its receiving side, sit on asyncio's transport, "
        "which reads one.",
    )
    limits = {
        "AES-256-GCM alone, a core a side": aead_alone(AESGCM),
        "ChaCha20-Poly1305 alone, a core a side": aead_alone(ChaCha20Poly1305),
    }
    for datagram, runs in ((1400, 1 if quick else 5), (8900, 1 if quick else 3)):
        figures = alternate(all_peers(quick=quick), datagram, runs, left_out=report.left_out)
        middle = {name: medians(each) for name, each in figures.items()} | limits
        quinn, aioquic = middle.get("quinn"), middle.get("aioquic")
        tls = middle.get(TLS)
        rows = [
            (
                name,
                figure.mb_per_s,
                spread([f.mb_per_s for f in figures[name]]) if name in figures else "",
                figure.cpu_s_per_gib,
                figure.mb_per_s / quinn.mb_per_s if quinn else None,
                figure.mb_per_s / tls.mb_per_s if tls else None,
                figure.mb_per_s / aioquic.mb_per_s if aioquic else None,
            )
            for name, figure in middle.items()
        ]
        report.add(
            f"{datagram}-byte datagrams, n = {runs}",
            ("", "MB/s", "lowest–highest", "CPU-s/GiB", "× quinn", "× TLS blocking", "× aioquic"),
            rows,
        )
        report.data[str(datagram)] = {
            name: singles(figures[name])
            if name in figures
            else {"mb_per_s": f.mb_per_s, "cpu_s_per_gib": f.cpu_s_per_gib, "runs": 0}
            for name, f in middle.items()
        }
        if datagram == 1400:
            needs(report, middle)
    return report


def needs(report: Report, middle: dict[str, BulkFigure]) -> None:
    """The bounds, at 1400 bytes. What the plan asks is absolute; all others are ratios."""
    for suite, quinn, aioquic in (("B", 1.0, 30), ("A", 0.75, 20)):
        ours = middle.get(f"wraith {suite}")
        if ours is None:
            continue
        report.need(f"suite {suite}", ours.mb_per_s * 8 / 1000, PLAN_GBIT, "Gbit/s")
        if "quinn" in middle:
            other = middle["quinn"]
            report.need(f"suite {suite} to quinn", ours.mb_per_s / other.mb_per_s, quinn, "×")
            ratio = other.cpu_s_per_gib / ours.cpu_s_per_gib
            report.need(f"quinn's CPU to suite {suite}'s", ratio, quinn, "×")
        if "aioquic" in middle:
            ratio = ours.mb_per_s / middle["aioquic"].mb_per_s
            report.need(f"suite {suite} to aioquic", ratio, aioquic, "×")
        if "qh3" in middle:
            ratio = ours.mb_per_s / middle["qh3"].mb_per_s
            report.need(f"suite {suite} to qh3", ratio, 6 if suite == "B" else 4, "×")
    twin = middle.get("wraith B (pure Python)")
    if twin is not None and "aioquic" in middle:
        ratio = twin.mb_per_s / middle["aioquic"].mb_per_s
        report.need("pure Python, suite B, to aioquic", ratio, 3, "×")


# --- one peer, in detail --------------------------------------------------------------------------


def run_once(
    options: list[str],
    mib: int,
    datagram: int,
    *,
    parts: bool,
    environment: dict[str, str] | None = None,
) -> Result:
    """One transfer between two fresh processes, in more detail than the harness keeps."""
    base = [sys.executable, str(SCRIPT), *options]
    pipes: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE if parts else None,
        "text": True,
        "env": with_block(environment),
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
    check_arrival(received, mib * MIB)
    if sent["digest"] != received["digest"]:  # both None without --verify
        raise PeerFailed(f"the digests differ: {sent} {received}")
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
    parser.add_argument(
        "--peer", choices=["aioquic", "qh3", "tls", "tls_blocking"], help="alternate with a peer"
    )
    parser.add_argument("--peer-mib", type=int, default=32, help="size of one of its transfers")
    parser.add_argument("--verify", action="store_true", help="compare hashes of both ends")
    parser.add_argument("--parts", action="store_true", help="profile: microseconds by part")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()

    options = ["--suite", arguments.suite, "--congestion", arguments.congestion]
    options += ["--verify"] * arguments.verify + ["--parts"] * arguments.parts
    peer = None
    if arguments.peer:
        names = {"tls_blocking": "tls_blocking.py"}
        script = PEERS / names.get(arguments.peer, f"{arguments.peer}_bulk.py")
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
    result: Result = {
        "machine": machine(),
        "what": f"one stream of {arguments.mib} MiB, loopback",
        "suite": arguments.suite,
        "datagram_bytes": arguments.datagram,
        "median": median,
        "runs": runs,
    }
    if peer is not None:
        middle = medians(figures)
        result["peer"] = {
            "name": peer.name,
            "mib": peer.mib,
            "mb_per_s": round(middle.mb_per_s, 1),
            "cpu_s_per_gib": round(middle.cpu_s_per_gib, 2),
            "runs_mb_per_s": [round(figure.mb_per_s, 1) for figure in figures],
        }
        result["ratio"] = round(median["mb_per_s"] / middle.mb_per_s, 2)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
