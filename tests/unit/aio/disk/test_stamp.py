"""Unchanged, touched or replaced: what a stamp tells about a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wraith.aio.disk.stamp import STAMP_BYTES, Difference, Stamp, difference
from wraith.aio.disk.stamp_file import StampFile


def stamp(path: Path) -> Stamp:
    return Stamp.of(path.stat())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    return path


def test_a_file_that_is_only_read_is_unchanged(file: Path) -> None:
    before = stamp(file)
    assert file.read_bytes() == b"12345"
    assert difference(before, stamp(file)) is Difference.UNCHANGED


@pytest.mark.spec("TR-120")
def test_a_time_alone_says_touched(file: Path) -> None:
    before = stamp(file)
    os.utime(file, ns=(5, 5))
    assert difference(before, stamp(file)) is Difference.TOUCHED


@pytest.mark.spec("TR-120")
def test_a_write_whose_time_was_put_back_is_still_seen(file: Path) -> None:
    before = stamp(file)
    with file.open("r+b") as opened:
        opened.write(b"X")
    os.utime(file, ns=(before.mtime_ns, before.mtime_ns))
    after = stamp(file)
    assert after.mtime_ns == before.mtime_ns
    assert difference(before, after) is Difference.TOUCHED


@pytest.mark.parametrize("how", ["size", "inode"])
def test_another_size_or_another_file_says_replaced(file: Path, how: str) -> None:
    before = stamp(file)
    if how == "size":
        file.write_bytes(b"1234")
    else:
        other = file.with_name("other")
        other.write_bytes(b"12345")
        other.rename(file)
    assert difference(before, stamp(file)) is Difference.REPLACED


def test_a_stamp_has_one_encoding() -> None:
    value = Stamp((1 << 64) - 1, 2, 3, -4, 5)
    assert len(value.encode()) == STAMP_BYTES == 40
    assert Stamp.decode(value.encode()) == value


def test_a_file_of_stamps_gives_each_back_and_names_those_that_differ(tmp_path: Path) -> None:
    mine, theirs = StampFile(), StampFile()
    for i in range(5_000):
        mine.append(Stamp(1, i, i, i, i))
        if i < 4_990:
            theirs.append(Stamp(1, i, i, i, i + (i % 1_000 == 7)))
    assert mine.get(4_999) == Stamp(1, 4_999, 4_999, 4_999, 4_999)
    with (tmp_path / "theirs").open("w+b") as file:
        theirs.copy_to(file.fileno())
        expected = [7, 1_007, 2_007, 3_007, 4_007, *range(4_990, 5_000)]
        assert mine.differing(file.fileno()) == expected
    mine.close()
    theirs.close()
    with pytest.raises(OSError):
        mine.get(0)
