"""Received chunks on their way to a disk, in runs: hashed in one call, written in one.

A chunk arrives in slices of received bursts. Neighbours of one file, up to 1 MiB of them, go
together: each call takes and gives the interpreter lock once more, and what was hashed is written
while the processor's cache still holds it. The slices stay where they are; nothing is joined.

Spec: transfer §7 [TR-56].
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator
from typing import Final

from wraith.aio.disk.seam import Disk
from wraith.content.chunking import DIGEST_BYTES, chunk_digests_of, is_full_chunk
from wraith.transfer.chunk_records import ChunkRecord

RUN_CHUNKS: Final = 4
IOV_MAX: Final = 1024
"""Slices that one call may write, on every system that has it (``writev(2)``)."""
EARLY_BYTES: Final = 64 * 1024 * 1024
"""A large file goes to the disk in steps of this size while it arrives. Smaller steps cost more
processor time (the kernel looks at every page again) than they save at the end."""


def runs(records: Iterable[ChunkRecord]) -> Iterator[list[ChunkRecord]]:
    """Cuts ``records`` into runs of neighbours; only the last of a run may be a short chunk."""
    run: list[ChunkRecord] = []
    for record in records:
        if run and not _follows(run[-1], record, len(run)):
            yield run
            run = []
        run.append(record)
    if run:
        yield run


def _follows(last: ChunkRecord, record: ChunkRecord, n: int) -> bool:
    return (
        n < RUN_CHUNKS
        and record.entry == last.entry
        and record.chunk == last.chunk + 1
        and is_full_chunk(last.length)
    )


def parts_of(run: Iterable[ChunkRecord]) -> list[memoryview]:
    """The bytes of ``run``, in the slices in which they arrived."""
    return [part for record in run for part in record.parts]


def n_verified(run: list[ChunkRecord]) -> int:
    """Counts the chunks at the front of ``run`` that have the announced digests. [TR-56]"""
    announced = b"".join([record.digest for record in run])
    found = chunk_digests_of(parts_of(run))
    if found == announced:
        return len(run)
    return next(
        i
        for i, record in enumerate(run)
        if found[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] != record.digest
    )


def write_all(disk: Disk, fd: int, parts: list[memoryview], at: int) -> None:
    """Writes ``parts``, back to back, at ``at``. Raises ``OSError`` when not all of it can be
    written."""
    for first in range(0, len(parts), IOV_MAX):
        some = parts[first : first + IOV_MAX]
        n_bytes = sum(map(len, some))
        done = disk.pwritev(fd, some, at)
        if done < n_bytes:
            _write_rest(disk, fd, b"".join(some)[done:], at + done)
        at += n_bytes


def _write_rest(disk: Disk, fd: int, data: bytes, at: int) -> None:
    """A disk that is nearly full, or a signal, stopped the first write half way."""
    view = memoryview(data)
    while view:
        n = disk.pwrite(fd, view, at)
        view = view[n:]
        at += n


def begin_writeback(disk: Disk, fd: int, at: int, end: int) -> None:
    """What was written ended at ``at`` and ends at ``end`` now: with every ``EARLY_BYTES`` the
    kernel is asked to begin to write out, so that the ``fsync`` of a whole file finds little to
    wait for; nothing depends on it."""
    if end // EARLY_BYTES > at // EARLY_BYTES:
        with contextlib.suppress(OSError):
            start = max(0, end - EARLY_BYTES)
            disk.posix_fadvise(fd, start, end - start)


def reserve(disk: Disk, fd: int, n_bytes: int) -> None:
    """Has the disk set aside ``n_bytes`` for the file at once: a write into them costs half of one
    that has to find its place first, and a full disk shows at a file's first chunk. Raises
    ``OSError`` when there is no room."""
    try:
        disk.posix_fallocate(fd, 0, n_bytes)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
