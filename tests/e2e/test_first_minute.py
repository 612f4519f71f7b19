"""A person without a compiler: from an empty environment with Python to the first file received.

Six commands and a minute of machine time are what it may take, with the checkout alone and with the
wheel of the native part. The network is left out: pip has the locked wheels in a folder, fetched
before the clock runs."""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wraith.testing.demo import Command
from wraith.testing.two_homes import code_of, finish

ROOT = Path(__file__).parents[2]
N_COMMANDS_MAX = 6
CPU_S_MAX = 60.0
LOOPBACK = ("--listen", "127.0.0.1:0")
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)
"""The interpreter outside of the virtual environment in which the tests run."""


def tool(name: str) -> Any:
    """A module of tools/, imported as the tools import each other."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


def cannot(reason: str) -> None:
    """What a test says that lacks something: a failure where everything must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what wraith needs to run and to be built from the checkout, as locked."""
    dist_build, house = tool("dist_build"), tool("dist_wheelhouse")
    scratch = tmp_path_factory.mktemp("wheels")
    build = dist_build.Build(scratch, scratch, Path(sys.executable), dist_build.ZIP_EPOCH, "")
    try:
        folder: Path = house.wheelhouse(build, with_builders=True)
    except dist_build.CannotMake as error:
        cannot(f"the locked wheels cannot be had: {error}")
    return folder


@dataclass
class Newcomer:
    """Types commands in an empty folder, with Python on the path and nothing else; counts them."""

    folder: Path
    wheels: Path
    commands: list[Command] = field(default_factory=list)
    n_typed: int = 0

    def __post_init__(self) -> None:
        only = self.folder / "only-python"
        only.mkdir()
        python = only / "python3"
        python.write_text(f'#!/bin/sh\nexec "{BASE_PYTHON}" "$@"\n')
        python.chmod(0o755)
        self.environment = {
            "PATH": str(only),
            "HOME": str(self.folder),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
        }

    def types(self, line: str) -> str:
        """Runs one line to its end; what it printed."""
        self.n_typed += 1
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        # `wraith doctor` ends with 1 where the machine has a fault of its own
        assert done.returncode == 0 or line.endswith(" doctor"), f"{line}\n{printed}"
        return printed

    def starts(self, program: str, *arguments: str, stdin: str | None = None) -> Command:
        """Starts one line that goes on beside others."""
        self.n_typed += 1
        command = Command(
            list(arguments),
            home=self.folder / f"home-{self.n_typed}",
            stdin=stdin,
            environment={"PATH": self.environment["PATH"]},
            program=[str(self.folder / program)],
        )
        self.commands.append(command)
        return command


@pytest.fixture
def newcomer(tmp_path: Path, wheels: Path) -> Iterator[Newcomer]:
    person = Newcomer(tmp_path, wheels)
    assert not [
        c
        for c in ("cc", "gcc", "cargo", "rustc")
        if shutil.which(c, path=person.environment["PATH"])
    ]
    yield person
    for command in person.commands:
        command.close()


def first_file(person: Newcomer, install: str) -> tuple[str, float]:
    """Everything from nothing to a received file: the words of ``doctor``, and CPU seconds."""
    photo = person.folder / "photo.jpg"
    photo.write_bytes(os.urandom(5 << 20))
    (person.folder / "inbox").mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    person.types("python3 -m venv w")
    person.types(f"w/bin/pip install {install}")
    doctor = person.types("w/bin/wraith doctor")
    sender = person.starts("w/bin/wraith", "send", "--json", *LOOPBACK, str(photo))
    inbox = str(person.folder / "inbox")
    receive = ("receive", "--json", "--yes", "--out", inbox, "-")
    receiver = person.starts("w/bin/wraith", *receive, stdin=code_of(sender))
    assert finish(sender, receiver) == (0, 0), receiver.story() + sender.story()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (person.folder / "inbox/photo.jpg").read_bytes() == photo.read_bytes()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{person.n_typed} commands, {cpu_s:.1f} CPU s, {time.monotonic() - began:.1f} s")
    return doctor, cpu_s


def test_the_first_file_from_a_checkout_alone(newcomer: Newcomer) -> None:
    doctor, cpu_s = first_file(newcomer, str(ROOT))
    assert "pure Python: the native part is not installed" in doctor
    assert newcomer.n_typed <= N_COMMANDS_MAX
    assert cpu_s <= CPU_S_MAX


def test_the_first_file_at_native_speed(newcomer: Newcomer) -> None:
    found = sorted((ROOT / "native" / "wheels").glob("wraith_native-*.whl"))
    if not found:
        cannot("no wheel of the native part was built: tools/build-native.sh says why")
    doctor, cpu_s = first_file(newcomer, f"{ROOT} {found[-1]}")
    assert "native: the native part is installed" in doctor
    assert newcomer.n_typed <= N_COMMANDS_MAX
    assert cpu_s <= CPU_S_MAX
