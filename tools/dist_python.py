"""What needs no compiler: the pure wheel, the source distribution, the one-file program."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dist_build import Build, CannotMake, tool_environment
from dist_wheelhouse import PYTHONS, platforms, wheelhouse
from packaging.tags import compatible_tags, cpython_tags


def wheel_and_sources(build: Build) -> list[Path]:
    """``wraith_protocol-VERSION-py3-none-any.whl`` and ``wraith_protocol-VERSION.tar.gz``."""
    before = set(build.out.iterdir())
    options = ["-t", "wheel", "-t", "sdist", "-d", str(build.out)]
    build.run(build.python, "-m", "hatchling", "build", *options)
    version = build.version()
    made = [
        build.out / f"wraith_protocol-{version}-py3-none-any.whl",
        build.out / f"wraith_protocol-{version}.tar.gz",
    ]
    if not all(path.is_file() for path in made):
        found = sorted(path.name for path in set(build.out.iterdir()) - before)
        raise CannotMake(f"hatchling made {found}")
    return made


def one_file(build: Build, wheels: Iterable[Path]) -> Path:
    """``wraith-VERSION-linux-x86_64.pex``: one file that any Python of ``PYTHONS`` runs.

    It holds every wheel that wraith needs, unpacks them once into a cache of the user, and needs
    nothing but an interpreter. ``wheels`` are ours: the pure one, and the native one of x86-64.

    Raises:
        CannotMake: pex or the wheels cannot be had.
    """
    tools = tool_environment(build)
    house = wheelhouse(build, machine="x86_64", pythons=PYTHONS)
    target = build.out / f"wraith-{build.version()}-linux-x86_64.pex"
    command: list[str | Path] = [tools / "pex", "--no-index", "--no-build", "--no-compile"]
    for version in PYTHONS:
        command += ["--complete-platform", _platform(build, version)]
    command += ["--find-links", house, "--console-script", "wraith", "--output-file", target]
    command += ["--venv", "prepend", "--python-shebang", "/usr/bin/env python3"]
    command += list(wheels)
    build.run(*command, environment={"PEX_ROOT": str(build.scratch / "pex-root")})
    return target


def _platform(build: Build, version: str) -> Path:
    """A file that tells pex about CPython ``version`` on x86-64 Linux, which may not be here."""
    number = tuple(map(int, version.split(".")))
    names = [*platforms("x86_64"), "linux_x86_64"]
    cpython = f"cp{number[0]}{number[1]}"
    tags = [
        *cpython_tags(python_version=number, abis=[cpython], platforms=names),
        *compatible_tags(python_version=number, interpreter=cpython, platforms=names),
    ]
    about = {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "linux",
    }
    path = build.scratch / f"cpython-{version}.json"
    path.write_text(
        json.dumps({"marker_environment": about, "compatible_tags": list(map(str, tags))}), "utf-8"
    )
    return path
