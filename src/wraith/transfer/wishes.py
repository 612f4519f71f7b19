"""The wishes of the machines to a disk: plain values out, plain answers in.

A ``Wish[AnswerT]`` says what is wanted and of what type its answer is; a ``Store`` fulfils wishes,
each kind by one method, or answers with a ``WraithError`` instead. ``Asked`` keeps who hears the
answer. Wishes of one transfer are fulfilled in the order in which they came out; a source may read
while it checks, a target does one thing at a time except ``ReadAgain``, which changes nothing and
goes on beside all others while none of them waits.

Nothing here knows what a path on this disk looks like.

Spec: transfer §6.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from wraith.errors import WraithError
from wraith.transfer.answers import AllPlaced, KeptRead, PiecesRead, StoreOpened, SurveyResult
from wraith.transfer.answers import Piece as Piece
from wraith.transfer.chunk_records import ChunkRecord
from wraith.transfer.listing import Entry
from wraith.transfer.messages import HaveItem, Offer
from wraith.transfer.store import Fulfils as Fulfils
from wraith.transfer.store import Store as Store
from wraith.types import PeerKey

AnswerT = TypeVar("AnswerT")
AnswerT_co = TypeVar("AnswerT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Wish(ABC, Generic[AnswerT_co]):
    """One wish under a number of its own; its answer is an ``AnswerT_co``."""

    id: int

    @abstractmethod
    def fulfilled_by(self, store: Store) -> AnswerT_co:
        """Blocks until ``store`` has fulfilled it. Raises what the store raises."""


# --- at the sender ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadPages(Wish[list[bytes]]):
    """Pages ``first`` … ``first + n - 1`` of the listing."""

    first: int
    n: int

    def fulfilled_by(self, store: Store) -> list[bytes]:
        return store.read_pages(self)


@dataclass(frozen=True, slots=True)
class ReadPieces(Wish[PiecesRead]):
    """Read and hash these pieces (at most 4 MiB)."""

    pieces: tuple[Piece, ...]

    def fulfilled_by(self, store: Store) -> PiecesRead:
        return store.read_pieces(self)


@dataclass(frozen=True, slots=True)
class CheckRanges(Wish[list[bool]]):
    """Do these chunks have these digests? From the digests kept while sending, else by reading
    them again. One answer per item."""

    items: tuple[HaveItem, ...]

    def fulfilled_by(self, store: Store) -> list[bool]:
        return store.check_ranges(self)


# --- at the receiver --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StorePages(Wish[None]):
    """Keep these pages of the listing; ``first`` 0 begins a new one."""

    first: int
    pages: tuple[bytes, ...]

    def fulfilled_by(self, store: Store) -> None:
        return store.store_pages(self)


@dataclass(frozen=True, slots=True)
class Survey(Wish[SurveyResult]):
    """The listing is whole: what would accepting it mean here?"""

    peer: PeerKey | None
    offer: Offer
    tops: tuple[Entry, ...]

    def fulfilled_by(self, store: Store) -> SurveyResult:
        return store.survey(self)


@dataclass(frozen=True, slots=True)
class OpenStore(Wish[StoreOpened]):
    """Lock the place, load what is left of an earlier run."""

    peer: PeerKey | None
    offer: Offer
    sizes: array[int]
    tops: tuple[Entry, ...]

    def fulfilled_by(self, store: Store) -> StoreOpened:
        return store.open_store(self)


@dataclass(frozen=True, slots=True)
class SummariseRanges(Wish[list[bytes]]):
    """BLAKE3 over the digests of these chunks, per item."""

    items: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]

    def fulfilled_by(self, store: Store) -> list[bytes]:
        return store.summarise_ranges(self)


@dataclass(frozen=True, slots=True)
class WritePieces(Wish[None]):
    """Verify each record, then write it, then note it in the journal. Before an answer of
    ``HashMismatch`` all that stood in front of the bad record was written."""

    records: tuple[ChunkRecord, ...]

    def fulfilled_by(self, store: Store) -> None:
        return store.write_pieces(self)


@dataclass(frozen=True, slots=True)
class FinishFiles(Wish[None]):
    """All chunks of these ``(entry, size)`` are verified: set times and modes, flush."""

    entries: tuple[tuple[int, int], ...]

    def fulfilled_by(self, store: Store) -> None:
        return store.finish_files(self)


@dataclass(frozen=True, slots=True)
class DropFiles(Wish[None]):
    """Forget what is there of these entries."""

    entries: Sequence[int]

    def fulfilled_by(self, store: Store) -> None:
        return store.drop_files(self)


@dataclass(frozen=True, slots=True)
class ReadAgain(Wish[KeptRead]):
    """Read these chunks, which an earlier run left, and compare them with their digests. Beside
    other wishes, and behind every one that waits."""

    pieces: tuple[Piece, ...]

    def fulfilled_by(self, store: Store) -> KeptRead:
        return store.read_again(self)


@dataclass(frozen=True, slots=True)
class ForgetChunks(Wish[None]):
    """These ``(entry, chunk)``, ascending, are not what was verified: note that they are
    missing."""

    chunks: tuple[tuple[int, int], ...]

    def fulfilled_by(self, store: Store) -> None:
        return store.forget_chunks(self)


@dataclass(frozen=True, slots=True)
class Complete(Wish[AllPlaced]):
    """Everything is verified: flush, put it in its place, mark it. ``failed`` entries stay out;
    they ascend."""

    failed: Collection[int]

    def fulfilled_by(self, store: Store) -> AllPlaced:
        return store.complete(self)


@dataclass(frozen=True, slots=True)
class RemoveState(Wish[None]):
    """The sender knows: nothing of the transfer's own state is needed any more."""

    def fulfilled_by(self, store: Store) -> None:
        return store.remove_state(self)


# --- who hears ---------------------------------------------------------------------------------


class Asked:
    """Wishes that wait for their answers, each with what hears its own. An answer is of the type
    that its wish names, because ``ask`` joins the two; by its number only this object finds it."""

    def __init__(self) -> None:
        self._hears: dict[int, Callable[[Any], None]] = {}

    def __len__(self) -> int:
        return len(self._hears)

    def ask(self, wish: Wish[AnswerT], hears: Callable[[AnswerT | WraithError], None]) -> None:
        """Notes who hears the answer to ``wish``, errors included."""
        self._hears[wish.id] = hears

    def forget(self, wish: Wish[object]) -> None:
        """Nobody waits for this one any more, and it will not be fulfilled."""
        del self._hears[wish.id]

    def answered(self, wish_id: int, result: object) -> None:
        """Hands on what a store gave for the wish with this number."""
        self._hears.pop(wish_id)(result)
