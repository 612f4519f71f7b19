"""Wheels of the native part for this machine and others, and its source distribution.

maturin builds them, with zig as the linker: zig brings the C libraries of old glibc, of musl and of
other processors. Rust's standard library for a target must be there; where rustup did not put it,
``dist_debian_rust`` takes Debian's compiler, which has some of them.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from dist_build import ROOT, ZIP_EPOCH, Build, CannotMake, cache, tool_environment
from dist_debian_rust import Toolchain, debian_toolchain

PY = ROOT / "native" / "py"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a wheel runs: Rust's name, and the wheel's tag after ``cp311-abi3-``."""

    rust: str
    compatibility: str


X86_64 = Target("x86_64-unknown-linux-gnu", "manylinux2014")
MUSL = Target("x86_64-unknown-linux-musl", "musllinux_1_2")
AARCH64 = Target("aarch64-unknown-linux-gnu", "manylinux2014")


def wheel(build: Build, target: Target, *, folder: Path | None = None) -> Path:
    """The wheel of the native part for ``target``.

    Args:
        folder: for what the compiler makes; a kept one when it is not given.

    Raises:
        CannotMake: cargo, a standard library for the target, or zig is not to be had, or the
            build failed.
    """
    if shutil.which("cargo") is None:
        raise CannotMake("cargo is not installed")
    tools = tool_environment(build)
    chain = _toolchain(build, target.rust)
    objects = folder or cache() / "cargo" / target.rust
    made = build.scratch / f"native-{target.rust}"
    shutil.rmtree(made, ignore_errors=True)
    environment = {
        **chain.environment,
        "PATH": os.pathsep.join([*map(str, chain.path), str(tools), os.environ["PATH"]]),
        "CARGO_TARGET_DIR": str(objects),
        "CARGO_ZIGBUILD_ZIG_PATH": str(zig(tools)),
        "RUSTFLAGS": _without_paths(chain.environment.get("RUSTFLAGS", "")),
    }
    options = ["--release", "--locked", "--zig", "--target", target.rust]
    options += ["--compatibility", target.compatibility, "--out", str(made)]
    # What is compiled does not hold the time: with one of its own it is not compiled anew for every
    # commit, as AWS-LC would be.
    settings = build.scratch / "cargo.toml"
    settings.write_text(
        f'[env]\nSOURCE_DATE_EPOCH = {{ value = "{ZIP_EPOCH}", force = true }}\n', "utf-8"
    )
    options += ["--config", str(settings)]
    maturin = build.python.parent / "maturin"
    build.run(maturin, "build", *options, cwd=PY, environment=environment)
    found = list(made.glob("wraith_native-*.whl"))
    if len(found) != 1:
        raise CannotMake(f"maturin made {sorted(path.name for path in made.iterdir())}")
    return Path(shutil.copy(found[0], build.out))


def sources(build: Build) -> Path:
    """``wraith_native-VERSION.tar.gz``, for who has cargo and a C compiler."""
    maturin = build.python.parent / "maturin"
    build.run(maturin, "sdist", "--out", build.out, cwd=PY)
    return build.out / f"wraith_native-{build.version()}.tar.gz"


def zig(tools: Path) -> Path:
    """The program that the package ``ziglang`` brought."""
    for found in tools.parent.glob("lib/python*/site-packages/ziglang/zig"):
        return found
    raise CannotMake("the package ziglang has no zig")


def extension(path: Path) -> bytes:
    """The compiled module inside of a wheel."""
    with zipfile.ZipFile(path) as archive:
        [name] = [name for name in archive.namelist() if name.endswith((".so", ".pyd"))]
        return archive.read(name)


def _toolchain(build: Build, target: str) -> Toolchain:
    """The installed compiler if it can build for ``target``, else Debian's."""
    printed = build.run("rustc", "--print", "target-libdir", "--target", target).strip()
    if any(Path(printed).glob("libstd-*.rlib")):
        return Toolchain()
    return debian_toolchain(build, target)


def _without_paths(flags: str) -> str:
    """Compiler options after which the result does not tell where it was built."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    return " ".join(
        [
            *flags.split(),
            f"--remap-path-prefix={ROOT}=/wraith",
            f"--remap-path-prefix={home}=/cargo",
        ]
    )
