"""The history of transfers: bounded, private, and no condition for a transfer."""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wraith.aio.disk.history_file import ENTRIES_MAX, LIFETIME_S, HistoryEntry, HistoryFile
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.seam import Disk
from wraith.transfer.reasons import DiskFailed

NOW = 2_000_000_000.0
ENTRY = HistoryEntry(
    at=NOW,
    direction="sent",
    what="notes.txt",
    n_files=1,
    n_bytes=12,
    n_failed=0,
    peer="k" * 52,
    digest="ab" * 32,
    digest_of="file",
)


class FailingDisk(Disk):
    """A disk on which one call ends with an error."""

    def __init__(self, call: str, code: int) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise OSError(code, os.strerror(code))

        setattr(self, call, fail)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_what_is_appended_is_read_again_in_order(home: Path) -> None:
    file = HistoryFile(HomeFolder(home))
    assert file.entries(NOW) == []
    entries = [replace(ENTRY, at=NOW + i, what=f"{i}\n\N{SNOWMAN}") for i in range(3)]
    for entry in entries:
        file.append(entry)
    assert file.entries(NOW + 3) == entries
    assert stat.S_IMODE((home / "history.jsonl").stat().st_mode) == 0o600


def test_the_last_thousand_of_ninety_days_are_kept(home: Path) -> None:
    file = HistoryFile(HomeFolder(home))
    file.append(replace(ENTRY, what="old"))
    for i in range(3):
        file.append(replace(ENTRY, at=NOW + LIFETIME_S + i, what=str(i)))
    raw = (home / "history.jsonl").read_bytes()
    assert b'"old"' not in raw, "what is too old leaves the disk"
    (home / "history.jsonl").write_bytes(raw * 400)
    late = NOW + LIFETIME_S + 10
    file.append(replace(ENTRY, at=late, what="last"))
    assert len((home / "history.jsonl").read_bytes().splitlines()) == ENTRIES_MAX
    assert file.entries(late)[-1].what == "last"
    assert file.entries(late + LIFETIME_S) == [], "too old for being shown"


def test_a_line_that_is_torn_or_not_ours_is_passed_over(home: Path) -> None:
    file = HistoryFile(HomeFolder(home))
    file.append(ENTRY)
    raw = (home / "history.jsonl").read_bytes()
    (home / "history.jsonl").write_bytes(b"[1]\nnull\n{}\n\xff\n" + raw + raw[:-20])
    assert file.entries(NOW) == [ENTRY]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("rename", errno.EIO),
        ("open", errno.EROFS),
        ("flock", errno.ENOLCK),
        ("read", errno.EIO),
    ],
)
def test_a_disk_that_says_no_costs_the_entry_alone(home: Path, call: str, code: int) -> None:
    HistoryFile(HomeFolder(home)).append(ENTRY)
    before = (home / "history.jsonl").read_bytes()
    state = HomeFolder(home)
    state.disk = FailingDisk(call, code)
    HistoryFile(state).append(replace(ENTRY, what="lost"))
    assert (home / "history.jsonl").read_bytes() == before
    assert [path.name for path in home.glob(".history*")] == []


def test_listing_says_that_the_disk_failed(home: Path) -> None:
    HistoryFile(HomeFolder(home)).append(ENTRY)
    state = HomeFolder(home)
    state.disk = FailingDisk("read", errno.EIO)
    with pytest.raises(DiskFailed):
        HistoryFile(state).entries(NOW)


def test_clear_removes_it(home: Path) -> None:
    file = HistoryFile(HomeFolder(home))
    file.append(ENTRY)
    file.clear()
    assert not (home / "history.jsonl").exists()
    file.clear()
    assert file.entries(NOW) == []


def test_writers_at_the_same_time_lose_nothing(home: Path) -> None:
    entries = [replace(ENTRY, what=str(i)) for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda entry: HistoryFile(HomeFolder(home)).append(entry), entries))
    found = HistoryFile(HomeFolder(home)).entries(NOW)
    assert {entry.what for entry in found} == {entry.what for entry in entries}
