"""Wheels for other machines than this one: run by an emulator, or at least linked as they say."""

from __future__ import annotations

import importlib
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wraith.testing.two_homes import TwoHomes, code_of, finish

Made = Callable[[str], Path]
Cannot = Callable[[str], None]

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the artefacts are made on x86-64"
)


def needed(extension: bytes, tmp_path: Path) -> list[str]:
    """The shared libraries that a compiled module asks for."""
    path = tmp_path / "extension.so"
    path.write_bytes(extension)
    shown = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True)
    return re.findall(r"\(NEEDED\).*\[(.*)\]", shown.stdout)


def symbol_versions(extension: bytes) -> list[tuple[int, ...]]:
    """The versions of glibc whose functions a compiled module uses."""
    found = re.findall(rb"GLIBC_(\d+)\.(\d+)", extension)
    return sorted({tuple(map(int, each)) for each in found})


def test_the_manylinux_wheels_ask_for_no_newer_glibc_than_they_say(made: Made) -> None:
    native = importlib.import_module("dist_native")
    for machine in ("x86_64", "aarch64"):
        extension = native.extension(made(f"wraith_native-*manylinux*_{machine}.whl"))
        assert symbol_versions(extension)[-1] <= (2, 17), machine


def test_the_musl_wheel_asks_for_musl_alone(made: Made, tmp_path: Path, cannot: Cannot) -> None:
    if shutil.which("readelf") is None:
        cannot("readelf is not installed (Debian's binutils)")
    native = importlib.import_module("dist_native")
    extension = native.extension(made("wraith_native-*musllinux*_x86_64.whl"))
    assert set(needed(extension, tmp_path)) <= {"libc.so", "libc.musl-x86_64.so.1", "libgcc_s.so.1"}
    assert symbol_versions(extension) == []


def test_the_aarch64_wheel_runs_under_an_emulator(
    build: Any, made: Made, homes: TwoHomes, tmp_path: Path, cannot: Cannot
) -> None:
    emulated = importlib.import_module("dist_emulated")
    if emulated.why_not() is not None:
        cannot(emulated.why_not())
    house = importlib.import_module("dist_wheelhouse")
    python = emulated.python(build)
    library = tmp_path / "library"
    theirs = house.wheelhouse(build, machine="aarch64", pythons=[python.version])
    ours = [made("wraith_protocol-*.whl"), made("wraith_native-*manylinux*_aarch64.whl")]
    house.laid_out([*ours, *house.shipped(theirs)], library)
    program = [*python.command(library), "-m", "wraith"]
    doctor = subprocess.run(
        [*program, "doctor"],
        env={"WRAITH_HOME": str(tmp_path / "home"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "Linux aarch64" in doctor and "native: the native part is installed" in doctor

    source = homes.file("photo.jpg", 1 << 20)
    sender = homes.start(
        *("send", "--json", "--listen", "127.0.0.1:0", str(source)), home="home-a", program=program
    )
    assert finish(homes.receive(code_of(sender)), sender) == (0, 0), sender.story()
    assert (homes.out / "photo.jpg").read_bytes() == source.read_bytes()
    back = tmp_path / "back"
    back.mkdir()
    sender = homes.send(source)
    receiver = homes.receive(code_of(sender), out=back, program=program)
    assert finish(receiver, sender) == (0, 0), receiver.story()
    assert (back / "photo.jpg").read_bytes() == source.read_bytes()
