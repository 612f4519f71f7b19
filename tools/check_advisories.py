"""Known vulnerabilities of what the package, its tools and the native part are made from.

``python tools/check_advisories.py [--pip-audit PROGRAM]``

Asks pip-audit about every pinned package of requirements/dev.txt and cargo-audit about
native/Cargo.lock. Both need data from the network. What nobody could be asked about is counted and
printed as NOT CHECKED; only what was really looked up is called checked. Exit status 1 if something
vulnerable was found.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
LOCK = ROOT / "native" / "Cargo.lock"
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==", re.MULTILINE)
CRATE = re.compile(r'^name = "([^"]+)"$', re.MULTILINE)
ASK_S = 180


@dataclass
class Answer:
    """What is known about one lock file. ``unchecked`` are the packages nobody was asked about."""

    what: str
    checked: int
    unchecked: list[str]
    vulnerable: list[str] = field(default_factory=list)
    why: str = ""

    def lines(self) -> list[str]:
        lines = [f"advisories: {self.what}: VULNERABLE: {one}" for one in self.vulnerable]
        lines.append(
            f"advisories: {self.what}: {self.checked} checked, {len(self.vulnerable)} vulnerable"
        )
        if self.unchecked:
            lines.append(
                f"advisories: {self.what}: {len(self.unchecked)} NOT CHECKED ({self.why}): "
                + " ".join(self.unchecked)
            )
        return lines


def of_python(program: str) -> Answer:
    """pip-audit's word about every pinned package."""
    names = list(dict.fromkeys(PINNED.findall(REQUIREMENTS.read_text(encoding="utf-8"))))
    if shutil.which(program) is None:
        return Answer("Python", 0, names, why="pip-audit could not be installed")
    command = [program, "--require-hashes", "--disable-pip", "-r", str(REQUIREMENTS)]
    command += ["--progress-spinner", "off", "--format", "json"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_S)
        dependencies = json.loads(run.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return Answer("Python", 0, names, why=f"no answer within {ASK_S} s")
    except (ValueError, KeyError):
        words = run.stderr.strip().splitlines() or ["pip-audit said nothing"]
        return Answer("Python", 0, names, why=words[-1][:120])
    return python_answer(names, dependencies)


def python_answer(names: list[str], dependencies: list[dict[str, Any]]) -> Answer:
    """Sorts pip-audit's list. A package that it skipped or does not mention was not checked."""
    asked = {one["name"] for one in dependencies if "skip_reason" not in one}
    vulnerable = [
        f"{one['name']} {one['version']}: {', '.join(v['id'] for v in one['vulns'])}"
        for one in dependencies
        if one.get("vulns")
    ]
    unchecked = [name for name in names if name not in asked]
    return Answer("Python", len(asked), unchecked, vulnerable, "no advisory data for these here")


def of_rust() -> Answer:
    """cargo-audit's word about the lock file of the native part."""
    names = sorted(set(CRATE.findall(LOCK.read_text(encoding="utf-8"))))
    if shutil.which("cargo-audit") is None:
        return Answer("Rust", 0, names, why="cargo-audit is not installed")
    try:
        run = subprocess.run(
            ["cargo", "audit", "--json"], cwd=LOCK.parent, capture_output=True, text=True,
            check=False, timeout=ASK_S,
        )  # fmt: skip
        found = json.loads(run.stdout)["vulnerabilities"]["list"]
    except subprocess.TimeoutExpired:
        return Answer("Rust", 0, names, why=f"no answer within {ASK_S} s")
    except (ValueError, KeyError):
        return Answer("Rust", 0, names, why="the advisory database cannot be read")
    vulnerable = [f"{v['package']['name']}: {v['advisory']['id']}" for v in found]
    return Answer("Rust", len(names), [], vulnerable)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--pip-audit", default="pip-audit", help="the program to ask")
    options = parser.parse_args()
    answers = [of_python(options.pip_audit), of_rust()]
    for answer in answers:
        print("\n".join(answer.lines()))
    return 1 if any(answer.vulnerable for answer in answers) else 0


if __name__ == "__main__":
    sys.exit(main())
