"""How cost grows: with the size of a file, with the number of active sessions, with the round trip.

    python bench/scaling.py [--quick] [--only file|sessions|rtt]

Files: sparse ones by the commands, over loopback. Sessions: one process a side; the same number of
bytes in all, shared by 1 to 1,000 sessions that send at once. Round trip: one stream between two
connections on the simulated link, no limit of rate; virtual time says how long it would take, CPU
time what it costs (with that of the simulation, so read how it grows, not how much it is).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cli_transfer import cli_transfer
from harness import GIB, MIB, PEERS, PeerFailed, cpu_of, started
from report import Cell, Report

from wraith.config import EndpointConfig
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig

SCRIPT = (sys.executable, str(PEERS / "wraith_sessions.py"))


def by_file_size(report: Report, mib_sizes: tuple[int, ...]) -> None:
    rows: list[tuple[Cell, ...]] = []
    points = []
    for mib in mib_sizes:
        with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
            source = Path(folder) / "sparse.bin"
            with source.open("wb") as file:
                file.truncate(mib * MIB)
            try:
                figure = cli_transfer(source, Path(folder) / "work")
            except PeerFailed as error:
                report.left_out.append(f"{mib} MiB: {error}")
                continue
        rate = figure.n_bytes / figure.seconds / 1e6
        name = f"{mib} MiB" if mib < 1024 else f"{mib // 1024} GiB"
        per_gib = figure.cpu_s * GIB / figure.n_bytes
        peaks = (figure.send.peak_bytes / 1e6, figure.receive.peak_bytes / 1e6)
        rows.append((name, figure.command_s, rate, figure.cpu_s, per_gib, *peaks))
        points.append((mib, rate))
    report.add(
        "By file size, suite B",
        (
            "", "s, whole command", "MB/s connected to done", "CPU-s", "CPU-s/GiB",
            "sender's peak MB", "receiver's peak MB",
        ),
        rows,
    )  # fmt: skip
    report.data["file"] = points


def by_sessions(report: Report, counts: tuple[int, ...], mib: int) -> None:
    rows: list[tuple[Cell, ...]] = []
    points = []
    try:
        with started((*SCRIPT, "serve")) as server:
            code = str(server.line()["port"])
            with started((*SCRIPT, "dial", code)) as client:
                for n in counts:
                    opened = client.ask(f"open {n}")
                    before = cpu_of(server.pid)
                    sent = client.ask(f"send {mib * MIB}")
                    cpu = cpu_of(server.pid) - before + float(sent["cpu_s"])
                    rate = mib * MIB / float(sent["seconds"]) / 1e6
                    lost = sent["lost_packets"] - opened["lost_packets"]
                    share = lost / (sent["sent_packets"] - opened["sent_packets"]) * 100
                    per_gib = cpu * GIB / (mib * MIB)
                    rows.append((f"{n:,}", rate, per_gib, share, sent["open"]))
                    points.append((n, rate))
    except PeerFailed as error:
        report.left_out.append(f"sessions beyond {len(rows)} steps: {error}")
    headers = ("active sessions", "MB/s in all", "CPU-s/GiB", "% lost", "still open")
    report.add(f"By active sessions, {mib} MiB in all, suite B", headers, rows)
    report.data["sessions"] = points


def by_round_trip(report: Report, rtts_ms: tuple[int, ...], mib: int) -> None:
    rows: list[tuple[Cell, ...]] = []
    points = []
    data = bytes(mib * MIB)
    for rtt_ms in rtts_ms:
        pair = EstablishedPair(
            config=EndpointConfig(datagram_bytes=1400),
            link=LinkConfig(latency_s=rtt_ms / 2000),
        )
        sent = pair.send(data)
        cpu = time.process_time()
        pair.run(seconds=600, until=lambda sent=sent: sent.is_finished)  # type: ignore[misc]
        cpu = time.process_time() - cpu
        if not sent.is_equal:
            report.left_out.append(f"round trip {rtt_ms} ms: what arrived is not what was sent")
            continue
        packets = pair.net.hosts[pair.i.address].n_datagrams_sent
        stats = pair.i.connection.stats()
        trips = pair.now / (rtt_ms / 1000) if rtt_ms else None
        rate = mib * MIB / pair.now / 1e6 if pair.now else None
        rows.append(
            (f"{rtt_ms} ms", pair.now, trips, rate, stats.cwnd_bytes / 1e6, cpu / packets * 1e6)
        )
        points.append((rtt_ms, pair.now, cpu / packets * 1e6))
    report.add(
        f"By round trip, {mib} MiB on the simulated link",
        ("", "virtual s", "round trips", "MB/s", "window MB at the end", "CPU µs per packet"),
        rows,
    )
    report.data["rtt"] = points


def run(*, quick: bool, only: str | None = None) -> Report:
    report = Report(
        "scaling",
        "How cost grows",
        "Files and sessions over loopback, round trips on the simulated link in virtual time. "
        "Files are hashed by the transfer and round trips compared; what the sessions carry is not "
        "compared.",
    )
    if only in (None, "file"):
        by_file_size(report, (1, 64) if quick else (1, 16, 256, 1024, 10 * 1024))
    if only in (None, "sessions"):
        by_sessions(report, (1, 50) if quick else (1, 10, 100, 1000), 16 if quick else 512)
    if only in (None, "rtt"):
        by_round_trip(report, (0, 100) if quick else (0, 10, 50, 100, 200), 4 if quick else 32)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="How cost grows")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["file", "sessions", "rtt"])
    arguments = parser.parse_args()
    print(run(quick=arguments.quick, only=arguments.only).text())


if __name__ == "__main__":
    main()
