"""A file under way while one side's address changes.

    python bench/moves.py [--quick] [--runs N]

``wraith send`` and ``wraith receive`` between two network namespaces joined by an emulated link
(``native/link``) of 40 Mbit/s and 40 ms. Five seconds after the first byte the receiver's, or the
sender's, only address is replaced by another one. What reaches the receiver's device is looked at
every 20 ms. The gap is the longest time without half a datagram in the two seconds from the move
on; the rate afterwards is that of seconds 2 to 6, beside that of the four seconds before. Needs
root, ``ip``, ``/dev/net/tun`` and ``tools/build-link.sh``; without them the subject is left out.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cli_transfer import Watched
from emulated_link import (
    DEVICE,
    RECEIVER,
    SENDER,
    Ends,
    LinkPath,
    ip,
    joined,
    missing,
    two_namespaces,
)
from files import random_file
from harness import PeerFailed
from report import Cell, Report

PATH = LinkPath(rate_mbit=40, delay_ms=20, queue_bytes=200_000)
FILE_BYTES = 96 << 20
LOOK_S = 0.02
MOVES_AT_S, BEFORE_S, GAP_WITHIN_S, AFTER_S = 5.0, 4.0, 2.0, (2.0, 6.0)
BYTES_MIN = 600
"""Half a datagram: acknowledgements and probes alone do not end a gap."""
GAP_MOST_S, RATE_LEAST = 1.5, 0.9
MOVED = {"receiver": (RECEIVER, "10.213.8.3"), "sender": (SENDER, "10.213.8.4")}
NETWORK = "10.213.8.0/24"
Looks = list[tuple[float, int]]


def arrived(namespace: str) -> subprocess.Popen[str]:
    """A process in ``namespace`` that prints the device's count of received bytes when asked."""
    program = (
        "import sys\n"
        f"path = '/sys/class/net/{DEVICE}/statistics/rx_bytes'\n"
        "for _ in sys.stdin:\n"
        "    print(open(path).read().strip(), flush=True)\n"
    )
    # ``ip netns exec`` mounts a /sys of the namespace, so the count is that of its own device.
    return subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def look(counter: subprocess.Popen[str]) -> tuple[float, int]:
    assert counter.stdin is not None and counter.stdout is not None
    counter.stdin.write("\n")
    counter.stdin.flush()
    return time.perf_counter(), int(counter.stdout.readline())


def replace_address(namespace: str, old: str, new: str) -> None:
    """The namespace's only address becomes ``new``; nothing is told to the programs in it."""
    inside = ("-n", namespace)
    ip(*inside, "address", "add", f"{new}/24", "dev", DEVICE)
    ip(*inside, "address", "del", old, "peer", RECEIVER if old == SENDER else SENDER, "dev", DEVICE)
    ip(*inside, "route", "replace", NETWORK, "dev", DEVICE, "src", new)


def rate(looks: Looks, begin: float, end: float) -> float:
    """Mbit/s between two times."""
    inside = [(at, n) for at, n in looks if begin <= at <= end]
    if len(inside) < 2:
        raise PeerFailed("the transfer ended too early")
    return (inside[-1][1] - inside[0][1]) * 8 / (inside[-1][0] - inside[0][0]) / 1e6


def longest_gap(looks: Looks, begin: float, end: float) -> float:
    """Seconds, from ``begin`` on, in which less than ``BYTES_MIN`` came, at the longest."""
    longest, last_at, last_n = 0.0, begin, None
    for at, n in looks:
        if at < begin or at > end:
            continue
        if last_n is None or n - last_n >= BYTES_MIN:
            longest, last_at, last_n = max(longest, at - last_at), at, n
    return max(longest, end - last_at)


def one_run(ends: Ends, who: str, source: Path, work: Path, seed: int) -> tuple[float, float]:
    """The gap in seconds, and the rate afterwards beside that before.

    Raises:
        PeerFailed: the transfer or the link broke.
    """
    common = ["--json", "-q"]
    send = ["send", *common, "--listen", "0.0.0.0:0", "--new-code", str(source)]
    with joined(ends, PATH, seed):
        sender = Watched(send, work / "home-s", {}, ends.prefix[1])
        counter = arrived(ends.receiver)
        receiver: Watched | None = None
        try:
            code = str(sender.wait_event("waiting")["code"])
            words = ["receive", *common, "--yes", "--overwrite", "--out", str(work)]
            receiver = Watched(words, work / "home-r", {"WRAITH_CODE": code}, ends.prefix[0])
            receiver.wait_event("accepted")
            began = time.perf_counter()
            looks: Looks = []
            moved: float | None = None
            while time.perf_counter() < began + MOVES_AT_S + AFTER_S[1]:
                looks.append(look(counter))
                if moved is None and looks[-1][0] >= began + MOVES_AT_S:
                    moved = time.perf_counter()
                    replace_address(getattr(ends, who), *MOVED[who])
                time.sleep(LOOK_S)
        finally:
            for process in (receiver, sender):
                if process is not None:
                    process.close()
            counter.kill()
            counter.communicate()
    assert moved is not None
    before = rate(looks, moved - BEFORE_S, moved)
    after = rate(looks, moved + AFTER_S[0], moved + AFTER_S[1])
    return longest_gap(looks, moved, moved + GAP_WITHIN_S), after / before


def run(*, quick: bool, runs: int = 5) -> Report:
    runs = 1 if quick else runs
    report = Report(
        "moves",
        "A file under way while an address changes",
        "wraith send and wraith receive between two namespaces, 40 Mbit/s, 40 ms. After five "
        "seconds the only address of one side is replaced. The gap is the longest time without "
        "data in the two seconds from then on; the rate is that of seconds 2 to 6 beside that of "
        f"the four seconds before. {runs} runs each.",
    )
    if lacks := missing():
        report.left_out.append(f"everything: {', '.join(lacks)}")
        return report
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        source = random_file(Path(folder) / "large.bin", FILE_BYTES)
        for who in MOVED:
            gaps, ratios = [], []
            for seed in range(1, runs + 1):
                work = Path(folder) / f"{who}{seed}"
                work.mkdir()
                try:
                    with two_namespaces() as ends:  # anew: the addresses were replaced
                        for name in (ends.receiver, ends.sender):
                            ip("-n", name, "route", "add", NETWORK, "dev", DEVICE)
                        gap, ratio = one_run(ends, who, source, work, seed)
                except (PeerFailed, subprocess.CalledProcessError) as error:
                    report.left_out.append(f"{who} moves, run {seed}: {error}")
                    continue
                gaps.append(gap)
                ratios.append(ratio)
                print(f"  {who} moves: {gap:.2f} s, {ratio:.2f}", file=sys.stderr, flush=True)
            report.need(f"{who} moves, runs that were measured", len(gaps), runs)
            if not gaps:
                continue
            middle, after = statistics.median(gaps), statistics.median(ratios)
            rows.append((f"the {who} moves", middle, max(gaps), after, min(ratios)))
            report.data[who] = {"gap_s": gaps, "rate_ratio": ratios}
            report.need(f"{who} moves, gap, median", middle, GAP_MOST_S, "s", at_most=True)
            report.need(f"{who} moves, rate afterwards, median", after, RATE_LEAST, "×")
    report.add("", ("", "gap s, median", "longest", "rate after, ×, median", "lowest"), rows)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="A file while an address changes")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(run(quick=arguments.quick, runs=arguments.runs).text())


if __name__ == "__main__":
    main()
