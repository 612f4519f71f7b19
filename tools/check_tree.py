"""Checks on the tree that no ready-made linter makes. Exit 1 with one line per finding.

- pure code calls none of ``open``, ``print``, ``input``, ``eval``, ``exec``;
- every module of the package has a docstring;
- no file of the repository holds an absolute path of some developer's machine.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORLDLY = ("aio", "cli", "testing")
BANNED_CALLS = {"open", "print", "input", "eval", "exec"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|work|root|Users)/[A-Za-z0-9_.-]+/")
TEXT = {".py", ".md", ".toml", ".rs", ".go", ".sh", ".txt", ".json", ".yml", ".yaml", ""}


def tracked() -> list[Path]:
    out = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout
    return [ROOT / name.decode() for name in out.split(b"\0") if name]


def module_findings(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    name = path.relative_to(ROOT)
    findings: list[str] = []
    if ast.get_docstring(tree) is None:
        findings.append(f"{name}:1: the module has no docstring")
    room = path.relative_to(ROOT / "src" / "wraith").parts[0]
    if room in WORLDLY:
        return findings
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in BANNED_CALLS
        ):
            findings.append(f"{name}:{node.lineno}: {node.func.id}() in code that must stay pure")
    return findings


def path_findings(path: Path) -> list[str]:
    if path.suffix not in TEXT or not path.is_file() or path.stat().st_size > 4_000_000:
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    return [
        f"{path.relative_to(ROOT)}: names a machine's own path: {match.group()}"
        for match in MACHINE_PATH.finditer(text)
    ]


def main() -> int:
    findings: list[str] = []
    for path in sorted((ROOT / "src" / "wraith").rglob("*.py")):
        findings += module_findings(path)
    for path in tracked():
        findings += path_findings(path)
    for line in findings:
        print(line)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
