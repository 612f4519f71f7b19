"""Output buffers: bounded, reused, and returned all at once."""

from __future__ import annotations

import pytest

from wraith.connection.buffer_pool import BufferPool


def test_it_makes_no_more_than_it_may_and_reuses_them() -> None:
    pool = BufferPool(buffer_bytes=100, n_buffers=2)
    first, second = pool.take(), pool.take()
    assert first is not None and second is not None and len(first) == 100
    assert pool.is_exhausted and pool.take() is None
    pool.reclaim()
    again = {id(pool.take()), id(pool.take())}
    assert again == {id(first), id(second)}


def test_an_unused_buffer_goes_back() -> None:
    pool = BufferPool(buffer_bytes=10, n_buffers=1)
    buffer = pool.take()
    assert buffer is not None
    pool.give_back(buffer)
    assert pool.take() is buffer


def test_only_the_last_one_taken_goes_back() -> None:
    pool = BufferPool(buffer_bytes=10, n_buffers=2)
    first, _ = pool.take(), pool.take()
    assert first is not None
    with pytest.raises(ValueError, match="last"):
        pool.give_back(first)


def test_buffers_are_writable() -> None:
    buffer = BufferPool(buffer_bytes=4, n_buffers=1).take()
    assert buffer is not None
    buffer[:4] = b"wrth"
    assert bytes(buffer) == b"wrth"
