"""The whole benchmark suite: ``make bench``.

    python bench/run.py [--quick] [--only NAME]... [--list]

Runs one subject after the other, prints each table with the peer or the limit beside each figure
and pass or MISS for each bound, keeps the results in ``bench/results/`` and makes
``docs/explanation/performance.md`` from them (``page.py`` alone makes it again in a second). At
most 25 minutes on two quiet cores without the long subjects; the end says how long. ``--quick``
proves in three minutes that everything runs; its figures mean nothing, go to
``bench/results/quick/`` and change no page. Ends with 1 when a subject is broken, and when one that
was named misses a bound, regression bounds included.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import ROOT
from page import write_page
from report import Report

SUBJECTS = {
    "throughput": "one stream over loopback, beside aioquic, qh3, quinn, quic-go, TLS, raw UDP",
    "carriers": "one stream and a file over TCP, WebSocket, proxies, beside TLS and websockets",
    "veth": "one stream between two network namespaces, with and without offloads",
    "files": "whole commands on files, beside sendme, croc, scp, rsync, magic-wormhole",
    "kept": "new data beside 4 GiB that an earlier run left",
    "startup": "processor time of imports and of commands until they are ready",
    "handshake": "time, CPU and bytes of a handshake, beside aioquic and quinn",
    "latency": "echo, idle and loaded; first byte of a small file",
    "memory": "per idle session up to 10,000; sending and receiving 10 GiB",
    "scaling": "growth with file size, active sessions, round trip",
    "loss_response": "mean windows under random loss beside the response functions",
    "lossy_links": "shares of links that lose datagrams, BBR and CUBIC, virtual time",
    "link_use": "share of a 100 Mbit/s link; files over bad links",
    "reorder": "packets that overtake each other, loss on a LAN, beside kernel TCP",
    "roads": "dials where roads are blocked, and data while a road goes",
    "moves": "a file under way while one side's address changes",
    "parts": "microseconds per packet by part",
    "flood": "a transfer under way while garbage is thrown at its port",
    "hostile": "work and memory that an authenticated peer can cause",
    "libp2p": "post-quantum QUIC beside plain X25519",
    "mls": "groups of a thousand members beside OpenMLS",
}
#: Only when named: 45 minutes, beside the 25 of all the others.
LONG = ("reorder",)
#: No peer that has to be built stands beside these.
ALONE = ("carriers", "loss_response", "lossy_links", "roads", "moves")


def measured(name: str, *, quick: bool) -> Report:
    """Runs one subject. Its module has ``run`` or ``measure``."""
    start = time.monotonic()
    module = importlib.import_module(name)
    function = getattr(module, "run", None) or module.measure
    report: Report = function(quick=quick)
    report.seconds = time.monotonic() - start
    return report


def build_peers() -> None:
    """The system's programs and the peers that a toolchain here can build, once each."""
    subprocess.run(["sh", str(ROOT / "tools" / "setup-system.sh"), "--bench"], check=False)
    for script in ("build-bench-peers.sh", "build-interop.sh"):
        subprocess.run(["sh", str(ROOT / "tools" / script)], check=False)


def build_link() -> None:
    """The emulated link."""
    subprocess.run(["sh", str(ROOT / "tools" / "build-link.sh")], check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures everything and makes the page")
    parser.add_argument("--quick", action="store_true", help="small sizes: proves that it works")
    parser.add_argument("--only", action="append", choices=list(SUBJECTS), metavar="NAME")
    parser.add_argument("--list", action="store_true", help="names what can be measured")
    options = parser.parse_args()
    # An installed command finds its byte code ready; so must the ones that are measured here.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if options.list:
        for name, what in SUBJECTS.items():
            print(f"{name:14} {what}")
        return 0
    here = [n for n in SUBJECTS if n not in LONG and (ROOT / "bench" / f"{n}.py").exists()]
    chosen = options.only or here
    if {"reorder", "roads", "moves"} & set(chosen):
        build_link()
    if not options.quick:
        if {"carriers", "roads"} & set(chosen):
            subprocess.run(["sh", str(ROOT / "tools" / "setup-carriers.sh")], check=False)
        if set(chosen) - {*LONG, *ALONE}:
            build_peers()
        load = os.getloadavg()[0]
        if load > 1:
            print(f"the load is {load:.1f}: figures of a busy machine mean little", flush=True)
    began = time.monotonic()
    missed: list[str] = []
    broken: list[str] = []
    for name in chosen:
        print(f"… {name}", file=sys.stderr, flush=True)
        try:
            report = measured(name, quick=options.quick)
        except Exception:  # one subject must not cost the others
            traceback.print_exc()
            broken.append(name)
            continue
        print(report.text(), flush=True)
        report.save(quick=options.quick)
        print(f"{name} took {report.seconds:.0f} s", file=sys.stderr, flush=True)
        missed += [f"{name}: {bound.text()}" for bound in report.bounds if not bound.is_met]
    if not options.quick:
        write_page(list(SUBJECTS))
    print(f"{len(missed)} bounds missed" + "".join(f"\n  {line}" for line in missed))
    for name in broken:
        print(f"broken: {name}")
    print(f"all of it took {(time.monotonic() - began) / 60:.1f} minutes")
    # Who names a subject asks whether it reaches its bounds; quick figures cannot tell.
    return 1 if broken or (missed and options.only and not options.quick) else 0


if __name__ == "__main__":
    sys.exit(main())
