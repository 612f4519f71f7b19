"""Scanning and reading sources on a real disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.seam import Disk, StrOrBytesPath
from wraith.aio.disk.source_scan import SourceUnreadable
from wraith.content.chunking import CHUNK_BYTES, chunk_digest, digest_of_digests, file_id
from wraith.transfer.answers import PiecesRead
from wraith.transfer.listing import Kind
from wraith.transfer.messages import HaveItem, Reason
from wraith.transfer.wishes import CheckRanges, Piece, ReadPages, ReadPieces

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


def make_tree(root: Path) -> Path:
    tree = root / "tree"
    (tree / "empty").mkdir(parents=True)
    (tree / "b").mkdir()
    (tree / "b" / "x.bin").write_bytes(bytes(range(256)) * 3000)
    (tree / "b.txt").write_text("hello")
    (tree / "link").symlink_to("b/x.bin")
    (tree / "zero").touch()
    (tree / "b.txt").chmod(0o640)
    os.utime(tree / "b.txt", ns=(1_000_000_007, 1_000_000_007))
    return tree


def read(source: FileSource, *pieces: Piece) -> PiecesRead:
    result = source.fulfil(ReadPieces(1, pieces))
    assert isinstance(result, PiecesRead)
    return result


def test_a_scan_lists_everything_in_walking_order(tmp_path: Path) -> None:
    source = FileSource.scan([make_tree(tmp_path)])
    entries = list(source.entries())
    assert [e.path for e in entries] == [
        b"tree",
        b"tree/b",
        b"tree/b/x.bin",
        b"tree/b.txt",
        b"tree/empty",
        b"tree/link",
        b"tree/zero",
    ]
    assert [e.kind for e in entries] == [
        Kind.FOLDER,
        Kind.FOLDER,
        Kind.FILE,
        Kind.FILE,
        Kind.FOLDER,
        Kind.LINK,
        Kind.FILE,
    ]
    text = entries[3]
    assert (text.mode, text.mtime_ns, text.size) == (0o640, 1_000_000_007, 5)
    assert entries[5].target == b"b/x.bin"
    assert source.outgoing.index.total_bytes == 768_005
    assert [source.entry(i) for i in range(len(entries))] == entries
    pages = source.fulfil(ReadPages(1, 0, 1))
    assert isinstance(pages, list) and sum(map(len, pages)) == source.outgoing.index.listing_bytes
    source.close()


def test_several_paths_keep_their_own_names(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").symlink_to(tmp_path / "one")  # named, so followed
    source = FileSource.scan([tmp_path / "two", tmp_path / "one", tmp_path / "tree" / "b" / ".."])
    assert [(e.path, e.kind) for e in source.entries()][:2] == [
        (b"one", Kind.FILE),
        (b"tree", Kind.FOLDER),
    ]
    assert [e.path for e in source.entries() if b"/" not in e.path] == [b"one", b"tree", b"two"]


@pytest.mark.spec("TR-60")
def test_everything_that_cannot_be_sent_is_named_at_once(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    os.mkfifo(tree / "pipe")
    (tree / "out").symlink_to("/etc/passwd")
    (tree / "up").symlink_to("../..")
    (tree / "bad\nname").write_text("x")
    with pytest.raises(SourceUnreadable) as caught:
        FileSource.scan([tree, tmp_path / "missing"])
    assert [path for path, _ in caught.value.problems] == [
        b"missing",
        b"tree/bad\nname",
        b"tree/out",
        b"tree/pipe",
        b"tree/up",
    ]
    assert "\n" not in str(caught.value)
    source = FileSource.scan([tree, tmp_path / "missing"], skip_unreadable=True)
    assert len(source.problems) == 5
    assert source.outgoing.index.n_entries == 7


@pytest.mark.spec("TR-60")
@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    (tree / "zero").chmod(0)
    with pytest.raises(SourceUnreadable, match="zero: permission denied"):
        FileSource.scan([tree])


def test_nothing_to_send_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="missing"):
        FileSource.scan([tmp_path / "missing"], skip_unreadable=True)
    with pytest.raises(SourceUnreadable, match="same name"):
        make_tree(tmp_path / "other")
        FileSource.scan([make_tree(tmp_path), tmp_path / "other" / "tree"])


@pytest.mark.parametrize("pattern", ["*.bin", "tree/b", "b"])
def test_excluded_names_and_what_is_below_them_stay_out(tmp_path: Path, pattern: str) -> None:
    source = FileSource.scan([make_tree(tmp_path)], exclude=[pattern])
    paths = [e.path for e in source.entries()]
    assert b"tree/b/x.bin" not in paths and b"tree/b.txt" in paths


def test_pieces_are_read_as_wire_ready_records(tmp_path: Path) -> None:
    source = FileSource.scan([make_tree(tmp_path)])
    data = bytes(range(256)) * 3000
    result = read(source, Piece(2, 1, 2), Piece(3, 0, 1))
    assert result.payload_bytes == len(data) - CHUNK_BYTES + 5 and result.failed == ()

    def record(entry: int, chunk: int, body: bytes) -> bytes:
        head = b"".join(n.to_bytes(4, "big") for n in (entry, chunk, len(body)))
        return head + body + chunk_digest(body)

    assert b"".join(result.buffers) == (
        record(2, 1, data[CHUNK_BYTES : 2 * CHUNK_BYTES])
        + record(2, 2, data[2 * CHUNK_BYTES :])
        + record(3, 0, b"hello")
    )


@pytest.mark.spec("TR-62")
@pytest.mark.spec("TR-141")
@pytest.mark.parametrize("change", ["content", "shorter", "longer", "gone", "folder"])
@pytest.mark.parametrize("name", ["b.txt", "b/x.bin"])
def test_a_file_that_changed_fails_alone(tmp_path: Path, name: str, change: str) -> None:
    tree = make_tree(tmp_path)
    source = FileSource.scan([tree])
    path = tree / name
    number = 3 if name == "b.txt" else 2
    assert not read(source, Piece(number, 0, 1)).failed
    if change == "content":
        path.write_bytes(b"y" * path.stat().st_size)
    elif change == "shorter":
        os.truncate(path, 3)
    elif change == "longer":
        path.write_bytes(path.read_bytes() + b"more")
    elif change == "gone":
        path.unlink()
    elif change == "folder":
        path.unlink()
        path.mkdir()
    other = 2 if name == "b.txt" else 3
    result = read(source, Piece(number, 0, 1), Piece(other, 0, 1))
    assert [(f.entry, f.path) for f in result.failed] == [(number, b"tree/" + name.encode())]
    assert result.failed[0].reason in (Reason.SOURCE_CHANGED, Reason.SOURCE_UNREADABLE)
    head = b"".join(result.buffers)[:4]
    assert int.from_bytes(head, "big") == other


@pytest.mark.spec("TR-141")
@pytest.mark.parametrize("name", ["b.txt", "b/x.bin"])
def test_a_touched_file_goes_on(tmp_path: Path, name: str) -> None:
    tree = make_tree(tmp_path)
    source = FileSource.scan([tree])
    number = 3 if name == "b.txt" else 2
    first = read(source, Piece(number, 0, 1))
    for at in (5, 6):
        os.utime(tree / name, ns=(at, at))
        again = read(source, Piece(number, 0, 1))
        assert again.failed == () and again.buffers == first.buffers


@pytest.mark.spec("TR-141")
def test_of_a_touched_file_what_was_not_sent_yet_comes_as_it_is_now(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    source = FileSource.scan([tree])
    read(source, Piece(2, 0, 1))
    with (tree / "b" / "x.bin").open("r+b") as file:
        file.seek(2 * CHUNK_BYTES)
        file.write(b"new")
    result = read(source, Piece(2, 2, 1))
    assert result.failed == () and b"".join(result.buffers)[12:15] == b"new"
    with (tree / "b" / "x.bin").open("r+b") as file:
        file.write(b"changed where it was sent")
    assert [f.reason for f in read(source, Piece(2, 1, 1)).failed] == [Reason.SOURCE_CHANGED]


@pytest.mark.spec("TR-62")
def test_a_file_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    source = FileSource.scan([tree])
    secret = tmp_path / "secret"
    secret.write_text("SECRE")
    os.utime(secret, ns=(1_000_000_007, 1_000_000_007))
    (tree / "b.txt").unlink()
    (tree / "b.txt").symlink_to(secret)
    result = read(source, Piece(3, 0, 1))
    assert len(result.failed) == 1 and result.buffers == []


def test_ranges_are_checked_from_kept_digests_or_by_reading_again(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    data = (tree / "b" / "x.bin").read_bytes()
    digests = [chunk_digest(data[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES)]
    source = FileSource.scan([tree])
    good = HaveItem(2, ((0, 1), (2, 1)), digest_of_digests([digests[0], digests[2]]))
    bad = HaveItem(2, ((1, 1),), digests[1])  # not a digest over digests
    assert source.fulfil(CheckRanges(1, (good, bad))) == [True, False]
    os.utime(tree / "b" / "x.bin", ns=(5, 5))
    assert source.fulfil(CheckRanges(2, (good,))) == [True]  # kept
    unread = HaveItem(2, ((0, 3),), digest_of_digests(digests))
    fresh = FileSource.scan([make_tree(tmp_path / "again")])
    os.utime(tmp_path / "again" / "tree" / "b" / "x.bin", ns=(5, 5))
    assert fresh.fulfil(CheckRanges(3, (unread,))) == [True]  # touched, and the same
    fresh = FileSource.scan([make_tree(tmp_path / "third")])
    os.truncate(tmp_path / "third" / "tree" / "b" / "x.bin", 5)
    assert fresh.fulfil(CheckRanges(3, (unread,))) == [False]


def test_digests_outlive_the_process_and_belong_to_one_listing(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    first = FileSource.scan([tree], state_dir=state)
    read(first, Piece(2, 0, 3))
    expected = first.file_id(2)
    first.close()
    again = FileSource.scan([tree], state_dir=state)
    data = (tree / "b" / "x.bin").read_bytes()
    digests = b"".join(
        chunk_digest(data[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES)
    )
    assert again.file_id(2) == expected == file_id(len(data), digests)
    again.close()
    os.utime(tree / "b.txt", ns=(9, 9))
    other = FileSource.scan([tree], state_dir=state)
    assert other.file_id(2) != expected


@pytest.mark.spec("TR-121")
@pytest.mark.parametrize("name", ["b.txt", "b/x.bin"])
def test_a_folder_on_the_way_that_became_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    """Size and times of what the link leads to are forged: whoever owns the tree knows them."""
    tree = make_tree(tmp_path)
    outer = tmp_path / "outer"
    outer.mkdir()
    tree = tree.rename(outer / "tree")
    for i in range(40):  # more folders than are held open, so that this one is opened again
        (outer / f"with-{i}").mkdir()
    source = FileSource.scan([outer])
    entries = list(source.entries())
    number = next(i for i, e in enumerate(entries) if e.path == b"outer/tree/" + name.encode())
    private = tmp_path / "private"
    (private / "b").mkdir(parents=True)
    (private / name).write_bytes(b"S" * entries[number].size)
    os.utime(private / name, ns=(entries[number].mtime_ns, entries[number].mtime_ns))
    tree.rename(outer / "aside")
    tree.symlink_to(private)
    result = read(source, Piece(number, 0, 1))
    assert result.buffers == []
    assert [f.reason for f in result.failed] == [Reason.SOURCE_CHANGED]


@pytest.mark.spec("TR-121")
def test_a_scan_does_not_follow_a_link_that_appears_in_between(tmp_path: Path) -> None:
    """The folder is swapped after its name was read, before what lies in it is looked at."""
    tree = make_tree(tmp_path)
    private = tmp_path / "private"
    (private / "deep").mkdir(parents=True)
    (private / "deep" / "shadow").write_text("secret")
    (tree / "b" / "deep").mkdir()

    class Swapping(str):
        """An exclude pattern is looked up by its hash, for each name and then for its path."""

        lookups = 0

        def __hash__(self) -> int:
            Swapping.lookups += 1
            if Swapping.lookups == 3:  # after "b" and its path: "deep" has been read in it
                (tree / "b").rename(tmp_path / "aside")
                (tree / "b").symlink_to(private)
            return str.__hash__(self)

    source = FileSource.scan([tree], exclude=[Swapping("nothing")], skip_unreadable=True)
    assert (tree / "b").is_symlink()
    assert not [e.path for e in source.entries() if b"shadow" in e.path]


@pytest.mark.spec("TR-120")
@pytest.mark.parametrize("name", ["b.txt", "b/x.bin"])
@pytest.mark.parametrize("how", ["in place", "renamed over"])
def test_other_bytes_under_the_old_size_and_time_are_noticed(
    tmp_path: Path, name: str, how: str
) -> None:
    tree = make_tree(tmp_path)
    source = FileSource.scan([tree])
    path = tree / name
    before = path.stat()
    read(source, Piece(3 if name == "b.txt" else 2, 0, 1))
    if how == "in place":
        with path.open("r+b") as file:
            file.write(b"!")
    else:
        (tmp_path / "new").write_bytes(b"!" * before.st_size)
        (tmp_path / "new").rename(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = read(source, Piece(3 if name == "b.txt" else 2, 0, 1))
    assert result.buffers == []
    assert [f.reason for f in result.failed] == [Reason.SOURCE_CHANGED]


@pytest.mark.spec("TR-120")
def test_digests_of_a_file_that_changed_meanwhile_are_not_trusted(tmp_path: Path) -> None:
    """The listing is the same one, because its size and mtime are."""
    tree = make_tree(tmp_path)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    first = FileSource.scan([tree], state_dir=state)
    read(first, Piece(2, 0, 3), Piece(3, 0, 1))
    data = (tree / "b" / "x.bin").read_bytes()
    large = [chunk_digest(data[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES)]
    first.close()
    path = tree / "b" / "x.bin"
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"!!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = FileSource.scan([tree], state_dir=state)
    assert again.outgoing.index.digest() == first.outgoing.index.digest()
    items = [
        HaveItem(2, ((0, 3),), digest_of_digests(large)),
        HaveItem(2, ((1, 2),), digest_of_digests(large[1:])),
        HaveItem(3, ((0, 1),), digest_of_digests([chunk_digest(b"hello")])),
    ]
    assert again.fulfil(CheckRanges(1, tuple(items))) == [False, True, True]
    assert sorted(p.name[:7] for p in state.iterdir()) == ["digests", "stamps-"]
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in state.iterdir())
    again.close()


class _Cut(Disk):
    """Remembers what each file was at its last flush, by device and inode, and which of the renamed
    ones were flushed before."""

    def __init__(self) -> None:
        self.flushed: dict[tuple[int, int], bytes] = {}
        self.renamed: list[tuple[bytes, bool]] = []

    def fsync(self, fd: FileDescriptorLike) -> None:
        assert isinstance(fd, int)
        info = os.fstat(fd)
        self.flushed[info.st_dev, info.st_ino] = os.pread(fd, info.st_size, 0)

    def rename(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        info = os.stat(src, dir_fd=src_dir_fd)
        is_flushed = (info.st_dev, info.st_ino) in self.flushed
        self.renamed.append((os.fsencode(dst).partition(b"-")[0], is_flushed))
        os.rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


@pytest.mark.spec("TR-120")
def test_old_digests_do_not_come_back_under_new_stamps_after_a_power_cut(tmp_path: Path) -> None:
    """Of what was not flushed a crash of the host may keep the name of one file and lose the bytes
    of another."""
    tree = make_tree(tmp_path)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    first = FileSource.scan([tree], state_dir=state)
    read(first, Piece(2, 0, 3))
    first.close()
    path = tree / "b" / "x.bin"
    before, data = path.stat(), path.read_bytes()
    path.write_bytes(b"!!" + data[2:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (kept,) = state.glob("digests-*")
    info, old = kept.stat(), kept.read_bytes()
    disk = _Cut()
    FileSource.scan([tree], state_dir=state, disk=disk).close()
    kept.write_bytes(disk.flushed.get((info.st_dev, info.st_ino), old))
    assert disk.renamed == [(b"stamps", True)]
    again = FileSource.scan([tree], state_dir=state)
    large = [chunk_digest(data[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES)]
    was = HaveItem(2, ((0, 3),), digest_of_digests(large))
    assert again.fulfil(CheckRanges(1, (was,))) == [False]
    again.close()
