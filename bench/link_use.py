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
from wraith.transfer.memory import MemorySource, MemoryTarget

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
