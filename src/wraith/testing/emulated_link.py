"""A wire with rate, delay, jitter, late packets, loss and a queue: ``native/link`` between two
network namespaces, each of which has a TUN device of one name. Both directions are alike.

::

    with routed(tunnel=True) as net:          # left -- the emulated link -- router -- right
        with joined(net.left.name, net.router.name, path, device=net.left.device) as link:
            ...
    print(link.counts)

Needs the superuser, ``ip``, ``/dev/net/tun`` and the program (``tools/build-link.sh``); ``missing``
says which of them are not here.
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
from typing import Any, Final

from wraith.testing.foreign_peers import BIN, absent

LINK: Final = BIN / "wraith-link"
END_S: Final = 10.0


class LinkFailed(Exception):
    """The program did not start, or ended otherwise than it should."""


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


class Joined:
    """The running link; ``counts`` are there after the end."""

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {}


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


def require_link() -> None:
    """Skips the test where the link cannot run, or fails it where ``WRAITH_REQUIRE_INTEROP`` names
    ``link``."""
    if lacks := missing():
        absent("link", ", ".join(lacks))


@contextmanager
def joined(one: str, other: str, path: LinkPath, *, device: str, seed: int = 1) -> Iterator[Joined]:
    """The devices in the namespaces with these names, joined by ``path`` for the block.

    Raises:
        LinkFailed: see there.
    """
    places = [f"/run/netns/{name}" for name in (one, other)]
    process = subprocess.Popen(
        [str(LINK), *places, "--device", device, *path.options(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    link = Joined()
    try:
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline().strip() != "ready":
            raise LinkFailed(f"wraith-link: {process.stderr.read().strip()}")
        yield link
        said, _ = process.communicate(timeout=END_S)
        link.counts = json.loads(said.strip().splitlines()[-1])
    finally:
        process.kill()
        process.communicate()
