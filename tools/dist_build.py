"""What the makers of ``make dist`` share: where they build, the time they write, how they fail.

Everything that takes long and depends only on a lock file is kept outside of the tree, in
``$XDG_CACHE_HOME/wraith-dist`` (``WRAITH_DIST_CACHE`` names another place): a fresh clone on the
same machine finds it there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ZIP_EPOCH = 315_532_800
"""1980, the earliest time that a zip file can hold."""


class CannotMake(Exception):
    """Why an artefact is not made here; the text is for people."""


@dataclass(frozen=True, slots=True)
class Build:
    """One run of ``make dist``.

    Attributes:
        out: where finished files go.
        scratch: a folder of this run alone.
        python: the interpreter of the development environment: it has hatchling and maturin.
        epoch: seconds; the time of every file in every artefact (``SOURCE_DATE_EPOCH``).
        url: where people will find the files of ``out``.
    """

    out: Path
    scratch: Path
    python: Path
    epoch: int
    url: str

    def run(
        self,
        *command: str | Path,
        cwd: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Runs a command; its stdout.

        Raises:
            CannotMake: it is not there or failed; the text ends with the end of what it said.
        """
        words = [str(word) for word in command]
        settings = {
            **os.environ,
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "LC_ALL": "C.UTF-8",
            **(environment or {}),
        }
        try:
            done = subprocess.run(
                words, cwd=cwd, env=settings, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise CannotMake(f"{Path(words[0]).name} cannot be run: {error.strerror}") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            name = Path(words[0]).name
            log = ROOT / ".build" / f"dist-{name}.log"
            log.parent.mkdir(exist_ok=True)
            log.write_text(done.stdout + done.stderr, "utf-8")
            end = " / ".join(said[-3:])[-400:]
            raise CannotMake(f"{name} failed: {end}; see {log.relative_to(ROOT)}")
        return done.stdout

    def version(self) -> str:
        """The version of both distributions."""
        text = (ROOT / "src" / "wraith" / "__init__.py").read_text("utf-8")
        found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
        if found is None:
            raise CannotMake("src/wraith/__init__.py names no version")
        return found[1]


def source_epoch() -> int:
    """``SOURCE_DATE_EPOCH``, or the time of the newest commit, or 1980 outside of a repository."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given:
        if not given.isdecimal() or int(given) < ZIP_EPOCH:
            raise CannotMake(f"SOURCE_DATE_EPOCH is {given!r}, not seconds since 1970 past 1980")
        return int(given)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        found = ""
    return max(ZIP_EPOCH, int(found)) if found.isdecimal() else ZIP_EPOCH


def cache() -> Path:
    """The folder of what is kept; it is made when it is missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("WRAITH_DIST_CACHE") or Path(base) / "wraith-dist")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest_of(*parts: str | bytes) -> str:
    """What something kept is remembered by: 24 digits of a hash over all parts."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:24]


def kept(name: str, digest: str, fill: Callable[[Path], None]) -> Path:
    """The kept folder of ``name``; ``fill`` makes its content where there is none yet.

    It appears under its name whole or not at all. All but the three newest of this name go.
    """
    place = cache() / f"{name}-{digest}"
    if place.is_dir():
        os.utime(place)
        return place
    fresh = Path(tempfile.mkdtemp(prefix="fresh.", dir=cache()))
    try:
        fill(fresh)
        fresh.chmod(0o755)
        try:
            fresh.rename(place)
        except OSError:  # another run was faster
            if not place.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    same = re.compile(re.escape(name) + r"-[0-9a-f]{24}")
    folders = [each for each in cache().iterdir() if same.fullmatch(each.name)]
    for old in sorted(folders, key=lambda each: each.stat().st_mtime)[:-3]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def tool_environment(build: Build) -> Path:
    """``bin`` of the virtual environment with the packers and the linker of requirements/dist.txt.

    Raises:
        CannotMake: the packages cannot be had.
    """
    lock = ROOT / "requirements" / "dist.txt"
    folder = ROOT / ".build" / "dist"
    stamp = folder / "stamp"
    wanted = digest_of(lock.read_bytes(), sys.version)
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        build.run(build.python, "-m", "venv", folder)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        build.run(folder / "bin" / "python", *pip, "--require-hashes", "-r", lock)
        stamp.write_text(wanted)
    return folder / "bin"
