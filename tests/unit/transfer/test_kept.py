"""What an earlier run left: read again in order, counted exactly, forgotten when it is damaged."""

from __future__ import annotations

import os
import random
from array import array
from pathlib import Path

import pytest

from wraith.aio.disk import pipes
from wraith.aio.disk.pipes import StreamSource
from wraith.content.chunking import CHUNK_BYTES, UNKNOWN_SIZE
from wraith.content.inventory import Inventory
from wraith.testing.rng import SeededRng
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.events import Aborted, BeginAnew, Done, KeptDamaged, TransferEvent
from wraith.transfer.kept import BATCH_BYTES, Kept
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.messages import OfferKind
from wraith.transfer.reasons import TooLate

C = CHUNK_BYTES


def held(sizes: list[int], chunks: dict[int, list[int]]) -> Inventory:
    inventory = Inventory(array("Q", sizes))
    for entry, numbers in chunks.items():
        loose = C if sizes[entry] == UNKNOWN_SIZE else None
        for chunk in numbers:
            inventory.add(entry, chunk, 1, loose)
    return inventory


def test_everything_is_read_once_in_order_and_nothing_is_left() -> None:
    sizes = [0, 3 * C + 5, 10, 50 * C, C]
    inventory = held(sizes, {1: [0, 1, 2, 3], 2: [0], 3: [1, 2, 40, 41, 49]})
    kept = Kept(inventory)
    assert kept.unread_bytes == inventory.verified_bytes
    seen: list[tuple[int, int]] = []
    while batch := kept.next_batch():
        seen += [(e, c) for e, first, n in batch for c in range(first, first + n)]
        kept.answered(batch, frozenset())
    assert seen == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0)] + [(3, c) for c in (1, 2, 40, 41, 49)]
    assert kept.unread_bytes == 0


def test_a_batch_is_small_however_large_the_file_is() -> None:
    kept = Kept(held([100 * C], {0: list(range(100))}))
    batch = kept.next_batch()
    assert sum(n for _, _, n in batch) * C == BATCH_BYTES


def test_what_was_read_before_is_not_among_it() -> None:
    inventory = held([2 * C, 2 * C, 2 * C], {0: [0, 1], 1: [0], 2: [1]})
    kept = Kept(inventory, bytes([0b101]))
    assert kept.unread_bytes == C
    assert kept.next_batch() == ((1, 0, 1),)
    assert kept.is_forgotten(0) and not kept.is_forgotten(1)


def test_what_could_not_be_read_stays_unread_until_it_is_dropped() -> None:
    kept = Kept(held([2 * C, C], {0: [0, 1], 1: [0]}))
    batch = kept.next_batch()
    kept.answered(batch, frozenset({0}))
    assert kept.unread_bytes == 2 * C
    kept.forget(0)
    kept.forget(0)
    assert kept.unread_bytes == 0


def test_the_count_is_exact_whatever_is_forgotten_and_when() -> None:
    for seed in range(200):
        draw = random.Random(seed)
        sizes = [draw.randrange(1, 40 * C) for _ in range(8)]
        chunks = {
            e: sorted(draw.sample(range(-(-s // C)), draw.randrange(-(-s // C) + 1)))
            for e, s in enumerate(sizes)
        }
        kept = Kept(held(sizes, chunks))
        unread = {(e, c) for e, numbers in chunks.items() for c in numbers}
        while batch := kept.next_batch():
            for _ in range(draw.randrange(3)):
                entry = draw.randrange(8)
                kept.forget(entry)
                unread = {pair for pair in unread if pair[0] != entry}
            kept.answered(batch, frozenset())
            unread -= {(e, c) for e, first, n in batch for c in range(first, first + n)}
            assert kept.unread_bytes == sum(min(C, sizes[e] - c * C) for e, c in unread), seed
        assert not unread and kept.unread_bytes == 0


def test_chunks_are_taken_out_of_what_is_there() -> None:
    inventory = Inventory(array("Q", [12 * C]))
    inventory.add(0, 0, 5)
    inventory.add(0, 8, 2)
    assert inventory.forget(0, [9, 0, 3, 6, 11]) == 3 * C
    assert inventory.ranges(0) == [(1, 2), (4, 1), (8, 1)]
    assert inventory.verified_bytes == 4 * C


def test_an_inventory_forgets_chunks_of_a_complete_file() -> None:
    inventory = held([2 * C + 7, C], {0: [0, 1, 2], 1: [0]})
    assert inventory.n_complete == 2
    assert inventory.forget(0, [0, 2]) == C + 7
    assert inventory.n_complete == 1 and inventory.ranges(0) == [(1, 1)]
    assert inventory.verified_bytes == 2 * C


@pytest.mark.parametrize("was_whole", [True, False])
def test_a_stream_that_lost_a_chunk_is_complete_once_it_is_back(was_whole: bool) -> None:
    inventory = Inventory(array("Q", [UNKNOWN_SIZE]))
    inventory.add(0, 0, 6, 6 * C)
    inventory.add(0, 6, 1, 10)
    if was_whole:
        inventory.set_final_size(0, 6 * C + 10)
        assert inventory.is_complete(0)
    assert inventory.forget(0, [4, 4]) == C
    assert inventory.ranges(0) == [(0, 4), (5, 2)] and inventory.verified_bytes == 5 * C + 10
    inventory.set_final_size(0, 6 * C + 10)
    assert not inventory.is_complete(0)
    assert inventory.add(0, 4, 1, C) and inventory.verified_bytes == 6 * C + 10


# --- over the wire ----------------------------------------------------------------------------

DATA = SeededRng("kept").public_bytes(70 * C + 5)


def interrupted(source: MemorySource | StreamSource, n_chunks: int) -> MemoryTarget:
    """What a receiver that was killed after so many chunks has left."""
    target = MemoryTarget()
    pipe = TransferPipe(source, target)
    pipe.run(stop=lambda: target.n_written >= n_chunks)
    return MemoryTarget(journal=bytes(target.journal), data=target.data)


def run_out(pipe: TransferPipe) -> None:
    """Until the data stream has ended and nothing moves."""
    pipe.run()
    pipe.receiver.receive_data_end(pipe.now)
    pipe.run()


def rot(target: MemoryTarget, entry: int, chunk: int) -> None:
    held = target.data[entry][chunk]
    target.data[entry][chunk] = bytes([held[0] ^ 1]) + held[1:]


def only(events: list[TransferEvent], kind: type) -> list[TransferEvent]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.spec("TR-137")
def test_damage_is_told_forgotten_and_fetched_over_a_new_connection() -> None:
    source = MemorySource({b"f": DATA})
    target = interrupted(source, 30)
    rot(target, 0, 3)
    rot(target, 0, 7)
    pipe = TransferPipe(source, target)
    run_out(pipe)
    assert only(pipe.received_events, KeptDamaged) == [KeptDamaged(2, 2 * C)]
    assert len(only(pipe.received_events, BeginAnew)) == 1
    assert target.placed == {} and only(pipe.received_events, Done) == []
    sent = pipe.data_bytes
    pipe.connect()
    pipe.run()
    assert target.placed == {b"f": DATA}
    assert 2 * C <= pipe.data_bytes - sent < 3 * C, "nothing else crosses again"
    done = pipe.received_events[-1]
    assert isinstance(done, Done)
    assert done.bytes_transferred + done.bytes_reused == done.bytes_total == len(DATA)


@pytest.mark.spec("TR-137")
def test_damage_that_shows_before_the_answer_needs_no_further_connection() -> None:
    source = MemorySource({b"f": DATA})
    target = interrupted(source, 30)
    rot(target, 0, 3)
    pipe = TransferPipe(source, target)
    pipe.run(stop=lambda: bool(only(pipe.received_events, KeptDamaged)))
    pipe.connect()
    pipe.run()
    assert target.placed == {b"f": DATA}
    assert only(pipe.received_events, BeginAnew) == []


@pytest.mark.spec("TR-137")
def test_a_stream_that_its_sender_does_not_keep_any_more_is_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "SPOOL_CHUNKS", 56)
    path = tmp_path / "stream"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDONLY)
    source = StreamSource(fd)
    target = interrupted(source, 30)
    rot(target, 0, 3)
    pipe = TransferPipe(source, target)
    run_out(pipe)
    assert len(only(pipe.received_events, BeginAnew)) == 1
    pipe.connect()
    pipe.run()
    aborted = pipe.received_events[-1]
    assert isinstance(aborted, Aborted) and aborted.by_peer
    told = pipe.sent_events[-1]
    assert isinstance(told, Aborted) and isinstance(told.error, TooLate)
    assert target.placed == {}
    os.close(fd)


@pytest.mark.spec("TR-137")
def test_a_stream_that_is_still_kept_is_sent_again_from_the_damage_on() -> None:
    source = MemorySource({b"s": DATA}, kind=OfferKind.STREAM, size_is_known=False)
    target = interrupted(source, 30)
    rot(target, 0, 3)
    pipe = TransferPipe(source, target)
    pipe.run()
    pipe.connect()
    pipe.run()
    assert target.placed == {b"s": DATA}


@pytest.mark.spec("TR-53")
def test_a_rest_that_is_complete_at_once_leaves_all_of_it_unread() -> None:
    source = MemorySource({b"f": DATA[: 4 * C]})
    target = interrupted(source, 4)
    pipe = TransferPipe(source, target)
    pipe.run()
    done = pipe.received_events[-1]
    assert isinstance(done, Done)
    assert (done.bytes_transferred, done.bytes_reused, done.bytes_unread) == (0, 4 * C, 4 * C)
    told = pipe.sent_events[-1]
    assert isinstance(told, Done) and told.bytes_unread == 4 * C
