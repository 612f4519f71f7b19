"""Two network namespaces joined by ``native/link``: rate, delay, jitter, late packets, loss, queue.

Needs root, ``ip``, ``/dev/net/tun`` and the program (``tools/build-link.sh``); ``missing`` says
which of them are not here. Both directions are alike.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import BUILT, PeerFailed

LINK = BUILT / "wraith-link"
DEVICE = "link0"
RECEIVER, SENDER = "10.213.8.1", "10.213.8.2"
MTU = 1500
END_S = 10


@dataclass(frozen=True)
class LinkPath:
    """What ``wraith-link`` is told; see its usage."""

    rate_mbit: float
    delay_ms: float
    queue_bytes: int
    jitter_ms: float = 0.0
    late: float = 0.0
    late_min_ms: float = 0.0
    late_max_ms: float = 0.0
    loss: float = 0.0

    def options(self, seed: int) -> list[str]:
        words = {**vars(self), "seed": seed}
        return [part for k, v in words.items() for part in (f"--{k.replace('_', '-')}", str(v))]


@dataclass(frozen=True)
class Ends:
    """The two namespaces; programs are started with ``prefix`` before them."""

    receiver: str
    sender: str

    @property
    def prefix(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return ("ip", "netns", "exec", self.receiver), ("ip", "netns", "exec", self.sender)


def missing() -> list[str]:
    """What lacks here, for people; nothing where the link can run."""
    lacks = []
    if os.geteuid() != 0:
        lacks.append("not root")
    if shutil.which("ip") is None:
        lacks.append("no ip (iproute2)")
    if not Path("/dev/net/tun").exists():
        lacks.append("no /dev/net/tun")
    if not LINK.exists():
        lacks.append("wraith-link is not built (sh tools/build-link.sh)")
    return lacks


@contextmanager
def two_namespaces() -> Iterator[Ends]:
    """Two namespaces with one TUN device each, which ``joined`` connects; gone afterwards.

    Raises:
        subprocess.CalledProcessError: not allowed here.
    """
    tag = f"wraith-link-{os.getpid()}"
    ends = Ends(f"{tag}-r", f"{tag}-s")
    made: list[str] = []
    try:
        for name, own, other in (
            (ends.receiver, RECEIVER, SENDER),
            (ends.sender, SENDER, RECEIVER),
        ):
            ip("netns", "add", name)
            made.append(name)
            inside = ("-n", name)
            ip(*inside, "tuntap", "add", DEVICE, "mode", "tun")
            ip(*inside, "address", "add", own, "peer", other, "dev", DEVICE)
            ip(*inside, "link", "set", DEVICE, "mtu", str(MTU), "txqueuelen", "10000", "up")
            ip(*inside, "link", "set", "lo", "up")
        yield ends
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Joined:
    """The running link; ``counts`` are there after the end."""

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {}


@contextmanager
def joined(ends: Ends, path: LinkPath, seed: int) -> Iterator[Joined]:
    """The two namespaces joined by ``path``.

    Raises:
        PeerFailed: the link did not start.
    """
    places = [f"/run/netns/{name}" for name in (ends.sender, ends.receiver)]
    process = subprocess.Popen(
        [str(LINK), *places, "--device", DEVICE, *path.options(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    link = Joined()
    try:
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline().strip() != "ready":
            raise PeerFailed(f"wraith-link: {process.stderr.read().strip()}")
        yield link
        said, _ = process.communicate(timeout=END_S)
        link.counts = json.loads(said.strip().splitlines()[-1])
    finally:
        process.kill()
        process.communicate()
