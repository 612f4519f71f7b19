"""Planned ends: GOAWAY, then CLOSE without error; and what each side may still do between them."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.connection import GOAWAY_LEAD_S, SESSION_AGE_MAX_S
from wraith.connection.state import SessionState
from wraith.errors import CloseCode, LocalProtocolError
from wraith.testing.endpoints import linked
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig
from wraith.types import StreamId
from wraith.wire.control_records import Goaway, Record, RecordParser

DATA = bytes(range(256)) * 400
QUIET = EndpointConfig(idle_timeout_s=3_600)


def records_received(pair: EstablishedPair) -> list[Record]:
    """Collects what arrives at ``r`` on stream 0."""
    seen: list[Record] = []
    session = pair.r.connection._shared.parts
    assert session is not None
    parser: RecordParser = session.control._parser
    feed = parser.feed

    class Listening:
        def feed(self, data: bytes | memoryview) -> list[Record]:
            records = feed(data)
            seen.extend(records)
            return records

    session.control._parser = Listening()  # type: ignore[assignment]
    return seen


@pytest.mark.spec("CN-8")
def test_after_a_day_a_session_says_so_and_a_minute_later_it_ends() -> None:
    pair = EstablishedPair(config=QUIET, link=LinkConfig(latency_s=0.01))
    pair.run(seconds=SESSION_AGE_MAX_S - GOAWAY_LEAD_S - 5)
    assert not pair.i.of(ev.GoingAway) and not pair.r.of(ev.GoingAway)
    transfer = pair.send(DATA, finish=False)
    pair.run(seconds=10)
    for side in (pair.i, pair.r):
        assert side.of(ev.GoingAway) == [ev.GoingAway(CloseCode.NO_ERROR)]
        assert not side.of(ev.Closed)
        assert not side.connection.can_open_stream()
        with pytest.raises(LocalProtocolError, match="no new streams"):
            side.connection.open_stream(now=pair.now)
    assert bytes(transfer.received) == DATA, "what is open goes on"
    pair.i.connection.stream_write(transfer.sid, b"more", fin=True, now=pair.now)
    pair.run(seconds=GOAWAY_LEAD_S)
    for side in (pair.i, pair.r):
        (closed,) = side.of(ev.Closed)
        assert closed.code == CloseCode.NO_ERROR and closed.error is None
    assert SESSION_AGE_MAX_S <= pair.now <= SESSION_AGE_MAX_S + 6


@pytest.mark.spec("CN-8")
def test_goaway_names_the_last_stream_of_each_class_and_precedes_close() -> None:
    pair = EstablishedPair()
    seen = records_received(pair)
    pair.run(seconds=0.1)
    for _ in range(3):
        pair.send(b"x", source=pair.r)
    pair.send(b"x", source=pair.r, expedited=True)
    pair.run(seconds=1)
    pair.i.connection.end("done", pair.now)
    assert pair.i.connection.state is not SessionState.DRAINING, "GOAWAY has not left yet"
    pair.run(seconds=1)
    assert seen == [Goaway(StreamId(1 << 30 | 3), 0), Goaway(StreamId(3 << 30 | 1), 0)]
    kinds = [type(event) for event in pair.r.events if isinstance(event, ev.GoingAway | ev.Closed)]
    assert kinds == [ev.GoingAway, ev.Closed]
    (closed,) = pair.r.of(ev.Closed)
    assert (closed.code, closed.reason, closed.by_peer) == (0, "done", True)


@pytest.mark.spec("CN-8")
def test_goaway_precedes_close_even_when_the_window_is_full() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.1))
    pair.run(seconds=1)
    pair.send(bytes(1 << 20))
    pair.net.settle()
    session = pair.i.connection._shared.parts
    assert session is not None
    pair.run(seconds=0.05, until=lambda: session.paths.main.room() < 1_200)
    assert session.paths.main.room() < 1_200
    pair.i.connection.end("", pair.now)
    pair.run(seconds=2)
    kinds = [type(event) for event in pair.r.events if isinstance(event, ev.GoingAway | ev.Closed)]
    assert kinds == [ev.GoingAway, ev.Closed]


@pytest.mark.spec("CN-8")
def test_a_planned_end_does_not_wait_for_a_peer_that_is_gone() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01))
    pair.run(seconds=1)
    pair.net.set_links(LinkConfig(latency_s=0.01, loss=1.0))
    transfer = pair.send(DATA)  # fills the congestion window
    pair.net.settle()
    pair.i.connection.end("", pair.now)
    pair.run(seconds=10)
    assert pair.i.connection.is_drained and pair.i.of(ev.Closed)
    assert not transfer.is_equal


@pytest.mark.spec("CN-8")
def test_an_endpoint_that_goes_away_tells_every_peer_and_answers_no_hello() -> None:
    net = linked()
    first, second = net.dial(), net.dial()
    assert net.run_until_confirmed(first) and net.run_until_confirmed(second)
    net.r.endpoint.go_away(net.now)
    net.run(seconds=1)
    assert len(net.i.events(ev.GoingAway)) == 2 and not net.i.events(ev.Closed)
    assert not first.can_open_stream() and not net.r.incoming[0].can_open_stream()
    assert not net.run_until_confirmed(net.dial())
    net.r.endpoint.close_all(net.now)
    net.run(seconds=5)
    assert first.is_drained and second.is_drained
    assert net.r.endpoint.connections == ()


def test_both_ends_are_settled_once_each_has_said_close() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01))
    pair.run(seconds=1)
    assert not pair.i.connection.is_settled
    pair.i.connection.close(0, "", pair.now)
    pair.net.settle()
    assert not pair.i.connection.is_settled, "the peer may not have heard it"
    pair.run(seconds=0.025)
    assert pair.i.connection.state is SessionState.DRAINING
    assert pair.i.connection.is_settled and pair.r.connection.is_settled


def test_a_close_that_is_lost_is_said_again_until_the_peer_has_heard_it() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01))
    pair.run(seconds=1)
    lost = pair.net.a_to_b
    lost.config = LinkConfig(latency_s=0.01, loss=1.0)
    pair.i.connection.close(0x1000, "", pair.now)
    pair.net.settle()
    lost.config = LinkConfig(latency_s=0.01)
    assert not pair.i.connection.is_settled
    pair.r.connection.ping(pair.now)
    pair.run(seconds=0.05)
    (closed,) = pair.r.of(ev.Closed)
    assert closed.code == 0x1000 and pair.i.connection.is_settled
