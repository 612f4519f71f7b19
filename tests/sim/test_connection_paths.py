"""Addresses that change under a running connection, and paths with a smaller MTU."""

from __future__ import annotations

import random

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.state import SessionState
from wraith.testing import nat
from wraith.testing.endpoints import linked, watch
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig
from wraith.testing.pair import ADDRESS_A, ADDRESS_B
from wraith.types import Address, NetworkPath
from wraith.wire.frames import PathChallenge, encode_frame

DATA = random.Random(13).randbytes(300_000)
OTHER_PORT = Address(ADDRESS_A.ip, 5555)
OTHER_HOST = Address(bytes([192, 0, 2, 77]), 5555)


def state_of(pair: EstablishedPair) -> str:
    return pair.r.connection.state.value


def rebind(pair: EstablishedPair, address: Address) -> None:
    """The mapping of the initiator moves to ``address``; the old one leads nowhere."""
    old = next(a for a in pair.net.hosts if a != ADDRESS_B)
    nat.rebind(pair.net, old, address)
    pair.net.a = pair.net.hosts[address]


@pytest.mark.spec("CN-32")
@pytest.mark.parametrize("address", [OTHER_PORT, OTHER_HOST], ids=["port", "host"])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_a_rebound_peer_is_followed_and_streams_go_on(address: Address, loss: float) -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01, loss=loss), seed=8)
    pair.run(seconds=2)
    there, back = pair.send(DATA), pair.send(DATA, source=pair.r)
    pair.run(seconds=0.1)
    rebind(pair, address)
    assert pair.run(seconds=60, until=lambda: there.is_equal and back.is_equal)
    assert len(pair.r.of(ev.PathChanged)) == 1 and not pair.i.of(ev.PathChanged)
    assert pair.r.connection.path.remote == address
    assert pair.r.connection.state is SessionState.ESTABLISHED


@pytest.mark.spec("CN-82")
def test_the_answer_to_a_challenge_does_not_wait_for_a_full_window() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.02), seed=8)
    pair.run(seconds=2)
    pair.net.a_to_b.config = LinkConfig(loss=1.0)
    pair.send(DATA)
    pair.run(seconds=0.06)
    sender, peer = pair.i.connection, pair.r.connection
    assert sender._shared.parts is not None and peer._shared.builder is not None
    assert sender._shared.parts.paths.main.is_window_full(1_200)
    assert sender.datagrams_to_send(pair.now) == []
    peer._shared.builder.oneshots.append(encode_frame(PathChallenge(b"8 bytes.")))
    (challenge,) = peer.datagrams_to_send(pair.now)
    sender.receive_datagrams(challenge.data, challenge.segment_bytes, sender.path, pair.now)
    (answer,) = sender.datagrams_to_send(pair.now)
    assert answer.path == sender.path and len(answer.data) < 100


@pytest.mark.spec("RC-36")
def test_a_move_that_changes_the_port_alone_costs_no_window_and_no_loss() -> None:
    link = LinkConfig(latency_s=0.02, rate_bps=20e6, queue_bytes=100_000)
    pair = EstablishedPair(link=link, seed=8)
    pair.run(seconds=1)
    pair.send(random.Random(4).randbytes(6_000_000), source=pair.r)
    pair.run(seconds=1)
    sender = pair.r.connection
    before = sender.stats()
    assert before.bytes_in_flight > 80_000
    rebind(pair, OTHER_PORT)
    pair.run(seconds=0.3)  # nothing comes: the next thing said is that question
    pair.i.connection.ask(pair.now)
    assert pair.run(seconds=0.2, until=lambda: bool(pair.r.of(ev.PathChanged)))
    assert sender.stats().cwnd_bytes >= before.cwnd_bytes
    assert sender.stats().lost_packets == before.lost_packets
    assert sender._shared.parts is not None
    assert sender._shared.parts.paths.main.rtt.srtt == pytest.approx(before.rtt_s, rel=0.2)


@pytest.mark.spec("CN-66")
def test_the_window_of_a_new_path_is_bound_by_the_memory_too() -> None:
    config = EndpointConfig(send_memory_bytes=128 * 1024)
    pair = EstablishedPair(config=config, link=LinkConfig(latency_s=0.02), seed=8)
    pair.run(seconds=1)
    pair.send(random.Random(4).randbytes(3_000_000), source=pair.r)
    rebind(pair, OTHER_HOST)
    pair.i.connection.ask(pair.now)
    pair.run(seconds=2)
    assert pair.r.of(ev.PathChanged)
    assert 30_000 < pair.r.connection.stats().cwnd_bytes <= 64 * 1024


@pytest.mark.spec("CN-36")
@pytest.mark.parametrize("address", [OTHER_PORT, OTHER_HOST], ids=["port", "host"])
def test_a_probe_that_was_under_way_when_the_peer_moved_does_not_end_the_search(
    address: Address,
) -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01, mtu_bytes=1_350), seed=8)
    pair.run(seconds=0.1)
    pair.send(DATA, source=pair.r)
    pair.net.settle()
    session = pair.r.connection._shared.parts
    assert session is not None and session.paths.main.mtu.probing
    rebind(pair, address)
    pair.i.connection.ask(pair.now)
    pair.run(seconds=20)
    assert 1_334 <= pair.r.connection.stats().datagram_bytes <= 1_350


@pytest.mark.spec("CN-33")
def test_an_address_that_does_not_answer_gets_at_most_three_times_its_bytes() -> None:
    pair = EstablishedPair()
    pair.run(seconds=2)
    kept: list[bytes] = []
    pair.net.a_to_b.taps.append(kept.append)
    pair.i.connection.ping(pair.now)
    pair.net.settle()
    pair.net.a_to_b.taps.clear()
    spoofed = Address(bytes([198, 51, 100, 1]), 9)
    pair.net.inject(kept[0], spoofed, ADDRESS_B)
    assert state_of(pair) == "Migrating"
    transfer = pair.send(DATA, source=pair.r)
    assert pair.run(seconds=20, until=lambda: transfer.is_equal)  # on the old path, meanwhile
    pair.run(seconds=5)
    assert pair.net.link(ADDRESS_B, spoofed).bytes_sent <= 3 * len(kept[0])
    assert pair.net.link(ADDRESS_B, spoofed).n_sent <= 3
    assert state_of(pair) == "Established"
    assert not pair.r.of(ev.PathChanged)


def test_a_late_packet_from_the_old_address_moves_nothing() -> None:
    pair = EstablishedPair()
    pair.run(seconds=2)
    kept: list[bytes] = []
    pair.net.a_to_b.taps.append(kept.append)
    pair.i.connection.ping(pair.now)
    pair.net.settle()
    pair.net.a_to_b.taps.clear()
    pair.i.connection.ping(pair.now)
    pair.run(seconds=1)
    pair.net.inject(kept[0], OTHER_HOST, ADDRESS_B)
    assert pair.r.connection.state is SessionState.ESTABLISHED


def test_the_search_finds_a_small_path_and_data_flows() -> None:
    link = LinkConfig(latency_s=0.01, mtu_bytes=1_350)
    pair = EstablishedPair(link=link)
    transfer = pair.send(DATA)
    assert pair.run(seconds=20, until=lambda: transfer.is_equal)
    pair.run(seconds=20)
    assert 1_334 <= pair.i.connection.stats().datagram_bytes <= 1_350
    assert pair.i.connection.stats().lost_packets == 0  # probes are no losses


@pytest.mark.spec("CN-36")
def test_a_session_without_data_is_searched_after_a_moment_only() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01))
    seen = [watch(pair.net.a_to_b), watch(pair.net.b_to_a)]
    pair.run(seconds=0.2)
    sizes = [len(datagram) for sent in seen for datagram in sent]
    assert sizes and max(sizes) < 1_472, "a session that ends by now has cost no probe"
    pair.run(seconds=0.2)
    for side in (pair.i, pair.r):
        assert side.connection.stats().datagram_bytes == 1_472


@pytest.mark.spec("CN-36")
@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_the_first_data_begin_the_search_at_once(kind: str) -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01))
    pair.run(seconds=0.1)
    sent = watch(pair.net.a_to_b)
    if kind == "stream":
        pair.send(DATA)
    else:
        pair.i.connection.send_datagram(b"hello", pair.now)
    pair.net.settle()
    assert 1_472 in map(len, sent), "with the first data, not after them"
    pair.run(seconds=0.03)
    assert pair.i.connection.stats().datagram_bytes == 1_472


def test_large_paths_are_found_up_to_what_both_sides_accept() -> None:
    config = EndpointConfig(max_udp_bytes=8_972)
    pair = EstablishedPair(config=config, config_r=EndpointConfig(max_udp_bytes=4_000))
    pair.run(seconds=20)
    assert pair.i.connection.stats().datagram_bytes == 4_000
    assert pair.r.connection.stats().datagram_bytes == 4_000


def test_a_path_that_shrinks_is_noticed_and_data_goes_on() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01))
    pair.run(seconds=2)
    assert pair.i.connection.stats().datagram_bytes == 1_472
    pair.net.set_links(LinkConfig(latency_s=0.01, mtu_bytes=1_250))
    transfer = pair.send(DATA)
    assert pair.run(seconds=60, until=lambda: transfer.is_equal)
    assert pair.i.of(ev.MtuChanged)[-1].datagram_bytes <= 1_250


@pytest.mark.spec("CN-36")
def test_a_path_that_answers_small_datagrams_only_falls_back_all_the_same() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01))
    pair.run(seconds=2)
    pair.net.set_links(LinkConfig(latency_s=0.01, mtu_bytes=1_250))
    transfer = pair.send(DATA[:3_000])
    for _ in range(40):  # a small packet every 50 ms is acknowledged: the path is not suspected
        pair.i.connection.ping(pair.now)
        pair.run(seconds=0.05)
    assert transfer.is_equal
    assert not pair.i.of(ev.PathSuspect)
    assert pair.i.connection.stats().datagram_bytes == 1_200


@pytest.mark.spec("CN-36")
def test_large_datagrams_that_are_lost_now_and_then_change_no_size() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01))
    pair.run(seconds=2)
    pair.net.set_links(LinkConfig(latency_s=0.01, loss=0.05))
    transfer = pair.send(bytes(1 << 20))
    assert pair.run(seconds=60, until=lambda: transfer.is_equal)
    assert pair.i.connection.stats().lost_packets > 20
    assert pair.i.connection.stats().datagram_bytes == 1_472


@pytest.mark.spec("CN-37")
def test_a_size_that_the_kernel_refuses_is_left_at_once() -> None:
    pair = EstablishedPair()
    pair.run(seconds=2)
    pair.i.connection.handle_mtu_exceeded(pair.i.connection.path, 1_472, pair.now)
    assert pair.i.connection.stats().datagram_bytes == 1_200
    transfer = pair.send(DATA)
    assert pair.run(seconds=20, until=lambda: transfer.is_equal)


@pytest.mark.spec("CN-37")
def test_a_probe_that_the_kernel_refuses_costs_nothing_and_the_search_goes_on() -> None:
    pair = EstablishedPair(config=EndpointConfig(max_udp_bytes=8_972))
    refused: list[int] = []

    def host_mtu(datagram: bytes) -> bytes | None:
        if len(datagram) > 1_300:
            refused.append(len(datagram))
            pair.i.connection.handle_mtu_exceeded(pair.i.connection.path, len(datagram), pair.now)
            return None
        return datagram

    pair.net.a_to_b.taps.append(host_mtu)
    pair.run(seconds=5)
    assert 1_284 < pair.i.connection.stats().datagram_bytes <= 1_300
    assert len(refused) == len(set(refused)), "no size is tried twice"
    assert [e.datagram_bytes for e in pair.i.of(ev.MtuChanged)] == sorted(
        e.datagram_bytes for e in pair.i.of(ev.MtuChanged)
    ), "the size in use was never given up"


@pytest.mark.spec("CN-37")
def test_the_endpoint_tells_the_connection_on_that_path_only() -> None:
    net = linked()
    first = net.dial()
    assert net.run_until_confirmed(first)
    net.run(seconds=2)
    assert first.stats().datagram_bytes == 1_472
    elsewhere = NetworkPath(first.path.local, Address(bytes((9, 9, 9, 9)), 1))
    net.i.endpoint.handle_mtu_exceeded(elsewhere, 1_472, net.now)
    assert first.stats().datagram_bytes == 1_472
    net.i.endpoint.handle_mtu_exceeded(first.path, 1_472, net.now)
    assert first.stats().datagram_bytes == 1_200
    net.i.endpoint.handle_mtu_exceeded(first.path, 1_200, net.now)
    assert first.stats().datagram_bytes == 1_200, "nothing smaller exists"
