"""What is received, written to a disk so that a kill at any moment loses almost nothing.

::

    OUT/.wraith-<12 hex>/   locked (flock) while a process works in it
        journal             what was verified, append only (transfer/resume.py)
        listing-<12 hex>    the listing that the journal speaks of
        digests             chunk digests by position, made again from the journal
        data/<path>         the files, under their own paths

``fulfil`` answers the receiver's wishes; it blocks and belongs into one worker thread. Every chunk is
verified before a byte of it is written. Nothing is hashed again at the end.

Spec: transfer §8-§10 [TR-50 … TR-77].
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shutil
import stat
import tempfile
import unicodedata
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from blake3 import blake3

from wraith.aio.digest_file import DigestFile
from wraith.aio.file_placing import Placer, sync_file_system
from wraith.aio.safe_tree import SafeTree
from wraith.content.chunking import (
    CHUNK_BYTES,
    DIGEST_BYTES,
    UNKNOWN_SIZE,
    chunk_digest,
    chunk_length,
    n_chunks,
    parts_digest,
)
from wraith.errors import Busy, HashMismatch, NoSpace, WraithError
from wraith.transfer.inventory import Inventory
from wraith.transfer.listing import Entry, Kind, ListingIndex, decode_page
from wraith.transfer.memory import MemoryTarget
from wraith.transfer.messages import Offer, OfferKind
from wraith.transfer.paths import STATE_PREFIX, PathRules, display_path
from wraith.transfer.reasons import DiskFailed
from wraith.transfer.records import ChunkRecord
from wraith.transfer.resume import (
    CompleteMark,
    Dropped,
    FileDone,
    JournalHeader,
    Placing,
    Verified,
    encode_record,
    encode_verified,
    replay,
)
from wraith.transfer.wishes import (
    Complete,
    Completed,
    DropFiles,
    FinishFiles,
    OpenStore,
    RemoveState,
    StoreOpened,
    StorePages,
    SummariseRanges,
    Survey,
    SurveyResult,
    Wish,
    WritePieces,
)
from wraith.types import PeerKey

FILES_KEPT = 16
FSYNC_BYTES_MIN = 1024 * 1024
CONFLICTS_SHOWN = 100
TEXT_BYTES_MAX = 1024 * 1024
FILE_IDS_SHOWN = 16
_IOV_MAX = 1_000


class Policy(Enum):
    """What to do with a name that exists already. The default refuses before anything moves."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    RENAME = "rename"
    SKIP = "skip"


class _Listing:
    """Pages of a listing in a file, with the index that finds an entry."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.index = ListingIndex()
        self._page: tuple[int, int, list[Entry]] = (0, 0, [])

    @classmethod
    def load(cls, path: bytes) -> _Listing:
        """Reads a listing that this program wrote."""
        listing = cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        at = 0
        while header := os.pread(listing.fd, 4, at):
            page = os.pread(listing.fd, int.from_bytes(header, "big"), at + 4)
            listing.index.add_page(page, decode_page(page))
            at += 4 + len(page)
        return listing

    def append(self, page: bytes) -> None:
        os.lseek(self.fd, 0, os.SEEK_END)
        data = memoryview(len(page).to_bytes(4, "big") + page)
        while data:
            data = data[os.write(self.fd, data) :]
        self.index.add_page(page, decode_page(page))

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def page(self, number: int) -> list[Entry]:
        at = self.index.page_at
        start = at[number] + 4 * (number + 1)
        return decode_page(os.pread(self.fd, at[number + 1] - at[number], start))

    def entry(self, number: int) -> Entry:
        first, end, entries = self._page
        if not first <= number < end:
            page = bisect_right(self.index.page_first, number) - 1
            first = self.index.page_first[page]
            entries = self.page(page)
            self._page = (first, first + len(entries), entries)
        return entries[number - first]

    def entries(self, *, backwards: bool = False) -> Iterator[tuple[int, Entry]]:
        """All entries with their numbers; one page in memory at a time."""
        pages = range(self.index.n_pages)
        for page in reversed(pages) if backwards else pages:
            numbered = list(enumerate(self.page(page), self.index.page_first[page]))
            yield from reversed(numbered) if backwards else numbered


class FileTarget:
    """Receives into the folder ``out``, which is made if it is missing.

    Args:
        policy: what to do with names that exist.
        verify: check everything that an earlier run left against its digests.
    Raises:
        DiskFailed: the folder cannot be made or written.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        *,
        policy: Policy = Policy.REFUSE,
        verify: bool = False,
    ) -> None:
        self.out = os.fsencode(os.path.realpath(out))
        self.policy = policy
        self.verify = verify
        self.umask = os.umask(0o077)
        os.umask(self.umask)
        try:
            os.makedirs(self.out, exist_ok=True)
            self.rules = probe_rules(self.out)
            self._tree = SafeTree(self.out)
        except OSError as exc:
            raise DiskFailed(f"{os.fsdecode(self.out)}: {_words(exc)}") from None
        self.text_target: MemoryTarget | None = None
        self._incoming: _Listing | None = None
        self._listing: _Listing | None = None
        self._state: bytes | None = None
        self._lock_fd = -1
        self._journal_fd = -1
        self._data: SafeTree | None = None
        self._digests: DigestFile | None = None
        self._inventory: Inventory | None = None
        self._open: OrderedDict[int, int] = OrderedDict()
        self._finished = bytearray()
        self._placing: dict[int, bytes] = {}
        self._completed: Completed | None = None

    def close(self) -> None:
        """Releases the lock and every descriptor; what is on disk stays for the next run."""
        self._release()
        for listing in (self._incoming, self._listing):
            if listing is not None:
                listing.close()
        self._tree.close()

    def fulfil(self, wish: Wish) -> object:
        """Blocks until the wish is fulfilled; errors come back as values."""
        try:
            if self.text_target is not None and not isinstance(wish, StorePages | Survey):
                return self.text_target.fulfil(wish)
            return self._fulfil(wish)
        except OSError as exc:
            return self._error(exc)
        except WraithError as exc:
            return exc

    def entries(self) -> Iterator[Entry]:
        """The listing last received, for showing it before the answer. Same thread as
        ``fulfil``, or while no wish is under way."""
        listing = self._incoming if self._incoming is not None else self._listing
        if listing is not None:
            for _, entry in listing.entries():
                yield entry

    # --- wishes ---------------------------------------------------------------------------------

    def _fulfil(self, wish: Wish) -> object:
        match wish:
            case StorePages(_, first, pages):
                self._store_pages(first, pages)
                return None
            case Survey():
                return self._survey(wish)
            case OpenStore():
                return self._open_store(wish)
            case SummariseRanges(_, items):
                return [self._summary(entry, ranges) for entry, ranges in items]
            case WritePieces(_, records):
                self._write(records)
                return None
            case FinishFiles(_, entries):
                for entry, size in entries:
                    self._finish_file(entry, size)
                return None
            case DropFiles(_, dropped):
                self._drop(dropped)
                return None
            case Complete(_, failed):
                return self._complete(failed)
            case RemoveState():
                self._remove()
                return None
            case _:
                raise AssertionError(f"not a wish of a receiver: {wish!r}")

    def _store_pages(self, first: int, pages: tuple[bytes, ...]) -> None:
        if first == 0:
            if self._incoming is not None:
                self._incoming.close()
            with tempfile.TemporaryFile(dir=self.out) as file:
                self._incoming = _Listing(os.dup(file.fileno()))
        assert self._incoming is not None
        for page in pages:
            self._incoming.append(page)

    def _survey(self, wish: Survey) -> SurveyResult:
        place = os.fsdecode(self.out)
        if _is_text(wish.offer):
            return SurveyResult(place=place)
        state = self._state_path(wish.peer, wish.tops)
        header = _read_header(state)
        same = header is not None and header.listing_digest == wish.offer.listing_digest
        reused = 0
        if header is not None and same and self._incoming is not None:
            sizes = self._incoming.index.sizes
            inventory, _, completed = _load_journal(state + b"/journal", sizes, None)
            reused = inventory.verified_bytes
            same = not completed or self._is_still_there(wish.tops)
        conflicts = [] if same else [t.path for t in wish.tops if self._conflicts(t)]
        space = os.statvfs(self.out)
        return SurveyResult(
            conflicts=tuple(conflicts[:CONFLICTS_SHOWN]),
            n_conflicts=len(conflicts),
            reused_bytes=reused,
            free_bytes=space.f_bavail * space.f_frsize,
            same_listing=same,
            place=place,
        )

    def _conflicts(self, top: Entry) -> bool:
        there = self._tree.lstat(top.path)
        if there is None or self.policy is Policy.SKIP or self.policy is Policy.RENAME:
            return False
        if self.policy is Policy.REFUSE:
            return True
        return stat.S_ISDIR(there.st_mode) != (top.kind is Kind.FOLDER)

    def _is_still_there(self, tops: tuple[Entry, ...]) -> bool:
        """Whether what an earlier run put in its place was neither moved nor changed since."""
        for top in tops:
            there = self._tree.lstat(top.path)
            if there is None or (top.kind is Kind.FILE and there.st_size != top.size):
                return False
        return True

    # --- opening what an earlier run left -------------------------------------------------------

    def _state_path(self, peer: PeerKey | None, tops: tuple[Entry, ...]) -> bytes:
        """Keyed by the sender and by what would be written, never by the code. [TR-54]"""
        hasher = blake3(peer.raw if peer is not None else bytes(32))
        for part in (self.out, *(top.path for top in tops)):
            hasher.update(len(part).to_bytes(4, "big") + part)
        return self.out + b"/" + STATE_PREFIX + hasher.hexdigest()[:12].encode()

    def _open_store(self, wish: OpenStore) -> StoreOpened:
        if _is_text(wish.offer):
            self.text_target = MemoryTarget()
            assert self._incoming is not None
            pages = [self._incoming.page(i) for i in range(self._incoming.index.n_pages)]
            self.text_target.entries = [entry for page in pages for entry in page]
            return _opened(self.text_target.fulfil(wish))
        self._lock(self._state_path(wish.peer, wish.tops))
        assert self._state is not None
        journal = self._state + b"/journal"
        header = _read_header(self._state)
        if header is not None and header.listing_digest != wish.offer.listing_digest:
            self._carry_over(header, wish)
            header = _read_header(self._state)
        elif header is None:
            self._start_journal(wish)
            header = _read_header(self._state)
        assert header is not None
        self._use_listing(wish.offer)
        assert self._listing is not None
        self._digests = DigestFile(wish.sizes, self._state + b"/digests")
        inventory, self._placing, completed = _load_journal(journal, wish.sizes, self._digests)
        if completed and not self._is_still_there(wish.tops):
            self._start_journal(wish)
            inventory, self._placing, completed = Inventory(wish.sizes), {}, False
        self._inventory = inventory
        self._finished = bytearray(len(wish.sizes))
        self._journal_fd = _open_journal(journal)
        if completed:
            self._completed = Completed(placed=self._places())
            return StoreOpened(inventory, (), self._completed)
        self._drop_what_is_gone(inventory)
        if self.verify or header.boot_id != boot_id():
            self._verify_held(inventory)
            self._append(
                encode_record(
                    JournalHeader(header.peer, boot_id(), header.listing_digest, header.target)
                )
            )
        return StoreOpened(inventory, tuple(self._skipped(wish.tops)))

    def _lock(self, state: bytes) -> None:
        if self._state == state and self._lock_fd >= 0:
            self._release(keep_lock=True)
        else:
            self._release()
            os.makedirs(state + b"/data", mode=0o700, exist_ok=True)
            fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                raise Busy(
                    "another wraith is receiving this into the same folder",
                    hint="wait for it, or choose another --out",
                ) from None
            self._lock_fd = fd
            self._state = state
        os.makedirs(state + b"/data", mode=0o700, exist_ok=True)
        self._data = SafeTree(state + b"/data")

    def _release(self, *, keep_lock: bool = False) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
        if self._data is not None:
            self._data.close()
            self._data = None
        if self._digests is not None:
            self._digests.close()
            self._digests = None
        if self._journal_fd >= 0:
            os.close(self._journal_fd)
            self._journal_fd = -1
        if self._lock_fd >= 0 and not keep_lock:
            os.close(self._lock_fd)
            self._lock_fd = -1
            self._state = None

    def _start_journal(self, wish: OpenStore, records: bytes = b"") -> None:
        """A new journal for this listing, put in place of an older one in one step."""
        assert self._state is not None
        header = JournalHeader(
            peer=wish.peer.raw if wish.peer is not None else bytes(32),
            boot_id=boot_id(),
            listing_digest=wish.offer.listing_digest,
            target=self.out,
        )
        path = self._listing_path(wish.offer.listing_digest)
        if self._incoming is not None and not os.path.exists(path):
            with open(self._state + b"/listing.new", "wb") as out:
                os.lseek(self._incoming.fd, 0, os.SEEK_SET)
                with open(os.dup(self._incoming.fd), "rb") as source:
                    shutil.copyfileobj(source, out)
            os.rename(self._state + b"/listing.new", path)
        with open(self._state + b"/journal.new", "wb") as file:
            file.write(encode_record(header) + records)
        os.rename(self._state + b"/journal.new", self._state + b"/journal")

    def _listing_path(self, digest: bytes) -> bytes:
        assert self._state is not None
        return self._state + b"/listing-" + digest[:6].hex().encode()

    def _use_listing(self, offer: Offer) -> None:
        if self._listing is not None:
            self._listing.close()
        self._listing = _Listing.load(self._listing_path(offer.listing_digest))
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None

    def _carry_over(self, old_header: JournalHeader, wish: OpenStore) -> None:
        """Another listing under the same names: files whose path, size and time are the same keep
        what is verified, everything else of the old data goes. [TR-55]"""
        assert self._state is not None and self._data is not None
        old_path = self._listing_path(old_header.listing_digest)
        records = bytearray()
        try:
            old = _Listing.load(old_path)
        except (OSError, WraithError):
            old = None
        if old is not None and self._incoming is not None:
            held, placing, completed = _load_journal(
                self._state + b"/journal", old.index.sizes, digests := DigestFile(old.index.sizes)
            )
            if not completed and not placing:
                for number, match in _matches(old, held, self._incoming):
                    if match is None:
                        self._data.unlink(old.entry(number).path)
                        continue
                    for first, n in held.ranges(number):
                        records += encode_verified(match, first, digests.get(number, first, n))
            digests.close()
            old.close()
        self._start_journal(wish, bytes(records))
        if old_path != self._listing_path(wish.offer.listing_digest):
            _unlink(old_path)

    def _drop_what_is_gone(self, inventory: Inventory) -> None:
        """A file that somebody removed or cut off is not there, whatever the journal says."""
        assert self._listing is not None and self._data is not None
        for number in list(inventory.held_entries()):
            info = self._data.lstat(self._listing.entry(number).path)
            if info is None and self._placed_path(number) is not None:
                continue
            first, n = inventory.ranges(number)[-1]
            size = inventory.size_of(number)
            needed = (first + n - 1) * CHUNK_BYTES + 1
            if size != UNKNOWN_SIZE:
                needed = min((first + n) * CHUNK_BYTES, size)
            if info is None or not stat.S_ISREG(info.st_mode) or info.st_size < needed:
                inventory.drop(number)
                self._append(encode_record(Dropped(number)))

    def _verify_held(self, inventory: Inventory) -> None:
        """Reads what is held and keeps only the chunks that still have their digests. [TR-53]"""
        assert self._listing is not None and self._data is not None and self._digests is not None
        for number in list(inventory.held_entries()):
            entry = self._listing.entry(number)
            if self._data.lstat(entry.path) is None:
                continue  # in its place already
            size = inventory.size_of(number)
            ranges = inventory.ranges(number)
            fd = self._data.open(entry.path, os.O_RDONLY)
            try:
                good = [
                    c
                    for first, n in ranges
                    for c in range(first, first + n)
                    if chunk_digest(os.pread(fd, chunk_length(size, c), c * CHUNK_BYTES))
                    == self._digests.get(number, c, 1)
                ]
            finally:
                os.close(fd)
            if len(good) == sum(n for _, n in ranges):
                continue
            inventory.drop(number)
            self._append(encode_record(Dropped(number)))
            for c in good:
                inventory.add(number, c, 1, None if size != UNKNOWN_SIZE else CHUNK_BYTES)
                self._append(encode_verified(number, c, self._digests.get(number, c, 1)))

    def _skipped(self, tops: tuple[Entry, ...]) -> Iterator[tuple[int, int]]:
        """``(first, n)`` of files that exist and that ``--skip`` leaves alone."""
        if self.policy is not Policy.SKIP or self._placing:
            return
        if not any(self._tree.lstat(top.path) is not None for top in tops):
            return
        assert self._listing is not None
        first = n = 0
        for number, entry in self._listing.entries():
            if entry.kind is not Kind.FILE or self._tree.lstat(entry.path) is None:
                continue
            if n and first + n == number:
                n += 1
                continue
            if n:
                yield first, n
            first, n = number, 1
        if n:
            yield first, n

    def _placed_path(self, number: int) -> bytes | None:
        """Where an entry is if its top name has been put in its place already."""
        assert self._listing is not None
        if not self._placing:
            return None
        path = self._listing.entry(number).path
        top, slash, rest = path.partition(b"/")
        for top_number, name in self._placing.items():
            if self._listing.entry(top_number).path == top:
                placed = name + slash + rest
                return placed if self._tree.lstat(placed) is not None else None
        return None

    def _places(self) -> tuple[str, ...]:
        names = self._placing.values()
        return tuple(os.path.join(os.fsdecode(self.out), display_path(name)) for name in names)

    # --- chunks ---------------------------------------------------------------------------------

    def _summary(self, entry: int, ranges: tuple[tuple[int, int], ...]) -> bytes:
        assert self._digests is not None
        step = CHUNK_BYTES // DIGEST_BYTES
        return parts_digest(
            self._digests.get(entry, at, min(step, first + n - at))
            for first, n in ranges
            for at in range(first, first + n, step)
        )

    def _write(self, records: tuple[ChunkRecord, ...]) -> None:
        """Verifies, then writes: neighbours of one file in one call, one journal append for all.
        A bad chunk keeps what stands before it. [TR-56]"""
        journal = bytearray()
        run: list[ChunkRecord] = []
        bad: HashMismatch | None = None
        try:
            for record in records:
                if parts_digest(record.parts) != record.digest:
                    name = display_path(self._entry(record.entry).path)
                    bad = HashMismatch(name, record.chunk)
                    break
                if run and not _follows(run, record):
                    self._write_run(run, journal)
                    run = []
                run.append(record)
            if run:
                self._write_run(run, journal)
        finally:
            self._append(bytes(journal))
        if bad is not None:
            raise bad

    def _write_run(self, run: list[ChunkRecord], journal: bytearray) -> None:
        assert self._digests is not None
        first = run[0]
        entry = self._entry(first.entry)
        fd = self._file(first.entry, entry)
        _write_parts(fd, [part for record in run for part in record.parts], first.chunk)
        digests = b"".join(record.digest for record in run)
        self._digests.put(first.entry, first.chunk, digests)
        journal += encode_verified(first.entry, first.chunk, digests)
        if entry.size <= CHUNK_BYTES:
            self._close_file(first.entry, entry, entry.size, journal)

    def _entry(self, number: int) -> Entry:
        assert self._listing is not None
        return self._listing.entry(number)

    def _file(self, number: int, entry: Entry) -> int:
        fd = self._open.get(number)
        if fd is None:
            assert self._data is not None
            fd = self._data.open(entry.path, os.O_RDWR | os.O_CREAT, create=True)
            self._open[number] = fd
            if len(self._open) > FILES_KEPT:
                os.close(self._open.popitem(last=False)[1])
        return fd

    def _finish_file(self, number: int, size: int) -> None:
        if self._finished[number]:
            return
        journal = bytearray()
        self._close_file(number, self._entry(number), size, journal)
        self._append(bytes(journal))

    def _close_file(self, number: int, entry: Entry, size: int, journal: bytearray) -> None:
        """All chunks are there: mode, time, one fsync for a large one. [TR-57]"""
        assert self._digests is not None
        fd = self._file(number, entry)
        if size > CHUNK_BYTES:
            os.ftruncate(fd, size)
        os.fchmod(fd, entry.mode & ~self.umask)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        if size > FSYNC_BYTES_MIN:
            os.fsync(fd)
        del self._open[number]
        os.close(fd)
        self._finished[number] = 1
        file_id = self._digests.file_id(number, size)
        journal += encode_record(FileDone(number, size, file_id))

    def _drop(self, entries: tuple[int, ...]) -> None:
        assert self._data is not None
        for number in entries:
            fd = self._open.pop(number, None)
            if fd is not None:
                os.close(fd)
            self._append(encode_record(Dropped(number)))
            self._finished[number] = 0
            self._data.unlink(self._entry(number).path)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._journal_fd, view) :]

    # --- the end --------------------------------------------------------------------------------

    def _complete(self, failed: tuple[int, ...]) -> Completed:
        """Makes what has no chunks, puts everything in its place, then marks it. [TR-58]"""
        assert self._listing is not None and self._data is not None and self._digests is not None
        failed_paths = tuple(self._entry(number).path for number in failed)
        placer = Placer(
            data=self._data,
            out=self._tree,
            overwrite=self.policy is Policy.OVERWRITE,
            skip=self.policy is Policy.SKIP,
            rename=self.policy is Policy.RENAME,
            umask=self.umask,
        )
        self._make_the_rest(placer, frozenset(failed))
        tops = [(n, e) for n, e in self._listing.entries() if b"/" not in e.path]
        missing = [(n, e) for n, e in tops if n not in self._placing and n not in failed]
        for number, entry in missing:
            self._placing[number] = placer.choose_name(entry)
            self._append(encode_record(Placing(number, self._placing[number])))
        while self._open:
            os.close(self._open.popitem()[1])
        for number, entry in tops:
            if number in self._placing:
                placer.place(entry, self._placing[number], self._listing.entries)
        self._tree.forget()
        sync_file_system(self._tree.fd)
        self._append(encode_record(CompleteMark()))
        os.fsync(self._journal_fd)
        shown = [
            (e.path, self._digests.file_id(n, e.size))
            for n, e in tops[:FILE_IDS_SHOWN]
            if e.kind is Kind.FILE and n not in failed and e.size != UNKNOWN_SIZE
        ]
        return Completed(self._places(), failed_paths, None, tuple(shown))

    def _make_the_rest(self, placer: Placer, failed: frozenset[int]) -> None:
        assert self._listing is not None and self._data is not None and self._inventory is not None
        placed = {self._entry(n).path for n in self._placing}
        for number, entry in self._listing.entries():
            top = entry.path.partition(b"/")[0]
            if top in placed and self._data.lstat(top) is None:
                continue  # moved by an earlier run
            if number in failed:
                self._data.unlink(entry.path)
            elif entry.kind is Kind.FOLDER:
                if b"/" not in entry.path or self._data.lstat(entry.path) is None:
                    self._data.folder(entry.path, create=True)
            elif entry.kind is Kind.LINK:
                self._data.symlink(entry.path, entry.target, entry.mtime_ns)
            elif not entry.size:
                fd = self._data.open(entry.path, os.O_WRONLY | os.O_CREAT, create=True)
                os.fchmod(fd, entry.mode & ~self.umask)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
                os.close(fd)
            elif not self._finished[number]:
                info = self._data.lstat(entry.path)
                if info is not None:
                    size = info.st_size if entry.size == UNKNOWN_SIZE else entry.size
                    self._finish_file(number, size)

    def _remove(self) -> None:
        state = self._state
        if state is not None:
            shutil.rmtree(state, ignore_errors=True)
        self._release()

    def _error(self, exc: OSError) -> WraithError:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(hint="free some space and run the same command again; it goes on there")
        where = os.fsdecode(exc.filename) if exc.filename is not None else os.fsdecode(self.out)
        return DiskFailed(f"{display_path(os.fsencode(where))}: {_words(exc)}")


def _opened(result: object) -> StoreOpened:
    assert isinstance(result, StoreOpened)
    return result


def _is_text(offer: Offer) -> bool:
    return (
        offer.kind is OfferKind.TEXT
        and offer.n_entries == 1
        and offer.total_bytes is not None
        and offer.total_bytes <= TEXT_BYTES_MAX
    )


def _follows(run: list[ChunkRecord], record: ChunkRecord) -> bool:
    last = run[-1]
    return (
        record.entry == last.entry
        and record.chunk == last.chunk + 1
        and sum(len(r.parts) for r in run) + len(record.parts) <= _IOV_MAX
    )


def _write_parts(fd: int, parts: list[memoryview], chunk: int) -> None:
    at = chunk * CHUNK_BYTES
    for start in range(0, len(parts), _IOV_MAX):
        group = parts[start : start + _IOV_MAX]
        total = sum(len(part) for part in group)
        n = os.pwritev(fd, group, at)
        if n < total:  # a full disk or a signal: the rest piece by piece, which says what it is
            rest = memoryview(b"".join(group))[n:]
            while rest:
                n = os.pwrite(fd, rest, at + total - len(rest))
                rest = rest[n:]
        at += total


def _open_journal(path: bytes) -> int:
    """Cuts a torn tail off, then appends. [TR-51]"""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    end = 0
    if os.fstat(fd).st_size:
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            for _, end in replay(view):
                pass
    os.ftruncate(fd, end)
    return fd


def _read_header(state: bytes) -> JournalHeader | None:
    try:
        with open(state + b"/journal", "rb") as file:
            first = next(replay(file.read(8_192)), None)
    except OSError:
        return None
    return first[0] if first is not None and isinstance(first[0], JournalHeader) else None


def _load_journal(
    path: bytes, sizes: array[int], digests: DigestFile | None
) -> tuple[Inventory, dict[int, bytes], bool]:
    """Replays a journal: what is there, where top names go, whether it is complete."""
    inventory = Inventory(sizes)
    placing: dict[int, bytes] = {}
    completed = False
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return inventory, placing, completed
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            for record, _ in replay(view):
                match record:
                    case Verified(entry, first, held) if entry < len(sizes):
                        if first + record.n > n_chunks(sizes[entry]):
                            continue
                        loose = record.n * CHUNK_BYTES if sizes[entry] == UNKNOWN_SIZE else None
                        inventory.add(entry, first, record.n, loose)
                        if digests is not None:
                            digests.put(entry, first, held)
                    case Dropped(entry) if entry < len(sizes):
                        inventory.drop(entry)
                    case Placing(entry, name):
                        placing[entry] = name
                    case CompleteMark():
                        completed = True
                    case _:
                        pass
    return inventory, placing, completed


def _matches(old: _Listing, held: Inventory, new: _Listing) -> Iterator[tuple[int, int | None]]:
    """For each held entry of the old listing its number in the new one, or ``None``. Both are in
    walking order, so one pass over the new one is enough."""
    walk = new.entries()
    candidate = next(walk, None)
    for number in list(held.held_entries()):
        entry = old.entry(number)
        key = entry.path.split(b"/")
        while candidate is not None and candidate[1].path.split(b"/") < key:
            candidate = next(walk, None)
        match = None
        if candidate is not None:
            found = candidate[1]
            if (found.path, found.size, found.mtime_ns, found.kind) == (
                entry.path,
                entry.size,
                entry.mtime_ns,
                entry.kind,
            ):
                match = candidate[0]
        yield number, match


def probe_rules(folder: bytes) -> PathRules:
    """What names this folder's file system tells apart, tried once with a file of ours. [TR-22]"""
    fd, path = tempfile.mkstemp(prefix=b"." + STATE_PREFIX[1:] + b"probe-e\xcc\x81", dir=folder)
    os.close(fd)
    try:
        head, name = os.path.split(path)
        composed = unicodedata.normalize("NFC", os.fsdecode(name))
        return PathRules(
            any_bytes=os.name == "posix" and os.uname().sysname != "Darwin",
            case_insensitive=os.path.lexists(os.path.join(head, name.swapcase())),
            normalises=os.path.lexists(os.path.join(head, os.fsencode(composed))),
        )
    finally:
        os.unlink(path)


def boot_id() -> bytes:
    """Names this boot of the host; zeros where the system has no such name."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return bytes.fromhex(text.replace("-", ""))[:16].ljust(16, b"\0")
    except (OSError, ValueError):
        return bytes(16)


def _unlink(path: bytes) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _words(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
