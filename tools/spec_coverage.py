"""Holds the specification against its tests.

Every id in docs/spec (``**HS-12**`` or ``[HS-12]`` at its definition) must be cited by a test
(``@pytest.mark.spec("HS-12")``). For ids that have a mutation in tests/spec_mutations/*.toml the
mutation is applied to a copy of the tree, the citing tests are run on it, and at least one must
turn red: a test that passes on broken code proves nothing.

Usage: spec_coverage.py [--list] [ID ...]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ID = re.compile(r"\b([A-Z]{2,5}-\d{1,3})\b")
DEFINITION = re.compile(r"(?:\*\*|\[|\| )([A-Z]{2,5}-\d{1,3})(?:\*\*|\]| \|)")
CITATION = re.compile(r"mark\.spec\(([^)]*)\)")


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
                cited[spec_id].add(path)
    return cited


def mutations() -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for path in sorted((ROOT / "tests" / "spec_mutations").glob("*.toml")):
        found += tomllib.loads(path.read_text(encoding="utf-8")).get("mutation", [])
    return found


def turns_red(mutation: dict[str, str], tests: set[Path], copy: Path) -> str | None:
    """``None`` when a citing test fails on the mutated copy, else what is wrong."""
    target = copy / mutation["file"]
    source = target.read_text(encoding="utf-8")
    if source.count(mutation["old"]) != 1:
        return f"its text occurs {source.count(mutation['old'])} times in {mutation['file']}"
    target.write_text(source.replace(mutation["old"], mutation["new"]), encoding="utf-8")
    try:
        environment = dict(os.environ)
        environment["PYTHONPATH"] = str(copy / "src")
        environment["WRAITH_PURE_PYTHON"] = "1"
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                "--spec-id",
                mutation["id"],
                *[str(copy / path.relative_to(ROOT)) for path in sorted(tests)],
            ],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
    finally:
        target.write_text(source, encoding="utf-8")
    if run.returncode == 0:
        return "no citing test fails on it"
    if run.returncode not in (1, 2):
        return f"the tests could not run (exit {run.returncode}): {run.stdout[-300:]}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="list ids, tests and mutations only")
    parser.add_argument("ids", nargs="*", help="only these ids")
    options = parser.parse_args()
    defined, cited, mutated = defined_ids(), cited_ids(), mutations()
    findings = [
        f"{i}: defined in {p.name}, cited by no test" for i, p in defined.items() if i not in cited
    ]
    findings += [f"{i}: cited by a test, defined nowhere" for i in cited if i not in defined]
    findings += [
        f"{m['id']}: has a mutation, but no definition or no test"
        for m in mutated
        if m["id"] not in defined or m["id"] not in cited
    ]
    with_mutation = {m["id"] for m in mutated}
    print(f"{len(defined)} ids, {len(cited)} cited, {len(with_mutation)} with a mutation")
    if options.list:
        for spec_id in sorted(defined):
            print(f"  {spec_id:8} {len(cited.get(spec_id, ()))} test files", end="")
            print("" if spec_id in with_mutation else "  (no mutation)")
    else:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "tree"
            ignore = shutil.ignore_patterns(
                ".git", ".venv", "target", "interop-bin", "__pycache__", ".hypothesis", "results"
            )
            shutil.copytree(ROOT, copy, ignore=ignore)
            for mutation in mutated:
                spec_id = mutation["id"]
                if options.ids and spec_id not in options.ids:
                    continue
                problem = turns_red(mutation, cited.get(spec_id, set()), copy)
                if problem:
                    findings.append(f"{spec_id}: {problem}")
                print(f"  {spec_id}: {problem or 'turns red, as it should'}", flush=True)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
