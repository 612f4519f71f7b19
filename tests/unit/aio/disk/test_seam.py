"""Everything that keeps files asks the disk that it was given, and no other one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wraith.aio.disk.complete_notes import CompleteNote, CompleteNotes
from wraith.aio.disk.existing import ExistsPolicy
from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.file_target import FileTarget
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.kept_code import KeptCode, receive_folder, remove_old_codes, send_folder
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.aio.disk.store_worker import clear_complete, discard, leftovers
from wraith.aio.key_log import KeyLog
from wraith.content.chunking import CHUNK_BYTES
from wraith.testing.rng import SeededRng
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.events import Done
from wraith.types import PeerKey

CALLS = sorted(name for name in vars(Disk) if not name.startswith("_"))
PEER = PeerKey(bytes(range(32)))


class Calendar:
    def unix_time(self) -> float:
        return 1_800_000_000.0


class Counting(Disk):
    """The disk of this machine; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        for name in CALLS:
            setattr(self, name, self._counted(name, getattr(super(), name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.asked[name] += 1
            return call(*args, **options)

        return counted


@dataclass
class World:
    """A disk that works and, as ``OS_DISK``, one that refuses everything."""

    folder: Path
    disk: Counting

    def files(self, name: str) -> Path:
        root = self.folder / name
        (root / "below" / "empty").mkdir(parents=True)
        (root / "large").write_bytes(os.urandom(5 * CHUNK_BYTES + 17))
        (root / "below" / "small").write_bytes(b"x" * 700)
        (root / "below" / "nothing").touch()
        (root / "link").symlink_to("large")
        return root

    def source(self, root: Path, **options: Any) -> FileSource:
        return FileSource.scan([root], disk=self.disk, **options)

    def target(self, out: Path, **options: Any) -> FileTarget:
        return FileTarget(out, disk=self.disk, home=self.folder / "home", **options)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, Counting())
    root = made.files("tree")
    assert root.is_dir()

    def refused(name: str) -> Callable[..., Any]:
        def refuse(*_: Any, **__: Any) -> Any:
            raise AssertionError(f"{name} was asked of the disk of this machine")

        return refuse

    for name in CALLS:
        monkeypatch.setattr(OS_DISK, name, refused(name))
    return made


def same(a: Path, b: Path) -> bool:
    def picture(root: Path) -> list[tuple[str, bytes]]:
        return sorted(
            (str(p.relative_to(root)), b"" if p.is_dir() else p.read_bytes())
            for p in root.rglob("*")
        )

    return picture(a) == picture(b)


def test_a_transfer_its_resume_and_its_leftovers(world: World) -> None:
    tree, out = world.folder / "tree", world.folder / "out"
    state = world.folder / "digests"
    pipe = TransferPipe(
        world.source(tree, state_dir=state, home=world.folder / "home"),
        world.target(out, verify=True),
    )
    n_steps = 0

    def enough() -> bool:
        nonlocal n_steps
        n_steps += 1
        return n_steps > 12

    pipe.run(stop=enough)
    pipe.target.close()  # type: ignore[attr-defined]
    (left,) = leftovers(out, world.disk)
    assert not left.is_in_use and left.names == ("tree",)

    again = TransferPipe(world.source(tree, state_dir=state), world.target(out))
    again.run()
    done = again.received_events[-1]
    assert isinstance(done, Done), again.received_events
    again.target.close()  # type: ignore[attr-defined]
    again.source.close()  # type: ignore[attr-defined]
    assert same(tree, out / "tree")
    assert list(leftovers(out, world.disk)) == []

    merged = TransferPipe(world.source(tree), world.target(out, policy=ExistsPolicy.RENAME))
    merged.run()
    assert (out / "tree" / "below" / "small (1)").read_bytes() == b"x" * 700
    needed = {"open", "pread", "pwritev", "fsync", "syncfs", "renameat2", "flock", "mmap", "rmtree"}
    assert needed <= set(world.disk.asked)


def test_what_is_discarded(world: World) -> None:
    tree, out = world.folder / "tree", world.folder / "out"
    pipe = TransferPipe(world.source(tree), world.target(out))
    pipe.run(stop=lambda: any(out.glob(".wraith-*/journal")))
    pipe.target.close()  # type: ignore[attr-defined]
    for left in leftovers(out, world.disk):
        discard(left, world.disk)
    assert os.listdir(out) == []


def test_a_home_its_codes_and_its_notes(world: World) -> None:
    home = HomeFolder(world.folder / "home", world.disk)
    rng = SeededRng("seam")
    identity = home.identity(rng)
    assert home.identity(rng).public == identity.public
    home.name_peer("friend", PEER)
    assert home.find_peer("friend") is not None
    folder = send_folder(home, [world.folder / "tree"])
    for resumed in (False, True):
        kept = KeptCode.open(folder, rng, Calendar(), max_clock_skew_s=60, disk=world.disk)
        assert kept.is_resumed is resumed
        kept.bind(PEER)
        kept.replay.append([bytes(24)])
        kept.close()
    assert receive_folder(home, world.folder / "out").name
    remove_old_codes(home, Calendar())
    notes = CompleteNotes(home.home, world.disk)
    out = str(world.folder / "out")
    note = CompleteNote(out, (str(world.folder / "tree"),), f"{out}/.wraith-x", 1, 1, 0)
    notes.write("code", note, 1_800_000_000.0)
    assert notes.find("code", out, 1_800_000_000.0) == note
    clear_complete(note, world.disk)
    log = KeyLog(world.folder / "keys", world.disk)
    log("line")
    log.close()
    assert (world.folder / "keys").read_text() == "line\n"


def test_a_folder_is_removed_as_far_as_the_disk_lets_it(tmp_path: Path) -> None:
    for name in ("a/b/c", "a/locked", "other"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "file").write_text("x")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("stays")

    class Refusing(Disk):
        @staticmethod
        def unlink(path: Any, *, dir_fd: int | None = None) -> None:
            if os.path.samestat(os.fstat(dir_fd or 0), os.stat(tmp_path / "tree/a/locked")):
                raise PermissionError
            os.unlink(path, dir_fd=dir_fd)

    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        Refusing().rmtree(b"tree", dir_fd=fd)
        left = sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "tree").rglob("*"))
        assert left == ["tree/a", "tree/a/locked", "tree/a/locked/file"]
        Disk().rmtree(b"tree", dir_fd=fd)
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == ["kept"] and (tmp_path / "kept" / "file").exists()


def test_folders_are_made_with_those_above_them(tmp_path: Path) -> None:
    disk = Disk()
    deep = os.fsencode(tmp_path / "a" / "b" / "c")
    disk.makedirs(deep)
    disk.makedirs(deep)
    assert os.path.isdir(deep)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        disk.makedirs(os.fsencode(tmp_path / "file"))
    with pytest.raises(NotADirectoryError):
        disk.makedirs(os.fsencode(tmp_path / "file" / "x"))
