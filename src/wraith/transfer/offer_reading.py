"""An offer while its listing arrives, and what speaks against taking it.

Pages are checked as they come and stored in batches; the whole must be what was announced. Whether
a person wants it is not decided here.

Spec: transfer §3 [TR-13, TR-20 to TR-26], §4 [TR-143], §9 [TR-70].
"""

from __future__ import annotations

from wraith.errors import LimitExceeded, NoSpace, OfferRefused, UnsafePath, WraithError
from wraith.transfer.answers import SurveyResult
from wraith.transfer.listing import LISTING_BYTES_MAX, MAX_ENTRIES, MAX_PAGES, ListingReader
from wraith.transfer.marks import Marking, Marks
from wraith.transfer.messages import TEXT_BYTES_MAX, Offer, OfferKind, Reason
from wraith.transfer.path_rules import PathRules, shown_path
from wraith.transfer.reasons import OfferTaken

PAGES_PER_STORE = 16
PAGES_WAITING_MAX = 64
PROBLEMS_SHOWN = 20


class OfferReading:
    """One offer on one connection. ``rules``: what the target's file system can hold.

    Raises:
        LimitExceeded: more is announced than a listing may hold.
    """

    def __init__(self, offer: Offer, rules: PathRules) -> None:
        if not 0 < offer.n_entries <= MAX_ENTRIES or offer.listing_bytes > LISTING_BYTES_MAX:
            raise LimitExceeded("an offer beyond the limits of a listing")
        if not 0 < offer.n_pages <= MAX_PAGES:
            raise LimitExceeded("an offer beyond the limits of a listing")
        self.offer = offer
        self.listing = ListingReader(rules)
        self._marking = Marking()
        self._pages: list[bytes] = []
        self._n_taken = 0
        self._n_storing = 0

    @property
    def has_room(self) -> bool:
        """More pages may come before the disk has caught up."""
        return self._n_storing + len(self._pages) < PAGES_WAITING_MAX

    @property
    def is_whole(self) -> bool:
        return self.listing.index.n_pages == self.offer.n_pages

    def add_page(self, page: bytes) -> None:
        """Takes the next page.

        Raises:
            RemoteProtocolError: malformed, or more than was announced.
        """
        self._marking.see(self.listing.add_page(page))
        index = self.listing.index
        if index.listing_bytes > self.offer.listing_bytes or index.n_pages > self.offer.n_pages:
            raise LimitExceeded("more of a listing than was announced")
        self._pages.append(page)

    def pages_to_store(self) -> tuple[int, tuple[bytes, ...]] | None:
        """``(number of the first, pages)`` once there are enough of them or the last is among
        them. Say ``stored`` when they are."""
        if not self._pages or not (self.is_whole or len(self._pages) >= PAGES_PER_STORE):
            return None
        first, pages = self._n_taken, tuple(self._pages)
        self._n_taken += len(pages)
        self._n_storing += len(pages)
        self._pages.clear()
        return first, pages

    def marks(self) -> Marks:
        """The names that a person should see first, of all that has come."""
        return self._marking.marks()

    def stored(self, n_pages: int) -> None:
        self._n_storing -= n_pages

    def check_whole(self) -> None:
        """Raises ``LimitExceeded`` unless the listing is the one that was announced."""
        offer, index = self.offer, self.listing.index
        if (
            index.digest() != offer.listing_digest
            or index.n_entries != offer.n_entries
            or index.n_files != offer.n_files
            or index.total_bytes != offer.total_bytes
            or index.listing_bytes != offer.listing_bytes
        ):
            raise LimitExceeded("the listing is not the one that was announced")

    # --- what speaks against it -----------------------------------------------------------------

    def false_text(self) -> OfferRefused | None:
        """A text is shown without its names, so nothing else may pass for one. [TR-143]"""
        if self.offer.kind is not OfferKind.TEXT or self.offer.is_text:
            return None
        return OfferRefused(
            "the offer is called a text and is not one file of at most "
            f"{TEXT_BYTES_MAX // (1 << 20)} MiB",
            hint="nothing was written; ask the sender to offer it as files",
        )

    def unsafe(self) -> UnsafePath | None:
        """All paths that must not be written here, in one error."""
        problems = self.listing.problems
        if not problems:
            return None
        shown = [f"{shown_path(path)} {why}" for path, why in problems[:PROBLEMS_SHOWN]]
        if len(problems) > PROBLEMS_SHOWN:
            shown.append(f"and {len(problems) - PROBLEMS_SHOWN} more")
        return UnsafePath(
            "the offer holds paths that must not be written here: " + "; ".join(shown),
            hint="nothing was written; ask the sender to rename them",
        )

    def objection(self, survey: SurveyResult) -> tuple[WraithError, Reason] | None:
        """What the target has against it: names that are taken, no space."""
        if survey.n_conflicts:
            return _taken(survey), Reason.NAME_EXISTS
        if survey.free_bytes is not None and self.offer.total_bytes is not None:
            needed = self.offer.total_bytes - survey.reused_bytes
            if needed > survey.free_bytes:
                return _no_space(needed, survey.free_bytes), Reason.NO_SPACE
        return None


def _taken(survey: SurveyResult) -> OfferRefused:
    names = ", ".join(shown_path(name) for name in survey.conflicts[:PROBLEMS_SHOWN])
    more = survey.n_conflicts - min(len(survey.conflicts), PROBLEMS_SHOWN)
    return OfferTaken(
        f"already there: {names}" + (f" and {more} more" if more > 0 else ""),
        hint="use --overwrite, --rename or --skip, or another --out",
    )


def _no_space(needed: int, free: int) -> NoSpace:
    return NoSpace(
        f"{needed:,} bytes are needed and {free:,} are free; holes of sparse files are filled here",
        hint="free some space or choose another --out; what was verified is kept",
    )
