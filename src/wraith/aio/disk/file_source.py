"""Reads from a disk what is sent: a scan makes a listing, then chunks are read in large pieces.

``FileSource.scan`` walks the paths once (``aio/disk/source_scan.py``) and writes the listing to an
unlinked file; what cannot be sent is named in one error before anything is offered. ``fulfil``
answers the sender's wishes; it blocks, so it runs in the thread of ``store_worker.py``, where
reading and hashing let go of the interpreter lock. How files are opened:
``aio/disk/source_roots.py``.

Spec: transfer §9.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wraith.aio.disk.digest_file import DigestFile
from wraith.aio.disk.failures import disk_error, temporary_file
from wraith.aio.disk.own_state import OwnState
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.aio.disk.source_roots import SourceRoots
from wraith.aio.disk.source_scan import SourceScan, SourceUnreadable
from wraith.aio.disk.stamp import Difference, Stamp, difference
from wraith.aio.disk.stamp_file import StampFile
from wraith.content.chunking import DIGEST_BYTES, Cut, chunk_digests, runs_of
from wraith.errors import WraithError
from wraith.transfer.chunk_records import ChunkRecordWriter
from wraith.transfer.kinds import OfferKind, Reason
from wraith.transfer.listing import Entry, Kind, ListingIndex, decode_page
from wraith.transfer.outgoing import Outgoing
from wraith.transfer.store import Store

if TYPE_CHECKING:  # a scan, after which a code is shown, wishes for nothing yet
    from wraith.transfer.answers import FailedPiece, Piece, PiecesRead
    from wraith.transfer.messages import HaveItem
    from wraith.transfer.wishes import CheckRanges, ReadPages, ReadPieces

RUN_CHUNKS = 4
"""One read and one call to hash it: what the processor's cache still holds in between."""
FILE_IDS_SHOWN = 16
_FILE_IDS_LOOKED_AT = 10_000
_TOUCHES_MAX = 3
"""A file that is touched more often while one piece of it is read is in use."""
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})
"""Errors of opening when something else has taken the place of a file or of a folder above it."""


class _Touched(Exception):
    """The same file and size, but a time differs."""


class _Changed(Exception):
    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class FileSource(Store):
    """Files and folders of this disk. Make it with ``scan``; ``close`` it. Not thread-safe: one
    thread calls ``fulfil``."""

    def __init__(self, scan: SourceScan, digests: DigestFile, name: bytes) -> None:
        self.outgoing = Outgoing(scan.writer.index, OfferKind.FILES, name)
        self.problems = tuple(scan.problems)
        self.left_out = tuple(scan.left_out)
        self.disk = scan.disk
        self._roots = scan.roots
        self._stamps = scan.stamps
        self._pages_fd = scan.pages_fd
        self._digests = digests
        self._page: tuple[int, int, list[Entry]] = (0, 0, [])
        self._open: tuple[int, int] | None = None

    @classmethod
    def scan(
        cls,
        paths: Sequence[str | os.PathLike[str]],
        *,
        exclude: Sequence[str] = (),
        skip_unreadable: bool = False,
        state_dir: Path | PrivateFolder | None = None,
        home: Path | None = None,
        disk: Disk = OS_DISK,
    ) -> FileSource:
        """Walks ``paths`` and returns what can be offered.

        Args:
            exclude: globs that a name or a whole relative path may match.
            skip_unreadable: go on without what cannot be sent; it is in ``problems``.
            state_dir: where digests are kept, so that a later process need not read again what
                a receiver has; ``None`` keeps them for this process only.
            home: the folder with wraith's own keys and codes; what is met of it, and unfinished
                transfers, stay out and are in ``left_out``. [TR-126]
            disk: on which all of them lie.
        Raises:
            OwnFolder: one of ``paths`` is wraith's own.
            SourceUnreadable: something cannot be read or sent; all of it is named.
            LimitExceeded: more than a listing may hold.
            DiskFailed, NoSpace: there is no folder for temporary files.
        """
        own = OwnState(os.fsencode(home) if home is not None else None, disk=disk)
        roots = SourceRoots(disk)
        problems: list[tuple[bytes, str]] = []
        for path in paths:
            name = os.path.basename(os.fsencode(os.path.abspath(path)))
            if not name:
                problems.append((os.fsencode(path), "has no name of its own"))
            elif name in roots:
                problems.append((os.fsencode(path), "has the same name as another path"))
            else:
                roots.add(name, os.fsencode(path))
                own.check_named(roots.real(name))
        stamps = StampFile(disk)
        pages_fd = temporary_file(disk)
        scan = SourceScan(tuple(exclude), pages_fd, roots, stamps, own, disk, problems=problems)
        try:
            for name in roots.names():
                scan.top(name)
            scan.keep(scan.writer.finish())
            if scan.problems and not skip_unreadable:
                is_all_of_it = not scan.writer.index.n_entries
                raise SourceUnreadable(scan.problems, is_all_of_it=is_all_of_it)
            if not scan.writer.index.n_entries:
                raise SourceUnreadable(
                    scan.problems or [(b"", "there is nothing to send")], is_all_of_it=True
                )
            index = scan.writer.index
            digests = _kept_digests(state_dir, index, scan.stamps, disk)
        except BaseException:
            scan.close()
            raise
        return cls(scan, digests, b", ".join(roots.names())[:255])

    def close(self) -> None:
        self._close_file()
        if self._pages_fd >= 0:
            self.disk.close(self._pages_fd)
            self._pages_fd = -1
            self._digests.close()
            self._stamps.close()
            self._roots.close()

    def disk_error(self, exc: OSError) -> WraithError:
        return disk_error(exc, where="the sender's own listing")

    def read_pages(self, wish: ReadPages) -> list[bytes]:
        return [self._read_page(i) for i in range(wish.first, wish.first + wish.n)]

    def check_ranges(self, wish: CheckRanges) -> list[bool]:
        return [self._check(item) for item in wish.items]

    def entries(self) -> Iterator[Entry]:
        """Everything that is offered, in order."""
        for i in range(self.outgoing.index.n_pages):
            yield from decode_page(self._read_page(i))

    def entry(self, number: int) -> Entry:
        """One entry; its page is kept for the next call."""
        first, end, entries = self._page
        if not first <= number < end:
            page = self.outgoing.index.page_of(number)
            first = self.outgoing.index.page_first[page]
            entries = decode_page(self._read_page(page))
            self._page = (first, first + len(entries), entries)
        return entries[number - first]

    def file_id(self, number: int) -> bytes:
        """The id of a file that was sent whole."""
        return self._digests.file_id(number, self.entry(number).size)

    def file_ids(self, n_max: int = FILE_IDS_SHOWN) -> tuple[tuple[bytes, bytes], ...]:
        """Path and id of the files that were named themselves and are known whole, for showing.
        Once no wish is under way. None when they cannot be read any more: all has arrived then."""
        if self.outgoing.index.n_entries > _FILE_IDS_LOOKED_AT:
            return ()
        with contextlib.suppress(OSError):
            return self._file_ids(n_max)
        return ()

    def _file_ids(self, n_max: int) -> tuple[tuple[bytes, bytes], ...]:
        found: list[tuple[bytes, bytes]] = []
        for number, entry in enumerate(self.entries()):
            if entry.kind is not Kind.FILE or b"/" in entry.path or len(found) >= n_max:
                continue
            if number in self.outgoing.failed or self._digests.missing(
                number, 0, entry.cut.n_chunks
            ):
                continue
            found.append((entry.path, self._digests.file_id(number, entry.size)))
        return tuple(found)

    # --- inside ---------------------------------------------------------------------------------

    def _read_page(self, number: int) -> bytes:
        at = self.outgoing.index.page_at
        return self.disk.pread(self._pages_fd, at[number + 1] - at[number], at[number])

    def read_pieces(self, wish: ReadPieces) -> PiecesRead:
        from wraith.transfer.answers import FailedPiece, PiecesRead

        writer = ChunkRecordWriter()
        failed: list[FailedPiece] = []
        payload = n_read = 0
        for piece in wish.pieces:
            entry = self.entry(piece.entry)
            try:
                runs = self._read(piece, entry)
            except _Changed as exc:
                failed.append(FailedPiece(piece.entry, exc.reason, entry.path))
                continue
            chunk = piece.first
            for data, digests in runs:
                writer.add(piece.entry, chunk, data, digests)
                self._digests.put(piece.entry, chunk, digests)
                payload += len(data)
                chunk += len(digests) // DIGEST_BYTES
            n_read += chunk - piece.first
        return PiecesRead(writer.finish(), payload, n_read, tuple(failed))

    def _read(self, piece: Piece, entry: Entry) -> list[tuple[bytes, bytes]]:
        """The bytes of one piece in runs of whole chunks, each with its chunks' digests, from a
        file that is what it was when it was listed, or was touched and gives the same. [TR-62]"""
        for _ in range(_TOUCHES_MAX):
            try:
                return self._read_once(piece, entry)
            except _Touched:
                self._compare_with_sent(piece.entry, entry)
        raise _Changed(Reason.SOURCE_CHANGED)

    def _compare_with_sent(self, number: int, entry: Entry) -> None:
        """The file was touched: if what was sent of it still has its digests, it goes on under its
        new stamp, and what comes out is the file as it is now. [TR-141]

        Raises:
            _Changed: what was sent is not in the file any more.
        """
        fd = self._open_file(entry)
        try:
            stamp = Stamp.of(self.disk.fstat(fd))
            if difference(self._stamps.get(number), stamp) is Difference.REPLACED:
                raise _Changed(Reason.SOURCE_CHANGED)
            for first, n in runs_of(0, entry.cut.n_chunks, RUN_CHUNKS):
                sent = self._digests.get(number, first, n)
                if not any(sent):
                    continue
                at, n_bytes = entry.cut.span(first, n)
                now = chunk_digests(self.disk.pread(fd, n_bytes, at))
                if not _agrees(sent, now):
                    raise _Changed(Reason.SOURCE_CHANGED)
            if Stamp.of(self.disk.fstat(fd)) == stamp:  # else the next read finds it touched again
                self._stamps.replace(number, stamp)
        except OSError:
            raise _Changed(Reason.SOURCE_UNREADABLE) from None
        finally:
            self.disk.close(fd)

    def _read_once(self, piece: Piece, entry: Entry) -> list[tuple[bytes, bytes]]:
        cut = entry.cut
        if cut.is_small:
            fd = self._open_file(entry)
            try:
                data = self.disk.pread(fd, entry.size + 1, 0)
                self._check_unchanged(fd, piece.entry, entry, len(data))
            except OSError:
                raise _Changed(Reason.SOURCE_UNREADABLE) from None
            finally:
                self.disk.close(fd)
            return [(data, chunk_digests(data))]
        if self._open is None or self._open[0] != piece.entry:
            self._close_file()
            self._open = (piece.entry, self._open_file(entry))
        fd = self._open[1]
        runs: list[tuple[bytes, bytes]] = []
        try:
            for first, n in runs_of(piece.first, piece.n, RUN_CHUNKS):
                at, want = cut.span(first, n)
                data = self.disk.pread(fd, want, at)
                if len(data) != want:
                    raise _Changed(Reason.SOURCE_CHANGED)
                runs.append((data, chunk_digests(data)))
            self._check_unchanged(fd, piece.entry, entry, entry.size)
        except OSError:
            raise _Changed(Reason.SOURCE_UNREADABLE) from None
        return runs

    def _open_file(self, entry: Entry) -> int:
        """Nothing that replaced the file, or a folder on the way to it, is followed. [TR-121]"""
        try:
            return self._roots.open(entry.path)
        except OSError as exc:
            gone = exc.errno in _GONE
            raise _Changed(Reason.SOURCE_CHANGED if gone else Reason.SOURCE_UNREADABLE) from None

    def _check_unchanged(self, fd: int, number: int, entry: Entry, n_read: int) -> None:
        info = self.disk.fstat(fd)
        found = difference(self._stamps.get(number), Stamp.of(info))
        if n_read != entry.size or found is Difference.REPLACED or not stat.S_ISREG(info.st_mode):
            raise _Changed(Reason.SOURCE_CHANGED)
        if found is Difference.TOUCHED:
            raise _Touched

    def _close_file(self) -> None:
        if self._open is not None:
            self.disk.close(self._open[1])
            self._open = None

    def _check(self, item: HaveItem) -> bool:
        from wraith.transfer.answers import Piece

        entry = self.entry(item.entry)
        try:
            for first, n in item.ranges:
                for chunk in self._digests.missing(item.entry, first, n):
                    _, digest = self._read(Piece(item.entry, chunk, 1), entry)[0]
                    self._digests.put(item.entry, chunk, digest)
        except _Changed:
            return False
        return self._digests.summary(item.entry, item.ranges) == item.digest


def _agrees(sent: bytes, now: bytes) -> bool:
    """True if every digest that was sent (zeros: none was) is the one of now."""
    cuts = (slice(i, i + DIGEST_BYTES) for i in range(0, len(sent), DIGEST_BYTES))
    return all(not any(sent[cut]) or sent[cut] == now[cut] for cut in cuts)


def _kept_digests(
    state_dir: Path | PrivateFolder | None, index: ListingIndex, stamps: StampFile, disk: Disk
) -> DigestFile:
    """The digests that an earlier process kept for this listing, without those of files that are
    not the ones that it had read; then the stamps of now take the place of its own. [TR-120]"""
    if state_dir is None:
        return DigestFile(index.sizes, disk=disk)
    if isinstance(state_dir, Path):
        with PrivateFolder.open(state_dir, disk=disk) as folder:
            return _kept_digests(folder, index, stamps, disk)
    suffix = index.digest()[:6].hex().encode()
    fd = state_dir.open_file(b"digests-" + suffix, os.O_RDWR | os.O_CREAT)
    digests = DigestFile(index.sizes, fd, disk=state_dir.disk)
    try:
        _forget_changed(state_dir, b"stamps-" + suffix, index, stamps, digests)
    except BaseException:
        digests.close()
        raise
    return digests


def _forget_changed(
    folder: PrivateFolder, name: bytes, index: ListingIndex, stamps: StampFile, digests: DigestFile
) -> None:
    try:
        old_fd = folder.open_file(name, os.O_RDONLY)
    except FileNotFoundError:
        digests.forget_all()
    else:
        try:
            for number in stamps.differing(old_fd):
                digests.forget(number, Cut(index.sizes[number]).n_chunks)
        finally:
            folder.disk.close(old_fd)
    # A host that goes down must not come up with the old digests under the new stamps.
    digests.sync()
    with folder.replacing(name, sync=True) as fd:
        stamps.copy_to(fd)
