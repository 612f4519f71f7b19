"""Events of a transfer: frozen facts, oldest first, the same kinds on both sides.

Spec: transfer §6.
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.errors import WraithError
from wraith.transfer.answers import SurveyResult
from wraith.transfer.listing import Entry
from wraith.transfer.marks import NO_MARKS, Marks
from wraith.transfer.messages import Offer, Reason
from wraith.types import PeerKey


@dataclass(frozen=True, slots=True)
class PeerDeciding:
    """Sender: the receiver has the whole listing and has not answered yet."""


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """Receiver: the whole listing is here and safe; now ``accept(offer_id)`` or ``decline``.

    ``n_folders`` and ``n_links`` complete the counts of ``offer``; ``tops`` are its top names,
    ``marks`` those that a person should see first, at any depth.
    """

    offer: Offer
    tops: tuple[Entry, ...]
    n_folders: int
    n_links: int
    survey: SurveyResult
    offer_id: bytes = b""
    marks: Marks = NO_MARKS


@dataclass(frozen=True, slots=True)
class Accepted:
    """Data flows now. ``bytes_reused`` were there before this connection. ``bytes_total`` is
    ``None`` while nobody knows."""

    bytes_reused: int
    bytes_total: int | None


@dataclass(frozen=True, slots=True)
class Declined:
    """The offer was refused, by the peer or here; ``error`` says why in words. ``peer`` is who
    was asked, where a node knows it."""

    by_peer: bool
    reason: Reason
    error: WraithError
    peer: PeerKey | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """``bytes_done`` are verified at the receiver and survive a crash of either side."""

    bytes_done: int
    bytes_total: int | None
    n_files_done: int


@dataclass(frozen=True, slots=True)
class FileFailed:
    """This file will not arrive; the rest goes on. ``path`` is empty where it is not known yet."""

    entry: int
    reason: Reason
    path: bytes = b""


@dataclass(frozen=True, slots=True)
class KeptDamaged:
    """Receiver: reading again what an earlier run left found chunks that are not what was verified.
    They count as missing from here on."""

    n_chunks: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class KeptVoid:
    """Receiver: nothing that an earlier run left is used, because its disk failed. ``why``: how."""

    why: str


@dataclass(frozen=True, slots=True)
class BeginAnew:
    """Receiver: the peer believes that chunks are here which are not, and has sent all else. The
    dialogue must begin anew on a fresh connection; whoever holds the connection sees to that."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Receiver: everything is in its place; the receipt is on its way. Of what failed,
    ``failed_paths`` names the first ones (as many as fit into 1 MiB), ``failed_reasons`` says
    why."""

    placed: tuple[str, ...]
    text: bytes | None
    failed_paths: tuple[bytes, ...]
    file_ids: tuple[tuple[bytes, bytes], ...]
    failed_reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """Both sides know that it is complete.

    ``bytes_transferred`` is payload that crossed in this run, ``bytes_reused`` what an earlier run
    had brought; ``n_failed`` > 0 means exit status 3. ``bytes_unread`` of ``bytes_reused`` were
    not read again in this run: what they are is known from the earlier one only. ``n_folders`` and
    ``n_links`` are those of the offer.
    """

    n_files: int
    bytes_total: int
    bytes_transferred: int
    bytes_reused: int
    n_failed: int
    bytes_unread: int = 0
    n_folders: int = 0
    n_links: int = 0


@dataclass(frozen=True, slots=True)
class Aborted:
    """This attempt failed; what is verified is kept. ``by_peer``: the other side gave up."""

    by_peer: bool
    reason: Reason
    error: WraithError


TransferEvent = (
    PeerDeciding
    | OfferReceived
    | Accepted
    | Declined
    | Progress
    | FileFailed
    | KeptDamaged
    | KeptVoid
    | BeginAnew
    | Placed
    | Done
    | Aborted
)
