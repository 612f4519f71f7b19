"""How long it takes to connect where roads are blocked, and how long data stand still when one
goes.

    python bench/roads.py [--quick]

Two sessions' ends in two network namespaces, a router and an emulated link (``native/link``) of
100 Mbit/s and 50 ms between them. nftables in the router drops UDP without a word or resets TCP.
Each time counts from the call of ``wraith.connect`` to its session; the first of a process, which
imports what is imported lazily, is left out. A gap is the longest time without data at a reader to
whom 64 KiB come every 20 ms. Last, one stream over a TCP link stands beside the kernel's TCP alone
where one packet in a hundred is lost. Needs root, ``ip``, ``nft``, ``/dev/net/tun`` and
``tools/build-link.sh``; without them the subject is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from emulated_link import two_namespaces
from harness import PEERS, PeerFailed, Program, started
from reorder import one_run
from report import Cell, Report

from wraith.testing import netns
from wraith.testing.emulated_link import LinkFailed, LinkPath, joined, missing
from wraith.testing.foreign_peers import find_program
from wraith.testing.netns import Flow, NotAllowed, RoutedNet, routed
from wraith.testing.nginx import Nginx
from wraith.testing.proxies import free_port
from wraith.testing.web_authority import WebAuthority
from wraith.transfer.code import decode_code, encode_code
from wraith.types import Address

RTT_S = 0.05
PATH = LinkPath(rate_mbit=100, delay_ms=1000 * RTT_S / 2, queue_bytes=1_000_000)
CONTROLS = ("cubic", "bbr")
"""Of kernel TCP, at both ends of both."""
ADDRESSES = (
    "10.213.21.2", "fd13:21::2", "10.213.21.3", "fd13:21::3", "10.213.21.4", "10.213.21.5",
)  # fmt: skip
WEB_HOST, WEB_ADDRESS = "web.example", "192.0.2.2"
"""In no private network: a code may lead there."""
LOSSY = replace(PATH, queue_bytes=625_000, loss=0.01)
TCP_HEADERS = 52
TCP_PAYLOAD = 1500 - TCP_HEADERS
PEER = str(PEERS / "wraith_roads.py")
ROW_S, SLACK_S = 0.25, 0.1
"""A row of roads starts so long after the one before it; the bound allows so much beyond that."""
DROP_GAP_S, RESET_GAP_S, BACK_S = 2.0, 0.5, 35.0
SETTLE_S, LOOK_S = 3.0, 6.0


class Scene:
    """A listener in ``right`` and a dialler in ``left``."""

    def __init__(self, net: RoutedNet, code: str, dialler: Program) -> None:
        self.net = net
        self.code = code
        self.dialler = dialler

    def connect(self, n: int, code: str | None = None) -> dict[str, Any]:
        """The times of ``n`` dials, the first of the process not counted."""
        self.dialler.ask(f"connect {self.code} 1")
        return self.dialler.ask(f"connect {code or self.code} {n}")

    def named(self, addresses: Sequence[str]) -> str:
        """The code with these addresses instead of its own."""
        code = decode_code(self.code)
        port = code.addresses[0].port
        places = tuple(Address(ip_address(ip).packed, port) for ip in addresses)
        return encode_code(replace(code, addresses=places))


@contextmanager
def many_addresses(net: RoutedNet) -> Iterator[None]:
    """``right`` has all of ``ADDRESSES``: as many as a code can name."""
    for ip in ADDRESSES:
        if ip not in (net.right.ipv4, net.right.ipv6):
            bits = 64 if ":" in ip else 24
            net.right.ip("address", "add", f"{ip}/{bits}", "dev", net.right.device)
    yield


@contextmanager
def scene(carriers: str) -> Iterator[Scene]:
    with (
        routed(tunnel=True) as net,
        many_addresses(net),
        joined(net.left.name, net.router.name, PATH, device=net.left.device),
        started(net.right.command(sys.executable, PEER, "serve")) as listener,
        started(net.left.command(sys.executable, PEER, "dial", carriers)) as dialler,
    ):
        yield Scene(net, str(listener.line()["port"]), dialler)


@contextmanager
def web_scene() -> Iterator[Scene]:
    """The same, and in ``right`` an nginx with TLS, the configuration of the how-to and a name that
    ``left`` knows; UDP is dropped, and TCP but for nginx's port."""
    with (
        tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder,
        routed(tunnel=True) as net,
        joined(net.left.name, net.router.name, PATH, device=net.left.device),
        asyncio.Runner() as runner,
    ):
        hosts = Path("/etc/netns") / net.left.name / "hosts"  # what the namespace sees as its own
        authority = WebAuthority(Path(folder) / "authority", "an authority")
        nginx = Nginx(Path(folder) / "nginx", authority, port := free_port(), host=WEB_HOST)
        net.right.ip("address", "add", f"{WEB_ADDRESS}/32", "dev", net.right.device)
        net.router.ip("route", "add", f"{WEB_ADDRESS}/32", "via", net.right.ipv4)
        web = (f"wss://{WEB_HOST}:{nginx.port}/share", f"127.0.0.1:{port}")
        hosts.parent.mkdir(parents=True)
        try:
            hosts.write_text(f"{WEB_ADDRESS} {WEB_HOST}\n")
            with net.right.entered():
                runner.run(nginx.__aenter__())
            trust = {**os.environ, "SSL_CERT_FILE": str(authority.certificate)}
            dials = net.left.command(sys.executable, PEER, "dial", "udp,tcp,ws")
            serves = net.right.command(sys.executable, PEER, "serve", *web)
            with started(serves) as listener, started(dials, environment=trust) as dialler:
                net.drop_udp()
                net.drop(Flow("tcp", not_port=nginx.port))
                yield Scene(net, str(listener.line()["port"]), dialler)
        finally:
            runner.run(nginx.kill())
            shutil.rmtree(hosts.parent)


def connects(report: Report, n: int) -> None:
    """Dials with everything open, and without UDP."""
    rows: list[tuple[Cell, ...]] = []
    with scene("udp,tcp") as one:
        opened = one.connect(n)
        n_udp = opened["carriers"].count("udp")
        rows.append(("everything open", n_udp, n, *middle(opened["ms"]), None))
        report.need("everything open: UDP is used", n_udp, n)
        report.data["open"] = opened
        one.net.drop_udp()
        bound_ms = 1000 * (ROW_S + 4 * RTT_S + SLACK_S)
        for n_named in (1, len(ADDRESSES)):
            name = "1 address" if n_named == 1 else f"{n_named} addresses"
            dropped = one.connect(max(n // 5, 1), one.named(ADDRESSES[:n_named]))
            n_tcp = dropped["carriers"].count("tcp")
            times = dropped["ms"]
            rows.append((f"UDP dropped, {name}", n_tcp, len(times), *middle(times), bound_ms))
            what = f"UDP dropped, {name}: longest dial"
            report.need(what, max(dropped["ms"]), bound_ms, "ms", at_most=True)
            report.data[f"dropped, {name}"] = dropped
    if find_program("nginx") is None:
        report.left_out.append("wss: nginx is not installed")
    else:
        with web_scene() as one:
            dropped = one.connect(max(n // 5, 1))
        bound_ms = 1000 * (2 * ROW_S + 7 * RTT_S + SLACK_S)
        n_ws, times = dropped["carriers"].count("ws"), dropped["ms"]
        rows.append(("UDP and TCP dropped, wss left", n_ws, len(times), *middle(times), bound_ms))
        report.need("wss left: longest dial", max(times), bound_ms, "ms", at_most=True)
        report.data["wss"] = dropped
    headers = ("", "by UDP, TCP, or wss", "dials", "ms, median", "longest", "bound")
    report.add("connect, in milliseconds", headers, rows)


def middle(times: Sequence[float]) -> tuple[float, float]:
    return statistics.median(times), max(times)


def udp_dropped(one: Scene) -> tuple[float, float]:
    """The gap when UDP is dropped under way, and how long after its return it is used again."""
    one.dialler.ask(f"pull {one.code}")
    time.sleep(SETTLE_S)
    one.dialler.ask("mark")
    rule = one.net.drop_udp()
    time.sleep(LOOK_S)
    said = one.dialler.ask("report")
    if said["carrier"] != "tcp":
        raise PeerFailed(f"data go over {said['carrier']} without UDP")
    rule.remove()
    one.dialler.ask("mark")
    until = time.monotonic() + BACK_S + 10
    while time.monotonic() < until:
        time.sleep(0.5)
        moves = one.dialler.ask("report")["moves"]
        if moves and moves[-1][1] == "udp":
            return float(said["gap_s"]), float(moves[-1][0])
    raise PeerFailed("UDP is not used again")


def tcp_reset(one: Scene) -> tuple[float, None]:
    """The gap when a TCP link is reset while UDP works again."""
    rule = one.net.drop_udp()
    one.dialler.ask(f"pull {one.code}")
    time.sleep(SETTLE_S)
    rule.remove()
    one.dialler.ask("mark")
    one.net.reset_tcp()
    time.sleep(LOOK_S)
    said = one.dialler.ask("report")
    if said["carrier"] != "udp":
        raise PeerFailed(f"data go over {said['carrier']} without TCP")
    return float(said["gap_s"]), None


def switches(report: Report, runs: int) -> None:
    rows: list[tuple[Cell, ...]] = []
    kinds: list[tuple[str, Callable[[Scene], tuple[float, float | None]], float]] = [
        ("UDP is dropped", udp_dropped, DROP_GAP_S),
        ("the TCP link is reset", tcp_reset, RESET_GAP_S),
    ]
    for name, make, bound_s in kinds:
        gaps: list[float] = []
        returns: list[float] = []
        for number in range(1, runs + 1):
            try:
                with scene("udp,tcp") as one:
                    gap, back = make(one)
            except (PeerFailed, LinkFailed) as error:
                report.left_out.append(f"{name}, run {number}: {error}")
                continue
            gaps.append(gap)
            if back is not None:
                returns.append(back)
            print(f"  {name}: {gap:.2f} s, back after {back}", file=sys.stderr, flush=True)
        report.need(f"{name}, runs that were measured", len(gaps), runs)
        if not gaps:
            continue
        longest_back = max(returns) if returns else None
        rows.append((name, statistics.median(gaps), max(gaps), bound_s, longest_back))
        report.need(f"{name}, longest gap", max(gaps), bound_s, "s", at_most=True)
        if longest_back is not None:
            report.need("back on UDP, longest", longest_back, BACK_S, "s", at_most=True)
        report.data[name] = {"gap_s": gaps, "back_s": returns}
    headers = ("", "gap s, median", "longest", "bound", "back on UDP after s, longest")
    report.add(f"a road goes while data come, n = {runs}", headers, rows)


def lossy(report: Report, runs: int, seconds: float) -> None:
    """A TCP link and the kernel's TCP alone over a path that loses one packet in a hundred."""
    rows: list[tuple[Cell, ...]] = []
    for control in CONTROLS:
        rates: dict[str, list[float]] = {"TCP link": [], "kernel TCP": []}
        packets: dict[str, list[float]] = {name: [] for name in rates}
        with two_namespaces() as ends:
            for seed in range(1, runs + 1):
                for name, kind in zip(rates, ("link", "tcp"), strict=True):
                    one = one_run(ends, LOSSY, kind, seconds, seed, BULK_TCP=control)
                    rates[name].append(one.mbit_per_s)
                    there = one.link["there"]
                    packets[name].append(there["packets"] * TCP_PAYLOAD / payload_of(there))
                    said = f"  1 % lost, {control}, {name}: {one.mbit_per_s:.1f} Mbit/s"
                    print(said, file=sys.stderr, flush=True)
        link, kernel = (statistics.median(each) for each in rates.values())
        sent, by_kernel = (statistics.median(each) for each in packets.values())
        rows.append((control, link, kernel, link / kernel, sent, by_kernel))
        report.data[f"lossy, {control}"] = {"mbit_per_s": rates, "packets": packets}
        report.need(f"1 % lost, {control}: TCP link to kernel TCP", link / kernel, 0.9, "×")
        report.need(f"1 % lost, {control}: packets per segment", sent, 1.05, at_most=True)
    headers = (
        "control", "TCP link, Mbit/s", "kernel TCP", "×", "packets per segment of payload, link",
        "kernel",
    )  # fmt: skip
    report.add(f"one stream over TCP, one packet in a hundred lost, n = {runs}", headers, rows)


def payload_of(there: dict[str, int]) -> float:
    """TCP payload bytes that arrived: every packet has 52 bytes of headers."""
    return there["delivered_bytes"] - TCP_HEADERS * there["delivered"]


def run(*, quick: bool) -> Report:
    report = Report(
        "roads",
        "Roads that are blocked, and roads that go",
        "Two namespaces, a router that drops UDP or resets TCP, 100 Mbit/s and 50 ms between them. "
        "A dial counts from the call of wraith.connect to its session. A gap is the longest time "
        "without data at a reader to whom 64 KiB come every 20 ms.",
    )
    if lacks := [*missing(), *([why] if (why := netns.refusal()) else [])]:
        report.left_out.append(f"everything: {', '.join(lacks)}")
        return report
    try:
        connects(report, 10 if quick else 100)
        switches(report, 1 if quick else 5)
        lossy(report, 1 if quick else 3, 3 if quick else 10)
    except (NotAllowed, LinkFailed, PeerFailed) as error:
        report.left_out.append(str(error))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Roads that are blocked, and roads that go")
    parser.add_argument("--quick", action="store_true")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
