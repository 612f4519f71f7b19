"""Messages of the control stream, one frozen value each. How they are written: ``message_codec``.

====  ===========  =========  =============================================================
type  name         sent by    body
====  ===========  =========  =============================================================
1     OFFER        sender     version u8, kind u8, entries u32, files u32, total u64,
                              pages u32, listing bytes u32, listing digest 32, name
2     PAGE         sender     one page of the listing
3     DROP         sender     entries u32 …: these ranges do not hold any more
4     START        sender     (empty): the data stream begins
5     FAILED       sender     entry u32, reason u8
6     END          sender     entry u32, size u64: where an entry of unknown size ended
7     ALL_SENT     sender     files that failed u32
8     RECEIPT_OK   sender     (empty)
9     ANSWER       receiver   accepted u8, reason u8
10    HAVE         receiver   items: entry u32, ranges u16, (first u32, n u32) …, digest 32
11    HAVE_END     receiver   (empty)
12    SKIP         receiver   (first entry u32, n u32) …: not wanted
13    PROGRESS     receiver   verified bytes u64, finished files u32, consumed bytes u64
14    RECEIPT      receiver   listing digest 32, files u32, bytes u64, failed u32,
                              bytes not read again u64
15    ABORT        both       reason u8, text
====  ===========  =========  =============================================================

An OFFER of another version is kept as ``UnknownOffer``: only its first byte is known to mean the
same in every version. [TR-136]

Spec: transfer §4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from wraith.transfer.kinds import OfferKind as OfferKind
from wraith.transfer.kinds import Reason as Reason

TEXT_BYTES_MAX = 1024 * 1024
"""A text is shown and held in memory; what is longer is a file."""


class MessageType(IntEnum):
    OFFER = 1
    PAGE = 2
    DROP = 3
    START = 4
    FAILED = 5
    END = 6
    ALL_SENT = 7
    RECEIPT_OK = 8
    ANSWER = 9
    HAVE = 10
    HAVE_END = 11
    SKIP = 12
    PROGRESS = 13
    RECEIPT = 14
    ABORT = 15


@dataclass(frozen=True, slots=True)
class Offer:
    """``total_bytes`` is ``None`` when nobody knows it; ``name`` is what to call it."""

    kind: OfferKind
    n_entries: int
    n_files: int
    total_bytes: int | None
    n_pages: int
    listing_bytes: int
    listing_digest: bytes
    name: bytes = b""

    @property
    def is_text(self) -> bool:
        """It says that it is a text, and is one: a single file of a known, small size. Only that
        may be shown as one line and kept off the disk. [TR-143]"""
        return (
            self.kind is OfferKind.TEXT
            and self.n_entries == self.n_files == 1
            and self.total_bytes is not None
            and self.total_bytes <= TEXT_BYTES_MAX
        )


@dataclass(frozen=True, slots=True)
class UnknownOffer:
    """An OFFER of a version that this code does not speak; ``rest`` is what follows the version."""

    version: int
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class Page:
    data: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Start:
    pass


@dataclass(frozen=True, slots=True)
class Failed:
    entry: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class End:
    entry: int
    size: int


@dataclass(frozen=True, slots=True)
class AllSent:
    n_failed: int


@dataclass(frozen=True, slots=True)
class ReceiptOk:
    pass


@dataclass(frozen=True, slots=True)
class Answer:
    accepted: bool
    reason: Reason = Reason.OTHER


@dataclass(frozen=True, slots=True)
class HaveItem:
    """Verified chunks of one file and BLAKE3 over their digests, in order."""

    entry: int
    ranges: tuple[tuple[int, int], ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Have:
    items: tuple[HaveItem, ...]


@dataclass(frozen=True, slots=True)
class HaveEnd:
    pass


@dataclass(frozen=True, slots=True)
class Skip:
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ProgressMessage:
    """``consumed_bytes`` of the data stream of this connection have been written or dropped."""

    verified_bytes: int
    n_finished: int
    consumed_bytes: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """``unread_bytes`` of ``n_bytes`` were kept from an earlier run and not read again. [TR-135]"""

    listing_digest: bytes
    n_files: int
    n_bytes: int
    n_failed: int
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Abort:
    reason: Reason
    text: str = ""


Message = (
    Offer
    | UnknownOffer
    | Page
    | Drop
    | Start
    | Failed
    | End
    | AllSent
    | ReceiptOk
    | Answer
    | Have
    | HaveEnd
    | Skip
    | ProgressMessage
    | Receipt
    | Abort
)
