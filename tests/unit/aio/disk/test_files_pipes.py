"""Standard input and output as ends of a transfer, and the worker thread."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from wraith.aio.disk import pipes as pipes_module
from wraith.aio.disk.pipes import PipeTarget, StreamSource
from wraith.aio.disk.store_worker import MemorySource, StoreWorker
from wraith.content.chunking import CHUNK_BYTES
from wraith.errors import OfferRefused
from wraith.testing.rng import SeededRng
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.events import Aborted, Declined, Done, Placed
from wraith.transfer.memory_store import MemoryTarget
from wraith.transfer.messages import Reason
from wraith.transfer.reasons import TooLate
from wraith.transfer.wishes import ReadPages, Store, Wish

DATA = SeededRng("pipes").public_bytes(10 * CHUNK_BYTES + 99)


def opened(tmp_path: Path, data: bytes) -> int:
    path = tmp_path / "in"
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


@pytest.mark.parametrize("n", [0, 1, CHUNK_BYTES, len(DATA)])
def test_standard_input_to_standard_output(tmp_path: Path, n: int) -> None:
    source = StreamSource(opened(tmp_path, DATA[:n]), "backup.tar")
    out = tmp_path / "out"
    with out.open("wb") as file:
        pipe = TransferPipe(source, PipeTarget(file.fileno()))
        pipe.run()
    assert out.read_bytes() == DATA[:n]
    done = pipe.received_events[-1]
    assert isinstance(done, Done) and done.bytes_total == n
    placed = next(e for e in pipe.received_events if isinstance(e, Placed))
    assert placed.file_ids == ((b"backup.tar", source.file_id(0)),)
    source.close()


@pytest.mark.spec("TR-80")
def test_a_stream_goes_on_from_its_spool_after_a_reconnect(tmp_path: Path) -> None:
    source = StreamSource(opened(tmp_path, DATA))
    pipe = TransferPipe(source, target := MemoryTarget())
    pipe.run(stop=lambda: target.n_written >= 3)
    pipe.connect()
    pipe.run()
    assert target.placed == {b"stdin": DATA}


@pytest.mark.spec("TR-80")
def test_a_stream_fails_plainly_when_its_spool_is_too_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes_module, "SPOOL_CHUNKS", 2)
    source = StreamSource(opened(tmp_path, DATA))
    first = TransferPipe(source, MemoryTarget())
    first.run()
    again = TransferPipe(source, MemoryTarget())
    again.run()
    aborted = next(e for e in again.sent_events if isinstance(e, Aborted))
    assert isinstance(aborted.error, TooLate)
    told = next(e for e in again.received_events if isinstance(e, Aborted))
    assert told.by_peer and told.reason is Reason.TOO_LATE


def test_what_is_there_is_sent_before_a_slow_writer_goes_on() -> None:
    reader, writer = os.pipe()
    source = StreamSource(reader)
    os.write(writer, b"x" * 60_000)

    def write_the_rest() -> None:
        os.write(writer, b"y" * 9)
        os.close(writer)

    threading.Timer(0.01, write_the_rest).start()
    pipe = TransferPipe(source, target := MemoryTarget())
    pipe.run()
    assert target.placed == {b"stdin": b"x" * 60_000 + b"y" * 9}


def test_several_files_do_not_go_to_standard_output() -> None:
    pipe = TransferPipe(MemorySource({b"a": b"1", b"b": b"2"}), PipeTarget(1))
    pipe.run()
    declined = pipe.received_events[-1]
    assert isinstance(declined, Declined | Aborted)
    assert isinstance(declined.error, OfferRefused)


def test_a_closed_output_ends_the_transfer(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = TransferPipe(MemorySource({b"a": DATA}), PipeTarget(writer))
    pipe.run()
    aborted = next(e for e in pipe.received_events if isinstance(e, Aborted))
    assert "output" in str(aborted.error)
    os.close(writer)


class FakeNode:
    """Has wishes, and writes down in which thread they were answered."""

    def __init__(self, n: int) -> None:
        self.wishes: list[Wish[object]] = [ReadPages(i, i, 1) for i in range(n)]
        self.answers: list[tuple[int, object, int]] = []

    def next_wish(self) -> Wish[object] | None:
        return self.wishes.pop(0) if self.wishes else None

    def io_done(self, wish_id: int, result: object, now: float) -> None:
        self.answers.append((wish_id, result, threading.get_ident()))


class SlowStore(Store):
    def __init__(self) -> None:
        self.threads: set[int] = set()

    def read_pages(self, wish: ReadPages) -> list[bytes]:
        self.threads.add(threading.get_ident())
        if wish.id == 2:
            raise RuntimeError("a defect")
        return [bytes([wish.id * 10])]


def test_the_worker_answers_in_order_on_the_loop_and_survives_a_defect() -> None:
    async def scenario() -> None:
        node, store, done = FakeNode(5), SlowStore(), asyncio.Event()
        worker = StoreWorker(
            node,
            store,
            now=lambda: 1.0,
            on_answered=lambda: done.set() if len(node.answers) == 5 else None,
        )
        worker.pump()
        assert not worker.is_idle
        await asyncio.wait_for(done.wait(), 5)
        assert [answer[0] for answer in node.answers] == [0, 1, 2, 3, 4]
        assert [a[1] for a in node.answers if a[0] != 2] == [[b"\0"], [b"\n"], [b"\x1e"], [b"("]]
        assert "a defect" in str(node.answers[2][1])
        assert {a[2] for a in node.answers} == {threading.get_ident()}
        assert len(store.threads) == 1 and threading.get_ident() not in store.threads
        assert worker.is_idle and await worker.closed()

    asyncio.run(scenario())
