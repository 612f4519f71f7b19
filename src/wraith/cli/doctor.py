"""``wraith doctor``: what works on this machine, what does not, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

import wraith
from wraith import hotpath
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.entropy import OsRng
from wraith.aio.reach import Reach, reach_roads
from wraith.aio.transports.interfaces import reachable_addresses
from wraith.aio.transports.udp import UdpSocket
from wraith.aio.transports.udp_options import bound_socket
from wraith.cli.output import Output
from wraith.cli.road_hints import to_do
from wraith.cli.screen import DIM, RED
from wraith.errors import WraithError, install_command
from wraith.types import Address

SOCKET_BUFFER_WANTED = 1 << 20
DESCRIPTORS_WANTED = 1_024


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``ok`` false means that something is wrong, not that all fails;
    ``is_absent``: something optional is not here, and nothing is wrong."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    is_absent: bool = False

    @property
    def mark(self) -> str:
        """The first two characters of a line of the report."""
        if not self.ok:
            return "--"
        return "··" if self.is_absent else "ok"


@click.command("doctor")
@click.option("--json", "json_events", is_flag=True, help="One JSON object per finding on stdout.")
@click.option(
    "--to", "--reach", "code", metavar="CODE", help="Try each road of CODE ('-': read stdin)."
)
def doctor(json_events: bool, code: str | None) -> int:
    """Say what works on this machine, and what does not.

    A line begins with `ok`, with `··` where something optional is absent, or with `--` where
    something is wrong. With --to, try every road of a code alone, within 15 seconds, and say which
    lead there, how fast they are, and what to do about the others. The code stays good, and the
    other side shows nothing.
    """
    output = Output(json_events=json_events, quiet=False)
    if code is not None:
        text = sys.stdin.read() if code == "-" else code
        return _report_roads(output, reach_roads(text))
    broken = 0
    for finding in findings():
        broken += not finding.ok
        output.event(
            "finding",
            name=finding.name,
            ok=finding.ok,
            absent=finding.is_absent,
            detail=finding.detail,
            hint=finding.hint,
        )
        style = _MARK_STYLES[finding.mark]
        output.result(f"{finding.mark}  {finding.name:14} {finding.detail}", *style)
        if finding.hint:
            output.result(f"{'':18} hint: {finding.hint}")
    return 1 if broken else 0


def findings() -> Iterator[Finding]:
    """Everything worth knowing before the first transfer. Sends nothing."""
    yield Finding(
        "version",
        True,
        f"wraith {wraith.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
    )
    yield _hot_path()
    yield _udp()
    yield _ipv6()
    yield _addresses()
    yield _home()
    yield _descriptors()
    yield Finding("clock", True, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()) + _CLOCK)
    for extra, module in (("quic", "aioquic"), ("qh3", "qh3")):
        found = importlib.util.find_spec(module) is not None
        detail = "installed" if found else f"not installed: {install_command(extra)}"
        yield Finding(f"extra {extra}", True, detail, is_absent=not found)


_MARK_STYLES: dict[str, tuple[str, ...]] = {"ok": (), "··": (DIM,), "--": (RED,)}
_CLOCK = " (a handshake works when both clocks agree within a minute)"


def _hot_path() -> Finding:
    native = hotpath.NAME == "native"
    detail = f"{'native' if native else 'pure Python'}: {hotpath.reason()}"
    hint = "" if native else native_hint(os.environ)
    return Finding("hot path", True, detail, hint, is_absent=not native)


def native_hint(environ: Mapping[str, str]) -> str:
    """The command that brings the native part, from ``WRAITH_WHEELS``, a folder or an address, or
    from a checkout.

    It is published nowhere, so nothing here leaves its name to an index to look up. Empty where
    the person has switched it off.
    """
    if environ.get("WRAITH_PURE_PYTHON", "") not in ("", "0"):
        return ""
    place = environ.get("WRAITH_WHEELS") or "dist"
    words = ["pip", "install", "--no-index", "--no-deps", "--find-links", place]
    command = shlex.join([*words, f"wraith-native=={wraith.__version__}"])
    return command if environ.get("WRAITH_WHEELS") else f"in a checkout: make dist, then {command}"


def _udp() -> Finding:
    """Binds a socket as a transfer would and reads what the kernel really gave."""
    try:
        udp = UdpSocket.bind(Address(bytes([127, 0, 0, 1]), 0))
    except (OSError, WraithError) as error:
        return Finding("UDP", False, f"no socket: {error}", "is a sandbox in the way?")
    try:
        parts = [
            f"segmentation offload {'on' if udp.bursts_out else 'off'}",
            f"receive buffer {udp.receive_buffer_bytes // 1024} KiB",
        ]
        small = udp.receive_buffer_bytes < SOCKET_BUFFER_WANTED
    finally:
        udp.close()
    hint = "raise net.core.rmem_max and net.core.wmem_max to 8388608" if small else ""
    return Finding("UDP", not small, ", ".join(parts), hint)


def _ipv6() -> Finding:
    try:
        bound_socket(Address(bytes(15) + b"\x01", 0)).close()
    except (OSError, WraithError):
        return Finding("IPv6", True, "not available; IPv4 alone is used", is_absent=True)
    return Finding("IPv6", True, "available")


def _addresses() -> Finding:
    found = reachable_addresses(0)
    texts = [
        socket.inet_ntop(socket.AF_INET if len(a.ip) == 4 else socket.AF_INET6, a.ip) for a in found
    ]
    if not found or all(text.startswith("127.") or text == "::1" for text in texts):
        hint = "connect to a network, or use --listen for transfers on this machine"
        return Finding("addresses", False, "only this machine can reach this one", hint)
    return Finding("addresses", True, ", ".join(texts))


def _home() -> Finding:
    try:
        state = HomeFolder.default()
        key = state.identity(OsRng()).public
    except (OSError, WraithError) as error:
        return Finding("home", False, str(error), "set WRAITH_HOME to a folder you may write")
    return Finding("home", True, f"{state.home}, identity {key.short}…")


def _descriptors() -> Finding:
    try:
        import resource
    except ImportError:
        return Finding("descriptors", True, "no limit known on this platform")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    ok = soft >= DESCRIPTORS_WANTED or soft == resource.RLIM_INFINITY
    return Finding("descriptors", ok, f"{soft} open files", "" if ok else "ulimit -n 4096")


def _report_roads(output: Output, results: list[Reach]) -> int:
    for one in results:
        carrier = one.road.carrier.name
        detail, advice = _said_of(one)
        output.event(
            "reach",
            carrier=carrier.lower(),
            address=str(one.road),
            ok=one.ok,
            reason=None if one.failure is None else one.failure.reason.value,
            detail=detail,
            rtt_s=one.rtt_s,
            bytes_per_s=one.bytes_per_s,
            to_do=advice,
        )
        style = _MARK_STYLES["ok" if one.ok else "--"]
        output.result(f"{'ok' if one.ok else '--'}  {carrier:4} {one.road!s:28} {detail}", *style)
        if advice:
            output.result(f"{'':38} {advice}")
    if not any(one.ok for one in results):
        output.hint(
            "none answered: is the sender still waiting, is a firewall in between, "
            "are both clocks right?"
        )
        return 1
    return 0


def _said_of(one: Reach) -> tuple[str, str]:
    """The result for a person, and what to do about it."""
    if one.failure is not None:
        return str(one.failure), to_do(one.road.carrier, one.failure.reason)
    if one.error or one.rtt_s is None:
        return one.error, ""
    detail = f"answers in {one.rtt_s * 1000:.0f} ms"
    if one.bytes_per_s is not None:
        detail += f", {one.bytes_per_s / 1e6:.1f} MB/s"
    return detail, ""
