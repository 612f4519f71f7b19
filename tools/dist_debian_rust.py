"""Debian's Rust compiler with standard libraries for targets that rustup did not bring.

Taken from Debian's archive through apt, with a state of its own: nothing of the system changes, and
nothing is installed. The packages are unpacked into a kept folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dist_build import Build, CannotMake, digest_of, kept

ARCHITECTURES = {"aarch64-unknown-linux-gnu": "arm64"}
"""Targets whose standard library Debian compiles."""
BUILT_HERE = ("x86_64-unknown-linux-musl",)
"""Targets whose standard library is compiled from Debian's sources, along with the crate."""
STD = "libstd-rust-web-dev"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler: what stands before ``PATH``, and its environment."""

    path: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def debian_toolchain(build: Build, target: str) -> Toolchain:
    """A compiler for ``target`` out of Debian's packages.

    Raises:
        CannotMake: there is no apt here, or Debian has none for the target.
    """
    if target in ARCHITECTURES:
        wanted = ["rustc-web", STD, f"{STD}:{ARCHITECTURES[target]}"]
    elif target in BUILT_HERE:
        wanted = ["rustc-web", STD, "rust-web-src"]
    else:
        raise CannotMake(f"neither rustup nor Debian has a standard library for {target}")
    packages = Packages(build, ["amd64", *ARCHITECTURES.values()])
    folder = packages.unpacked("rust", [*wanted, *packages.needs("rustc-web", STD)])
    libraries = [folder / "usr" / "lib", folder / "usr" / "lib" / "x86_64-linux-gnu"]
    environment = {
        "RUSTC": str(folder / "usr" / "bin" / "rustc"),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
    }
    if target in BUILT_HERE:
        environment |= {
            "RUSTC_BOOTSTRAP": "1",
            "CARGO_UNSTABLE_BUILD_STD": "std,panic_abort",
            "RUSTFLAGS": "-C target-feature=-crt-static",
        }
    return Toolchain((folder / "usr" / "bin",), environment)


class Packages:
    """Debian's packages of some architectures, fetched by apt with lists of its own.

    Raises:
        CannotMake: there is no apt, or its archive cannot be reached.
    """

    def __init__(self, build: Build, architectures: Sequence[str]) -> None:
        if shutil.which("apt-get") is None:
            raise CannotMake("there is no apt here to take Debian's packages with")
        self._build = build
        state = build.scratch / f"apt-{'-'.join(architectures)}"
        for name in ("lists/partial", "archives/partial"):
            (state / name).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        settings = {
            "Dir::State": state,
            "Dir::State::status": state / "status",
            "Dir::Cache": state,
            "APT::Architecture": architectures[0],
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        self._options = [f"-o{key}={value}" for key, value in settings.items()]
        self._options += [f"-oAPT::Architectures::={each}" for each in architectures]
        self._state = state
        build.run("apt-get", *self._options, "-qq", "update")

    def needs(self, *names: str) -> list[str]:
        """What stands behind ``names`` and is a library of the compiler: not of the system."""
        listed = self._apt_cache("depends", "--recurse", "--no-recommends", "--no-suggests", *names)
        found = re.findall(r"^(lib(?:std-rust|llvm)[\w.+-]*)$", listed, re.MULTILINE)
        return sorted(set(found))

    def closure(self, *names: str) -> list[str]:
        """``names`` and everything that they need, as apt would install it on an empty system."""
        options = [*self._options, "-qq", "--no-install-recommends", "--print-uris"]
        printed = self._build.run("apt-get", *options, "install", *names)
        return [
            line.split()[1].split("_")[0] for line in printed.splitlines() if line.startswith("'")
        ]

    def unpacked(self, name: str, packages: Sequence[str]) -> Path:
        """The kept folder into which these packages are unpacked, unconfigured.

        Raises:
            CannotMake: one of them is not in the archive.
        """
        wanted = sorted(set(packages))
        versions = self._apt_cache("policy", *wanted)
        candidates = re.findall(r"^(\S+):\n.*\n +Candidate: (\S+)", versions, re.MULTILINE)
        if len(candidates) != len(wanted) or any(version == "(none)" for _, version in candidates):
            there = {each for each, version in candidates if version != "(none)"}
            raise CannotMake(f"Debian's archive has no {', '.join(set(wanted) - there)}")

        def fill(folder: Path) -> None:
            debs = self._state / "debs"
            shutil.rmtree(debs, ignore_errors=True)
            debs.mkdir()
            self._build.run("apt-get", *self._options, "-qq", "download", *wanted, cwd=debs)
            for deb in sorted(debs.glob("*.deb")):
                self._build.run("dpkg-deb", "-x", deb, folder)

        return kept(name, digest_of(repr(candidates)), fill)

    def _apt_cache(self, *arguments: str) -> str:
        return self._build.run("apt-cache", *self._options, *arguments)
