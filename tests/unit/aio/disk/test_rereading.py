"""Reading again what an earlier run left: in a thread of its own, behind every write that waits."""

from __future__ import annotations

import asyncio
import os
import threading
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from wraith.aio.disk.digest_file import DigestFile
from wraith.aio.disk.partial_files import RUN_CHUNKS, ReadingStopped, bad_chunks
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import Disk
from wraith.aio.disk.store_worker import StoreWorker
from wraith.content.chunking import CHUNK_BYTES, Cut, chunk_digests
from wraith.transfer.answers import KeptRead
from wraith.transfer.wishes import Piece, ReadAgain, Store, Wish, WritePieces

N_READS = 3
#: How long a reader that ought to stand still is given to read all the same.
STANDSTILL_S = 0.2
PATIENCE_S = 10.0
#: Threads of a failed test end too, but never before the test has given up.
THREADS_S = 4 * PATIENCE_S


class WishingNode:
    """Hands out what ``wishes`` holds."""

    def __init__(self) -> None:
        self.wishes: list[Wish[object]] = []
        self.answers: dict[int, object] = {}

    def next_wish(self) -> Wish[object] | None:
        return self.wishes.pop(0) if self.wishes else None

    def io_done(self, wish_id: int, result: object, now: float) -> None:
        self.answers[wish_id] = result


class SteeredStore(Store):
    """A store whose first read and whose writes end when the test says so."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.reading, self.read_may_end = threading.Event(), threading.Event()
        self.writing, self.write_may_end = threading.Event(), threading.Event()
        self.reading_is_over = threading.Event()

    def write_pieces(self, wish: WritePieces) -> None:
        self.writing.set()
        assert self.write_may_end.wait(THREADS_S)
        self.order.append("written")

    def read_again(self, wish: ReadAgain, pause: Callable[[], bool] = lambda: True) -> KeptRead:
        for _ in range(N_READS):
            if not pause():
                self.order.append("stopped")
                break
            self.order.append("read")
            self.reading.set()
            assert self.read_may_end.wait(THREADS_S)
        self.reading_is_over.set()
        return KeptRead()


async def happens(event: threading.Event) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, event.wait, PATIENCE_S)


async def stands_still(store: SteeredStore) -> None:
    """The reader has been told that its first read is over, and had time for another one."""
    store.read_may_end.set()
    await asyncio.sleep(STANDSTILL_S)
    assert store.order == ["read"]


async def a_write_beside_a_read(node: WishingNode, store: SteeredStore) -> StoreWorker:
    """A worker whose reader is in its first read while a write is under way."""
    worker = StoreWorker(node, store, now=lambda: 1.0, on_answered=lambda: None)
    node.wishes.append(ReadAgain(0, (Piece(0, 0, N_READS),)))
    worker.pump()
    await happens(store.reading)
    node.wishes.append(WritePieces(1, ()))
    worker.pump()
    await happens(store.writing)
    return worker


@pytest.mark.spec("TR-53")
def test_no_kept_chunk_is_read_while_a_write_waits() -> None:
    async def scenario() -> None:
        node, store = WishingNode(), SteeredStore()
        worker = await a_write_beside_a_read(node, store)
        node.wishes.append(WritePieces(2, ()))
        worker.pump()  # one under way, one that waits
        await stands_still(store)
        store.write_may_end.set()
        await happens(store.reading_is_over)
        assert store.order == ["read", "written", "written", "read", "read"]
        while len(node.answers) < 3:
            await asyncio.sleep(0.001)
        assert worker.is_idle and await worker.closed()

    asyncio.run(asyncio.wait_for(scenario(), 3 * PATIENCE_S))


@pytest.mark.spec("TR-53")
def test_what_stands_still_behind_a_write_ends_when_the_worker_is_closed() -> None:
    async def scenario() -> None:
        node, store = WishingNode(), SteeredStore()
        worker = await a_write_beside_a_read(node, store)
        await stands_still(store)
        worker.close()
        await happens(store.reading_is_over)
        assert store.order == ["read", "stopped"], "it waits for no write any more"
        store.write_may_end.set()
        assert await worker.closed(), "both threads have ended"

    asyncio.run(asyncio.wait_for(scenario(), 3 * PATIENCE_S))


class CountingDisk(Disk):
    """Counts what is read, and what is open."""

    def __init__(self) -> None:
        self.n_reads = self.n_closed = 0

    def pread(self, fd: int, n: int, at: int) -> bytes:
        self.n_reads += 1
        return os.pread(fd, n, at)

    def close(self, fd: int) -> None:
        self.n_closed += 1
        os.close(fd)


@pytest.mark.spec("TR-53")
@pytest.mark.parametrize("n_runs", [0, 1, 2])
def test_reading_asks_before_each_run_and_stops_when_told(tmp_path: Path, n_runs: int) -> None:
    data = os.urandom(3 * RUN_CHUNKS * CHUNK_BYTES)
    (tmp_path / "kept").write_bytes(data)
    disk = CountingDisk()
    tree = SafeTree(os.fsencode(tmp_path), disk=disk)
    digests = DigestFile(array("Q", [len(data)]))
    digests.put(0, 0, chunk_digests(data))
    answers = [True] * n_runs
    before = disk.n_closed
    with pytest.raises(ReadingStopped):
        bad_chunks(
            tree,
            digests,
            b"kept",
            0,
            Cut(len(data)),
            [(0, 3 * RUN_CHUNKS)],
            pause=lambda: bool(answers) and answers.pop(),
        )
    assert disk.n_reads == n_runs
    assert disk.n_closed == before + 1, "its descriptor is closed"
    assert bad_chunks(tree, digests, b"kept", 0, Cut(len(data)), [(0, 3 * RUN_CHUNKS)]) == []
    digests.close()
    tree.close()
