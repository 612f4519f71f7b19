"""An offer, and what became of it: the part of a sending side that outlives its connections.

Spec: transfer §4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wraith.transfer.kinds import OfferKind, Reason
from wraith.transfer.listing import ListingIndex

if TYPE_CHECKING:
    from wraith.transfer.messages import Offer


@dataclass(slots=True)
class Outgoing:
    """One offer and what became of it; the connections of the offer share it.

    ``kind`` and ``name`` are shown to the receiver. ``failed`` grows when sources change.
    ``bytes_reused`` is what the receiver that is served now had when its first connection began.
    """

    index: ListingIndex
    kind: OfferKind = OfferKind.FILES
    name: bytes = b""
    failed: dict[int, Reason] = field(default_factory=dict)
    bytes_reused: int | None = None

    def offer(self) -> Offer:
        """The message that offers it."""
        from wraith.transfer.messages import Offer  # what is scanned is not yet said

        return Offer(
            kind=self.kind,
            n_entries=self.index.n_entries,
            n_files=self.index.n_files,
            total_bytes=self.index.total_bytes,
            n_pages=self.index.n_pages,
            listing_bytes=self.index.listing_bytes,
            listing_digest=self.index.digest(),
            name=self.name,
        )
