"""The makers of ``make dist``: the same bytes twice, and one sentence for what is not made."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / "tools"


def tool(name: str) -> Any:
    """A module of tools/, imported as the tools import each other."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TOOLS))


dist_build, make_dist = tool("dist_build"), tool("make_dist")
wheelhouse, debian, roots = tool("dist_wheelhouse"), tool("dist_debian"), tool("dist_roots")
EPOCH = 1_700_000_000


def a_build(folder: Path, *, epoch: int = EPOCH) -> Any:
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(parents=True)
    scratch.mkdir()
    url = "https://host.example/wraith"
    return dist_build.Build(out, scratch, Path(sys.executable), epoch, url)


def a_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
    return path


def test_wheel_and_sources_are_the_same_bytes_twice(tmp_path: Path) -> None:
    made = [
        tool("dist_python").wheel_and_sources(a_build(tmp_path / name)) for name in ("one", "two")
    ]
    assert [path.suffix for path in made[0]] == [".whl", ".gz"]
    for first, again in zip(*made, strict=True):
        assert first.name == again.name and first.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(made[0][0]) as archive:
        assert {info.date_time[:3] for info in archive.infolist()} == {(2023, 11, 14)}
        assert not [name for name in archive.namelist() if name.startswith("tests/")]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
def test_a_debian_package_is_the_same_bytes_twice(tmp_path: Path) -> None:
    packages = []
    for number, name in enumerate(("one", "two")):
        build = a_build(tmp_path / name)
        tree, man = tmp_path / name / "tree", tmp_path / name / "man"
        module = tree / debian.LIBRARY / "wraith" / "__init__.py"
        module.parent.mkdir(parents=True)
        module.write_text("pass\n")
        module.chmod(0o600 if number else 0o664)
        man.mkdir()
        (man / "wraith.1").write_text('.TH "WRAITH" "1"\n')
        os.utime(module, (1 + number, EPOCH + 1_000 * number))
        packages.append(debian.packed(build, tree, man))
    assert packages[0].read_bytes() == packages[1].read_bytes()
    shown = subprocess.run(
        ["dpkg-deb", "--contents", packages[0]], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"-rwxr-xr-x root/root .* \./usr/bin/wraith\n", shown)
    assert re.search(r"-rw-r--r-- root/root .* \./usr/lib/wraith/wraith/__init__\.py\n", shown)
    assert re.search(r" \./usr/share/man/man1/wraith\.1\.gz\n", shown)
    fields = subprocess.run(
        ["dpkg-deb", "--field", packages[0]], capture_output=True, text=True, check=True
    ).stdout
    assert "Depends: python3 (>= 3.11), python3 (<< 3.14)," in fields


def test_wheels_for_several_pythons_lie_side_by_side(tmp_path: Path) -> None:
    both = {"part/__init__.py": "", "part-1.dist-info/METADATA": "Name: part"}
    wheels = [
        a_wheel(
            tmp_path / "wheels",
            f"part-1-cp{number}.whl",
            both | {f"part/fast.cpython-{number}.so": number, "part-1.dist-info/RECORD": number},
        )
        for number in ("311", "312")
    ]
    wheelhouse.laid_out(wheels, tmp_path / "site")
    names = {path.name for path in (tmp_path / "site" / "part").iterdir()}
    assert names == {"__init__.py", "fast.cpython-311.so", "fast.cpython-312.so"}


@pytest.mark.parametrize("name", ["../outside", "part-1.data/scripts/run", "/etc/passwd"])
def test_a_wheel_that_puts_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    wheel = a_wheel(tmp_path / "wheels", "part-1.whl", {name: "x"})
    with pytest.raises(dist_build.CannotMake, match=r"part-1\.whl holds"):
        wheelhouse.laid_out([wheel], tmp_path / "site")


def test_wheels_that_disagree_are_refused(tmp_path: Path) -> None:
    wheels = [
        a_wheel(tmp_path / "wheels", f"part-{n}.whl", {"part/__init__.py": str(n)}) for n in (1, 2)
    ]
    with pytest.raises(dist_build.CannotMake, match="differs from that of another wheel"):
        wheelhouse.laid_out(wheels, tmp_path / "site")


def test_a_lock_is_read_as_another_python_reads_it() -> None:
    lock = (ROOT / "requirements" / "run.txt").read_text("utf-8")
    old, new = (wheelhouse.applied(lock, "x86_64", version) for version in ("3.11", "3.12"))
    assert "pymonocypher==4.0.3.2" in old and "pymonocypher==4.0.3.2" not in new
    assert ";" not in old and ";" not in new
    assert len(re.findall("==", old)) == len(re.findall("==", new)) + 1  # typing-extensions
    builders = wheelhouse.selected(wheelhouse.DEV_LOCK.read_text("utf-8"), wheelhouse.BUILDERS)
    assert len(re.findall(r"^\S+==", builders, re.MULTILINE)) == len(wheelhouse.BUILDERS)
    with pytest.raises(dist_build.CannotMake, match="has no nobody-has-this"):
        wheelhouse.selected(lock, ["click", "nobody-has-this"])


def test_what_runs_is_locked_as_what_is_developed_with() -> None:
    pins = [
        set(re.findall(r"^([\w.-]+==\S+)", path.read_text("utf-8"), re.MULTILINE))
        for path in (wheelhouse.RUN_LOCK, wheelhouse.DEV_LOCK)
    ]
    assert pins[0] <= pins[1]


def test_recipes_name_the_sources_by_address_and_digest(tmp_path: Path) -> None:
    build = a_build(tmp_path)
    with pytest.raises(dist_build.CannotMake, match="source distribution"):
        make_dist.recipes(build)
    sources = build.out / f"wraith_protocol-{build.version()}.tar.gz"
    sources.write_bytes(b"sources")
    for path in make_dist.recipes(build):
        text = path.read_text("utf-8")
        assert f"https://host.example/wraith/{sources.name}" in text
        assert hashlib.sha256(b"sources").hexdigest() in text
        assert "parsed, not built" in text


def test_the_library_that_nix_has_not_is_the_locked_one() -> None:
    recipe = (ROOT / "packaging" / "wraith.nix.in").read_text("utf-8")
    version = re.search(r'pname = "pymonocypher";\s+version = "([\d.]+)"', recipe)
    digest = re.search(r'hash = "sha256-([^"]+)"', recipe)
    assert version is not None and digest is not None
    lock = wheelhouse.RUN_LOCK.read_text("utf-8")
    assert f"pymonocypher=={version[1]} " in lock
    assert f"--hash=sha256:{base64.b64decode(digest[1]).hex()}" in lock


def test_what_cannot_be_made_is_one_line_and_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = a_build(tmp_path)

    def fails(build: Any) -> list[Path]:
        build.run("sh", "-c", "echo first >&2; echo the reason >&2; exit 3")
        raise AssertionError

    def works(build: Any) -> list[Path]:
        path: Path = build.out / "made.txt"
        path.write_text("made")
        return [path]

    monkeypatch.setattr(make_dist, "makers", lambda: {"one": fails, "two": works, "three": works})
    assert list(make_dist.make(build, ["one", "two"])) == ["one"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == (
        "dist: one: not made (sh failed: first / the reason; see .build/dist-sh.log)"
    )
    assert printed[1].startswith("dist: made.txt, 4 bytes") and len(printed) == 2
    assert make_dist.sums(build.out).read_text() == (
        f"{hashlib.sha256(b'made').hexdigest()}  made.txt\n"
    )


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(dist_build.CannotMake, match="no-such-program cannot be run"):
        a_build(tmp_path).run("/nowhere/no-such-program")


@pytest.mark.parametrize("given", ["now", "-1", "5"])
def test_a_time_that_no_archive_can_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    with pytest.raises(dist_build.CannotMake, match="SOURCE_DATE_EPOCH"):
        dist_build.source_epoch()


def test_what_is_kept_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRAITH_DIST_CACHE", str(tmp_path / "cache"))

    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise dist_build.CannotMake("the line broke")

    with pytest.raises(dist_build.CannotMake):
        dist_build.kept("thing", "0" * 24, fails)
    assert list((tmp_path / "cache").iterdir()) == []
    calls = []
    for number in (*range(5), 4):
        digest = f"{number:024x}"
        folder = dist_build.kept("thing", digest, lambda folder: calls.append(folder.name))
        os.utime(folder, (number, number))
    assert len(calls) == 5
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left == {f"thing-{number:024x}" for number in (2, 3, 4)}


def test_the_run_lines_of_a_container_file_are_joined() -> None:
    text = "FROM a\nRUN one \\\n && two\nCOPY x y\nRUN three\n"
    assert roots.run_lines(text) == ["one  && two", "three"]


def test_the_recipe_for_other_systems_is_a_script_and_says_that_it_never_ran() -> None:
    script = ROOT / "packaging" / "native-elsewhere.sh"
    assert "Never built" in script.read_text("utf-8")
    subprocess.run(["sh", "-n", script], check=True)


def test_the_container_file_takes_only_what_is_locked_or_ours() -> None:
    lines = roots.run_lines((ROOT / "packaging" / "Containerfile").read_text("utf-8"))
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 2
    assert "--require-hashes --only-binary :all: -r /opt/wheels/run.txt" in installs[0]
    assert "--no-deps --no-index --find-links /opt/wheels" in installs[1]
