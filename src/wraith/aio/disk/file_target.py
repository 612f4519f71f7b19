"""Writes what is received to a disk so that a kill at any moment loses almost nothing.

``fulfil`` answers the receiver's wishes; it blocks and belongs into one worker thread. What is here
already and what speaks against an offer is judged in this module; chunks are written by
``disk/chunk_writer.py``, the end is ``disk/completion.py``, and where things lie until then says
``state_folder.py``.

Spec: transfer §8-§10.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

from wraith.aio.disk.chunk_writer import ChunkWriter
from wraith.aio.disk.complete_notes import CompleteNote
from wraith.aio.disk.completion import Completion, shown_places
from wraith.aio.disk.existing import Choices, ExistsPolicy, existing
from wraith.aio.disk.journal_file import Loaded, load_journal, read_header
from wraith.aio.disk.listing_file import ListingFile
from wraith.aio.disk.name_probe import probe_rules
from wraith.aio.disk.partial_files import ReadingStopped
from wraith.aio.disk.placing import Placer
from wraith.aio.disk.private_folder import no_modes
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.aio.disk.state_folder import StateFolder, open_state, state_path
from wraith.aio.disk.suspect import Suspicion, SuspicionMarks, is_void_after
from wraith.content.inventory import Inventory
from wraith.errors import NoSpace, WraithError
from wraith.transfer.answers import AllPlaced, Existing, KeptRead, StoreOpened, SurveyResult
from wraith.transfer.journal_records import encode_record
from wraith.transfer.listing import Entry, Kind
from wraith.transfer.memory_store import MemoryTarget
from wraith.transfer.path_rules import PathRules, display_path
from wraith.transfer.reasons import DiskFailed
from wraith.transfer.wishes import (
    AnswerT,
    Complete,
    DropFiles,
    FinishFiles,
    ForgetChunks,
    OpenStore,
    ReadAgain,
    RemoveState,
    Store,
    StorePages,
    SummariseRanges,
    Survey,
    Wish,
    WritePieces,
)

CONFLICTS_SHOWN = 100


_WRITING = (WritePieces, FinishFiles, DropFiles, ForgetChunks, Complete)
_BESIDE_OTHERS = (ReadAgain,)
_OF_ANY_OFFER = (StorePages, Survey, OpenStore)
"""After a text was accepted another offer may still come and take its place."""


class _Shown:
    """Counts names, and keeps the first of them."""

    def __init__(self) -> None:
        self.n = 0
        self.first: list[Existing] = []

    def add(self, met: Existing) -> None:
        self.n += 1
        if len(self.first) < CONFLICTS_SHOWN:
            self.first.append(met)


class FileTarget(Store):
    """Receives into the folder ``out``, which is made if it is missing.

    Args:
        policy: what to do with names that exist.
        asks: a person is asked about names that exist, and ``choices`` is set before the offer is
            accepted: until then they are no reason to refuse it.
        list_only: the listing is looked at, so nothing here speaks against it.
        verify: what becomes of what an earlier run left: it is read against its digests first
            (true), in the background (``None``), or not at all (false).

        home: ``WRAITH_HOME``, where a failed disk is noted as well.
        disk: on which ``out`` and ``home`` lie.
        on_complete: told once everything is in its place and flushed, before the sender is.

    ``read_again`` may be called in another thread while ``fulfil`` runs; all else is one thread's.

    Attributes:
        choices: what to do with names that exist.
        note: what a person should know about the state folder; empty most of the time.
    Raises:
        DiskFailed: the folder cannot be made or written.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        *,
        policy: ExistsPolicy = ExistsPolicy.REFUSE,
        asks: bool = False,
        list_only: bool = False,
        verify: bool | None = None,
        home: Path | None = None,
        on_complete: Callable[[CompleteNote], None] | None = None,
        disk: Disk = OS_DISK,
    ) -> None:
        self.disk = disk
        self.out = disk.realpath(out)
        self.choices = Choices(policy)
        self._asks = asks
        self._list_only = list_only
        self.verify = verify
        self.umask = os.umask(0o077)
        os.umask(self.umask)
        try:
            disk.makedirs(self.out)
            self._tree = SafeTree(self.out, disk=disk)
            self.rules = self._probed()
        except OSError as exc:
            raise DiskFailed(f"{os.fsdecode(self.out)}: {_words(exc)}") from None
        self.text_target: MemoryTarget | None = None
        self._incoming: ListingFile | None = None
        self._state: StateFolder | None = None
        self.note = ""
        self._writer: ChunkWriter | None = None
        self._placing: dict[int, bytes] = {}
        self._sizes: array[int] = array("Q")
        self._lock = threading.RLock()
        self._home = home
        self._on_complete = on_complete
        self._replaces: Suspicion | None = None
        self._failure: WraithError | None = None

    def _probed(self) -> PathRules:
        try:
            return probe_rules(self._tree.fd, self.disk)
        except BaseException:
            self._tree.close()
            raise

    def close(self) -> None:
        """Releases the lock and every descriptor; what is on disk stays for the next run."""
        self._close_files()
        if self._state is not None:
            self._state.close()
            self._state = None
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None
        self._tree.close()

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        """Blocks until the wish is fulfilled; errors come back as values."""
        kind = type(wish)
        if self.text_target is not None and kind not in _OF_ANY_OFFER:
            return self.text_target.fulfil(wish)
        if kind in _BESIDE_OTHERS:
            return super().fulfil(wish)
        with self._lock:
            if kind not in _WRITING:
                return super().fulfil(wish)
            if self._failure is not None:
                return self._failure
            return self._fulfil_writing(wish)

    def _fulfil_writing(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        try:
            return wish.fulfilled_by(self)
        except WraithError as exc:  # first: some of ours are an OSError as well
            return exc
        except OSError as exc:
            return self._fail(exc) if is_void_after(exc) else self.disk_error(exc)

    def _fail(self, exc: OSError) -> WraithError:
        """Nothing that was written is believed any more, in this run or the next. [TR-138]"""
        where = display_path(os.fsencode(exc.filename) if exc.filename is not None else self.out)
        self._failure = DiskFailed(
            f"{where}: {_words(exc)}",
            hint="what was written may be lost, so the same command fetches all of it again",
        )
        if self._state is not None:
            self._state.marks.write(str(self._failure), self._placed())
        return self._failure

    def _placed(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """The new names that this transfer has put into the target."""
        if self.choices:
            return  # others may have had these names before
        for number, name in self._placing.items():
            there = self._tree.lstat(name)
            if there is not None and self._folder.data.lstat(self._entry(number).path) is None:
                yield name, there

    def entries(self, digest: bytes | None = None) -> Iterator[Entry]:
        """The listing last received, for showing it before the answer; with ``digest`` only if it
        is that one. It ends early when another listing takes its place, which may happen at any
        moment: wishes are fulfilled in another thread."""
        listing = self._incoming
        if listing is None and self._state is not None:
            listing = self._state.listing
        if listing is None or digest not in (None, listing.index.digest()):
            return
        with contextlib.suppress(OSError, WraithError), listing.copy() as own:
            for _, entry in own.entries():
                yield entry

    # --- wishes ---------------------------------------------------------------------------------

    def store_pages(self, wish: StorePages) -> None:
        if wish.first == 0:
            if self._incoming is not None:
                self._incoming.close()
            self._incoming = ListingFile.temporary(self.out, self.disk)
        assert self._incoming is not None
        for page in wish.pages:
            self._incoming.append(page)

    def survey(self, wish: Survey) -> SurveyResult:
        place = os.fsdecode(self.out)
        if wish.offer.is_text or self._list_only:
            return SurveyResult(place=place)
        same, reused = self._kept(wish)
        conflicts = [] if same else [t.path for t in wish.tops if self._conflicts(t)]
        names, merges = _Shown(), _Shown()
        if self._incoming is not None and self._asks and not same:
            for met in existing(self._tree, wish.tops, self._incoming.entries, self._is_replaced):
                (merges if met.is_merge else names).add(met)
        space = self.disk.statvfs(self.out)
        return SurveyResult(
            conflicts=tuple(conflicts[:CONFLICTS_SHOWN]),
            n_conflicts=len(conflicts),
            existing=tuple(names.first),
            n_existing=names.n,
            merges=tuple(merges.first),
            n_merges=merges.n,
            reused_bytes=reused,
            free_bytes=space.f_bavail * space.f_frsize,
            same_listing=same,
            place=place,
        )

    def _kept(self, wish: Survey) -> tuple[bool, int]:
        """Whether unfinished data of exactly this offer is here, and how many bytes of it."""
        path = state_path(self.out, wish.peer, [top.path for top in wish.tops])
        folder = open_state(self._tree.fd, path, disk=self.disk)
        if folder is None:
            return False, 0
        with folder:
            marks = SuspicionMarks(folder, self._home)
            suspicion = marks.read()
            self._replaces = suspicion or marks.replaced()
            if suspicion is not None:
                return False, 0
            header = read_header(folder)
            if header is None or header.listing_digest != wish.offer.listing_digest:
                return False, 0
            if self._incoming is None:
                return True, 0
            loaded = load_journal(folder, self._incoming.index.sizes, None)
            reused = loaded.inventory.verified_bytes
            return not loaded.is_complete or self._is_still_there(loaded.placing, wish.tops), reused

    def _conflicts(self, top: Entry) -> bool:
        there = self._tree.lstat(top.path)
        if there is None or self.choices.every in (ExistsPolicy.SKIP, ExistsPolicy.RENAME):
            return False
        if self._is_replaced(top.path, there):
            return stat.S_ISDIR(there.st_mode) != (top.kind is Kind.FOLDER)
        if self.choices.every is ExistsPolicy.REFUSE and not self._asks:
            return True
        return stat.S_ISDIR(there.st_mode) != (top.kind is Kind.FOLDER)

    def _is_replaced(self, path: bytes, there: os.stat_result) -> bool:
        """A run whose disk failed has put it there."""
        return self._replaces is not None and self._replaces.placed_it(self._tree, path, there)

    def _is_still_there(self, placing: dict[int, bytes], tops: tuple[Entry, ...]) -> bool:
        """Whether what an earlier run put in its place was neither moved nor changed since."""
        sizes = {top.path: top.size for top in tops if top.kind is Kind.FILE}
        for name in placing.values():
            there = self._tree.lstat(name)
            if there is None or there.st_size != sizes.get(name, there.st_size):
                return False
        return bool(placing)

    def open_store(self, wish: OpenStore) -> StoreOpened:
        self.text_target = None
        if wish.offer.is_text:
            self.text_target = MemoryTarget()
            self.text_target.entries = list(wish.tops)  # its one file
            return self.text_target.open_store(wish)
        self._close_files()
        path = state_path(self.out, wish.peer, [top.path for top in wish.tops])
        if self._state is not None and self._state.path != path:
            self._state.close()
            self._state = None
        if self._state is None:
            self._state = StateFolder(self._tree.fd, path, self._home, disk=self.disk)
            if not self._state.folder.has_modes:
                self.note = no_modes(self._state.folder)
        state = self._state
        self._failure = None
        digest = wish.offer.listing_digest
        loaded = state.open(
            peer=wish.peer,
            digest=digest,
            sizes=wish.sizes,
            incoming=self._incoming,
            out=self.out,
            verify=self.verify is True,
        )
        if loaded.is_complete and not self._is_still_there(loaded.placing, wish.tops):
            state.start_over(wish.peer, digest, self.out)
            loaded.inventory = Inventory(wish.sizes)
            loaded.placing, loaded.is_complete = {}, False
            loaded.finished = bytearray(len(wish.sizes))
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None
        self._placing = loaded.placing
        self._writer = ChunkWriter(state, wish.sizes, loaded.finished, self.umask)
        self._choose(loaded)
        self._sizes = wish.sizes
        if loaded.is_complete:
            places = shown_places(self.out, self._placing)
            return StoreOpened(loaded.inventory, (), AllPlaced(placed=places))
        skipped = tuple(self._skipped(wish.tops))
        return StoreOpened(
            loaded.inventory,
            skipped,
            read=loaded.read,
            reads_again=self.verify is not False,
            void=loaded.void,
        )

    def _choose(self, loaded: Loaded) -> None:
        """What this run was told to do with names that exist, else what the run was told that
        began this transfer. A choice is noted before the offer is answered. [TR-107]"""
        noted = Choices.of_journal(loaded.on_exists)
        if not self.choices:
            self.choices = noted
        elif self.choices != noted:
            for record in self.choices.records():
                self._folder.journal.append(encode_record(record))

    def _skipped(self, tops: tuple[Entry, ...]) -> Iterator[tuple[int, int]]:
        """``(first, n)`` of files that exist and that are to be skipped."""
        if ExistsPolicy.SKIP not in self.choices or self._placing:
            return
        if not any(self._tree.lstat(top.path) is not None for top in tops):
            return
        first = n = 0
        for number, entry in self._folder.listing.entries():
            there = self._tree.lstat(entry.path) if entry.kind is Kind.FILE else None
            if (
                there is None
                or self.choices[number] is not ExistsPolicy.SKIP
                or self._is_replaced(entry.path, there)
            ):
                continue
            if n and first + n == number:
                n += 1
                continue
            if n:
                yield first, n
            first, n = number, 1
        if n:
            yield first, n

    @property
    def _folder(self) -> StateFolder:
        assert self._state is not None
        return self._state

    # --- chunks ---------------------------------------------------------------------------------

    def summarise_ranges(self, wish: SummariseRanges) -> list[bytes]:
        digests = self._folder.digests
        return [digests.summary(entry, ranges) for entry, ranges in wish.items]

    def write_pieces(self, wish: WritePieces) -> None:
        self._chunks.write(wish.records)

    def finish_files(self, wish: FinishFiles) -> None:
        for number, size in wish.entries:
            self._chunks.finish(number, size)

    def drop_files(self, wish: DropFiles) -> None:
        self._chunks.drop(wish.entries)

    @property
    def _chunks(self) -> ChunkWriter:
        assert self._writer is not None
        return self._writer

    def _close_files(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _entry(self, number: int) -> Entry:
        return self._folder.listing.entry(number)

    # --- what an earlier run left ---------------------------------------------------------------

    def read_again(self, wish: ReadAgain, pause: Callable[[], bool] = lambda: True) -> KeptRead:
        """Reads kept chunks against their digests. Any thread; ``pause`` as in
        ``kept_files.bad_chunks``."""
        bad: list[tuple[int, int]] = []
        missed: set[int] = set()
        for number, first, n in wish.pieces:
            try:
                chunks = self._folder.bad_chunks(
                    number, [(first, n)], guard=self._lock, pause=pause
                )
                bad += ((number, chunk) for chunk in chunks)
            except (PermissionError, ReadingStopped):
                missed.add(number)
        return KeptRead(tuple(bad), frozenset(missed))

    def forget_chunks(self, wish: ForgetChunks) -> None:
        self._chunks.forget(wish.chunks)

    # --- the end --------------------------------------------------------------------------------

    def complete(self, wish: Complete) -> AllPlaced:
        placer = Placer(
            data=self._folder.data,
            out=self._tree,
            choices=self.choices,
            umask=self.umask,
            replaces=self._replaces,
        )
        completion = Completion(
            self._folder,
            self._chunks,
            self.out,
            self._tree,
            self._placing,
            placer,
            self.umask,
            self._on_complete,
        )
        return completion.run(wish.failed)

    def remove_state(self, wish: RemoveState) -> None:
        self._close_files()
        if self._state is not None:
            if self._state.keep_set_aside(self._sizes):
                self._state.close()
            else:
                self._state.remove()
            self._state = self._writer = None

    def disk_error(self, exc: OSError) -> WraithError:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(hint="free some space and run the same command again; it goes on there")
        where = os.fsdecode(exc.filename) if exc.filename is not None else os.fsdecode(self.out)
        return DiskFailed(f"{display_path(os.fsencode(where))}: {_words(exc)}")


def _words(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
