"""``make dist``: everything that can be made here, into ``dist/``, and one line for what cannot.

    python tools/make_dist.py [--out DIST] [--only NAME ...] [--require NAME ...]

Two runs of the same sources make the same bytes: every time in every artefact is
``SOURCE_DATE_EPOCH``, or that of the newest commit. ``WRAITH_DIST_URL`` is where people will find
the files; the formula and the Nix expression name it. ``--require`` makes what is missing a
failure.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import string
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dist_debian
import dist_native
import dist_python
from dist_build import ROOT, Build, CannotMake, source_epoch

SUMS = "SHA256SUMS"
RECIPES = ("wraith.rb", "wraith.nix")
Maker = Callable[[Build], list[Path]]


class _Recipe(string.Template):
    """A file in which ``@NAME@`` stands for a value."""

    pattern = r"@(?:(?P<escaped>@)|(?P<named>[A-Z][A-Z0-9_]*)@|(?P<braced>(?!))|(?P<invalid>(?!)))"  # type: ignore[assignment]


def makers() -> dict[str, Maker]:
    """Every artefact by name, in the order in which one needs another."""
    return {
        "python": dist_python.wheel_and_sources,
        "native-sources": lambda build: [dist_native.sources(build)],
        "x86_64": partial(_native, dist_native.X86_64),
        "musl": partial(_native, dist_native.MUSL),
        "aarch64": partial(_native, dist_native.AARCH64),
        "pex": lambda build: [dist_python.one_file(build, _ours(build))],
        "deb": lambda build: [dist_debian.package(build, _ours(build))],
        "recipes": recipes,
    }


def _native(target: dist_native.Target, build: Build) -> list[Path]:
    return [dist_native.wheel(build, target)]


def _ours(build: Build) -> list[Path]:
    """The wheels of ours for x86-64 that are made by now.

    Raises:
        CannotMake: one of them is missing.
    """
    version = build.version()
    pure = build.out / f"wraith_protocol-{version}-py3-none-any.whl"
    native = sorted(build.out.glob(f"wraith_native-{version}-*manylinux*_x86_64.whl"))
    if not pure.is_file() or not native:
        raise CannotMake("it needs the pure wheel and the one of x86-64")
    return [pure, native[0]]


def recipes(build: Build) -> list[Path]:
    """The formula and the Nix expression, with the address and the digest of the sources."""
    sources = build.out / f"wraith_protocol-{build.version()}.tar.gz"
    if not sources.is_file():
        raise CannotMake("it needs the source distribution")
    values = {
        "VERSION": build.version(),
        "URL": build.url,
        "SOURCES": sources.name,
        "SOURCES_SHA256": hashlib.sha256(sources.read_bytes()).hexdigest(),
    }
    made = []
    for name in RECIPES:
        text = (ROOT / "packaging" / f"{name}.in").read_text("utf-8")
        path = build.out / name
        path.write_text(_Recipe(text).substitute(values), "utf-8")
        made.append(path)
    return made


def sums(folder: Path) -> Path:
    """``SHA256SUMS`` over every file in ``folder``, as ``sha256sum -c`` reads it."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    target = folder / SUMS
    target.write_text("".join(lines), "utf-8")
    return target


def make(build: Build, names: list[str]) -> dict[str, str]:
    """Makes these artefacts, says what became of each; the reasons of those that were not made."""
    missing: dict[str, str] = {}
    for name, maker in makers().items():
        if name not in names:
            continue
        began = time.monotonic()
        try:
            made = maker(build)
        except CannotMake as error:
            missing[name] = str(error)
            print(f"dist: {name}: not made ({error})", flush=True)
            continue
        for path in made:
            took = time.monotonic() - began
            print(f"dist: {path.name}, {path.stat().st_size:,} bytes, {took:.0f} s", flush=True)
    return missing


def main() -> int:
    known = list(makers())
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv" / "bin" / "python")
    parser.add_argument(
        "--only", nargs="*", choices=known, help="these alone, beside what is there"
    )
    parser.add_argument("--require", nargs="*", choices=known, default=[], help="or exit with 1")
    options = parser.parse_args()
    out: Path = options.out.absolute()
    if options.only is None:
        shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    try:
        epoch = source_epoch()
    except CannotMake as error:
        print(f"dist: {error}", file=sys.stderr)
        return 2
    url = os.environ.get("WRAITH_DIST_URL") or out.as_uri()
    with tempfile.TemporaryDirectory(prefix="wraith-dist-") as scratch:
        build = Build(out, Path(scratch), options.python.absolute(), epoch, url.rstrip("/"))
        missing = make(build, known if options.only is None else options.only)
    sums(out)
    failed = sorted(set(missing) & set(options.require))
    if failed:
        print(f"dist: required and not made: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
