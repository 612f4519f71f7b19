"""Memory that stays a virtual machine's own, so that a file in memory is not a test of its host.

    python bench/populated.py          what first touches cost here

Some hosts take back what a guest leaves free (*free page reporting*, virtio-balloon), and none
gives a page before it is touched once. Whoever touches it next waits for the host, which comes and
goes from run to run. A Linux guest reports free blocks of 2 MiB (a *page block* on x86-64) and
larger ones. ``populated`` fetches memory and keeps one page of every MiB in use: what lies between
is free, at hand, and in pieces too small to be reported. Without such a host it changes nothing.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import GIB, MIB


def free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE


def touch(memory: mmap.mmap) -> None:
    for at in range(0, len(memory), mmap.PAGESIZE):
        memory[at] = 1


@contextmanager
def populated(n_bytes: int) -> Iterator[bool]:
    """``n_bytes`` (whole MiB) of free memory stay at hand until the end; 1/256 of it is in use.

    Yields False, and does nothing, where less than twice as much is free.
    """
    if free_bytes() < 2 * n_bytes:
        yield False
        return
    with mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as sieve:
        touch(sieve)
        for at in range(0, n_bytes, MIB):
            sieve.madvise(mmap.MADV_DONTNEED, at + mmap.PAGESIZE, MIB - mmap.PAGESIZE)
        yield True


def main() -> None:
    """Touches most of what is free twice; the second time the host has no part in it."""
    n_gib = free_bytes() * 3 // 4 // GIB
    if not n_gib:
        raise SystemExit("less than 4/3 GiB of memory are free here")
    seconds = []
    with mmap.mmap(-1, n_gib * GIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for _ in range(2):
            start = time.perf_counter()
            touch(memory)
            seconds.append((time.perf_counter() - start) / n_gib)
            memory.madvise(mmap.MADV_DONTNEED)
    print(f"{n_gib} GiB: {seconds[0]:.2f} s per GiB as found, {seconds[1]:.2f} again at once")


if __name__ == "__main__":
    main()
