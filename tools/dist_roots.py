"""Empty systems to install into: a Debian in a folder, entered with chroot.

Only a superuser can enter them. The base comes from Debian's archive once and is kept; every test
gets a copy. No compiler is in it, and what runs ``offline`` has no network at all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dist_build import Build, CannotMake, digest_of, kept

COMPILERS = ("cc", "gcc", "clang", "c99", "rustc", "cargo", "zig")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHON_PACKAGES = ("python3", "python3-venv")


@dataclass(frozen=True, slots=True)
class Root:
    """A system in ``folder``."""

    folder: Path

    def entered(
        self, *command: str, offline: bool = False, environment: dict[str, str] | None = None
    ) -> list[str]:
        """The words that run ``command`` in it, as root, with nothing of our environment."""
        settings = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **(environment or {})}
        words = ["env", "-i", *(f"{key}={value}" for key, value in settings.items())]
        if offline:
            words = ["unshare", "--net", *words]
        return [*words, "chroot", str(self.folder), *command]

    def run(
        self, *command: str, offline: bool = True, environment: dict[str, str] | None = None
    ) -> str:
        """Runs a command in it to its end; its stdout.

        Raises:
            CannotMake: it failed; the text is what it said.
        """
        done = subprocess.run(
            self.entered(*command, offline=offline, environment=environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise CannotMake(f"{' '.join(command)} ended with {done.returncode}: {said[-2000:]}")
        return done.stdout

    def put(self, source: Path, place: str) -> str:
        """Copies a file or a folder to ``place`` in it; returns ``place``."""
        target = self.inside(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        return place

    def inside(self, place: str) -> Path:
        """Where ``place`` in it is for us."""
        return self.folder / place.lstrip("/")

    def compilers(self) -> list[str]:
        """Those of ``COMPILERS`` that it has."""
        folders = [self.inside(each) for each in PATH.split(":")]
        return [name for name in COMPILERS if any((each / name).exists() for each in folders)]


def why_not() -> str | None:
    """Why no system can be entered here; ``None`` if one can."""
    if os.geteuid() != 0:
        return "only root can chroot"
    missing = [name for name in ("unshare", "chroot", "debootstrap") if _program(name) is None]
    return (
        f"not installed: {', '.join(missing)} (tools/setup-system.sh --dist)" if missing else None
    )


def bare(build: Build) -> Path:
    """The kept base: the smallest Debian that debootstrap makes. Not to be changed; copy it.

    Raises:
        CannotMake: it cannot be made here.
    """
    reason = why_not()
    if reason is not None:
        raise CannotMake(reason)
    site, release = _archive(build)

    def fill(folder: Path) -> None:
        debootstrap = _program("debootstrap")
        assert debootstrap is not None
        build.run(debootstrap, "--variant=minbase", release, folder, site)
        shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
        (folder / "var/cache/apt/archives/partial").mkdir(parents=True)

    return kept("debian", digest_of(release), fill)


def with_python(build: Build) -> Path:
    """The kept base with Python and its ``venv``, and nothing else. Not to be changed; copy it."""
    base = bare(build)

    def fill(folder: Path) -> None:
        copied(base, folder / "root")
        root = Root(folder / "root")
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PYTHON_PACKAGES]
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        root.run("apt-get", "update", "-qq", offline=False)
        root.run(*install, offline=False, environment=quiet)
        root.run("apt-get", "clean")

    return kept("debian-python", digest_of(base.name, *PYTHON_PACKAGES), fill) / "root"


def copied(base: Path, folder: Path) -> Root:
    """A copy of a base, at ``folder``."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(folder)], check=True)
    return Root(folder)


def run_lines(containerfile: str) -> list[str]:
    """The commands of the RUN lines of a container file, continued lines joined."""
    joined = re.sub(r"\\\n", "", containerfile)
    return re.findall(r"^RUN +(.*)$", joined, re.MULTILINE)


def _archive(build: Build) -> tuple[str, str]:
    """Address and release of the archive that this system takes its own packages from."""
    site_and_release = "$(SITE) $(RELEASE)"
    listed = build.run(
        *("apt-get", "indextargets", "--format", site_and_release, "Created-By: Packages")
    )
    for line in listed.splitlines():
        site, _, release = line.partition(" ")
        if release.isalpha():
            return site, release
    raise CannotMake("this is no Debian with an archive of its own")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PATH}")
