"""The journal's file: what a full disk leaves of it, and records that fit no listing."""

from __future__ import annotations

import errno
import random
import resource
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wraith.aio.disk.digest_file import DigestFile
from wraith.aio.disk.journal_file import JOURNAL, Journal, load_journal
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.content.chunking import CHUNK_BYTES, UNKNOWN_SIZE, Cut
from wraith.content.inventory import Inventory
from wraith.transfer.journal_records import Dropped, Verified, encode_record, replay

DIGEST = bytes(range(32))


@contextmanager
def files_end_at(n_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond: the kernel writes what fits, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.spec("TR-51")
def test_a_record_that_did_not_fit_leaves_no_half_of_itself(tmp_path: Path) -> None:
    first, second = (encode_record(Verified(0, n, DIGEST * 4)) for n in (0, 4))
    with PrivateFolder.open(tmp_path / "state") as folder:
        folder.write(JOURNAL, b"")
        journal = Journal(folder)
        journal.append(first)
        with files_end_at(len(first) + len(second) // 2), pytest.raises(OSError) as caught:
            journal.append(second)
        assert caught.value.errno == errno.EFBIG
        path = tmp_path / "state" / "journal"
        assert path.read_bytes() == first
        journal.append(second)
        journal.close()
        assert [record for record, _ in replay(path.read_bytes())] == [
            Verified(0, 0, DIGEST * 4),
            Verified(0, 4, DIGEST * 4),
        ]


@pytest.mark.parametrize(("entry", "first"), [(0, 3), (0, 2), (0, (1 << 32) - 1), (1, 0), (7, 0)])
def test_records_beyond_the_listing_are_not_believed(
    tmp_path: Path, entry: int, first: int
) -> None:
    sizes = array("Q", [3 * CHUNK_BYTES, CHUNK_BYTES])  # three chunks and one
    with PrivateFolder.open(tmp_path / "state") as folder:
        folder.write(JOURNAL, b"")
        journal = Journal(folder)
        journal.append(encode_record(Verified(0, 0, DIGEST)))
        journal.append(encode_record(Verified(entry, first, DIGEST * 2)))
        journal.close()
        loaded = load_journal(folder, sizes, None)
    assert loaded.inventory.verified_bytes == CHUNK_BYTES


@pytest.mark.parametrize("seed", range(20))
def test_records_taken_in_runs_say_what_they_say_one_by_one(tmp_path: Path, seed: int) -> None:
    rnd = random.Random(seed)
    sizes = array("Q", [9 * CHUNK_BYTES, 40 * CHUNK_BYTES - 5, UNKNOWN_SIZE])
    records: list[Verified | Dropped] = []
    entry = first = 0
    for _ in range(60):
        if rnd.random() < 0.3:
            entry, first = rnd.randrange(4), rnd.randrange(12)
        n = rnd.randrange(1, 5)
        records.append(Verified(entry, first, rnd.randbytes(32 * n)))
        first += n
        if rnd.random() < 0.05:
            records.append(Dropped(rnd.randrange(3)))
    expected = Inventory(sizes)
    known: dict[tuple[int, int], bytes] = {}
    for record in records:
        match record:
            case Dropped(number):
                expected.drop(number)
            case Verified(number, at, held):
                if number >= len(sizes) or at + record.n > Cut(sizes[number]).n_chunks:
                    continue
                loose = record.n * CHUNK_BYTES if sizes[number] == UNKNOWN_SIZE else None
                expected.add(number, at, record.n, loose)
                for i in range(record.n):
                    known[number, at + i] = held[32 * i : 32 * i + 32]
    with PrivateFolder.open(tmp_path / "state") as folder:
        data = b"".join(map(encode_record, records))
        folder.write(JOURNAL, data + b"torn")
        digests = DigestFile(sizes)
        loaded = load_journal(folder, sizes, digests)
        assert loaded.end == len(data)
        journal = Journal(folder, loaded.end)
        journal.close()
        assert (tmp_path / "state" / "journal").read_bytes() == data
        for (number, chunk), digest in known.items():
            assert digests.get(number, chunk, 1) == digest
        digests.close()
    assert loaded.inventory.verified_bytes == expected.verified_bytes
    for number in range(3):
        assert loaded.inventory.ranges(number) == expected.ranges(number)
