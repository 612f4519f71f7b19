"""Shows that the test of a mend failed before the mend.

A commit that mends a defect names it, and the tests that show it, in trailers of its message::

    Finding: S-H1
    Red-test: tests/unit/node/test_consent.py::test_a_gone_offer_is_refused

For each such commit this takes the tree of its parent, lays the commit's ``tests/``, ``vectors/``
and ``src/wraith/testing/`` over it, and runs the named tests there on the Python twin. Every one
must fail, and not because something cannot be imported: a test that could not run has shown
nothing, and one that did not end has not shown why. The table has the reason of each failure, so
that a reader sees whether it is the defect's own.

Usage: red_before.py [--jobs N] [--markdown] [COMMIT|RANGE ...]     (default: the whole history)
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OVERLAY = ("tests", "vectors", "src/wraith/testing")
RUN_S = 600
RED, NOT_RED, TIMED_OUT = "red", "NOT RED", "TIMED OUT"
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - (.*))?$", re.MULTILINE)
#: Failures of a test that could not run; what they would show is not the defect.
NOT_ITS_OWN = ("ImportError", "ModuleNotFoundError", "SyntaxError", "fixture '", "not found:")


@dataclass(frozen=True)
class Mend:
    """One commit that mends something, with the tests that it names."""

    commit: str
    subject: str
    findings: tuple[str, ...]
    tests: tuple[str, ...]


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    ).stdout


def mends(ranges: list[str]) -> list[Mend]:
    """Every commit of ``ranges`` with a ``Red-test`` trailer, oldest first."""
    layout = "%H%x1f%s%x1f%(trailers:key=Finding,valueonly,separator=%x2c)%x1f"
    layout += "%(trailers:key=Red-test,valueonly,separator=%x0c)%x1e"
    found: list[Mend] = []
    for entry in git("log", "--reverse", f"--format={layout}", *(ranges or ["HEAD"])).split("\x1e"):
        if not entry.strip():
            continue
        commit, subject, findings, tests = entry.strip("\n").split("\x1f")
        names = tuple(name.strip() for name in tests.split("\x0c") if name.strip())
        if names:
            ids = tuple(name.strip() for name in findings.split(",") if name.strip())
            found.append(Mend(commit, subject, ids, names))
    return found


def lay_out(commit: str, folder: Path, *paths: str) -> None:
    """Writes ``paths`` of ``commit`` (all of it without any) into ``folder``."""
    there = [path for path in paths if git("ls-tree", "--name-only", commit, path).strip()]
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, *there], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def run_before(mend: Mend) -> list[tuple[str, str, str]]:
    """Runs the tests of ``mend`` on the tree before it: (test, mark, last line)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(f"{mend.commit}^", folder)
        lay_out(mend.commit, folder, *OVERLAY)
        environment = dict(os.environ)
        environment |= {
            "PYTHONPATH": str(folder / "src"),
            "WRAITH_PURE_PYTHON": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "400",
        }
        return [(test, *run_one(test, folder, environment)) for test in mend.tests]


def run_one(test: str, folder: Path, environment: dict[str, str]) -> tuple[str, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", test]
    try:
        run = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_S
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT, f"does not end within {RUN_S} s"
    reasons = [reason or "" for _, reason in FAILED.findall(run.stdout)]
    if run.returncode == 0:
        return NOT_RED, "PASSES before the mend"
    if run.returncode != 1 or not reasons:
        tail = (run.stdout + run.stderr).strip().splitlines()
        return NOT_RED, f"could not run: {tail[-1] if tail else run.returncode}"
    reason = reasons[0].strip() or "failed"
    return NOT_RED if any(word in reason for word in NOT_ITS_OWN) else RED, reason


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="commits that are tried side by side")
    parser.add_argument("--markdown", action="store_true", help="print a table for a document")
    parser.add_argument("ranges", nargs="*", help="commits or ranges, as `git log` takes them")
    options = parser.parse_args()
    found = mends(options.ranges)
    n_red = n_timed_out = n_all = 0
    with ThreadPoolExecutor(max(options.jobs, 1)) as pool:
        for mend, rows in zip(found, pool.map(run_before, found), strict=True):
            for test, mark, reason in rows:
                n_all += 1
                n_red += mark == RED
                n_timed_out += mark == TIMED_OUT
                cells = (", ".join(mend.findings), test, mend.commit[:8], reason[:160])
                if options.markdown:
                    print("| " + " | ".join((*cells[:3], f"{mark}: {cells[3]}")) + " |", flush=True)
                else:
                    print(f"{mark}: {cells[0]}: {test} at {cells[2]}^: {cells[3]}", flush=True)
    late = f", {n_timed_out} timed out" if n_timed_out else ""
    print(f"{n_red} of {n_all} tests were red before {len(found)} commits{late}")
    return 0 if n_red == n_all else 1


if __name__ == "__main__":
    sys.exit(main())
