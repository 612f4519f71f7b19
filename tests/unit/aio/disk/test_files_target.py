"""Receiving onto a real disk: resume, policies, links in the way, leftovers."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from wraith.aio.disk.existing import ExistsPolicy
from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.file_target import FileTarget
from wraith.aio.disk.seam import OS_DISK
from wraith.aio.disk.store_worker import discard, leftovers
from wraith.content.chunking import CHUNK_BYTES
from wraith.errors import Busy, HashMismatch, OfferRefused, WraithError
from wraith.testing.rng import SeededRng
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.answers import StoreOpened
from wraith.transfer.events import Aborted, Accepted, Declined, Done, Placed, Progress
from wraith.transfer.wishes import AnswerT, Complete, DropFiles, ReadAgain, Store, Wish, WritePieces

BIG = SeededRng("files").public_bytes(29 * CHUNK_BYTES + 11)
LARGE = SeededRng("large").public_bytes(80 * CHUNK_BYTES + 11)
"""So much that there is time to read again while the rest arrives."""


class Killed(Exception):
    """Stands for the process that is gone."""


class KillingTarget(Store):
    """A target that dies after so many wishes, before or after doing the last one."""

    def __init__(self, target: FileTarget, after: int) -> None:
        self.target = target
        self.left = after

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return self.target.fulfil(wish)


class CountingTarget(Store):
    """Counts writes that were done."""

    def __init__(self, target: FileTarget) -> None:
        self.target = target
        self.n_writes = 0

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        result = self.target.fulfil(wish)
        self.n_writes += isinstance(wish, WritePieces)
        return result


class RereadTarget(Store):
    """Notes which chunks were read again, and how many writes had been done before."""

    def __init__(self, target: FileTarget) -> None:
        self.target = target
        self.read: list[int] = []
        self.kept = 0
        self.n_writes = self.n_writes_before_reading = 0

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        result = self.target.fulfil(wish)
        if isinstance(result, StoreOpened):
            self.kept = result.inventory.verified_bytes // CHUNK_BYTES
        self.n_writes += isinstance(wish, WritePieces)
        if isinstance(wish, ReadAgain):
            self.n_writes_before_reading = self.n_writes_before_reading or self.n_writes
            self.read += [c for _, first, n in wish.pieces for c in range(first, first + n)]
        return result


class HoldingPipe(TransferPipe):
    """Answers to reading again come when ``let_go`` says so."""

    held: list[ReadAgain]

    def _fulfil(self) -> bool:
        self.held = getattr(self, "held", [])
        ask = self.receiver.next_wish

        def next_wish() -> object:
            wish = ask()
            if isinstance(wish, ReadAgain):
                self.held.append(wish)
                return None
            return wish

        self.receiver.next_wish = next_wish  # type: ignore[assignment]
        try:
            return super()._fulfil()
        finally:
            del self.receiver.next_wish

    def let_go(self) -> None:
        for wish in self.held:
            self.receiver.io_done(wish.id, self.target.fulfil(wish), self.now)


def make_tree(root: Path) -> Path:
    tree = root / "src" / "tree"
    (tree / "empty").mkdir(parents=True)
    (tree / "sub").mkdir()
    (tree / "big").write_bytes(BIG)
    (tree / "sub" / "small").write_text("small")
    (tree / "sub" / "ro").write_text("read only")
    (tree / "sub" / "ro").chmod(0o444)
    (tree / "zero").touch()
    (tree / "link").symlink_to("sub/small")
    for i in range(20):
        (tree / "sub" / f"f{i}").write_bytes(bytes([i]) * (i * 100))
    (tree / "sub").chmod(0o555)
    for path in [tree / "big", tree / "sub", tree / "empty", tree]:
        os.utime(path, ns=(10**18, 10**18 + 7))
    return tree


def picture(root: Path) -> dict[str, object]:
    """Everything that must be equal: kinds, bytes, modes, times, targets."""
    found: dict[str, object] = {}
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder) / name
            info = path.lstat()
            what: object = path.read_bytes() if path.is_file() else None
            if path.is_symlink():
                what = os.readlink(path)
            mode = 0 if path.is_symlink() else info.st_mode
            found[str(path.relative_to(root))] = (mode, info.st_mtime_ns, what)
    return found


def send(tree: Path, target: object, **options: object) -> TransferPipe:
    pipe = TransferPipe(FileSource.scan([tree]), target, **options)  # type: ignore[arg-type]
    pipe.run()
    return pipe


def states(out: Path) -> list[str]:
    return [name for name in os.listdir(out) if name.startswith(".wraith-")]


def done_of(pipe: TransferPipe) -> Done:
    done = pipe.received_events[-1]
    assert isinstance(done, Done), pipe.received_events
    return done


def test_a_tree_arrives_with_modes_times_links_and_empty_folders(tmp_path: Path) -> None:
    tree, out = make_tree(tmp_path), tmp_path / "out"
    pipe = send(tree, FileTarget(out))
    assert picture(out) == picture(tree.parent)
    assert states(out) == []
    placed = next(e for e in pipe.received_events if isinstance(e, Placed))
    assert placed.placed == (str(out / "tree"),)


def test_modes_obey_the_umask(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_text("x")
    source.chmod(0o4777)
    old = os.umask(0o027)
    try:
        target = FileTarget(tmp_path / "out")
    finally:
        os.umask(old)
    send(source, target)
    assert (tmp_path / "out" / "f").stat().st_mode & 0o7777 == 0o750


# --- resume -----------------------------------------------------------------------------------


@pytest.mark.spec("TR-58")
def test_killed_before_any_wish_it_goes_on_and_ends_equal(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    kills = 0
    for after in range(60):
        out = tmp_path / "out"
        killing = KillingTarget(FileTarget(out), after)
        pipe = TransferPipe(FileSource.scan([tree]), killing)
        try:
            pipe.run()
        except Killed:
            kills += 1
        else:
            break
        done = verified(pipe)
        killing.target.close()
        target = FileTarget(out)
        again = send(tree, target)
        assert picture(out) == picture(tree.parent), after
        assert done_of(again).bytes_reused >= done - 1024 * 1024
        assert (
            done_of(again).bytes_transferred + done_of(again).bytes_reused
            == done_of(again).bytes_total
        )
        assert states(out) == []
        target.close()
        for folder in out.rglob("*"):
            if folder.is_dir():
                folder.chmod(0o755)
        shutil.rmtree(out)
    assert 5 < kills < 59


@pytest.mark.spec("TR-58")
@pytest.mark.parametrize("step", ["choose_name", "place", "sync", "mark"])
def test_killed_while_placing_it_goes_on(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wraith.aio.disk import completion
    from wraith.aio.disk import placing as file_placing

    tree, out = make_tree(tmp_path), tmp_path / "out"

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "choose_name":
            patch.setattr(file_placing.Placer, "choose_name", die)
        elif step == "place":
            patch.setattr(file_placing.Placer, "_set_folders", die)
        elif step == "sync":
            patch.setattr(completion, "sync_file_system", die)
        else:
            patch.setattr(completion, "CompleteMark", die)
        first = FileTarget(out)
        with pytest.raises(Killed):
            send(tree, first)
        first.close()
    again = send(tree, FileTarget(out))
    assert done_of(again).bytes_transferred == 0
    assert picture(out) == picture(tree.parent)
    assert states(out) == []


def test_killed_between_rename_and_receipt_it_only_sends_the_receipt(tmp_path: Path) -> None:
    tree, out = make_tree(tmp_path), tmp_path / "out"
    first = FileTarget(out)
    pipe = TransferPipe(FileSource.scan([tree]), first)
    pipe.run(stop=lambda: any(isinstance(e, Placed) for e in pipe.received_events))
    first.close()
    assert len(states(out)) == 1
    again = send(tree, FileTarget(out))
    assert again.data_bytes == 0
    assert done_of(again).bytes_reused == done_of(again).bytes_total > 0
    assert isinstance(again.sent_events[-1], Done)
    assert states(out) == []


@pytest.mark.parametrize("cut", [0, 1])
def test_what_was_placed_and_then_shortened_is_sent_again(tmp_path: Path, cut: int) -> None:
    source, out = tmp_path / "file", tmp_path / "out"
    source.write_bytes(BIG)
    first = FileTarget(out)
    pipe = TransferPipe(FileSource.scan([source]), first)
    pipe.run(stop=lambda: any(isinstance(e, Placed) for e in pipe.received_events))
    first.close()
    placed = out / "file"
    os.truncate(placed, len(BIG) - cut)
    again = TransferPipe(FileSource.scan([source]), FileTarget(out, policy=ExistsPolicy.OVERWRITE))
    again.run()
    assert (again.data_bytes > 0) is bool(cut)
    assert done_of(again).bytes_total == len(BIG)
    assert placed.read_bytes() == BIG


def verified(pipe: TransferPipe) -> int:
    return max([e.bytes_done for e in pipe.received_events if isinstance(e, Progress)] + [0])


def half_received(tmp_path: Path, content: bytes = BIG) -> tuple[Path, Path, int]:
    """A file of thirty chunks or more of which some are there."""
    source = tmp_path / "file"
    source.write_bytes(content)
    out = tmp_path / "out"
    target = CountingTarget(FileTarget(out))
    pipe = TransferPipe(FileSource.scan([source]), target)
    pipe.run(stop=lambda: target.n_writes == 1)
    target.target.close()
    held = next(iter(leftovers(out)))
    assert 4 * CHUNK_BYTES <= held.bytes_done < len(content)
    return source, out, held.bytes_done


def cut_journal(out: Path, keep_records: int) -> None:
    """Leaves the header and so many VERIFIED records, as if the rest had never been written."""
    from wraith.transfer.journal_records import replay

    journal = out / states(out)[0] / "journal"
    data = journal.read_bytes()
    ends = [end for _, end in replay(data)]
    journal.write_bytes(data[: ends[keep_records] + 3])


@pytest.mark.spec("TR-51")
def test_a_torn_journal_keeps_its_whole_records(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path)
    cut_journal(out, 1)
    pipe = send(source, FileTarget(out))
    assert done_of(pipe).bytes_reused == 4 * CHUNK_BYTES
    assert (out / "file").read_bytes() == BIG


def flip_a_byte(out: Path, at: int, name: str = "file") -> None:
    """One bit of what an earlier run left is another one now; the time of the file is not."""
    path = out / states(out)[0] / "data" / name
    info = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def test_verified_chunks_are_not_sent_again(tmp_path: Path) -> None:
    source, out, done = half_received(tmp_path)
    pipe = send(source, FileTarget(out))
    assert done_of(pipe).bytes_reused == done > 0
    assert done_of(pipe).bytes_transferred == len(BIG) - done


@pytest.mark.spec("TR-53")
def test_what_was_kept_is_read_again_while_the_rest_arrives(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path, LARGE)
    target = RereadTarget(FileTarget(out))
    pipe = send(source, target)
    assert target.read == list(range(target.kept)), "once, all of it, in order"
    assert target.n_writes_before_reading >= 1, "the first new byte came first"
    assert done_of(pipe).bytes_unread == 0
    sent_done = pipe.sent_events[-1]
    assert isinstance(sent_done, Done) and sent_done.bytes_unread == 0


@pytest.mark.spec("TR-53")
def test_without_reading_again_what_was_kept_is_named(tmp_path: Path) -> None:
    source, out, done = half_received(tmp_path, LARGE)
    pipe = send(source, FileTarget(out, verify=False))
    assert done_of(pipe).bytes_unread == done_of(pipe).bytes_reused == done
    told = pipe.sent_events[-1]
    assert isinstance(told, Done) and told.bytes_unread == done


@pytest.mark.spec("TR-53")
def test_what_was_verified_first_is_not_read_twice(tmp_path: Path) -> None:
    source, out, done = half_received(tmp_path, LARGE)
    target = RereadTarget(FileTarget(out, verify=True))
    pipe = send(source, target)
    assert target.read == [] and done_of(pipe).bytes_unread == 0
    assert done_of(pipe).bytes_reused == done


@pytest.mark.spec("TR-137")
@pytest.mark.parametrize("chunk", [0, 5, 15])
def test_damage_between_runs_is_fetched_again_over_a_new_connection(
    tmp_path: Path, chunk: int
) -> None:
    source, out, done = half_received(tmp_path, LARGE)
    assert chunk < done // CHUNK_BYTES
    flip_a_byte(out, chunk * CHUNK_BYTES + 77)
    pipe = send(source, FileTarget(out))
    for _ in range(2):
        if isinstance(pipe.received_events[-1], Done):
            break
        pipe.connect()
        pipe.run()
    assert (out / "file").read_bytes() == LARGE
    assert done_of(pipe).bytes_reused == done - CHUNK_BYTES
    assert done_of(pipe).bytes_transferred == len(LARGE) - done + CHUNK_BYTES
    assert done_of(pipe).bytes_unread == 0
    assert states(out) == []


@pytest.mark.spec("TR-137")
def test_damage_that_was_found_is_missing_for_the_next_run_too(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path, LARGE)
    flip_a_byte(out, 3 * CHUNK_BYTES)
    target = FileTarget(out)
    pipe = send(source, target)
    assert not isinstance(pipe.received_events[-1], Done)
    target.close()  # killed before it had dialled anew
    held = next(iter(leftovers(out)))
    assert held.bytes_done == len(LARGE) - CHUNK_BYTES
    again = send(source, FileTarget(out))
    assert done_of(again).bytes_transferred == CHUNK_BYTES
    assert (out / "file").read_bytes() == LARGE


@pytest.mark.spec("TR-137")
def test_a_finished_file_that_was_damaged_is_fetched_again(tmp_path: Path) -> None:
    """It has its final mode already, which need not let anybody write."""
    tree, out = make_tree(tmp_path), tmp_path / "out"
    (tree / "big").chmod(0o444)
    (tree / "zz").write_bytes(LARGE)
    os.utime(tree, ns=(10**18, 10**18 + 7))
    first = CountingTarget(FileTarget(out))
    pipe = TransferPipe(FileSource.scan([tree]), first)
    pipe.run(stop=lambda: verified(pipe) > len(BIG) + CHUNK_BYTES)
    first.target.close()
    flip_a_byte(out, 2 * CHUNK_BYTES, "tree/big")
    flip_a_byte(out, 0, "tree/sub/f7")
    again = send(tree, FileTarget(out))
    again.connect()
    again.run()
    assert done_of(again).bytes_unread == 0
    assert picture(out) == picture(tree.parent)


@pytest.mark.spec("TR-137")
def test_nothing_is_put_in_its_place_while_it_is_being_read(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path, LARGE)
    flip_a_byte(out, CHUNK_BYTES)
    pipe = HoldingPipe(FileSource.scan([source]), FileTarget(out))
    pipe.run()
    assert pipe.held and not (out / "file").exists()
    assert not any(isinstance(e, Placed) for e in pipe.received_events)
    pipe.let_go()
    pipe.run()
    assert not (out / "file").exists(), "a chunk of it is missing now"
    pipe.connect()
    pipe.run()
    assert (out / "file").read_bytes() == LARGE


@pytest.mark.spec("TR-53")
def test_damage_between_runs_is_found_by_verify(tmp_path: Path) -> None:
    source, out, done = half_received(tmp_path)
    data = out / states(out)[0] / "data" / "file"
    with data.open("r+b") as file:
        file.seek(2 * CHUNK_BYTES + 5)
        file.write(b"damage")
    pipe = send(source, FileTarget(out, verify=True))
    assert done_of(pipe).bytes_reused == done - CHUNK_BYTES
    assert (out / "file").read_bytes() == BIG


@pytest.mark.spec("TR-53")
def test_after_another_boot_everything_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out, done = half_received(tmp_path)
    data = out / states(out)[0] / "data" / "file"
    with data.open("r+b") as file:
        file.write(b"lost by the host")
    monkeypatch.setattr(OS_DISK, "boot_id", lambda: b"another boot id.")
    pipe = send(source, FileTarget(out))
    assert done_of(pipe).bytes_reused == done - CHUNK_BYTES
    assert (out / "file").read_bytes() == BIG


def test_partial_data_that_vanished_is_sent_again(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path)
    (out / states(out)[0] / "data" / "file").unlink()
    pipe = send(source, FileTarget(out))
    assert done_of(pipe).bytes_reused == 0 and (out / "file").read_bytes() == BIG


def test_a_source_that_changed_between_runs_drops_what_was_there(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path)
    info = source.stat()
    other = bytes(reversed(BIG))
    source.write_bytes(other)
    os.utime(source, ns=(info.st_mtime_ns, info.st_mtime_ns))  # looks the same
    pipe = send(source, FileTarget(out))
    assert done_of(pipe).bytes_total == len(BIG)
    assert (out / "file").read_bytes() == other


@pytest.mark.spec("TR-55")
def test_a_changed_listing_keeps_the_files_that_are_the_same(tmp_path: Path) -> None:
    tree, out = make_tree(tmp_path), tmp_path / "out"
    first = FileTarget(out)
    pipe = TransferPipe(FileSource.scan([tree]), first)
    pipe.run(stop=lambda: verified(pipe) >= len(BIG))
    first.close()
    (tree / "another").write_text("new")
    (tree / "sub").chmod(0o755)
    (tree / "sub" / "f7").write_text("changed")
    again = send(tree, FileTarget(out))
    assert done_of(again).bytes_reused >= len(BIG)
    assert picture(out) == picture(tree.parent)
    assert states(out) == []


@pytest.mark.spec("TR-55")
def test_a_touched_file_keeps_what_is_verified_under_its_new_listing(tmp_path: Path) -> None:
    source, out, done = half_received(tmp_path)
    os.utime(source, ns=(10**18, 10**18))
    pipe = send(source, FileTarget(out))
    assert done_of(pipe).bytes_reused == done
    assert (out / "file").read_bytes() == BIG
    assert (out / "file").stat().st_mtime_ns == 10**18


@pytest.mark.spec("TR-55")
def test_a_file_that_differs_goes_as_a_whole(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path)
    source.write_bytes(b"!" + BIG[1:])
    pipe = send(source, FileTarget(out))
    assert done_of(pipe).bytes_transferred == len(BIG)
    assert (out / "file").read_bytes() == b"!" + BIG[1:]


@pytest.mark.spec("TR-54")
def test_state_belongs_to_a_sender_and_to_names(tmp_path: Path) -> None:
    from wraith.aio.disk.state_folder import state_path
    from wraith.types import PeerKey

    a, b = PeerKey(b"a" * 32), PeerKey(b"b" * 32)
    paths = {
        state_path(b"/out", a, [b"x"]),
        state_path(b"/out", b, [b"x"]),
        state_path(b"/out", a, [b"y"]),
        state_path(b"/out", a, [b"x", b"y"]),
        state_path(b"/out", None, [b"x"]),
        state_path(b"/other", a, [b"x"]),
    }
    assert len(paths) == 6
    assert state_path(b"/out", a, [b"x"]).startswith(b"/out/.wraith-")


def test_two_processes_do_not_receive_the_same_thing_into_one_folder(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path)
    holder = FileTarget(out)
    pipe = TransferPipe(FileSource.scan([source]), holder)
    pipe.run(stop=lambda: any(isinstance(e, Accepted) for e in pipe.received_events))
    other = send(source, FileTarget(out))
    declined = other.received_events[-1]
    assert isinstance(declined, Declined) and isinstance(declined.error, Busy)
    held = next(iter(leftovers(out)))
    assert held.is_in_use
    with pytest.raises(Busy):
        discard(held)
    holder.close()


def test_leftovers_are_listed_and_discarded(tmp_path: Path) -> None:
    _, out, done = half_received(tmp_path)
    (out / ".wraith-notours").mkdir()
    held = list(leftovers(out))
    assert len(held) == 1
    assert held[0].names == ("file",) and held[0].bytes_done == done
    assert held[0].bytes_total == len(BIG) and not held[0].is_in_use
    discard(held[0])
    assert list(leftovers(out)) == []


def test_what_a_kill_after_the_receipt_leaves_is_listed_as_complete(tmp_path: Path) -> None:
    """Discarding it takes nothing of what has arrived."""
    tree, out = make_tree(tmp_path), tmp_path / "out"
    target = FileTarget(out)
    pipe = TransferPipe(FileSource.scan([tree]), target)
    pipe.run(stop=lambda: any(isinstance(e, Placed) for e in pipe.received_events))
    target.close()
    (held,) = leftovers(out)
    assert held.is_complete and held.names == ("tree",)
    discard(held)
    assert states(out) == [] and picture(out) == picture(tree.parent)


# --- verification -----------------------------------------------------------------------------


@pytest.mark.spec("TR-56")
def test_a_bad_chunk_never_reaches_the_disk_and_what_stood_before_it_stays(
    tmp_path: Path,
) -> None:
    source, out = tmp_path / "file", tmp_path / "out"
    source.write_bytes(BIG)
    n = 0

    def corrupt(buffer: bytes) -> bytes:
        nonlocal n
        n += len(buffer) == CHUNK_BYTES
        return b"X" + buffer[1:] if n == 3 and len(buffer) == CHUNK_BYTES else buffer

    target = FileTarget(out)
    pipe = send(source, target, tap=corrupt)
    aborted = next(e for e in pipe.received_events if isinstance(e, Aborted))
    assert isinstance(aborted.error, HashMismatch)
    assert (aborted.error.file, aborted.error.chunk) == ("file", 2)
    written = (out / states(out)[0] / "data" / "file").read_bytes()
    assert written[: 2 * CHUNK_BYTES] == BIG[: 2 * CHUNK_BYTES]
    assert not any(written[2 * CHUNK_BYTES :]), "nothing but room that was set aside"
    target.close()
    again = send(source, FileTarget(out))
    assert done_of(again).bytes_reused == 2 * CHUNK_BYTES


@pytest.mark.spec("TR-139")
@pytest.mark.parametrize(
    "policy", [ExistsPolicy.REFUSE, ExistsPolicy.RENAME, ExistsPolicy.SKIP, ExistsPolicy.OVERWRITE]
)
def test_a_file_with_two_names_is_in_its_place_already(
    tmp_path: Path, policy: ExistsPolicy
) -> None:
    """What a kill between link and unlink left."""
    source, out = tmp_path / "file", tmp_path / "out"
    source.write_bytes(BIG)
    target = FileTarget(out, policy=policy)
    pipe = TransferPipe(FileSource.scan([source]), target)
    pipe.run(stop=lambda: verified(pipe) == len(BIG))
    target.close()
    os.link(out / states(out)[0] / "data" / "file", out / "file")
    again = send(source, FileTarget(out, policy=policy))
    assert isinstance(again.received_events[-1], Done), again.received_events[-1]
    assert [path.name for path in out.iterdir()] == ["file"]


@pytest.mark.spec("TR-74")
def test_a_folder_that_a_killed_merge_made_gets_its_mode(tmp_path: Path) -> None:
    tree, out = make_tree(tmp_path), tmp_path / "out"
    (out / "tree").mkdir(parents=True)
    (out / "tree").chmod(0o711)
    first = FileTarget(out, policy=ExistsPolicy.OVERWRITE)

    def die(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wraith.aio.disk.placing.Placer._set_folders", die)
        with pytest.raises(Killed):
            send(tree, first)
    first.close()
    send(tree, FileTarget(out, policy=ExistsPolicy.OVERWRITE))
    assert stat.S_IMODE((out / "tree" / "sub").stat().st_mode) == 0o555
    assert stat.S_IMODE((out / "tree").stat().st_mode) == 0o711, "it was there before"
    assert picture(out / "tree") == picture(tree)


# --- names that exist -------------------------------------------------------------------------


def with_old(tmp_path: Path) -> tuple[Path, Path]:
    tree, out = make_tree(tmp_path), tmp_path / "out"
    (out / "tree" / "sub").mkdir(parents=True)
    (out / "tree" / "sub" / "small").write_text("OLD")
    (out / "tree" / "mine").write_text("MINE")
    (out / "tree" / "zero").write_text("NOT EMPTY")
    return tree, out


@pytest.mark.spec("TR-70")
def test_by_default_nothing_that_exists_is_touched(tmp_path: Path) -> None:
    tree, out = with_old(tmp_path)
    before = picture(out)
    pipe = send(tree, FileTarget(out))
    declined = pipe.received_events[-1]
    assert isinstance(declined, Declined) and isinstance(declined.error, OfferRefused)
    assert picture(out) == before and pipe.data_bytes == 0


@pytest.mark.spec("TR-72")
@pytest.mark.parametrize("policy", [ExistsPolicy.OVERWRITE, ExistsPolicy.RENAME, ExistsPolicy.SKIP])
def test_a_merge_goes_file_by_file(tmp_path: Path, policy: ExistsPolicy) -> None:
    tree, out = with_old(tmp_path)
    pipe = send(tree, FileTarget(out, policy=policy))
    assert isinstance(pipe.received_events[-1], Done)
    got = out / "tree"
    assert (got / "mine").read_text() == "MINE"
    assert (got / "big").read_bytes() == BIG and (got / "empty").is_dir()
    old, beside = got / "sub" / "small", got / "sub" / "small (1)"
    assert old.read_text() == ("small" if policy is ExistsPolicy.OVERWRITE else "OLD")
    assert beside.exists() == (policy is ExistsPolicy.RENAME)
    assert (got / "zero").read_text() == ("" if policy is ExistsPolicy.OVERWRITE else "NOT EMPTY")
    if policy is ExistsPolicy.RENAME:
        assert beside.read_text() == "small" and (got / "zero (1)").read_text() == ""
    if policy is ExistsPolicy.SKIP:
        assert done_of(pipe).bytes_total == done_of(pipe).bytes_transferred
        total = pipe.source.outgoing.index.total_bytes
        assert total is not None and done_of(pipe).bytes_total == total - 5
    assert states(out) == []


@pytest.mark.spec("TR-72")
@pytest.mark.parametrize("policy", [ExistsPolicy.OVERWRITE, ExistsPolicy.RENAME, ExistsPolicy.SKIP])
def test_a_single_file_that_exists(tmp_path: Path, policy: ExistsPolicy) -> None:
    source, out = tmp_path / "a.txt", tmp_path / "out"
    source.write_text("new")
    out.mkdir()
    (out / "a.txt").write_text("old")
    send(source, FileTarget(out, policy=policy))
    found = {path.name: path.read_text() for path in out.iterdir()}
    assert (
        found
        == {
            ExistsPolicy.OVERWRITE: {"a.txt": "new"},
            ExistsPolicy.RENAME: {"a.txt": "old", "a (1).txt": "new"},
            ExistsPolicy.SKIP: {"a.txt": "old"},
        }[policy]
    )


@pytest.mark.spec("TR-70")
def test_a_folder_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    source, out = tmp_path / "a", tmp_path / "out"
    source.write_text("file")
    (out / "a").mkdir(parents=True)
    pipe = send(source, FileTarget(out, policy=ExistsPolicy.OVERWRITE))
    assert isinstance(pipe.received_events[-1], Declined) and (out / "a").is_dir()


@pytest.mark.spec("TR-24")
def test_a_link_in_the_target_leads_nothing_out(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    out, outside = tmp_path / "out", tmp_path / "outside"
    (out / "tree").mkdir(parents=True)
    outside.mkdir()
    (out / "tree" / "sub").symlink_to(outside)
    send(tree, FileTarget(out, policy=ExistsPolicy.OVERWRITE))
    assert list(outside.iterdir()) == []


@pytest.mark.spec("TR-24")
def test_a_link_that_appears_in_our_own_data_is_not_followed(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(bytes(len(BIG)))
    data = out / states(out)[0] / "data" / "file"
    data.unlink()
    data.symlink_to(victim)
    send(source, FileTarget(out))
    assert victim.read_bytes() == bytes(len(BIG))


@pytest.mark.spec("TR-74")
def test_a_folder_without_write_permission_is_filled_first(tmp_path: Path) -> None:
    tree, out = make_tree(tmp_path), tmp_path / "out"
    send(tree, FileTarget(out))
    info = (out / "tree" / "sub").stat()
    assert info.st_mode & 0o777 == 0o555 and info.st_mtime_ns == 10**18 + 7
    assert len(list((out / "tree" / "sub").iterdir())) == 22


def test_a_failed_file_is_not_placed(tmp_path: Path) -> None:
    tree, out = make_tree(tmp_path), tmp_path / "out"
    source = FileSource.scan([tree])
    os.truncate(tree / "big", 5)
    pipe = TransferPipe(source, FileTarget(out))
    pipe.run()
    assert done_of(pipe).n_failed == 1
    assert not (out / "tree" / "big").exists() and (out / "tree" / "sub" / "small").exists()
    assert states(out) == []


@pytest.mark.spec("TR-142")
@pytest.mark.parametrize("whole_tree", [False, True])
def test_what_is_verified_of_a_failed_file_is_there_for_the_next_offer(
    tmp_path: Path, whole_tree: bool
) -> None:
    tree, out = make_tree(tmp_path), tmp_path / "out"
    offered = tree if whole_tree else tree / "big"
    large = tree / "big"
    large.write_bytes(LARGE * 2)
    source = FileSource.scan([offered])
    pipe = TransferPipe(source, FileTarget(out))
    pipe.run(stop=lambda: verified(pipe) >= 8 * CHUNK_BYTES)
    with large.open("r+b") as file:
        file.write(b"changed")  # where it was sent
    pipe.run()
    assert done_of(pipe).n_failed == 1
    placed = out / "tree" / "big" if whole_tree else out / "big"
    assert not placed.exists() and len(states(out)) == 1
    large.write_bytes(LARGE * 2)  # as it was, at another time
    (held,) = leftovers(out)
    assert held.bytes_done >= 8 * CHUNK_BYTES and not held.is_complete
    again = send(offered, FileTarget(out, policy=ExistsPolicy.OVERWRITE))
    assert done_of(again).bytes_reused == held.bytes_done
    assert placed.read_bytes() == LARGE * 2
    assert states(out) == []


def test_wishes_on_a_full_disk_come_back_as_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from wraith.errors import NoSpace

    source, out = tmp_path / "file", tmp_path / "out"
    source.write_bytes(BIG)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(OS_DISK, "pwrite", full)
        target = FileTarget(out)
        pipe = send(source, target)
        target.close()
    aborted = next(e for e in pipe.received_events if isinstance(e, Aborted))
    assert isinstance(aborted.error, NoSpace)
    assert done_of(send(source, FileTarget(out))).n_files == 1


def test_names_beyond_one_path_limit_are_reached_part_by_part(tmp_path: Path) -> None:
    tree, out = tmp_path / "src" / "deep", tmp_path / ("o" * 200)
    tree.mkdir(parents=True)
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(18):
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    pipe = send(tree, FileTarget(out))
    assert isinstance(pipe.received_events[-1], Done)


def test_drop_and_complete_are_idempotent(tmp_path: Path) -> None:
    source, out, _ = half_received(tmp_path)
    target = FileTarget(out)
    pipe = TransferPipe(FileSource.scan([source]), target)
    pipe.run(stop=lambda: any(isinstance(e, Accepted) for e in pipe.received_events))
    assert target.fulfil(DropFiles(90, (0,))) is None
    assert target.fulfil(DropFiles(91, (0,))) is None
    target.fulfil(Complete(92, (0,)))
    assert not (out / "file").exists()
