"""What a sender keeps for a peer that acknowledges little, or lies."""

from __future__ import annotations

import pytest

from wraith.config import KIB, MIB, EndpointConfig
from wraith.connection import events as ev
from wraith.connection.data.flow import SEND_FLOOR_BYTES, SendMemory, SendSum, WindowBudget
from wraith.connection.paths.congestion import AckSample
from wraith.connection.paths.controllers import make_controller
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig

SMALL = EndpointConfig(send_memory_bytes=512 * KIB)


@pytest.mark.spec("CN-65")
def test_the_streams_of_a_session_share_its_send_memory() -> None:
    pair = EstablishedPair(config=SMALL)
    pair.run(seconds=1)
    connection = pair.i.connection
    first, second = (connection.open_stream(now=pair.now) for _ in range(2))
    assert connection.stream_write(first, bytes(400 * KIB), now=pair.now) == 400 * KIB
    assert connection.stream_write(second, bytes(400 * KIB), now=pair.now) == 98 * KIB
    assert connection.stream_room(first) == connection.stream_room(second) == 0
    pair.run(seconds=5)
    assert [e.sid for e in pair.i.of(ev.StreamWritable)] == [second]
    assert connection.stream_room(second) == 448 * KIB


@pytest.mark.spec("CN-65")
def test_a_stream_that_takes_all_it_can_leaves_an_eighth_to_others() -> None:
    pair = EstablishedPair(config=SMALL)
    pair.run(seconds=1)
    connection = pair.i.connection
    bulk, echo = (connection.open_stream(now=pair.now) for _ in range(2))
    n_writable = -1
    for _ in range(500):
        pair.run(seconds=0.01)
        if (n_told := len(pair.i.of(ev.StreamWritable))) > n_writable:
            n_writable = n_told
            while connection.stream_write(bulk, bytes(64 * KIB), now=pair.now):
                pass
        assert connection.stream_write(echo, bytes(64), now=pair.now) == 64
    assert n_writable > 10, "the bulk has moved"


@pytest.mark.spec("CN-65")
def test_a_writer_without_bytes_of_its_own_hears_when_others_make_room() -> None:
    pair = EstablishedPair(config=SMALL)
    pair.run(seconds=1)
    connection = pair.i.connection
    *full, hungry = (connection.open_stream(now=pair.now) for _ in range(12))

    def fill() -> None:
        while sum(connection.stream_write(sid, bytes(MIB), now=pair.now) for sid in full):
            pass
        assert connection.stream_write(hungry, b"x", now=pair.now) == 0

    fill()
    pair.run(seconds=5)
    assert hungry in [e.sid for e in pair.i.of(ev.StreamWritable)]
    pair.net.b_to_a.config = LinkConfig(loss=1.0)  # no acknowledgement makes room
    fill()
    n_before = [e.sid for e in pair.i.of(ev.StreamWritable)].count(hungry)
    connection.stream_reset(full[0], 0, pair.now)
    pair.run(seconds=0.1)
    assert [e.sid for e in pair.i.of(ev.StreamWritable)].count(hungry) == n_before + 1


@pytest.mark.spec("CN-65")
def test_a_stream_that_nobody_reads_does_not_stop_the_others() -> None:
    pair = EstablishedPair(
        config=EndpointConfig(send_memory_bytes=128 * KIB, stream_window=16 * KIB)
    )
    pair.run(seconds=1)
    connection = pair.i.connection
    stuck, other = (connection.open_stream(now=pair.now) for _ in range(2))
    assert connection.stream_write(stuck, bytes(MIB), now=pair.now) == 112 * KIB
    pair.run(seconds=5)
    for n_times in range(1, 4):
        n_taken = connection.stream_write(other, bytes(MIB), now=pair.now)
        assert 0 < n_taken < 32 * KIB, "what the reader of the other stream has left"
        for _ in range(3):
            pair.run(seconds=1)
            pair.r.connection.stream_read_chunks(other, MIB, pair.now)
        assert [e.sid for e in pair.i.of(ev.StreamWritable)].count(other) == n_times


@pytest.mark.spec("CN-65")
def test_the_sessions_of_an_endpoint_share_a_sum_and_each_has_a_floor() -> None:
    whole = SendSum(MEMORY)
    sessions = [SendMemory(MEMORY, whole) for _ in range(3)]
    sessions[0].take(MEMORY - 1_000)
    assert [each.room for each in sessions] == [1_000, SEND_FLOOR_BYTES, SEND_FLOOR_BYTES]
    sessions[1].take(SEND_FLOOR_BYTES)
    assert [each.room for each in sessions] == [0, 0, SEND_FLOOR_BYTES]
    assert SendMemory(MEMORY, SendSum(1 << 30)).room == MEMORY
    sessions[0].release()
    assert sessions[1].room == MEMORY - SEND_FLOOR_BYTES and whole.used == SEND_FLOOR_BYTES


MEMORY = 1 << 20


def test_a_session_that_ends_gives_back_what_it_has_kept() -> None:
    budget = WindowBudget(1 << 30, MEMORY)
    pair = EstablishedPair(budget=budget)
    pair.run(seconds=1)
    pair.net.b_to_a.config = LinkConfig(loss=1.0)
    pair.send(bytes(300_000), source=pair.r)
    pair.net.settle()
    assert budget.sending.used == 300_000
    pair.r.connection.close(0, "", pair.now)
    assert budget.sending.used == 0
    pair.run(seconds=10)
    assert budget.sending.used == 0


@pytest.mark.spec("CN-65")
def test_everything_arrives_through_little_memory() -> None:
    config = EndpointConfig(send_memory_bytes=128 * KIB)
    pair = EstablishedPair(config=config, link=LinkConfig(latency_s=0.005, loss=0.03))
    transfers = [pair.send(bytes([n]) * 200_000) for n in range(8)]
    assert pair.run(seconds=120, until=lambda: all(t.is_equal for t in transfers))
    pair.run(seconds=1)
    session = pair.i.connection._shared.parts
    assert session is not None and session.mux.memory.used == 0


@pytest.mark.spec("CN-66")
@pytest.mark.parametrize("name", ["cubic", "newreno"])
def test_the_window_grows_to_half_of_the_memory_and_no_further(name: str) -> None:
    controller = make_controller(name, 1_200, window_max=256 * KIB)
    for n in range(1, 2_000):
        window = controller.window
        controller.on_ack(
            AckSample(
                n_bytes=window,
                sent_time=n * 0.1,
                counter=n,
                next_counter=n + 1,
                rtt=0.1,
                srtt=0.1,
                app_limited=False,
                now=n * 0.1 + 0.1,
            )
        )
        assert controller.window <= 256 * KIB
    assert controller.window == 256 * KIB


@pytest.mark.spec("CN-66")
def test_a_session_caps_its_window_by_its_memory() -> None:
    pair = EstablishedPair(config=SMALL, link=LinkConfig(latency_s=0.1))
    transfer = pair.send(bytes(12 << 20))
    largest = 0
    while not transfer.is_equal:
        pair.run(seconds=0.2)
        largest = max(largest, pair.i.connection.stats().cwnd_bytes)
    assert largest == 256 * KIB
