"""Two network namespaces for ``wraith.testing.emulated_link``: rate, delay, jitter, late packets,
loss, queue. Both directions are alike.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness import PeerFailed

from wraith.testing import emulated_link
from wraith.testing.emulated_link import Joined, LinkFailed, LinkPath, missing

__all__ = [
    "DEVICE",
    "RECEIVER",
    "SENDER",
    "Ends",
    "LinkPath",
    "ip",
    "joined",
    "missing",
    "two_namespaces",
]
DEVICE = "link0"
RECEIVER, SENDER = "10.213.8.1", "10.213.8.2"
MTU = 1500


@dataclass(frozen=True)
class Ends:
    """The two namespaces; programs are started with ``prefix`` before them."""

    receiver: str
    sender: str

    @property
    def prefix(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return ("ip", "netns", "exec", self.receiver), ("ip", "netns", "exec", self.sender)


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


@contextmanager
def joined(ends: Ends, path: LinkPath, seed: int) -> Iterator[Joined]:
    """The two namespaces joined by ``path``.

    Raises:
        PeerFailed: the link did not start.
    """
    try:
        with emulated_link.joined(
            ends.sender, ends.receiver, path, device=DEVICE, seed=seed
        ) as link:
            yield link
    except LinkFailed as error:
        raise PeerFailed(str(error)) from None
