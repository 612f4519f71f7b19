"""Golden digests: whether a change of the code changes a single datagram, and in which scenario.

    python -m wraith.testing.goldens FILE [--write] [--only TEXT] [--first]

Runs every scenario of ``golden_scenarios`` on the hot path of this process and compares what was
sent (from where to where, at which microsecond, which bytes) with FILE. Prints the scenarios that
differ; exit 1 if any does. ``--write`` keeps the new digests instead: do that in a commit of its
own, with the list that this prints and the reason. ``--only`` takes the scenarios whose name has
TEXT, ``--first`` ends at the first difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

from wraith.testing.golden_scenarios import SCENARIOS
from wraith.testing.pair import Simulation
from wraith.types import Address


class Golden(NamedTuple):
    """What one scenario sent."""

    n_datagrams: int
    digest: str


class _Recorder:
    """Digests what the hosts of one simulation send."""

    def __init__(self) -> None:
        self.n_datagrams = 0
        self._hash = hashlib.blake2b(digest_size=12)
        self._simulation: Simulation | None = None

    def tap(self, simulation: Simulation) -> None:
        self._simulation = simulation
        simulation.on_sent = self._on_sent

    def _on_sent(self, source: Address, target: Address, datagram: bytes) -> None:
        assert self._simulation is not None
        self.n_datagrams += 1
        # Whole microseconds: the last digits of a float may differ between machines.
        at = round(self._simulation.now * 1e6)
        line = f"({at}, {_fields(source)}, {_fields(target)}, {len(datagram)})"
        self._hash.update(line.encode())
        self._hash.update(datagram)

    def golden(self) -> Golden:
        return Golden(self.n_datagrams, self._hash.hexdigest())


def _fields(address: Address) -> str:
    """All of an address, written out here: how it shows itself to people may change."""
    return f"Address(ip={address.ip!r}, port={address.port}, scope={address.scope})"


def record(name: str) -> Golden:
    """Runs one scenario."""
    recorder = _Recorder()
    SCENARIOS[name](recorder.tap)
    return recorder.golden()


def read(file: Path) -> dict[str, Golden]:
    """The digests in ``file``, by scenario."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {name: Golden(*entry) for name, entry in kept.items()}


def write(file: Path, goldens: dict[str, Golden]) -> None:
    """One line a scenario, so that a change shows which."""
    lines = [f"{json.dumps(name)}: {json.dumps(list(g))}" for name, g in sorted(goldens.items())]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--write", action="store_true", help="keep the digests of this tree")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios that have TEXT")
    parser.add_argument("--first", action="store_true", help="end at the first difference")
    options = parser.parse_args()
    kept = read(options.file) if options.file.exists() else {}
    found = dict(kept) if options.only else {}
    n_changed = 0
    for name in SCENARIOS:
        if options.only not in name:
            continue
        found[name] = record(name)
        if found[name] != kept.get(name):
            n_changed += 1
            before = kept[name].n_datagrams if name in kept else "no"
            print(f"{name}: {before} datagrams before, {found[name].n_datagrams} now", flush=True)
            if options.first:
                break
    for name in sorted(set(kept) - set(SCENARIOS)):
        n_changed += 1
        print(f"{name}: there is no such scenario")
    if options.write:
        write(options.file, found)
        return 0
    return 1 if n_changed else 0


if __name__ == "__main__":
    sys.exit(main())
