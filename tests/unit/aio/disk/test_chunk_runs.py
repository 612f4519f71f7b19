"""Runs of received chunks on their way to a file: short writes, many slices, room set aside."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from wraith.aio.disk.chunk_runs import IOV_MAX, n_verified, parts_of, reserve, runs, write_all
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.content.chunking import CHUNK_BYTES, chunk_digest
from wraith.transfer.chunk_records import ChunkRecord
from wraith.types import Buffer


def _record(chunk: int, data: bytes, cut: int, digest: bytes | None = None) -> ChunkRecord:
    view = memoryview(data)
    return ChunkRecord(0, chunk, len(data), [view[:cut], view[cut:]], digest or chunk_digest(data))


def test_chunks_in_slices_are_verified_up_to_the_first_bad_one() -> None:
    chunks = [os.urandom(CHUNK_BYTES) for _ in range(4)]
    good = [_record(i, chunk, 1000 + i) for i, chunk in enumerate(chunks)]
    assert n_verified(good) == 4
    bad = [*good[:2], _record(2, chunks[2], 77, bytes(32)), good[3]]
    assert n_verified(bad) == 2
    assert [len(run) for run in runs([*good, *good[:3]])] == [4, 3]


def test_more_slices_than_one_call_takes_are_all_written(tmp_path: Path) -> None:
    data = os.urandom(3 * IOV_MAX + 5)
    parts = [memoryview(data)[i : i + 1] for i in range(len(data))]
    with open(tmp_path / "file", "w+b") as file:
        write_all(OS_DISK, file.fileno(), parts, 7)
        assert file.read() == bytes(7) + data


class _ShortWrites(Disk):
    @staticmethod
    def pwritev(fd: int, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:  # type: ignore[override]
        return os.pwritev(fd, [b"".join(buffers)[:1500]], offset, flags)


def test_a_write_that_stops_half_way_goes_on(tmp_path: Path) -> None:
    data = os.urandom(5000)
    with open(tmp_path / "file", "w+b") as file:
        write_all(_ShortWrites(), file.fileno(), parts_of([_record(0, data, 999)]), 0)
        assert file.read() == data


def test_room_is_set_aside_on_a_disk_and_a_full_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    refusal = [0]

    def fallocate(fd: int, offset: int, n_bytes: int) -> None:
        asked.append(n_bytes)
        if refusal[0]:
            raise OSError(refusal[0], os.strerror(refusal[0]))

    monkeypatch.setattr(os, "posix_fallocate", fallocate, raising=False)
    with open(tmp_path / "file", "w+b") as file:
        fd = file.fileno()
        monkeypatch.setattr(os, "major", lambda device: 0)
        reserve(OS_DISK, fd, 5_000_000)
        assert asked == [], "nothing is set aside in memory or across a network"
        monkeypatch.setattr(os, "major", lambda device: 8)
        reserve(OS_DISK, fd, 5_000_000)
        assert asked == [5_000_000]
        refusal[0] = errno.EOPNOTSUPP
        reserve(OS_DISK, fd, 5_000_000)
        refusal[0] = errno.ENOSPC
        with pytest.raises(OSError) as refused:
            reserve(OS_DISK, fd, 5_000_000)
        assert refused.value.errno == errno.ENOSPC
