"""Replay records on disk: what a crash of the process or of the host may and may not lose."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.disk.seam import OS_DISK

BOOT_1, BOOT_2 = b"1" * 16, b"2" * 16
SKEW_S = 60.0


class Calendar:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def unix_time(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Calendar:
    return Calendar()


def record(i: int, clock: Calendar) -> bytes:
    return i.to_bytes(16, "big") + int(clock.now).to_bytes(8, "big")


def open_files(
    folder: Path, clock: Calendar, *, boot: bytes = BOOT_1, fresh: bool = False
) -> ReplayFiles:
    return ReplayFiles(folder, clock, max_clock_skew_s=SKEW_S, fresh=fresh, boot_id=boot)


def test_a_fresh_key_has_nothing_to_miss(tmp_path: Path, clock: Calendar) -> None:
    files = open_files(tmp_path, clock, fresh=True)
    assert files.history.records == ()
    assert files.history.complete_after == 0.0


def test_a_missing_file_of_an_old_key_refuses_for_a_while(tmp_path: Path, clock: Calendar) -> None:
    files = open_files(tmp_path, clock)
    assert files.history.complete_after == clock.now + SKEW_S


def test_a_crash_of_the_process_loses_nothing(tmp_path: Path, clock: Calendar) -> None:
    first = open_files(tmp_path, clock, fresh=True)
    first.append([record(1, clock), record(2, clock)])
    first.append([record(3, clock)])
    # no close(): the process was killed

    second = open_files(tmp_path, clock)
    assert second.history.records == tuple(record(i, clock) for i in (1, 2, 3))
    assert second.history.complete_after == 0.0


def test_a_crash_of_the_host_keeps_the_records_but_is_not_trusted(
    tmp_path: Path, clock: Calendar
) -> None:
    open_files(tmp_path, clock, fresh=True).append([record(1, clock)])
    after = open_files(tmp_path, clock, boot=BOOT_2)
    assert after.history.records == (record(1, clock),)
    assert after.history.complete_after == clock.now + SKEW_S

    clock.now += 10  # a second crash, of the process only, must not make it look complete
    again = open_files(tmp_path, clock, boot=BOOT_2)
    assert again.history.complete_after == clock.now - 10 + SKEW_S

    clock.now += 3 * SKEW_S
    later = open_files(tmp_path, clock, boot=BOOT_2)
    assert later.history.complete_after == 0.0, "everything that may be missing is too old by now"


def test_a_clean_end_survives_a_restart_of_the_host(tmp_path: Path, clock: Calendar) -> None:
    first = open_files(tmp_path, clock, fresh=True)
    first.append([record(1, clock)])
    first.close()
    first.close()
    after = open_files(tmp_path, clock, boot=BOOT_2)
    assert after.history.records == (record(1, clock),)
    assert after.history.complete_after == 0.0
    # and the mark does not outlive the run that wrote it
    after.append([record(2, clock)])
    assert open_files(tmp_path, clock, boot=BOOT_1).history.complete_after > clock.now


def test_a_host_without_a_boot_id_needs_the_mark(tmp_path: Path, clock: Calendar) -> None:
    open_files(tmp_path, clock, boot=bytes(16), fresh=True).append([record(1, clock)])
    assert open_files(tmp_path, clock, boot=bytes(16)).history.complete_after > clock.now


@pytest.mark.parametrize("cut", [1, 12, 23])
def test_a_torn_tail_is_ignored(tmp_path: Path, clock: Calendar, cut: int) -> None:
    open_files(tmp_path, clock, fresh=True).append([record(1, clock), record(2, clock)])
    (path,) = tmp_path.glob("replay-*.log")
    path.write_bytes(path.read_bytes()[:-cut])
    again = open_files(tmp_path, clock)
    assert again.history.records == (record(1, clock),)
    again.append([record(3, clock)])
    assert open_files(tmp_path, clock).history.records == (record(1, clock), record(3, clock))


def test_a_damaged_header_is_not_trusted(tmp_path: Path, clock: Calendar) -> None:
    open_files(tmp_path, clock, fresh=True).append([record(1, clock)])
    (path,) = tmp_path.glob("replay-*.log")
    path.write_bytes(b"rubbish")
    after = open_files(tmp_path, clock)
    assert after.history.complete_after == clock.now + SKEW_S


def test_generations_rotate_and_old_ones_go(tmp_path: Path, clock: Calendar) -> None:
    files = open_files(tmp_path, clock, fresh=True)
    kept: list[bytes] = []
    for i in range(6):
        kept.append(record(i, clock))
        files.append([kept[-1]])
        assert len(list(tmp_path.glob("replay-*.log"))) <= 2
        clock.now += 2 * SKEW_S + 1
    clock.now -= 2 * SKEW_S + 1
    recent = open_files(tmp_path, clock).history.records
    assert kept[-1] in recent and kept[0] not in recent
    assert len(list(tmp_path.glob("replay-*.log"))) == 1, "compacted into one file"


def test_nothing_within_reach_of_a_replay_is_ever_dropped(tmp_path: Path, clock: Calendar) -> None:
    files = open_files(tmp_path, clock, fresh=True)
    written: list[bytes] = []
    for i in range(40):
        # the worst case: a hello from a clock that is ahead by all that is allowed
        ahead = i.to_bytes(16, "big") + int(clock.now + SKEW_S).to_bytes(8, "big")
        files.append([ahead])
        written.append(ahead)
        clock.now += 17
        copy = tmp_path / f"crashed-{i}"
        copy.mkdir(mode=0o700)
        for path in tmp_path.glob("replay-*.log"):
            shutil.copy(path, copy)
        alive = [r for r in written if int.from_bytes(r[16:], "big") >= clock.now - SKEW_S]
        assert set(alive) <= set(open_files(copy, clock).history.records)
        if i % 9 == 8:
            files = open_files(tmp_path, clock)


def test_a_full_disk_leaves_whole_records(
    tmp_path: Path, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = open_files(tmp_path, clock, fresh=True)
    files.append([record(1, clock)])
    real = os.write
    monkeypatch.setattr(OS_DISK, "write", lambda fd, data: real(fd, data[:10]))
    with pytest.raises(OSError, match="full"):
        files.append([record(2, clock)])
    monkeypatch.undo()
    files.append([record(3, clock)])
    assert open_files(tmp_path, clock).history.records == (record(1, clock), record(3, clock))


def test_a_write_error_reaches_the_caller(
    tmp_path: Path, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = open_files(tmp_path, clock, fresh=True)

    def fail(fd: int, data: bytes) -> int:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(OS_DISK, "write", fail)
    with pytest.raises(OSError, match="broken"):
        files.append([record(1, clock)])
    monkeypatch.undo()
    files.close()
    with pytest.raises(OSError, match="closed"):
        files.append([record(1, clock)])


def test_files_are_private(tmp_path: Path, clock: Calendar) -> None:
    open_files(tmp_path, clock, fresh=True)
    (path,) = tmp_path.glob("replay-*.log")
    assert path.stat().st_mode & 0o777 == 0o600


def test_this_host_has_a_boot_id_or_zeros() -> None:
    assert len(OS_DISK.boot_id()) == 16
    assert OS_DISK.boot_id() == OS_DISK.boot_id()
