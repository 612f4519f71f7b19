"""The sending side of one transfer over one connection.

::

    OFFER, PAGE … ─► ANSWER ─► HAVE … HAVE_END ─► (check) DROP …, START ─► chunk records
                                                       ─► ALL_SENT ─► RECEIPT ─► RECEIPT_OK

One machine per connection; what outlives a connection is in ``Outgoing``. It never reads a file:
``next_wish`` says what to read, ``io_done`` brings it. What is read ahead is bounded by
``READ_AHEAD_BYTES``, whatever the network does.

Spec: transfer §4-§7.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from wraith.content.inventory import Inventory
from wraith.errors import (
    LimitExceeded,
    OfferRefused,
    StateViolation,
    TransferError,
    WraithError,
)
from wraith.transfer.answers import PiecesRead
from wraith.transfer.checking import Checking
from wraith.transfer.events import (
    Aborted,
    Accepted,
    Declined,
    Done,
    FileFailed,
    PeerDeciding,
    Progress,
    TransferEvent,
)
from wraith.transfer.message_codec import BODY_BYTES_MAX, MessageParser
from wraith.transfer.messages import (
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
    Page,
    ProgressMessage,
    Reason,
    Receipt,
    ReceiptOk,
    Skip,
    Start,
)
from wraith.transfer.order import Ascending, NeverFalling
from wraith.transfer.outbox import Outbox
from wraith.transfer.outgoing import Outgoing as Outgoing
from wraith.transfer.planning import READ_BYTES, ReadBatch, ReadPlan
from wraith.transfer.reasons import NewerNeeded, error_of, reason_of, words_of
from wraith.transfer.state import SENDER_ENDS, SenderInput, SenderState, next_sender_state
from wraith.transfer.wishes import AnswerT, CheckRanges, ReadPages, ReadPieces, Wish
from wraith.types import Buffer

READ_AHEAD_BYTES = 3 * READ_BYTES
UNCONSUMED_BYTES_MAX = 48 * 1024 * 1024
"""Stream bytes that the receiver has not written yet. They are kept here until they are
acknowledged, so this bounds this side's memory, whatever the stream is willing to take."""

PAGES_PER_READ = 16
PAGES_AHEAD = 32


class Sender:
    """See the module. ``ids`` gives wishes their numbers, shared with other machines."""

    def __init__(self, outgoing: Outgoing, ids: Iterator[int]) -> None:
        self.state = SenderState.OFFERING
        self._outgoing = outgoing
        self._offer = outgoing.offer()
        self._parser = MessageParser()
        self._out = Outbox(ids)
        self._out.say(self._offer)
        self._data: deque[bytes | memoryview] = deque()
        self._data_bytes = 0
        self._handed_out = 0
        self._consumed = 0
        self._next_page = 0
        self._pages_waiting = 0
        self._inventory = Inventory(outgoing.index.sizes)
        self._skipped = bytearray(self._offer.n_entries)
        self._skipped_bytes = 0
        self._skip_order = Ascending("SKIP")
        self._consumed_order = NeverFalling("consumed")
        self._checking = Checking(outgoing.index.sizes, self._inventory)
        self._have_ended = False
        self._plan = ReadPlan(
            outgoing.index.sizes, self._inventory, self._is_skipped, outgoing.failed
        )
        self._reading_bytes = 0

    # --- facts ----------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return self.state in SENDER_ENDS

    @property
    def data_is_finished(self) -> bool:
        """Everything that will be sent on the data stream has been handed out."""
        return self.state is SenderState.AWAITING_RECEIPT and not self._data

    @property
    def has_data(self) -> bool:
        """There is something for the data stream now."""
        return bool(self._data)

    @property
    def has_started(self) -> bool:
        """START has been queued: the data stream may be opened."""
        return self.state in (SenderState.SENDING, SenderState.AWAITING_RECEIPT)

    @property
    def wants_control(self) -> bool:
        """Whether it takes more of the control stream now. [TR-104]"""
        return self._checking.has_room

    # --- bytes in -------------------------------------------------------------------------------

    def receive_control(self, data: Buffer) -> None:
        """Takes bytes of the control stream.

        Raises:
            RemoteProtocolError: the peer broke the protocol; the machine is of no further use.
        """
        for message in self._parser.feed(data):
            if not self.is_over:
                self._on_message(message)

    # --- bytes out ------------------------------------------------------------------------------

    def control_to_send(self) -> list[bytes]:
        """What goes on the control stream next; at most some pages at a time. Call it when what it
        gave before has been written."""
        out = self._out.take_messages()
        if self.state is SenderState.OFFERING:
            self._want_pages()
        return out

    def data_to_send(self, n_max: int) -> list[bytes | memoryview]:
        """Whole buffers for the data stream, until they have ``n_max`` bytes or more. Owned by the
        caller; ``bytes`` or views of them, so they may be kept without a copy."""
        out: list[bytes | memoryview] = []
        data = self._data
        n_max = min(n_max, UNCONSUMED_BYTES_MAX + self._consumed - self._handed_out)
        n_left = n_max
        while data and n_left > 0:
            buffer = data.popleft()
            out.append(buffer)
            n_left -= len(buffer)
        self._data_bytes -= n_max - n_left
        self._handed_out += n_max - n_left
        if self.state is SenderState.SENDING:
            self._want_pieces()
        return out

    # --- wishes and events ----------------------------------------------------------------------

    def next_wish(self) -> Wish[object] | None:
        return self._out.next_wish()

    def io_done(self, wish_id: int, result: object) -> None:
        """The answer to a wish: what it names, or a ``WraithError``."""
        self._out.answered(wish_id, result)

    def next_event(self) -> TransferEvent | None:
        return self._out.next_event()

    def abort(self, error: WraithError) -> None:
        """Gives up this attempt and tells the peer why. Does nothing when it is over."""
        if self.is_over:
            return
        reason = reason_of(error)
        self._out.say(Abort(reason, words_of(error)))
        self._end(SenderInput.ABORT)
        self._out.tell(Aborted(by_peer=False, reason=reason, error=error))

    # --- inside: messages -----------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        match message:
            case Answer(accepted, reason):
                self._on_answer(accepted, reason)
            case Have(items) if self._is_hearing_ranges():
                for item in items:
                    self._checking.add(item)
                self._want_checks()
            case Skip(ranges) if self._is_hearing_ranges():
                self._on_skip(ranges)
            case HaveEnd() if self._is_hearing_ranges():
                self._have_ended = True
                self._finish_checks()
            case ProgressMessage(verified_bytes, n_finished, consumed) if self.has_started:
                self._consumed_order.take(consumed)
                self._consumed = max(self._consumed, min(consumed, self._handed_out))
                total = self._total_bytes()
                done = verified_bytes if total is None else min(verified_bytes, total)
                self._out.tell_instead(Progress(done, total, n_finished))
            case Receipt():
                self._on_receipt(message)
            case Abort(reason, text):
                self._end(SenderInput.ABORT)
                self._out.tell(Aborted(by_peer=True, reason=reason, error=error_of(reason, text)))
            case _:
                raise StateViolation(f"{type(message).__name__} while {self.state.value}")

    def _is_hearing_ranges(self) -> bool:
        return self.state is SenderState.CHECKING and not self._have_ended

    def _on_answer(self, accepted: bool, reason: Reason) -> None:
        if accepted:
            self._advance(SenderInput.ACCEPTED)
            return
        self._end(SenderInput.DECLINED)
        error: TransferError = OfferRefused()
        if reason is Reason.UNSUPPORTED:
            error = NewerNeeded("newer wraith needed: the receiver does not read this offer")
        elif reason not in (Reason.OTHER, Reason.DECLINED):
            error = OfferRefused(f"the receiver refused the offer: {error_of(reason, '')}")
        self._out.tell(Declined(by_peer=True, reason=reason, error=error))

    def _on_receipt(self, receipt: Receipt) -> None:
        if receipt.listing_digest != self._offer.listing_digest:
            raise StateViolation("a receipt for something else")
        after = next_sender_state(self.state, SenderInput.RECEIPT)
        outgoing = self._outgoing
        if outgoing.bytes_reused is None:  # complete since an earlier run
            outgoing.bytes_reused = receipt.n_bytes
        self._clear()
        self.state = after
        self._out.say(ReceiptOk())
        self._out.tell(
            Done(
                n_files=receipt.n_files,
                bytes_total=receipt.n_bytes,
                bytes_transferred=max(0, receipt.n_bytes - outgoing.bytes_reused),
                bytes_reused=outgoing.bytes_reused,
                n_failed=max(receipt.n_failed, len(outgoing.failed)),
                bytes_unread=receipt.unread_bytes,
                n_folders=outgoing.index.n_folders,
                n_links=outgoing.index.n_links,
            )
        )
        outgoing.bytes_reused = None

    def _on_skip(self, ranges: tuple[tuple[int, int], ...]) -> None:
        index = self._outgoing.index
        self._skip_order.take_ranges(ranges)
        for first, n in ranges:
            if first + n > index.n_entries:
                raise LimitExceeded("SKIP beyond the listing")
            self._skipped[first : first + n] = b"\1" * n
            if index.total_bytes is not None:
                self._skipped_bytes += index.bytes_of(first, n)

    # --- inside: what the receiver has ----------------------------------------------------------

    def _want_checks(self) -> None:
        while batch := self._checking.next_batch():
            wish = CheckRanges(self._out.next_id(), batch)
            self._ask(wish, partial(self._on_checked, batch))

    def _on_checked(self, batch: tuple[HaveItem, ...], holds: list[bool]) -> None:
        self._checking.checked(batch, holds)
        self._want_checks()
        self._finish_checks()

    def _finish_checks(self) -> None:
        if not self._have_ended or not self._checking.is_idle:
            return
        if self.state is not SenderState.CHECKING:
            return
        dropped = self._checking.drop_what_differs()
        while entries := tuple(islice(dropped, BODY_BYTES_MAX // 4)):
            self._out.say(Drop(entries))
        for entry, reason in self._outgoing.failed.items():
            self._out.say(Failed(entry, reason))
        self._out.say(Start())
        self._advance(SenderInput.RANGES_CHECKED)
        reused = self._inventory.verified_bytes
        if self._outgoing.bytes_reused is None:
            self._outgoing.bytes_reused = reused
        self._out.tell(Accepted(reused, self._total_bytes()))
        self._want_pieces()

    # --- inside: reading ------------------------------------------------------------------------

    def _want_pages(self) -> None:
        while self._next_page < self._offer.n_pages and self._pages_waiting < PAGES_AHEAD:
            n = min(PAGES_PER_READ, self._offer.n_pages - self._next_page)
            wish = ReadPages(self._out.next_id(), self._next_page, n)
            self._next_page += n
            self._pages_waiting += n
            self._ask(wish, self._on_pages)
        if self._next_page == self._offer.n_pages and not self._pages_waiting:
            self._advance(SenderInput.LISTING_SENT)
            self._out.tell(PeerDeciding())

    def _on_pages(self, pages: list[bytes]) -> None:
        for page in pages:
            self._out.say(Page(page))
        self._pages_waiting -= len(pages)

    def _want_pieces(self) -> None:
        """Reads ahead while there is room."""
        while self._data_bytes + self._reading_bytes < READ_AHEAD_BYTES:
            batch = self._plan.next_batch(is_reading=self._reading_bytes > 0)
            if batch is None:
                break
            self._reading_bytes += batch.n_bytes
            wish = ReadPieces(self._out.next_id(), batch.pieces)
            self._ask(wish, partial(self._on_read, batch))
        self._finish_sending()

    def _on_read(self, batch: ReadBatch, result: PiecesRead) -> None:
        self._reading_bytes -= batch.n_bytes
        for buffer in result.buffers:
            self._data.append(buffer)
            self._data_bytes += len(buffer)
        for failed in result.failed:
            if failed.entry not in self._outgoing.failed:
                self._outgoing.failed[failed.entry] = failed.reason
                self._out.say(Failed(failed.entry, failed.reason))
                self._out.tell(FileFailed(failed.entry, failed.reason, failed.path))
        entry = batch.pieces[0].entry
        is_stream = not result.failed and self._plan.on_read(entry, result.n_chunks)
        if is_stream and result.final_size is not None:
            self._inventory.set_final_size(entry, result.final_size)
            self._out.say(End(entry, result.final_size))
        self._want_pieces()

    def _finish_sending(self) -> None:
        if self.state is not SenderState.SENDING or not self._plan.is_ended or self._reading_bytes:
            return
        self._out.say(AllSent(len(self._outgoing.failed)))
        self._advance(SenderInput.ALL_SENT)

    # --- inside: the rest -----------------------------------------------------------------------

    def _ask(self, wish: Wish[AnswerT], hears: Callable[[AnswerT], None]) -> None:
        self._out.ask(wish, lambda result: self._hear(hears, result))

    def _hear(self, hears: Callable[[AnswerT], None], result: AnswerT | WraithError) -> None:
        if self.is_over:
            return
        if isinstance(result, WraithError):
            self.abort(result)
        else:
            hears(result)

    def _is_skipped(self, entry: int) -> bool:
        return bool(self._skipped[entry])

    def _total_bytes(self) -> int | None:
        total = self._offer.total_bytes
        return None if total is None else total - self._skipped_bytes

    def _advance(self, on: SenderInput) -> None:
        self.state = next_sender_state(self.state, on)

    def _end(self, on: SenderInput) -> None:
        self._advance(on)
        self._clear()

    def _clear(self) -> None:
        """Lets go of what nobody wants any more."""
        self._out.drop_wishes()
        self._data.clear()
        self._data_bytes = 0
        self._checking.clear()
