"""Streams and datagrams between two established connections on a troubled network."""

from __future__ import annotations

import random

import pytest

from wraith.config import KIB, MIB, EndpointConfig
from wraith.connection import events as ev
from wraith.connection.data.flow import WindowBudget
from wraith.errors import LocalProtocolError
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig
from wraith.types import StreamId, SuiteId

DATA = random.Random(7).randbytes(400_000)

TROUBLES = {
    "clean": LinkConfig(latency_s=0.01),
    "loss": LinkConfig(latency_s=0.01, loss=0.2),
    "reorder": LinkConfig(latency_s=0.01, reorder=0.3, reorder_delay_s=0.03),
    "duplicate": LinkConfig(latency_s=0.01, duplicate=0.5),
    "jitter": LinkConfig(latency_s=0.01, jitter_s=0.02),
    "slow": LinkConfig(latency_s=0.02, rate_bps=5e6, queue_bytes=20_000),
    "everything": LinkConfig(
        latency_s=0.02, jitter_s=0.01, loss=0.1, duplicate=0.1, reorder=0.1, rate_bps=2e7
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("suite", [SuiteId.A, SuiteId.B])
def test_both_directions_arrive_equal(trouble: str, suite: SuiteId) -> None:
    pair = EstablishedPair(link=TROUBLES[trouble], seed=3, suite=suite)
    pair.run(seconds=5, until=lambda: pair.i.connection.confirmed)
    there = pair.send(DATA[:200_000])
    back = pair.send(DATA[200_000:], source=pair.r)
    assert pair.run(seconds=120, until=lambda: there.is_equal and back.is_equal)
    pair.run(seconds=5)
    for side in (pair.i, pair.r):
        assert len(side.of(ev.StreamSent)) == 1
        assert not side.of(ev.Closed)


@pytest.mark.spec("RC-11")
def test_a_loss_that_a_timer_finds_slows_the_pacer_at_once() -> None:
    pair = EstablishedPair(config=EndpointConfig(datagram_bytes=1_200), seed=4)
    pair.run(seconds=1)
    connection = pair.i.connection
    session = connection._shared.parts
    assert session is not None
    n_seen = 0

    def lose_the_last_but_one(datagram: bytes) -> bytes | None:
        nonlocal n_seen
        n_seen += 1
        return None if n_seen == 8 else datagram

    pair.net.a_to_b.taps.append(lose_the_last_but_one)
    pair.send(bytes(9 * 1_100))
    assert pair.run(seconds=5, until=lambda: connection.stats().lost_packets == 1)
    assert n_seen <= 10 and not session.paths.main.pto_count, "too few follow for another threshold"
    path = session.paths.main
    window, srtt = path.controller.window, path.rtt.srtt
    assert path.pacer.rate == pytest.approx(1.25 * window / srtt)


def test_many_streams_share_one_connection() -> None:
    pair = EstablishedPair(link=TROUBLES["loss"], seed=5)
    transfers = [
        pair.send(DATA[n * 1_000 : n * 1_000 + 9_000], expedited=n % 3 == 0) for n in range(100)
    ]
    assert pair.run(seconds=120, until=lambda: all(t.is_equal for t in transfers))


def exchange(pair: EstablishedPair, body: bytes) -> None:
    """One stream there and back, until both sides have forgotten it."""
    transfer = pair.send(body)
    assert pair.run(seconds=2, until=lambda: transfer.is_equal)
    pair.r.connection.stream_finish(transfer.sid, pair.now)
    pair.run(seconds=0.2)
    assert pair.i.connection.stream_read(transfer.sid, 1, pair.now) == b""
    pair.run(seconds=0.2)
    for side in (pair.i, pair.r):
        session = side.connection._shared.parts
        assert session is not None and not session.mux.table.streams


@pytest.mark.spec("CN-13")
def test_streams_in_a_row_go_beyond_the_limit_of_open_ones() -> None:
    pair = EstablishedPair(config=EndpointConfig(max_streams=4))
    for n in range(25):
        exchange(pair, bytes([n]) * 100)
    assert pair.i.connection.open_stream(now=pair.now) == 26


def test_opening_beyond_the_limit_is_refused_and_changes_nothing() -> None:
    pair = EstablishedPair(config=EndpointConfig(max_streams=2))
    pair.send(b"a")
    pair.send(b"b")
    with pytest.raises(LocalProtocolError):
        pair.send(b"c")
    assert not pair.i.connection.can_open_stream()
    pair.send(b"d", expedited=True)


@pytest.mark.spec("CN-20")
def test_a_reader_that_sleeps_stops_the_sender_at_the_window() -> None:
    config = EndpointConfig(stream_window=64 * KIB, conn_window=64 * KIB)
    pair = EstablishedPair(config=config)
    transfer = pair.send(DATA, is_reading=False)
    pair.run(seconds=10)
    assert pair.r.connection.stream_readable(transfer.sid) == 64 * KIB
    transfer.is_reading = True
    assert pair.run(seconds=60, until=lambda: transfer.is_equal)


def test_one_sleeping_reader_does_not_stop_another_stream() -> None:
    config = EndpointConfig(stream_window=64 * KIB, conn_window=256 * KIB)
    pair = EstablishedPair(config=config)
    pair.send(DATA, is_reading=False)
    other = pair.send(DATA)
    assert pair.run(seconds=60, until=lambda: other.is_equal)


def test_the_windows_grow_with_a_long_fast_path() -> None:
    config = EndpointConfig(stream_window=64 * KIB, conn_window=64 * KIB, send_buffer_bytes=MIB)
    pair = EstablishedPair(config=config, link=LinkConfig(latency_s=0.1))
    data = bytes(3 * MIB)
    transfer = pair.send(data)
    assert pair.run(seconds=60, until=lambda: transfer.is_equal)
    # With 64 KiB per round trip of 200 ms it would take 9.6 s.
    assert pair.now < 5


def test_nothing_grows_when_the_memory_of_all_windows_is_used_up() -> None:
    config = EndpointConfig(stream_window=64 * KIB, conn_window=64 * KIB)
    budget = WindowBudget(64 * KIB)
    pair = EstablishedPair(config=config, link=LinkConfig(latency_s=0.05), budget=budget)
    transfer = pair.send(bytes(MIB))
    assert pair.run(seconds=60, until=lambda: transfer.is_equal)
    assert budget.used == 64 * KIB
    pair.r.connection.close(0, "", pair.now)
    assert budget.used == 0


def test_an_urgent_stream_overtakes_a_bulk_one() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01, rate_bps=1e7, queue_bytes=50_000))
    bulk = pair.send(DATA, priority=200)
    pair.run(seconds=0.1)
    urgent = pair.send(DATA[:100_000], priority=10)
    assert pair.run(seconds=60, until=lambda: urgent.is_equal)
    assert not bulk.is_equal
    assert pair.run(seconds=60, until=lambda: bulk.is_equal)


def test_reset_reaches_the_reader_and_frees_the_window() -> None:
    config = EndpointConfig(stream_window=64 * KIB, conn_window=64 * KIB)
    pair = EstablishedPair(config=config, link=TROUBLES["loss"], seed=9)
    given_up = pair.send(DATA, is_reading=False)
    pair.run(seconds=5)
    pair.i.connection.stream_reset(given_up.sid, 77, pair.now)
    pair.net.settle()
    assert pair.run(seconds=20, until=lambda: bool(pair.r.of(ev.StreamWasReset)))
    assert pair.r.of(ev.StreamWasReset) == [ev.StreamWasReset(given_up.sid, 77)]
    after = pair.send(DATA)
    assert pair.run(seconds=120, until=lambda: after.is_equal)


@pytest.mark.spec("CN-26")
def test_stop_is_answered_with_a_reset() -> None:
    pair = EstablishedPair(link=TROUBLES["loss"], seed=2)
    transfer = pair.send(DATA, finish=False, is_reading=False)
    pair.run(seconds=0.5, until=lambda: bool(pair.r.of(ev.StreamOpened)))
    pair.r.connection.stream_stop(transfer.sid, 5, pair.now)
    pair.net.settle()
    assert pair.run(seconds=20, until=lambda: bool(pair.r.of(ev.StreamWasReset)))
    assert pair.i.of(ev.StreamWasStopped) == [ev.StreamWasStopped(transfer.sid, 5)]
    assert pair.r.of(ev.StreamWasReset) == [ev.StreamWasReset(transfer.sid, 5)]
    with pytest.raises(LocalProtocolError):
        pair.i.connection.stream_write(transfer.sid, b"x", now=pair.now)


def test_a_short_write_is_followed_by_writable() -> None:
    pair = EstablishedPair(config=EndpointConfig(send_buffer_bytes=64 * KIB))
    sid = pair.i.connection.open_stream(now=0.0)
    n = pair.i.connection.stream_write(sid, DATA, now=0.0)
    assert n == 64 * KIB and pair.i.connection.stream_room(sid) == 0
    assert pair.run(seconds=5, until=lambda: bool(pair.i.of(ev.StreamWritable)))
    assert pair.i.connection.stream_room(sid) > 0


def test_readable_comes_again_only_after_a_read_has_emptied_the_stream() -> None:
    pair = EstablishedPair()
    sid = pair.i.connection.open_stream(now=0.0)
    for _ in range(3):
        pair.i.connection.stream_write(sid, b"x" * 100, now=pair.now)
        pair.run(seconds=1)
    assert len(pair.r.of(ev.StreamReadable)) == 1
    assert len(pair.r.connection.stream_read(sid, 1_000, pair.now)) == 300
    pair.i.connection.stream_write(sid, b"y", now=pair.now)
    pair.run(seconds=1)
    assert len(pair.r.of(ev.StreamReadable)) == 2


def test_an_empty_stream_has_an_end_too() -> None:
    pair = EstablishedPair()
    sid = pair.i.connection.open_stream(now=0.0)
    pair.i.connection.stream_finish(sid, 0.0)
    pair.run(seconds=1)
    assert pair.r.of(ev.StreamReadable) == [ev.StreamReadable(sid)]
    assert pair.r.connection.stream_is_finished(sid)
    assert pair.i.of(ev.StreamSent) == [ev.StreamSent(sid)]


def test_commands_on_unknown_or_finished_streams_are_refused() -> None:
    pair = EstablishedPair()
    connection = pair.i.connection
    with pytest.raises(LocalProtocolError):
        connection.stream_write(StreamId(9), b"x", now=0.0)
    with pytest.raises(LocalProtocolError):
        connection.stream_read(StreamId(9), 1, 0.0)
    sid = connection.open_stream(now=0.0)
    connection.stream_finish(sid, 0.0)
    with pytest.raises(LocalProtocolError):
        connection.stream_write(sid, b"x", now=0.0)
    with pytest.raises(LocalProtocolError):
        connection.open_stream(priority=256, now=0.0)


# -- datagrams


@pytest.mark.spec("CN-28")
def test_datagrams_arrive_whole_or_not_at_all() -> None:
    pair = EstablishedPair(link=TROUBLES["loss"], seed=4)
    pair.run(seconds=2)
    sent = [bytes([n]) * (n * 9 % 1_000 + 1) for n in range(200)]
    for message in sent:
        assert pair.i.connection.send_datagram(message, pair.now)
    pair.net.settle()
    pair.run(seconds=20)
    got = [e.data for e in pair.r.of(ev.DatagramReceived)]
    assert set(got) <= set(sent) and 120 <= len(got) < 200
    assert pair.i.connection.stats().retransmitted_bytes == 0


def test_everything_due_has_left_once_there_is_no_more() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    connection = pair.i.connection
    for _ in range(7):  # a run each, and a call makes a few runs only
        sid = connection.open_stream(now=pair.now)
        connection.stream_write(sid, b"hello", now=pair.now)
    assert connection.datagrams_to_send(pair.now) and connection.has_more
    while connection.has_more:
        assert connection.datagrams_to_send(pair.now)
    assert connection.stats().bytes_in_flight
    assert connection.datagrams_to_send(pair.now) == []


def test_the_largest_datagram_passes_beside_pending_acknowledgements() -> None:
    pair = EstablishedPair()
    pair.run(seconds=2)
    size = pair.i.connection.max_datagram_bytes
    pair.send(DATA, source=pair.r)
    for _ in range(20):
        pair.i.connection.send_datagram(bytes(size), pair.now)
    pair.run(seconds=0.5)
    assert len(pair.r.of(ev.DatagramReceived)) == 20
    with pytest.raises(LocalProtocolError):
        pair.i.connection.send_datagram(bytes(size + 1), pair.now)


# -- rate


def test_fills_a_slow_link_in_the_steady_state() -> None:
    rate = 2e7
    link = LinkConfig(latency_s=0.025, rate_bps=rate, queue_bytes=int(rate / 8 * 0.05))
    pair = EstablishedPair(link=link, back=LinkConfig(latency_s=0.025))
    transfer = pair.send(bytes(6 * MIB))
    pair.run(seconds=1)
    before, start = len(transfer.received), pair.now
    pair.run(seconds=1)
    rate_seen = (len(transfer.received) - before) * 8 / (pair.now - start)
    assert rate_seen > 0.85 * rate


@pytest.mark.spec("RC-20")
def test_acknowledgements_come_per_batch_not_per_packet() -> None:
    pair = EstablishedPair(config=EndpointConfig(datagram_bytes=1400))
    transfer = pair.send(bytes(4 * MIB))
    assert pair.run(seconds=60, until=lambda: transfer.is_equal)
    assert pair.r.connection.stats().sent_packets * 5 < pair.i.connection.stats().sent_packets


@pytest.mark.spec("RC-23")
@pytest.mark.parametrize("both_send", [False, True])
def test_gaps_of_long_ago_are_not_told_for_ever(both_send: bool) -> None:
    # Windows that need no update: nothing else takes the acknowledgements along.
    config = EndpointConfig(datagram_bytes=1400, stream_window=8 * MIB, conn_window=8 * MIB)
    clean, lossy = LinkConfig(latency_s=0.01), LinkConfig(latency_s=0.01, loss=0.02)
    pair = EstablishedPair(config=config, link=lossy, back=clean, seed=5)
    pair.run(seconds=5, until=lambda: pair.r.connection.confirmed)
    transfer = pair.send(bytes(4 * MIB))
    if both_send:
        pair.send(bytes(8 * MIB), source=pair.r)  # its data take the acknowledgements along
    session = pair.r.connection._shared.parts
    assert session is not None
    n_told = 0

    def is_over() -> bool:
        nonlocal n_told
        n_told = max(
            [n_told, *(len(frame.ranges) for frame in session.paths.main.acks.frames(pair.now))]
        )
        return transfer.is_equal

    assert pair.run(seconds=60, until=is_over)
    assert pair.i.connection.stats().lost_packets >= 20
    assert 1 < n_told <= (9 if both_send else 12)


@pytest.mark.spec("RC-11")
def test_a_sender_whose_processor_was_busy_makes_up_for_it_within_bounds() -> None:
    def sent_when_late_by(seconds: float) -> int:
        link = LinkConfig(latency_s=0.05)
        pair = EstablishedPair(config=EndpointConfig(datagram_bytes=1400), link=link)
        pair.send(bytes(4 * MIB))
        connection = pair.i.connection
        assert connection._shared.parts is not None
        path = connection._shared.parts.paths.main
        assert pair.run(
            until=lambda: connection.stats().cwnd_bytes > 500_000 and path.pace_at is not None
        )
        assert path.pace_at is not None
        pair.clock.advance(path.pace_at + seconds)
        connection.handle_timer(pair.now)
        return sum(len(transmit.data) for transmit in connection.datagrams_to_send(pair.now))

    in_time = sent_when_late_by(0.0)
    assert in_time <= 14_000
    assert in_time + 4_000 < sent_when_late_by(0.001) < sent_when_late_by(0.025)
    assert sent_when_late_by(0.025) == 32_768 // 1400 * 1400


@pytest.mark.spec("CN-65")
def test_all_streams_of_a_session_together_keep_at_most_64_mib() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    connection, data = pair.i.connection, bytes(MIB)
    streams = [connection.open_stream(now=pair.now) for _ in range(80)]
    n_taken = sum(connection.stream_write(sid, data, now=pair.now) for sid in streams)
    assert 63 * MIB < n_taken <= 64 * MIB
