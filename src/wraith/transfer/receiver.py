"""The receiving side of one transfer; it lives through as many connections as that takes.

::

    OFFER, PAGE … ─► (store, survey) ─► OfferReceived ─► accept ─► ANSWER, HAVE …, HAVE_END
      ─► DROP …, START ─► chunk records ─► (verify, write) ─► ALL_SENT ─► (place) ─► RECEIPT

``begin`` starts it on a connection, ``connection_lost`` ends that one; what was verified stays.
It verifies and writes nothing itself: whole batches of records go out as ``WritePieces``, and only
its answer makes a byte count. Parts: ``offer_reading`` (the listing), ``holdings`` (telling what is
here), ``collecting`` (the files), with ``intake`` (records on their way to the disk).

Spec: transfer §4-§7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from wraith.errors import StateViolation, WraithError
from wraith.transfer.answers import AllPlaced, StoreOpened, SurveyResult
from wraith.transfer.collecting import AllVerified, Collection, DamagedSince, GivenUp
from wraith.transfer.events import (
    Aborted,
    Accepted,
    BeginAnew,
    Declined,
    Done,
    KeptVoid,
    OfferReceived,
    Placed,
    TransferEvent,
)
from wraith.transfer.holdings import Held, have_messages, held_items, skip_messages
from wraith.transfer.listing import ListingReader
from wraith.transfer.message_codec import OFFER_VERSION, MessageParser, offer_id_of
from wraith.transfer.messages import (
    Abort,
    AllSent,
    Answer,
    Drop,
    End,
    Failed,
    HaveEnd,
    Message,
    Offer,
    Page,
    Reason,
    Receipt,
    ReceiptOk,
    Start,
    UnknownOffer,
)
from wraith.transfer.offer_reading import OfferReading
from wraith.transfer.outbox import Outbox
from wraith.transfer.path_rules import PathRules
from wraith.transfer.reasons import NewerNeeded, error_of, reason_of, words_of
from wraith.transfer.state import (
    RECEIVER_ABORTABLE,
    RECEIVER_ENDS,
    ReceiverInput,
    ReceiverState,
    next_receiver_state,
)
from wraith.transfer.wishes import (
    AnswerT,
    Complete,
    OpenStore,
    RemoveState,
    StorePages,
    SummariseRanges,
    Survey,
    Wish,
)
from wraith.types import Buffer, PeerKey

SUMMARIES_PER_WISH = 512
WISHES_WAITING_MAX = 32
"""Wishes that the disk has not answered. A peer that makes more of them is not read meanwhile."""


_HEARS_OF_FILES = (ReceiverState.AWAITING_START, ReceiverState.RECEIVING)


class Receiver:
    """See the module.

    Args:
        rules: what the target's file system can hold.
        ids: numbers for wishes, shared with other machines.
    """

    def __init__(self, rules: PathRules, ids: Iterator[int]) -> None:
        self.state = ReceiverState.AWAITING_OFFER
        self._rules = rules
        self._out = Outbox(ids)
        # What outlives a connection.
        self._listing: ListingReader | None = None
        self._accepted: bytes | None = None
        self._collection = Collection(self._out)
        self._completed: AllPlaced | None = None
        self._is_completing = False
        self._begin(None)

    def _begin(self, peer: PeerKey | None) -> None:
        """Everything that belongs to one connection."""
        self._generation = object()
        self._peer = peer
        self._parser = MessageParser()
        self._out.drop_messages()
        self._reading: OfferReading | None = None
        self._offer_id = b""
        self._to_tell: Iterator[Held] = iter(())
        self._is_summarising = False
        self._is_opening = False
        self._is_anew = False

    # --- facts ----------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return self.state in RECEIVER_ENDS

    @property
    def is_receiving(self) -> bool:
        """The data stream is open."""
        return self.state is ReceiverState.RECEIVING

    @property
    def is_placed(self) -> bool:
        """Everything is in its place; only the receipt may still be under way."""
        return self._completed is not None

    @property
    def is_done(self) -> bool:
        """The sender knows that everything is here."""
        return self.state is ReceiverState.DONE

    @property
    def peer(self) -> PeerKey | None:
        """Who offers on the connection that there is, or was last."""
        return self._peer

    @property
    def wants_control(self) -> bool:
        """Whether it takes more of the control stream now. [TR-104]"""
        if self._out.n_asked >= WISHES_WAITING_MAX:
            return False
        return self._reading is None or self._reading.has_room

    def data_room(self) -> int:
        """How many bytes of the data stream it takes now."""
        if self.state is not ReceiverState.RECEIVING:
            return 0
        return self._collection.room()

    # --- commands -------------------------------------------------------------------------------

    def begin(self, peer: PeerKey | None) -> None:
        """A connection to the sender is there. What an earlier one was doing is dropped."""
        self.connection_lost()
        self._begin(peer)
        self._collection.connected()
        self.state = ReceiverState.AWAITING_OFFER

    def connection_lost(self) -> None:
        """Nothing more comes on this connection. Whole chunks that came over it are still written,
        and writes that are under way still count."""
        self._leave(keep=True)

    def _leave(self, *, keep: bool) -> None:
        self._generation = object()
        self._out.drop_wishes(StorePages, Survey)
        self._collection.disconnected(keep=keep)

    def accept(self, offer_id: bytes) -> None:
        """Answers ``OfferReceived`` with yes: to the offer that it told of, and to no other.

        Raises:
            StateViolation: that offer is gone. One that is pending stays pending. [TR-100]
        """
        if self.state is not ReceiverState.DECIDING or offer_id != self._offer_id:
            raise StateViolation("that offer is gone")
        self._advance(ReceiverInput.ACCEPT)
        if self._accepted != offer_id or self._collection.inventory is None:
            # Another offer than the last accepted one: the store that holds its verified chunks
            # compares them with the new listing when it is opened.
            self._listing = self._now_reading.listing
            self._accepted = offer_id
            self._collection.another_offer()
            self._completed = None
        self._open_when_quiet()

    def decline(self, error: WraithError, reason: Reason = Reason.DECLINED) -> None:
        """Refuses the offer; ``error`` is what is shown here."""
        self._advance(ReceiverInput.DECLINE)
        self._out.say(Answer(False, reason))
        self._out.tell(Declined(by_peer=False, reason=reason, error=error))

    def abort(self, error: WraithError) -> None:
        """Gives up this connection's attempt and tells the peer why; what is verified is kept."""
        if self.state not in RECEIVER_ABORTABLE:
            return
        reason = reason_of(error)
        self._out.say(Abort(reason, words_of(error)))
        self._advance(ReceiverInput.ABORT)
        self._leave(keep=False)
        self._out.tell(Aborted(by_peer=False, reason=reason, error=error))

    # --- bytes and time in ----------------------------------------------------------------------

    def receive_control(self, data: Buffer, now: float) -> None:
        """Takes bytes of the control stream.

        Raises:
            RemoteProtocolError: the peer broke the protocol.
        """
        for message in self._parser.feed(data):
            if not self.is_over:
                self._on_message(message, now)
        self._collection.flush_drops()

    def receive_data(self, data: Buffer, now: float) -> None:
        """Takes bytes of the data stream; ``data`` must not change afterwards.

        Raises:
            RemoteProtocolError: a record that the listing does not allow.
        """
        if not self.is_receiving:
            return
        self._collection.receive(data, now)

    def receive_data_end(self, now: float) -> None:
        """The data stream has ended."""
        if self.is_receiving:
            self._collection.receive_end(now)
            self._conclude()

    def handle_timer(self, now: float) -> None:
        self._collection.handle_timer(now)

    def next_timer(self) -> float | None:
        return self._collection.next_timer()

    # --- bytes, wishes and events out -----------------------------------------------------------

    def control_to_send(self) -> list[bytes]:
        """What goes on the control stream next. Call it when what it gave before was written."""
        if (
            self.state is ReceiverState.TELLING
            and not self._out.has_messages
            and not self._is_summarising
        ):
            self._tell_more()
        return self._out.take_messages()

    def next_wish(self) -> Wish[object] | None:
        return self._out.next_wish()

    def io_done(self, wish_id: int, result: object, now: float) -> None:
        """The answer to a wish: what it names, or a ``WraithError``."""
        self._collection.now = now
        self._out.answered(wish_id, result)
        self._conclude()
        self._open_when_quiet()

    def next_event(self) -> TransferEvent | None:
        return self._out.next_event()

    # --- inside: messages -----------------------------------------------------------------------

    def _on_message(self, message: Message, now: float) -> None:
        match message:
            case Offer():
                self._on_offer(message)
            case UnknownOffer(version):
                self._on_unknown_offer(version)
            case Page(data) if self.state is ReceiverState.READING_LISTING:
                self._on_page(data)
            case Drop(entries) if self.state is ReceiverState.AWAITING_START:
                self._collection.on_drop(entries)
            case Start():
                self._on_start()
            case Failed(entry, reason) if self.state in _HEARS_OF_FILES:
                self._collection.on_failed(entry, reason)
            case End(entry, size) if self.is_receiving:
                self._collection.on_end(entry, size)
            case AllSent(n_failed) if self.is_receiving:
                self._collection.on_all_sent(n_failed, now)
            case ReceiptOk():
                self._on_receipt_ok()
            case Abort(reason, text):
                self._advance(ReceiverInput.ABORT)
                self.connection_lost()
                self._out.tell(Aborted(by_peer=True, reason=reason, error=error_of(reason, text)))
            case _:
                raise StateViolation(f"{type(message).__name__} while {self.state.value}")
        self._conclude()

    def _on_offer(self, offer: Offer) -> None:
        self._advance(ReceiverInput.OFFER)
        self._offer_id = offer_id_of(self._peer, offer)
        self._reading = OfferReading(offer, self._rules)
        false_text = self._reading.false_text()
        if false_text is not None:
            self.decline(false_text, Reason.NO_TEXT)

    def _on_unknown_offer(self, version: int) -> None:
        """Refused with a reason that version 1 knows too. [TR-136]"""
        self._advance(ReceiverInput.OFFER)
        where = "here" if version > OFFER_VERSION else "at the sender"
        text = f"newer wraith needed {where}: the offer has version {version}, not {OFFER_VERSION}"
        self.decline(NewerNeeded(text), Reason.UNSUPPORTED)

    @property
    def _now_reading(self) -> OfferReading:
        assert self._reading is not None
        return self._reading

    @property
    def _offer(self) -> Offer:
        return self._now_reading.offer

    def _on_page(self, page: bytes) -> None:
        reading = self._now_reading
        reading.add_page(page)
        batch = reading.pages_to_store()
        if batch is not None:
            first, pages = batch
            if self._accepted == self._offer_id:
                reading.stored(len(pages))  # it lies there already; only its digest is checked
            else:
                wish = StorePages(self._out.next_id(), first, pages)
                self._ask(wish, lambda _: reading.stored(len(pages)))
        if reading.is_whole:
            self._on_listing_whole(reading)

    def _on_listing_whole(self, reading: OfferReading) -> None:
        reading.check_whole()
        unsafe = reading.unsafe()
        if unsafe is not None:
            self.decline(unsafe, Reason.UNSAFE_PATH)
            return
        self._advance(ReceiverInput.LISTING_WHOLE)
        wish = Survey(self._out.next_id(), self._peer, reading.offer, tuple(reading.listing.tops))
        self._ask(wish, self._on_surveyed)

    def _on_surveyed(self, result: SurveyResult) -> None:
        self._advance(ReceiverInput.SURVEYED)
        reading = self._now_reading
        if self._accepted == self._offer_id:
            self.accept(self._offer_id)
            return
        objection = reading.objection(result)
        if objection is not None:
            self.decline(*objection)
            return
        tops, index = tuple(reading.listing.tops), reading.listing.index
        counts = (index.n_folders, index.n_links)
        facts = (reading.offer, tops, *counts, result, self._offer_id, reading.marks())
        self._out.tell(OfferReceived(*facts))

    # --- inside: what is here already -----------------------------------------------------------

    def _open_when_quiet(self) -> None:
        """Waits until no write of an earlier connection is under way: then what is here is
        known. Called again whenever one ends."""
        if self.state is not ReceiverState.OPENING or self._is_opening or self._is_completing:
            return
        if not self._collection.is_quiet:
            return
        assert self._listing is not None
        if self._completed is not None:
            self._out.say(Answer(True))
            self._advance(ReceiverInput.OPENED_COMPLETE)
            self._send_receipt()
        elif self._collection.inventory is not None:
            self._tell_ranges(self._collection)
        else:
            self._is_opening = True
            sizes = self._listing.index.sizes
            wish = OpenStore(
                self._out.next_id(), self._peer, self._offer, sizes, tuple(self._listing.tops)
            )
            self._ask(wish, self._on_opened)

    def _on_opened(self, result: StoreOpened) -> None:
        assert self._listing is not None
        self._is_opening = False
        if result.void:
            self._out.tell(KeptVoid(result.void))
        self._collection.open(result, self._listing.index.sizes)
        self._collection.count_total(self._offer.total_bytes)
        if result.completed is not None:
            self._completed = result.completed
            self._tell_placed(result.completed)
        self._open_when_quiet()

    def _tell_ranges(self, collection: Collection) -> None:
        assert collection.inventory is not None
        self._advance(ReceiverInput.OPENED)
        self._out.say(Answer(True))
        for skip in skip_messages(collection.skipped):
            self._out.say(skip)
        self._to_tell = held_items(collection.inventory)
        self._tell_more()

    def _tell_more(self) -> None:
        items = tuple(islice(self._to_tell, SUMMARIES_PER_WISH))
        if not items:
            self._out.say(HaveEnd())
            self._advance(ReceiverInput.RANGES_TOLD)
            return
        self._is_summarising = True
        wish = SummariseRanges(self._out.next_id(), items)
        self._ask(wish, partial(self._on_summarised, items))

    def _on_summarised(self, items: tuple[Held, ...], digests: list[bytes]) -> None:
        self._is_summarising = False
        for have in have_messages(items, digests):
            self._out.say(have)

    def _on_start(self) -> None:
        self._advance(ReceiverInput.START)
        n_bytes = self._collection.start()
        self._out.tell(Accepted(n_bytes, self._collection.total))
        self._collection.tell_progress()
        self._collection.finish()

    def _ask(self, wish: Wish[AnswerT], hears: Callable[[AnswerT], None]) -> None:
        """Asks for what belongs to this connection: later its answer is not heard, and an error
        ends the connection's attempt."""
        generation = self._generation
        self._out.ask(wish, lambda result: self._hear(generation, hears, result))

    # --- inside: what the collection has come to ------------------------------------------------

    def _conclude(self) -> None:
        match self._collection.take_conclusion():
            case AllVerified():
                self._on_all_verified()
            case DamagedSince():
                self._begin_anew()
            case GivenUp(error):
                self.abort(error)
            case None:
                pass

    def _on_all_verified(self) -> None:
        """It is put in its place."""
        self._advance(ReceiverInput.ALL_VERIFIED)
        self._is_completing = True
        wish = Complete(self._out.next_id(), self._collection.failed)
        self._out.ask(wish, self._on_completed)

    def _begin_anew(self) -> None:
        """A fresh connection's HAVE leaves out what is damaged. [TR-137]"""
        if not self._is_anew:
            self._is_anew = True
            self._out.tell(BeginAnew())

    # --- inside: the end ------------------------------------------------------------------------

    def _on_completed(self, result: AllPlaced | WraithError) -> None:
        self._is_completing = False
        if isinstance(result, WraithError):
            self.abort(result)
            return
        self._completed = result
        self._tell_placed(result)
        if self.state is ReceiverState.COMPLETING:
            self._advance(ReceiverInput.PLACED)
            self._send_receipt()
        self._open_when_quiet()

    def _tell_placed(self, completed: AllPlaced) -> None:
        paths = completed.failed_paths
        reasons = tuple(islice(self._collection.failed.values(), len(paths)))
        self._out.tell(Placed(completed.placed, completed.text, paths, completed.file_ids, reasons))

    def _send_receipt(self) -> None:
        self._out.say(
            Receipt(
                listing_digest=self._offer.listing_digest,
                n_files=self._n_files_done(),
                n_bytes=self._collection.verified_bytes,
                n_failed=len(self._collection.failed),
                unread_bytes=self._collection.unread_bytes,
            )
        )

    def _on_receipt_ok(self) -> None:
        self._advance(ReceiverInput.RECEIPT_OK)
        self._out.ask(RemoveState(self._out.next_id()), self._on_removed)

    def _on_removed(self, result: WraithError | None) -> None:
        del result  # a leftover folder is listed by ``receive --list``; the data is in its place
        self._out.tell(self.done())

    def done(self) -> Done:
        """The closing figures, for a receiver that got no RECEIPT_OK as well."""
        collection = self._collection
        n_bytes = collection.verified_bytes
        index = self._listing.index if self._listing is not None else None
        return Done(
            n_files=self._n_files_done(),
            bytes_total=n_bytes,
            bytes_transferred=collection.bytes_transferred,
            bytes_reused=min(collection.bytes_reused, n_bytes),
            n_failed=len(collection.failed),
            bytes_unread=collection.unread_bytes,
            n_folders=index.n_folders if index is not None else 0,
            n_links=index.n_links if index is not None else 0,
        )

    # --- inside: the rest -----------------------------------------------------------------------

    def _n_files_done(self) -> int:
        """Files that are in their place, empty ones included."""
        if self._reading is None:
            return 0
        return self._offer.n_files - len(self._collection.failed) - self._collection.n_skipped

    def _hear(
        self,
        generation: object,
        hears: Callable[[AnswerT], None],
        result: AnswerT | WraithError,
    ) -> None:
        if generation is not self._generation:
            return
        if isinstance(result, WraithError):
            if self.state in (ReceiverState.SURVEYING, ReceiverState.OPENING):
                self.decline(result, reason_of(result))
            else:
                self.abort(result)
            return
        hears(result)

    def _advance(self, on: ReceiverInput) -> None:
        self.state = next_receiver_state(self.state, on)
        self._collection.is_receiving = self.is_receiving
