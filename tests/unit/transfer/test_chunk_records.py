"""The data stream's records."""

from __future__ import annotations

from array import array

import pytest
from blake3 import blake3

from wraith.content.chunking import CHUNK_BYTES, UNKNOWN_SIZE
from wraith.errors import DecodeError
from wraith.transfer.chunk_records import (
    SMALL_BYTES,
    ChunkRecord,
    ChunkRecordParser,
    ChunkRecordWriter,
)
from wraith.transfer.intake import HELD_BYTES_MAX, Batch, Intake

SIZES = array("Q", [3, 0, CHUNK_BYTES + 1, UNKNOWN_SIZE])


def record(entry: int, chunk: int, data: bytes) -> bytes:
    head = b"".join(n.to_bytes(4, "big") for n in (entry, chunk, len(data)))
    return head + data + blake3(data).digest()


@pytest.mark.parametrize("cut", [1, 5, 12, 13, 1000, 1 << 20])
def test_records_may_arrive_in_any_pieces(cut: int) -> None:
    big = bytes(range(256)) * (CHUNK_BYTES // 256)
    chunks = [(0, 0, b"abc"), (2, 0, big), (2, 1, b"z"), (3, 0, b"q"), (3, 9, big)]
    writer = ChunkRecordWriter()
    for entry, chunk, data in chunks:
        writer.add(entry, chunk, data, blake3(data).digest())
    stream = b"".join(writer.finish())
    assert stream == b"".join(record(*chunk) for chunk in chunks)
    parser = ChunkRecordParser(SIZES)
    got = [r for at in range(0, len(stream), cut) for r in parser.feed(stream[at : at + cut])]
    assert [(r.entry, r.chunk, b"".join(r.parts)) for r in got] == chunks
    assert all(r.digest == blake3(b"".join(r.parts)).digest() for r in got)
    assert parser.is_between_records and parser.held_bytes == 0


def test_chunks_that_come_together_get_their_own_digests() -> None:
    data = bytes(CHUNK_BYTES) + b"z"
    digests = bytes(range(64))
    writer = ChunkRecordWriter()
    writer.add(2, 0, data, digests)
    got = ChunkRecordParser(SIZES).feed(b"".join(writer.finish()))
    assert [r.digest for r in got] == [digests[:32], digests[32:]]


def test_small_chunks_share_a_buffer_and_large_ones_are_not_copied() -> None:
    writer = ChunkRecordWriter()
    large = bytes(SMALL_BYTES + 1)
    for i in range(100):
        writer.add(i, 0, b"small", bytes(32))
    writer.add(100, 0, large, bytes(32))
    buffers = writer.finish()
    assert len(buffers) == 3
    assert buffers[1] is large
    assert writer.finish() == []


@pytest.mark.spec("TR-35")
@pytest.mark.parametrize(
    ("entry", "chunk", "length"),
    [(4, 0, 3), (1, 0, 0), (0, 1, 3), (0, 0, 2), (0, 0, 4), (2, 0, 1), (2, 1, 2), (2, 2, 0)],
)
def test_a_record_that_the_listing_does_not_allow_is_refused_at_its_header(
    entry: int, chunk: int, length: int
) -> None:
    head = b"".join(n.to_bytes(4, "big") for n in (entry, chunk, length))
    with pytest.raises(DecodeError):
        ChunkRecordParser(SIZES).feed(head)


@pytest.mark.spec("TR-35")
@pytest.mark.parametrize("length", [0, CHUNK_BYTES + 1])
def test_a_stream_chunk_is_neither_empty_nor_too_long(length: int) -> None:
    head = (3).to_bytes(4, "big") + bytes(4) + length.to_bytes(4, "big")
    with pytest.raises(DecodeError):
        ChunkRecordParser(SIZES).feed(head)


def test_what_is_held_is_counted() -> None:
    parser = ChunkRecordParser(SIZES)
    parser.feed(record(2, 0, bytes(CHUNK_BYTES))[:1012])
    # Its bytes, and what the one piece costs beside them.
    assert parser.held_bytes == 1000 + 256 and not parser.is_between_records


@pytest.mark.spec("TR-105")
@pytest.mark.parametrize("cut", [1, 7, 255])
def test_a_chunk_that_is_dribbled_is_held_in_few_pieces(cut: int) -> None:
    big = bytes(range(256)) * (CHUNK_BYTES // 256)
    stream = record(2, 0, big)
    parser = ChunkRecordParser(SIZES)
    most = 0
    got = []
    for at in range(0, len(stream), cut):
        got += parser.feed(stream[at : at + cut])
        most = max(most, parser.held_bytes)
    (one,) = got
    assert b"".join(one.parts) == big
    assert len(one.parts) <= 20
    assert CHUNK_BYTES <= most <= CHUNK_BYTES + 20 * 256


@pytest.mark.spec("TR-105")
def test_records_of_one_byte_are_counted_with_what_they_cost() -> None:
    intake = Intake()
    n = 0
    while intake.room() and n < 100_000:
        intake.add(ChunkRecord(n, 0, 1, [memoryview(b"x")], bytes(32)))
        n += 1
    assert n <= HELD_BYTES_MAX // 256
    while batch := intake.next_batch(all_of_it=True, at_once=True):
        intake.written(Batch(batch, array("Q", [1] * n)).held_bytes)
    assert intake.room() == HELD_BYTES_MAX
