"""The contract of a packet backend, the same for each: run it against every new library version."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from wraith.errors import (
    ConnectFailed,
    ConnectionLost,
    HandshakeTimeout,
    LocalProtocolError,
    PeerClosed,
    PeerKeyMismatch,
    StreamReset,
)
from wraith.libp2p import events
from wraith.libp2p.closing import own_refusal, peer_error
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.libp2p.connection import ConnectionState, PeerConnection
from wraith.libp2p.quic import Closing, TlsAdapterBase
from wraith.libp2p.tls.alerts import AlertDescription, TlsAlert
from wraith.testing.netem import LinkConfig
from wraith.testing.quic_link import (
    CLIENT_ADDRESS,
    SERVER_ADDRESS,
    EchoServer,
    QuicPair,
    TlsPair,
    Upload,
)
from wraith.testing.rng import SeededRng


def config(backend: str, **changes: Any) -> QuicTransportConfig:
    return QuicTransportConfig(backend=backend, **changes)


def other_end(pair: QuicPair) -> PeerConnection:
    (connection,) = [each for each in pair.server.connections if each.is_open]
    return connection


def stream_ids(log: list[tuple[PeerConnection, events.Libp2pEvent]]) -> list[int]:
    return [event.stream_id for _, event in log if isinstance(event, events.StreamOpened)]


@pytest.mark.parametrize("policy", list(PqPolicy))
def test_handshake_facts(backend: str, policy: PqPolicy) -> None:
    pair = QuicPair(config(backend, policy=policy))
    connection = pair.connect()
    reached, seen = pair.client_log.security(), pair.server_log.security()
    assert reached is not None and seen is not None
    assert reached.group == seen.group
    assert reached.post_quantum == seen.post_quantum == (policy is not PqPolicy.CLASSICAL)
    assert reached.peer_id == pair.server.peer_id and seen.peer_id == pair.client.peer_id
    assert connection.export_key("label", b"", 32) == other_end(pair).export_key("label", b"", 32)
    assert pair.client.counters.handshakes == pair.server.counters.handshakes == {reached.group: 1}


def test_echo_of_a_mebibyte(backend: str) -> None:
    pair = QuicPair(config(backend))
    echo, upload = EchoServer(), Upload(SeededRng(9).public_bytes(1 << 20))
    pair.server_log.on_event, pair.client_log.on_event = echo.on_event, upload.on_event
    upload.begin(pair.connect())
    assert pair.run(30, lambda: upload.at_end)
    assert hashlib.sha256(upload.received).digest() == hashlib.sha256(upload.data).digest()
    pair.run(1)
    assert other_end(pair).n_streams == 0, "both ends forget a stream that is over"


def test_half_close(backend: str) -> None:
    """A finished side still receives."""
    pair = QuicPair(config(backend))
    client = pair.connect()
    stream = client.open_stream()
    assert client.stream_write(stream, b"question", fin=True) == 8
    pair.run(0.1)
    server = other_end(pair)
    assert server.stream_read(stream, 100) == b"question" and server.stream_at_end(stream)
    for piece in (b"first ", b"second"):
        server.stream_write(stream, piece)
        pair.run(0.1)
        assert not client.stream_at_end(stream)
    server.stream_write(stream, b"", fin=True)
    pair.run(0.1)
    assert client.stream_read(stream, 100) == b"first second" and client.stream_at_end(stream)
    with pytest.raises(LocalProtocolError):
        client.stream_write(stream, b"more")


def test_reset_carries_its_code(backend: str) -> None:
    pair = QuicPair(config(backend))
    client = pair.connect()
    stream = client.open_stream()
    client.stream_write(stream, b"data")
    pair.run(0.1)
    client.stream_reset(stream, 0x1234)
    pair.run(0.1)
    server = other_end(pair)
    assert (server, events.StreamWasReset(stream, 0x1234)) in pair.server_log.seen
    with pytest.raises(StreamReset) as caught:
        server.stream_read(stream, 10)
    assert caught.value.stream_code == 0x1234


def test_stop_reaches_the_writer(backend: str) -> None:
    pair = QuicPair(config(backend))
    client = pair.connect()
    stream = client.open_stream()
    client.stream_write(stream, bytes(1000))
    pair.run(0.1)
    server = other_end(pair)
    server.stream_stop(stream, 0x77)
    pair.run(0.2)
    assert (client, events.StreamWasStopped(stream, 0x77)) in pair.client_log.seen
    with pytest.raises(StreamReset):
        client.stream_write(stream, b"more")
    assert server.stream_unread(stream) == 0


def test_what_comes_late_for_a_stream_that_is_over_opens_nothing(backend: str) -> None:
    """STOP_SENDING for a stream whose both ends were read: no second stream of the same number."""
    pair = QuicPair(config(backend))
    client = pair.connect()
    first, second = client.open_stream(), client.open_stream()
    client.stream_write(second, b"x", fin=True)  # the second one comes first
    pair.run(0.1)
    client.stream_write(first, b"x", fin=True)
    pair.run(0.1)
    server = other_end(pair)
    for stream in (first, second):
        server.stream_read(stream, 10)
        server.stream_write(stream, b"", fin=True)
        server.forget_stream(stream)
        client.stream_stop(stream, 0)
    pair.run(0.2)
    assert sorted(stream_ids(pair.server_log.seen)) == [first, second]
    assert server.n_streams == 0


@pytest.mark.spec("LQ-43")
@pytest.mark.spec("LQ-45")
def test_a_reader_that_does_not_read_stops_the_writer(backend: str) -> None:
    """Memory on both sides stays within the windows however much is offered."""
    limits = config(
        backend, stream_window=256 << 10, connection_window=512 << 10, send_buffer_bytes=128 << 10
    )
    pair = QuicPair(limits)
    client = pair.connect()
    stream = client.open_stream()
    taken = 0

    def offer(*_: object) -> bool:
        nonlocal taken
        begun = taken
        while n := client.stream_write(stream, bytes(64 << 10)):
            taken += n
        return taken > begun

    pair.client_log.on_event = lambda connection, event, now: (
        isinstance(event, events.StreamWritable) and offer()
    )
    offer()
    pair.run(20)
    server = other_end(pair)
    unread = server.stream_unread(stream)
    burst = 64 << 10  # a backend may look only after a burst
    bound = (256 if backend == "aioquic" else 512) << 10  # the stream's or the connection's window
    assert unread <= bound + burst and taken <= bound + ((256 + 128) << 10) + burst
    for _ in range(12):  # and reading lets it go on
        server.stream_read(stream, 1 << 20)
        pair.run(0.1)
    assert taken > 2 << 20


def test_what_is_not_sent_yet_can_be_bounded_apart(backend: str) -> None:
    """A stream that may hold much on its way takes little that would wait in front of the rest."""
    pair = QuicPair(config(backend, unsent_bytes_max=32 << 10))
    client = pair.connect()
    stream = client.open_stream()
    taken = most = 0

    def offer(*_: object) -> bool:
        nonlocal taken, most
        n = client.stream_write(stream, bytes(256 << 10))
        most = max(most, client.packet.stream_unsent(stream))
        taken += n
        return n > 0

    pair.client_log.on_event = lambda connection, event, now: (
        isinstance(event, events.StreamWritable) and offer()
    )
    assert offer() and taken == 32 << 10
    pair.run(20)
    assert most == 32 << 10 and taken > 512 << 10, "room is told of as it is sent"


def test_ping_is_answered(backend: str) -> None:
    pair = QuicPair(config(backend))
    client = pair.connect()
    uid = client.ping()
    pair.run(1)
    assert (client, events.PingAnswered(uid)) in pair.client_log.seen


def test_datagram_frames(backend: str) -> None:
    """The unreliable frames that another protocol can ride on."""
    pair = QuicPair(config(backend, datagram_frame_bytes=1200))
    client = pair.connect()
    client.send_datagram(b"unreliable")
    pair.run(0.1)
    assert events.DatagramReceived(b"unreliable") in [event for _, event in pair.server_log.seen]


def test_close_tells_the_peer_and_frees_everything(backend: str) -> None:
    pair = QuicPair(config(backend))
    client = pair.connect()
    client.close(0x42, "enough")
    pair.run(0.1)
    ended = pair.server_log.closed()
    assert ended is not None and ended.by_peer and (ended.code, ended.reason) == (0x42, "enough")
    assert isinstance(ended.error, PeerClosed)
    own = pair.client_log.closed()
    assert own is not None and not own.by_peer and own.error is None
    pair.run(10)
    for endpoint in (pair.client, pair.server):
        assert endpoint.connections == [] and endpoint.next_timer() is None
    with pytest.raises(LocalProtocolError):
        client.open_stream()


@pytest.mark.spec("LQ-51")
def test_graceful_close_is_no_error(backend: str) -> None:
    pair = QuicPair(config(backend))
    pair.connect().close()
    pair.run(1)
    ended = pair.server_log.closed()
    assert ended is not None and ended.error is None and ended.code == 0


@pytest.mark.spec("LQ-71")
@pytest.mark.parametrize("n_bytes", [5, 300_000])
@pytest.mark.parametrize("closer", ["client", "server"])
def test_close_delivers_what_was_accepted(backend: str, closer: str, n_bytes: int) -> None:
    """Written, finished and closed in one breath: the peer reads all of it and the end."""
    pair = QuicPair(config(backend))
    client = pair.connect()
    stream = client.open_stream()
    client.stream_write(stream, b"?")
    pair.run(0.1)
    ends = {"client": client, "server": other_end(pair)}
    sender = ends.pop(closer)
    (receiver,) = ends.values()
    receiver.stream_read(stream, 1)
    data = SeededRng("last words").public_bytes(n_bytes)
    received = bytearray()

    def read(connection: PeerConnection, event: events.Libp2pEvent, now: float) -> bool:
        if connection is receiver and isinstance(event, events.StreamReadable):
            received.extend(connection.stream_read(stream, 1 << 20))
        return False

    log = pair.server_log if closer == "client" else pair.client_log
    log.on_event = read
    assert sender.stream_write(stream, data, fin=True) == n_bytes
    sender.close()
    sender.close()
    with pytest.raises(LocalProtocolError):
        sender.open_stream()
    pair.run(5)
    assert bytes(received) == data and receiver.stream_at_end(stream)
    ended = log.closed()
    assert ended is not None and ended.by_peer and ended.error is None
    pair.run(10)
    assert pair.client.connections == pair.server.connections == []


@pytest.mark.spec("LQ-71")
def test_close_waits_for_a_peer_that_is_gone_for_a_bounded_time(backend: str) -> None:
    pair = QuicPair(config(backend))
    client = pair.connect()
    pair.run(1)
    pair.simulation.remove_host(SERVER_ADDRESS)
    began = pair.now
    client.stream_write(client.open_stream(), b"nobody hears this", fin=True)
    client.close()
    assert pair.run(30, lambda: pair.client_log.closed() is not None)
    assert pair.now - began == pytest.approx(client_flush_s(pair), abs=0.1)


def client_flush_s(pair: QuicPair) -> float:
    return pair.client.config.close_flush_s


@pytest.mark.spec("LQ-14")
def test_refused_classical_peer(backend: str) -> None:
    """Both sides learn why, and ours names the way out; nothing connects."""
    pair = QuicPair(config(backend, policy=PqPolicy.CLASSICAL), config(backend))
    pair.dial()
    pair.run(5)
    ours, theirs = pair.server_log.closed(), pair.client_log.closed()
    assert ours is not None and isinstance(ours.error, TlsAlert)
    assert "--policy prefer" in ours.error.hint
    assert theirs is not None and isinstance(theirs.error, ConnectFailed)
    assert "handshake_failure" in str(theirs.error)
    assert pair.server.counters.refusals["handshake_failure"] == 1


@pytest.mark.spec("LQ-14")
def test_dialling_a_classical_peer_names_the_way_out(backend: str) -> None:
    pair = QuicPair(config(backend), config(backend, policy=PqPolicy.CLASSICAL))
    pair.dial()
    pair.run(5)
    ended = pair.client_log.closed()
    assert ended is not None and ended.error is not None
    assert "--policy prefer" in ended.error.hint


@pytest.mark.spec("LQ-20")
def test_the_first_reason_of_a_refusal_is_kept() -> None:
    """What else was in the burst is handed to the failed engine, and changes nothing."""
    from aioquic import tls

    context = SimpleNamespace(
        handshake_extensions=[(57, b"")], alpn_cb=str, update_traffic_key_cb=print
    )
    engine = TlsPair().server
    adapter = TlsAdapterBase(tls, engine, context)
    hello = bytearray(TlsPair(PqPolicy.CLASSICAL).run().messages_of("client")[0])
    for burst in (bytes(hello), b"\x00\x00\x00\x00", b"\x01\xff\xff\xff"):
        with pytest.raises(tls.Alert) as refused:
            adapter.run(burst, {})
        assert refused.value.description is tls.AlertDescription.handshake_failure
        assert adapter.failure is not None
        assert adapter.failure.alert is AlertDescription.HANDSHAKE_FAILURE
        assert "post-quantum" in str(adapter.failure)


@pytest.mark.parametrize(
    ("client", "server"),
    [(PqPolicy.PRIVATE_EXT, PqPolicy.PREFER), (PqPolicy.PREFER, PqPolicy.PRIVATE_EXT)],
)
def test_private_against_anything_else_names_the_profile(
    backend: str, client: PqPolicy, server: PqPolicy
) -> None:
    pair = QuicPair(config(backend, policy=client), config(backend, policy=server))
    pair.dial()
    pair.run(5)
    theirs = pair.client_log.closed()
    assert theirs is not None and theirs.error is not None
    assert "--policy private" in theirs.error.hint
    ours = pair.server_log.closed()
    assert ours is not None and ours.error is not None
    assert ("--policy private" in ours.error.hint) == (server is PqPolicy.PRIVATE_EXT)


@pytest.mark.parametrize(
    "alert", [AlertDescription.DECODE_ERROR, AlertDescription.MISSING_EXTENSION]
)
def test_what_other_stacks_answer_to_the_private_profile(alert: AlertDescription) -> None:
    """Go's stack calls our extension a decode_error, which alone says nothing to anybody."""
    closing = Closing(0x100 + alert, False, "", None)
    error = peer_error(closing, handshaking=True, policy=PqPolicy.PRIVATE_EXT)
    assert error is not None and "--policy private" in error.hint
    other = peer_error(closing, handshaking=True, policy=PqPolicy.REQUIRE)
    assert other is not None and "private" not in other.hint


@pytest.mark.spec("LQ-6")
def test_a_mismatch_is_known_by_its_type_not_by_its_words() -> None:
    """A peer's certificate can be refused for other reasons, in whatever words."""
    other = own_refusal(TlsAlert(AlertDescription.BAD_CERTIFICATE, "it belongs to nobody"))
    assert not isinstance(other, PeerKeyMismatch)


@pytest.mark.spec("LQ-6")
def test_wrong_peer_id_is_refused(backend: str) -> None:
    pair = QuicPair(config(backend))
    pair.client.dial(SERVER_ADDRESS, 0.0, expected_peer=pair.client.peer_id)
    pair.run(5)
    ours, theirs = pair.client_log.closed(), pair.server_log.closed()
    assert ours is not None and isinstance(ours.error, PeerKeyMismatch)
    assert theirs is not None and AlertDescription.BAD_CERTIFICATE.word in str(theirs.error)
    assert pair.client_log.security() is None


def test_silence_ends_in_a_timeout(backend: str) -> None:
    pair = QuicPair(config(backend, handshake_timeout_s=1.0))
    pair.simulation.remove_host(SERVER_ADDRESS)
    pair.dial()
    assert pair.run(30, lambda: pair.client_log.closed() is not None)
    assert 1.0 <= pair.now <= 2.0
    ended = pair.client_log.closed()
    assert ended is not None and isinstance(ended.error, HandshakeTimeout)


def test_migration_keeps_the_connection(backend: str) -> None:
    """The client's address changes twice during a transfer; nothing is lost."""
    pair = QuicPair(config(backend))
    echo, upload = EchoServer(), Upload(SeededRng(15).public_bytes(2 << 20))
    pair.server_log.on_event, pair.client_log.on_event = echo.on_event, upload.on_event
    upload.begin(pair.connect())
    assert pair.run(30, lambda: len(upload.received) > 1 << 18)
    server = other_end(pair)
    pair.move_client(5001)
    assert pair.run(60, lambda: upload.at_end)
    assert upload.received == upload.data
    moved = [
        event.remote.port for _, event in pair.server_log.seen if type(event) is events.PeerMoved
    ]
    assert moved[-1] == 5001 and server.remote.port == 5001
    assert other_end(pair) is server


def test_keepalive_holds_an_idle_connection(backend: str) -> None:
    pair = QuicPair(config(backend, idle_timeout_s=10, keepalive_s=3))
    pair.connect()
    pair.run(60)
    assert pair.client_log.closed() is None and pair.server_log.closed() is None


def test_idle_connection_without_keepalive_ends(backend: str) -> None:
    pair = QuicPair(config(backend, idle_timeout_s=5, keepalive_s=None))
    pair.connect()
    pair.run(30)
    ended = pair.client_log.closed()
    assert ended is not None and isinstance(ended.error, ConnectionLost)


def test_a_peer_that_vanishes_is_noticed(backend: str) -> None:
    pair = QuicPair(config(backend, idle_timeout_s=5, keepalive_s=1))
    pair.connect()
    pair.simulation.remove_host(SERVER_ADDRESS)
    pair.run(60)
    ended = pair.client_log.closed()
    assert ended is not None and isinstance(ended.error, ConnectionLost)


@pytest.mark.spec("LQ-44")
def test_a_defect_of_the_library_ends_one_connection_only(backend: str) -> None:
    pair = QuicPair(config(backend))
    first = pair.connect()
    second = pair.client.dial(SERVER_ADDRESS, pair.now, expected_peer=pair.server.peer_id)
    assert pair.run(5, lambda: second.state is ConnectionState.CONNECTED)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    library: Any = first.packet
    library._quic.receive_datagram = library._quic.receive_many_datagrams = fail
    pair.server.connections[0].ping()
    pair.run(1)
    ended = pair.client_log.closed()
    assert ended is not None and isinstance(ended.error, ConnectionLost)
    assert second.state is ConnectionState.CONNECTED and first not in pair.client.connections


@pytest.mark.spec("LQ-16")
def test_zero_rtt_packets_never_appear(backend: str) -> None:
    pair = QuicPair(config(backend))
    kinds: list[int] = []

    def look(datagram: bytes) -> bytes:
        if datagram[0] & 0x80:
            kinds.append((datagram[0] >> 4) & 3)
        return datagram

    for source, target in (
        (CLIENT_ADDRESS, SERVER_ADDRESS),
        (SERVER_ADDRESS, CLIENT_ADDRESS),
    ):
        pair.simulation.link(source, target).taps.append(look)
    for _ in range(2):  # the second connection could resume if anything could be resumed
        pair.connect().close()
        pair.run(5)
        pair.client_log.seen.clear()
        pair.server_log.seen.clear()
    assert set(kinds) >= {0} and 1 not in kinds


def test_stream_limit_is_ours(backend: str) -> None:
    if backend == "qh3":
        pytest.skip("qh3 fixes its stream limits (100 bidirectional) in the library")
    small = config(backend)
    small = replace(small, limits=replace(small.limits, streams=3))
    pair = QuicPair(small)
    client = pair.connect()
    assert client.stream_credit == 3
    for _ in range(3):
        client.stream_write(client.open_stream(), b"x")
    pair.run(1)
    assert len(stream_ids(pair.server_log.seen)) == 3


@pytest.mark.spec("LQ-73")
def test_streams_beyond_the_peer_s_limit_wait(backend: str) -> None:
    """The 101st is refused here, where nothing is lost, and opened once another has ended."""
    pair = QuicPair(config(backend))
    client = pair.connect()
    streams = []
    while client.stream_credit:
        streams.append(client.open_stream())
    assert len(streams) == 100
    with pytest.raises(LocalProtocolError, match="no further stream"):
        client.open_stream()
    client.watch_credit()
    for stream in streams:
        client.stream_write(stream, b"x", fin=True)
    pair.run(1)
    assert client.stream_credit == 0
    assert (client, events.StreamCredit()) not in pair.client_log.seen

    server = other_end(pair)
    for stream in streams:
        server.stream_read(stream, 10)
        server.stream_write(stream, b"", fin=True)
    server.ping()
    pair.run(1)
    for stream in streams:
        client.stream_read(stream, 10)
    assert client.stream_credit > 0
    assert pair.client_log.seen.count((client, events.StreamCredit())) == 1
    late = client.open_stream()
    client.stream_write(late, b"late", fin=True)
    pair.run(1)
    assert server.stream_read(late, 10) == b"late"


@pytest.mark.spec("LQ-73")
def test_a_stream_that_was_never_sent_can_be_given_up(backend: str) -> None:
    """Within the credit a reset is legal, and frees the place again."""
    pair = QuicPair(config(backend))
    client = pair.connect()
    for _ in range(300):
        if not client.stream_credit:
            pair.run(0.2)
        stream = client.open_stream()
        client.stream_reset(stream, 0)
        client.stream_stop(stream, 0)
        client.forget_stream(stream)
    pair.run(2)
    assert client.state is ConnectionState.CONNECTED
    assert pair.server_log.closed() is None


def test_reordered_and_lossy_link(backend: str) -> None:
    """One seed of the matrix in tests/sim/libp2p."""
    link = LinkConfig(latency_s=0.025, loss=0.02, reorder=0.1, reorder_delay_s=0.03)
    pair = QuicPair(config(backend), link=link, seed=3)
    echo, upload = EchoServer(), Upload(SeededRng(16).public_bytes(1 << 18))
    pair.server_log.on_event, pair.client_log.on_event = echo.on_event, upload.on_event
    upload.begin(pair.connect())
    assert pair.run(60, lambda: upload.at_end)
    assert upload.received == upload.data
