"""The handshake when datagrams are lost, doubled, late or out of order."""

from __future__ import annotations

import pytest

from wraith.abc import Kem
from wraith.connection.events import DatagramReceived, StreamReadable
from wraith.crypto.mlkem import MlKem768
from wraith.errors import HandshakeTimeout
from wraith.testing.endpoints import ADDRESS_B, LinkedEndpoints, linked, watch
from wraith.testing.netem import Link, LinkConfig
from wraith.testing.rng import HashKem
from wraith.types import Address, StreamId


def lose(link: Link, *numbers: int) -> None:
    """Loses the datagrams with these numbers, counted from 0."""
    seen = iter(range(10**9))
    link.taps.append(lambda datagram: None if next(seen) in numbers else datagram)


@pytest.mark.parametrize("kem", [HashKem(), MlKem768()], ids=["hash", "ml-kem"])
@pytest.mark.spec("HS-3")
def test_one_round_trip_and_both_know_each_other(kem: Kem) -> None:
    net = linked(kem=kem)
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    assert net.now == pytest.approx(0.08, abs=0.001)
    (accepted,) = net.r.incoming
    assert connection.peer == net.r.endpoint.keys.identity.public
    assert accepted.peer == net.i.endpoint.keys.identity.public
    assert connection.export_key("t", 32) == accepted.export_key("t", 32)
    for security in (connection.security, accepted.security):
        assert security.post_quantum and security.key_exchange == "X25519+ML-KEM-768"


@pytest.mark.spec("HS-10")
def test_no_two_handshakes_look_alike() -> None:
    sizes: set[tuple[int, ...]] = set()
    starts: set[bytes] = set()
    for seed in range(20):
        net = linked(seed=seed)
        sent = watch(net.a_to_b, net.b_to_a)
        assert net.run_until_confirmed(net.dial())
        handshake = sent[:5]
        assert all(600 <= len(datagram) <= 1200 for datagram in handshake)
        sizes.add(tuple(map(len, handshake)))
        starts |= {datagram[:4] for datagram in handshake}
    assert len(sizes) == 20
    assert len(starts) == 100


@pytest.mark.parametrize("lost", [0, 1], ids=["HELLO/0", "HELLO/1"])
@pytest.mark.spec("HS-51")
def test_lost_hello_part_costs_one_attempt(lost: int) -> None:
    net = linked()
    lose(net.a_to_b, lost)
    assert net.run_until_confirmed(net.dial())
    assert 0.75 < net.now < 1.4
    assert len(net.r.incoming) == 1


@pytest.mark.parametrize("lost", [0, 1], ids=["RESPONSE/0", "RESPONSE/1"])
@pytest.mark.spec("HS-25")
def test_lost_response_part_is_asked_for_again(lost: int) -> None:
    net = linked()
    sent = watch(net.b_to_a)
    lose(net.b_to_a, lost)
    assert net.run_until_confirmed(net.dial())
    # Two round trips after the part that came: not a whole new attempt.
    assert net.now < 0.3
    assert len(set(sent[:4])) == 4, "no datagram may be seen twice on the wire"


@pytest.mark.spec("HS-52")
def test_both_response_parts_lost_costs_one_attempt() -> None:
    net = linked()
    lose(net.b_to_a, 0, 1)
    assert net.run_until_confirmed(net.dial())
    # The next hello waits its turn: until 250 ms have passed it could be data before FINISH.
    assert 0.75 < net.now < 1.65


@pytest.mark.spec("HS-14")
@pytest.mark.spec("HS-53")
def test_lost_finish_is_sent_again_with_other_bytes() -> None:
    net = linked()
    sent = watch(net.a_to_b)
    lose(net.a_to_b, 2)
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    assert net.now < 0.4
    assert len(net.r.incoming) == 1
    assert len(set(sent)) == len(sent)


@pytest.mark.spec("HS-53")
def test_finish_is_sent_at_most_seven_times_and_silence_ends_the_connect() -> None:
    net = linked()
    sent = watch(net.a_to_b)
    net.a_to_b.taps.append(lambda datagram: datagram if len(sent) <= 2 else None)
    connection = net.dial()
    assert not net.run_until_confirmed(connection)
    assert isinstance(net.i.error_of(connection), HandshakeTimeout)
    assert net.now == pytest.approx(10.0, abs=0.01)
    finishes = [d for d in sent[2:] if 600 <= len(d) <= 1200]
    assert len(finishes) <= 7 + 1  # and perhaps a padded probe of the connection


@pytest.mark.spec("HS-28")
def test_data_that_overtakes_finish_waits_for_it() -> None:
    net = linked()
    held: list[bytes] = []
    numbers = iter(range(10**9))

    def hold_finish(datagram: bytes) -> bytes | None:
        if next(numbers) == 2:
            held.append(datagram)
            return None
        return datagram

    net.a_to_b.taps.append(hold_finish)
    connection = net.dial()
    net.run(seconds=5, until=lambda: bool(held))
    sid = connection.open_stream(now=net.now)
    connection.stream_write(sid, b"early", fin=True, now=net.now)
    net.run(seconds=0.03)
    assert net.r.incoming == []
    net.a_to_b.send(held[0], net.now)
    assert net.run(seconds=0.08, until=lambda: bool(net.r.events(StreamReadable)))
    (accepted,) = net.r.incoming
    assert accepted.stream_read(sid, 100, net.now) == b"early"
    assert net.r.endpoint.counters.get("unproven", 0) == 0


@pytest.mark.spec("HS-29")
def test_duplicate_finish_is_answered_by_one_packet_and_makes_no_second_connection() -> None:
    net = linked()
    sent = watch(net.a_to_b)
    assert net.run_until_confirmed(net.dial())
    net.run(seconds=2.0)
    before = net.b.n_datagrams_sent
    net.inject(sent[2], net.a.address, net.b.address)
    assert net.b.n_datagrams_sent == before + 1
    net.run(seconds=1.0)
    assert len(net.r.incoming) == 1


@pytest.mark.spec("HS-29")
def test_finish_again_after_ten_seconds_is_garbage() -> None:
    net = linked()
    sent = watch(net.a_to_b)
    assert net.run_until_confirmed(net.dial())
    net.run(seconds=10.5)
    before = net.b.n_datagrams_sent
    net.inject(sent[2], net.a.address, net.b.address)
    assert net.b.n_datagrams_sent == before


def test_everything_twice() -> None:
    net = linked(link=LinkConfig(latency_s=0.02, duplicate=1.0))
    assert net.run_until_confirmed(net.dial())
    net.run(seconds=3.0)
    assert len(net.r.incoming) == 1


def test_hello_tail_before_head() -> None:
    net = linked()
    held: list[bytes] = []
    numbers = iter(range(10**9))

    def swap(datagram: bytes) -> bytes | None:
        if next(numbers) == 0:
            held.append(datagram)
            return None
        return datagram

    net.a_to_b.taps.append(swap)
    connection = net.dial()
    net.run(seconds=0.05)
    net.a_to_b.send(held[0], net.now)
    assert net.run_until_confirmed(connection)
    assert net.now < 0.2


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.spec("HS-54")
def test_bad_link_ends_confirmed_or_plainly_failed(seed: int) -> None:
    net = linked(
        seed=seed,
        link=LinkConfig(latency_s=0.03, jitter_s=0.05, loss=0.25, duplicate=0.1, reorder=0.3),
    )
    connection = net.dial()
    confirmed = net.run_until_confirmed(connection)
    assert confirmed or isinstance(net.i.error_of(connection), HandshakeTimeout)
    assert len(net.r.incoming) <= 1 or not confirmed or _agree(net, connection.export_key("x", 8))


def _agree(net: LinkedEndpoints, exported: bytes) -> bool:
    """One of the responder's connections is the initiator's."""
    return any(not c.is_drained and c.export_key("x", 8) == exported for c in net.r.incoming)


def test_nobody_there_ends_after_ten_seconds_with_a_hint() -> None:
    net = linked()
    net.set_links(LinkConfig(loss=1.0))
    connection = net.dial()
    assert not net.run_until_confirmed(connection)
    error = net.i.error_of(connection)
    assert isinstance(error, HandshakeTimeout) and "clock" in error.hint
    assert net.now == pytest.approx(10.0, abs=0.01)
    assert net.i.endpoint.connections == ()


@pytest.mark.spec("HS-51")
def test_attempts_come_at_about_0_1_3_and_7_seconds() -> None:
    net = linked()
    times: list[float] = []
    net.a_to_b.taps.append(lambda datagram: times.append(net.now))
    net.dial()
    net.run(seconds=12)
    starts = times[::2]
    assert len(starts) == 4
    for start, low, high in zip(starts, (0, 0.75, 2.25, 5.25), (0, 1.25, 3.75, 8.75), strict=True):
        assert low <= start <= high
    assert [round(t, 3) for t in starts] != [0.0, 1.0, 3.0, 7.0]


@pytest.mark.spec("HS-50")
def test_second_address_is_tried_after_250_ms_and_wins() -> None:
    net = linked()
    dead = Address(bytes((192, 0, 2, 99)), 1)
    connection = net.dial(net.record(dead, ADDRESS_B))
    assert net.run_until_confirmed(connection)
    assert net.now == pytest.approx(0.25 + 0.08, abs=0.01)
    assert connection.path.remote == ADDRESS_B
    before = net.link(net.a.address, dead).n_sent
    net.run(seconds=9.0)
    assert net.link(net.a.address, dead).n_sent == before, "the loser must stop"


def test_messages_cross_right_after_the_handshake() -> None:
    net = linked()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    assert connection.send_datagram(b"hello", net.now)
    assert net.run(seconds=1, until=lambda: bool(net.r.events(DatagramReceived)))
    sid = net.r.incoming[0].open_stream(now=net.now)
    net.r.incoming[0].stream_write(sid, b"hi", fin=True, now=net.now)
    assert net.run(seconds=1, until=lambda: bool(net.i.events(StreamReadable)))
    assert connection.stream_read(StreamId(sid), 10, net.now) == b"hi"
