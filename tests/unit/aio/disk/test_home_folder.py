"""The state folder: identity, peers, locks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from wraith.aio.disk.home_folder import FolderLock, FolderLocked, HomeFolder
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.seam import OS_DISK
from wraith.errors import ConfigError, PeerKeyMismatch, WraithError
from wraith.testing.rng import RaisingRng, SeededRng
from wraith.types import PeerKey

ALICE, BOB = PeerKey(b"a" * 32), PeerKey(b"b" * 32)


@pytest.fixture
def state(tmp_path: Path) -> HomeFolder:
    return HomeFolder(tmp_path / "home")


def test_the_environment_chooses_the_folder(tmp_path: Path) -> None:
    chosen = HomeFolder.default({"WRAITH_HOME": str(tmp_path / "here")})
    assert chosen.home == tmp_path / "here"
    assert chosen.home.stat().st_mode & 0o777 == 0o700


def test_the_platform_chooses_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_data_path", lambda name: tmp_path / f"of-{name}")
    assert HomeFolder.default({}).home == tmp_path / "of-wraith"


def test_the_identity_is_made_once_and_kept_private(state: HomeFolder) -> None:
    first = state.identity(SeededRng(1))
    assert state.identity(RaisingRng()).public == first.public
    path = state.home / "identity.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert HomeFolder(state.home).identity(RaisingRng()).public == first.public


@pytest.mark.parametrize("text", ["", "wraith-identity-1 abc\n", "other-1 " + "a" * 52, "\udcff"])
def test_a_damaged_identity_is_refused_and_never_overwritten(state: HomeFolder, text: str) -> None:
    path = state.home / "identity.key"
    damaged = text.encode("utf-8", "surrogateescape")
    path.write_bytes(damaged)
    with pytest.raises(ConfigError, match="identity"):
        state.identity(RaisingRng())
    assert path.read_bytes() == damaged


def test_peers_are_remembered_and_named(state: HomeFolder) -> None:
    assert state.peers() == []
    state.peer_seen(ALICE, 100.0)
    state.peer_seen(BOB, 200.0)
    state.peer_seen(ALICE, 300.0)
    assert [(p.key, p.first_seen, p.last_seen) for p in state.peers()] == [
        (ALICE, 100.0, 300.0),
        (BOB, 200.0, 200.0),
    ]
    state.name_peer("alice", ALICE)
    found = state.find_peer("alice")
    assert found is not None and found.key == ALICE and found.pinned and found.last_seen == 300.0
    assert state.find_peer("bob") is None
    assert state.forget_peer(ALICE) and not state.forget_peer(ALICE)
    assert state.find_peer("alice") is None


def test_a_changed_key_under_a_name_stops(state: HomeFolder) -> None:
    state.name_peer("alice", ALICE)
    with pytest.raises(PeerKeyMismatch, match="another key"):
        state.name_peer("alice", BOB)
    found = state.find_peer("alice")
    assert found is not None and found.key == ALICE
    state.name_peer("alice", BOB, change=True)
    assert [p.key for p in state.peers() if p.name == "alice"] == [BOB]


@pytest.mark.parametrize("name", ["", " a", "a\n", "\x1b[31m", "x" * 65])
def test_names_that_would_mislead_are_refused(state: HomeFolder, name: str) -> None:
    with pytest.raises(ConfigError):
        state.name_peer(name, ALICE)


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"peers": [{}]}', b'{"peers": [{"key": "!"}]}'])
def test_a_damaged_list_of_pins_stops_instead_of_forgetting(
    state: HomeFolder, damage: bytes
) -> None:
    (state.home / "peers.json").write_bytes(damage)
    with pytest.raises(ConfigError, match="peers"):
        state.find_peer("alice")
    with pytest.raises(ConfigError):
        state.peer_seen(ALICE, 1.0)
    assert (state.home / "peers.json").read_bytes() == damage


def test_a_lock_excludes_and_is_given_back(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(FolderLocked, match="in use"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_a_killed_process_gives_its_lock_back(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from wraith.aio.disk.home_folder import FolderLock\n"
        "FolderLock(pathlib.Path(sys.argv[1])).acquire(); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(FolderLocked):
            FolderLock(tmp_path).acquire()
        child.kill()
        child.wait()
    FolderLock(tmp_path).acquire()


def test_the_folder_of_a_send_depends_on_the_paths_alone(
    state: HomeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = state.send_folder([tmp_path / "a", tmp_path / "b"])
    monkeypatch.chdir(tmp_path)
    assert state.send_folder([Path("a"), Path("b")]) == one
    assert state.send_folder([Path("b"), Path("a")]) != one
    assert state.send_folder([Path("ab")]) != state.send_folder([Path("a"), Path("b")])
    assert one.parent == state.home / "sends"
    assert one.stat().st_mode & 0o777 == 0o700


def test_writing_replaces_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"

    def fail(fd: int) -> None:
        raise OSError("disk full")

    with PrivateFolder.open(tmp_path) as folder:
        folder.write(b"file", b"old")
        monkeypatch.setattr(OS_DISK, "fsync", fail)
        with pytest.raises(OSError, match="full"):
            folder.write(b"file", b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


@pytest.mark.spec("TR-122")
@pytest.mark.parametrize("place", ["home", "identity.key", "peers.json", "sends"])
def test_a_home_that_others_may_write_is_refused(tmp_path: Path, place: str) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)  # others may look, as in many home folders
    home.chmod(0o755)
    state = HomeFolder(home)
    state.identity(SeededRng(1))
    state.name_peer("alice", ALICE)
    state.send_folder([tmp_path])
    path = home if place == "home" else home / place
    path.chmod(path.stat().st_mode | 0o022)
    with pytest.raises(WraithError, match="others may write") as caught:
        HomeFolder(home).identity(RaisingRng())
        HomeFolder(home).peers()
        HomeFolder(home).send_folder([tmp_path])
    assert str(path) in str(caught.value) and "chmod go-w" in caught.value.hint


@pytest.mark.spec("TR-122")
def test_what_is_open_inside_a_closed_home_is_closed_and_used(tmp_path: Path) -> None:
    """An earlier version made `sends` under the umask: nobody else could come there."""
    state = HomeFolder(tmp_path / "home")
    state.identity(SeededRng(1))
    state.send_folder([tmp_path])
    for path in (state.home / "sends", state.home / "identity.key"):
        path.chmod(0o777)
    state.send_folder([tmp_path])
    state.identity(RaisingRng())
    assert (state.home / "sends").stat().st_mode & 0o777 == 0o700
    assert (state.home / "identity.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.spec("TR-123")
@pytest.mark.parametrize("name", ["identity.key", "peers.json", "sends", ".lock"])
def test_a_link_inside_the_home_is_not_followed(tmp_path: Path, name: str) -> None:
    state = HomeFolder(tmp_path / "home")
    target = tmp_path / "elsewhere"
    if name == "sends":
        target.mkdir()
    else:
        target.write_text("precious")
    (state.home / name).symlink_to(target)
    with pytest.raises(WraithError, match="is a link"):
        state.identity(SeededRng(1))
        state.peers()
        state.send_folder([tmp_path])
    assert target.is_dir() or target.read_text() == "precious"


@pytest.mark.spec("TR-124")
def test_modes_in_a_home_are_explicit_whatever_the_umask_is(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        state = HomeFolder(tmp_path / "a" / "home")
        state.identity(SeededRng(1))
        state.peer_seen(ALICE, 1.0)
        state.send_folder([tmp_path])
    finally:
        os.umask(old)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "a").rglob("*")}
    assert {modes["home"], modes["sends"], (tmp_path / "a").stat().st_mode & 0o777} == {0o700}
    assert {modes["identity.key"], modes["peers.json"], modes[".lock"]} == {0o600}
