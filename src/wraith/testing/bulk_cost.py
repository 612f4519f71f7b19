"""Counts what a bulk transfer costs. There is no clock, so no machine decides.

    python -m wraith.testing.bulk_cost [--update FILE]

One stream between two connections on the seeded link in virtual time; per MiB: calls of Python
functions of the package, calls of ``seal_run`` and ``open_run`` and of anything in the native part,
datagrams there and back; and allocations of the process, where ``counted_allocations`` is preloaded
(tests/sim/counted_malloc.c). The same tree gives the same numbers in every run, allocations to a
part of a percent. ``--update`` writes those of the hot path that runs here
into FILE, beside the other one's.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from wraith import hotpath
from wraith.config import EndpointConfig
from wraith.testing.established import EstablishedPair, StreamCopy
from wraith.testing.netem import LinkConfig

MIB = 1 << 20
SIZES_MIB = {"native": 16, "python": 2}
"""The twin does everything per packet in Python: less of it says as much."""
RUNS = ("seal_run", "open_run")


def begun(mib: int) -> tuple[EstablishedPair, StreamCopy]:
    """A pair of which one side has ``mib`` MiB to send, and that stream."""
    pair = EstablishedPair(
        config=EndpointConfig(datagram_bytes=1400), link=LinkConfig(latency_s=0.01), seed=5
    )
    pair.run(seconds=1)
    return pair, pair.send(random.Random(3).randbytes(mib * MIB))


def finish(pair: EstablishedPair, transfer: StreamCopy) -> None:
    """Runs until the stream has arrived."""
    pair.run(seconds=120, until=lambda: transfer.is_equal)
    if not transfer.is_equal:
        raise AssertionError("what arrived is not what was sent")


def measure() -> dict[str, float]:
    """Costs per MiB on the hot path of this process."""
    mib = SIZES_MIB[hotpath.NAME]
    pair, transfer = begun(mib)
    hosts = (pair.net.hosts[pair.i.address], pair.net.hosts[pair.r.address])
    before = [host.n_datagrams_sent for host in hosts]
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            file = frame.f_code.co_filename
            if "/wraith/" in file and "/testing/" not in file:
                counts["python_calls"] += 1
                if frame.f_code.co_name in RUNS:
                    counts[frame.f_code.co_name] += 1
        elif event == "c_call":
            owner = type(getattr(argument, "__self__", None)).__module__
            if owner.startswith("wraith_native"):
                counts["native_calls"] += 1
            if getattr(argument, "__name__", "") in RUNS:
                counts[argument.__name__] += 1

    sys.setprofile(count)
    try:
        finish(pair, transfer)
    finally:
        sys.setprofile(None)
    for name, host, sent in zip(("datagrams_out", "datagrams_back"), hosts, before, strict=True):
        counts[name] = host.n_datagrams_sent - sent
    counts["native_calls"] += 0  # the twin makes none
    if (n_allocations := allocations(mib)) is not None:
        counts["allocations"] = n_allocations
    return {name: round(n / mib, 2) for name, n in sorted(counts.items())}


def allocations(mib: int) -> int | None:
    """What the same transfer allocates, unobserved; ``None`` where nobody counts."""
    counter = getattr(ctypes.CDLL(None), "counted_allocations", None)
    if counter is None:
        return None
    counter.restype = ctypes.c_ulong
    pair, transfer = begun(mib)
    before: int = counter()
    finish(pair, transfer)
    return int(counter()) - before


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts what a bulk transfer costs")
    parser.add_argument("--update", type=Path, metavar="FILE", help="keep the numbers there")
    options = parser.parse_args()
    found = {hotpath.NAME: measure()}
    if options.update is not None:
        file: Path = options.update
        kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(json.dumps(kept | found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
