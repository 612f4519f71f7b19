"""Received chunks on their way to a disk, in runs: joined, hashed in one call, written in one.

A chunk arrives in slices of received bursts. BLAKE3 over such slices costs 1.6 times what it costs
over a whole chunk, and each slice takes and gives the interpreter lock once more. So neighbours of
one file are copied together, up to 1 MiB, into one buffer that stays in the processor's cache.

Spec: transfer §7 [TR-56].
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Final

from wraith.content.chunking import CHUNK_BYTES, DIGEST_BYTES, chunk_digests
from wraith.transfer.records import ChunkRecord
from wraith.types import Buffer

RUN_CHUNKS: Final = 4
RUN_BYTES: Final = RUN_CHUNKS * CHUNK_BYTES
EARLY_BYTES: Final = 16 * 1024 * 1024
"""A large file goes to the disk in steps of this size while it arrives."""


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
        and last.length == CHUNK_BYTES
    )


class RunBuffer:
    """The buffer that runs are joined in, one after the other."""

    def __init__(self) -> None:
        self._view = memoryview(bytearray(RUN_BYTES))

    def join(self, run: list[ChunkRecord]) -> Buffer:
        """The bytes of ``run``, back to back; good until the next call."""
        if len(run) == 1 and len(run[0].parts) == 1:
            return run[0].parts[0]
        view = self._view
        at = 0
        for record in run:
            for part in record.parts:
                end = at + len(part)
                view[at:end] = part
                at = end
        return view[:at]


def n_verified(run: list[ChunkRecord], data: Buffer) -> int:
    """How many chunks at the front of ``run`` have the digests that were announced. [TR-56]"""
    announced = b"".join(record.digest for record in run)
    found = chunk_digests(data)
    if found == announced:
        return len(run)
    return next(
        i
        for i, record in enumerate(run)
        if found[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] != record.digest
    )


def write_all(fd: int, data: Buffer, at: int) -> None:
    """Writes ``data`` at ``at``. Raises ``OSError`` when not all of it can be written."""
    view = memoryview(data)
    while view:
        n = os.pwrite(fd, view, at)
        view = view[n:]
        at += n


def begin_writeback(fd: int, at: int, end: int) -> None:
    """What was written ended at ``at`` and ends at ``end`` now: with every ``EARLY_BYTES`` the
    kernel is asked to begin to write out, so that the ``fsync`` of a whole file finds little to
    wait for. Linux does so for ``POSIX_FADV_DONTNEED`` (and lets go of pages that are on the disk
    already); nothing depends on it."""
    if end // EARLY_BYTES > at // EARLY_BYTES and hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            start = max(0, end - EARLY_BYTES)
            os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)
