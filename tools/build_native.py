"""Build the native part and install it into a virtual environment; say in one line what runs.

``python tools/build_native.py [--python .venv/bin/python] [--force]``

The native part is optional: without cargo, a C compiler or maturin, or when the build fails, this
prints one line, leaves the environment as it is and exits 0; the Python twin does the work then. A
build whose sources have not changed is skipped. ``--require`` turns every such case into exit
status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import native_gain

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "native"
SOURCE_SUFFIXES = {".rs", ".toml", ".lock", ".pyi"}
STAMP_NAME = "wraith-native.stamp"


class CannotBuild(Exception):
    """Why there is no native part; the text is for people."""


def sources(folder: Path) -> Iterator[Path]:
    """Every file that a build depends on, in a fixed order; build outputs are left out."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if parts[0] not in ("target", "wheels", "link") and path.suffix in SOURCE_SUFFIXES:
            yield path


def sources_hash(folder: Path, toolchain: str) -> str:
    """What a finished build is remembered by: names, contents and the compiler's version."""
    digest = hashlib.sha256(toolchain.encode())
    for path in sources(folder):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def find_tools(python: Path) -> tuple[str, str]:
    """``(cargo, maturin)``; raises ``CannotBuild`` with the name of what is missing."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise CannotBuild("cargo is not installed")
    if os.environ.get("CC") is None and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        raise CannotBuild("there is no C compiler")
    maturin = shutil.which("maturin", path=str(python.parent)) or shutil.which("maturin")
    if maturin is None:
        raise CannotBuild("maturin is not installed in this environment")
    return cargo, maturin


def installed_version(python: Path) -> str | None:
    """Version of the native part that this interpreter imports, or ``None``."""
    probe = "import wraith_native; print(wraith_native.VERSION)"
    run = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else None


def build(python: Path, maturin: str) -> None:
    """Build the wheel and install it; raises ``CannotBuild`` with the place of the log."""
    log = NATIVE / "target" / "build-native.log"
    wheels = NATIVE / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CARGO_TARGET_DIR": str(NATIVE / "target")}
    nice = ["nice", "-n", "10"] if shutil.which("nice") else []
    make = [*nice, maturin, "build", "--release", "--locked", "-i", str(python), "-o", str(wheels)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    install += ["--force-reinstall", "--find-links", str(wheels), "wraith-native"]
    with log.open("wb") as output:
        for step in (make, install):
            code = subprocess.run(
                step, cwd=NATIVE / "py", env=environment, stdout=output, stderr=output, check=False
            ).returncode
            if code != 0:
                raise CannotBuild(f"the build failed, see {log.relative_to(ROOT)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--python", type=Path, default=ROOT / ".venv" / "bin" / "python")
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    parser.add_argument("--require", action="store_true", help="exit 1 if it cannot be built")
    options = parser.parse_args()
    python = options.python.absolute()
    sentence = native_gain.line()
    gain = "" if sentence is None else f". {sentence}"
    try:
        cargo, maturin = find_tools(python)
        version = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=False)
        current = sources_hash(NATIVE, version.stdout)
        stamp = python.parent.parent / STAMP_NAME
        known = stamp.read_text() if stamp.exists() else ""
        if options.force or known != current or installed_version(python) is None:
            build(python, maturin)
            stamp.write_text(current)
        built = installed_version(python)
        if built is None:
            raise CannotBuild("it was built and does not load")
    except (CannotBuild, OSError) as error:
        left = installed_version(python) if python.exists() else None
        runs = "the Python twin runs" if left is None else f"an older wraith-native {left} stays"
        print(f"native part: not built ({error}); {runs}{gain}")
        return 1 if options.require else 0
    print(f"native part: wraith-native {built} is installed and runs{gain}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
