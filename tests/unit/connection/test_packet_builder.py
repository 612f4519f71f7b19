"""The packet builder alone: which datagrams it makes, opened by the other side's real keys."""

from __future__ import annotations

import random

import pytest

from wraith.config import EndpointConfig
from wraith.connection.packet_builder import (
    DATAGRAM_FRAMES_MAX,
    OTHER_FRAMES_MAX,
    PROBES_PER_PTO,
    UNCONFIRMED_MAX,
)
from wraith.errors import CloseCode
from wraith.testing.one_side import OneSide, datagrams_of, two_sides
from wraith.types import StreamId
from wraith.wire.control_records import Goaway, encode_record
from wraith.wire.frames import Ack, Close, Frame, MtuProbe, Ping, StreamOpen, decode_frames
from wraith.wire.frames import encode_frame as encoded

DATA = random.Random(3).randbytes(200_000)
#: Datagrams so large that their size bounds no number of frames.
LARGE = EndpointConfig(max_udp_bytes=9_000, datagram_bytes=9_000)


@pytest.fixture
def sides() -> tuple[OneSide, OneSide]:
    return two_sides()


def frames_in(peer: OneSide, datagram: bytes) -> list[Frame]:
    """The frames of one datagram but DATA."""
    result, _ = peer.opened(datagram, 0.0)
    assert result.highest is not None, "it is not this session's"
    return [frame for _, _, frames in result.others for frame in decode_frames(frames)]


def test_a_side_that_has_nothing_to_say_sends_nothing(sides: tuple[OneSide, OneSide]) -> None:
    for side in sides:
        assert not side.next_run(0.0)


def test_stream_bytes_arrive_behind_the_frame_that_opens_the_stream(
    sides: tuple[OneSide, OneSide],
) -> None:
    ours, theirs = sides
    sid = ours.open_stream(b"hello", fin=True)
    ((datagram,),) = ours.runs(0.0)
    result, out = theirs.opened(datagram, 0.0)
    (run,) = result.runs
    assert (run[0], run[1], out[run[2] : run[2] + run[3]], run[4]) == (sid, 0, b"hello", True)
    ((_, _, frames),) = result.others
    (opening,) = decode_frames(frames)
    assert isinstance(opening, StreamOpen) and opening.sid == sid
    assert not ours.next_run(0.0)


def test_a_run_is_cut_into_full_datagrams_and_a_shorter_last_one(
    sides: tuple[OneSide, OneSide],
) -> None:
    ours, theirs = sides
    room = ours.room
    ours.open_stream(DATA[:5_000], fin=True)
    (datagrams,) = ours.runs(0.0)
    sizes = [len(datagram) for datagram in datagrams]
    assert len(sizes) == 5
    assert set(sizes[:-1]) == {ours.datagram_bytes} and 0 < sizes[-1] < ours.datagram_bytes
    assert ours.room == room - sum(sizes)
    received = b""
    for datagram in datagrams:
        result, out = theirs.opened(datagram, 0.0)
        for _, offset, at, length, _ in result.runs:
            assert offset == len(received)
            received += out[at : at + length]
    assert received == DATA[:5_000]


def test_a_full_window_holds_back_everything_but_probes(sides: tuple[OneSide, OneSide]) -> None:
    ours, _ = sides
    ours.open_stream(DATA)
    window = ours.room
    sent = [
        run for step in range(20) for run in ours.runs(step)
    ]  # the pacer wants to be waited for
    assert window - 2 * 1_200 < sum(len(datagram) for run in sent for datagram in run) <= window
    assert not ours.next_run(20.0)
    ours.allow_probes(PROBES_PER_PTO)
    assert [len(run) for run in ours.runs(20.0)] == [PROBES_PER_PTO]


def test_a_probe_with_nothing_to_repeat_is_a_ping(sides: tuple[OneSide, OneSide]) -> None:
    ours, theirs = sides
    ours.allow_probes(1)
    ((datagram,),) = ours.runs(0.0)
    assert frames_in(theirs, datagram) == [Ping(token=0)]


def test_an_initiator_without_an_answer_sends_ten_datagrams(
    sides: tuple[OneSide, OneSide],
) -> None:
    ours, _ = sides
    ours.parts.is_confirmed = False
    ours.open_stream(DATA)
    n_sent = 0
    for step in range(100):
        n_sent += sum(map(len, ours.runs(step / 10)))
        ours.allow_probes(PROBES_PER_PTO)  # not even those go beyond it
    assert n_sent == UNCONFIRMED_MAX
    ours.parts.is_confirmed = True
    ours.allow_probes(PROBES_PER_PTO)
    assert ours.runs(11.0)


def test_an_acknowledgement_alone_takes_nothing_of_the_window(
    sides: tuple[OneSide, OneSide],
) -> None:
    ours, theirs = sides
    ours.open_stream(DATA[:2_000])
    for run in ours.runs(0.0):
        for datagram in run:
            theirs.receive(datagram, 0.1)
    room = theirs.room
    ((datagram,),) = theirs.runs(0.1)
    (ack,) = frames_in(ours, datagram)
    assert isinstance(ack, Ack) and ack.ranges == ((0, 1),)
    assert theirs.room == room
    assert not theirs.next_run(0.2), "it was told once"


def test_an_acknowledgement_that_can_wait_goes_with_data(sides: tuple[OneSide, OneSide]) -> None:
    ours, theirs = sides
    ours.open_stream(b"one packet")
    ((datagram,),) = ours.runs(0.0)
    theirs.receive(datagram, 0.0)
    assert not theirs.next_run(0.0)
    theirs.open_stream(b"and back")
    ((datagram,),) = theirs.runs(0.0)
    result, _ = ours.opened(datagram, 0.0)
    assert result.runs
    ((_, _, frames),) = result.others
    assert [type(frame) for frame in decode_frames(frames)] == [Ack, StreamOpen]


def test_a_packet_holds_a_bounded_number_of_frames_and_the_rest_follows(
    sides: tuple[OneSide, OneSide],
) -> None:
    ours, theirs = sides
    n_pings = 2 * OTHER_FRAMES_MAX + 1
    ours.builder.oneshots.extend([encoded(Ping(token=7))] * n_pings)
    counts = [len(frames_in(theirs, datagram)) for run in ours.runs(0.0) for datagram in run]
    assert counts == [OTHER_FRAMES_MAX, OTHER_FRAMES_MAX, 1]


def test_a_packet_holds_a_bounded_number_of_messages() -> None:
    ours, theirs = two_sides(LARGE)
    for _ in range(DATAGRAM_FRAMES_MAX + 2):
        assert ours.parts.datagrams.push(b"", 0.0)
    counts = [len(frames_in(theirs, datagram)) for run in ours.runs(0.0) for datagram in run]
    assert counts == [DATAGRAM_FRAMES_MAX, 2]


def test_a_message_of_full_size_goes_before_the_acknowledgement(
    sides: tuple[OneSide, OneSide],
) -> None:
    ours, theirs = sides
    ours.open_stream(b"x")
    ((datagram,),) = ours.runs(0.0)
    theirs.receive(datagram, 0.0)
    capacity = theirs.parts.keys.sealer.capacity(theirs.datagram_bytes)
    assert theirs.parts.datagrams.push(bytes(capacity - 10), 0.0)
    ((datagram,),) = theirs.runs(0.0)
    assert len(datagram) == theirs.datagram_bytes
    assert not any(isinstance(frame, Ack) for frame in frames_in(ours, datagram))
    assert theirs.parts.paths.main.acks.has_pending


def test_the_control_stream_goes_before_every_other(sides: tuple[OneSide, OneSide]) -> None:
    ours, theirs = sides
    ours.open_stream(DATA[:3_000])
    record = Goaway(StreamId(0), CloseCode.NO_ERROR)
    ours.parts.control.push(record)
    first, *rest = [datagram for run in ours.runs(0.0) for datagram in run]
    result, out = theirs.opened(first, 0.0)
    (run,) = result.runs
    assert run[0] == 0 and out[run[2] : run[2] + run[3]] == encode_record(record)
    assert {run[0] for datagram in rest for run in theirs.opened(datagram, 0.0)[0].runs} == {1}


def test_announcements_that_do_not_fit_wait_for_the_next_packet() -> None:
    ours, theirs = two_sides(LARGE)
    sids = [ours.open_stream() for _ in range(OTHER_FRAMES_MAX + 36)]
    packets = [frames_in(theirs, datagram) for run in ours.runs(0.0) for datagram in run]
    assert [len(frames) for frames in packets] == [OTHER_FRAMES_MAX, 36]
    opened = [frame.sid for frames in packets for frame in frames if isinstance(frame, StreamOpen)]
    assert opened == sids and not ours.parts.mux.pending


def test_a_datagram_names_the_session_when_the_receiver_may_have_lost_the_path(
    sides: tuple[OneSide, OneSide],
) -> None:
    _, theirs = sides
    ours = sides[0]
    theirs.open_stream(b"first")
    ((plain,),) = theirs.runs(0.0)
    assert not ours.opened(plain, 0.0)[0].form_b
    theirs.builder.names_session = True
    theirs.open_stream(b"second")
    ((named,),) = theirs.runs(0.0)
    assert ours.opened(named, 0.0)[0].form_b
    theirs.open_stream(b"third")
    ((plain,),) = theirs.runs(0.0)
    assert not ours.opened(plain, 0.0)[0].form_b, "one is enough"


def test_an_mtu_probe_has_exactly_its_size(sides: tuple[OneSide, OneSide]) -> None:
    ours, theirs = sides
    transmit = ours.builder.mtu_probe(ours.parts.paths.main, 0.0, ours.pool, 1_350)
    assert transmit is not None
    (datagram,) = datagrams_of(transmit)
    assert len(datagram) == 1_350
    assert isinstance(frames_in(theirs, datagram)[0], MtuProbe)


def test_a_close_is_one_datagram_that_is_never_followed_up(sides: tuple[OneSide, OneSide]) -> None:
    ours, theirs = sides
    room = ours.room
    epoch = ours.parts.keys.send
    transmit = ours.builder.close(0.0, ours.pool, CloseCode.NO_ERROR, "done", epoch)
    assert transmit is not None
    (datagram,) = datagrams_of(transmit)
    assert frames_in(theirs, datagram) == [Close(CloseCode.NO_ERROR, "done")]
    assert ours.room == room
