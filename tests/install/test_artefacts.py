"""Each artefact installs into an empty Debian without a compiler and without a network, and moves a
file to this checkout and back."""

from __future__ import annotations

import importlib
import platform
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wraith.testing.two_homes import TwoHomes, code_of, finish

ROOT = Path(__file__).parents[2]
WHEELS = "/opt/wheels"
INDEX = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS, "PIP_ROOT_USER_ACTION": "ignore"}
NATIVE = "native: the native part is installed"
PURE = "pure Python: the native part is not installed"

Debian = Callable[..., Any]
Made = Callable[[str], Path]

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the artefacts are those of x86-64"
)


def crosses_both_ways(homes: TwoHomes, root: Any, *program: str) -> None:
    """A file goes from the installed program to this checkout, and another one back."""
    installed = root.entered(*program, environment={"WRAITH_HOME": "/root/wraith"})
    inside = homes.file("photo.jpg", 3 << 20, seed=1)
    there = root.put(inside, "/root/outgoing.jpg")
    sender = homes.start(
        *("send", "--json", "--listen", "127.0.0.1:0", there), home="home-1", program=installed
    )
    assert finish(homes.receive(code_of(sender)), sender) == (0, 0), sender.story()
    assert (homes.out / "outgoing.jpg").read_bytes() == inside.read_bytes()

    root.inside("/srv/in").mkdir()
    sender = homes.send(homes.file("back.bin", 2 << 20, seed=2))
    receiver = homes.receive(code_of(sender), out=Path("/srv/in"), program=installed)
    assert finish(receiver, sender) == (0, 0), receiver.story()
    assert root.inside("/srv/in/back.bin").read_bytes() == (homes.source / "back.bin").read_bytes()


def says(root: Any, *program: str, environment: dict[str, str] | None = None) -> str:
    """The report of ``doctor``, whose exit code is that of the machine."""
    command = shlex.join([*program, "doctor"])
    settings = {"WRAITH_HOME": "/root/w", **(environment or {})}
    text: str = root.run("sh", "-c", f"{command} || true", environment=settings)
    return text


def installed(root: Any, build: Any, *files: Path, with_builders: bool = False) -> str:
    """Installs these files of ours as a person would, from a folder of wheels; the program."""
    house = importlib.import_module("dist_wheelhouse").wheelhouse(
        build, pythons=[_python_of(root)], with_builders=with_builders
    )
    root.put(house, WHEELS)
    ours = [root.put(path, f"/root/{path.name}") for path in files]
    root.run("python3", "-m", "venv", "/opt/wraith")
    root.run("/opt/wraith/bin/pip", "install", "--quiet", *ours, environment=INDEX)
    return "/opt/wraith/bin/wraith"


def _python_of(root: Any) -> str:
    code = "import sys; print(f'{sys.version_info[0]}.{sys.version_info[1]}')"
    version: str = root.run("python3", "-c", code)
    return version.strip()


def test_the_pure_wheel(debian: Debian, build: Any, made: Made, homes: TwoHomes) -> None:
    root = debian()
    program = installed(root, build, made("wraith_protocol-*.whl"))
    assert PURE in says(root, program)
    crosses_both_ways(homes, root, program)


def test_the_wheel_of_the_native_part(
    debian: Debian, build: Any, made: Made, homes: TwoHomes
) -> None:
    root = debian()
    ours = made("wraith_protocol-*.whl"), made("wraith_native-*manylinux*_x86_64.whl")
    program = installed(root, build, *ours)
    assert NATIVE in says(root, program)
    crosses_both_ways(homes, root, program)


def test_the_hint_of_doctor_brings_the_native_part(debian: Debian, build: Any, made: Made) -> None:
    root = debian()
    program = installed(root, build, made("wraith_protocol-*.whl"))
    for wheel in (ROOT / "dist").glob("wraith_native-*.whl"):  # those of other machines too
        root.put(wheel, f"/srv/our wheels/{wheel.name}")
    report = says(root, program, environment={"WRAITH_WHEELS": "/srv/our wheels"})
    [hint] = [line.split("hint: ", 1)[1] for line in report.splitlines() if "wraith-native" in line]
    assert PURE in report and hint.startswith("pip install --no-index ")
    root.run("sh", "-c", f"/opt/wraith/bin/{hint}")
    assert NATIVE in says(root, program)


def test_the_source_distribution(debian: Debian, build: Any, made: Made, homes: TwoHomes) -> None:
    root = debian()
    program = installed(root, build, made("wraith_protocol-*.tar.gz"), with_builders=True)
    assert PURE in says(root, program)
    crosses_both_ways(homes, root, program)


def test_the_one_file_program(debian: Debian, made: Made, homes: TwoHomes) -> None:
    root = debian()
    program = root.put(made("wraith-*.pex"), "/usr/local/bin/wraith")
    root.inside(program).chmod(0o755)
    assert NATIVE in says(root, program)
    crosses_both_ways(homes, root, program)


def test_the_debian_package(debian: Debian, made: Made, homes: TwoHomes) -> None:
    root = debian()
    package = root.put(made("wraith_*_amd64.deb"), "/root/wraith.deb")
    root.run("dpkg", "--install", package)
    assert NATIVE in says(root, "wraith")
    assert list(root.inside("/usr/lib/wraith").rglob("*.pyc")), "compiled once, not at every start"
    assert root.inside("/usr/share/man/man1/wraith.1.gz").is_file()
    assert root.run("dpkg", "--verify", "wraith") == ""
    crosses_both_ways(homes, root, "/usr/bin/wraith")
    root.run("dpkg", "--purge", "wraith")
    left = [
        path
        for path in root.folder.rglob("*wraith*")
        if "root" not in path.relative_to(root.folder).parts
    ]
    assert left == []


def test_the_commands_of_the_container_file(
    debian: Debian, build: Any, made: Made, homes: TwoHomes
) -> None:
    roots = importlib.import_module("dist_roots")
    text = (ROOT / "packaging" / "Containerfile").read_text("utf-8")
    root = debian(with_python=False)
    assert "COPY requirements/run.txt dist/*.whl /opt/wheels/\n" in text
    lines = roots.run_lines(text)
    assert sum(line.startswith("apt-get") for line in lines) == 1
    for line in lines:
        # Packages of the system come from its archive; all else from the folder that is copied.
        root.run("sh", "-c", line, offline=not line.startswith("apt-get"), environment=INDEX)
        if line.startswith("apt-get"):
            house = importlib.import_module("dist_wheelhouse").wheelhouse(
                build, pythons=[_python_of(root)]
            )
            root.put(house, WHEELS)
            root.put(ROOT / "requirements" / "run.txt", f"{WHEELS}/run.txt")
            for wheel in sorted((ROOT / "dist").glob("*.whl")):
                root.put(wheel, f"{WHEELS}/{wheel.name}")
    assert root.compilers() == []
    assert 'ENTRYPOINT ["/opt/wraith/bin/wraith"]\n' in text
    assert NATIVE in says(root, "/opt/wraith/bin/wraith")
    crosses_both_ways(homes, root, "/opt/wraith/bin/wraith")
