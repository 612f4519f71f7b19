"""Python of another processor, run by qemu: Debian's packages, unpacked and not installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from dist_build import Build, CannotMake
from dist_debian_rust import Packages

EMULATOR = "qemu-aarch64-static"


@dataclass(frozen=True, slots=True)
class EmulatedPython:
    """An interpreter for aarch64 in ``folder``; ``version`` as ``3.11``."""

    folder: Path
    version: str

    def command(self, library: Path) -> list[str]:
        """The words that run it, with ``library`` as its only place for packages."""
        emulator = shutil.which(EMULATOR)
        assert emulator is not None
        settings = ["-L", str(self.folder), "-E", f"PYTHONPATH={library}"]
        # qemu hands no other environment on than what the process has
        return [emulator, *settings, str(self.folder / f"usr/bin/python{self.version}"), "-S"]


def why_not() -> str | None:
    """Why nothing is emulated here; ``None`` if it can be."""
    if shutil.which(EMULATOR) is None:
        return (
            f"{EMULATOR} is not installed (Debian's qemu-user-static; tools/setup-system.sh --dist)"
        )
    return None


def python(build: Build) -> EmulatedPython:
    """Debian's Python for aarch64, kept once it has been fetched.

    Raises:
        CannotMake: Debian's archive cannot be reached.
    """
    packages = Packages(build, ["arm64"])
    folder = packages.unpacked("python-arm64", packages.closure("python3-minimal", "python3"))
    for found in sorted((folder / "usr" / "bin").glob("python3.*")):
        if found.name.count(".") == 1 and found.name.removeprefix("python3.").isdecimal():
            return EmulatedPython(folder, found.name.removeprefix("python"))
    raise CannotMake("Debian's packages hold no python3")
