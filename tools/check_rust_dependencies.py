"""Check the crates that the native part is built from: licences and duplicates.

``python tools/check_rust_dependencies.py [--list]``

Works without the network: both come from the lock file and the crates' own metadata. Known
vulnerabilities are check_advisories.py's. Exit status 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

NATIVE = Path(__file__).resolve().parent.parent / "native"

#: Licences that put no condition on the rest of a program.
ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "NCSA",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
    }
)
#: Crates that may be there in two versions, with the reason.
DUPLICATES_ALLOWED: dict[str, str] = {}


def is_allowed(expression: str) -> bool:
    """Whether an SPDX expression can be met with allowed licences alone.

    ``AND`` binds tighter than ``OR``; the old ``A/B`` means ``A OR B``. Raises ``ValueError`` for
    what is no expression.
    """
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    at = 0

    def peek() -> str:
        return tokens[at] if at < len(tokens) else ""

    def take() -> str:
        nonlocal at
        at += 1
        return tokens[at - 1] if at <= len(tokens) else ""

    def either() -> bool:
        result = both()
        while peek() == "OR":
            take()
            result = both() or result
        return result

    def both() -> bool:
        result = one()
        while peek() == "AND":
            take()
            result = one() and result
        return result

    def one() -> bool:
        token = take()
        if token == "(":
            result = either()
            if take() != ")":
                raise ValueError(f"unbalanced: {expression}")
            return result
        if token in ("", ")", "AND", "OR", "WITH"):
            raise ValueError(f"not a licence expression: {expression}")
        if peek() == "WITH":
            take()
            token = f"{token} WITH {take()}"
        return token in ALLOWED

    result = either()
    if at != len(tokens):
        raise ValueError(f"not a licence expression: {expression}")
    return result


def crates() -> list[dict[str, Any]]:
    """Metadata of every crate in the lock file that is not ours."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    run = subprocess.run(command, cwd=NATIVE, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip())
    packages: list[dict[str, Any]] = json.loads(run.stdout)["packages"]
    return [package for package in packages if package["source"] is not None]


def problems_of(packages: list[dict[str, Any]]) -> list[str]:
    """One line per crate whose licence is not allowed or that is there twice without a reason."""
    problems = []
    versions: dict[str, list[str]] = {}
    for package in packages:
        name, licence = package["name"], package["license"]
        versions.setdefault(name, []).append(package["version"])
        try:
            accepted = licence is not None and is_allowed(licence)
        except ValueError as error:
            problems.append(f"{name} {package['version']}: {error}")
            continue
        if not accepted:
            problems.append(f"{name} {package['version']}: licence {licence} is not on the list")
    for name, found in versions.items():
        if len(found) > 1 and name not in DUPLICATES_ALLOWED:
            problems.append(f"{name} is there more than once: {', '.join(sorted(found))}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--list", action="store_true", help="print every crate with its licence")
    options = parser.parse_args()
    if shutil.which("cargo") is None:
        print("crates: not checked (cargo is not installed)")
        return 0
    try:
        packages = crates()
        if options.list:
            for package in packages:
                print(f"{package['name']} {package['version']}: {package['license']}")
        problems = problems_of(packages)
    except RuntimeError as error:
        print(f"crates: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"crates: {problem}", file=sys.stderr)
    if not problems:
        print(f"crates: {len(packages)}, licences and duplicates are fine")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
