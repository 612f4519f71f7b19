"""Peers that forgot a connection or never confirmed it: who learns of it, and when."""

from __future__ import annotations

import pytest

from wraith.crypto.ed25519 import Identity
from wraith.errors import ConnectionLost, PeerClosed
from wraith.libp2p import events
from wraith.libp2p.config import QuicLimits, QuicTransportConfig
from wraith.libp2p.connection import ConnectionState
from wraith.libp2p.endpoint import QuicEndpoint
from wraith.libp2p.reset import (
    RESET_BYTES_MIN,
    RESETS_BURST,
    ResetReceiver,
    ResetSender,
    reset_key,
    token_in,
)
from wraith.testing.clock import VirtualCalendar
from wraith.testing.quic_forge import Forger
from wraith.testing.quic_link import CLIENT_ADDRESS, SERVER_ADDRESS, EventLog, QuicPair
from wraith.testing.rng import SeededRng
from wraith.types import Address, NetworkPath

FROM_CLIENT = NetworkPath(SERVER_ADDRESS, CLIENT_ADDRESS)
FROM_SERVER = NetworkPath(CLIENT_ADDRESS, SERVER_ADDRESS)
KEY = bytes(range(32))


def config(backend: str) -> QuicTransportConfig:
    return QuicTransportConfig(backend=backend)


def listener(pair: QuicPair, seed: str, key: bytes | None = KEY) -> QuicEndpoint:
    """A server at the server's address, as a process that has just started."""
    endpoint = QuicEndpoint(
        Identity.generate(SeededRng("server")),
        QuicTransportConfig(),
        rng=SeededRng(seed),
        clock=VirtualCalendar(pair.clock),
        reset_key=key,
    )
    pair.server = endpoint
    pair.server_log = EventLog(endpoint)
    pair.simulation.add_host(endpoint, SERVER_ADDRESS, pair.server_log.serve)
    return endpoint


@pytest.mark.spec("LQ-75")
@pytest.mark.parametrize("moved", [False, True])
def test_a_restarted_host_resets_its_peers(backend: str, moved: bool) -> None:
    """The key is the same, nothing else is: one datagram of the peer's, and it knows."""
    if backend == "qh3" and moved:
        pytest.skip("qh3 does not tell the tokens of later connection ids")
    pair = QuicPair(config(backend))
    listener(pair, "before")
    client = pair.connect()
    pair.run(0.5)
    if moved:
        pair.move_client(5001)
        pair.run(0.5)
    listener(pair, "after")
    client.ping()
    pair.run(0.2)
    ended = pair.client_log.closed()
    assert ended is not None and isinstance(ended.error, ConnectionLost)
    assert "forgotten" in str(ended.error) and not ended.by_peer
    sent = pair.client.counters.datagrams_sent
    pair.run(10)
    assert pair.client.connections == [] and pair.client.counters.datagrams_sent == sent
    assert pair.server.counters.resets_sent == 1


@pytest.mark.spec("LQ-75")
def test_a_reset_needs_the_peer_s_token() -> None:
    """Another key, a flipped bit, or the right token too short: nothing happens."""
    pair = QuicPair()
    listener(pair, "before")
    client = pair.connect()
    pair.run(0.5)
    token = client.packet.peer_reset_token
    assert token is not None
    listener(pair, "another key", bytes(32))
    client.ping()
    pair.run(0.5)
    assert pair.server.counters.resets_sent > 0
    head = b"\x41" + bytes(30)
    for datagram in (
        head + token[:-1] + bytes((token[-1] ^ 1,)),
        head + token + b"\x00",
        b"\x41" + bytes(RESET_BYTES_MIN - 18) + token,
    ):
        assert pair.client.receive_datagrams(datagram, len(datagram), FROM_SERVER, pair.now) == [0]
    assert client.is_open
    datagram = head + token
    assert pair.client.receive_datagrams(datagram, len(datagram), FROM_SERVER, pair.now) == []
    assert not client.is_open


@pytest.mark.spec("LQ-75")
def test_a_live_connection_is_never_reset_by_its_own_host() -> None:
    """An endpoint without a key, and one that knows the id, say nothing."""
    pair = QuicPair()
    listener(pair, "before")
    pair.connect()
    pair.run(0.5)
    (connection,) = pair.server.connections
    for cid in connection.cids:
        garbage = b"\x41" + cid + bytes(60)
        pair.server.receive_datagrams(garbage, len(garbage), FROM_CLIENT, pair.now)
    pair.simulation.settle()
    assert pair.server.counters.resets_sent == 0
    silent = listener(pair, "after", None)
    unknown = b"\x41" + bytes(68)
    assert silent.receive_datagrams(unknown, len(unknown), FROM_CLIENT, pair.now) == [0]
    assert silent.datagrams_to_send(pair.now) == []


@pytest.mark.spec("LQ-75")
def test_resets_are_smaller_than_their_cause_and_few() -> None:
    sender = ResetSender(KEY, SeededRng(1))
    for n_bytes in (0, 21, 22, 43, 1200):
        reset = sender.reset_for(bytes(8), n_bytes, 0.0)
        if n_bytes < 22:
            assert reset is None
            continue
        assert reset is not None and RESET_BYTES_MIN <= len(reset) < n_bytes
        assert reset[0] & 0xC0 == 0x40 and reset.endswith(sender.token(bytes(8)))
    answered = sum(sender.reset_for(bytes(8), 1200, 0.0) is not None for _ in range(1000))
    assert answered < RESETS_BURST
    assert sender.reset_for(bytes(8), 1200, 1.0) is not None


def test_tokens_differ_by_key_socket_and_connection_id() -> None:
    identity = Identity.generate(SeededRng(1))
    one, other = Address(b"\x7f\x00\x00\x01", 4001), Address(b"\x7f\x00\x00\x01", 4002)
    keys = {reset_key(identity, sockets) for sockets in ([one], [other], [one, other], [])}
    assert len(keys) == 4
    tokens = {ResetSender(key, SeededRng(1)).token(cid) for key in keys for cid in (b"a", b"b")}
    assert len(tokens) == 8


def test_forgotten_tokens_find_nobody() -> None:
    receiver: ResetReceiver[str] = ResetReceiver(SeededRng(1))
    token = bytes(range(16))
    receiver.watch(token, "owner")
    assert receiver.owner_of(bytes(26) + token) == "owner"
    receiver.forget(token)
    assert receiver.owner_of(bytes(26) + token) is None


@pytest.mark.parametrize(
    ("parameters", "token"),
    [
        (b"", None),
        (b"\x02\x10" + bytes(16), bytes(16)),
        (b"\x01\x02\x00\x00\x40\x02\x40\x10" + b"t" * 16, b"t" * 16),
        (b"\x02\x0f" + bytes(15), None),
        (b"\x02\x10" + bytes(9), None),
        (b"\x02", None),
        (b"\xc0", None),
    ],
)
def test_the_token_among_the_transport_parameters(parameters: bytes, token: bytes | None) -> None:
    assert token_in(parameters) == token


@pytest.mark.spec("LQ-76")
def test_a_dial_that_is_never_confirmed_ends_within_the_handshake_s_time(backend: str) -> None:
    """The server's flight is the last that is heard of it: connected here, once for 30 s."""
    pair = QuicPair(QuicTransportConfig(backend=backend, handshake_timeout_s=4.0))
    client = pair.dial()

    def flight_only(datagram: bytes) -> bytes | None:
        return datagram if client.state is ConnectionState.HANDSHAKING else None

    pair.simulation.link(SERVER_ADDRESS, CLIENT_ADDRESS).taps.append(flight_only)
    assert pair.run(1, lambda: client.state is ConnectionState.CONNECTED)
    assert pair.run(60, lambda: pair.client_log.closed() is not None)
    assert pair.now < 4.0 + 0.5
    ended = pair.client_log.closed()
    assert ended is not None and isinstance(ended.error, ConnectionLost)
    assert "confirm" in str(ended.error)


@pytest.mark.spec("LQ-76")
def test_confirmed_comes_once_and_to_the_dialling_side(backend: str) -> None:
    pair = QuicPair(config(backend))
    client = pair.connect()
    pair.run(1)
    told = [event for _, event in pair.client_log.seen if isinstance(event, events.Confirmed)]
    assert len(told) == 1 and client.confirmed
    assert events.Confirmed() not in [event for _, event in pair.server_log.seen]
    pair.run(60)
    assert client.state is ConnectionState.CONNECTED


@pytest.mark.spec("LQ-46")
def test_a_server_that_gives_up_on_a_proven_address_says_so(backend: str) -> None:
    """Handshake bytes came, or a token; the rest never did. The client learns at once."""
    quick = QuicTransportConfig(backend=backend, handshake_timeout_s=2.0)
    pair = QuicPair(config("aioquic"), quick)
    n_sent = 0

    def lose_the_rest(datagram: bytes) -> bytes | None:
        nonlocal n_sent
        n_sent += 1
        return datagram if n_sent <= 2 else None  # the ClientHello

    pair.simulation.link(CLIENT_ADDRESS, SERVER_ADDRESS).taps.append(lose_the_rest)
    client = pair.dial()
    pair.run(0.1)
    assert client.state is ConnectionState.CONNECTED
    pair.simulation.inject(Forger(client).handshake_packet(), CLIENT_ADDRESS, SERVER_ADDRESS)
    pair.run(1.8)
    assert [c.state for c in pair.server.connections] == [ConnectionState.HANDSHAKING]
    assert pair.client_log.closed() is None
    pair.run(0.3)
    ended = pair.client_log.closed()
    assert ended is not None and isinstance(ended.error, PeerClosed) and ended.by_peer


@pytest.mark.spec("LQ-46")
def test_a_returned_token_proves_the_address_too() -> None:
    limits = QuicLimits(retry_above_pending=0)
    pair = QuicPair(
        QuicTransportConfig(), QuicTransportConfig(limits=limits, handshake_timeout_s=2.0)
    )
    heard: list[bytes] = []

    def only_retry(datagram: bytes) -> bytes | None:
        heard.append(datagram)
        return datagram if datagram[0] & 0xF0 == 0xF0 else None

    pair.simulation.link(SERVER_ADDRESS, CLIENT_ADDRESS).taps.append(only_retry)
    pair.dial()
    pair.run(1.9)
    n_before = len(heard)
    pair.run(0.2)
    assert len(heard) > n_before, "a close, to an address that is known to hear"
