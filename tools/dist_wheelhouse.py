"""Wheels of other people that wraith needs to run, as locked: fetched once, checked, laid out.

A *wheelhouse* is a folder of wheels from which pip installs without a network. ``laid_out`` puts
wheels for several versions of Python into one folder: the names of their compiled modules differ.
"""

from __future__ import annotations

import platform
import re
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from dist_build import ROOT, Build, CannotMake, digest_of, kept
from packaging.markers import Marker

RUN_LOCK = ROOT / "requirements" / "run.txt"
DEV_LOCK = ROOT / "requirements" / "dev.txt"
BUILDERS = ("hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
"""What an installation from sources needs; its versions are those of requirements/dev.txt."""

PYTHONS = ("3.11", "3.12", "3.13")
MANYLINUX = ("2_34", "2_28", "2_26", "2_24", "2_17")


def platforms(machine: str) -> list[str]:
    """Names of what runs on Linux with glibc 2.34 on ``machine``, newest first."""
    names = [f"manylinux_{each}_{machine}" for each in MANYLINUX]
    return [*names, f"manylinux2014_{machine}"]


def selected(lock: str, names: Iterable[str]) -> str:
    """The entries of these names out of a lock file, with all their versions.

    Raises:
        CannotMake: one is not in it.
    """
    wanted = set(names)
    found = [entry for entry in _entries(lock) if entry["name"] in wanted]
    missing = sorted(wanted - {entry["name"] for entry in found})
    if missing:
        raise CannotMake(f"the lock file has no {', '.join(missing)}")
    return "".join(entry[0] for entry in found)


def applied(lock: str, machine: str, version: str) -> str:
    """``lock`` as CPython ``version`` on Linux reads it: what its markers leave, without them.

    pip judges markers by the interpreter that runs it, whatever it fetches for.
    """
    about = {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
    }
    parts = []
    for entry in _entries(lock):
        marker = (entry["marker"] or "").strip()
        if not marker or Marker(marker).evaluate(about):
            parts.append(f"{entry['pin']} \\\n{entry['hashes']}")
    return "".join(parts)


def _entries(lock: str) -> list[re.Match[str]]:
    """Each entry: its ``name``, ``pin``, ``marker``, and ``hashes``, the lines that follow."""
    pin = r"^(?P<pin>(?P<name>[\w.-]+)==\S+)(?: ; (?P<marker>.*?))? \\\n"
    return list(re.finditer(pin + r"(?P<hashes>(?: .*\n)+)", lock, re.MULTILINE))


def wheelhouse(
    build: Build,
    *,
    machine: str = platform.machine(),
    pythons: Sequence[str] = (),
    with_builders: bool = False,
) -> Path:
    """A folder with the wheels of requirements/run.txt, fetched unless it is kept already.

    Args:
        machine: whose wheels, as ``uname -m`` names it.
        pythons: versions, ``3.12`` for one; that of ``build.python`` when empty.
        with_builders: also what an installation from sources needs.

    Raises:
        CannotMake: they cannot be had; the text holds pip's last lines.
    """
    lock = RUN_LOCK.read_text("utf-8")
    if with_builders:
        lock += selected(DEV_LOCK.read_text("utf-8"), BUILDERS)
    versions = list(pythons) or [f"{sys.version_info[0]}.{sys.version_info[1]}"]
    digest = digest_of(lock, machine, *versions)

    def fill(folder: Path) -> None:
        for version in versions:
            locked = build.scratch / f"lock-{machine}-{version}.txt"
            locked.write_text(applied(lock, machine, version), "utf-8")
            _fetch(build, folder, locked, machine, version)

    return kept("wheels", digest, fill)


def _fetch(build: Build, folder: Path, lock: Path, machine: str, version: str) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    options += ["--only-binary", ":all:", "--requirement", str(lock), "--dest", str(folder)]
    options += ["--python-version", version, "--implementation", "cp"]
    for name in platforms(machine):
        options += ["--platform", name]
    build.run(build.python, "-m", "pip", "download", *options)


def laid_out(wheels: Iterable[Path], folder: Path) -> None:
    """Unpacks wheels side by side into ``folder``, which then serves as a site-packages.

    Raises:
        CannotMake: two wheels disagree about a file, or one wants to put files elsewhere.
    """
    for wheel in sorted(wheels):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith("/"):
                    continue
                top = name.split("/", 1)[0]
                if top.endswith(".data") or ".." in Path(name).parts or name.startswith("/"):
                    raise CannotMake(f"{wheel.name} holds {name}")
                place, data = folder / name, archive.read(name)
                if place.exists() and place.read_bytes() != data and not _is_per_build(name):
                    raise CannotMake(f"{name} of {wheel.name} differs from that of another wheel")
                if not place.exists():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(data)


def _is_per_build(name: str) -> bool:
    """Whether a file speaks of the wheel that it came in: of its tags and digests."""
    return ".dist-info/" in name and name.endswith(("/RECORD", "/WHEEL"))


def shipped(folder: Path) -> list[Path]:
    """The wheels in a folder, in a fixed order."""
    return sorted(folder.glob("*.whl"))
