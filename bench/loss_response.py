"""How fast CUBIC and NewReno are under random loss, against their published response functions.

    python bench/loss_response.py [--seeds N] [--losses N] [--quick]

Real connections over the seeded link in virtual time: no queue, no rate limit, independent loss.
Each point counts from the tenth loss on and until ``--losses`` more; its figure is the mean window
(goodput × round trip / bytes per datagram), beside the formula:

- CUBIC (RFC 9438 §5.1): max(1.054 · (RTT / p)^¾ for C = 0.4, β = 0.7,  √(3 / 2p), the
  Reno-friendly region of §4.3);
- NewReno (RFC 9002): √(3 / 2p).

A sender with a fixed window validates the link itself: it must reach window · (1 - p).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import save, table

from wraith.config import EndpointConfig
from wraith.connection.congestion import AckSample
from wraith.testing.established import EstablishedPair, Side
from wraith.testing.netem import LinkConfig
from wraith.types import StreamId

DATAGRAM_BYTES = 1400
LOSS = (0.0001, 0.001, 0.01)
RTT_S = (0.02, 0.05, 0.1)
WARM_UP_LOSSES = 10
FIXED_WINDOW = 100
BLOCK = bytes(256 * 1024)
TOLERANCE = 0.3


class FixedWindow:
    """A controller that never changes its mind."""

    in_slow_start = False

    def __init__(self, window: int) -> None:
        self.window = window

    def on_sent(self, next_counter: int, /) -> None: ...

    def on_ack(self, ack: AckSample, /) -> None: ...

    def on_loss(self, n_bytes: int, sent_time: float, now: float, in_flight: int, /) -> None: ...

    def on_persistent(self) -> None: ...

    def set_datagram_bytes(self, datagram_bytes: int, /) -> None: ...


@dataclass
class Flow:
    """One endless stream: written as room comes, read as it arrives."""

    source: Side
    target: Side
    sid: StreamId
    received: int = 0

    def step(self, side: Side, now: float) -> bool:
        if side is self.source:
            room = side.connection.stream_room(self.sid)
            if room < len(BLOCK):
                return False
            side.connection.stream_write(self.sid, BLOCK, now=now)
            return True
        busy = False
        if side.connection.stream_readable(self.sid):
            for piece in side.connection.stream_read_chunks(self.sid, 1 << 22, now):
                self.received += len(piece)
                busy = True
        return busy


def measure(name: str, rtt_s: float, loss: float, losses: int, seed: int) -> tuple[float, float]:
    """``(mean window in datagrams, losses seen)`` of one run."""
    config = EndpointConfig(
        congestion="newreno" if name == "newreno" else "cubic",
        datagram_bytes=DATAGRAM_BYTES,
        stream_window=1 << 24,
        stream_window_max=1 << 26,
        conn_window=1 << 24,
        conn_window_max=1 << 26,
        send_buffer_bytes=1 << 26,
        window_sum=1 << 30,
    )
    pair = EstablishedPair(
        config=config,
        link=LinkConfig(latency_s=rtt_s / 2, loss=loss),
        back=LinkConfig(latency_s=rtt_s / 2),
        seed=seed,
    )
    connection = pair.i.connection
    if name == "fixed":
        session = connection._session
        assert session is not None
        session.recovery.controller = FixedWindow(FIXED_WINDOW * DATAGRAM_BYTES)
    flow = Flow(pair.i, pair.r, connection.open_stream(now=pair.now))
    pair.i.transfers.append(flow)  # type: ignore[arg-type]
    pair.r.transfers.append(flow)  # type: ignore[arg-type]
    link = pair.net.a_to_b
    pair.run(seconds=3600, until=lambda: link.n_lost >= WARM_UP_LOSSES)
    start, bytes_before, lost_before = pair.now, flow.received, link.n_lost
    pair.run(seconds=36_000, until=lambda: link.n_lost >= lost_before + losses)
    goodput = (flow.received - bytes_before) / (pair.now - start)
    return goodput * rtt_s / (DATAGRAM_BYTES - 40), link.n_lost - lost_before


def formula(name: str, rtt_s: float, loss: float) -> float:
    """The expected mean window in datagrams."""
    reno = math.sqrt(1.5 / loss)
    if name == "newreno":
        return reno
    if name == "fixed":
        return FIXED_WINDOW * (1 - loss)
    return max(1.054 * (rtt_s / loss) ** 0.75, reno)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--losses", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="one seed, no 0.01 %% point")
    options = parser.parse_args()
    seeds = range(1, 2 if options.quick else options.seeds + 1)
    rows: list[list[object]] = []
    results: list[dict[str, object]] = []
    missed = 0
    for name in ("fixed", "cubic", "newreno"):
        for rtt_s in RTT_S:
            for loss in LOSS[1:] if options.quick else LOSS:
                windows = [measure(name, rtt_s, loss, options.losses, seed)[0] for seed in seeds]
                expected = formula(name, rtt_s, loss)
                mean = statistics.mean(windows)
                ratio = mean / expected
                missed += abs(ratio - 1) > TOLERANCE
                figures = (f"{loss:.2%}", f"{mean:.1f}", f"{expected:.1f}", f"{ratio:.2f}")
                rows.append([name, f"{rtt_s * 1000:.0f} ms", *figures])
                results.append(
                    {
                        "controller": name,
                        "rtt_s": rtt_s,
                        "loss": loss,
                        "windows": windows,
                        "expected": expected,
                        "ratio": ratio,
                    }
                )
                print(rows[-1], file=sys.stderr, flush=True)
    print(table(["controller", "RTT", "loss", "mean window", "formula", "ratio"], rows))
    path = save("loss_response", {"points": results, "tolerance": TOLERANCE})
    print(json.dumps({"points": len(results), "outside": missed, "file": path.name}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
