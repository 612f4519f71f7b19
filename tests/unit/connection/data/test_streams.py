from __future__ import annotations

import itertools
import random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wraith.connection.data.streams import MAX_RANGES, PAGE_BYTES, ReceiveHalf, SendHalf
from wraith.errors import CloseCode, LimitExceeded, RemoteProtocolError

DATA = bytes(random.Random(5).randbytes(200_000))


def view(start: int, end: int) -> memoryview:
    return memoryview(DATA)[start:end]


# -- receive half


def test_in_order_bytes_are_read_as_they_come() -> None:
    half = ReceiveHalf()
    assert half.receive(0, view(0, 5_000), False) == 5_000
    assert half.receive(5_000, view(5_000, 9_000), True) == 4_000
    assert half.readable == 9_000 and half.is_complete and not half.is_done
    assert b"".join(half.read_chunks(6_000)) == DATA[:6_000]
    assert b"".join(half.read_chunks(6_000)) == DATA[6_000:9_000]
    assert half.is_done


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40_000))
def test_any_order_with_overlaps_gives_the_bytes_once(seed: int, size: int) -> None:
    rnd = random.Random(seed)
    cuts = sorted({0, size, *(rnd.randrange(size + 1) for _ in range(rnd.randrange(30)))})
    pieces = list(itertools.pairwise(cuts))
    for _ in range(5):
        a = rnd.randrange(size + 1)
        pieces.append((a, min(size, a + rnd.randrange(5_000))))
    rnd.shuffle(pieces)
    half, got, rises = ReceiveHalf(), bytearray(), 0
    for a, b in pieces:
        rises += half.receive(a, view(a, b), b == size)
        if rnd.random() < 0.5:
            got += b"".join(half.read_chunks(rnd.randrange(1, 20_000)))
    got += b"".join(half.read_chunks(size))
    assert bytes(got) == DATA[:size]
    assert rises == size == half.final_size
    assert half.is_done


def test_a_chunk_that_was_handed_out_never_changes() -> None:
    half = ReceiveHalf()
    half.receive(0, view(0, 10), False)
    (first,) = half.read_chunks(4)
    half.receive(10, view(10, 20), False)
    assert bytes(first) == DATA[:4]
    assert b"".join(half.read_chunks(100)) == DATA[4:20]


@pytest.mark.spec("CN-24")
def test_single_early_bytes_cost_no_more_than_pages() -> None:
    half = ReceiveHalf()
    for offset in range(2 * PAGE_BYTES, 1, -2):  # backwards: every piece is a range of its own
        if offset <= 2 * PAGE_BYTES - 2 * MAX_RANGES:
            break
        half.receive(offset, view(offset, offset + 1), False)
    assert half._pages is not None and len(half._pages) <= 3


@pytest.mark.spec("CN-24")
def test_too_many_gaps_are_refused() -> None:
    half = ReceiveHalf()
    with pytest.raises(LimitExceeded) as caught:
        for n in range(MAX_RANGES + 2):
            half.receive(2 * n + 1, view(0, 1), False)
    assert caught.value.close_code == CloseCode.FLOW_CONTROL_ERROR
    assert n == MAX_RANGES + 1 - 1 or n == MAX_RANGES + 1


@pytest.mark.spec("CN-24")
def test_no_amount_of_buffered_bytes_buys_more_gaps() -> None:
    half = ReceiveHalf()
    for n in range(MAX_RANGES):
        half.receive(4_000 * n + 1, view(0, 3_000), False)
    with pytest.raises(LimitExceeded) as caught:
        half.receive(4_000 * MAX_RANGES + 1, view(0, 3_000), False)
    assert caught.value.close_code == CloseCode.FLOW_CONTROL_ERROR


def cpu_per_frame(half: ReceiveHalf, n_frames: int, step: int) -> float:
    """Seconds of processor time for each of ``n_frames`` in-order frames; the best of five."""
    one, best = view(0, 1), float("inf")
    for _ in range(5):
        begin = process_time()
        for offset in range(half.next_offset, half.next_offset + n_frames * step, step):
            half.receive(offset, one, False)
        best = min(best, (process_time() - begin) / n_frames)
    return best


def with_pages(n_pages: int) -> ReceiveHalf:
    """A half that holds one early byte in each of ``n_pages`` pages."""
    half = ReceiveHalf()
    for n in range(1, n_pages + 1):
        half.receive(n * PAGE_BYTES, view(0, 1), False)
    return half


@pytest.mark.spec("CN-24")
def test_a_frame_costs_the_same_however_many_gaps_and_pages_there_are() -> None:
    few, many = with_pages(4), with_pages(MAX_RANGES)
    assert cpu_per_frame(many, 1_000, 1) < 4 * cpu_per_frame(few, 1_000, 1)


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_pages_that_were_read_through_are_gone(seed: int) -> None:
    rnd = random.Random(seed)
    half = ReceiveHalf()
    for _ in range(30):
        start = half.next_offset + rnd.randrange(3 * PAGE_BYTES)
        if rnd.random() < 0.5:
            start = half.next_offset
        half.receive(start, view(0, rnd.randrange(1, 2 * PAGE_BYTES)), False)
        half.read_chunks(1 << 30)
        pages = half._pages or {}
        assert all(number >= half.next_offset // PAGE_BYTES for number in pages)


@pytest.mark.spec("CN-22")
@pytest.mark.parametrize(
    "breach",
    [
        lambda half: half.receive(50, view(0, 60), False),
        lambda half: half.receive(0, view(0, 50), True),
        lambda half: half.set_final_size(99),
        lambda half: half.reset(1, 101),
    ],
    ids=["data beyond", "other fin", "other close", "other reset"],
)
def test_a_changed_or_exceeded_final_size_is_refused(breach: object) -> None:
    half = ReceiveHalf()
    half.receive(0, view(0, 100), True)
    assert callable(breach)
    with pytest.raises(RemoteProtocolError) as caught:
        breach(half)
    assert caught.value.close_code == CloseCode.FLOW_CONTROL_ERROR


def test_a_final_size_below_received_data_is_refused() -> None:
    half = ReceiveHalf()
    half.receive(10, view(0, 10), False)
    with pytest.raises(RemoteProtocolError):
        half.set_final_size(15)


def test_stop_throws_away_now_and_later() -> None:
    half = ReceiveHalf()
    half.receive(0, view(0, 100), False)
    assert half.stop() == 100
    half.receive(200, view(200, 300), False)
    half.receive(100, view(100, 200), False)
    assert half.read_to == half.next_offset == 300 and half.readable == 0
    assert half.read_chunks(100) == []
    half.receive(300, view(0, 0), True)
    assert half.is_done


def test_reset_frees_what_is_unread() -> None:
    half = ReceiveHalf()
    half.receive(0, view(0, 100), False)
    assert half.reset(7, 150) == 50
    assert half.is_done and half.readable == 0 and half.read_to == 150


# -- send half


def sent(half: SendHalf, n_max: int, n_new: int = 1 << 30) -> tuple[int, int, bool, bytes]:
    offset, length, fin = half.next_range(n_max, n_new)
    data = b"".join(half.gather(offset, length)) if length else b""
    half.on_sent(offset, length, fin)
    return offset, length, fin, data


def test_writes_of_any_size_come_out_in_order() -> None:
    half = SendHalf(1 << 30)
    at = 0
    for size in (1, 100, 70_000, 3, 4_096, 5):
        half.write(DATA[at : at + size], size)
        at += size
    half.finish()
    got = b""
    while half.is_ready():
        got += sent(half, 1_348)[3]
    assert got == DATA[:at] and half.fin_sent


def test_bytes_are_kept_by_reference_and_buffers_are_copied() -> None:
    half = SendHalf(1 << 30)
    big = bytes(10_000)
    half.write(big, len(big))
    assert half.gather(0, 10_000)[0] is big
    mutable = bytearray(10_000)
    half.write(mutable, len(mutable))
    mutable[:] = b"x" * 10_000
    assert b"".join(half.gather(10_000, 10_000)) == bytes(10_000)


def test_lost_bytes_go_first_and_only_what_is_unacknowledged() -> None:
    half = SendHalf(1 << 30)
    half.write(DATA[:10_000], 10_000)
    sent(half, 6_000)
    half.on_acked(2_000, 1_000, False)
    half.on_lost(0, 6_000, False)
    assert sent(half, 10_000)[:2] == (0, 2_000)
    assert sent(half, 10_000)[:2] == (3_000, 3_000)
    assert sent(half, 10_000)[:2] == (6_000, 4_000)


def test_a_late_acknowledgement_stops_the_retransmission() -> None:
    half = SendHalf(1 << 30)
    half.write(DATA[:5_000], 5_000)
    sent(half, 5_000)
    half.on_lost(0, 5_000, False)
    half.on_acked(0, 5_000, False)
    assert not half.is_ready() and half.buffered == 0


def test_a_lost_end_is_sent_again() -> None:
    half = SendHalf(1 << 30)
    half.write(b"abc", 3)
    half.finish()
    assert sent(half, 100)[:3] == (0, 3, True)
    half.on_acked(0, 3, False)
    half.on_lost(3, 0, True)
    assert half.is_ready()
    assert sent(half, 100)[:3] == (3, 0, True)
    half.on_acked(3, 0, True)
    assert half.is_done


def test_the_window_of_the_peer_is_respected() -> None:
    half = SendHalf(3_000)
    half.write(DATA[:5_000], 5_000)
    assert sent(half, 10_000)[:2] == (0, 3_000)
    assert not half.is_ready()
    half.limit = 4_000
    assert sent(half, 10_000, 500)[:2] == (3_000, 500)


def test_reset_forgets_the_data_and_fixes_the_final_size() -> None:
    half = SendHalf(1 << 30)
    half.write(DATA[:5_000], 5_000)
    sent(half, 2_000)
    half.reset(3)
    assert half.next_offset == 2_000 and not half.is_ready() and half.buffered == 0
    half.on_lost(0, 2_000, False)
    half.on_acked(0, 1_000, False)
    assert not half.is_ready()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_random_fates_deliver_everything(seed: int) -> None:
    rnd = random.Random(seed)
    size = rnd.randrange(1, 30_000)
    half, receiver = SendHalf(1 << 30), ReceiveHalf()
    at = 0
    flight: list[tuple[int, int, bool]] = []
    while not half.is_done:
        if at < size:
            n = rnd.randrange(1, 9_000)
            half.write(DATA[at : at + n][: size - at], min(n, size - at))
            at = min(size, at + n)
            if at == size:
                half.finish()
        if half.is_ready():
            offset, length, fin, data = sent(half, rnd.randrange(1, 5_000))
            assert data == DATA[offset : offset + length]
            flight.append((offset, length, fin))
        if flight and (rnd.random() < 0.7 or not half.is_ready()):
            offset, length, fin = flight.pop(rnd.randrange(len(flight)))
            if rnd.random() < 0.3:
                half.on_lost(offset, length, fin)
            else:
                receiver.receive(offset, view(offset, offset + length), fin)
                half.on_acked(offset, length, fin)
    assert b"".join(receiver.read_chunks(size)) == DATA[:size]
    assert receiver.is_done and not half._segments


def test_a_piece_of_a_large_buffer_does_not_keep_the_buffer() -> None:
    half = ReceiveHalf()
    buffer = bytes(range(256)) * 256
    half.receive(0, memoryview(buffer)[:5_000], False)
    half.receive(5_000, memoryview(buffer)[5_000:], False)
    small, large = half.read_chunks(1 << 20)
    assert isinstance(small, bytes) and len(small) == 5_000
    assert isinstance(large, memoryview) and large.obj is buffer, (
        "most of a buffer is kept as it is"
    )


def test_of_early_bytes_the_first_copy_stays() -> None:
    half = ReceiveHalf()
    half.receive(10, memoryview(b"A" * 10), False)
    half.receive(5, memoryview(b"B" * 25), False)
    half.receive(0, memoryview(b"C" * 5), False)
    assert b"".join(half.read_chunks(100)) == b"C" * 5 + b"B" * 5 + b"A" * 10 + b"B" * 10
