"""Holds the specification against its tests.

Every id in docs/spec (``**HS-12**`` or ``[HS-12]`` at its definition) must be cited by a test
(``@pytest.mark.spec("HS-12")``). For ids that have a mutation in tests/spec_mutations/*.toml the
mutation is applied to a copy of the tree, the citing tests are run on it, and at least one must
turn red: a test that passes on broken code proves nothing.

The copies are what the tests import (checked), the citing tests are green on an unbroken copy
(checked), and a mutation that breaks the import of its module does not count. Tests marked slow
run only where an id has no others.

Usage: spec_coverage.py [--list] [--jobs N] [ID ...]
"""

from __future__ import annotations

import argparse
import compileall
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ID = re.compile(r"\b([A-Z]{2,5}-\d{1,3})\b")
DEFINITION = re.compile(r"(?:\*\*|\[|\| )([A-Z]{2,5}-\d{1,3})(?:\*\*|\]| \|)")
CITATION = re.compile(r"mark\.spec\(([^)]*)\)")
LEFT_OUT = shutil.ignore_patterns(
    ".*", "target", "interop-bin", "build", "dist", "__pycache__", "results", "interop"
)
RUN_S = 300
TEST_S = 30
SLOWEST = 5

Mutation = dict[str, str]


def defined_ids() -> dict[str, Path]:
    ids: dict[str, Path] = {}
    for page in sorted((ROOT / "docs" / "spec").glob("*.md")):
        for match in DEFINITION.finditer(page.read_text(encoding="utf-8")):
            ids.setdefault(match.group(1), page)
    return ids


def cited_ids() -> dict[str, set[Path]]:
    cited: dict[str, set[Path]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for match in CITATION.finditer(path.read_text(encoding="utf-8")):
            for spec_id in ID.findall(match.group(1)):
                cited[spec_id].add(path.relative_to(ROOT))
    return cited


def mutations() -> list[Mutation]:
    found: list[Mutation] = []
    for path in sorted((ROOT / "tests" / "spec_mutations").glob("*.toml")):
        found += tomllib.loads(path.read_text(encoding="utf-8")).get("mutation", [])
    return found


def drift(mutation: Mutation) -> str | None:
    """What is wrong with the text of ``mutation`` in the present tree."""
    target = ROOT / mutation["file"]
    if not target.is_file():
        return f"{mutation['file']} does not exist"
    n = target.read_text(encoding="utf-8").count(mutation["old"])
    return None if n == 1 else f"its text occurs {n} times in {mutation['file']}"


class Tree:
    """A copy of the checkout whose tests import the copy and nothing of the original."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
        self._environment = dict(os.environ)
        self._environment["PYTHONPATH"] = str(folder / "src")
        self._environment["WRAITH_PURE_PYTHON"] = "1"
        # Nothing but this stores byte code, so none of a mutated file is ever found again.
        compileall.compile_dir(folder / "src", quiet=2)
        self._environment["PYTHONDONTWRITEBYTECODE"] = "1"
        imported = self._run("-c", "import wraith; print(wraith.__file__)").stdout.strip()
        if not Path(imported).is_relative_to(folder):
            raise SystemExit(f"the tests would import {imported}, not the copy in {folder}")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=RUN_S,
        )

    def test(self, ids: set[str], paths: set[Path]) -> subprocess.CompletedProcess[str]:
        """Runs the tests among ``paths`` that cite one of ``ids``, up to the first failure."""
        arguments = (
            "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--timeout={TEST_S}",
            "--spec-id", ",".join(sorted(ids)), *map(str, sorted(paths)),
        )  # fmt: skip
        quick = self._run(*arguments, "-m", "not slow")
        no_tests = 5
        return self._run(*arguments) if quick.returncode == no_tests else quick

    def turns_red(self, mutation: Mutation, paths: set[Path]) -> str | None:
        """``None`` when a citing test fails on the mutated copy, else what is wrong."""
        target = self.folder / mutation["file"]
        source = target.read_text(encoding="utf-8")
        stamp = target.stat()
        target.write_text(source.replace(mutation["old"], mutation["new"]), encoding="utf-8")
        try:
            run = self.test({mutation["id"]}, paths)
        except subprocess.TimeoutExpired:
            return f"its tests do not end within {RUN_S} s"
        finally:
            target.write_text(source, encoding="utf-8")
            os.utime(target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        if run.returncode == 0:
            return "no citing test fails on it"
        if run.returncode != 1:
            return f"the tests could not run (exit {run.returncode}): {run.stdout[-300:]}"
        return None


def run_all(chosen: list[Mutation], cited: dict[str, set[Path]], jobs: int) -> list[str]:
    """Applies every mutation in one of ``jobs`` copies; returns what is wrong."""
    findings: list[str] = []
    times: list[tuple[float, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for number in range(jobs):
            trees.put(Tree(Path(folder) / f"tree{number}"))

        def unbroken() -> str | None:
            tree = trees.get()
            ids = {m["id"] for m in chosen}
            paths = {path for i in ids for path in cited[i]}
            run = tree.test(ids, paths)
            trees.put(tree)
            if run.returncode in (0, 5):
                return None
            return f"citing tests fail on the unbroken tree:\n{run.stdout[-1500:]}"

        def broken(mutation: Mutation) -> str | None:
            tree = trees.get()
            start = time.monotonic()
            problem = tree.turns_red(mutation, cited[mutation["id"]])
            trees.put(tree)
            times.append((time.monotonic() - start, mutation["id"]))
            print(f"  {mutation['id']}: {problem or 'turns red, as it should'}", flush=True)
            return f"{mutation['id']}: {problem}" if problem else None

        with ThreadPoolExecutor(jobs) as pool:
            baseline = pool.submit(unbroken)
            results = [pool.submit(broken, mutation) for mutation in chosen]
            findings += [text for result in (baseline, *results) if (text := result.result())]
    slowest = ", ".join(f"{i} {s:.0f} s" for s, i in sorted(times, reverse=True)[:SLOWEST])
    print(f"{len(times)} mutations; slowest: {slowest}")
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="list ids, tests and mutations only")
    parser.add_argument("--jobs", type=int, default=2, help="copies that run side by side")
    parser.add_argument("ids", nargs="*", help="only these ids")
    options = parser.parse_args()
    defined, cited, mutated = defined_ids(), cited_ids(), mutations()
    findings = [
        f"{i}: defined in {p.name}, cited by no test" for i, p in defined.items() if i not in cited
    ]
    findings += [f"{i}: cited by a test, defined nowhere" for i in cited if i not in defined]
    with_mutation = {m["id"] for m in mutated}
    chosen: list[Mutation] = []
    for mutation in mutated:
        spec_id = mutation["id"]
        if options.ids and spec_id not in options.ids:
            continue
        if spec_id not in defined or spec_id not in cited:
            findings.append(f"{spec_id}: has a mutation, but no definition or no test")
        elif (problem := drift(mutation)) is not None:
            findings.append(f"{spec_id}: {problem}")
        else:
            chosen.append(mutation)
    print(f"{len(defined)} ids, {len(cited)} cited, {len(with_mutation)} with a mutation")
    if options.list:
        for spec_id in sorted(defined):
            print(f"  {spec_id:8} {len(cited.get(spec_id, ()))} test files", end="")
            print("" if spec_id in with_mutation else "  (no mutation)")
    else:
        findings += run_all(chosen, cited, max(options.jobs, 1))
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
