"""A stream and a file between two network namespaces, a veth pair with and without offloads.

    python bench/veth.py [--quick]

Three states of the device (``ethtool -K``): all offloads, where a burst crosses the pair as one
buffer as it does over loopback; segmentation off, where the kernel cuts every burst into packets
of 1500 bytes and the receiving side may join them again; and neither, where every packet reaches
its socket alone. Needs root, ``ip`` and ``ethtool``; without them the subject is left out. Time in
the kernel's own threads is in no process, so CPU figures count less than the machine spent.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import regression
from cli_transfer import cli_transfer
from files import SHM, picture, random_file
from harness import (
    BUILT,
    GIB,
    MIB,
    PEERS,
    BulkPeer,
    PeerFailed,
    alternate,
    medians,
    python_peer,
    rounded,
    singles,
    spread,
)
from report import Cell, Report
from throughput import raw_udp, wraith_peer

DATAGRAM_BYTES = 1400
RECEIVER, SENDER = "10.213.7.1", "10.213.7.2"
SEGMENTATION = ("tso", "gso", "tx-udp-segmentation")
RECEIVE = ("gro",)


@dataclass(frozen=True)
class Ends:
    """The two namespaces; programs are started with ``prefix`` before them."""

    receiver: str
    sender: str

    @property
    def prefix(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return ("ip", "netns", "exec", self.receiver), ("ip", "netns", "exec", self.sender)


def command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


@contextmanager
def two_namespaces() -> Iterator[Ends]:
    """Two namespaces with one veth pair between them; gone afterwards.

    Raises:
        OSError: a tool is missing.
        subprocess.CalledProcessError: not allowed here.
    """
    tag = f"wraith-{os.getpid()}"
    ends = Ends(f"{tag}-r", f"{tag}-s")
    made: list[str] = []
    try:
        for name in (ends.receiver, ends.sender):
            command("ip", "netns", "add", name)
            made.append(name)
        one = ("name", "veth0", "netns", ends.receiver)
        other = ("name", "veth0", "netns", ends.sender)
        command("ip", "link", "add", *one, "type", "veth", "peer", *other)
        for name, address in ((ends.receiver, RECEIVER), (ends.sender, SENDER)):
            command("ip", "-n", name, "address", "add", f"{address}/24", "dev", "veth0")
            for device in ("lo", "veth0"):
                command("ip", "-n", name, "link", "set", device, "up")
        yield ends
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


@dataclass(frozen=True)
class State:
    """What the device may do."""

    name: str
    segmentation: bool
    gro: bool


STATES = (
    State("all offloads", True, True),
    State("segmentation off", False, True),
    State("segmentation and GRO off", False, False),
)


def set_offloads(ends: Ends, state: State) -> list[str]:
    """Switches what the device allows; returns what it refused."""
    wanted = dict.fromkeys(SEGMENTATION, state.segmentation)
    wanted |= dict.fromkeys(RECEIVE, state.gro)
    refused = []
    for name in (ends.receiver, ends.sender):
        for feature, is_on in wanted.items():
            words = ["ethtool", "-K", "veth0", feature, "on" if is_on else "off"]
            done = subprocess.run(["ip", "netns", "exec", name, *words], capture_output=True)
            if done.returncode and feature not in refused:
                refused.append(feature)
    return refused


def peers(*, quick: bool, state: State) -> list[BulkPeer]:
    fast, slow = (64, 8) if quick else (512, 64) if state.gro else (128, 32)
    ours = [wraith_peer("A", fast), wraith_peer("B", fast), wraith_peer("B", slow, twin=True)]
    others = [
        python_peer("aioquic", PEERS / "aioquic_bulk.py", slow // 2),
        BulkPeer("quinn", (str(BUILT / "quinn-bulk"),), mib=fast),
        BulkPeer("quic-go", (str(BUILT / "quicgo-bulk"),), mib=fast // 2),
        raw_udp(fast),
    ]
    return [
        replace(peer, environment={**peer.environment, "BULK_HOST": RECEIVER})
        for peer in ours + others
    ]


def run(*, quick: bool) -> Report:
    report = Report(
        "veth",
        "Two network namespaces, with and without offloads",
        "Through a veth pair (MTU 1500): one stream in 1400-byte datagrams, one process a side; "
        "then a file in memory by whole commands, compared by digest afterwards. Socket buffers "
        "are 8 MiB everywhere; every byte is compared, but for raw UDP. Kernel threads are in no "
        "process and not counted.",
    )
    missing = [tool for tool in ("ip", "ethtool") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        why = f"{', '.join(missing)} not installed" if missing else "needs root"
        report.left_out.append(f"everything: {why}")
        return report
    try:
        with two_namespaces() as ends:
            files: list[tuple[Cell, ...]] = []
            mib, runs = (32, 1) if quick else (1024, 3)
            for state in STATES:
                measure(report, ends, state, quick=quick)
                files += file_rows(report, ends, state, mib, runs)
            headers = ("", "s", "MB/s connected to done", "CPU-s/GiB")
            report.add(f"One file of {mib} MiB, in memory", headers, files)
    except subprocess.CalledProcessError as error:
        report.left_out.append(f"everything: {' '.join(error.cmd[:4])}: {error.stderr.strip()}")
    return report


def measure(report: Report, ends: Ends, state: State, *, quick: bool) -> None:
    refused = set_offloads(ends, state)
    if refused:
        report.left_out.append(f"{state.name}: no switch for {', '.join(refused)}")
    figures = alternate(
        peers(quick=quick, state=state),
        DATAGRAM_BYTES,
        1 if quick else 3,
        ends.prefix,
        report.left_out,
    )
    middle = {name: medians(each) for name, each in figures.items()}
    quinn, aioquic = middle.get("quinn"), middle.get("aioquic")
    report.add(
        f"{state.name[0].upper()}{state.name[1:]}, n = {1 if quick else 3}",
        ("", "MB/s", "lowest–highest", "CPU-s/GiB", "× quinn", "× aioquic"),
        [
            (
                name,
                figure.mb_per_s,
                spread([f.mb_per_s for f in figures[name]]),
                figure.cpu_s_per_gib,
                figure.mb_per_s / quinn.mb_per_s if quinn else None,
                figure.mb_per_s / aioquic.mb_per_s if aioquic else None,
            )
            for name, figure in middle.items()
        ],
    )
    report.data[state.name] = {name: singles(each) for name, each in figures.items()}
    if state is STATES[2] and quinn and "wraith B" in middle:
        regression.need(report, regression.NO_GRO, quinn.mb_per_s / middle["wraith B"].mb_per_s)
    if state is not STATES[1] or "wraith B" not in middle:
        return
    ours = middle["wraith B"].mb_per_s
    if aioquic:
        report.need("segmentation off, suite B to aioquic", ours / aioquic.mb_per_s, 10, "×")
    if quinn:
        report.need("segmentation off, suite B to quinn", ours / quinn.mb_per_s, 1 / 1.5, "×")


def file_rows(
    report: Report, ends: Ends, state: State, mib: int, runs: int
) -> list[tuple[Cell, ...]]:
    """One file by ``wraith send`` and ``wraith receive`` in the two namespaces, both suites."""
    if not SHM.is_dir() or shutil.disk_usage(SHM).free < 4 * mib * MIB:
        report.left_out.append(f"{state.name}, file: not enough room in {SHM}")
        return []
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory(prefix="wraith-bench-", dir=SHM) as folder:
        source = random_file(Path(folder) / "large.bin", mib * MIB)
        expected = picture(source)
        for suite in "AB":
            figures = []
            for i in range(runs):
                work = Path(folder) / f"{suite}{i}"
                try:
                    figure = cli_transfer(
                        source, work, suite=suite, host=SENDER, prefix=ends.prefix
                    )
                    if picture(work / "out" / source.name) != expected:
                        raise PeerFailed("what arrived is not what was sent")
                    figures.append(figure)
                except (PeerFailed, FileNotFoundError) as error:
                    report.left_out.append(f"{state.name}, file, suite {suite}: {error}")
                shutil.rmtree(work, ignore_errors=True)
            if figures:
                kept = report.data.setdefault(f"file, {state.name}", {})
                kept[f"wraith {suite}"] = rounded(
                    {
                        "all_command_s": [f.command_s for f in figures],
                        "all_seconds": [f.seconds for f in figures],
                        "all_cpu_s": [f.cpu_s for f in figures],
                    }
                )
                rows.append(
                    (
                        f"wraith {suite}, {state.name}",
                        statistics.median(f.command_s for f in figures),
                        mib * MIB / statistics.median(f.seconds for f in figures) / 1e6,
                        statistics.median(f.cpu_s for f in figures) * GIB / (mib * MIB),
                    )
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput between two network namespaces")
    parser.add_argument("--quick", action="store_true")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
