"""The answers of a store: plain values, one kind for each wish that wants more than "done".

Spec: transfer §6.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from wraith.content.inventory import Inventory
from wraith.transfer.kinds import Reason

FAILED_PATHS_BYTES_MAX = 1024 * 1024


# --- of a source ------------------------------------------------------------------------------


class Piece(NamedTuple):
    """``n`` chunks of an entry, from chunk ``first``."""

    entry: int
    first: int
    n: int


@dataclass(frozen=True, slots=True)
class FailedPiece:
    """Why a piece of this entry cannot be sent."""

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


# --- of a target ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Existing:
    """The entry ``number`` of the listing meets something of its name. ``is_merge``: a folder
    meets a folder, so what comes goes beside what is there."""

    number: int
    path: bytes
    is_merge: bool


@dataclass(frozen=True, slots=True)
class SurveyResult:
    """``free_bytes`` is ``None`` where it makes no sense (a pipe). ``conflicts`` are names that
    exist already and that the chosen policy does not allow to touch. ``existing`` are the first
    of the ``n_existing`` names that a person is asked about, and ``merges`` the first of the
    ``n_merges`` folders at the top that would be merged with one that is there. ``same_listing``
    is set when unfinished data of exactly this offer is here, which its owner has accepted
    before."""

    conflicts: tuple[bytes, ...] = ()
    n_conflicts: int = 0
    existing: tuple[Existing, ...] = ()
    n_existing: int = 0
    merges: tuple[Existing, ...] = ()
    n_merges: int = 0
    reused_bytes: int = 0
    free_bytes: int | None = None
    same_listing: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True)
class AllPlaced:
    """Where it is now, and the names of what failed, as ``first_paths`` bounds them."""

    placed: tuple[str, ...] = ()
    failed_paths: tuple[bytes, ...] = ()
    text: bytes | None = None
    file_ids: tuple[tuple[bytes, bytes], ...] = ()


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
    completed: AllPlaced | None = None
    read: bytes | bytearray = b""
    reads_again: bool = True
    void: str = ""


@dataclass(frozen=True, slots=True)
class KeptRead:
    """``bad`` are ``(entry, chunk)`` that are not what their digests say, ascending. ``missed``
    are entries that could not be read, which says nothing about them."""

    bad: tuple[tuple[int, int], ...] = ()
    missed: frozenset[int] = frozenset()


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
