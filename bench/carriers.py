"""One stream and one file over each carrier, beside what moves bytes there without WRAITH.

    python bench/carriers.py [--quick]

A TCP link beside TLS over blocking sockets and our own UDP; the same through an HTTP and a SOCKS
proxy; a WebSocket behind nginx with TLS beside ``websockets`` alone behind the same nginx; a QUIC
link beside a bare stream of the same library; a file by the whole command over TCP and over UDP.
Every kernel TCP connection of ours and of the peers has the congestion control ``CONGESTION``, and
both ends say so; the connections that nginx and the proxies open have the system's. nginx,
tinyproxy and microsocks that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import socket
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cli_transfer import cli_transfer
from files import SHM, random_file
from harness import (
    MIB,
    PEERS,
    BulkFigure,
    BulkPeer,
    PeerFailed,
    alternate,
    medians,
    python_peer,
    rounded,
    singles,
    spread,
)
from report import Report
from throughput import SCRIPT

from wraith.testing.foreign_peers import find_program
from wraith.testing.nginx import Nginx
from wraith.testing.proxies import microsocks, tinyproxy
from wraith.testing.web_authority import WebAuthority

CONGESTION = "cubic"
"""Of all kernel TCP here: the default of most systems, and it does not pace."""
DATAGRAM_BYTES = 1400
QUIC_DATAGRAM_BYTES = 1200
SUITE = ("--suite", "B")
COMMAND = str(PEERS / "wraith_command.py")
WEB_HOST = "localhost"
LINK, UDP, TLS = "TCP link", "UDP", "TLS 1.3 (blocking sockets)"
WS, BARE_WS = "WebSocket link", "websockets, messages of 64 KiB"
QUIC = "QUIC link"
Figures = dict[str, list[BulkFigure]]


def wraith_link(name: str, carrier: str, mib: int, *options: str, **environment: str) -> BulkPeer:
    return kernel_tcp(
        python_peer(name, SCRIPT, mib, *SUITE, "--carrier", carrier, *options, **environment)
    )


def tls(name: str, mib: int, **environment: str) -> BulkPeer:
    return kernel_tcp(python_peer(name, PEERS / "tls_blocking.py", mib, **environment))


def kernel_tcp(peer: BulkPeer) -> BulkPeer:
    return replace(peer, environment={**peer.environment, "BULK_TCP": CONGESTION})


def measure(*, quick: bool) -> Report:
    """Every table; the rows of one table are run in turn."""
    report = Report(
        "carriers",
        "TCP, WebSocket and proxies over loopback",
        "One stream of suite B, one process a side, memory to memory, as in the first table of "
        "this page; medians of alternating runs. A link has no window of its own: the kernel's "
        "TCP does losses, window and pace for ours as for the peers, with "
        f"{CONGESTION} at both ends (the connections that nginx and the proxies open have the "
        "system's). nginx has the configuration of the how-to. Both QUIC rows have one library, "
        "with ML-KEM in its handshake." + realtime(),
    )
    mib, runs = (32, 1) if quick else (512, 5)
    streams(report, mib, runs)
    proxies(report, mib // 2, min(runs, 3))
    websocket(report, mib // 2, min(runs, 3))
    quic(report, mib // 8, min(runs, 3))
    files(report, 64 if quick else 1024, min(runs, 3))
    return report


def realtime() -> str:
    """How it was run, where that matters."""
    if not hasattr(os, "sched_getscheduler") or os.sched_getscheduler(0) != os.SCHED_FIFO:
        return ""
    return " Others worked on the machine: what is measured here had real-time priority."


# --- streams --------------------------------------------------------------------------------------


def streams(report: Report, mib: int, runs: int) -> None:
    udp = python_peer(UDP, SCRIPT, mib, *SUITE)
    peers = [wraith_link(LINK, "tcp", mib), udp, tls(TLS, mib)]
    figures = alternate(peers, DATAGRAM_BYTES, runs, left_out=report.left_out)
    add(report, "one stream, directly", figures, runs, against=(UDP, TLS))
    need(report, "TCP link to TLS", figures, LINK, TLS, 1.0)
    need(report, "TCP link to our UDP", figures, LINK, UDP, 0.9)


def proxies(report: Report, mib: int, runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        for name in ("tinyproxy", "microsocks"):
            if find_program(name) is None:
                report.left_out.append(f"{name}: not installed")
                continue
            try:
                with tinyproxy(Path(folder)) if name == "tinyproxy" else microsocks() as url:
                    peers = [
                        wraith_link(LINK, "tcp", mib, "--proxy", url),
                        tls(TLS, mib, BULK_PROXY=url),
                    ]
                    figures = alternate(peers, DATAGRAM_BYTES, runs, left_out=report.left_out)
            except (AssertionError, OSError) as error:
                report.left_out.append(f"{name}: {error}")
                continue
            add(report, f"one stream through {name}", figures, runs, against=(TLS,))
            need(report, f"through {name}, to TLS", figures, LINK, TLS, 0.9)


def websocket(report: Report, mib: int, runs: int) -> None:
    if find_program("nginx") is None:
        report.left_out.append("nginx: not installed")
        return
    try:
        figures = asyncio.run(behind_nginx(mib, runs, report.left_out))
    except (RuntimeError, OSError) as error:
        report.left_out.append(f"behind nginx: {error}")
        return
    add(report, "one stream over wss through nginx", figures, runs, against=(BARE_WS,))
    need(report, "wss through nginx, to websockets", figures, WS, BARE_WS, 0.7)


async def behind_nginx(mib: int, runs: int, left_out: list[str]) -> Figures:
    """Both stand behind the same place of one nginx, one after the other."""
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        authority = WebAuthority(Path(folder) / "authority", "an authority")
        with socket.create_server(("127.0.0.1", 0)) as held:  # so that nginx takes another port
            port = held.getsockname()[1]
            server = Nginx(Path(folder) / "nginx", authority, port, host=WEB_HOST)
        async with server as nginx:
            url = f"wss://{WEB_HOST}:{nginx.port}/share"
            trust = {"SSL_CERT_FILE": str(authority.certificate)}
            bare = python_peer(
                BARE_WS, PEERS / "websockets_bulk.py", mib,
                BULK_WS_PORT=str(port), BULK_WS_URL=f"{url}/x", **trust,
            )  # fmt: skip
            place = ("--ws", url, "--ws-listen", f"127.0.0.1:{port}")
            peers = [wraith_link(WS, "ws", mib, *place, **trust), kernel_tcp(bare)]
            return await asyncio.to_thread(
                alternate, peers, DATAGRAM_BYTES, runs, left_out=left_out
            )


def quic(report: Report, mib: int, runs: int) -> None:
    """A node takes qh3 where it is installed, else aioquic; its bare stream stands beside it."""
    backend = "qh3" if importlib.util.find_spec("qh3") is not None else "aioquic"
    bare = f"{backend}, one bare stream"
    peers = [
        wraith_link(QUIC, "quic", mib),
        python_peer(bare, PEERS / "libp2p_bulk.py", mib, backend, "require"),
    ]
    figures = alternate(peers, QUIC_DATAGRAM_BYTES, runs, left_out=report.left_out)
    add(report, "one stream over QUIC", figures, runs, against=(bare,))
    need(report, "QUIC link to its library alone", figures, QUIC, bare, 0.8)


def add(report: Report, title: str, figures: Figures, runs: int, *, against: Sequence[str]) -> None:
    middle = {name: medians(each) for name, each in figures.items()}
    report.add(
        f"{title}, n = {runs}",
        ("", "MB/s", "lowest–highest", "CPU-s/GiB", "TCP", *(f"× {name}" for name in against)),
        [
            (
                name,
                figure.mb_per_s,
                spread([f.mb_per_s for f in figures[name]]),
                figure.cpu_s_per_gib,
                " / ".join(dict.fromkeys(each for f in figures[name] for each in f.tcp)) or "–",
                *(
                    figure.mb_per_s / middle[other].mb_per_s if other in middle else None
                    for other in against
                ),
            )
            for name, figure in middle.items()
        ],
    )
    report.data[title] = {name: singles(each) for name, each in figures.items()}


def need(report: Report, what: str, figures: Figures, ours: str, theirs: str, least: float) -> None:
    if ours in figures and theirs in figures:
        ratio = medians(figures[ours]).mb_per_s / medians(figures[theirs]).mb_per_s
        report.need(what, ratio, least, "×")


# --- files ----------------------------------------------------------------------------------------


def files(report: Report, mib: int, runs: int) -> None:
    """The whole command, from memory to memory."""
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="wraith-bench-", dir=SHM) as folder:
        source = random_file(Path(folder) / "large.bin", mib * MIB)
        for _ in range(runs):
            for name, carrier in ((LINK, "tcp"), (UDP, "udp")):
                environment = {"WRAITH_CARRIERS": carrier, "BULK_TCP": CONGESTION}
                program = (COMMAND,) if carrier == "tcp" else ("-m", "wraith")
                try:
                    figure = cli_transfer(
                        source, Path(folder) / "work", environment=environment, program=program
                    )
                except PeerFailed as error:
                    report.left_out.append(f"a file, {name}: {error}")
                    return
                rates.setdefault(name, []).append(figure.n_bytes / figure.seconds / 1e6)
                print(f"  file, {name}: {rates[name][-1]:.0f} MB/s", file=sys.stderr, flush=True)
    middle = {name: statistics.median(each) for name, each in rates.items()}
    ratio = middle[LINK] / middle[UDP]
    report.add(
        f"a file of {mib} MiB in memory, from connected to done, n = {runs}",
        ("", "MB/s", "lowest–highest", f"× {UDP}"),
        [(name, each, spread(rates[name]), each / middle[UDP]) for name, each in middle.items()],
    )
    report.data["file"] = rounded(rates)
    report.need("a file over TCP to our UDP", ratio, 0.6, "×")


def main() -> None:
    parser = argparse.ArgumentParser(description="Streams and files over each carrier")
    parser.add_argument("--quick", action="store_true")
    print(measure(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
