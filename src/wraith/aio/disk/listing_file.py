"""The pages of one listing in a file, with the index that finds an entry in it.

Pages stand behind a u32 with their length, so a file that this program wrote can be indexed again
without the peer. One page of entries is in memory at a time.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right
from collections.abc import Iterator

from wraith.aio.disk.descriptor import OwnsDescriptor
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.transfer.listing import Entry, ListingIndex, decode_page


class ListingFile(OwnsDescriptor):
    """Owns ``fd``. Not thread-safe."""

    def __init__(self, fd: int, disk: Disk = OS_DISK) -> None:
        self.fd = fd
        self.disk = disk
        self.index = ListingIndex()
        self._page: tuple[int, int, list[Entry]] = (0, 0, [])

    @classmethod
    def load(cls, fd: int, disk: Disk = OS_DISK) -> ListingFile:
        """Reads a listing that this program wrote; takes ``fd`` over."""
        listing = cls(fd, disk)
        at = 0
        while header := disk.pread(listing.fd, 4, at):
            page = disk.pread(listing.fd, int.from_bytes(header, "big"), at + 4)
            listing.index.add_page(page, decode_page(page))
            at += 4 + len(page)
        return listing

    @classmethod
    def temporary(cls, folder: bytes, disk: Disk = OS_DISK) -> ListingFile:
        """A new one in a file without a name in ``folder``."""
        return cls(disk.temporary(folder), disk)

    @contextlib.contextmanager
    def copy(self) -> Iterator[ListingFile]:
        """The same listing under a descriptor of its own, for another thread. The index is shared:
        nothing may be appended any more. Raises ``OSError`` when it is closed already."""
        own = ListingFile(self.disk.dup(self.fd), self.disk)
        own.index = self.index
        try:
            yield own
        finally:
            own.close()

    def copy_to(self, fd: int) -> None:
        """Writes the whole file to ``fd``."""
        at = 0
        while data := self.disk.pread(self.fd, 1 << 20, at):
            self.disk.write_all(fd, data)
            at += len(data)

    def append(self, page: bytes) -> None:
        """Adds a page that was checked."""
        self.disk.lseek(self.fd, 0, os.SEEK_END)
        self.disk.write_all(self.fd, len(page).to_bytes(4, "big") + page)
        self.index.add_page(page, decode_page(page))

    def page(self, number: int) -> list[Entry]:
        at = self.index.page_at
        start = at[number] + 4 * (number + 1)
        return decode_page(self.disk.pread(self.fd, at[number + 1] - at[number], start))

    def entry(self, number: int) -> Entry:
        first, end, entries = self._page
        if not first <= number < end:
            page = bisect_right(self.index.page_first, number) - 1
            first = self.index.page_first[page]
            entries = self.page(page)
            self._page = (first, first + len(entries), entries)
        return entries[number - first]

    def entries(
        self, first: int = 0, end: int | None = None, *, backwards: bool = False
    ) -> Iterator[tuple[int, Entry]]:
        """Entries ``first`` … ``end - 1`` with their numbers; one page in memory at a time."""
        end = self.index.n_entries if end is None else end
        if first >= end:
            return
        pages = range(self.index.page_of(first), self.index.page_of(end - 1) + 1)
        for page in reversed(pages) if backwards else pages:
            numbered = list(enumerate(self.page(page), self.index.page_first[page]))
            for number, entry in reversed(numbered) if backwards else numbered:
                if first <= number < end:
                    yield number, entry
