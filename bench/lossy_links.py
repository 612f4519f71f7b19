"""How much of a link that loses datagrams BBR and CUBIC use, in virtual time.

    python bench/lossy_links.py [--quick]

One sender of the product's own recovery, pacing and controllers on a bottleneck with a drop-tail
queue of one bandwidth-delay product; random loss is drawn behind the queue. A figure is what
arrives over capacity x (1 - loss), from the fifth second on. Beside a CUBIC of ours it is the share
of the capacity. Nothing here depends on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from report import Cell, Report

from wraith.connection.paths.controllers import make_controller
from wraith.testing.bottleneck import DATAGRAM_BYTES, Bottleneck, LightSender, run_senders

CONTROLLERS = ("bbr", "cubic")
LOSSES = (0.0, 0.01, 0.05, 0.2)
WARM_UP_S = 5.0
END_S = 25.0
BESIDE_S = (10.0, 70.0)
BURST = 8.0


class Point(NamedTuple):
    """One sender alone; rates are bits per second."""

    controller: str
    rate_bps: float
    rtt_s: float
    loss: float
    burst: float
    seed: int


def use_of(point: Point) -> tuple[float, float]:
    """What arrives over what can, and the mean time in the queue in round trips."""
    link = Bottleneck(
        point.rate_bps,
        point.rate_bps / 8 * point.rtt_s,
        loss=point.loss,
        burst=point.burst,
        seed=point.seed,
    )
    controller = make_controller(point.controller, DATAGRAM_BYTES)
    sender = LightSender(controller, link, rtt_s=point.rtt_s)
    run_senders([sender], END_S)
    carried = point.rate_bps * (1 - point.loss)
    return sender.rate_bps(WARM_UP_S, END_S) / carried, link.wait_s(WARM_UP_S) / point.rtt_s


def beside_cubic(queue: float) -> tuple[float, float]:
    """The shares of BBR and of CUBIC in a queue of ``queue`` bandwidth-delay products."""
    rate_bps, rtt_s = 20e6, 0.05
    link = Bottleneck(rate_bps, queue * rate_bps / 8 * rtt_s)
    senders = [
        LightSender(make_controller(name, DATAGRAM_BYTES), link, rtt_s=rtt_s, start_s=start_s)
        for name, start_s in (("bbr", 0.0), ("cubic", 0.5))
    ]
    run_senders(senders, BESIDE_S[1])
    bbr, cubic = (sender.rate_bps(*BESIDE_S) / rate_bps for sender in senders)
    return bbr, cubic


def run(*, quick: bool) -> Report:
    report = Report(
        "lossy_links",
        "Links that lose datagrams",
        "Share of capacity x (1 - loss) that arrives, of one sender alone behind a drop-tail queue "
        "of one bandwidth-delay product, and the mean wait there; medians of seeds, virtual time.",
    )
    seeds = range(1, 2 if quick else 4)
    places = [(20e6, 0.05)] if quick else [(20e6, 0.05), (100e6, 0.05), (100e6, 0.2)]
    kinds = [(loss, 1.0) for loss in LOSSES] + [(0.02, BURST)]
    points = [
        Point(name, rate, rtt, loss, burst, seed)
        for rate, rtt in places
        for loss, burst in kinds
        for name in CONTROLLERS
        for seed in seeds
    ]
    queues = (1.0, 4.0) if quick else (0.1, 1.0, 4.0)
    with ProcessPoolExecutor(2) as pool:
        together = pool.map(beside_cubic, queues)
        uses = dict(zip(points, pool.map(use_of, points), strict=True))
        shares = list(together)
    rows: list[tuple[Cell, ...]] = []
    for rate, rtt in places:
        for loss, burst in kinds:
            cells: list[Cell] = []
            for name in CONTROLLERS:
                found = [uses[Point(name, rate, rtt, loss, burst, seed)] for seed in seeds]
                cells += [statistics.median(use for use, _ in found)]
                cells += [statistics.median(wait for _, wait in found)]
            kind = f"{loss:.0%}" + (f" in bursts of {burst:.0f}" if burst > 1 else "")
            rows.append((f"{rate / 1e6:.0f} Mbit/s", f"{rtt * 1000:.0f} ms", kind, *cells))
    headers = ("", "RTT", "loss", "bbr", "bbr waits, RTT", "cubic", "cubic waits, RTT")
    report.add("Alone", headers, rows)
    report.add(
        "BBR and CUBIC in one queue, 20 Mbit/s, 50 ms",
        ("queue, bandwidth-delay products", "bbr", "cubic"),
        [(queue, *pair) for queue, pair in zip(queues, shares, strict=True)],
    )
    at_one = [float(row[3] or 0) for row in rows if row[2] == "1%"]
    report.need("bbr, one in a hundred lost", min(at_one) * 100, 85, "%")
    report.data["points"] = [[*point, *map(float, use)] for point, use in uses.items()]
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Links that lose datagrams")
    parser.add_argument("--quick", action="store_true", help="one place, one seed")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
