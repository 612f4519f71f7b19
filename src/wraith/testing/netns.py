"""Networks of this machine's own: namespaces, the wires between them, and what a firewall or a NAT
does to packets there. Linux, superuser.

::

    with routed() as net:                     # left -- router -- right, IPv4 and IPv6
        with net.right.entered():
            server = socket.create_server((net.right.ipv4, 0))
        with net.left.entered():              # a socket stays where it was made
            client = socket.create_connection(server.getsockname())
        rule = net.freeze_tcp_after(16 * 1024)
        net.left.run("ping", "-c1", net.right.ipv4)
        rule.remove()

A network is gone when its block ends; one whose process was killed goes when the next is made.
``paired`` has no router between its ends. Rate, delay and loss are the work of ``emulated_link``.

``require_netns`` skips a test where this may not be done, or fails it where
``WRAITH_REQUIRE_INTEROP`` names ``netns``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from wraith.testing.foreign_peers import absent, find_program, require_program

COMMAND_TIMEOUT_S: Final = 20.0
DEVICE: Final = "eth0"
"""The wire of an end; the router calls its own ``left`` and ``right``."""
MTU: Final = 1500
CLIENT_HELLO: Final = 0x160301
"""The first three bytes of a TLS record that holds a ClientHello."""

_CLONE_NEWNET: Final = 0x4000_0000
_PREFIX: Final = "wraith-"
_OURS: Final = re.compile(rf"{_PREFIX}(\d+)-\d+-\w+")
_PLACES: Final = Path("/run/netns")
_number = itertools.count(1)
# A table of its own: what other tables of the namespace say still holds.
_TABLE: Final = """
table inet wraith {
  chain forward { type filter hook forward priority 0; }
  chain passed { type filter hook forward priority 10; }
  chain nat { type nat hook postrouting priority 100; }
}
"""


class NotAllowed(Exception):
    """This user may not make network namespaces here, or a tool is missing."""


class Direction(Enum):
    """A direction through the router."""

    OUT = "left"  # from left to right; the value is the device that packets come in by
    BACK = "right"


class Flow(NamedTuple):
    """What a rule is about: ``udp`` or ``tcp``, in both directions. With ``port``, connections to
    that port alone; with ``not_port``, all but those. The router follows connections from the
    first such rule on: of older ones it cannot tell who has connected."""

    protocol: str
    port: int = 0
    not_port: int = 0

    @property
    def match(self) -> str:
        """In the words of nft."""
        words = f"meta l4proto {self.protocol}"
        if self.port:
            words += f" ct original proto-dst {self.port}"
        if self.not_port:
            words += f" ct original proto-dst != {self.not_port}"
        return words


UDP: Final = Flow("udp")
TCP: Final = Flow("tcp")


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network stack with a name. The addresses of a router are empty, and so is its device."""

    name: str
    ipv4: str = ""
    ipv6: str = ""
    device: str = ""

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` in here."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(
        self, *words: str, text_in: str = "", timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in here to its end.

        Raises:
            subprocess.CalledProcessError: it failed.
            subprocess.TimeoutExpired: it was killed for taking longer.
        """
        return _run(self.command(*words), text_in, timeout_s)

    def ip(self, *words: str) -> None:
        """``ip`` for what is in here."""
        _run(["ip", "-n", self.name, *words])

    def set_sysctl(self, name: str, value: int) -> None:
        """``net/ipv4/ip_forward`` and the like, of this namespace."""
        self.run("sh", "-c", f"echo {value} >/proc/sys/{name}")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in here for the block. What it opens, and what it starts, stays in
        here; other threads go on where they are."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(_PLACES / self.name, "rb") as own:
            _set_namespace(own.fileno())
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    def change_address(self, ipv4: str) -> Namespace:
        """Gives the end ``ipv4`` instead of the address that it has, in the same /24; returns it
        with that. Routes that went with the old address are made again."""
        gateway = f"{ipv4.rpartition('.')[0]}.1"
        self.ip("address", "del", f"{self.ipv4}/24", "dev", self.device)
        self.ip("address", "add", f"{ipv4}/24", "dev", self.device)
        self.ip("route", "replace", "default", "via", gateway, "dev", self.device)
        return replace(self, ipv4=ipv4)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule in a router, in force until ``remove``."""

    router: Namespace
    chain: str
    handle: int

    @property
    def n_packets(self) -> int:
        """How many packets it has met."""
        return self._counted("packets")

    @property
    def n_bytes(self) -> int:
        """How many bytes these had, IP headers counted."""
        return self._counted("bytes")

    def _counted(self, what: str) -> int:
        for rule in _rules(self.router, self.chain):
            if rule["handle"] == self.handle:
                return sum(part["counter"][what] for part in rule["expr"] if "counter" in part)
        raise ValueError("the rule is removed")

    def remove(self) -> None:
        """Ends it; what it met before is as it was."""
        _nft(self.router, f"delete rule inet wraith {self.chain} handle {self.handle}")


@dataclass(frozen=True, slots=True)
class RoutedNet:
    """Two ends with a router between them, which may be told to misbehave."""

    left: Namespace
    router: Namespace
    right: Namespace

    def drop_udp(self, *directions: Direction) -> Rule:
        """UDP is lost without a word, in one direction or, with none named, in both."""
        return self.drop(UDP, *directions)

    def drop(self, flow: Flow, *directions: Direction) -> Rule:
        """It is lost without a word, in one direction or, with none named, in both."""
        return self._forward(f"{_coming_by(directions)} {flow.match} counter drop")

    def reset_tcp_after_client_hello(self) -> Rule:
        """Whoever sends a TLS ClientHello gets a RST; the other side hears nothing."""
        return self._forward(
            f"meta l4proto tcp @ih,0,24 {CLIENT_HELLO:#x} counter reject with tcp reset"
        )

    def freeze_tcp_after(self, n_bytes: int = 16 * 1024) -> Rule:
        """A connection that has moved more than this, both directions and headers counted, is dead
        without a word. Connections that began earlier are not counted."""
        return self._forward(f"meta l4proto tcp ct bytes > {n_bytes} counter drop")

    def reset_tcp(self, flow: Flow = TCP) -> Rule:
        """Whoever sends anything of it, a SYN too, gets a RST."""
        return self._forward(f"{flow.match} counter reject with tcp reset")

    def count(self, flow: Flow) -> Rule:
        """Changes nothing: it counts what comes through."""
        return self._add("passed", f"{flow.match} counter")

    def drop_all(self, *directions: Direction) -> Rule:
        """Nothing comes through any more: a cut without a RST."""
        return self._forward(f"{_coming_by(directions)} counter drop")

    def masquerade(self) -> Rule:
        """From now on the router is a NAT for ``left`` (IPv4), with ports drawn at random."""
        text = f'ip version 4 oifname "{Direction.BACK.value}" counter masquerade random'
        return self._add("nat", text)

    def forget_nat(self) -> None:
        """The NAT loses all its mappings: what goes on comes from another port. Needs
        ``conntrack``."""
        conntrack = require_program("conntrack")
        self.router.run(str(conntrack), "-F")

    def _forward(self, text: str) -> Rule:
        return self._add("forward", text)

    def _add(self, chain: str, text: str) -> Rule:
        _nft(self.router, f"add rule inet wraith {chain} {text}")
        return Rule(self.router, chain, _rules(self.router, chain)[-1]["handle"])


@contextlib.contextmanager
def routed(*, tunnel: bool = False) -> Iterator[RoutedNet]:
    """``left -- router -- right``, IPv4 and IPv6, nothing blocked.

    Args:
        tunnel: the wire of ``left`` is a TUN device at both ends, which moves nothing until
            ``emulated_link.joined`` connects them.
    Raises:
        NotAllowed: see there.
    """
    out, back = Direction.OUT.value, Direction.BACK.value
    left = Namespace("left", "10.213.20.2", "fd13:20::2", out if tunnel else DEVICE)
    right = Namespace("right", "10.213.21.2", "fd13:21::2", DEVICE)
    with _named(left, Namespace("router"), right) as (left, router, right):
        if tunnel:
            for end in (left, router):
                end.ip("tuntap", "add", out, "mode", "tun")
                end.ip("link", "set", out, "mtu", str(MTU), "txqueuelen", "10000", "up")
        else:
            _wire(left, DEVICE, router, out)
        _wire(right, DEVICE, router, back)
        for end, device in ((left, out), (right, back)):
            for own, gateway, bits in (
                (end.ipv4, f"{end.ipv4.rpartition('.')[0]}.1", 24),
                (end.ipv6, f"{end.ipv6.rpartition('::')[0]}::1", 64),
            ):
                router.ip("address", "add", f"{gateway}/{bits}", "dev", device)
                end.ip("address", "add", f"{own}/{bits}", "dev", end.device)
                end.ip("route", "add", "default", "via", gateway, "dev", end.device)
        router.set_sysctl("net/ipv4/ip_forward", 1)
        router.set_sysctl("net/ipv6/conf/all/forwarding", 1)
        _nft(router, _TABLE)
        yield RoutedNet(left, router, right)


@contextlib.contextmanager
def paired() -> Iterator[tuple[Namespace, Namespace]]:
    """Two ends and the wire between them.

    Raises:
        NotAllowed: see there.
    """
    left = Namespace("left", "10.213.22.1", "fd13:22::1", DEVICE)
    right = Namespace("right", "10.213.22.2", "fd13:22::2", DEVICE)
    with _named(left, right) as (left, right):
        _wire(left, DEVICE, right, DEVICE)
        for end in (left, right):
            end.ip("address", "add", f"{end.ipv4}/24", "dev", DEVICE)
            end.ip("address", "add", f"{end.ipv6}/64", "dev", DEVICE)
        yield left, right


@contextlib.contextmanager
def alone() -> Iterator[Namespace]:
    """One namespace with nothing but its loopback device.

    Raises:
        NotAllowed: see there.
    """
    with _named(Namespace("alone")) as (namespace,):
        yield namespace


def require_netns() -> None:
    """Skips the test where namespaces and their rules may not be made, or fails it where they are
    required."""
    why = refusal()
    if why:
        absent("netns", why)


@functools.cache
def refusal() -> str:
    """Why a namespace with rules cannot be made; empty if one could."""
    for tool in ("ip", "nft"):
        if find_program(tool) is None:
            return f"{tool} is not installed; tools/setup-carriers.sh installs it where it may"
    try:
        with alone() as namespace:
            _nft(namespace, _TABLE)
            _nft(namespace, "add rule inet wraith forward ct bytes > 1 counter drop")
            with namespace.entered():
                pass
    except NotAllowed as error:
        return str(error)
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd[:4])}: {error.stderr.strip()}"
    except OSError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def _named(*wanted: Namespace) -> Iterator[list[Namespace]]:
    """These, made, under names that nobody else has; gone afterwards, whatever happens."""
    _sweep()
    tag = f"{_PREFIX}{os.getpid()}-{next(_number)}"
    made: list[Namespace] = []
    try:
        for each in wanted:
            namespace = replace(each, name=f"{tag}-{each.name}")
            try:
                _run(["ip", "netns", "add", namespace.name])
            except (OSError, subprocess.CalledProcessError) as error:
                said = getattr(error, "stderr", "") or str(error)
                raise NotAllowed(f"no network namespace: {said.strip()}") from None
            made.append(namespace)
            namespace.ip("link", "set", "lo", "up")
            # Nobody else can have its addresses: they may be used at once.
            namespace.set_sysctl("net/ipv6/conf/default/accept_dad", 0)
        yield made
    finally:
        for namespace in made:
            subprocess.run(["ip", "netns", "del", namespace.name], check=False)


def _sweep() -> None:
    """Removes what processes left that are gone."""
    for place in _PLACES.glob(f"{_PREFIX}*"):
        ours = _OURS.fullmatch(place.name)
        if ours is not None and not Path("/proc", ours[1]).exists():
            subprocess.run(["ip", "netns", "del", place.name], check=False, capture_output=True)


def _wire(one: Namespace, device: str, other: Namespace, other_device: str) -> None:
    peer = ("peer", "name", other_device, "netns", other.name)
    _run(["ip", "link", "add", "name", device, "netns", one.name, "type", "veth", *peer])
    one.ip("link", "set", device, "up")
    other.ip("link", "set", other_device, "up")


def _coming_by(directions: tuple[Direction, ...]) -> str:
    devices = ", ".join(f'"{direction.value}"' for direction in directions or tuple(Direction))
    return f"iifname {{ {devices} }}"


def _nft(namespace: Namespace, text: str) -> None:
    namespace.run(str(require_program("nft")), "--file", "-", text_in=text)


def _rules(router: Namespace, chain: str) -> list[dict[str, Any]]:
    """The rules of a chain in their order, as nft writes them in JSON."""
    nft = str(require_program("nft"))
    listed = router.run(nft, "--json", "--handle", "list", "chain", "inet", "wraith", chain)
    return [entry["rule"] for entry in json.loads(listed.stdout)["nftables"] if "rule" in entry]


def _run(
    words: list[str], text_in: str = "", timeout_s: float = COMMAND_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, input=text_in, check=True, capture_output=True, text=True, timeout=timeout_s
    )


def _set_namespace(fd: int) -> None:
    """``os.setns`` is younger than Python 3.11."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
