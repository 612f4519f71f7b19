"""Who fulfils the wishes of a transfer: a ``Store``, each kind of wish by one method.

Spec: transfer §6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wraith.errors import WraithError

if TYPE_CHECKING:  # a source is made before there is anything to wish
    from wraith.transfer.answers import AllPlaced, KeptRead, PiecesRead, StoreOpened, SurveyResult
    from wraith.transfer.wishes import (
        AnswerT,
        CheckRanges,
        Complete,
        DropFiles,
        FinishFiles,
        ForgetChunks,
        OpenStore,
        ReadAgain,
        ReadPages,
        ReadPieces,
        RemoveState,
        StorePages,
        SummariseRanges,
        Survey,
        Wish,
        WritePieces,
    )


class Fulfils(Protocol):
    """A store, or what stands before one."""

    def fulfil(self, wish: Wish[AnswerT], /) -> AnswerT | WraithError:
        """Blocks until the wish is fulfilled; errors come back as values."""
        ...


class Store:
    """Fulfils wishes, blocking. A source overrides the methods of a sender's wishes, a target those
    of a receiver's; the others are never asked of it."""

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        """Blocks until the wish is fulfilled; errors come back as values."""
        try:
            return wish.fulfilled_by(self)
        except WraithError as exc:  # first: some of ours are an OSError as well
            return exc
        except OSError as exc:
            return self.disk_error(exc)

    def disk_error(self, exc: OSError) -> WraithError:
        """What a person reads of an error of the operating system."""
        raise exc

    def read_pages(self, wish: ReadPages) -> list[bytes]:
        raise _misdirected(wish)

    def read_pieces(self, wish: ReadPieces) -> PiecesRead:
        raise _misdirected(wish)

    def check_ranges(self, wish: CheckRanges) -> list[bool]:
        raise _misdirected(wish)

    def store_pages(self, wish: StorePages) -> None:
        raise _misdirected(wish)

    def survey(self, wish: Survey) -> SurveyResult:
        raise _misdirected(wish)

    def open_store(self, wish: OpenStore) -> StoreOpened:
        raise _misdirected(wish)

    def summarise_ranges(self, wish: SummariseRanges) -> list[bytes]:
        raise _misdirected(wish)

    def write_pieces(self, wish: WritePieces) -> None:
        raise _misdirected(wish)

    def finish_files(self, wish: FinishFiles) -> None:
        raise _misdirected(wish)

    def drop_files(self, wish: DropFiles) -> None:
        raise _misdirected(wish)

    def read_again(self, wish: ReadAgain) -> KeptRead:
        raise _misdirected(wish)

    def forget_chunks(self, wish: ForgetChunks) -> None:
        raise _misdirected(wish)

    def complete(self, wish: Complete) -> AllPlaced:
        raise _misdirected(wish)

    def remove_state(self, wish: RemoveState) -> None:
        raise _misdirected(wish)


def _misdirected(wish: Wish[object]) -> AssertionError:
    return AssertionError(f"not a wish for this store: {wish!r}")
