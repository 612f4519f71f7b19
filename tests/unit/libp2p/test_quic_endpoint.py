"""The endpoint beside its connections: routing, admission, Retry, limits, strangers' datagrams."""

from __future__ import annotations

import ipaddress

import pytest

from wraith.abc import Tracer
from wraith.crypto.ed25519 import Identity
from wraith.errors import ConfigError, LimitExceeded
from wraith.libp2p import events
from wraith.libp2p.admission import QuicAdmission, QuicVerdict, shares_of
from wraith.libp2p.config import PqPolicy, QuicLimits, QuicTransportConfig
from wraith.libp2p.connection import ConnectionState, PeerConnection
from wraith.libp2p.endpoint import ROTATE_BEFORE_S, QuicEndpoint
from wraith.libp2p.first_packets import read_header
from wraith.testing.clock import VirtualCalendar, VirtualClock
from wraith.testing.netem import LinkConfig
from wraith.testing.quic_link import (
    CLIENT_ADDRESS,
    NOW,
    SERVER_ADDRESS,
    QuicPair,
)
from wraith.testing.rng import SeededRng
from wraith.types import Address, NetworkPath

FROM_CLIENT = NetworkPath(SERVER_ADDRESS, CLIENT_ADDRESS)


def dial_many(pair: QuicPair, n: int) -> list[PeerConnection]:
    dialled = [
        pair.client.dial(SERVER_ADDRESS, pair.now, expected_peer=pair.server.peer_id)
        for _ in range(n)
    ]
    pair.simulation.settle()
    return dialled


def limited(**limits: float) -> QuicTransportConfig:
    return QuicTransportConfig(limits=QuicLimits(**limits))  # type: ignore[arg-type]


@pytest.mark.spec("LQ-41")
def test_retry_under_load() -> None:
    """Above the threshold nobody is served before returning a token; everybody still gets in."""
    config = limited(retry_above_pending=2, connections_per_peer=100)
    pair = QuicPair(config, link=LinkConfig(latency_s=0.05))
    dialled = dial_many(pair, 12)
    assert pair.run(10, lambda: all(c.state is ConnectionState.CONNECTED for c in dialled))
    assert pair.server.counters.retries_sent >= 10
    pair.run(1)
    assert len([c for c in pair.server.connections if c.is_open]) == 12


@pytest.mark.spec("LQ-41")
def test_retry_always() -> None:
    pair = QuicPair(limited(retry_above_pending=0))
    pair.connect()
    assert pair.server.counters.retries_sent == 2, "one for each of the two Initials, no state"
    assert len(pair.server.connections) == 1


def first_datagrams(pair: QuicPair) -> list[bytes]:
    """The two Initial datagrams of a dial, taken off the wire."""
    seen: list[bytes] = []

    def lose(datagram: bytes) -> None:
        seen.append(datagram)

    pair.simulation.link(CLIENT_ADDRESS, SERVER_ADDRESS).taps.append(lose)
    pair.dial()
    return seen


def test_a_token_is_good_for_its_address_only() -> None:
    pair = QuicPair(limited(retry_above_pending=0))
    seen: list[bytes] = []

    def look(datagram: bytes) -> bytes:
        seen.append(datagram)
        return datagram

    pair.simulation.link(CLIENT_ADDRESS, SERVER_ADDRESS).taps.append(look)
    pair.connect()
    with_token = next(d for d in seen if (h := read_header(d)) and h.is_initial and h.token)
    stranger = NetworkPath(SERVER_ADDRESS, Address(CLIENT_ADDRESS.ip, 9))
    fresh = QuicPair(limited(retry_above_pending=0), seed=2)
    for endpoint, path in ((pair.server, stranger), (fresh.server, FROM_CLIENT)):
        known = len(endpoint.connections)
        header = read_header(with_token)
        assert header is not None
        endpoint._by_cid.clear()
        endpoint.receive_datagrams(with_token, len(with_token), path, pair.now)
        assert len(endpoint.connections) == known
        assert endpoint.counters.refusals["bad token"] == 1


def test_total_limit_drops_and_counts() -> None:
    pair = QuicPair(
        QuicTransportConfig(handshake_timeout_s=1.0, limits=QuicLimits(connections_per_peer=100)),
        QuicTransportConfig(limits=QuicLimits(connections=3, connections_per_peer=100)),
    )
    dialled = dial_many(pair, 5)
    pair.run(5)
    assert sum(c.state is ConnectionState.CONNECTED for c in dialled) == 3
    assert pair.server.counters.refusals["limit"] > 0


@pytest.mark.spec("LQ-51")
def test_limit_per_peer_closes_the_surplus() -> None:
    pair = QuicPair(QuicTransportConfig(), limited(connections_per_peer=2))
    dialled = dial_many(pair, 3)
    pair.run(5)
    assert sum(c.state is ConnectionState.CONNECTED for c in dialled) == 2
    assert pair.server.counters.refusals["connections per peer"] == 1
    ended = pair.client_log.closed()
    assert ended is not None and ended.code == 0x1002
    told = [e for _, e in pair.server_log.seen if isinstance(e, events.Connected)]
    assert len(told) == 2, "a connection beyond the limit is never announced"


def test_dials_are_limited() -> None:
    pair = QuicPair(limited(pending_out=2))
    dial_many(pair, 2)
    with pytest.raises(LimitExceeded):
        dial_many(pair, 1)


def ask(
    admission: QuicAdmission, host: int = 1, *, has_token: bool = False, now: float = 0.0
) -> QuicVerdict:
    verdict, _ = admission.judge(
        remote=address(host), n_connections=0, has_token=has_token, now=now
    )
    return verdict


def address(host: int, *, net: int = 113) -> Address:
    return Address(bytes((203, 0, net, host)), 4001)


def test_admission_rate() -> None:
    admission = QuicAdmission(QuicLimits(new_per_s=10, new_burst=2))
    verdicts = [ask(admission) for _ in range(3)]
    assert verdicts == [QuicVerdict.ACCEPT, QuicVerdict.ACCEPT, QuicVerdict.DROP]
    assert ask(admission, now=0.11) is QuicVerdict.ACCEPT
    assert ask(admission, now=0.11) is QuicVerdict.DROP


@pytest.mark.spec("LQ-74")
def test_half_open_share_of_an_address_that_proved_itself() -> None:
    admission = QuicAdmission(QuicLimits(pending_per_address=2, retry_above_pending=1))
    # Forged Initials, before Retry is asked, use up nobody's share.
    forged = admission.begun(address(7), has_token=False)
    assert ask(admission, 7) is QuicVerdict.RETRY
    places = []
    for _ in range(2):
        assert ask(admission, 7, has_token=True) is QuicVerdict.ACCEPT
        places.append(admission.begun(address(7), has_token=True))
    assert ask(admission, 7, has_token=True) is QuicVerdict.DROP
    assert ask(admission, 8, has_token=True) is QuicVerdict.ACCEPT
    assert admission.connected(places[0])
    assert ask(admission, 7, has_token=True) is QuicVerdict.ACCEPT
    admission.begun(address(7), has_token=True)
    assert ask(admission, 7, has_token=True) is QuicVerdict.DROP
    for place in (places[1], places[1], forged):  # the end counts once
        admission.ended(place)
    assert ask(admission, 7, has_token=True) is QuicVerdict.ACCEPT
    assert admission.pending == 1


@pytest.mark.spec("LQ-74")
def test_connections_of_a_network_are_limited() -> None:
    admission = QuicAdmission(QuicLimits(connections_per_prefix=3))
    places = [admission.begun(address(host), has_token=False) for host in range(4)]
    assert ask(admission) is QuicVerdict.ACCEPT, "nothing is proved yet"
    assert [admission.connected(place) for place in places] == [True, True, True, False]
    admission.ended(places[3])
    assert ask(admission, 200) is QuicVerdict.DROP
    assert admission.judge(
        remote=address(1, net=114), n_connections=0, has_token=False, now=0.0
    ) == (QuicVerdict.ACCEPT, "")
    admission.ended(places[0])
    assert ask(admission, 200) is QuicVerdict.ACCEPT


@pytest.mark.spec("LQ-74")
@pytest.mark.parametrize(
    ("ip", "shares"),
    [
        ("203.0.113.9", (4, 3)),
        ("::ffff:203.0.113.9", (4, 3)),
        ("2001:db8:1:2:3:4:5:6", (8, 7)),
        ("127.8.9.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
    ],
)
def test_what_a_share_is_of(ip: str, shares: tuple[int, int] | None) -> None:
    found = shares_of(Address(ipaddress.ip_address(ip).packed, 1))
    if shares is None:
        assert found == (None, None)
        return
    own, prefix = found
    assert own is not None and prefix is not None
    assert (len(own), len(prefix)) == shares and own.startswith(prefix)


def test_half_open_connections_are_forgotten() -> None:
    """A client that never finishes is timed out and stops counting."""
    pair = QuicPair(QuicTransportConfig(handshake_timeout_s=1.0))
    for datagram in first_datagrams(pair):
        pair.server.receive_datagrams(datagram, len(datagram), FROM_CLIENT, pair.now)
    assert pair.server._admission.pending == 1
    pair.simulation.remove_host(CLIENT_ADDRESS)
    pair.run(30)
    assert pair.server._admission.pending == 0 and pair.server.connections == []


@pytest.mark.spec("LQ-46")
def test_amplification_stays_below_three() -> None:
    """To an address that proved nothing, at most three times what came from it (RFC 9000 §8.1)."""
    pair = QuicPair(QuicTransportConfig(handshake_timeout_s=5.0))
    got = 0
    for datagram in first_datagrams(pair):
        pair.simulation.inject(datagram, CLIENT_ADDRESS, SERVER_ADDRESS)
        got += len(datagram)
    pair.simulation.remove_host(CLIENT_ADDRESS)
    pair.run(20)
    assert 0 < pair.server.counters.bytes_sent <= 3 * got


@pytest.mark.spec("LQ-40")
def test_foreign_datagrams_are_handed_back() -> None:
    """Another protocol's datagrams on the same socket, also in the middle of a burst."""
    pair = QuicPair()
    pair.connect()
    size = 40
    foreign = bytes((0x01,)) + bytes(size - 1)
    unknown = bytes((0x45,)) + bytes(size - 1)  # looks like a short header, nobody's id
    burst = foreign + unknown + foreign[:20]
    answer = pair.server.receive_datagrams(burst, size, FROM_CLIENT, pair.now)
    assert answer == [0, 1, 2]
    assert pair.server.datagrams_to_send(pair.now) == []
    assert pair.server.counters.unclaimed == 3


def test_garbage_is_silent_and_harmless() -> None:
    pair = QuicPair()
    client = pair.connect()
    rng = SeededRng("garbage")
    for n in (0, 1, 8, 9, 20, 100, 1200, 1500):
        for first in (0x00, 0x40, 0x80, 0xC0, 0xD0, 0xE0, 0xF0, 0xFF):
            datagram = bytes((first,)) + rng.public_bytes(n)
            pair.server.receive_datagrams(datagram, len(datagram), FROM_CLIENT, pair.now)
    pair.simulation.settle()
    assert client.ping() and pair.run(1)
    assert client.state is ConnectionState.CONNECTED


def test_other_versions_get_version_negotiation() -> None:
    pair = QuicPair()
    first = first_datagrams(pair)[0]
    other = first[:1] + b"\x1a\x2a\x3a\x4a" + first[5:]
    pair.server.receive_datagrams(other, len(other), FROM_CLIENT, 0.0)
    (answer,) = pair.server.datagrams_to_send(0.0)
    assert bytes(answer.data[1:5]) == bytes(4) and bytes(answer.data[-4:]) == b"\x00\x00\x00\x01"
    # A short one, or a negotiation packet itself, gets nothing: no reflection.
    for datagram in (other[:1199], bytes(answer.data) + bytes(1200)):
        pair.server.receive_datagrams(datagram, len(datagram), FROM_CLIENT, 0.0)
    assert pair.server.datagrams_to_send(0.0) == [] and pair.server.connections == []


def test_an_endpoint_that_does_not_listen_stays_silent() -> None:
    pair = QuicPair()
    pair.server.listening = False
    pair.dial()
    pair.run(20)
    assert pair.server.counters.datagrams_sent == 0 and pair.server.connections == []


class Recorder(Tracer):
    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, object]]] = []

    def record(self, name: str, /, **fields: object) -> None:
        self.records.append((name, fields))


@pytest.mark.spec("LQ-14")
def test_every_classical_connection_under_prefer_is_logged_and_counted() -> None:
    pair = QuicPair(
        QuicTransportConfig(policy=PqPolicy.CLASSICAL), QuicTransportConfig(policy=PqPolicy.PREFER)
    )
    recorder = pair.server._tracer = Recorder()
    pair.connect()
    name, fields = recorder.records[0]
    assert name == "libp2p.classical" and fields["warning"] is True
    assert fields["peer"] == pair.client.peer_id
    assert pair.server.counters.classical == 1
    assert pair.server.counters.handshakes == {"X25519": 1}


@pytest.mark.spec("LQ-8")
def test_certificates_rotate_and_the_peer_id_stays() -> None:
    clock = VirtualClock()
    calendar = VirtualCalendar(clock)
    rng = SeededRng("rotate")
    endpoint = QuicEndpoint(Identity.generate(rng), QuicTransportConfig(), rng=rng, clock=calendar)
    first = endpoint._current_credentials()
    assert endpoint._current_credentials() is first
    clock.advance(90 * 86_400 - ROTATE_BEFORE_S + 1)
    second = endpoint._current_credentials()
    assert second[0].der != first[0].der and second[0].not_after > NOW + 90 * 86_400


@pytest.mark.spec("LQ-42")
def test_a_client_drains_before_it_sends() -> None:
    """The server's two datagrams arrive together: the client answers them with one flight."""
    pair = QuicPair()
    sizes: list[int] = []

    def look(datagram: bytes) -> bytes:
        sizes.append(len(datagram))
        return datagram

    pair.simulation.link(CLIENT_ADDRESS, SERVER_ADDRESS).taps.append(look)
    pair.connect()
    assert sum(size >= 1200 for size in sizes) <= 3


@pytest.mark.parametrize(
    "changes",
    [
        {"backend": "quinn"},
        {"alpn": ()},
        {"alpn": ("",)},
        {"private_extension": 51},
        {"datagram_bytes": 1199},
        {"handshake_timeout_s": 0},
        {"idle_timeout_s": 0.5},
        {"keepalive_s": 30.0},
        {"stream_window": 1},
    ],
)
def test_configuration_is_checked(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        QuicTransportConfig(**changes)  # type: ignore[arg-type]
    assert caught.value.key in changes


@pytest.mark.spec("LQ-30")
def test_defaults_are_the_strict_values() -> None:
    config = QuicTransportConfig()
    assert config.policy is PqPolicy.REQUIRE and config.require_client_certificate
    assert config.backend == "aioquic" and config.offered_alpn == ("libp2p",)
    private = QuicTransportConfig(policy=PqPolicy.PRIVATE_EXT)
    assert private.offered_alpn == ("creto-pq/1",)


def test_a_path_on_hold_waits_until_it_is_released() -> None:
    pair = QuicPair()
    connection = pair.connect()
    path = NetworkPath(CLIENT_ADDRESS, SERVER_ADDRESS)
    pair.client.hold(path)
    sid = connection.open_stream()
    for _ in range(2):
        connection.stream_write(sid, bytes(3_000), fin=False)
        assert pair.client.datagrams_to_send(pair.now) == []
    pair.client.release(path)
    assert {t.path.remote for t in pair.client.datagrams_to_send(pair.now)} == {SERVER_ADDRESS}
