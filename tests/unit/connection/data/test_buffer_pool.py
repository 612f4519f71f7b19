"""Output buffers: bounded, reused, and returned all at once."""

from __future__ import annotations

import pytest

from wraith.connection.data.buffer_pool import BufferPool


@pytest.mark.parametrize(
    ("n_bytes", "size"), [(501, 1000), (1000, 1000), (101, 500), (500, 500), (1, 100), (100, 100)]
)
def test_it_makes_no_more_than_it_may_and_reuses_them(n_bytes: int, size: int) -> None:
    pool = BufferPool(buffer_bytes=1000, n_buffers=2, small_bytes=100, medium_bytes=500)
    first, second = pool.take(n_bytes), pool.take(n_bytes)
    assert first is not None and second is not None and len(first) == len(second) == size
    assert pool.is_exhausted and pool.take(n_bytes) is None
    pool.reclaim()
    assert not pool.is_exhausted
    again = {id(pool.take(n_bytes)), id(pool.take(n_bytes))}
    assert again == {id(first), id(second)}


def test_the_buffer_that_went_first_goes_first_again() -> None:
    pool = BufferPool(n_buffers=3)
    first = pool.take(1)
    pool.take(1)
    pool.reclaim()
    assert pool.take(1) is first


def test_one_size_may_be_out_while_the_other_is_there() -> None:
    pool = BufferPool(buffer_bytes=1000, n_buffers=1, small_bytes=100, medium_bytes=500)
    assert pool.take(500) is not None
    assert pool.is_exhausted and pool.take(50) is not None and pool.take(501) is not None


def test_buffers_are_writable() -> None:
    buffer = BufferPool(buffer_bytes=4, n_buffers=1, small_bytes=1, medium_bytes=2).take(4)
    assert buffer is not None
    buffer[:4] = b"wrth"
    assert bytes(buffer) == b"wrth"


@pytest.mark.parametrize("n_bytes", [1000, 500])
def test_spare_buffers_go_when_nobody_has_used_one_since_the_last_look(n_bytes: int) -> None:
    pool = BufferPool(buffer_bytes=1000, n_buffers=2, small_bytes=100, medium_bytes=500)
    assert not pool.owns_spare
    pool.take(n_bytes)
    small = pool.take(50)
    assert not pool.trim(), "it is still out"
    pool.reclaim()
    assert pool.owns_spare and not pool.trim(), "used since"
    assert pool.trim() and not pool.owns_spare
    assert pool.take(50) is small, "small ones stay"
    assert pool.take(n_bytes) is not None and pool.take(n_bytes) is not None, "as many may be made"
    assert pool.take(n_bytes) is None


def test_a_size_in_use_does_not_keep_the_other() -> None:
    pool = BufferPool(buffer_bytes=1000, n_buffers=1, small_bytes=100, medium_bytes=500)
    pool.take(1000)
    pool.take(500)
    pool.reclaim()
    assert not pool.trim(), "both were used"
    pool.take(500)
    pool.reclaim()
    assert not pool.trim() and pool.owns_spare, "the medium one was used"
    assert pool.trim() and not pool.owns_spare
