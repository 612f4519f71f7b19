"""The end of a stream under an exhausted window, and what is asked for twice."""

from __future__ import annotations

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.testing.established import EstablishedPair
from wraith.wire.frames import Stop, encode_frame


def test_an_end_without_bytes_passes_an_exhausted_connection_window() -> None:
    window = 65_536
    config = EndpointConfig(stream_window=window, conn_window=window)
    pair = EstablishedPair(config=config)
    ended = pair.i.connection.open_stream(now=pair.now)
    pair.i.connection.stream_write(ended, b"all of it", fin=False, now=pair.now)
    pair.send(bytes(1_000_000), is_reading=False)
    pair.run(seconds=5)
    assert pair.r.connection.stream_read(ended, 100, pair.now) == b"all of it"
    pair.run(seconds=1)
    session = pair.i.connection._shared.parts
    assert session is not None
    assert session.mux.table.conn_send.room == 0, "the window is used up"
    pair.i.connection.stream_finish(ended, now=pair.now)
    pair.run(seconds=2)
    assert pair.r.connection.stream_is_finished(ended)


def test_a_stop_that_comes_twice_is_told_once() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    transfer = pair.send(b"x" * 1_000, finish=False, is_reading=False)
    pair.run(seconds=1)
    stop = encode_frame(Stop(transfer.sid, 0x1_007))
    pair.forge(pair.r, stop + stop)
    pair.forge(pair.r, stop)
    pair.run(seconds=2)
    assert pair.i.of(ev.StreamWasStopped) == [ev.StreamWasStopped(transfer.sid, 0x1_007)]
    assert [event.code for event in pair.r.of(ev.StreamWasReset)] == [0x1_007]
    assert not pair.i.of(ev.Closed)


def test_a_stream_that_is_reset_with_nothing_but_its_end_to_send_waits_for_nothing() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    connection, session = pair.i.connection, pair.i.connection._shared.parts
    assert session is not None
    sid = connection.open_stream(now=pair.now)
    connection.stream_finish(sid, now=pair.now)
    assert sid in session.mux.scheduler
    connection.stream_reset(sid, 7, now=pair.now)
    assert sid not in session.mux.scheduler
