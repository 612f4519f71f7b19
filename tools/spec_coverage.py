"""Holds the specification against its tests.

Every id in docs/spec (``**HS-12**`` or ``[HS-12]`` at its definition) must be cited by a test
(``@pytest.mark.spec("HS-12")``). For ids that have a mutation in tests/spec_mutations/*.toml the
mutation is applied to a copy of the tree, the citing tests are run on it, and at least one must
turn red: a test that passes on broken code proves nothing. The citing tests are green on an
unbroken copy (checked).

tests/spec_mutations/seen.json remembers what was run (``spec_seen.py``). ``--changed`` runs only
what differs from it, so nothing that is stale goes unchecked; ``--update`` writes what was found,
which makes the next run shorter. Without a choice everything runs, mutations of the native part
included.

Usage: spec_coverage.py [--list] [--changed] [--update] [--jobs N] [--at-most S] [ID ...]
"""

from __future__ import annotations

import argparse
import queue
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import spec_seen
from spec_mutants import BASELINE_S, NO_TESTS, ROOT, Mutation, Tree, is_native, native_lock
from spec_seen import DEFINITION

ID = re.compile(r"\b([A-Z]{2,5}-\d{1,3})\b")
CITATION = re.compile(r"mark\.spec\(([^)]*)\)")
SLOWEST = 5


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


OVER = "not run: the time is over"


def drift(mutation: Mutation) -> str | None:
    """What is wrong with the text of ``mutation`` in the present tree."""
    target = ROOT / mutation["file"]
    if not target.is_file():
        return f"{mutation['file']} does not exist"
    n = target.read_text(encoding="utf-8").count(mutation["old"])
    return None if n == 1 else f"its text occurs {n} times in {mutation['file']}"


def run_all(
    chosen: list[Mutation], cited: dict[str, set[Path]], jobs: int, at_most_s: float
) -> dict[str, list[str]]:
    """Applies every mutation in one of ``jobs`` copies; what is wrong, by id. The key ``""`` holds
    what is wrong with all. After ``at_most_s`` seconds no further mutation is begun."""
    findings: dict[str, list[str]] = defaultdict(list)
    times: list[tuple[float, str]] = []
    deadline = time.monotonic() + at_most_s
    with tempfile.TemporaryDirectory() as folder:
        trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for number in range(jobs):
            trees.put(Tree(Path(folder) / f"tree{number}"))

        def unbroken(part: list[Mutation], native: bool) -> str | None:
            ids = {m["id"] for m in part}
            paths = {path for i in ids for path in cited[i]}
            tree = trees.get()
            try:
                if native:
                    with native_lock:
                        if (problem := tree.build_native()) is not None:
                            return problem
                        run = tree.test(ids, paths, native=True, timeout_s=BASELINE_S)
                else:
                    run = tree.test(ids, paths, timeout_s=BASELINE_S)
            finally:
                trees.put(tree)
            if run.returncode in (0, NO_TESTS):
                return None
            return f"citing tests fail on the unbroken tree:\n{run.stdout[-1500:]}"

        def broken(mutation: Mutation) -> str | None:
            if time.monotonic() > deadline:
                return OVER
            tree = trees.get()
            start = time.monotonic()
            try:
                problem = tree.turns_red(mutation, cited[mutation["id"]])
            finally:
                trees.put(tree)
            where = " (native)" if is_native(mutation) else ""
            times.append((time.monotonic() - start, mutation["id"]))
            print(f"  {mutation['id']}{where}: {problem or 'turns red, as it should'}", flush=True)
            return problem

        # Native ones wait for each other: spread among the rest they cost no core.
        native = [m for m in chosen if is_native(m)]
        python = [m for m in chosen if not is_native(m)]
        with ThreadPoolExecutor(jobs) as pool:
            baselines = [
                pool.submit(unbroken, part, is_one)
                for part, is_one in ((native, True), (python, False))
                if part
            ]
            results = [(m["id"], pool.submit(broken, m)) for m in interleaved(native, python)]
            for baseline in baselines:
                if (text := baseline.result()) is not None:
                    findings[""].append(text)
            for spec_id, result in results:
                if (text := result.result()) is not None:
                    findings[spec_id].append(f"{spec_id}: {text}")
    slowest = ", ".join(f"{i} {s:.0f} s" for s, i in sorted(times, reverse=True)[:SLOWEST])
    print(f"{len(times)} mutations; slowest: {slowest}")
    return findings


def interleaved(few: list[Mutation], many: list[Mutation]) -> list[Mutation]:
    """``many`` with ``few`` spread evenly among them."""
    step = len(many) // (len(few) + 1) + 1
    result: list[Mutation] = []
    rest = list(few)
    for number, mutation in enumerate(many):
        if number % step == 0 and rest:
            result.append(rest.pop(0))
        result.append(mutation)
    return result + rest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="list ids, tests and mutations only")
    parser.add_argument("--changed", action="store_true", help="only what differs from seen.json")
    parser.add_argument("--update", action="store_true", help="write what was run to seen.json")
    parser.add_argument("--jobs", type=int, default=2, help="copies that run side by side")
    parser.add_argument("--at-most", type=float, default=7200, metavar="S", help="seconds")
    parser.add_argument("ids", nargs="*", help="only these ids")
    options = parser.parse_args()
    defined, cited, mutated = defined_ids(), cited_ids(), mutations()
    now, seen = spec_seen.entries(defined, cited, mutated), spec_seen.load()
    stale = spec_seen.differing(seen, now)
    wrong: dict[str, list[str]] = defaultdict(list)
    for spec_id, page in defined.items():
        if spec_id not in cited:
            wrong[spec_id].append(f"{spec_id}: defined in {page.name}, cited by no test")
    for spec_id in cited.keys() - defined.keys():
        wrong[spec_id].append(f"{spec_id}: cited by a test, defined nowhere")
    with_mutation = {m["id"] for m in mutated}
    chosen: list[Mutation] = []
    for mutation in mutated:
        spec_id = mutation["id"]
        if (options.ids and spec_id not in options.ids) or (
            options.changed and spec_id not in stale
        ):
            continue
        if spec_id not in defined or spec_id not in cited:
            wrong[spec_id].append(f"{spec_id}: has a mutation, but no definition or no test")
        elif (problem := drift(mutation)) is not None:
            wrong[spec_id].append(f"{spec_id}: {problem}")
        else:
            chosen.append(mutation)
    left: set[str] = set()
    late: set[str] = set()
    if any(map(is_native, chosen)) and shutil.which("cargo") is None:
        left = {m["id"] for m in chosen if is_native(m)}
        chosen = [m for m in chosen if not is_native(m)]
        print(f"native mutations not checked (cargo is not installed): {' '.join(sorted(left))}")
    print(f"{len(defined)} ids, {len(cited)} cited, {len(with_mutation)} with a mutation")
    if options.list:
        for spec_id in sorted(defined):
            print(f"  {spec_id:8} {len(cited.get(spec_id, ()))} test files", end="")
            print("" if spec_id in with_mutation else "  (no mutation)")
    elif chosen:
        for spec_id, found in run_all(chosen, cited, max(options.jobs, 1), options.at_most).items():
            if OVER in found[-1] and options.changed and not options.update:
                late.add(spec_id)
                found = [text for text in found if OVER not in text]
            wrong[spec_id] += found
        if late:
            print(f"mutations not checked (no time was left): {' '.join(sorted(late))}")
    failed = False
    for finding in (text for texts in wrong.values() for text in texts):
        print(finding)
        failed = True
    if options.update and not wrong[""]:
        covered = set(options.ids) if options.ids else set(stale) if options.changed else set(now)
        for spec_id in covered - wrong.keys() - left:
            seen.pop(spec_id, None)
            if spec_id in now:
                seen[spec_id] = now[spec_id]
        spec_seen.write(seen)
    elif options.changed and stale:
        # Whoever changes much is not kept waiting for a file that only saves time: what is stale
        # was run here, as much of it as the time allows. What cannot be run here is a failure.
        unknown = sorted(left & set(stale))
        failed = failed or bool(unknown)
        print(f"{len(stale)} entries of tests/spec_mutations/seen.json are stale; what was run")
        print("of them stands above. `make spec-coverage` keeps what it finds")
        for spec_id in unknown:
            print(f"  {spec_id}: not run here")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
