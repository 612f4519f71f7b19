"""The listing: everything that an offer holds, as pages of bytes that can lie on a disk.

A million entries as objects would cost hundreds of megabytes, so nobody holds them: pages go to a
store, and what stays in memory is an index of 12 bytes per entry. Entries stand in the order of a
walk: each folder before what it holds, names ascending by their bytes. That order is checked, which
also makes a duplicate or an entry without a parent impossible.

=========  =====  ==============================================================
field      bytes  meaning
=========  =====  ==============================================================
kind       1      1 file, 2 folder, 3 symbolic link
mode       2      permission bits (0o777); 0 for links
mtime_ns   8      signed, nanoseconds since 1970
size       8      files: bytes, or 2^64-1 while unknown; 0 otherwise
path_len   2      1 … 4096
link_len   2      links: length of the target; 0 otherwise
path       n      parts joined by ``/``
target     n      of a link
=========  =====  ==============================================================

Spec: transfer §3.
"""

from __future__ import annotations

import struct
from array import array
from enum import IntEnum
from typing import NamedTuple

from blake3 import blake3

from wraith.content.chunking import (
    FILE_BYTES_MAX,
    Cut,
    is_size_field,
    known_bytes,
    n_unknown,
)
from wraith.errors import DecodeError, LimitExceeded, UnsafePath
from wraith.transfer.path_rules import (
    DEPTH_MAX,
    PATH_BYTES_MAX,
    STATE_PREFIX,
    PathRules,
    check_link,
    check_name,
    check_path,
    fold_name,
    shown_path,
)

MAX_ENTRIES = 1_000_000
LISTING_BYTES_MAX = 256 * 1024 * 1024
PAGE_BYTES_MAX = 65_536
MAX_PAGES = 8_192
"""A page is cut only where the next entry (at most 8,215 bytes) does not fit any more."""

TOPS_MAX = 10_000
"""Names at the top: they alone are kept as objects, to be shown and looked up in the target."""

TOTAL_BYTES_MAX = 1 << 62
MODE_MASK = 0o777
MAX_PROBLEMS = 1_000
UNSIZED_MAX = 16
"""Files of unknown size in one listing: each needs an END and a place for what it will be."""

_HEAD = struct.Struct(">BHqQHH")
_U64_MAX = (1 << 64) - 1


class Kind(IntEnum):
    FILE = 1
    FOLDER = 2
    LINK = 3


class Entry(NamedTuple):
    """One entry. ``path`` and ``target`` are raw bytes as on the sender's disk. ``size`` is what
    the listing says of it, which ``cut`` understands."""

    kind: Kind
    mode: int
    mtime_ns: int
    size: int
    path: bytes
    target: bytes = b""

    @property
    def cut(self) -> Cut:
        """How its bytes are cut into chunks; its size in words, if it has one."""
        return Cut(self.size)


_KINDS = {int(kind): kind for kind in Kind}


def encode_entry(entry: Entry) -> bytes:
    """Its canonical bytes: 23 and the two paths."""
    head = _HEAD.pack(
        entry.kind, entry.mode, entry.mtime_ns, entry.size, len(entry.path), len(entry.target)
    )
    return head + entry.path + entry.target


def decode_page(page: bytes) -> list[Entry]:
    """The entries of one page, checked for form only.

    Raises:
        DecodeError: truncated, an unknown kind, or a field that this kind does not have.
    """
    if len(page) > PAGE_BYTES_MAX:
        raise DecodeError("listing page", PAGE_BYTES_MAX)
    entries: list[Entry] = []
    at, end = 0, len(page)
    while at < end:
        if at + _HEAD.size > end:
            raise DecodeError("listing entry", at)
        kind, mode, mtime_ns, size, path_len, link_len = _HEAD.unpack_from(page, at)
        path_at = at + _HEAD.size
        link_at = path_at + path_len
        if link_at + link_len > end or not 0 < path_len <= PATH_BYTES_MAX or mode > MODE_MASK:
            raise DecodeError("listing entry", at)
        is_file, is_link = kind == Kind.FILE, kind == Kind.LINK
        if kind not in _KINDS or (link_len > 0) != is_link or (size and not is_file):
            raise DecodeError("listing entry", at)
        if (is_link and mode) or (size > FILE_BYTES_MAX and not is_size_field(size)):
            raise DecodeError("listing entry", at)
        at = link_at + link_len
        entries.append(
            Entry(_KINDS[kind], mode, mtime_ns, size, page[path_at:link_at], page[link_at:at])
        )
    return entries


class ListingIndex:
    """The part of a listing that both ends keep in memory: sizes, where its pages begin, totals."""

    __slots__ = (
        "_hasher",
        "listing_bytes",
        "n_files",
        "n_folders",
        "n_links",
        "n_unsized",
        "page_at",
        "page_first",
        "sizes",
        "sum_at",
        "total_bytes",
    )

    def __init__(self) -> None:
        self.sizes = array("Q")
        self.page_first = array("L")
        self.page_at = array("Q", [0])
        self.sum_at = array("Q", [0])
        self.n_files = self.n_folders = self.n_links = self.n_unsized = 0
        self.total_bytes: int | None = 0
        self.listing_bytes = 0
        self._hasher = blake3()

    @property
    def n_entries(self) -> int:
        return len(self.sizes)

    @property
    def n_pages(self) -> int:
        return len(self.page_first)

    def digest(self) -> bytes:
        """BLAKE3 over all entries so far, however they were cut into pages."""
        return self._hasher.digest()

    def bytes_of(self, first: int, n: int) -> int:
        """The sum of ``n`` sizes from entry ``first`` on, page by page: whole pages are not looked
        into. Unknown sizes count nothing."""
        end = first + n
        a, b = self.page_of(first), self.page_of(end - 1)
        if a == b:
            return known_bytes(self.sizes[first:end])
        inside = self.sum_at[b] - self.sum_at[a + 1]
        before = known_bytes(self.sizes[first : self.page_first[a + 1]])
        return before + inside + known_bytes(self.sizes[self.page_first[b] : end])

    def page_of(self, entry: int) -> int:
        """The page that holds entry number ``entry``."""
        low, high = 0, len(self.page_first)
        while high - low > 1:
            middle = (low + high) // 2
            if self.page_first[middle] <= entry:
                low = middle
            else:
                high = middle
        return low

    def add_page(self, page: bytes, entries: list[Entry]) -> None:
        """Takes a page that was checked, with its entries."""
        self.page_first.append(len(self.sizes))
        self.page_at.append(self.page_at[-1] + len(page))
        self.listing_bytes += len(page)
        self._hasher.update(page)
        for entry in entries:
            self.sizes.append(entry.size)
            if entry.kind is Kind.FILE:
                self.n_files += 1
            elif entry.kind is Kind.FOLDER:
                self.n_folders += 1
            else:
                self.n_links += 1
        sizes = self.sizes[self.page_first[-1] :]
        n_bytes = known_bytes(sizes)
        self.sum_at.append(min(self.sum_at[-1] + n_bytes, _U64_MAX))
        self.n_unsized += n_unknown(sizes)
        if self.n_unsized:
            self.total_bytes = None
        elif self.total_bytes is not None:
            self.total_bytes += n_bytes


class ListingWriter:
    """The sender's side: entries in walking order go in, full pages come out."""

    def __init__(self) -> None:
        self.index = ListingIndex()
        self._page: list[bytes] = []
        self._entries: list[Entry] = []
        self._page_bytes = 0
        self._n_tops = 0
        self._order = _WalkOrder()

    def add(self, entry: Entry) -> bytes | None:
        """Takes the next entry; returns a page that it completed (it is then in the index).

        Raises:
            LimitExceeded: more than a million entries or 256 MiB.
            DecodeError: out of order (a defect of the caller).
        """
        depth, _ = self._order.enter(entry)
        self._n_tops += depth == 1
        if self._n_tops > TOPS_MAX:
            raise LimitExceeded(f"an offer has at most {TOPS_MAX:,} names at its top")
        encoded = encode_entry(entry)
        done = None
        if self._page_bytes + len(encoded) > PAGE_BYTES_MAX:
            done = self.finish()
        n_entries = self.index.n_entries + len(self._entries) + 1
        n_bytes = self.index.listing_bytes + self._page_bytes + len(encoded)
        _check_limits(n_entries, n_bytes, self.index.n_pages + 1)
        self._page.append(encoded)
        self._entries.append(entry)
        self._page_bytes += len(encoded)
        return done

    def finish(self) -> bytes | None:
        """The last page, if there is one."""
        if not self._page:
            return None
        page = b"".join(self._page)
        self.index.add_page(page, self._entries)
        self._page, self._entries, self._page_bytes = [], [], 0
        return page


class ListingReader:
    """The receiver's side: pages go in, checked against every rule; problems are collected.

    What only this disk or these rules forbid (``UnsafePath``) is collected in ``problems`` so that
    all of it can be shown at once; what no honest sender produces raises.
    """

    def __init__(self, rules: PathRules) -> None:
        self.index = ListingIndex()
        self.problems: list[tuple[bytes, str]] = []
        self.tops: list[Entry] = []
        self._rules = rules
        self._order = _WalkOrder()
        self._names: list[dict[bytes | str, bytes]] = [{}]

    def add_page(self, page: bytes) -> list[Entry]:
        """Takes the next page and returns its entries.

        Raises:
            DecodeError: malformed, out of order, or an entry without its parent folder.
            LimitExceeded: more entries or bytes than an offer may have.
        """
        entries = decode_page(page)
        index = self.index
        _check_limits(
            index.n_entries + len(entries), index.listing_bytes + len(page), index.n_pages + 1
        )
        for entry in entries:
            self._check(entry)
        index.add_page(page, entries)
        if index.n_unsized > UNSIZED_MAX:
            raise LimitExceeded(f"an offer has at most {UNSIZED_MAX} files of unknown size")
        if index.total_bytes is not None and index.total_bytes > TOTAL_BYTES_MAX:
            raise LimitExceeded("the offer is larger than any disk")
        return entries

    def _check(self, entry: Entry) -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            raise LimitExceeded("the offer names too many unsafe paths")
        try:
            depth, name = self._order.enter(entry)
        except DecodeError:
            try:
                check_path(entry.path, self._rules)
            except UnsafePath as problem:  # the true reason why its parent is not there
                self.problems.append((entry.path, str(problem)))
                return
            raise
        try:
            check_name(name, self._rules)
            if depth == 1:
                check_path(entry.path, self._rules)
                self.tops.append(entry)
                if len(self.tops) > TOPS_MAX:
                    raise LimitExceeded(f"an offer has at most {TOPS_MAX:,} names at its top")
            if depth > DEPTH_MAX:
                raise UnsafePath("lies too deep")
            if entry.kind is Kind.LINK:
                check_link(entry.path, entry.target, self._rules)
            if self._rules.may_collide:
                self._check_collision(depth, name, entry)
        except UnsafePath as problem:
            self.problems.append((entry.path, str(problem)))

    def _check_collision(self, depth: int, name: bytes, entry: Entry) -> None:
        del self._names[depth:]
        folded = fold_name(name, self._rules)
        other = self._names[-1].setdefault(folded, entry.path)
        if entry.kind is Kind.FOLDER:
            self._names.append({})
        if other != entry.path:
            raise UnsafePath(f"is the same name as {shown_path(other)} on this file system")


class _WalkOrder:
    """The folders that are open at this point of the walk, each with its last name so far."""

    def __init__(self) -> None:
        self._folders: list[tuple[bytes, list[bytes]]] = [(b"", [b""])]

    def enter(self, entry: Entry) -> tuple[int, bytes]:
        """Returns the entry's depth (1 at the top) and its own name. [TR-15]

        Raises:
            DecodeError: its parent is not an open folder, or its name does not ascend.
        """
        parent, _, name = entry.path.rpartition(b"/")
        depth = len(self._folders)
        while depth and self._folders[depth - 1][0] != parent:
            depth -= 1
        # ``/x`` has the parent "" as ``x`` has; its first slash gives it away.
        if not depth or not name or entry.path.startswith(b"/"):
            raise DecodeError("listing order")
        last = self._folders[depth - 1][1]
        if name <= last[0]:
            raise DecodeError("listing order")
        del self._folders[depth:]
        last[0] = name
        if entry.kind is Kind.FOLDER:
            self._folders.append((entry.path, [b""]))
        return depth, name


def _check_limits(n_entries: int, n_bytes: int, n_pages: int) -> None:
    if n_entries > MAX_ENTRIES:
        raise LimitExceeded(f"an offer has at most {MAX_ENTRIES:,} entries")
    if n_bytes > LISTING_BYTES_MAX or n_pages > MAX_PAGES:
        raise LimitExceeded("the listing of an offer has at most 256 MiB")


__all__ = [
    "LISTING_BYTES_MAX",
    "MAX_ENTRIES",
    "MAX_PAGES",
    "MODE_MASK",
    "PAGE_BYTES_MAX",
    "STATE_PREFIX",
    "Entry",
    "Kind",
    "ListingIndex",
    "ListingReader",
    "ListingWriter",
    "decode_page",
    "encode_entry",
]
