from __future__ import annotations

from wraith.connection.data.datagrams import FLOW_S, FRAME_OVERHEAD, QUEUE_MESSAGES, DatagramQueue
from wraith.wire.frames import DatagramFrame, decode_frames


def test_messages_leave_whole_in_order_and_as_many_as_fit() -> None:
    queue = DatagramQueue()
    for n in range(5):
        assert queue.push(bytes([n]) * 100, 0.0)
    frames = decode_frames(queue.take(3 * (100 + FRAME_OVERHEAD) + 50, 99))
    assert [(f.id, f.data) for f in frames if isinstance(f, DatagramFrame)] == [
        (n, bytes([n]) * 100) for n in range(3)
    ]
    assert queue.take(50, 99) == b"" and queue
    assert len(decode_frames(queue.take(1_000, 99))) == 2 and not queue


def test_who_has_sent_a_message_counts_as_one_who_sends_them_for_a_while() -> None:
    queue = DatagramQueue()
    assert queue.flows_until == 0.0
    queue.push(b"x", 5.0)
    assert queue.flows_until == 5.0 + FLOW_S


def test_a_full_queue_drops_and_counts() -> None:
    queue = DatagramQueue()
    assert all(queue.push(b"x", 0.0) for _ in range(QUEUE_MESSAGES))
    assert not queue.push(b"x", 0.0) and queue.n_dropped_out == 1
    queue.take(10_000, 99)
    assert queue.push(b"x", 0.0)


def test_unread_messages_are_bounded() -> None:
    queue = DatagramQueue()
    assert sum(queue.admit() for _ in range(QUEUE_MESSAGES + 5)) == QUEUE_MESSAGES
    assert queue.n_dropped_in == 5


def test_a_smaller_path_drops_what_cannot_fit() -> None:
    queue = DatagramQueue()
    queue.push(bytes(1_000), 0.0)
    queue.push(bytes(10), 0.0)
    queue.drop_oversized(500)
    assert len(queue.take(10_000, 99)) == 10 + FRAME_OVERHEAD and queue.n_dropped_out == 1
