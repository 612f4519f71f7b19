"""Wraith's own keys, codes and unfinished transfers are never sent."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.own_state import OwnFolder
from wraith.testing.rng import SeededRng


@pytest.fixture
def home(tmp_path: Path) -> HomeFolder:
    made = HomeFolder(tmp_path / "src" / "share" / "home")
    made.identity(SeededRng(1))
    made.send_folder([tmp_path]).joinpath("code.json").write_text("{}")
    (tmp_path / "src" / "share" / "notes").write_text("mine")
    return made


def sent(source: Path, home: HomeFolder) -> tuple[list[str], list[str]]:
    """What a sender lists, and what it leaves out."""
    scanned = FileSource.scan([source], home=home.home)
    paths = [os.fsdecode(entry.path) for entry in scanned.entries()]
    scanned.close()
    return paths, [os.fsdecode(path) for path, _ in scanned.left_out]


@pytest.mark.spec("TR-126")
def test_a_home_inside_the_source_stays_out(tmp_path: Path, home: HomeFolder) -> None:
    assert sent(tmp_path / "src", home) == (
        ["src", "src/share", "src/share/notes"],
        ["src/share/home"],
    )


@pytest.mark.spec("TR-126")
def test_a_second_name_of_the_key_stays_out(tmp_path: Path, home: HomeFolder) -> None:
    os.link(home.home / "identity.key", tmp_path / "src" / "copy")
    assert sent(tmp_path / "src", home)[1] == ["src/copy", "src/share/home"]


@pytest.mark.spec("TR-126")
def test_a_home_that_is_reached_through_a_link_stays_out(tmp_path: Path, home: HomeFolder) -> None:
    (tmp_path / "link").symlink_to(home.home)
    assert sent(tmp_path / "src", HomeFolder(tmp_path / "link"))[1] == ["src/share/home"]


@pytest.fixture
def bind(tmp_path: Path, home: HomeFolder) -> Iterator[Path]:
    """The home, mounted a second time elsewhere."""
    folder = tmp_path / "other" / "bound"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "--bind", str(home.home), str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting needs the superuser: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.spec("TR-126")
def test_a_home_that_is_bound_elsewhere_stays_out(home: HomeFolder, bind: Path) -> None:
    assert sent(bind.parent, home) == (["other"], ["other/bound"])
    with pytest.raises(OwnFolder):
        sent(bind / "identity.key", home)


@pytest.mark.spec("TR-126")
def test_an_unfinished_transfer_inside_the_source_stays_out(tmp_path: Path) -> None:
    state = tmp_path / "src" / "deep" / ".wraith-0123456789ab"
    (state / "data").mkdir(parents=True)
    (state / "data" / "f").write_text("half")
    (tmp_path / "src" / ".wraith-notes").write_text("a file, not a folder")
    scanned = FileSource.scan([tmp_path / "src"])
    assert [p for p, _ in scanned.left_out] == [b"src/deep/.wraith-0123456789ab"]
    assert b"src/.wraith-notes" in [entry.path for entry in scanned.entries()]
    scanned.close()


WAYS: dict[str, Callable[[Path], Path]] = {
    "the home": lambda home: home,
    "its key": lambda home: home / "identity.key",
    "its codes": lambda home: home / "sends",
    "one code": lambda home: next((home / "sends").iterdir()) / "code.json",
}


@pytest.mark.spec("TR-126")
@pytest.mark.parametrize("way", WAYS)
def test_what_is_named_itself_is_refused(home: HomeFolder, way: str) -> None:
    with pytest.raises(OwnFolder) as caught:
        sent(WAYS[way](home.home), home)
    assert caught.value.exit_code == 2
    assert str(WAYS[way](home.home)) in str(caught.value)


@pytest.mark.spec("TR-126")
def test_a_named_state_folder_is_refused(tmp_path: Path) -> None:
    state = tmp_path / ".wraith-0123456789ab"
    (state / "data").mkdir(parents=True)
    for path in (state, state / "data"):
        with pytest.raises(OwnFolder):
            FileSource.scan([path])


def test_a_folder_that_only_begins_like_ours_may_hold_what_is_named(tmp_path: Path) -> None:
    (tmp_path / ".wraith-lab" / "photos").mkdir(parents=True)
    source = FileSource.scan([tmp_path / ".wraith-lab" / "photos"])
    assert [entry.path for entry in source.entries()] == [b"photos"]
    source.close()


def test_other_things_in_a_home_may_be_sent(home: HomeFolder) -> None:
    (home.home / "mine").mkdir()
    (home.home / "mine" / "f").write_text("x")
    assert sent(home.home / "mine", home) == (["mine", "mine/f"], [])
