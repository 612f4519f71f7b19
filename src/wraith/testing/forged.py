"""A sender that lies: its listing is whatever the test writes, however hostile.

The product's own writer cannot produce such listings, so they are put together here by hand.
"""

from __future__ import annotations

from wraith.transfer.answers import PiecesRead
from wraith.transfer.listing import Entry, Kind, ListingIndex, encode_entry
from wraith.transfer.sender import Outgoing
from wraith.transfer.wishes import CheckRanges, ReadPages, ReadPieces, Store


class ForgedSource(Store):
    """Offers ``entries`` exactly as they are, in one page. Contents are never asked for: an honest
    receiver has refused by then."""

    def __init__(self, entries: list[Entry]) -> None:
        self._page = b"".join(encode_entry(entry) for entry in entries)
        index = ListingIndex()
        index.add_page(self._page, entries)
        self.outgoing = Outgoing(index, name=b"forged")
        self.n_pieces_asked = 0

    def read_pages(self, wish: ReadPages) -> list[bytes]:
        return [self._page]

    def read_pieces(self, wish: ReadPieces) -> PiecesRead:
        self.n_pieces_asked += 1
        return PiecesRead([], 0, 0, ())

    def check_ranges(self, wish: CheckRanges) -> list[bool]:
        return [False for _ in wish.items]


def file_entry(path: bytes, size: int = 1) -> Entry:
    """A file of the listing."""
    return Entry(Kind.FILE, 0o644, 0, size, path)


def folder_entry(path: bytes) -> Entry:
    """A folder of the listing."""
    return Entry(Kind.FOLDER, 0o755, 0, 0, path)


def link_entry(path: bytes, target: bytes) -> Entry:
    """A symbolic link of the listing."""
    return Entry(Kind.LINK, 0, 0, 0, path, target)
