"""The Debian package: ``wraith_VERSION_amd64.deb``, made with dpkg-deb alone.

Debian has no cryptography that is new enough, so the package brings the locked wheels of other
people, for every Python that it may meet, in a folder that no other program imports from.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from dist_build import ROOT, Build, CannotMake
from dist_wheelhouse import PYTHONS, laid_out, shipped, wheelhouse

LIBRARY = Path("usr/lib/wraith")

COMMAND = """#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/usr/lib/wraith")
from wraith.__main__ import main

main()
"""

CONTROL = """Package: wraith
Version: {version}
Architecture: amd64
Maintainer: The developers of WRAITH <wraith@localhost>
Installed-Size: {kib}
Depends: python3 (>= {oldest}), python3 (<< {beyond}), libc6 (>= 2.34)
Section: net
Priority: optional
Description: secure peer-to-peer transfer of files, folders and streams
 Moves files, folders and streams between two machines, so that neither an
 active attacker today nor a quantum computer that opens recordings later can
 read them. There is no account, no server and no configuration.
 .
 Holds the native part and the libraries that wraith needs, apart from those
 of the system.
"""

AFTER_INSTALLATION = """#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
if command -v py3compile >/dev/null; then py3compile -p wraith /usr/lib/wraith; fi
"""

BEFORE_REMOVAL = """#!/bin/sh
set -e
if command -v py3clean >/dev/null; then py3clean -p wraith /usr/lib/wraith; fi
"""

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: wraith
Comment: What /usr/lib/wraith holds beside wraith has its licences in its own *.dist-info folders.

Files: *
Copyright: The developers of WRAITH
License: Apache-2.0
 On Debian systems the text of the licence is in /usr/share/common-licenses/Apache-2.0.
"""


def package(build: Build, wheels: Iterable[Path]) -> Path:
    """``wheels`` are ours: the pure one, and the native one of x86-64.

    Raises:
        CannotMake: dpkg-deb, or the wheels of others, are not to be had.
    """
    if shutil.which("dpkg-deb") is None:
        raise CannotMake("dpkg-deb is not installed")
    house = wheelhouse(build, machine="x86_64", pythons=PYTHONS)
    tree = build.scratch / "deb"
    shutil.rmtree(tree, ignore_errors=True)
    laid_out([*wheels, *shipped(house)], tree / LIBRARY)
    man = build.scratch / "man"
    build.run(build.python, "-m", "wraith.cli.man", man)
    return packed(build, tree, man)


def packed(build: Build, tree: Path, man: Path) -> Path:
    """Adds to ``tree``, which holds the library, what else the package has, and packs it."""
    _write(tree / "usr/bin/wraith", COMMAND, executable=True)
    documents = tree / "usr/share/doc/wraith"
    _write(documents / "copyright", COPYRIGHT)
    _write_compressed(documents / "changelog.gz", (ROOT / "CHANGELOG.md").read_bytes())
    for page in sorted(man.iterdir()):
        section = page.suffix.removeprefix(".")
        place = tree / f"usr/share/man/man{section}" / f"{page.name}.gz"
        _write_compressed(place, page.read_bytes())
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    sums = [
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n"
        for path in files
    ]
    control = CONTROL.format(
        version=build.version(),
        kib=sum(path.stat().st_size // 1024 + 1 for path in files),
        oldest=PYTHONS[0],
        beyond=_beyond(PYTHONS[-1]),
    )
    _write(tree / "DEBIAN/control", control)
    _write(tree / "DEBIAN/md5sums", "".join(sums))
    _write(tree / "DEBIAN/postinst", AFTER_INSTALLATION, executable=True)
    _write(tree / "DEBIAN/prerm", BEFORE_REMOVAL, executable=True)
    for path in [tree, *tree.rglob("*")]:
        if path.is_dir() or not path.stat().st_mode & 0o100:
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (build.epoch, build.epoch))
    target = build.out / f"wraith_{build.version()}_amd64.deb"
    # One thread: how many there are decides where a compressor cuts.
    build.run(
        *("dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, target),
        environment={"DPKG_DEB_THREADS_MAX": "1"},
    )
    return target


def _beyond(version: str) -> str:
    major, minor = version.split(".")
    return f"{major}.{int(minor) + 1}"


def _write(path: Path, text: str, *, executable: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755 if executable else 0o644)


def _write_compressed(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 9, mtime=0))
