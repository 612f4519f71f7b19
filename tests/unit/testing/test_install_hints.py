"""What the project tells people to install exists and has an owner: a path, or a package of others.

A name of ours that is not registered anywhere may be registered by anybody; whoever follows a hint
with such a name runs that person's code."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import wraith
from wraith.cli.doctor import native_hint
from wraith.errors import EXTRAS, MissingExtra

ROOT = Path(__file__).parents[3]
OURS = re.compile(r"wraith[-_.\w]*", re.IGNORECASE)
INSTALL = re.compile(
    r"(?:pip3?|pipx|uv|cargo|brew|apt|apt-get|docker|podman) +(?:install|add|pull|tool install)\b"
    r"(?P<rest>[^\n`|;]*)"
)
SUFFIXES = {".py", ".md", ".sh", ".toml", ".rb", ".nix", ".in", ".txt", ""}
OPTION_WITH_VALUE = {"--find-links", "-f", "--target", "-r"}


def named(line: str) -> list[str]:
    """The names of ours that an install command in ``line`` leaves a registry to resolve."""
    found = []
    for match in INSTALL.finditer(line):
        words = [word.strip("'\"),.") for word in match["rest"].split()]
        is_offline = "--no-index" in words
        values = {i + 1 for i, word in enumerate(words) if word in OPTION_WITH_VALUE}
        for i, word in enumerate(words):
            if (
                not is_offline
                and i not in values
                and OURS.fullmatch(re.split(r"[\[=<>@]", word)[0])
            ):
                found.append(word)
    return found


def tracked() -> list[Path]:
    out = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout
    return [ROOT / name.decode() for name in out.split(b"\0") if name]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pip install 'wraith-protocol[quic]'", ["wraith-protocol[quic]"]),
        ("`pip install wraith`", ["wraith"]),
        ("brew install wraith", ["wraith"]),
        ("pip install .", []),
        ("pip install '.[quic]'", []),
        ("pip install dist/wraith_protocol-2.0.0-py3-none-any.whl", []),
        ("pip install --no-index --find-links dist wraith-protocol", []),
        ("pip install 'aioquic>=1.7.2,<1.8'", []),
    ],
)
def test_the_checker_sees_a_name_of_ours(line: str, expected: list[str]) -> None:
    assert named(line) == expected


def test_nothing_here_tells_to_install_a_name_that_somebody_else_could_register() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__) or path.suffix not in SUFFIXES:
            continue
        if path.is_file():
            for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
                found += [f"{path.relative_to(ROOT)}:{number}: {name}" for name in named(line)]
    assert found == []


def test_hints_name_what_the_optional_parts_are_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: tuple(each) for name, each in project["optional-dependencies"].items()}
    assert extras == EXTRAS
    assert MissingExtra("quic", "it").hint == "pip install 'aioquic>=1.7.2,<1.8'"


@pytest.mark.parametrize(
    ("place", "beginning"),
    [
        (
            None,
            "in a checkout: make dist, then pip install --no-index --no-deps --find-links dist ",
        ),
        ("", "in a checkout: make dist, then "),
        ("https://host.example/w", "pip install --no-index --no-deps --find-links https://host.ex"),
        ("/srv/my wheels", "pip install --no-index --no-deps --find-links '/srv/my wheels' "),
    ],
)
def test_the_hint_for_the_native_part_is_a_place_that_was_named(
    place: str | None, beginning: str
) -> None:
    hint = native_hint({} if place is None else {"WRAITH_WHEELS": place})
    assert hint.startswith(beginning)
    assert hint.endswith(f" wraith-native=={wraith.__version__}") and named(hint) == []


def test_who_switched_the_native_part_off_gets_no_hint() -> None:
    assert native_hint({"WRAITH_PURE_PYTHON": "1", "WRAITH_WHEELS": "/srv"}) == ""
    assert native_hint({"WRAITH_PURE_PYTHON": "0"}) != ""
