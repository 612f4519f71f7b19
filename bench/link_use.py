"""How much of a link one stream uses, and that files arrive over bad ones. Virtual time.

    python bench/link_use.py [--quick]

Real connections on the simulated link: 100 Mbit/s, 50 ms round trip, a drop-tail queue of one
bandwidth-delay product, no other loss. The share is that of stream bytes alone, so the overhead of
packets (3 % at 1400 bytes) counts against it; the steady state begins after a third of the time.
Files cross between two nodes with the whole transfer protocol and are compared at the end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from loss_response import Flow
from report import Cell, Report

from wraith.config import EndpointConfig
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import NodeSimulation
from wraith.testing.rng import SeededRng
from wraith.transfer.memory_store import MemorySource, MemoryTarget

RATE_BPS = 100e6
RTT_S = 0.05
QUEUE_BYTES = int(RATE_BPS / 8 * RTT_S)
DATAGRAM_BYTES = 1400


def steady_share(congestion: str, seconds: float) -> dict[str, float]:
    """Shares of the link over the last two thirds, in stream bytes and in UDP payload."""
    config = EndpointConfig(congestion=congestion, datagram_bytes=DATAGRAM_BYTES)
    link = LinkConfig(latency_s=RTT_S / 2, rate_bps=RATE_BPS, queue_bytes=QUEUE_BYTES)
    pair = EstablishedPair(config=config, link=link)
    flow = Flow(pair.i, pair.r, pair.i.connection.open_stream(now=pair.now))
    pair.i.transfers.append(flow)  # type: ignore[arg-type]
    pair.r.transfers.append(flow)  # type: ignore[arg-type]
    there = pair.net.a_to_b
    pair.run(seconds=seconds / 3)
    start, stream, wire, drops = pair.now, flow.received, there.bytes_delivered, there.n_queue_drops
    pair.run(seconds=seconds * 2 / 3)
    capacity = RATE_BPS / 8 * (pair.now - start)
    return {
        "stream": (flow.received - stream) / capacity,
        "wire": (there.bytes_delivered - wire) / capacity,
        "drops_first": drops,
        "drops_steady": there.n_queue_drops - drops,
        "rtt_ms": pair.i.connection.stats().rtt_s * 1000,
    }


def file_arrives(link: LinkConfig, n_bytes: int, seed: int) -> tuple[bool, float]:
    """``(arrived equal, virtual seconds)`` of one file between two nodes."""
    data = SeededRng(f"link use {seed}").public_bytes(n_bytes)
    target = MemoryTarget()
    simulation = NodeSimulation(MemorySource({b"file": data}), seed=seed, link=link)
    receiver = simulation.start_receiver(target)
    finished = simulation.run_until_finished(simulation.sender, receiver, seconds=3600)
    return finished and target.placed == {b"file": data}, simulation.now


def run(*, quick: bool) -> Report:
    report = Report(
        "link_use",
        "Use of a link",
        "100 Mbit/s, 50 ms round trip, a queue of one bandwidth-delay product (625,000 bytes), no "
        "other loss; 1400-byte datagrams; virtual time.",
    )
    seconds = 3.0 if quick else 20.0
    rows: list[tuple[Cell, ...]] = []
    for congestion in ("cubic", "newreno"):
        share = steady_share(congestion, seconds)
        rows.append(
            (
                congestion,
                share["stream"] * 100,
                share["wire"] * 100,
                share["rtt_ms"],
                int(share["drops_first"]),
                int(share["drops_steady"]),
            )
        )
        report.data[congestion] = share
        report.need(f"{congestion}, share in the steady state", share["stream"] * 100, 90, "%")
    report.add(
        f"One stream for {seconds:.0f} s, the last two thirds of it",
        ("", "stream bytes, %", "UDP payload, %", "RTT ms at the end", "drops before", "drops"),
        rows,
    )
    n_bytes = (1 if quick else 4) << 20
    cases = {
        "20 % loss, 20 ms": LinkConfig(latency_s=0.01, loss=0.2),
        "200 ms": LinkConfig(latency_s=0.1),
        "20 % loss, 200 ms": LinkConfig(latency_s=0.1, loss=0.2),
    }
    seeds = range(1, 2 if quick else 4)
    rows = []
    for name, link in cases.items():
        results = [file_arrives(link, n_bytes, seed) for seed in seeds]
        n_equal = sum(is_equal for is_equal, _ in results)
        longest = max(seconds for _, seconds in results)
        report.data[f"file, {name}"] = [
            {"equal": is_equal, "seconds": round(seconds, 4)} for is_equal, seconds in results
        ]
        rows.append((name, f"{n_equal} of {len(results)}", longest))
        report.need(f"{name}: arrived equal", n_equal, len(results))
    report.add(
        f"A file of {n_bytes >> 20} MiB between two nodes",
        ("", "arrived equal", "longest, virtual s"),
        rows,
    )
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Use of a link, and files over bad ones")
    parser.add_argument("--quick", action="store_true")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
