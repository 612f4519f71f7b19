"""A peer that has authenticated and waits for ``accept``: what it may cost meanwhile."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.errors import CloseCode
from wraith.testing.established import EstablishedPair
from wraith.types import StreamId
from wraith.wire.frames import Data, DatagramFrame, Stop, encode_frame

N = 8
CONFIG = EndpointConfig(stream_window=65_536, conn_window=131_072, max_streams=N)


def churn(pair: EstablishedPair) -> int:
    """The initiator opens all streams that it may, 50 at most, and gives them up again, 16,000
    bytes in, with their other direction. Returns how many it could open."""
    connection, n = pair.i.connection, 0
    while n < 50 and connection.can_open_stream():
        sid = connection.open_stream(now=pair.now)
        connection.stream_write(sid, bytes(16_000), now=pair.now)
        pair.run(seconds=0.2)
        connection.stream_reset(sid, 0, pair.now)
        connection.stream_stop(sid, 0, pair.now)
        n += 1
    pair.run(seconds=1)
    return n


@pytest.mark.spec("CN-60")
def test_before_it_is_accepted_a_peer_gets_no_more_streams_and_no_more_window() -> None:
    pair = EstablishedPair(config=CONFIG, accepts=False)
    pair.run(seconds=1)
    assert [churn(pair), churn(pair)] == [N, 0]
    session = pair.i.connection._shared.parts
    assert session is not None
    assert session.mux.table.conn_send.limit == CONFIG.conn_window
    pair.r.connection.accept(pair.now)
    pair.run(seconds=1)
    assert session.mux.table.conn_send.limit == CONFIG.conn_window + 16_000 * N
    assert len(pair.r.of(ev.StreamWasReset)) == N
    assert churn(pair) == 50
    assert not pair.r.of(ev.Closed) and not pair.i.of(ev.Closed)


def busiest(sid: int) -> list[bytes]:
    """One stream with as many events as there can be: opened, readable, finished, stopped."""
    data = encode_frame(Data(StreamId(sid), 0, b"x"))
    end = encode_frame(Data(StreamId(sid), 1, b"", True))
    return [data, end, encode_frame(Stop(StreamId(sid), 0))]


@pytest.mark.spec("CN-61")
def test_more_events_than_an_honest_peer_makes_close_before_it_is_accepted() -> None:
    config = EndpointConfig(max_streams=128)
    pair = EstablishedPair(config=config, accepts=False)
    pair.run(seconds=1)
    streams = [n_class << 30 | number for number in range(1, 129) for n_class in (0, 2)]
    packets = [packet for sid in streams for packet in busiest(sid)]
    packets += 256 * [encode_frame(DatagramFrame(0, 0, b"x"))]
    for packet in packets:
        n_waiting = len(pair.r.connection._shared.withheld)
        pair.forge(pair.i, packet)
        if pair.r.of(ev.Closed):
            break
    assert [e.code for e in pair.r.of(ev.Closed)] == [CloseCode.STREAM_LIMIT_EXCEEDED]
    assert n_waiting == 6 * 128 + 256
