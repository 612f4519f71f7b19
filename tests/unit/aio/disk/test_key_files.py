"""Identities and access keys in files: made once, whole, and this user's alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import wraith
from wraith.aio.clock import SystemClock
from wraith.aio.disk.home_folder import FolderLocked, HomeFolder
from wraith.aio.disk.kept_access import KeptAccess
from wraith.aio.disk.private_folder import UntrustedPath
from wraith.aio.entropy import OsRng
from wraith.errors import ConfigError, NoSpace, TransferError


def test_an_identity_is_made_once_and_loaded_then(tmp_path: Path) -> None:
    path = tmp_path / "made" / "server.key"
    first = wraith.Identity.load_or_create(path)
    again = wraith.Identity.load_or_create(str(path))
    assert again.public == first.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["server.key"], "no lock and no rest is left"


def test_the_mode_does_not_hang_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        wraith.Identity.load_or_create(tmp_path / "server.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600


def test_fresh_identities_differ_and_show_no_secret() -> None:
    one, other = wraith.Identity.generate(), wraith.Identity.generate()
    assert one.public != other.public
    assert repr(one) == f"Identity({one.public.short})"
    assert one.seed_bytes().hex() not in repr(one)


def test_processes_that_begin_at_once_have_one_identity(tmp_path: Path) -> None:
    program = (
        "import sys, wraith; sys.stdin.read(); "
        "print(wraith.Identity.load_or_create(sys.argv[1]).public)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "server.key")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    shown = set()
    for process in started:
        assert process.stdout is not None
        shown.add(process.stdout.read())
        assert process.wait(60) == 0
    assert len(shown) == 1 and shown.pop().strip()
    assert os.listdir(tmp_path) == ["server.key"]


@pytest.mark.parametrize("held", [b"", b"wraith-identity-1 abc\n", b"\xff" * 40, bytes(32)])
def test_another_file_is_refused_and_stays_as_it_is(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "server.key"
    path.touch(mode=0o600)
    path.write_bytes(held)
    with pytest.raises(ConfigError, match=r"server\.key"):
        wraith.Identity.load_or_create(path)
    assert path.read_bytes() == held


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.key"
    wraith.Identity.load_or_create(path)
    tmp_path.chmod(0o755)
    path.chmod(0o644)
    with pytest.raises(UntrustedPath, match="others may read") as caught:
        wraith.Identity.load_or_create(path)
    assert "chmod 600" in caught.value.hint


def test_a_link_and_a_folder_of_everybody_are_refused(tmp_path: Path) -> None:
    wraith.Identity.load_or_create(tmp_path / "real.key")
    (tmp_path / "server.key").symlink_to(tmp_path / "real.key")
    with pytest.raises(UntrustedPath, match="is a link"):
        wraith.Identity.load_or_create(tmp_path / "server.key")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(UntrustedPath, match="others may write"):
        wraith.Identity.load_or_create(shared / "server.key")


def test_a_place_that_cannot_be_written_is_one_sentence() -> None:
    with pytest.raises(TransferError) as caught:
        wraith.Identity.load_or_create("/proc/nowhere/server.key")
    assert not isinstance(caught.value, NoSpace) and "/proc/nowhere" in str(caught.value)


def test_the_identity_of_the_command_is_such_a_file(tmp_path: Path) -> None:
    own = HomeFolder(tmp_path / "home").identity(OsRng())
    assert wraith.Identity.load_or_create(tmp_path / "home" / "identity.key").public == own.public


def opened(folder: Path) -> KeptAccess:
    return KeptAccess.open(folder, OsRng(), SystemClock(), max_clock_skew_s=60.0)


def test_an_access_key_stays_and_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    first = opened(tmp_path / "access")
    with pytest.raises(FolderLocked):
        opened(tmp_path / "access")
    first.close()
    first.close()
    again = opened(tmp_path / "access")
    assert again.key.ak.public == first.key.ak.public and again.key.psk == first.key.psk
    assert again.key.persistent
    assert again.replay.history.complete_after == 0.0, "it was closed in order: nothing is missing"
    assert first.key.psk is not None and first.key.psk.hex() not in repr(again)
    again.close()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "access").iterdir()}
    assert set(modes.values()) == {0o600} and "access.key" in modes


def test_an_access_key_whose_records_are_gone_is_not_trusted(tmp_path: Path) -> None:
    opened(tmp_path / "access").close()
    for path in (tmp_path / "access").glob("replay-*"):
        path.unlink()
    again = opened(tmp_path / "access")
    assert again.replay.history.complete_after > 0.0
    again.close()
