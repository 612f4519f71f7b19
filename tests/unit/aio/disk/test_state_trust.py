"""A state folder that somebody prepared: nothing in it is followed, believed or removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.file_target import FileTarget
from wraith.aio.disk.store_worker import discard, leftovers
from wraith.content.chunking import CHUNK_BYTES
from wraith.errors import WraithError
from wraith.testing.rng import SeededRng
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.events import Done
from wraith.transfer.journal_records import Placing, encode_record
from wraith.transfer.wishes import AnswerT, Store, Wish

CONTENT = SeededRng("trust").public_bytes(9 * CHUNK_BYTES + 5)
NOBODY = 65534


class Killed(Exception):
    """Stands for the process that is gone."""


class Watched(Store):
    """A target that dies before its ``after``-th wish and keeps the errors that it answered."""

    def __init__(self, out: Path, after: int = 1 << 30) -> None:
        self.target = FileTarget(out)
        self.left = after
        self.errors: list[WraithError] = []

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        self.left -= 1
        if self.left < 0:
            raise Killed
        result = self.target.fulfil(wish)
        if isinstance(result, WraithError):
            self.errors.append(result)
        return result


class Transfers:
    """One file, one destination, any number of tries."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "src" / "f"
        self.source.parent.mkdir()
        self.source.write_bytes(CONTENT)
        self.out = folder / "out"
        self.out.mkdir()

    def run(self, after: int = 1 << 30) -> tuple[bool, list[WraithError]]:
        """True if it got to its end, and what the target complained about."""
        watched = Watched(self.out, after)
        pipe = TransferPipe(FileSource.scan([self.source]), watched)
        try:
            pipe.run()
        except Killed:
            return False, watched.errors
        finally:
            watched.target.close()
        return any(isinstance(e, Done) for e in pipe.received_events), watched.errors

    def interrupted(self) -> Path:
        """The state folder that a killed receiver left."""
        self.run(after=5)
        (state,) = self.out.glob(".wraith-*")
        return state

    def prepared(self) -> Path:
        """An empty folder with the name that the receiver will use."""
        state = self.interrupted()
        for folder, names, files in os.walk(state, topdown=False):
            for name in files:
                os.unlink(os.path.join(folder, name))
            for name in names:
                os.rmdir(os.path.join(folder, name))
        return state

    @property
    def arrived(self) -> bool:
        path = self.out / "f"
        return path.is_file() and path.read_bytes() == CONTENT


@pytest.fixture
def transfers(tmp_path: Path) -> Transfers:
    return Transfers(tmp_path)


@pytest.mark.spec("TR-124")
@pytest.mark.parametrize("name", ["journal.new", "listing.new"])
def test_a_link_under_a_name_of_ours_leads_nowhere(
    transfers: Transfers, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "bashrc"
    victim.write_text("precious")
    (transfers.prepared() / name).symlink_to(victim)
    done, _ = transfers.run()
    assert victim.read_text() == "precious"
    assert done and transfers.arrived


@pytest.mark.spec("TR-123")
@pytest.mark.parametrize("name", ["journal", "digests", "data"])
def test_a_link_where_a_file_of_ours_belongs_is_refused(
    transfers: Transfers, tmp_path: Path, name: str
) -> None:
    state = transfers.interrupted()
    elsewhere = tmp_path / "elsewhere"
    (state / name).rename(elsewhere)
    (state / name).symlink_to(elsewhere)
    before = sorted(elsewhere.iterdir()) if name == "data" else elsewhere.read_bytes()
    done, errors = transfers.run()
    assert not done and "is a link" in str(errors[0])
    after = sorted(elsewhere.iterdir()) if name == "data" else elsewhere.read_bytes()
    assert after == before


@pytest.mark.spec("TR-122")
def test_a_state_folder_that_is_a_link_is_refused(transfers: Transfers, tmp_path: Path) -> None:
    state = transfers.prepared()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    state.rmdir()
    state.symlink_to(elsewhere)
    done, errors = transfers.run()
    assert not done and "is a link" in str(errors[0])
    assert list(elsewhere.iterdir()) == [] and state.is_symlink()


@pytest.mark.spec("TR-122")
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_state_folder_that_others_may_write_is_refused_and_stays(
    transfers: Transfers, mode: int
) -> None:
    state = transfers.interrupted()
    state.chmod(mode)
    before = sorted(state.rglob("*"))
    done, errors = transfers.run()
    assert not done and not transfers.arrived
    assert f"others may write {state} (mode 0{mode:o})" in str(errors[0])
    assert "chmod go-w" in errors[0].hint
    assert sorted(state.rglob("*")) == before
    state.chmod(0o700)
    assert transfers.run() == (True, []) and transfers.arrived


@pytest.mark.spec("TR-122")
@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a folder away")
def test_a_state_folder_of_somebody_else_is_refused_and_stays(transfers: Transfers) -> None:
    state = transfers.interrupted()
    os.chown(state, NOBODY, NOBODY)
    before = sorted(state.rglob("*"))
    done, errors = transfers.run()
    assert not done and not transfers.arrived
    assert errors[0].exit_code == 1
    assert str(state) in str(errors[0]) and f"uid {NOBODY}" in str(errors[0])
    assert "--out" in errors[0].hint
    assert sorted(state.rglob("*")) == before
    # It is nobody's unfinished transfer here: neither listed nor removed.
    assert list(leftovers(transfers.out)) == []
    os.chown(state, os.geteuid(), os.getegid())
    (left,) = leftovers(transfers.out)
    os.chown(state, NOBODY, NOBODY)
    with pytest.raises(WraithError, match="belongs to"):
        discard(left)
    assert sorted(state.rglob("*")) == before


@pytest.mark.spec("TR-125")
@pytest.mark.parametrize("name", [b"../escaped", b"..", b"sub/escaped", b".wraith-x", b"a\0b"])
def test_a_journalled_name_is_judged_like_one_of_a_peer(
    transfers: Transfers, tmp_path: Path, name: bytes
) -> None:
    state = transfers.interrupted()
    (transfers.out / "sub").mkdir()
    with (state / "journal").open("ab") as journal:
        journal.write(encode_record(Placing(0, name)))
    transfers.run()
    assert not (tmp_path / "escaped").exists()
    assert transfers.arrived
    assert sorted(p.name for p in transfers.out.iterdir()) == ["f", "sub"]


@pytest.mark.spec("TR-124")
def test_modes_are_explicit_whatever_the_umask_is(transfers: Transfers) -> None:
    old = os.umask(0)
    try:
        state = transfers.interrupted()
    finally:
        os.umask(old)
    modes = {p.name: p.stat().st_mode & 0o777 for p in state.iterdir()}
    assert state.stat().st_mode & 0o777 == 0o700
    assert modes.pop("data") == 0o700
    assert set(modes.values()) == {0o600} and len(modes) == 3
