"""The folder beside the target where an unfinished transfer lives, and its lock.

::

    OUT/.wraith-<12 hex>/   locked (flock) while a process works in it
        journal             what was verified, append only (transfer/journal_records.py)
        listing-<12 hex>    the listing that the journal speaks of
        digests             chunk digests by position, made again from the journal
        aside/<path>        what is there of files that failed, while the rest is placed
        existed             which folders were at the target before a merge
        suspect             the disk failed: nothing in here is believed (disk/suspect.py)
        data/<path>         the files, under their own paths

The name of the folder can be reckoned by others, who may have been in the target first: it is
opened as ``aio/disk/private_folder.py`` does, and everything in it relative to that.

Spec: transfer §8.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from blake3 import blake3

from wraith.aio.disk.digest_file import DigestFile
from wraith.aio.disk.journal_file import JOURNAL, Journal, Loaded, load_journal, read_header
from wraith.aio.disk.listing_file import ListingFile
from wraith.aio.disk.partial_files import bad_chunks
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import LOCK_EX, LOCK_NB, OS_DISK, Disk
from wraith.aio.disk.suspect import Suspicion, SuspicionMarks
from wraith.content.inventory import Inventory
from wraith.errors import Busy, WraithError
from wraith.transfer.journal_records import Dropped, JournalHeader, encode_record, encode_verified
from wraith.transfer.path_rules import STATE_PREFIX
from wraith.types import PeerKey

NO_PEER = bytes(32)
_DATA = b"data"
_OLD_DATA = b"data.old"
_DIGESTS = b"digests"
_LISTING = b"listing-"
_EXISTED = b"existed"
_ASIDE = b"aside"
_NOT_OURS = "choose another --out; or, if it is yours as another user, run wraith as that user"


def state_path(out: bytes, peer: PeerKey | None, tops: Sequence[bytes]) -> bytes:
    """Keyed by the sender and by what would be written, never by the code. [TR-54]"""
    hasher = blake3(peer.raw if peer is not None else NO_PEER)
    for part in (out, *tops):
        hasher.update(len(part).to_bytes(4, "big") + part)
    return out + b"/" + STATE_PREFIX + hasher.hexdigest()[:12].encode()


def open_state(
    out_fd: int, path: bytes, *, create: bool = False, disk: Disk = OS_DISK
) -> PrivateFolder | None:
    """The state folder ``path``, which lies in the folder ``out_fd``; ``None`` if it is missing.

    Raises:
        UntrustedPath: somebody else made it, or may write in it; it is left as it is.
    """
    try:
        return PrivateFolder.below(out_fd, path, hint=_NOT_OURS, create=create, disk=disk)
    except FileNotFoundError:
        if create:
            raise
        return None


class StateFolder:
    """One locked state folder, opened for one listing.

    Args:
        out_fd: the target folder, in which it lies; the caller's, and open until ``close``.
        path: from ``state_path``; made if missing.
        home: ``WRAITH_HOME``, which may hold a mark of this folder too.
        disk: on which all of them lie.
    Raises:
        Busy: another process works in it.
        UntrustedPath: somebody else made it, or may write in it.
    """

    def __init__(
        self, out_fd: int, path: bytes, home: Path | None = None, *, disk: Disk = OS_DISK
    ) -> None:
        self.disk = disk
        self.path = path
        self._out_fd = out_fd
        folder = open_state(out_fd, path, create=True, disk=disk)
        assert folder is not None
        self.folder = folder
        try:
            disk.flock(folder.fd, LOCK_EX | LOCK_NB)
        except OSError:
            folder.close()
            raise Busy(
                "another wraith is receiving this into the same folder",
                hint="wait for it, or choose another --out",
            ) from None
        try:
            self.data = self._tree(_DATA)
        except BaseException:
            folder.close()
            raise
        self.marks = SuspicionMarks(folder, home)
        self._journal: Journal | None = None
        self._listing: ListingFile | None = None
        self._digests: DigestFile | None = None

    # --- parts ----------------------------------------------------------------------------------

    @property
    def journal(self) -> Journal:
        assert self._journal is not None
        return self._journal

    @property
    def listing(self) -> ListingFile:
        assert self._listing is not None
        return self._listing

    @property
    def digests(self) -> DigestFile:
        assert self._digests is not None
        return self._digests

    def close(self) -> None:
        """Closes everything and lets go of the lock; the files stay."""
        self.close_parts()
        self.data.close()
        self.folder.close()

    def close_parts(self) -> None:
        for part in (self._journal, self._listing, self._digests):
            if part is not None:
                part.close()
        self._journal = self._listing = self._digests = None

    def remove(self) -> None:
        """Removes the folder with everything in it, then lets go of the lock. The journal goes
        last, so that what a kill leaves is still known for what it is."""
        for name in self.folder.names():
            if name != JOURNAL:
                self.folder.remove_tree(name)
                with contextlib.suppress(OSError):
                    self.folder.unlink(name)
        self.folder.remove_from(self._out_fd)
        self.close()

    def _tree(self, name: bytes) -> SafeTree:
        """The tree below one of the folders in this one, which is made if missing."""
        with self.folder.folder(name) as folder:
            return SafeTree(folder.path, self.disk.dup(folder.fd), disk=self.disk)

    # --- opening --------------------------------------------------------------------------------

    def open(
        self,
        *,
        peer: PeerKey | None,
        digest: bytes,
        sizes: array[int],
        incoming: ListingFile | None,
        out: bytes,
        verify: bool,
    ) -> Loaded:
        """Loads what an earlier run left for the listing with ``digest``; carries over what it
        left for another one. Afterwards the parts may be used.

        Args:
            incoming: the listing as just received; ``None`` if it was received before.
            verify: read all that is there first, even if the host did not go down meanwhile.
        """
        self.close_parts()
        header = self._header(peer, digest, out)
        suspicion = self.marks.read()
        if suspicion is not None:
            self._throw_away(header, incoming, suspicion)
        old = read_header(self.folder)
        if old is not None and old.listing_digest == digest and incoming is not None:
            self._store_listing(digest, incoming)  # a kill of the clean-up may have taken it
        if old is None or not self._holds_listing(old.listing_digest):
            self._empty_data()
            self._start(header, incoming)
        elif old.listing_digest != digest:
            self._carry_over(old, header, incoming)
        self._listing = self._load_listing(digest)
        digests_fd = self.folder.open_file(_DIGESTS, os.O_RDWR | os.O_CREAT)
        self._digests = DigestFile(sizes, digests_fd, disk=self.disk)
        loaded = load_journal(self.folder, sizes, self._digests)
        self._journal = Journal(self.folder, loaded.end)
        if loaded.is_complete:
            return loaded
        loaded.void = suspicion.why if suspicion is not None else ""
        self._drop_what_is_gone(loaded)
        is_other_boot = loaded.header is not None and loaded.header.boot_id != self.disk.boot_id()
        if verify or is_other_boot:
            self._verify(loaded)
            self.journal.append(encode_record(header))
        return loaded

    def start_over(self, peer: PeerKey | None, digest: bytes, out: bytes) -> None:
        """Forgets what the journal says of this listing; the listing itself stays."""
        self._empty_data()
        header = self._header(peer, digest, out)
        self._start(header, None)
        assert self._journal is not None
        self._journal.close()
        self._journal = Journal(self.folder)

    def _header(self, peer: PeerKey | None, digest: bytes, out: bytes) -> JournalHeader:
        raw = peer.raw if peer is not None else NO_PEER
        return JournalHeader(raw, self.disk.boot_id(), digest, out)

    def _throw_away(
        self, header: JournalHeader, incoming: ListingFile | None, suspicion: Suspicion
    ) -> None:
        """The disk failed under an earlier run: everything goes, so that what comes lies in new
        files. Until that is on the disk the marks stay. [TR-138]"""
        if incoming is None:  # received by this process, before the disk failed
            incoming = self._load_listing(header.listing_digest)
        self._empty_data()
        self.folder.remove_tree(_OLD_DATA)
        if self.disk.listdir(self.data.fd):
            raise OSError(errno.EIO, "what an earlier run wrote cannot be removed", self.path)
        for name in self.folder.names():
            if name.startswith(_LISTING) or name in (_DIGESTS, _EXISTED, JOURNAL):
                self.folder.unlink(name)
        self._start(header, incoming)
        self.marks.clear(suspicion)

    # --- files that failed [TR-142] -------------------------------------------------------------

    def set_aside(self, path: bytes) -> None:
        """A file that failed is not placed; what is there of it goes out of the way."""
        if self.data.lstat(path) is None:
            return
        aside = self._tree(_ASIDE)
        try:
            aside.folder(path.rpartition(b"/")[0], create=True)
            self.data.move(path, aside, path, replace=True)
        finally:
            aside.close()

    def keep_set_aside(self, sizes: array[int]) -> bool:
        """The transfer is over. If files failed, the state is from now on that of an unfinished
        transfer which has what was verified of them; true if there is any."""
        if _ASIDE not in self.folder.names():
            return False
        aside = self._tree(_ASIDE)
        try:
            held = self._reload(sizes)
            records = bytearray()
            for number in list(held.inventory.held_entries()):
                if aside.lstat(self.listing.entry(number).path) is not None:
                    for first, n in held.inventory.ranges(number):
                        records += encode_verified(
                            number, first, self.digests.get(number, first, n)
                        )
        finally:
            aside.close()
        if not records or held.header is None:
            return False
        self.data.close()
        self.folder.remove_tree(_DATA)
        self.folder.rename(_ASIDE, _DATA)
        self.data = self._tree(_DATA)
        self._start(held.header, None, bytes(records))
        return True

    def existing_folders(self, found: Iterable[int]) -> bytes:
        """Notes, before they are merged into, which folders are at the target already; adds them
        to what an earlier run has noted. A bit for each entry; empty: none."""
        n_bytes = self.listing.index.n_entries // 8 + 1
        try:
            known = bytearray(self.folder.read(_EXISTED, n_bytes))
        except FileNotFoundError:
            known = bytearray()
        before = bytes(known)
        for number in found:
            if not known:
                known = bytearray(n_bytes)
            known[number >> 3] |= 1 << (number & 7)
        if known != before:
            with self.folder.replacing(_EXISTED) as fd:
                self.disk.write_all(fd, known)
        return bytes(known)

    def _load_listing(self, digest: bytes) -> ListingFile:
        return load_listing(self.folder, digest)

    def _holds_listing(self, digest: bytes) -> bool:
        try:
            listing = self._load_listing(digest)
        except (OSError, WraithError):
            return False
        held = listing.index.digest() == digest
        listing.close()
        return held

    def _start(
        self, header: JournalHeader, incoming: ListingFile | None, records: bytes = b""
    ) -> None:
        """A new journal, put in place of an older one in one step, after its listing."""
        if incoming is not None:
            self._store_listing(header.listing_digest, incoming)
        self.folder.unlink(_EXISTED)
        with self.folder.replacing(JOURNAL) as fd:
            self.disk.write_all(fd, encode_record(header) + records)

    def _store_listing(self, digest: bytes, incoming: ListingFile) -> None:
        if not self._holds_listing(digest):
            with self.folder.replacing(_listing_name(digest)) as fd:
                incoming.copy_to(fd)

    def _empty_data(self) -> None:
        self.data.close()
        self.folder.remove_tree(_DATA)
        self.data = self._tree(_DATA)

    def _carry_over(
        self, old_header: JournalHeader, header: JournalHeader, incoming: ListingFile | None
    ) -> None:
        """Moves the old state under a new listing. Files whose path and size are the same keep
        their verified chunks, which the sender compares; all other old data is removed. [TR-55]

        A kill in between leaves the old journal with some files gone, which opening notices.
        """
        old = self._load_listing(old_header.listing_digest)
        digests = DigestFile(old.index.sizes, disk=self.disk)
        loaded = load_journal(self.folder, old.index.sizes, digests)
        self.folder.remove_tree(_OLD_DATA)
        self.data.close()
        self.folder.rename(_DATA, _OLD_DATA)
        self.data = self._tree(_DATA)
        old_data = self._tree(_OLD_DATA)
        records = bytearray()
        if incoming is not None and not loaded.is_complete and not loaded.placing:
            for number, match in _matches(old, loaded.inventory, incoming):
                path = old.entry(number).path
                if old_data.lstat(path) is None:
                    continue
                self.data.folder(path.rpartition(b"/")[0], create=True)
                old_data.move(path, self.data, path, replace=True)
                for first, n in loaded.inventory.ranges(number):
                    records += encode_verified(match, first, digests.get(number, first, n))
        old_data.close()
        digests.close()
        old.close()
        self._start(header, incoming, bytes(records))
        self.folder.remove_tree(_OLD_DATA)
        with contextlib.suppress(OSError):
            self.folder.unlink(_listing_name(old_header.listing_digest))

    # --- checking -------------------------------------------------------------------------------

    def _drop_what_is_gone(self, loaded: Loaded) -> None:
        """A file that somebody removed or cut off is not there, whatever the journal says."""
        inventory = loaded.inventory
        tops = {self.listing.entry(n).path for n in loaded.placing}
        for number in list(inventory.held_entries()):
            entry = self.listing.entry(number)
            info = self.data.lstat(entry.path)
            if info is None and entry.path.partition(b"/")[0] in tops:
                continue  # put in its place before the kill
            cut = inventory.cut(number)
            if not cut.is_known and info is not None:
                inventory.keep_whole_chunks(number, info.st_size)
                continue
            at, n_bytes = cut.span(*inventory.ranges(number)[-1])
            if info is None or not stat.S_ISREG(info.st_mode) or info.st_size < at + n_bytes:
                self._drop(loaded, number)

    def _drop(self, loaded: Loaded, number: int) -> None:
        loaded.inventory.drop(number)
        loaded.finished[number] = 0
        self.journal.append(encode_record(Dropped(number)))

    def _verify(self, loaded: Loaded) -> None:
        """Reads what is held and keeps only the chunks that still have their digests. [TR-53]"""
        inventory = loaded.inventory
        loaded.read = bytearray(len(loaded.finished) // 8 + 1)
        for number in list(inventory.held_entries()):
            entry = self.listing.entry(number)
            if self.data.lstat(entry.path) is None:
                continue  # in its place already
            ranges = inventory.ranges(number)
            bad = self.bad_chunks(number, ranges)
            if bad:
                self._forget(inventory, number, bad)
                loaded.finished[number] = 0
            loaded.read[number >> 3] |= 1 << (number & 7)

    def bad_chunks(
        self,
        number: int,
        ranges: Iterable[tuple[int, int]],
        *,
        guard: AbstractContextManager[object] | None = None,
        pause: Callable[[], bool] = lambda: True,
    ) -> list[int]:
        """As ``kept_files.bad_chunks``, of one entry."""
        with guard if guard is not None else nullcontext():
            entry = self.listing.entry(number)
            tree, digests = self.data, self.digests
        return bad_chunks(
            tree, digests, entry.path, number, entry.cut, ranges, guard=guard, pause=pause
        )

    def forget(self, number: int, chunks: Sequence[int], sizes: array[int]) -> None:
        """Journals that these chunks are missing. What else is there of the file is read from the
        journal, which is ahead of everybody's memory. [TR-137]"""
        self._forget(self._reload(sizes).inventory, number, chunks)

    def _reload(self, sizes: array[int]) -> Loaded:
        return load_journal(self.folder, sizes, None)

    def _forget(self, inventory: Inventory, number: int, chunks: Sequence[int]) -> None:
        inventory.forget(number, chunks)
        records = bytearray(encode_record(Dropped(number)))
        for first, n in inventory.ranges(number):
            records += encode_verified(number, first, self.digests.get(number, first, n))
        self.journal.append(records)
        path = self.listing.entry(number).path
        if not inventory.ranges(number):
            self.data.unlink(path)
        else:
            self.data.make_writable(path)


def _listing_name(digest: bytes) -> bytes:
    return _LISTING + digest[:6].hex().encode()


def load_listing(folder: PrivateFolder, digest: bytes) -> ListingFile:
    """The listing with this digest in a state folder. Raises ``OSError`` if there is none."""
    fd = folder.open_file(_listing_name(digest), os.O_RDONLY)
    return ListingFile.load(fd, folder.disk)


def _matches(old: ListingFile, held: Inventory, new: ListingFile) -> Iterator[tuple[int, int]]:
    """Held entries of the old listing with their numbers in the new one. Both are in walking
    order, so one pass over the new one is enough."""
    walk = new.entries()
    candidate = next(walk, None)
    for number in list(held.held_entries()):
        entry = old.entry(number)
        key = entry.path.split(b"/")
        while candidate is not None and candidate[1].path.split(b"/") < key:
            candidate = next(walk, None)
        if candidate is None:
            return
        found = candidate[1]
        if found.path != entry.path or found.kind is not entry.kind:
            continue
        if found.size == entry.size:
            yield number, candidate[0]
