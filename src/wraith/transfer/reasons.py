"""Between the reasons that cross the wire and the errors that people read.

Spec: transfer §4.
"""

from __future__ import annotations

from wraith.errors import (
    HashMismatch,
    NoSpace,
    OfferRefused,
    RemoteProtocolError,
    SourceChanged,
    TransferError,
    UnsafePath,
    WraithError,
)
from wraith.transfer.kinds import ABORT_TEXT_MAX, Reason
from wraith.transfer.path_rules import display_path

_WORDS = {
    Reason.OTHER: "no reason was given",
    Reason.DECLINED: "declined",
    Reason.LIST_ONLY: "only the listing was wanted",
    Reason.NAME_EXISTS: "the name exists already",
    Reason.UNSAFE_PATH: "it holds paths that cannot be written safely there",
    Reason.NO_SPACE: "there is not enough space",
    Reason.SOURCE_CHANGED: "a file changed while it was sent",
    Reason.SOURCE_UNREADABLE: "a file could not be read",
    Reason.HASH_MISMATCH: "a chunk did not match its hash",
    Reason.INTERRUPTED: "interrupted",
    Reason.DISK: "the disk reported an error",
    Reason.UNSUPPORTED: "newer wraith needed: the other side cannot read this",
    Reason.TOO_LATE: "what is asked for again is not kept any more",
    Reason.NO_TEXT: "it is called a text and is none",
}


class PeerAborted(TransferError):
    """The other side gave up."""

    code = "peer-aborted"


class NewerNeeded(TransferError):
    """Newer wraith needed: the two sides do not speak the same version."""

    exit_code = 2
    code = "newer-needed"
    hint = "use the same version of wraith on both sides"


class Interrupted(TransferError):
    """The transfer was interrupted; the same command goes on where it stopped."""

    exit_code = 130
    code = "interrupted"


class TooLate(TransferError):
    """What the receiver still needs is not kept any more, so this stream cannot be resumed."""

    code = "too-late"


class DiskFailed(TransferError):
    """The disk reported an error."""

    code = "disk-error"


class OfferTaken(OfferRefused):
    """The name exists already."""

    code = "name-exists"


_CLASSES: dict[Reason, type[TransferError]] = {
    Reason.DECLINED: OfferRefused,
    Reason.LIST_ONLY: OfferRefused,
    Reason.NAME_EXISTS: OfferRefused,
    Reason.NO_TEXT: OfferRefused,
    Reason.UNSAFE_PATH: UnsafePath,
    Reason.NO_SPACE: NoSpace,
    Reason.SOURCE_CHANGED: SourceChanged,
    Reason.SOURCE_UNREADABLE: SourceChanged,
    Reason.UNSUPPORTED: NewerNeeded,
}

_REASONS: list[tuple[type[WraithError], Reason]] = [
    (OfferTaken, Reason.NAME_EXISTS),
    (OfferRefused, Reason.DECLINED),
    (NewerNeeded, Reason.UNSUPPORTED),
    (UnsafePath, Reason.UNSAFE_PATH),
    (NoSpace, Reason.NO_SPACE),
    (SourceChanged, Reason.SOURCE_CHANGED),
    (HashMismatch, Reason.HASH_MISMATCH),
    (Interrupted, Reason.INTERRUPTED),
    (TooLate, Reason.TOO_LATE),
    (DiskFailed, Reason.DISK),
    (RemoteProtocolError, Reason.OTHER),
]


def reason_of(error: WraithError) -> Reason:
    """The reason that stands for ``error`` on the wire."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return Reason.OTHER


def words_of(error: WraithError) -> str:
    """The text that the peer may show: the error's own message, bounded."""
    return str(error)[:ABORT_TEXT_MAX]


def reason_words(reason: Reason) -> str:
    """Says what a reason means, for people."""
    return _WORDS[reason]


def error_of(reason: Reason, text: str) -> TransferError:
    """The error for a reason that the peer gave. ``text`` is the peer's: it is shown escaped."""
    words = display_path(text.encode("utf-8", "replace")) if text else _WORDS[reason]
    return _CLASSES.get(reason, PeerAborted)(f"the other side says: {words}" if text else words)
