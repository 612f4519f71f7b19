"""Checks on the tree that no ready-made linter makes. Exit 1 with one line per finding.

- pure code calls none of ``open``, ``print``, ``input``, ``eval``, ``exec``;
- what keeps files (``aio``) asks a disk through ``aio/disk/seam.py`` alone;
- how long a chunk is and what stands for a size that nobody knows is named by ``content`` and by
  tests alone: all others ask ``content.chunking.Cut``;
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
SEAM = "aio/disk/seam.py"
DISK_CALLS = frozenset(
    [
        "access",
        "chmod",
        "chown",
        "close",
        "dup",
        "dup2",
        "fchdir",
        "fchmod",
        "fchown",
        "fdatasync",
        "fdopen",
        "fstat",
        "fstatvfs",
        "fsync",
        "ftruncate",
        "fwalk",
        "lchown",
        "link",
        "listdir",
        "lockf",
        "lseek",
        "lstat",
        "makedirs",
        "mkdir",
        "mkfifo",
        "mknod",
        "open",
        "posix_fadvise",
        "posix_fallocate",
        "pread",
        "preadv",
        "pwrite",
        "pwritev",
        "read",
        "readlink",
        "readv",
        "remove",
        "removedirs",
        "rename",
        "renames",
        "replace",
        "rmdir",
        "scandir",
        "sendfile",
        "stat",
        "statvfs",
        "symlink",
        "sync",
        "truncate",
        "unlink",
        "utime",
        "walk",
        "write",
        "writev",
    ]
)
DISK_PATHS = frozenset(
    [
        "exists",
        "getatime",
        "getctime",
        "getmtime",
        "getsize",
        "isdir",
        "isfile",
        "islink",
        "ismount",
        "lexists",
        "realpath",
        "samefile",
        "sameopenfile",
    ]
)
DISK_MODULES = frozenset(("ctypes", "fcntl", "glob", "mmap", "shutil", "sqlite3", "tempfile"))
DISK_METHODS = frozenset(
    [
        "exists",
        "hardlink_to",
        "is_dir",
        "is_file",
        "is_symlink",
        "iterdir",
        "read_bytes",
        "read_text",
        "resolve",
        "rglob",
        "symlink_to",
        "touch",
        "write_bytes",
        "write_text",
    ]
)
PAST_THE_SEAM = frozenset(
    (
        ("aio/disk/pipes.py", "os.read"),
        ("aio/disk/pipes.py", "os.write"),
        ("aio/transports/network_state.py", "open"),
        ("aio/transports/tcp.py", "import fcntl"),
    )
)
"""Pipes and terminals whose descriptors the caller gave, the kernel's tables of routes, and what a
socket holds: no disk of ours."""
CHUNKING = frozenset(("CHUNK_BYTES", "UNKNOWN_SIZE"))
RECKONS_WITH_CHUNKS = ("src/wraith/content/", "tests/")
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
    inside = path.relative_to(ROOT / "src" / "wraith")
    if inside.parts[0] == "aio":
        findings += [
            f"{name}:{line}: {call} goes past {SEAM}"
            for line, call in past_the_seam(tree)
            if inside.as_posix() != SEAM and (inside.as_posix(), call) not in PAST_THE_SEAM
        ]
    if inside.parts[0] in WORLDLY:
        return findings
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in BANNED_CALLS
        ):
            findings.append(f"{name}:{node.lineno}: {node.func.id}() in code that must stay pure")
    return findings


def chunk_arithmetic(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and name of what reckons with chunks by itself."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if (
                name in CHUNKING
            ):
                found.append((node.lineno, name))
    return found


def chunk_findings(path: Path) -> list[str]:
    name = path.relative_to(ROOT)
    if path.suffix != ".py" or not path.is_file():
        return []
    if name.as_posix().startswith(RECKONS_WITH_CHUNKS):
        return []
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return [
        f"{name}:{line}: {what} is for content/ alone; ask content.chunking.Cut"
        for line, what in chunk_arithmetic(tree)
    ]


def past_the_seam(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and name of what asks a disk directly."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="open")):
                found.append((node.lineno, "open"))
            case ast.Attribute(value=ast.Name(id="os"), attr=call) if call in DISK_CALLS:
                found.append((node.lineno, f"os.{call}"))
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="os"), attr="path"), attr=call
            ) if call in DISK_PATHS:
                found.append((node.lineno, f"os.path.{call}"))
            case ast.Call(func=ast.Attribute(value=receiver, attr=call)) if (
                call in DISK_METHODS and not _is_disk(receiver)
            ):
                found.append((node.lineno, f".{call}"))
            case ast.Import(names=names):
                modules = (alias.name.partition(".")[0] for alias in names)
                found += [(node.lineno, f"import {m}") for m in modules if m in DISK_MODULES]
            case ast.ImportFrom(module=module) if module is not None:
                root = module.partition(".")[0]
                imported = {alias.name for alias in node.names}
                if root in DISK_MODULES or (root == "os" and imported & (DISK_CALLS | {"path"})):
                    found.append((node.lineno, f"import {root}"))
    return found


def _is_disk(receiver: ast.expr) -> bool:
    name = receiver.attr if isinstance(receiver, ast.Attribute) else None
    return name == "disk" or (isinstance(receiver, ast.Name) and receiver.id == "disk")


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
        findings += path_findings(path) + chunk_findings(path)
    for line in findings:
        print(line)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
