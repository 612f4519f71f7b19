"""Streams as the connection uses them, on their own: commands, frames in, announcements out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.data.flow import ReceiveWindow, SendMemory
from wraith.connection.data.mux import StreamMux
from wraith.connection.data.stream_table import StreamTable
from wraith.errors import CloseCode, LocalProtocolError, RemoteProtocolError
from wraith.types import Role, StreamId
from wraith.wire.frames import (
    Frame,
    FrameType,
    MaxStreams,
    Priority,
    Reset,
    Stop,
    StreamOpen,
    WindowUpdate,
    decode_frames,
)

WINDOW = 100_000
CONN_WINDOW = 150_000
OWN, THEIRS = StreamId(1), StreamId(1 << 30 | 1)
RTT_S = 0.1
CONFIG = EndpointConfig(stream_window=WINDOW, conn_window=CONN_WINDOW)


class Streams:
    """A mux with what it emits, and its announcements as frames."""

    def __init__(self, config: EndpointConfig = CONFIG) -> None:
        self.config = config
        self.events: list[ev.Event] = []
        table = StreamTable(
            Role.INITIATOR,
            self.config,
            send_window=WINDOW,
            conn_send_window=CONN_WINDOW,
            max_streams=8,
            own_window=WINDOW,
            own_max_streams=self.config.max_streams,
            conn_window=ReceiveWindow(CONN_WINDOW, CONN_WINDOW),
        )
        memory = SendMemory(self.config.send_memory_bytes)
        self.mux = StreamMux(table, self.config, self.events.append, memory)

    def announced(self) -> list[Frame]:
        """The frames of all announcements that are due; they leave with this."""
        frames: list[Frame] = []
        for token in list(self.mux.pending):
            encoded = self.mux.frame_for(token)
            if encoded is not None:
                frames += decode_frames(encoded)
        self.mux.pending.clear()
        return frames

    def open(self, priority: int = 128) -> StreamId:
        return self.mux.open(priority=priority, expedited=False)

    def send(self) -> tuple[int, int, int, bool] | None:
        """One run of the stream whose turn it is: ``(sid, offset, length, fin)``."""
        stream = self.mux.pick()
        if stream is None:
            return None
        room = max(self.mux.table.conn_send.room, 0)
        offset, length, fin = stream.send.next_range(10_000, room)
        self.mux.on_sent(stream, offset, length, fin, length)
        return stream.sid, offset, length, fin

    def receive(self, data: bytes, *, offset: int = 0, fin: bool = False, now: float = 0.0) -> None:
        """Bytes on the peer's first stream."""
        self.mux.on_data(THEIRS, offset, memoryview(data), fin, now, RTT_S)


@pytest.fixture
def streams() -> Streams:
    return Streams()


# -- this side's streams


def test_the_present_value_is_announced_however_late_it_leaves(streams: Streams) -> None:
    sid = streams.open(priority=200)
    streams.mux.set_priority(sid, 5)
    assert streams.announced() == [StreamOpen(sid, WINDOW, 5), Priority(sid, 5)]


def test_the_peer_bounds_how_many_streams_are_open(streams: Streams) -> None:
    for _ in range(8):
        streams.open()
    with pytest.raises(LocalProtocolError, match="no more streams"):
        streams.open()
    assert streams.mux.on_max_streams(MaxStreams(0, 9))
    streams.open()


def test_bytes_are_taken_as_far_as_the_buffer_goes_and_room_is_told() -> None:
    streams = Streams(replace(CONFIG, send_buffer_bytes=40_000))
    sid = streams.open()
    assert streams.mux.write(sid, bytes(50_000), True) == 40_000
    assert streams.mux.room(sid) == 0 and streams.mux.unsent(sid) == 40_000
    while streams.send() is not None:
        pass
    assert streams.mux.unsent(sid) == 0
    streams.mux.on_range_acked(sid, 0, 10_000, False)
    assert streams.events == [], "half of the buffer is worth telling, a quarter is not"
    streams.mux.on_range_acked(sid, 10_000, 10_000, False)
    assert streams.events == [ev.StreamWritable(sid)]
    assert streams.mux.room(sid) == 20_000


def test_a_stream_is_sent_once_its_end_is_acknowledged(streams: Streams) -> None:
    sid = streams.open()
    streams.mux.write(sid, b"all of it", True)
    assert streams.send() == (sid, 0, 9, True)
    assert streams.send() is None
    streams.mux.on_range_acked(sid, 0, 9, True)
    streams.mux.on_range_acked(sid, 0, 9, True)
    assert streams.events == [ev.StreamSent(sid)]
    with pytest.raises(LocalProtocolError, match="finished or reset"):
        streams.mux.write(sid, b"more", False)


def test_what_was_lost_goes_again_and_is_counted(streams: Streams) -> None:
    sid = streams.open()
    streams.mux.write(sid, bytes(10_000), False)
    assert streams.send() == (sid, 0, 10_000, False)
    streams.mux.on_range_lost(sid, 2_000, 3_000, False)
    assert streams.send() == (sid, 2_000, 3_000, False)
    assert streams.send() is None
    assert streams.mux.n_retransmitted == 3_000


def test_the_more_urgent_stream_sends_first(streams: Streams) -> None:
    late, urgent = streams.open(priority=255), streams.open(priority=0)
    for sid in (late, urgent):
        streams.mux.write(sid, bytes(5_000), False)
    assert [run[0] for run in (streams.send(), streams.send()) if run] == [urgent, late]


def test_a_waiting_stream_that_becomes_urgent_overtakes(streams: Streams) -> None:
    first, second = streams.open(), streams.open()
    for sid in (first, second):
        streams.mux.write(sid, bytes(5_000), False)
    streams.mux.set_priority(second, 0)
    assert [run[0] for run in (streams.send(), streams.send()) if run] == [second, first]


def test_a_stream_waits_for_the_window_of_the_connection(streams: Streams) -> None:
    first, second = streams.open(), streams.open()
    for sid in (first, second):
        streams.mux.write(sid, bytes(WINDOW), False)
    sent = 0
    while (run := streams.send()) is not None:
        sent += run[2]
    assert sent == CONN_WINDOW
    streams.mux.on_window_update(StreamId(0), CONN_WINDOW + 1_000)
    run = streams.send()
    assert run is not None and run[2] == 1_000


def test_a_reset_announces_what_was_sent_and_ends_the_stream(streams: Streams) -> None:
    sid = streams.open()
    streams.mux.write(sid, bytes(20_000), False)
    streams.send()
    streams.announced()
    streams.mux.reset(sid, 42)
    assert streams.announced() == [Reset(sid, 42, 10_000)]
    assert streams.send() is None
    with pytest.raises(LocalProtocolError, match="finished or reset"):
        streams.mux.write(sid, b"more", False)


def test_an_announcement_that_was_lost_goes_again_while_it_means_something(
    streams: Streams,
) -> None:
    sid = streams.open()
    streams.mux.reset(sid, 1)
    tokens = list(streams.mux.pending)
    streams.announced()
    for token in tokens:
        streams.mux.on_token_lost(token)
    assert [type(frame) for frame in streams.announced()] == [StreamOpen, Reset]
    streams.mux.on_token_acked(tokens[1])
    streams.mux.on_token_lost(tokens[1])
    assert streams.announced() == []


def test_the_peer_stops_a_stream_once(streams: Streams) -> None:
    sid = streams.open()
    streams.mux.write(sid, b"unwanted", False)
    streams.mux.on_stop(sid, 3)
    streams.mux.on_stop(sid, 3)
    assert streams.events == [ev.StreamWasStopped(sid, 3)]
    assert Reset(sid, 3, 0) in streams.announced()


# -- the peer's streams


def test_bytes_open_a_stream_and_are_told_once_until_they_are_read(streams: Streams) -> None:
    streams.receive(b"one ")
    streams.receive(b"two", offset=4)
    assert streams.events == [ev.StreamOpened(THEIRS), ev.StreamReadable(THEIRS)]
    assert b"".join(streams.mux.read(THEIRS, 100, 0.0, RTT_S)) == b"one two"
    streams.receive(b"!", offset=7, fin=True)
    assert streams.events[2:] == [ev.StreamReadable(THEIRS)]
    assert not streams.mux.is_finished(THEIRS)
    assert b"".join(streams.mux.read(THEIRS, 100, 0.0, RTT_S)) == b"!"
    assert streams.mux.is_finished(THEIRS)


def test_naming_a_stream_opens_the_lower_ones(streams: Streams) -> None:
    streams.mux.on_stream_open(StreamOpen(StreamId(THEIRS + 2), WINDOW, 7))
    assert streams.events == [ev.StreamOpened(StreamId(THEIRS + n)) for n in range(3)]
    assert streams.mux.table.streams[THEIRS + 2].priority == 7


def test_a_byte_beyond_the_window_is_refused(streams: Streams) -> None:
    streams.receive(bytes(10), offset=WINDOW - 10)
    with pytest.raises(RemoteProtocolError) as caught:
        streams.receive(b"x", offset=WINDOW)
    assert caught.value.close_code is CloseCode.WINDOW_EXCEEDED


def test_reading_opens_the_windows_again(streams: Streams) -> None:
    streams.receive(bytes(80_000))
    assert streams.announced() == []
    streams.mux.read(THEIRS, 80_000, 1.0, RTT_S)
    assert streams.announced() == [
        WindowUpdate(THEIRS, 80_000 + WINDOW),
        WindowUpdate(StreamId(0), 80_000 + CONN_WINDOW),
    ]


def test_nothing_is_granted_to_a_peer_that_nobody_has_accepted(streams: Streams) -> None:
    streams.mux.grants = False
    streams.receive(bytes(80_000))
    streams.mux.read(THEIRS, 80_000, 1.0, RTT_S)
    assert streams.announced() == []
    streams.mux.grant(2.0, RTT_S)
    assert WindowUpdate(StreamId(0), 80_000 + CONN_WINDOW) in streams.announced()


def test_what_arrives_on_a_stopped_stream_is_thrown_away_and_gives_room(streams: Streams) -> None:
    streams.receive(b"some")
    streams.mux.stop(THEIRS, 9, 0.0, RTT_S)
    assert streams.announced() == [Stop(THEIRS, 9)]
    n_told = len(streams.events)
    streams.receive(bytes(90_000), offset=4)
    assert len(streams.events) == n_told and streams.mux.readable(THEIRS) == 0
    assert WindowUpdate(StreamId(0), 90_004 + CONN_WINDOW) in streams.announced()


def test_a_stream_that_is_over_is_forgotten_and_others_may_come() -> None:
    streams = Streams(replace(CONFIG, max_streams=2))
    streams.receive(b"question", fin=True)
    streams.mux.read(THEIRS, 100, 0.0, RTT_S)
    streams.mux.write(THEIRS, b"", True)
    assert streams.send() == (THEIRS, 0, 0, True)
    assert streams.announced() == []
    streams.mux.on_range_acked(THEIRS, 0, 0, True)
    assert THEIRS not in streams.mux.table.streams
    assert streams.announced() == [MaxStreams(1, 3)]
    streams.mux.on_priority(THEIRS, 1)  # a late frame about it means nothing
    assert streams.mux.read(THEIRS, 100, 0.0, RTT_S) == []


def test_a_command_about_a_stream_that_never_was_is_refused(streams: Streams) -> None:
    with pytest.raises(LocalProtocolError, match="never opened"):
        streams.mux.read(OWN, 1, 0.0, RTT_S)
    with pytest.raises(LocalProtocolError, match="never opened"):
        streams.mux.reset(THEIRS, 0)


# -- streams that are taken one by one


def _remote(number: int) -> StreamId:
    return StreamId(1 << 30 | number)


def _limits(streams: Streams) -> list[int]:
    return [frame.limit for frame in streams.announced() if isinstance(frame, MaxStreams)]


def _over(streams: Streams, sid: StreamId) -> None:
    """The peer gives the stream up in both directions, and hears of the answer."""
    streams.mux.on_stop(sid, 0)
    streams.mux.on_reset(sid, 0, 1, 0.0, RTT_S)
    streams.mux.on_token_acked((FrameType.RESET, sid))
    assert sid not in streams.mux.table.streams


@pytest.fixture
def taking() -> Streams:
    streams = Streams(replace(CONFIG, max_streams=4))
    streams.mux.table.count_taken()
    return streams


@pytest.mark.spec("CN-83")
def test_a_place_is_free_again_when_its_stream_is_taken_and_not_when_it_has_ended(
    taking: Streams,
) -> None:
    for number in range(1, 5):
        taking.mux.on_data(_remote(number), 0, memoryview(b"x"), False, 0.0, RTT_S)
        _over(taking, _remote(number))
    assert _limits(taking) == [], "four wait to be taken, though all have ended"
    with pytest.raises(RemoteProtocolError):
        taking.mux.on_data(_remote(5), 0, memoryview(b"x"), False, 0.0, RTT_S)
    taking.mux.take(_remote(1))
    assert _limits(taking) == [5], "none was left to the peer: a single place is told"
    taking.mux.on_data(_remote(5), 0, memoryview(b"x"), False, 0.0, RTT_S)


@pytest.mark.spec("CN-83")
def test_places_are_told_in_steps_while_the_peer_has_some_left(taking: Streams) -> None:
    taking.mux.on_data(_remote(2), 0, memoryview(b"x"), False, 0.0, RTT_S)
    taking.mux.take(_remote(1))
    assert _limits(taking) == []
    taking.mux.take(_remote(2))
    assert _limits(taking) == [6]
    taking.mux.on_data(_remote(3), 0, memoryview(b"x"), False, 0.0, RTT_S)
    taking.mux.take(_remote(3))
    assert _limits(taking) == [], "three are left"
    taking.mux.on_data(_remote(6), 0, memoryview(b"x"), False, 0.0, RTT_S)
    assert _limits(taking) == [7], "it has used the last one up"


@pytest.mark.spec("CN-83")
def test_taken_streams_that_stay_open_are_bounded_too(taking: Streams) -> None:
    number = 0
    while number < taking.mux.table.max_remote(1):
        number += 1
        taking.mux.on_data(_remote(number), 0, memoryview(b"x"), False, 0.0, RTT_S)
        taking.mux.take(_remote(number))
        assert number <= 100
    assert number == 8 * 4
    taking.announced()
    _over(taking, _remote(7))
    assert _limits(taking) == [33]
