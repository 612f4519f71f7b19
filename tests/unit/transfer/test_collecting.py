"""What the collection of an offer's files has come to, with nobody above it."""

from __future__ import annotations

from array import array
from itertools import count

from wraith.content.chunking import chunk_digest
from wraith.content.inventory import Inventory
from wraith.errors import MissingChunk, NoSpace
from wraith.transfer.answers import KeptRead, StoreOpened
from wraith.transfer.chunk_records import ChunkRecordWriter
from wraith.transfer.collecting import AllVerified, Collection, DamagedSince, GivenUp
from wraith.transfer.outbox import Outbox
from wraith.transfer.wishes import (
    DropFiles,
    FinishFiles,
    ForgetChunks,
    ReadAgain,
    Wish,
    WritePieces,
)

SIZES = array("Q", [3, 4, 5])


class Bench:
    """A collection whose data stream is open, with the files of ``held`` here already."""

    def __init__(self, *held: int) -> None:
        self.out = Outbox(count(1))
        self.collection = Collection(self.out)
        inventory = Inventory(SIZES)
        for entry in held:
            inventory.add_file(entry)
        self.collection.connected()
        self.collection.open(StoreOpened(inventory), SIZES)
        self.collection.count_total(sum(SIZES))
        self.collection.is_receiving = True
        self.collection.start()

    def receive(self, entry: int) -> None:
        """The whole file comes, and the flush timer runs out."""
        writer, data = ChunkRecordWriter(), bytes(SIZES[entry])
        writer.add(entry, 0, data, chunk_digest(data))
        for buffer in writer.finish():
            self.collection.receive(bytes(buffer), 0.0)
        self.collection.handle_timer(1.0)

    def answer(self, kind: type[Wish[object]], result: object = None) -> None:
        """Answers the next wish, which is of this kind."""
        wish = self.out.next_wish()
        assert wish is not None and isinstance(wish, kind), wish
        self.out.answered(wish.id, result)


def test_it_is_all_verified_when_the_last_file_is_finished() -> None:
    bench = Bench(0, 2)
    bench.receive(1)
    bench.collection.on_all_sent(0, 1.0)
    bench.answer(WritePieces)
    assert bench.collection.take_conclusion() is None
    bench.answer(FinishFiles)
    assert bench.collection.take_conclusion() == AllVerified()
    assert bench.collection.take_conclusion() is None  # it is taken once
    assert bench.collection.verified_bytes == sum(SIZES)


def test_it_gives_up_when_the_disk_does() -> None:
    bench, error = Bench(), NoSpace()
    bench.receive(1)
    bench.answer(WritePieces, error)
    assert bench.collection.take_conclusion() == GivenUp(error)
    assert bench.collection.inventory is None


def test_it_gives_up_when_the_stream_ends_too_early() -> None:
    bench = Bench(0)
    bench.collection.on_all_sent(0, 1.0)
    bench.collection.receive_end(1.0)
    conclusion = bench.collection.take_conclusion()
    assert isinstance(conclusion, GivenUp) and isinstance(conclusion.error, MissingChunk)


def test_a_kept_chunk_that_turns_out_bad_asks_for_another_connection() -> None:
    bench = Bench(0)
    bench.receive(1)
    bench.answer(WritePieces)
    bench.answer(FinishFiles)
    bench.answer(ReadAgain, KeptRead(bad=((0, 0),)))
    bench.answer(ForgetChunks)
    bench.receive(2)
    bench.answer(WritePieces)
    bench.answer(FinishFiles)
    bench.collection.on_all_sent(0, 1.0)
    assert bench.collection.take_conclusion() is None  # it may still be sent
    bench.collection.receive_end(1.0)
    assert bench.collection.take_conclusion() == DamagedSince()
    assert bench.collection.verified_bytes == 4 + 5


def test_an_error_of_a_drop_counts_on_its_own_connection_only() -> None:
    for is_same in (True, False):
        bench, error = Bench(0), NoSpace()
        bench.collection.on_drop((0,))
        bench.collection.flush_drops()
        if not is_same:
            bench.collection.disconnected(keep=False)
            bench.collection.connected()
        bench.answer(DropFiles, error)
        assert bench.collection.take_conclusion() == (GivenUp(error) if is_same else None)
