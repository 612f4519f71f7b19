"""What is handed out beside programs: digests, a formula, an expression; and that all is made again
byte for byte."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
Made = Callable[[str], Path]
Cannot = Callable[[str], None]


def test_the_digests_are_those_of_every_file() -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=DIST,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    named = {line.split("  ")[1] for line in (DIST / "SHA256SUMS").read_text().splitlines()}
    assert named == {path.name for path in DIST.iterdir()} - {"SHA256SUMS"}


@pytest.mark.parametrize(
    ("name", "parser", "package"),
    [
        ("wraith.rb", ["ruby", "-c"], "ruby"),
        ("wraith.nix", ["nix-instantiate", "--parse"], "nix-bin"),
    ],
)
def test_recipes_are_read_by_their_programs(
    name: str, parser: list[str], package: str, made: Made, cannot: Cannot
) -> None:
    if shutil.which(parser[0]) is None:
        cannot(f"{parser[0]} is not installed (Debian's {package}; tools/setup-system.sh --dist)")
    recipe = made(name)
    read = subprocess.run([*parser, str(recipe)], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stdout + read.stderr
    text = recipe.read_text("utf-8")
    assert "@" not in text.replace("python@3.13", "")
    broken = recipe.with_suffix(f".broken{recipe.suffix}")
    try:  # the parser would notice
        broken.write_text(text.rstrip().removesuffix("end").removesuffix("}"), "utf-8")
        read = subprocess.run([*parser, str(broken)], capture_output=True, text=True, check=False)
    finally:
        broken.unlink()
    assert read.returncode != 0


def test_the_pure_artefacts_are_made_again_byte_for_byte(build: Any, made: Made) -> None:
    make_dist = importlib.import_module("make_dist")
    makers = make_dist.makers()
    shutil.copy(made("wraith_native-*manylinux*_x86_64.whl"), build.out)
    for name in ("python", "native-sources", "pex", "deb"):
        for again in makers[name](build):
            first = DIST / again.name
            assert first.read_bytes() == again.read_bytes(), f"{again.name} differs"


def test_the_native_wheel_is_made_again_byte_for_byte_elsewhere(
    build: Any, made: Made, tmp_path: Path
) -> None:
    native = importlib.import_module("dist_native")
    first = made("wraith_native-*manylinux*_x86_64.whl")
    again = native.wheel(build, native.X86_64, folder=tmp_path / "objects")
    assert again.name == first.name
    assert native.extension(again) == native.extension(first), "the compiled module differs"
    assert again.read_bytes() == first.read_bytes()
    assert str(ROOT).encode() not in native.extension(first), "it tells where it was built"
