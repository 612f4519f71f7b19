"""Reads partial data of an earlier run and says which chunks are not what was verified then.

It changes nothing. It may run in a thread of its own beside the one that writes: what the two share
(the folders' descriptors, the digests) is used under ``guard``, which the writer holds while it
works, and between any two reads ``pause`` may make it wait.

Spec: transfer §7 [TR-53].
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from wraith.aio.disk.digest_file import DigestFile
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import Disk
from wraith.content.chunking import DIGEST_BYTES, Cut, chunk_digests, runs_of

RUN_CHUNKS = 4
"""One read and one call to hash it: 1 MiB, so that a write that waits does so for a millisecond."""


class ReadingStopped(Exception):
    """``pause`` said that nobody wants the answer any more."""


def bad_chunks(
    tree: SafeTree,
    digests: DigestFile,
    path: bytes,
    number: int,
    cut: Cut,
    ranges: Iterable[tuple[int, int]],
    *,
    guard: AbstractContextManager[object] | None = None,
    pause: Callable[[], bool] = lambda: True,
) -> list[int]:
    """The chunks of ``ranges`` ``(first, n)`` that do not have their digests, ascending. What
    cannot be read, or is not there, is bad.

    Args:
        number, cut: of the entry.
    Raises:
        PermissionError: the file must not be read, which says nothing about it.
        ReadingStopped: ``pause`` returned false.
    """
    disk = tree.disk
    guard = guard if guard is not None else nullcontext()
    try:
        with guard:
            fd = tree.open(path, os.O_RDONLY)
    except PermissionError:
        raise
    except OSError:
        return [c for first, n in ranges for c in range(first, first + n)]
    bad: list[int] = []
    try:
        for first, n in ranges:
            for at, some in runs_of(first, n, RUN_CHUNKS):
                if not pause():
                    raise ReadingStopped
                with guard:
                    wanted = digests.get(number, at, some)
                bad += (at + i for i in _bad_of_run(disk, fd, cut, at, some, wanted))
    finally:
        disk.close(fd)
    return bad


def _bad_of_run(disk: Disk, fd: int, cut: Cut, first: int, n: int, wanted: bytes) -> list[int]:
    at, n_bytes = cut.span(first, n)
    try:
        found = chunk_digests(disk.pread(fd, n_bytes, at))
    except OSError:
        found = b""
    if found == wanted:
        return []
    cuts = [slice(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES) for i in range(n)]
    return [i for i, cut in enumerate(cuts) if found[cut] != wanted[cut]]
