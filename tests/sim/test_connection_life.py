"""Beginning, waiting and the end of a connection: authorisation, idle, close, outage, fork."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.packet_builder import UNCONFIRMED_MAX
from wraith.connection.state import SessionState
from wraith.errors import (
    CloseCode,
    HandshakeTimeout,
    LocalProtocolError,
    NotAuthorised,
    PeerClosed,
    PeerKeyMismatch,
    TransportTimeout,
)
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig
from wraith.types import Address, NetworkPath

CLEAN = LinkConfig(latency_s=0.01)
DEAD = LinkConfig(latency_s=0.01, loss=1.0)
LONG = EndpointConfig(idle_timeout_s=300)
DATA = bytes(range(256)) * 400


# -- authorisation


@pytest.mark.spec("CN-7")
def test_before_accept_data_is_acknowledged_and_buffered_but_not_delivered() -> None:
    pair = EstablishedPair(accepts=False)
    transfer = pair.send(DATA)
    pair.i.connection.send_datagram(b"hello", 0.0)
    pair.run(seconds=5)
    assert pair.i.connection.confirmed and not pair.r.connection.authorised
    assert pair.i.of(ev.StreamSent)
    assert [type(e) for e in pair.r.events] == [ev.PeerAuthenticated, ev.MtuChanged]
    with pytest.raises(LocalProtocolError):
        pair.r.connection.stream_read(transfer.sid, 1, pair.now)
    with pytest.raises(LocalProtocolError):
        pair.r.connection.open_stream(now=pair.now)
    pair.r.connection.accept(pair.now)
    pair.net.settle()
    assert transfer.is_equal
    assert pair.r.of(ev.Established)
    assert pair.r.of(ev.DatagramReceived)


@pytest.mark.spec("CN-7")
def test_the_header_mask_key_is_handed_out_only_after_accept() -> None:
    pair = EstablishedPair(accepts=False)
    pair.run(seconds=5)
    session = pair.i.connection._shared.parts
    assert session is not None and not session.knows_hmk
    pair.r.connection.accept(pair.now)
    pair.run(seconds=1)
    assert session.knows_hmk


def test_no_window_is_opened_before_accept() -> None:
    pair = EstablishedPair(accepts=False, config=EndpointConfig(stream_window=65_536))
    pair.send(bytes(500_000))
    pair.run(seconds=5)
    session = pair.i.connection._shared.parts
    assert session is not None and session.mux.table.conn_send.used == 65_536


def test_refusal_is_told_with_its_code() -> None:
    pair = EstablishedPair(accepts=False)
    pair.run(seconds=1)
    pair.r.connection.refuse(pair.now)
    pair.net.settle()
    pair.run(seconds=5)
    (closed,) = pair.i.of(ev.Closed)
    assert closed.code == CloseCode.AUTHENTICATION_FAILED and closed.by_peer
    assert isinstance(closed.error, NotAuthorised)


def test_nobody_answers_for_a_minute() -> None:
    pair = EstablishedPair(accepts=False, config=LONG)
    pair.run(seconds=59)
    assert not pair.r.of(ev.Closed)
    pair.run(seconds=3)
    assert [e.code for e in pair.i.of(ev.Closed)] == [CloseCode.AUTHENTICATION_FAILED]


# -- confirmation


@pytest.mark.spec("CN-40")
def test_an_unconfirmed_initiator_sends_ten_datagrams_and_gives_up_in_silence() -> None:
    pair = EstablishedPair(link=CLEAN, back=DEAD)
    pair.send(bytes(500_000))
    pair.run(seconds=9.9)
    assert pair.net.a.n_datagrams_sent == UNCONFIRMED_MAX
    assert not pair.i.connection.confirmed
    pair.run(seconds=0.2)
    (closed,) = pair.i.of(ev.Closed)
    assert isinstance(closed.error, HandshakeTimeout)
    assert pair.i.connection.is_drained and pair.net.a.n_datagrams_sent == UNCONFIRMED_MAX


def test_a_failed_handshake_is_told_once() -> None:
    pair = EstablishedPair(link=DEAD)
    pair.i.connection.fail(PeerKeyMismatch())
    pair.i.connection.fail(PeerKeyMismatch())
    pair.run(seconds=20)
    assert [type(e.error) for e in pair.i.of(ev.Closed)] == [PeerKeyMismatch]
    assert pair.net.a.n_datagrams_sent == 0


@pytest.mark.spec("CN-41")
def test_form_b_names_the_session_only_where_the_path_may_have_been_lost() -> None:
    pair = EstablishedPair(config=LONG, accepts=False)
    pair.run(seconds=1)
    session, builder = pair.i.connection._shared.parts, pair.i.connection._shared.builder
    assert session is not None and builder is not None
    path = session.paths.main
    other = NetworkPath(path.network.local, Address(b"\7\7\7\7", 7))

    def form(now: float, *, is_probe: bool = False) -> int:
        return builder._form(path, now, is_probe=is_probe)

    assert form(pair.now, is_probe=True) == 0  # the key is not known before accept
    pair.r.connection.accept(pair.now)
    pair.run(seconds=1)
    last = max(session.last_received, session.last_eliciting_sent)
    assert form(last + 4.9) == 0
    assert form(last + 5.1) == 1
    session.last_eliciting_sent = last + 5.1
    assert form(last + 5.2) == 0
    assert form(last, is_probe=True) == builder._form_to(other, last) == 1
    assert form(last) == builder._form_to(path.network, last) == 0
    builder.names_session = True
    assert form(last) == 1
    pair.i.connection.ping(pair.now)
    pair.net.settle()
    assert form(pair.now) == 0, "one datagram has found the peer, or none will"
    path.is_suspect = True
    assert form(last) == 1


@pytest.mark.spec("CN-49")
def test_keys_of_packets_that_never_came_are_erased_after_a_while() -> None:
    pair = EstablishedPair(config=LONG)
    pair.run(seconds=1)
    kept: list[bytes] = []
    pair.net.a_to_b.taps.append(kept.append)
    pair.i.connection.ping(pair.now)
    pair.net.settle()
    pair.net.a_to_b.taps.clear()
    pair.i.connection.ping(pair.now)
    pair.run(seconds=12)
    before = pair.r.connection.stats()
    pair.net.inject(kept[0], pair.i.address, pair.r.address)
    after = pair.r.connection.stats()
    assert after.dropped_packets == before.dropped_packets + 1
    assert after.received_packets == before.received_packets


# -- idle and keep-alive


@pytest.mark.spec("CN-4")
def test_keepalives_hold_an_idle_connection_open() -> None:
    pair = EstablishedPair()
    pair.run(seconds=3)
    n_sent = pair.i.connection.stats().sent_packets
    pair.run(seconds=290)
    assert not pair.i.of(ev.Closed) and not pair.r.of(ev.Closed)
    # One PING and the acknowledgement of its answer every 15 to 25 seconds, and two rekeys.
    assert 22 <= pair.i.connection.stats().sent_packets - n_sent <= 60


@pytest.mark.spec("CN-4")
def test_without_keepalive_the_smaller_idle_timeout_ends_it() -> None:
    pair = EstablishedPair(
        config=EndpointConfig(keepalive=False, idle_timeout_s=20),
        config_r=EndpointConfig(idle_timeout_s=300),
    )
    pair.run(seconds=19)
    assert not pair.i.of(ev.Closed)
    pair.run(seconds=5)
    for side in (pair.i, pair.r):
        (closed,) = side.of(ev.Closed)
        assert closed.code == CloseCode.IDLE_TIMEOUT
        assert side.connection.is_drained
    assert isinstance(pair.i.of(ev.Closed)[0].error, TransportTimeout | PeerClosed)


# -- outage


@pytest.mark.spec("CN-42")
def test_a_minute_of_black_hole_is_survived() -> None:
    pair = EstablishedPair(config=LONG)
    pair.run(seconds=1)
    transfer = pair.send(DATA, finish=False)
    pair.run(seconds=0.015)
    pair.net.set_links(DEAD)
    pair.run(seconds=60)
    assert len(pair.i.of(ev.PathSuspect)) == 1 and not pair.i.of(ev.Closed)
    pair.net.set_links(CLEAN)
    assert pair.run(seconds=6, until=lambda: len(transfer.received) == len(DATA))
    assert len(pair.i.of(ev.PathRecovered)) == 1


def test_probes_in_an_outage_are_never_more_than_five_seconds_apart() -> None:
    pair = EstablishedPair(config=LONG)
    pair.run(seconds=1)
    pair.net.set_links(DEAD)
    pair.i.connection.ping(pair.now)
    pair.run(seconds=40)
    n_sent = pair.net.a_to_b.n_sent
    pair.run(seconds=50)
    assert 10 <= pair.net.a_to_b.n_sent - n_sent <= 40


def test_an_outage_longer_than_the_idle_timeout_ends_it() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    pair.net.set_links(DEAD)
    pair.i.connection.ping(pair.now)
    pair.run(seconds=45)
    assert [e.code for e in pair.i.of(ev.Closed)] == [CloseCode.IDLE_TIMEOUT]


# -- close


@pytest.mark.spec("CN-5")
def test_close_reaches_the_peer_once_and_both_forget_everything() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    pair.i.connection.close(0x1234, "done", pair.now)
    pair.net.settle()
    assert pair.i.connection.state is SessionState.DRAINING
    pair.run(seconds=5)
    (ours,), (theirs,) = pair.i.of(ev.Closed), pair.r.of(ev.Closed)
    assert (ours.code, ours.reason, ours.by_peer, ours.error) == (0x1234, "done", False, None)
    assert (theirs.code, theirs.reason, theirs.by_peer) == (0x1234, "done", True)
    assert isinstance(theirs.error, PeerClosed)
    for side in (pair.i, pair.r):
        assert side.events[-1] in side.of(ev.Closed)
        assert side.connection.is_drained and side.connection._shared.parts is None
        assert side.connection.next_timer() is None
        with pytest.raises(LocalProtocolError):
            side.connection.open_stream(now=pair.now)


@pytest.mark.spec("CN-5")
def test_draining_lasts_three_ptos_and_sessions_end_in_common_steps() -> None:
    ends = set()
    for offset in (0.0, 0.001, 0.002):
        pair = EstablishedPair()
        pair.run(seconds=1 + offset)
        pair.i.connection.close(0, "", pair.now)
        end = pair.i.connection.next_timer()
        session = pair.i.connection._shared.parts
        assert end is not None and session is not None
        left = end - pair.now - 3 * session.paths.slowest_pto_s()
        assert -1e-9 <= left <= 0.05
        ends.add(end)
    assert len(ends) < 3


@pytest.mark.spec("CN-6")
def test_a_lost_close_is_repeated_for_packets_one_two_four_eight() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    transfer = pair.send(bytes(100_000), source=pair.r, finish=False)
    pair.run(seconds=1)
    pair.net.a_to_b.config = DEAD
    pair.i.connection.close(0, "", pair.now)
    pair.net.settle()
    n_sent = pair.net.a.n_datagrams_sent
    for n in range(20):
        pair.r.connection.stream_write(transfer.sid, bytes([n]), now=pair.now)
        pair.net.settle()
        pair.run(seconds=0.001)
    pair.run(seconds=0.02)
    assert pair.net.a.n_datagrams_sent - n_sent == 5  # packets 1, 2, 4, 8, 16


def test_draining_sends_nothing_but_close() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    pair.send(DATA)
    pair.i.connection.close(0, "", pair.now)
    before = pair.net.a.n_datagrams_sent
    pair.net.settle()
    pair.run(seconds=5)
    assert pair.net.a.n_datagrams_sent == before + 1


def test_closing_twice_or_before_the_handshake_is_harmless() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    pair.i.connection.close(1, "a", pair.now)
    pair.i.connection.close(2, "b", pair.now)
    pair.net.settle()
    assert [e.code for e in pair.i.of(ev.Closed)] == [1]


# -- fork


@pytest.mark.spec("CN-50")
def test_a_poisoned_connection_sends_and_tells_nothing() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    pair.send(DATA)
    pair.i.connection.poison()
    assert pair.i.connection.datagrams_to_send(pair.now) == []
    assert pair.i.connection.next_event() is None and pair.i.connection.next_timer() is None
    assert pair.i.connection.receive_datagrams(bytes(100), 100, pair.i.connection.path, 2.0) == [0]
    for command in (
        lambda: pair.i.connection.open_stream(now=pair.now),
        lambda: pair.i.connection.ping(pair.now),
        lambda: pair.i.connection.export_key("x", 32),
    ):
        with pytest.raises(LocalProtocolError):
            command()


def test_both_ends_export_the_same_key_and_another_for_another_label() -> None:
    pair = EstablishedPair()
    ours, theirs = pair.i.connection, pair.r.connection
    assert ours.export_key("a", 32) == theirs.export_key("a", 32) != ours.export_key("b", 32)


def test_an_idle_connection_is_small() -> None:
    import tracemalloc

    EstablishedPair().run(seconds=1)
    tracemalloc.start()
    pairs = [EstablishedPair() for _ in range(10)]
    for pair in pairs:
        pair.run(seconds=1)
        pair.i.connection._shared.own_pool = pair.r.connection._shared.own_pool = None
        pair.net.links.clear()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / 20 < 50_000
