"""What the machines want from a disk: plain values out, plain answers in.

Each wish has an ``id``; whoever fulfils it answers with the result type named in its docstring, or
with a ``WraithError`` instead. Wishes of one transfer are fulfilled in the order in which they
came out; a source may read while it checks, a target does one thing at a time except
``ReadAgain``, which changes nothing and goes on beside all others while none of them waits.

Nothing here knows what a path on this disk looks like.

Spec: transfer §6.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wraith.content.inventory import Inventory
from wraith.transfer.listing import Entry
from wraith.transfer.messages import HaveItem, Offer, Reason
from wraith.transfer.records import ChunkRecord
from wraith.types import PeerKey

FAILED_PATHS_BYTES_MAX = 1024 * 1024


class Piece(NamedTuple):
    """``n`` chunks of an entry, from chunk ``first``."""

    entry: int
    first: int
    n: int


# --- at the sender ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadPages:
    """Pages ``first`` … ``first + n - 1`` of the listing. Answer: ``list[bytes]``."""

    id: int
    first: int
    n: int


@dataclass(frozen=True, slots=True)
class ReadPieces:
    """Read and hash these pieces (at most 4 MiB). Answer: ``PiecesRead``."""

    id: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class FailedPiece:
    entry: int
    reason: Reason
    path: bytes


@dataclass(frozen=True, slots=True)
class PiecesRead:
    """Wire-ready buffers: ``bytes`` or views of them. A piece that failed is missing from them and
    named in ``failed``.

    For an entry of unknown size ``n_chunks`` may be less than was asked for, and ``final_size`` is
    set when its end was reached.
    """

    buffers: list[bytes | memoryview]
    payload_bytes: int
    n_chunks: int
    failed: tuple[FailedPiece, ...] = ()
    final_size: int | None = None


@dataclass(frozen=True, slots=True)
class CheckRanges:
    """Do these chunks have these digests? From the digests kept while sending, else by reading
    them again. Answer: ``list[bool]``, one per item."""

    id: int
    items: tuple[HaveItem, ...]


# --- at the receiver --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StorePages:
    """Keep these pages of the listing; ``first`` 0 begins a new one. Answer: ``None``."""

    id: int
    first: int
    pages: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """The listing is whole: what would accepting it mean here? Answer: ``SurveyResult``."""

    id: int
    peer: PeerKey | None
    offer: Offer
    tops: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SurveyResult:
    """``free_bytes`` is ``None`` where it makes no sense (a pipe). ``conflicts`` are names that
    exist already and that the chosen policy does not allow to touch. ``same_listing`` is set when
    unfinished data of exactly this offer is here, which its owner has accepted before."""

    conflicts: tuple[bytes, ...] = ()
    n_conflicts: int = 0
    reused_bytes: int = 0
    free_bytes: int | None = None
    same_listing: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True)
class OpenStore:
    """Lock the place, load what is left of an earlier run. Answer: ``StoreOpened``."""

    id: int
    peer: PeerKey | None
    offer: Offer
    sizes: array[int]
    tops: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class StoreOpened:
    """``skipped`` are ``(first, n)`` entries that the policy does not want. ``completed`` is set
    when an earlier run has put everything in its place and only the receipt is missing.

    ``read`` has a bit for each entry all of whose chunks were read again before this answer (empty:
    none). ``reads_again``: what was not may be read in the background. ``void``: why nothing that
    an earlier run left is used; empty when that is not so.
    """

    inventory: Inventory
    skipped: tuple[tuple[int, int], ...] = ()
    completed: Completed | None = None
    read: bytes | bytearray = b""
    reads_again: bool = True
    void: str = ""


@dataclass(frozen=True, slots=True)
class SummariseRanges:
    """BLAKE3 over the digests of these chunks, per item. Answer: ``list[bytes]``."""

    id: int
    items: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]


@dataclass(frozen=True, slots=True)
class WritePieces:
    """Verify each record, then write it, then note it in the journal. Answer: ``None``, or
    ``HashMismatch`` with what came before the bad record written."""

    id: int
    records: tuple[ChunkRecord, ...]


@dataclass(frozen=True, slots=True)
class FinishFiles:
    """All chunks of these ``(entry, size)`` are verified: set times and modes, flush. Answer:
    ``None``."""

    id: int
    entries: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class DropFiles:
    """Forget what is there of these entries. Answer: ``None``."""

    id: int
    entries: Sequence[int]


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Read these chunks, which an earlier run left, and compare them with their digests. Beside
    other wishes, and behind every one that waits. Answer: ``KeptRead``."""

    id: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class KeptRead:
    """``bad`` are ``(entry, chunk)`` that are not what their digests say, ascending. ``missed``
    are entries that could not be read, which says nothing about them."""

    bad: tuple[tuple[int, int], ...] = ()
    missed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ForgetChunks:
    """These ``(entry, chunk)``, ascending, are not what was verified: note that they are missing.
    Answer: ``None``."""

    id: int
    chunks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything is verified: flush, put it in its place, mark it. ``failed`` entries stay out;
    they ascend. Answer: ``Completed``."""

    id: int
    failed: Collection[int]


@dataclass(frozen=True, slots=True)
class Completed:
    """Where it is now, and the names of what failed, as ``first_paths`` bounds them."""

    placed: tuple[str, ...] = ()
    failed_paths: tuple[bytes, ...] = ()
    text: bytes | None = None
    file_ids: tuple[tuple[bytes, bytes], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class RemoveState:
    """The sender knows: nothing of the transfer's own state is needed any more. Answer:
    ``None``."""

    id: int


def first_paths(paths: Iterable[bytes]) -> tuple[bytes, ...]:
    """As many of ``paths`` as fit into ``FAILED_PATHS_BYTES_MAX``."""
    taken: list[bytes] = []
    n_bytes = 0
    for path in paths:
        n_bytes += len(path)
        if n_bytes > FAILED_PATHS_BYTES_MAX:
            break
        taken.append(path)
    return tuple(taken)


SenderWish = ReadPages | ReadPieces | CheckRanges
ReceiverWish = (
    StorePages
    | Survey
    | OpenStore
    | SummariseRanges
    | WritePieces
    | FinishFiles
    | DropFiles
    | ReadAgain
    | ForgetChunks
    | Complete
    | RemoveState
)
Wish = SenderWish | ReceiverWish
Result = object
"""What the docstring of the wish names, or a ``WraithError``."""
