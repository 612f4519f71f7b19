"""What unknown senders have waiting: bounded in bytes and in age, the oldest first."""

from __future__ import annotations

import pytest

from wraith.aio.strangers import AGE_S, STRANGER_BYTES, Strangers
from wraith.types import Address, NetworkPath

PATH = NetworkPath(Address(b"\x7f\0\0\1", 1), Address(b"\x7f\0\0\2", 2))


def put(queue: Strangers, data: bytes, now: float, segment_bytes: int | None = None) -> None:
    queue.put(memoryview(data), segment_bytes or len(data), PATH, now)


def test_what_came_first_is_served_first_as_it_came() -> None:
    queue = Strangers()
    put(queue, b"onetwo", 1.0, 3)
    put(queue, b"x", 1.0)
    assert queue.take(1.1) == (b"onetwo", 3, PATH)
    assert queue.take(1.1) == (b"x", 1, PATH)
    assert queue.take(1.1) is None
    assert (len(queue), queue.n_bytes, queue.n_dropped) == (0, 0, 0)


def test_it_keeps_copies() -> None:
    queue, buffer = Strangers(), bytearray(b"first")
    queue.put(memoryview(buffer), 5, PATH, 0.0)
    buffer[:] = b"later"
    assert queue.take(0.0) == (b"first", 5, PATH)


@pytest.mark.spec("CN-80")
@pytest.mark.parametrize("n_bytes", [1, 1_200, 65_507])
def test_a_flood_pushes_out_itself_and_memory_stays_bounded(n_bytes: int) -> None:
    queue, data = Strangers(), bytes(n_bytes)
    n = 2 * STRANGER_BYTES // (n_bytes + 160)
    for _ in range(n):
        put(queue, data, 0.0)
        assert queue.n_bytes <= STRANGER_BYTES
    put(queue, b"the newest", 0.0)
    assert queue.n_dropped + len(queue) == n + 1
    last = None
    while (burst := queue.take(0.0)) is not None:
        last = burst[0]
    assert last == b"the newest"


@pytest.mark.spec("CN-80")
def test_what_is_too_old_is_forgotten_and_counted() -> None:
    queue = Strangers()
    put(queue, b"aabbc", 1.0, 2)
    put(queue, b"new", 1.2)
    assert queue.take(1.1 + AGE_S) == (b"new", 3, PATH)
    assert queue.n_dropped == 3
