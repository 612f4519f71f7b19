"""Codes that outlive their process, and those that must not."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.kept_code import LIFETIME_S, KeptCode, remove_old_codes, send_folder
from wraith.aio.disk.seam import OS_DISK, Disk, StrOrBytesPath
from wraith.errors import ConfigError
from wraith.testing.rng import SeededRng
from wraith.types import Address, Carrier, PeerKey

ADDRESS = Address(bytes([192, 0, 2, 1]), 4433)
PEER = PeerKey(bytes(range(32)))


class Calendar:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def unix_time(self) -> float:
        return self.now


class Desk:
    """One home, one clock, one source of randomness."""

    def __init__(self, folder: Path) -> None:
        self.home = HomeFolder(folder / "home")
        self.clock = Calendar()
        self.rng = SeededRng("kept")
        self.paths = [folder / "a", folder / "b"]

    def open(self, *, new_code: bool = False, disk: Disk = OS_DISK) -> KeptCode:
        return KeptCode.open(
            send_folder(self.home, self.paths),
            self.rng,
            self.clock,
            max_clock_skew_s=60,
            new_code=new_code,
            disk=disk,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def _secrets(kept: KeptCode) -> tuple[bytes, bytes | None]:
    return kept.access.ak.public, kept.access.psk


def test_the_next_process_has_the_same_code(desk: Desk) -> None:
    first = desk.open()
    assert not first.is_resumed and first.replay.history.complete_after == 0
    assert first.names([ADDRESS], 4433) is False
    first.bind(PEER)
    secrets = _secrets(first)
    first.close()
    second = desk.open()
    assert second.is_resumed
    assert _secrets(second) == secrets
    assert (second.port, second.bound_to) == (4433, PEER)
    assert second.names([ADDRESS], 4433) is False
    assert second.names([ADDRESS._replace(port=5)], 5) is True
    second.close()


def test_another_carrier_is_another_code(desk: Desk) -> None:
    both, alone = (Carrier.UDP, Carrier.TCP), (Carrier.UDP,)
    first = desk.open()
    assert first.names([ADDRESS], 4433, both) is False
    first.close()
    for carriers, is_other in ((both, False), (alone, True), (alone, False), (both, True)):
        kept = desk.open()
        assert kept.names([ADDRESS], 4433, carriers) is is_other
        kept.close()


def test_a_code_of_an_older_version_named_udp_alone(desk: Desk) -> None:
    kept = desk.open()
    kept.names([ADDRESS], 4433)
    kept.close()
    file = kept.folder / "code.json"
    row = json.loads(file.read_text())
    del row["carriers"]
    file.write_text(json.dumps(row))
    again = desk.open()
    assert again.names([ADDRESS], 4433, (Carrier.UDP,)) is False
    again.close()


def test_the_order_of_the_paths_does_not_matter(desk: Desk) -> None:
    first = desk.open()
    secrets = _secrets(first)
    first.close()
    desk.paths.reverse()
    second = desk.open()
    assert _secrets(second) == secrets
    second.close()


def test_only_this_user_can_read_it(desk: Desk) -> None:
    kept = desk.open()
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
    for name in ("code.json", "replay-1.log"):
        assert stat.S_IMODE((kept.folder / name).stat().st_mode) == 0o600
    assert kept.access.psk is not None and kept.access.psk.hex() not in repr(kept)
    kept.close()


def test_a_second_process_at_the_same_time_gets_its_own(desk: Desk) -> None:
    first, second = desk.open(), desk.open()
    assert first.folder != second.folder
    assert _secrets(first) != _secrets(second)
    first.close()
    second.close()


def test_a_spent_code_is_gone(desk: Desk) -> None:
    first = desk.open()
    secrets = _secrets(first)
    first.spend()
    first.replay.append([bytes(24)])  # last words may still be said
    first.bind(PEER)  # and bring nothing back
    first.close()
    assert [path.name for path in first.folder.iterdir()] == [".lock"]
    second = desk.open()
    assert not second.is_resumed and _secrets(second) != secrets
    second.close()


@pytest.mark.parametrize("seconds", [LIFETIME_S, -1.0])
def test_a_code_older_than_a_day_or_from_the_future_is_not_offered(
    desk: Desk, seconds: float
) -> None:
    first = desk.open()
    secrets = _secrets(first)
    first.close()
    desk.clock.now += seconds
    second = desk.open()
    assert not second.is_resumed and _secrets(second) != secrets
    second.close()


def test_a_new_code_on_request(desk: Desk) -> None:
    first = desk.open()
    secrets = _secrets(first)
    first.close()
    second = desk.open(new_code=True)
    assert _secrets(second) != secrets
    second.close()


def test_a_damaged_file_stops_and_a_new_code_helps(desk: Desk) -> None:
    first = desk.open()
    first.close()
    (first.folder / "code.json").write_text('{"version": 1}')
    with pytest.raises(ConfigError):
        desk.open()
    second = desk.open(new_code=True)
    assert second.folder == first.folder, "the lock was given back"
    second.close()


def test_old_folders_go_and_those_in_use_stay(desk: Desk) -> None:
    first = desk.open()
    first.close()
    desk.clock.now += LIFETIME_S - 1
    remove_old_codes(desk.home, desk.clock)
    assert first.folder.exists()
    held = desk.open()
    desk.clock.now += 2
    remove_old_codes(desk.home, desk.clock)
    assert held.folder.exists()
    held.close()
    remove_old_codes(desk.home, desk.clock)
    assert not held.folder.exists()


def test_a_spent_code_is_gone_at_once_and_not_only_when_its_process_ends(desk: Desk) -> None:
    kept = desk.open()
    stored = kept.folder / "code.json"
    assert stored.exists()
    kept.spend()
    assert not stored.exists(), "a process that dies now leaves no code behind"
    kept.close()


class _Keeping(Disk):
    """A disk that removes nothing; ``is_readonly``: and writes into no file that exists."""

    def __init__(self, *, is_readonly: bool) -> None:
        self.is_readonly = False
        self.will_be = is_readonly

    def unlink(self, path: StrOrBytesPath, *, dir_fd: int | None = None) -> None:
        self.is_readonly = self.will_be
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def open(
        self, path: StrOrBytesPath, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        if self.is_readonly and flags & os.O_WRONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return os.open(path, flags, mode, dir_fd=dir_fd)


def test_a_spent_code_that_cannot_be_removed_is_overwritten_and_said(desk: Desk) -> None:
    first = desk.open(disk=_Keeping(is_readonly=False))
    secrets = _secrets(first)
    said = first.spend()
    assert "code.json" in said and "operation not permitted" in said and "overwritten" in said
    first.close()
    left = (first.folder / "code.json").read_text()
    assert first.access.psk is not None and first.access.psk.hex() not in left
    second = desk.open()
    assert second.folder == first.folder
    assert not second.is_resumed and _secrets(second) != secrets
    second.close()


def test_a_spent_code_that_stays_is_said(desk: Desk) -> None:
    kept = desk.open(disk=_Keeping(is_readonly=True))
    assert "offer it again" in kept.spend()
    kept.close()
    other = desk.open(new_code=True)
    assert other.spend() == "", "nothing is said of what went well"
    other.close()
