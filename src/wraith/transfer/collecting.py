"""The files of an accepted offer while they come in: what is verified, failed, finished.

It outlives connections: a stream that breaks off leaves what was verified, the next one goes on
there. It turns records of the data stream into wishes for the disk and counts only what the disk
has answered. What it has come to is a ``Conclusion``, for the ``Receiver`` to take and to act upon:
offers, answers and receipts are none of its business.

Spec: transfer §5-§7.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import partial

from wraith.content.chunking import Cut
from wraith.content.inventory import Inventory
from wraith.errors import LimitExceeded, MissingChunk, StateViolation, WraithError
from wraith.transfer.answers import KeptRead, StoreOpened
from wraith.transfer.chunk_records import OVERHEAD_BYTES, ChunkRecord
from wraith.transfer.events import FileFailed, KeptDamaged, Progress
from wraith.transfer.failures import Failures
from wraith.transfer.intake import Batch, Intake, Reports
from wraith.transfer.kept import Kept
from wraith.transfer.messages import ProgressMessage, Reason
from wraith.transfer.order import Ascending, Once
from wraith.transfer.outbox import Outbox
from wraith.transfer.wishes import (
    DropFiles,
    FinishFiles,
    ForgetChunks,
    Piece,
    ReadAgain,
    WritePieces,
)
from wraith.types import Buffer

FAILED_TOLD_MAX = 1_000
"""Files whose failure is told at once, each by an event; the rest is told when all is in place."""


@dataclass(frozen=True, slots=True)
class AllVerified:
    """All that was announced is verified and finished."""


@dataclass(frozen=True, slots=True)
class DamagedSince:
    """All else has arrived, and a kept chunk turned out bad after the peer was told that it is
    here."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The disk failed, or the stream ended too early."""

    error: WraithError


Conclusion = AllVerified | DamagedSince | GivenUp


class Collection:
    """See the module.

    Args:
        out: what it says, tells and asks goes there.

    Attributes:
        inventory: what is there; ``None`` while only the disk knows.
        is_receiving: the data stream is open.
        now: when the answer that is being dealt with came.
    """

    def __init__(self, out: Outbox) -> None:
        self.is_receiving = False
        self.now = 0.0
        self.inventory: Inventory | None = None
        self.failed = Failures()
        self.bytes_transferred = 0
        self.bytes_reused = 0
        self.total: int | None = None
        self.skipped: list[tuple[int, int]] = []
        self.n_skipped = 0
        self._out = out
        self._conclusion: Conclusion | None = None
        self._connection = object()
        self._sizes: array[int] = array("Q")
        self._intake = Intake()
        self._drop_order = Ascending("DROP")
        self._ended = Once("END")
        self._to_drop = array("I")
        self._reports = Reports()
        self._n_finishing = 0
        self._n_failed_announced: int | None = None
        self._data_ended = False
        self._has_started = False
        self._kept: Kept | None = None
        self._reads_again = False
        self._is_reading_again = False
        self._is_lost = False

    # --- facts ----------------------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        """Nothing that changes the inventory is under way."""
        return not self._intake.n_writing and not self._n_finishing

    @property
    def verified_bytes(self) -> int:
        return self.inventory.verified_bytes if self.inventory is not None else 0

    @property
    def unread_bytes(self) -> int:
        """Of what is verified, what an earlier run left and this one has not read."""
        return min(self._kept.unread_bytes, self.verified_bytes) if self._kept is not None else 0

    def take_conclusion(self) -> Conclusion | None:
        """What it has come to since this was asked last."""
        conclusion, self._conclusion = self._conclusion, None
        return conclusion

    def room(self) -> int:
        """How many bytes of the data stream it takes now."""
        return self._intake.room()

    def next_timer(self) -> float | None:
        times = [t for t in (self._intake.flush_at, self._reports.due_at) if t is not None]
        return min(times) if times else None

    # --- one offer, one connection, one stream --------------------------------------------------

    def another_offer(self) -> None:
        """Forgets what was there of an earlier offer. The store, which holds its verified chunks,
        compares them with the new listing when it is opened."""
        self.inventory = None
        self._kept = None

    def open(self, opened: StoreOpened, sizes: array[int]) -> None:
        """The disk has said what is there of the offer that was accepted."""
        self.inventory = inventory = opened.inventory
        self._sizes = sizes
        self.skipped = list(opened.skipped)
        self.n_skipped = sum(n for _, n in opened.skipped)
        if self._kept is None:  # else the chunks that came since were verified by this process
            self._kept = Kept(inventory, opened.read)
            self._reads_again = opened.reads_again
        if not self._has_started:
            self.bytes_reused = inventory.verified_bytes

    def count_total(self, offered: int | None) -> None:
        """What is wanted of so many bytes."""
        if offered is not None:
            for first, n in self.skipped:
                offered -= sum(self._sizes[first : first + n])
        self.total = offered

    def connected(self) -> None:
        """A new connection: what was said on an earlier one is void."""
        self.is_receiving = False
        self._connection = object()
        self.failed = Failures()
        self._drop_order = Ascending("DROP")
        self._ended = Once("END")
        self._n_failed_announced = None
        self._data_ended = False
        self._is_lost = False
        self._reports = Reports()

    def disconnected(self, *, keep: bool) -> None:
        """No more of the data stream comes. Whole chunks that came are still written if
        ``keep``; writes that are under way count in any case."""
        self._connection = object()
        self.flush_drops()
        self._intake.end(self.failed if keep else None)
        self._reports = Reports()
        while records := self._intake.next_batch(all_of_it=True, at_once=True):
            self._want_written(records)

    def start(self) -> int:
        """The data stream begins; returns how many bytes are here already."""
        assert self.inventory is not None
        self.flush_drops()
        self._intake.begin(self._sizes)
        if not self._has_started:
            self._has_started = True
            self.bytes_reused = self.inventory.verified_bytes
        return self.inventory.verified_bytes

    # --- what comes in --------------------------------------------------------------------------

    def receive(self, data: Buffer, now: float) -> None:
        """Takes bytes of the data stream. Raises ``DecodeError``."""
        inventory, intake = self.inventory, self._intake
        assert inventory is not None
        for record in intake.parse(data):
            if record.entry in self.failed or inventory.holds(record.entry, record.chunk):
                self._consume(record.length + OVERHEAD_BYTES, now)
            else:
                intake.add(record)
        if intake.has_enough(now):
            self._write(now)

    def receive_end(self, now: float) -> None:
        """The data stream has ended."""
        self._data_ended = True
        self._write(now, all_of_it=True)
        self.finish()

    def on_all_sent(self, n_failed: int, now: float) -> None:
        """Nothing more comes that is not under way already."""
        self._n_failed_announced = n_failed
        self._write(now, all_of_it=True)
        self.finish()

    def handle_timer(self, now: float) -> None:
        flush_at, report_at = self._intake.flush_at, self._reports.due_at
        if flush_at is not None and now >= flush_at:
            self._write(now, all_of_it=True)
        if report_at is not None and now >= report_at:
            self.tell_progress()

    def on_drop(self, entries: tuple[int, ...]) -> None:
        """The sender has other content for these.

        Raises:
            RemoteProtocolError: out of order, or beyond the listing.
        """
        inventory = self.inventory
        assert inventory is not None
        self._drop_order.take(entries)
        self._check(entries[-1])
        for entry in entries:
            if inventory.holds_any(entry):
                self._drop(entry, inventory)
                self._to_drop.append(entry)

    def on_failed(self, entry: int, reason: Reason) -> None:
        """This file stays out. What is verified of it stays on the disk, for a later offer.

        Raises:
            RemoteProtocolError: said already, or beyond the listing.
        """
        self._check(entry)
        assert self.inventory is not None
        if entry in self.failed:
            raise StateViolation("FAILED twice for one file")
        self.failed.note(entry, reason)
        self._drop(entry, self.inventory)
        if len(self.failed) <= FAILED_TOLD_MAX:
            self._out.tell(FileFailed(entry, reason))
        self.finish()

    def flush_drops(self) -> None:
        """Hands what was dropped to the disk, in one wish for all of it. Nothing that comes later
        may reach the disk before. [TR-104]"""
        if self._to_drop:
            dropped, self._to_drop = self._to_drop, array("I")
            wish = DropFiles(self._out.next_id(), dropped)
            self._out.ask(wish, partial(self._on_dropped, self._connection))

    def _on_dropped(self, connection: object, result: WraithError | None) -> None:
        if isinstance(result, WraithError) and connection is self._connection:
            self._conclusion = GivenUp(result)

    def on_end(self, entry: int, size: int) -> None:
        """A file of unknown size has this one.

        Raises:
            RemoteProtocolError: its size was known, or another one.
        """
        self._check(entry)
        self._ended.take(entry)
        assert self.inventory is not None
        if not Cut(self._sizes[entry]).may_end_at(size):
            raise LimitExceeded("END of a file whose size was known")
        if self.inventory.cut(entry).size_or(size) != size:
            raise StateViolation("two ends of one file")
        if self.inventory.set_final_size(entry, size):
            self._finish_files([(entry, size)])
        self.finish()

    def _drop(self, entry: int, inventory: Inventory) -> None:
        inventory.drop(entry)
        if self._kept is not None:
            self._kept.forget(entry)

    def _check(self, entry: int) -> None:
        if entry >= len(self._sizes):
            raise LimitExceeded("a file beyond the listing")

    # --- the disk -------------------------------------------------------------------------------

    def _write(self, now: float, *, all_of_it: bool = False) -> None:
        """Hands batches to the disk: large ones as long as two are not under way, the rest when
        the flush timer or the end of the stream says so."""
        while records := self._intake.next_batch(all_of_it=all_of_it):
            self._want_written(records)
        self._intake.set_flush(now)

    def _want_written(self, records: tuple[ChunkRecord, ...]) -> None:
        wish = WritePieces(self._out.next_id(), records)
        answer = partial(self._on_written, Batch(records, self._sizes), self._reports)
        self._out.ask(wish, answer)

    def _on_written(self, batch: Batch, reports: Reports, result: WraithError | None) -> None:
        self._intake.written(batch.held_bytes)
        if isinstance(result, WraithError):
            self._on_disk_failed(result)
        elif self.inventory is not None:
            self.bytes_transferred += batch.n_bytes
            self._note(batch, self.inventory)
            now = self.now
            if reports is self._reports:  # else its stream is gone
                self._consume(batch.wire_bytes, now)
            if self.is_receiving:
                self._write(now, all_of_it=self._n_failed_announced is not None)
                self.finish()
            self._read_again()

    def _note(self, batch: Batch, inventory: Inventory) -> None:
        finished: list[tuple[int, int]] = []
        for entry, first, n, n_bytes in batch.notes:
            if entry not in self.failed and inventory.add(entry, first, n, n_bytes):
                finished.append((entry, inventory.size_of(entry)))
        self._finish_files(finished)

    def _finish_files(self, finished: list[tuple[int, int]]) -> None:
        if finished:
            self._n_finishing += 1
            wish = FinishFiles(self._out.next_id(), tuple(finished))
            self._out.ask(wish, self._on_finished)

    def _on_finished(self, result: WraithError | None) -> None:
        self._n_finishing -= 1
        if isinstance(result, WraithError):
            self._on_disk_failed(result)
        else:
            self.finish()

    # --- what an earlier run left [TR-53] -------------------------------------------------------

    def _read_again(self) -> None:
        """Wants the next batch read, if none is under way and something else is still missing. Only
        the end of a write asks for the first one: no new byte waits for it."""
        kept, inventory = self._kept, self.inventory
        if kept is None or inventory is None or not self._reads_again or self._is_reading_again:
            return
        if self._is_all_here(inventory):
            return
        batch = kept.next_batch()
        if batch:
            self._is_reading_again = True
            wish = ReadAgain(self._out.next_id(), batch)
            self._out.ask(wish, partial(self._on_read_again, kept, batch))

    def _on_read_again(
        self, kept: Kept, batch: tuple[Piece, ...], result: KeptRead | WraithError
    ) -> None:
        self._is_reading_again = False
        if isinstance(result, KeptRead) and kept is self._kept and self.inventory is not None:
            kept.answered(batch, result.missed)
            bad = tuple(pair for pair in result.bad if not kept.is_forgotten(pair[0]))
            if bad:
                self._forget(bad, self.inventory)
            self._read_again()
        self.finish()

    def _forget(self, bad: tuple[tuple[int, int], ...], inventory: Inventory) -> None:
        n_bytes = 0
        for entry in dict.fromkeys(entry for entry, _ in bad):
            n_bytes += inventory.forget(entry, [chunk for e, chunk in bad if e == entry])
        self.bytes_reused = max(0, self.bytes_reused - n_bytes)
        self._is_lost = True
        wish = ForgetChunks(self._out.next_id(), bad)
        self._out.ask(wish, self._on_forgotten)
        self._out.tell(KeptDamaged(len(bad), n_bytes))

    def _on_forgotten(self, result: WraithError | None) -> None:
        if isinstance(result, WraithError):
            self._on_disk_failed(result)

    def _on_disk_failed(self, error: WraithError) -> None:
        self.inventory = None  # what is on disk is known only there now
        self._conclusion = GivenUp(error)

    def finish(self) -> None:
        """Ends the stream's part once everything that was announced is verified and finished.

        Raises:
            StateViolation: another number of files has failed than was announced.
        """
        inventory = self.inventory
        if not self.is_receiving or self._n_failed_announced is None:
            return
        if not self._intake.is_empty or self._n_finishing or inventory is None:
            return
        if len(self.failed) != self._n_failed_announced:
            raise StateViolation("another number of failed files than was announced")
        if not self._is_all_here(inventory):
            if self._data_ended and self._is_lost:
                self._conclusion = DamagedSince()
            elif self._data_ended:
                self._conclusion = GivenUp(MissingChunk())
            return
        if self._is_reading_again:
            return  # nothing is put in its place while it is being read
        self.tell_progress()
        self.flush_drops()
        self._conclusion = AllVerified()

    def _is_all_here(self, inventory: Inventory) -> bool:
        return inventory.n_complete + len(self.failed) + self.n_skipped >= inventory.n_wanted

    # --- progress -------------------------------------------------------------------------------

    def _consume(self, n_bytes: int, now: float) -> None:
        if self._reports.consume(n_bytes, now):
            self.tell_progress()

    def tell_progress(self) -> None:
        """Tells here and there how far things are, if that is news."""
        inventory = self.inventory
        if inventory is None:
            self._reports.due_at = None
            return
        verified, n_complete = inventory.verified_bytes, inventory.n_complete
        is_news, is_new = self._reports.tell(verified)
        if is_new:
            self._out.tell(Progress(verified, self.total, n_complete))
        if is_news and self.is_receiving:
            self._out.say(ProgressMessage(verified, n_complete, self._reports.consumed))
