"""Inbound alone: what each frame and record of an authenticated peer does to the parts."""

from __future__ import annotations

import random

import pytest

from wraith.connection import events as ev
from wraith.connection.data.datagrams import QUEUE_MESSAGES
from wraith.connection.inbound import ONESHOTS_MAX
from wraith.connection.paths.validation import CHALLENGE_ANSWERS_PER_S
from wraith.errors import CloseCode, RemoteProtocolError
from wraith.testing.one_side import OneSide, two_sides
from wraith.types import Address, NetworkPath, StreamId
from wraith.wire.control_records import Goaway, HandshakeConfirm, Record, encode_record
from wraith.wire.frames import (
    Ack,
    Close,
    Data,
    DatagramFrame,
    Frame,
    MaxStreams,
    PathChallenge,
    PathResponse,
    Ping,
    Pong,
    Reset,
    Stop,
    WindowUpdate,
    encode_frame,
)

DATA = random.Random(4).randbytes(9_000)


@pytest.fixture
def sides() -> tuple[OneSide, OneSide]:
    return two_sides()


def packet(side: OneSide, *frames: Frame, now: float = 0.0) -> None:
    """``side`` applies one packet with these frames."""
    side.inbound.on_frames(b"".join(map(encode_frame, frames)), side.path, now)


def records(side: OneSide, *sent: Record, offset: int = 0) -> None:
    data = b"".join(map(encode_record, sent))
    side.inbound.on_control_data(offset, memoryview(data), False, 0.0)


# -- frames that ask for an answer


def test_a_packet_full_of_pings_is_answered_once(sides: tuple[OneSide, OneSide]) -> None:
    side, _ = sides
    packet(side, Ping(token=1), Ping(token=2), Ping(token=3))
    assert side.builder.oneshots == [encode_frame(Pong(token=1))]
    packet(side, Ping(token=4))
    assert side.builder.oneshots[1:] == [encode_frame(Pong(token=4))]


def test_answers_are_not_queued_beyond_a_few(sides: tuple[OneSide, OneSide]) -> None:
    side, _ = sides
    for token in range(3 * ONESHOTS_MAX):
        packet(side, Ping(token=token))
    assert len(side.builder.oneshots) == ONESHOTS_MAX


def test_a_challenge_is_answered_where_it_came_from_and_not_without_end(
    sides: tuple[OneSide, OneSide],
) -> None:
    side, _ = sides
    other = NetworkPath(side.path.local, Address(bytes([192, 0, 2, 77]), 7_777))
    challenge = encode_frame(PathChallenge(b"8 bytes."))
    side.inbound.on_frames(challenge, other, 0.0)
    assert side.inbound.path_answers == [(other, encode_frame(PathResponse(b"8 bytes.")))]
    for _ in range(100):
        side.inbound.on_frames(challenge, other, 0.0)
    assert len(side.inbound.path_answers) == CHALLENGE_ANSWERS_PER_S


def test_responses_are_left_for_the_connection(sides: tuple[OneSide, OneSide]) -> None:
    side, _ = sides
    packet(side, PathResponse(b"answer 1"), PathResponse(b"answer 2"))
    assert side.inbound.path_responses == [b"answer 1", b"answer 2"]


def test_the_first_close_counts(sides: tuple[OneSide, OneSide]) -> None:
    side, _ = sides
    packet(side, Close(CloseCode.NO_ERROR, "first"))
    packet(side, Close(CloseCode.INTERNAL_ERROR, "second"))
    assert side.inbound.peer_close == (CloseCode.NO_ERROR, "first")


def test_a_frame_that_belongs_elsewhere_ends_the_connection(
    sides: tuple[OneSide, OneSide],
) -> None:
    side, _ = sides
    with pytest.raises(RemoteProtocolError):
        packet(side, Ping(token=0), Data(StreamId(1), 0, b"DATA never comes this way"))
    assert side.builder.oneshots == [encode_frame(Pong(token=0))], "what came before it was applied"


# -- frames for streams and messages


def test_messages_are_told_until_nobody_reads_them(sides: tuple[OneSide, OneSide]) -> None:
    side, _ = sides
    for number in range(QUEUE_MESSAGES + 5):
        packet(side, DatagramFrame(0, number, b"%d" % number))
    assert [event.data for event in side.of(ev.DatagramReceived)] == [
        b"%d" % number for number in range(QUEUE_MESSAGES)
    ]
    side.parts.datagrams.n_unread -= 1  # as the connection does when one is taken
    packet(side, DatagramFrame(0, 999, b"again"))
    assert side.of(ev.DatagramReceived)[-1].data == b"again"


def test_more_streams_are_told_once(sides: tuple[OneSide, OneSide]) -> None:
    side, _ = sides
    packet(side, MaxStreams(0, 1_000))
    packet(side, MaxStreams(0, 1_000), MaxStreams(0, 500))
    assert side.of(ev.StreamsAvailable) == [ev.StreamsAvailable()]
    with pytest.raises(RemoteProtocolError):
        packet(side, MaxStreams(1, 1_000))  # a class that the peer itself opens


def test_a_reset_and_a_stop_reach_the_streams_of_their_direction(
    sides: tuple[OneSide, OneSide],
) -> None:
    side, _ = sides
    sid = side.open_stream(b"bytes")
    packet(side, Reset(sid, 7, 0), Stop(sid, 8))
    assert side.of(ev.StreamWasReset) == [ev.StreamWasReset(sid, 7)]
    assert side.of(ev.StreamWasStopped) == [ev.StreamWasStopped(sid, 8)]


def test_a_window_of_the_connection_and_of_a_stream_open_apart(
    sides: tuple[OneSide, OneSide],
) -> None:
    side, _ = sides
    sid = side.open_stream()
    stream, connection = side.parts.mux.table.streams[sid].send, side.parts.mux.table.conn_send
    before = connection.limit
    packet(side, WindowUpdate(sid, stream.limit + 10))
    assert connection.limit == before
    packet(side, WindowUpdate(StreamId(0), before + 20))
    assert connection.limit == before + 20


# -- acknowledgements


def test_what_is_acknowledged_leaves_the_window_and_is_told(sides: tuple[OneSide, OneSide]) -> None:
    ours, theirs = sides
    room = ours.room
    sid = ours.open_stream(DATA[:3_000], fin=True)
    for run in ours.runs(0.0):
        for datagram in run:
            theirs.receive(datagram, 0.05)
    assert ours.room < room
    for run in theirs.runs(0.05):
        for datagram in run:
            ours.receive(datagram, 0.1)
    assert ours.room >= room
    assert ours.of(ev.StreamSent) == [ev.StreamSent(sid)]


def test_what_an_acknowledgement_shows_to_be_lost_is_sent_again(
    sides: tuple[OneSide, OneSide],
) -> None:
    ours, theirs = sides
    sid = ours.open_stream(DATA, fin=True)
    first, *rest = [datagram for run in ours.runs(0.0) for datagram in run]
    assert len(rest) >= 4, "more than the threshold of reordering"
    for datagram in rest:  # the first is lost, and with it the frame that opens the stream
        theirs.receive(datagram, 0.05)
    for run in theirs.runs(0.05):
        for datagram in run:
            ours.receive(datagram, 0.1)
    again = [datagram for run in ours.runs(0.2) for datagram in run]
    assert again and first not in again
    for datagram in again:
        theirs.receive(datagram, 0.25)
    assert theirs.parts.mux.readable(sid) == len(DATA)
    assert b"".join(theirs.parts.mux.read(sid, len(DATA), 0.3, 0.1)) == DATA


def test_an_acknowledgement_of_what_was_never_sent_ends_the_connection(
    sides: tuple[OneSide, OneSide],
) -> None:
    side, _ = sides
    side.open_stream(b"one packet")
    assert side.runs(0.0)
    with pytest.raises(RemoteProtocolError):
        packet(side, Ack(0, 5, 0, ((0, 5),)), now=0.1)


def test_an_acknowledgement_of_an_epoch_without_keys_says_nothing(
    sides: tuple[OneSide, OneSide],
) -> None:
    side, _ = sides
    side.open_stream(b"one packet")
    assert side.runs(0.0)
    room = side.room
    packet(side, Ack(9, 1_000_000, 0, ((0, 1_000_000),)), now=0.1)
    assert side.room == room


# -- records


def test_a_goaway_for_each_class_is_one_event(sides: tuple[OneSide, OneSide]) -> None:
    side, _ = sides
    records(
        side,
        Goaway(StreamId(0), CloseCode.NO_ERROR),
        Goaway(StreamId(1 << 30), CloseCode.NO_ERROR),
    )
    assert side.of(ev.GoingAway) == [ev.GoingAway(CloseCode.NO_ERROR)]
    assert side.parts.is_going_away


def test_only_the_responder_confirms(sides: tuple[OneSide, OneSide]) -> None:
    initiator, responder = sides
    assert not initiator.parts.knows_hmk
    records(initiator, HandshakeConfirm(hmk=b"h" * 32))
    assert initiator.parts.knows_hmk
    with pytest.raises(RemoteProtocolError):
        records(responder, HandshakeConfirm(hmk=b"h" * 32))


def test_the_control_stream_has_no_end(sides: tuple[OneSide, OneSide]) -> None:
    side, _ = sides
    with pytest.raises(RemoteProtocolError) as caught:
        side.inbound.on_control_data(0, memoryview(b""), True, 0.0)
    assert caught.value.close_code is CloseCode.INVALID_STREAM_ID
