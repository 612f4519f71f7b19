"""The receiving side of one transfer; it lives through as many connections as that takes.

::

    OFFER, PAGE … ─► (store, survey) ─► OfferReceived ─► accept ─► ANSWER, HAVE …, HAVE_END
      ─► DROP …, START ─► chunk records ─► (verify, write) ─► ALL_SENT ─► (place) ─► RECEIPT

``begin`` starts it on a connection, ``connection_lost`` ends that one; what was verified stays.
It verifies and writes nothing itself: whole batches of records go out as ``WritePieces``, and only
its answer makes a byte count. What it holds unwritten is bounded by ``HELD_BYTES_MAX``: beyond
that it stops reading, and flow control stops the sender.

Spec: transfer §4-§7.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from wraith.content.chunking import UNKNOWN_SIZE, n_chunks
from wraith.errors import (
    LimitExceeded,
    MissingChunk,
    NoSpace,
    OfferRefused,
    StateViolation,
    UnsafePath,
    WraithError,
)
from wraith.transfer.events import (
    Aborted,
    Accepted,
    Declined,
    Done,
    FileFailed,
    OfferReceived,
    Placed,
    Progress,
    TransferEvent,
)
from wraith.transfer.inventory import Inventory
from wraith.transfer.listing import LISTING_BYTES_MAX, MAX_ENTRIES, MAX_PAGES, ListingReader
from wraith.transfer.messages import (
    BODY_BYTES_MAX,
    RANGES_PER_ITEM,
    Abort,
    AllSent,
    Answer,
    Drop,
    End,
    Failed,
    Have,
    HaveEnd,
    HaveItem,
    Message,
    MessageParser,
    Offer,
    Page,
    Reason,
    Receipt,
    ReceiptOk,
    Skip,
    Start,
    encode_message,
    have_item_bytes,
)
from wraith.transfer.messages import Progress as ProgressMessage
from wraith.transfer.paths import PathRules, display_path
from wraith.transfer.reasons import OfferTaken, error_of, reason_of, words_of
from wraith.transfer.records import OVERHEAD_BYTES, ChunkRecord, RecordParser
from wraith.transfer.state import (
    RECEIVER_ENDS,
    ReceiverInput,
    ReceiverState,
    next_receiver_state,
)
from wraith.transfer.wishes import (
    Complete,
    Completed,
    DropFiles,
    FinishFiles,
    OpenStore,
    ReceiverWish,
    RemoveState,
    StoreOpened,
    StorePages,
    SummariseRanges,
    Survey,
    SurveyResult,
    WritePieces,
)
from wraith.types import Buffer, PeerKey

WRITE_BYTES_MIN = 1024 * 1024
WRITE_BYTES_MAX = 4 * 1024 * 1024
WRITES_MAX = 2
HELD_BYTES_MAX = 16 * 1024 * 1024
FLUSH_AFTER_S = 0.005
"""A slow link's chunk waits at most this long for company before it is written."""

PROGRESS_EVERY_S = 0.1
PROGRESS_EVERY_BYTES = 8 * 1024 * 1024
PAGES_PER_STORE = 16
PAGES_WAITING_MAX = 64
SUMMARIES_PER_WISH = 512
PROBLEMS_SHOWN = 20


class Receiver:
    """See the module.

    Args:
        rules: what the target's file system can hold.
        ids: numbers for wishes, shared with other machines.
    """

    def __init__(self, rules: PathRules, ids: Iterator[int]) -> None:
        self.state = ReceiverState.AWAITING_OFFER
        self.bytes_transferred = 0
        self.bytes_reused = 0
        self._rules = rules
        self._ids = ids
        self._events: deque[TransferEvent] = deque()
        self._wishes: deque[ReceiverWish] = deque()
        self._answers: dict[int, Callable[[object], None]] = {}
        # What outlives a connection.
        self._listing: ListingReader | None = None
        self._accepted: bytes | None = None
        self._inventory: Inventory | None = None
        self._skipped: list[tuple[int, int]] = []
        self._completed: Completed | None = None
        self._n_finishing = 0
        self._n_writing = 0
        self._writing_bytes = 0
        self._is_completing = False
        self._total: int | None = None
        self._now = 0.0
        self._is_first_start = True
        self._begin(None)

    def _begin(self, peer: PeerKey | None) -> None:
        """Everything that belongs to one connection."""
        self._generation = object()
        self._peer = peer
        self._parser = MessageParser()
        self._control: deque[bytes] = deque()
        self._offer: Offer | None = None
        self._reader: ListingReader | None = None
        self._pages: list[bytes] = []
        self._n_pages_sent = 0
        self._n_pages_waiting = 0
        self._records: RecordParser | None = None
        self._batch: deque[ChunkRecord] = deque()
        self._batch_bytes = 0
        self._flush_at: float | None = None
        self._progress_at: float | None = None
        self._told_bytes = -1
        self._consumed = 0
        self._told_consumed = 0
        self._failed: dict[int, Reason] = {}
        self._n_failed_announced: int | None = None
        self._data_ended = False
        self._to_tell: Iterator[tuple[int, tuple[tuple[int, int], ...]]] | None = None
        self._is_opening = False

    # --- facts ----------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return self.state in RECEIVER_ENDS

    @property
    def is_placed(self) -> bool:
        """Everything is in its place; only the receipt may still be under way."""
        return self._completed is not None

    @property
    def is_done(self) -> bool:
        """The sender knows that everything is here."""
        return self.state is ReceiverState.DONE

    @property
    def is_busy(self) -> bool:
        """Wishes are out whose answers have not come."""
        return bool(self._answers)

    @property
    def wants_control(self) -> bool:
        return self._n_pages_waiting + len(self._pages) < PAGES_WAITING_MAX

    def data_room(self) -> int:
        """How many bytes of the data stream it takes now."""
        if self.state is not ReceiverState.RECEIVING:
            return 0
        held = self._batch_bytes + self._writing_bytes
        if self._records is not None:
            held += self._records.held_bytes
        return max(0, HELD_BYTES_MAX - held)

    # --- commands -------------------------------------------------------------------------------

    def begin(self, peer: PeerKey | None) -> None:
        """A connection to the sender is there. What an earlier one was doing is dropped."""
        self.connection_lost()
        self._begin(peer)
        self.state = ReceiverState.AWAITING_OFFER

    def connection_lost(self) -> None:
        """Nothing more comes on this connection. Writes that are under way still count."""
        self._generation = object()
        stale = [w for w in self._wishes if isinstance(w, StorePages | Survey)]
        for wish in stale:
            self._wishes.remove(wish)
            del self._answers[wish.id]
        self._batch.clear()
        self._batch_bytes = 0
        self._flush_at = self._progress_at = None

    def accept(self) -> None:
        """Answers ``OfferReceived``. Raises ``StateViolation`` when there is nothing to accept."""
        self._advance(ReceiverInput.ACCEPT)
        assert self._offer is not None and self._reader is not None
        if self._accepted != self._offer.listing_digest or self._inventory is None:
            # Another listing: what was verified of the old one is matched by whoever holds it.
            self._listing = self._reader
            self._accepted = self._offer.listing_digest
            self._inventory = None
            self._completed = None
        self._open_when_quiet()

    def decline(self, error: WraithError, reason: Reason = Reason.DECLINED) -> None:
        """Refuses the offer; ``error`` is what is shown here."""
        self._advance(ReceiverInput.DECLINE)
        self._control.append(encode_message(Answer(False, reason)))
        self._events.append(Declined(by_peer=False, reason=reason, error=error))

    def abort(self, error: WraithError) -> None:
        """Gives up this connection's attempt and tells the peer why; what is verified is kept."""
        if (self.state, ReceiverInput.ABORT) not in _ABORTABLE:
            return
        reason = reason_of(error)
        self._control.append(encode_message(Abort(reason, words_of(error))))
        self._advance(ReceiverInput.ABORT)
        self.connection_lost()
        self._events.append(Aborted(by_peer=False, reason=reason, error=error))

    # --- bytes and time in ----------------------------------------------------------------------

    def receive_control(self, data: Buffer, now: float) -> None:
        """Takes bytes of the control stream.

        Raises:
            RemoteProtocolError: the peer broke the protocol.
        """
        for message in self._parser.feed(data):
            if not self.is_over:
                self._on_message(message, now)

    def receive_data(self, data: Buffer, now: float) -> None:
        """Takes bytes of the data stream; ``data`` must not change afterwards.

        Raises:
            RemoteProtocolError: a record that the listing does not allow.
        """
        if self.state is not ReceiverState.RECEIVING or self._records is None:
            return
        inventory = self._inventory
        assert inventory is not None
        for record in self._records.feed(data):
            if record.entry in self._failed or inventory.holds(record.entry, record.chunk):
                self._consume(record.length + OVERHEAD_BYTES, now)
                continue
            self._batch.append(record)
            self._batch_bytes += record.length
        if self._batch:
            if self._flush_at is None:
                self._flush_at = now + FLUSH_AFTER_S
            if self._batch_bytes >= WRITE_BYTES_MIN:
                self._write(now)

    def receive_data_end(self, now: float) -> None:
        """The data stream has ended."""
        if self.state is ReceiverState.RECEIVING:
            self._data_ended = True
            self._write(now, all_of_it=True)
            self._finish(now)

    def handle_timer(self, now: float) -> None:
        if self._flush_at is not None and now >= self._flush_at:
            self._write(now, all_of_it=True)
        if self._progress_at is not None and now >= self._progress_at:
            self._tell_progress()

    def next_timer(self) -> float | None:
        times = [t for t in (self._flush_at, self._progress_at) if t is not None]
        return min(times) if times else None

    # --- bytes, wishes and events out -----------------------------------------------------------

    def control_to_send(self) -> list[bytes]:
        out = list(self._control)
        self._control.clear()
        return out

    def next_wish(self) -> ReceiverWish | None:
        return self._wishes.popleft() if self._wishes else None

    def io_done(self, wish_id: int, result: object, now: float) -> None:
        """The answer to a wish: what it names, or a ``WraithError``."""
        answer = self._answers.pop(wish_id)
        self._now = now
        answer(result)

    def next_event(self) -> TransferEvent | None:
        return self._events.popleft() if self._events else None

    # --- inside: messages -----------------------------------------------------------------------

    def _on_message(self, message: Message, now: float) -> None:
        match message:
            case Offer():
                self._on_offer(message)
            case Page(data) if self.state is ReceiverState.READING_LISTING:
                self._on_page(data)
            case Drop(entries) if self.state is ReceiverState.AWAITING_START:
                self._on_drop(entries)
            case Start():
                self._on_start(now)
            case Failed(entry, reason) if self._may_hear_of_files():
                self._on_failed(entry, reason, now)
            case End(entry, size) if self.state is ReceiverState.RECEIVING:
                self._on_end(entry, size, now)
            case AllSent(n_failed) if self.state is ReceiverState.RECEIVING:
                self._n_failed_announced = n_failed
                self._write(now, all_of_it=True)
                self._finish(now)
            case ReceiptOk():
                self._on_receipt_ok()
            case Abort(reason, text):
                self._advance(ReceiverInput.ABORT)
                self.connection_lost()
                self._events.append(
                    Aborted(by_peer=True, reason=reason, error=error_of(reason, text))
                )
            case _:
                raise StateViolation(f"{type(message).__name__} while {self.state.value}")

    def _may_hear_of_files(self) -> bool:
        return self.state in (ReceiverState.AWAITING_START, ReceiverState.RECEIVING)

    def _on_offer(self, offer: Offer) -> None:
        self._advance(ReceiverInput.OFFER)
        if not 0 < offer.n_entries <= MAX_ENTRIES or offer.listing_bytes > LISTING_BYTES_MAX:
            raise LimitExceeded("an offer beyond the limits of a listing")
        if not 0 < offer.n_pages <= MAX_PAGES:
            raise LimitExceeded("an offer beyond the limits of a listing")
        self._offer = offer
        self._reader = ListingReader(self._rules)

    def _on_page(self, page: bytes) -> None:
        assert self._offer is not None and self._reader is not None
        offer, reader = self._offer, self._reader
        reader.add_page(page)
        index = reader.index
        if index.listing_bytes > offer.listing_bytes or index.n_pages > offer.n_pages:
            raise LimitExceeded("more of a listing than was announced")
        self._pages.append(page)
        is_last = index.n_pages == offer.n_pages
        if is_last or len(self._pages) >= PAGES_PER_STORE:
            self._store_pages()
        if is_last:
            self._on_listing_whole()

    def _store_pages(self) -> None:
        assert self._offer is not None
        pages, self._pages = tuple(self._pages), []
        if self._accepted == self._offer.listing_digest:
            return  # the very listing that lies there already; only its digest is checked
        wish = StorePages(next(self._ids), self._n_pages_sent, pages)
        self._n_pages_sent += len(pages)
        self._n_pages_waiting += len(pages)
        self._wish(wish, partial(self._on_stored, len(pages)))

    def _on_stored(self, n_pages: int, result: object) -> None:
        del result
        self._n_pages_waiting -= n_pages

    def _on_listing_whole(self) -> None:
        assert self._offer is not None and self._reader is not None
        offer, index = self._offer, self._reader.index
        if (
            index.digest() != offer.listing_digest
            or index.n_entries != offer.n_entries
            or index.n_files != offer.n_files
            or index.total_bytes != offer.total_bytes
            or index.listing_bytes != offer.listing_bytes
        ):
            raise LimitExceeded("the listing is not the one that was announced")
        if self._reader.problems:
            self.decline(self._unsafe(self._reader.problems), Reason.UNSAFE_PATH)
            return
        self._advance(ReceiverInput.LISTING_WHOLE)
        wish = Survey(next(self._ids), self._peer, offer, tuple(self._reader.tops))
        self._wish(wish, self._on_surveyed)

    @staticmethod
    def _unsafe(problems: list[tuple[bytes, str]]) -> UnsafePath:
        shown = [f"{display_path(path)} {why}" for path, why in problems[:PROBLEMS_SHOWN]]
        if len(problems) > PROBLEMS_SHOWN:
            shown.append(f"and {len(problems) - PROBLEMS_SHOWN} more")
        return UnsafePath(
            "the offer holds paths that must not be written here: " + "; ".join(shown),
            hint="nothing was written; ask the sender to rename them",
        )

    def _on_surveyed(self, result: object) -> None:
        assert isinstance(result, SurveyResult)
        assert self._offer is not None and self._reader is not None
        self._advance(ReceiverInput.SURVEYED)
        offer, index = self._offer, self._reader.index
        if self._accepted == offer.listing_digest:
            self.accept()
            return
        if result.n_conflicts:
            self.decline(_taken(result), Reason.NAME_EXISTS)
            return
        if result.free_bytes is not None and offer.total_bytes is not None:
            needed = offer.total_bytes - result.reused_bytes
            if needed > result.free_bytes:
                self.decline(_no_space(needed, result.free_bytes), Reason.NO_SPACE)
                return
        self._events.append(
            OfferReceived(offer, tuple(self._reader.tops), index.n_folders, index.n_links, result)
        )

    # --- inside: what is here already -----------------------------------------------------------

    def _open_when_quiet(self) -> None:
        """Waits until no write of an earlier connection is under way: then what is here is
        known. Called again whenever one ends."""
        if self.state is not ReceiverState.OPENING or self._is_opening or self._is_completing:
            return
        if self._n_writing or self._n_finishing:
            return
        assert self._offer is not None and self._listing is not None
        if self._completed is not None:
            self._control.append(encode_message(Answer(True)))
            self._advance(ReceiverInput.OPENED_COMPLETE)
            self._send_receipt()
        elif self._inventory is not None:
            self._tell_ranges()
        else:
            self._is_opening = True
            sizes = self._listing.index.sizes
            wish = OpenStore(
                next(self._ids), self._peer, self._offer, sizes, tuple(self._listing.tops)
            )
            self._wish(wish, self._on_opened)

    def _on_opened(self, result: object) -> None:
        assert isinstance(result, StoreOpened)
        self._is_opening = False
        self._inventory = result.inventory
        self._skipped = list(result.skipped)
        self._total = self._count_total()
        if self._is_first_start:
            self.bytes_reused = result.inventory.verified_bytes
        if result.completed is not None:
            self._completed = result.completed
            self._tell_placed(result.completed)
        self._open_when_quiet()

    def _tell_ranges(self) -> None:
        inventory = self._inventory
        assert inventory is not None
        self._advance(ReceiverInput.OPENED)
        self._control.append(encode_message(Answer(True)))
        step = BODY_BYTES_MAX // 8
        for at in range(0, len(self._skipped), step):
            self._control.append(encode_message(Skip(tuple(self._skipped[at : at + step]))))
        self._to_tell = self._held_items(inventory)
        self._tell_more()

    @staticmethod
    def _held_items(inventory: Inventory) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
        for entry in inventory.held_entries():
            ranges = inventory.ranges(entry)
            for at in range(0, len(ranges), RANGES_PER_ITEM):
                yield entry, tuple(ranges[at : at + RANGES_PER_ITEM])

    def _tell_more(self) -> None:
        assert self._to_tell is not None
        items: list[tuple[int, tuple[tuple[int, int], ...]]] = []
        for item in self._to_tell:
            items.append(item)
            if len(items) >= SUMMARIES_PER_WISH:
                break
        if not items:
            self._control.append(encode_message(HaveEnd()))
            self._advance(ReceiverInput.RANGES_TOLD)
            return
        wish = SummariseRanges(next(self._ids), tuple(items))
        self._wish(wish, partial(self._on_summarised, items))

    def _on_summarised(
        self, items: list[tuple[int, tuple[tuple[int, int], ...]]], result: object
    ) -> None:
        assert isinstance(result, list)
        batch: list[HaveItem] = []
        n_bytes = 0
        for (entry, ranges), digest in zip(items, result, strict=True):
            item = HaveItem(entry, ranges, digest)
            if n_bytes + have_item_bytes(item) > BODY_BYTES_MAX:
                self._control.append(encode_message(Have(tuple(batch))))
                batch, n_bytes = [], 0
            batch.append(item)
            n_bytes += have_item_bytes(item)
        self._control.append(encode_message(Have(tuple(batch))))
        self._tell_more()

    def _on_drop(self, entries: tuple[int, ...]) -> None:
        inventory = self._inventory
        assert inventory is not None and self._listing is not None
        for entry in entries:
            self._check_entry(entry)
            inventory.drop(entry)
        self._wish(DropFiles(next(self._ids), entries), lambda _: None)

    def _on_start(self, now: float) -> None:
        self._advance(ReceiverInput.START)
        assert self._inventory is not None and self._listing is not None
        self._records = RecordParser(self._listing.index.sizes)
        if self._is_first_start:
            self._is_first_start = False
            self.bytes_reused = self._inventory.verified_bytes
        self._events.append(Accepted(self._inventory.verified_bytes, self._total))
        self._tell_progress()
        self._finish(now)

    # --- inside: chunks -------------------------------------------------------------------------

    def _write(self, now: float, *, all_of_it: bool = False) -> None:
        """Hands batches to the disk: large ones as long as two are not under way, the rest when
        the flush timer or the end of the stream says so."""
        while self._batch and self._n_writing < WRITES_MAX:
            if self._batch_bytes < WRITE_BYTES_MIN and not all_of_it:
                break
            records: list[ChunkRecord] = []
            n_bytes = 0
            while self._batch and n_bytes + self._batch[0].length <= WRITE_BYTES_MAX:
                record = self._batch.popleft()
                records.append(record)
                n_bytes += record.length
            self._batch_bytes -= n_bytes
            self._writing_bytes += n_bytes
            self._n_writing += 1
            # The records' buffers go with the wish; only numbers stay here.
            notes = [(record.entry, record.chunk, record.length) for record in records]
            answer = partial(self._on_written, notes, n_bytes, self._generation)
            self._wish(WritePieces(next(self._ids), tuple(records)), answer, lasting=True)
        if not self._batch:
            self._flush_at = None
        elif self._n_writing < WRITES_MAX:
            self._flush_at = now + FLUSH_AFTER_S
        else:
            self._flush_at = None  # the end of a write looks again

    def _consume(self, n_bytes: int, now: float) -> None:
        """So much of the data stream is dealt with; the sender hears of it before it must wait."""
        self._consumed += n_bytes
        if self._consumed - self._told_consumed >= PROGRESS_EVERY_BYTES:
            self._tell_progress()
        elif self._progress_at is None:
            self._progress_at = now + PROGRESS_EVERY_S

    def _on_written(
        self,
        notes: list[tuple[int, int, int]],
        n_bytes: int,
        generation: object,
        result: object,
    ) -> None:
        self._n_writing -= 1
        self._writing_bytes -= n_bytes
        if isinstance(result, WraithError):
            self._inventory = None  # what is on disk is known only there now
            self.abort(result)
            self._open_when_quiet()
            return
        inventory = self._inventory
        if inventory is None or self._listing is None:
            return
        sizes = self._listing.index.sizes
        self.bytes_transferred += n_bytes
        finished: list[tuple[int, int]] = []
        for entry, chunk, length in notes:
            known = length if sizes[entry] == UNKNOWN_SIZE else None
            if entry not in self._failed and inventory.add(entry, chunk, 1, known):
                finished.append((entry, inventory.size_of(entry)))
        self._finish_files(finished)
        if generation is self._generation:
            self._consume(n_bytes + OVERHEAD_BYTES * len(notes), self._now)
        if self.state is ReceiverState.RECEIVING:
            self._write(self._now, all_of_it=self._n_failed_announced is not None)
            self._finish(self._now)
        self._open_when_quiet()

    def _finish_files(self, finished: list[tuple[int, int]]) -> None:
        if finished:
            self._n_finishing += 1
            wish = FinishFiles(next(self._ids), tuple(finished))
            self._wish(wish, self._on_finished, lasting=True)

    def _on_finished(self, result: object) -> None:
        self._n_finishing -= 1
        if isinstance(result, WraithError):
            self._inventory = None
            self.abort(result)
        elif self.state is ReceiverState.RECEIVING:
            self._finish(self._now)
        self._open_when_quiet()

    def _on_failed(self, entry: int, reason: Reason, now: float) -> None:
        self._check_entry(entry)
        assert self._inventory is not None
        if entry in self._failed:
            return
        self._failed[entry] = reason
        self._inventory.drop(entry)
        self._wish(DropFiles(next(self._ids), (entry,)), lambda _: None)
        self._events.append(FileFailed(entry, reason))
        self._finish(now)

    def _on_end(self, entry: int, size: int, now: float) -> None:
        self._check_entry(entry)
        assert self._inventory is not None and self._listing is not None
        if self._listing.index.sizes[entry] != UNKNOWN_SIZE or n_chunks(size) >= 1 << 32:
            raise LimitExceeded("END of a file whose size was known")
        if self._inventory.size_of(entry) not in (size, UNKNOWN_SIZE):
            raise StateViolation("two ends of one file")
        if self._inventory.set_final_size(entry, size):
            self._finish_files([(entry, size)])
        self._finish(now)

    def _finish(self, now: float) -> None:
        """Ends the transfer once everything that was announced is verified and finished."""
        del now
        inventory = self._inventory
        if self.state is not ReceiverState.RECEIVING or self._n_failed_announced is None:
            return
        if self._batch or self._n_writing or self._n_finishing or inventory is None:
            return
        if len(self._failed) != self._n_failed_announced:
            raise StateViolation("another number of failed files than was announced")
        n_skipped = sum(n for _, n in self._skipped)
        if inventory.n_complete + len(self._failed) + n_skipped < inventory.n_wanted:
            if self._data_ended:
                self.abort(MissingChunk())
            return
        self._tell_progress()
        self._advance(ReceiverInput.ALL_VERIFIED)
        wish = Complete(next(self._ids), tuple(sorted(self._failed)))
        self._is_completing = True
        self._wish(wish, self._on_completed, lasting=True)

    def _on_completed(self, result: object) -> None:
        self._is_completing = False
        if isinstance(result, WraithError):
            self.abort(result)
            return
        assert isinstance(result, Completed)
        self._completed = result
        self._tell_placed(result)
        if self.state is ReceiverState.COMPLETING:
            self._advance(ReceiverInput.PLACED)
            self._send_receipt()
        self._open_when_quiet()

    def _tell_placed(self, completed: Completed) -> None:
        self._events.append(
            Placed(completed.placed, completed.text, completed.failed_paths, completed.file_ids)
        )

    def _send_receipt(self) -> None:
        assert self._offer is not None and self._inventory is not None
        self._control.append(
            encode_message(
                Receipt(
                    listing_digest=self._offer.listing_digest,
                    n_files=self._n_files_done(),
                    n_bytes=self._inventory.verified_bytes,
                    n_failed=len(self._failed),
                )
            )
        )

    def _on_receipt_ok(self) -> None:
        self._advance(ReceiverInput.RECEIPT_OK)
        self._wish(RemoveState(next(self._ids)), self._on_removed, lasting=True)

    def _on_removed(self, result: object) -> None:
        del result  # a leftover folder is listed by ``receive --list``; the data is in its place
        self._events.append(self.done())

    def done(self) -> Done:
        """The closing figures, for a receiver that got no RECEIPT_OK as well."""
        n_bytes = self._inventory.verified_bytes if self._inventory is not None else 0
        return Done(
            n_files=self._n_files_done(),
            bytes_total=n_bytes,
            bytes_transferred=self.bytes_transferred,
            bytes_reused=min(self.bytes_reused, n_bytes),
            n_failed=len(self._failed),
        )

    # --- inside: the rest -----------------------------------------------------------------------

    def _tell_progress(self) -> None:
        self._progress_at = None
        inventory = self._inventory
        if inventory is None:
            return
        verified, n_complete = inventory.verified_bytes, inventory.n_complete
        if verified != self._told_bytes:
            self._events.append(Progress(verified, self._total, n_complete))
        elif self._consumed == self._told_consumed:
            return
        self._told_bytes, self._told_consumed = verified, self._consumed
        if self.state is ReceiverState.RECEIVING:
            self._control.append(
                encode_message(ProgressMessage(verified, n_complete, self._consumed))
            )

    def _n_files_done(self) -> int:
        """Files that are in their place, empty ones included."""
        if self._offer is None:
            return 0
        return self._offer.n_files - len(self._failed) - sum(n for _, n in self._skipped)

    def _count_total(self) -> int | None:
        if self._offer is None or self._offer.total_bytes is None or self._listing is None:
            return None
        sizes = self._listing.index.sizes
        skipped = sum(sizes[e] for first, n in self._skipped for e in range(first, first + n))
        return self._offer.total_bytes - skipped

    def _check_entry(self, entry: int) -> None:
        assert self._listing is not None
        if entry >= self._listing.index.n_entries:
            raise LimitExceeded("a file beyond the listing")

    def _wish(
        self, wish: ReceiverWish, answer: Callable[[object], None], *, lasting: bool = False
    ) -> None:
        """``lasting``: the answer counts even when its connection is gone, errors included."""
        self._answers[wish.id] = (
            answer if lasting else partial(self._if_current, self._generation, answer)
        )
        self._wishes.append(wish)

    def _if_current(
        self, generation: object, answer: Callable[[object], None], result: object
    ) -> None:
        if generation is not self._generation:
            return
        if isinstance(result, WraithError):
            if self.state in (ReceiverState.SURVEYING, ReceiverState.OPENING):
                self.decline(result, reason_of(result))
            else:
                self.abort(result)
            return
        answer(result)

    def _advance(self, on: ReceiverInput) -> None:
        self.state = next_receiver_state(self.state, on)


_ABORTABLE = frozenset(
    (state, ReceiverInput.ABORT)
    for state in ReceiverState
    if state not in RECEIVER_ENDS and state is not ReceiverState.AWAITING_RECEIPT_OK
)


def _taken(survey: SurveyResult) -> OfferRefused:
    names = ", ".join(display_path(name) for name in survey.conflicts[:PROBLEMS_SHOWN])
    more = survey.n_conflicts - min(len(survey.conflicts), PROBLEMS_SHOWN)
    return OfferTaken(
        f"already there: {names}" + (f" and {more} more" if more > 0 else ""),
        hint="use --overwrite, --rename or --skip, or another --out",
    )


def _no_space(needed: int, free: int) -> NoSpace:
    return NoSpace(
        f"{needed:,} bytes are needed and {free:,} are free",
        hint="free some space or choose another --out; what was verified is kept",
    )
