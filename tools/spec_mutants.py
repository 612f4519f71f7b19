"""Copies of the checkout that are broken by one mutation at a time, and the tests run on them.

The copies are what the tests import (checked), and a mutation that breaks the import of its module
or the build of the native part does not count. A mutation of a file below ``native/`` is built and
tested with the native part; all others run on the Python twin.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".*", "target", "interop-bin", "build", "dist", "__pycache__", "results", "interop"
)
RUN_S = 300
BASELINE_S = 3_600
TEST_S = 30
BUILD_S = 900
NO_TESTS = 5
#: One target folder serves all native builds of this checkout, and outlives the run: only the crate
#: that was broken is compiled again. Fast to build matters more than fast to run.
NATIVE_TARGET = ROOT / ".build" / "spec-native"
NATIVE_PROFILE = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_INCREMENTAL": "true",
}

Mutation = dict[str, str]
#: One target folder, one build at a time, until its tests have run.
native_lock = threading.Lock()


def is_native(mutation: Mutation) -> bool:
    return mutation["file"].startswith("native/")


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

    def _run(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        timeout_s: float = RUN_S,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment if environment is None else environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def test(
        self,
        ids: set[str],
        paths: set[Path],
        *,
        native: bool = False,
        timeout_s: float = RUN_S,
    ) -> subprocess.CompletedProcess[str]:
        """Runs the tests among ``paths`` that cite one of ``ids``, up to the first failure. Tests
        marked slow run only where an id has no others."""
        environment = dict(self._environment)
        if native:
            del environment["WRAITH_PURE_PYTHON"]
            environment["PYTHONPATH"] = (
                f"{self.folder / 'native-module'}{os.pathsep}" + (environment["PYTHONPATH"])
            )
        arguments = (
            "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--timeout={TEST_S}",
            "--spec-id", ",".join(sorted(ids)), *map(str, sorted(paths)),
        )  # fmt: skip
        limits: dict[str, Any] = {"environment": environment, "timeout_s": timeout_s}
        quick = self._run(*arguments, "-m", "not slow", **limits)
        if quick.returncode == NO_TESTS:
            return self._run(*arguments, **limits)
        return quick

    def build_native(self) -> str | None:
        """Builds this copy's native part for its own tests; what went wrong, or ``None``. Hold
        ``native_lock``."""
        # The target folder may hold what another copy built; cargo goes by the time of change.
        for source in (self.folder / "native").rglob("*.rs"):
            source.touch()
        module = self.folder / "native-module" / "wraith_native"
        environment = {**os.environ, **NATIVE_PROFILE, "CARGO_TARGET_DIR": str(NATIVE_TARGET)}
        command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "wraith-native"]
        command += ["--features", "pyo3/extension-module"]
        built = subprocess.run(
            command, cwd=self.folder / "native", env=environment, capture_output=True, text=True,
            timeout=BUILD_S,
        )  # fmt: skip
        if built.returncode != 0:
            return f"the native part does not build: {built.stderr[-400:]}"
        module.mkdir(parents=True, exist_ok=True)
        (module / "__init__.py").write_text(
            "from .wraith_native import *\nfrom .wraith_native import VERSION\n", encoding="utf-8"
        )
        shutil.copy(
            NATIVE_TARGET / "release" / "libwraith_native.so", module / "wraith_native.abi3.so"
        )
        imported = self._run(
            "-c", "import wraith_native; print(wraith_native.__file__)",
            environment={**os.environ, "PYTHONPATH": str(module.parent)},
        )  # fmt: skip
        if not imported.stdout.startswith(str(self.folder)):
            return f"the native part does not load: {imported.stderr[-300:]}"
        return None

    def turns_red(self, mutation: Mutation, paths: set[Path]) -> str | None:
        """``None`` when a citing test fails on the mutated copy, else what is wrong."""
        if is_native(mutation):
            with native_lock:
                return self._turns_red(mutation, paths, native=True)
        return self._turns_red(mutation, paths, native=False)

    def _turns_red(self, mutation: Mutation, paths: set[Path], *, native: bool) -> str | None:
        target = self.folder / mutation["file"]
        source = target.read_text(encoding="utf-8")
        stamp = target.stat()
        target.write_text(source.replace(mutation["old"], mutation["new"]), encoding="utf-8")
        try:
            if native and (problem := self.build_native()) is not None:
                return problem
            run = self.test({mutation["id"]}, paths, native=native)
        except subprocess.TimeoutExpired:
            return f"its tests do not end within {RUN_S} s"
        finally:
            target.write_text(source, encoding="utf-8")
            if not native:
                os.utime(target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        if run.returncode == 0:
            return "no citing test fails on it"
        if run.returncode != 1:
            return f"the tests could not run (exit {run.returncode}): {run.stdout[-300:]}"
        return None
