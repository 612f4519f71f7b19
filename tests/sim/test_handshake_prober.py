"""Twelve kinds of prober against a listening endpoint: not one byte comes back, nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.x25519 import X25519Key
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import (
    ADDRESS_A,
    ADDRESS_B,
    EndpointHost,
    LinkedEndpoints,
    endpoint_host,
    watch,
)
from wraith.testing.rng import SeededRng
from wraith.types import Address

PROBER = Address(bytes((203, 0, 113, 5)), 9)
RNG = SeededRng("prober")


def network() -> LinkedEndpoints:
    clock = VirtualClock()
    access = AccessKey.generate(SeededRng("ak"), with_psk=True)
    i = endpoint_host(clock, "i")
    r = endpoint_host(clock, "r", access=(access,), listening=True)
    return LinkedEndpoints(clock, i, r)


def hello_to(net: LinkedEndpoints, record: NodeRecord) -> list[bytes]:
    """The first flight of a dial that never arrives."""
    sent: list[bytes] = []
    host: EndpointHost = endpoint_host(net.clock, RNG.secret_bytes(8))
    connection = host.endpoint.connect(record, net.now)
    for transmit in host.endpoint.datagrams_to_send(net.now):
        sent.append(bytes(transmit.data))
    assert len(sent) == 2 and not connection.is_drained
    return sent


def random_lengths(net: LinkedEndpoints) -> Iterator[bytes]:
    for n in range(0, 2_000, 7):
        yield RNG.public_bytes(n)


def byte_at_a_time(net: LinkedEndpoints) -> Iterator[bytes]:
    for byte in hello_to(net, net.record())[0][:200]:
        yield bytes((byte,))


def recorded_head_only(net: LinkedEndpoints) -> Iterator[bytes]:
    head = _complete_and_record(net)[0]
    yield from [head] * 3


def recorded_flight(net: LinkedEndpoints) -> Iterator[bytes]:
    yield from _complete_and_record(net) * 2


def recorded_in_another_order(net: LinkedEndpoints) -> Iterator[bytes]:
    yield from reversed(_complete_and_record(net))


def truncated(net: LinkedEndpoints) -> Iterator[bytes]:
    head, tail = hello_to(net, net.record())
    for n in range(0, len(head), 23):
        yield head[:n]
        yield tail[:n]


def bit_flipped(net: LinkedEndpoints) -> Iterator[bytes]:
    head, tail = hello_to(net, net.record())
    for at in range(0, len(head), 29):
        flipped = bytearray(head)
        flipped[at] ^= 0x10
        yield bytes(flipped)
        yield tail


def tail_of_another_hello(net: LinkedEndpoints) -> Iterator[bytes]:
    head, _ = hello_to(net, net.record())
    _, tail = hello_to(net, net.record())
    yield from (head, tail)


def right_key_wrong_psk(net: LinkedEndpoints) -> Iterator[bytes]:
    for psk in (None, RNG.secret_bytes(32)):
        yield from hello_to(net, replace(net.record(), access_psk=psk))


def wrong_key(net: LinkedEndpoints) -> Iterator[bytes]:
    ak = X25519Key.generate(RNG).public
    yield from hello_to(net, replace(net.record(), access_key=ak))


def other_protocols(net: LinkedEndpoints) -> Iterator[bytes]:
    request = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
    yield request
    yield request.ljust(700, b" ")
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + RNG.public_bytes(1_000)
    yield b"\xc0\x00\x00\x00\x01\x08" + RNG.public_bytes(1_194)
    yield b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01"
    yield RNG.public_bytes(10)


def connection_id_scan(net: LinkedEndpoints) -> Iterator[bytes]:
    assert net.run_until_confirmed(net.dial())
    for n in range(300):
        yield RNG.public_bytes(33 + n)


PROBES: list[Callable[[LinkedEndpoints], Iterator[bytes]]] = [
    random_lengths,
    byte_at_a_time,
    recorded_head_only,
    recorded_flight,
    recorded_in_another_order,
    truncated,
    bit_flipped,
    tail_of_another_hello,
    right_key_wrong_psk,
    wrong_key,
    other_protocols,
    connection_id_scan,
]


def _complete_and_record(net: LinkedEndpoints) -> list[bytes]:
    sent = watch(net.a_to_b)
    assert net.run_until_confirmed(net.dial())
    return sent[:2]


@pytest.mark.spec("HS-35")
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_probe_gets_silence(probe: Callable[[LinkedEndpoints], Iterator[bytes]]) -> None:
    net = network()
    datagrams = list(probe(net))
    net.run(seconds=1.0)
    told = len(net.r.told)
    for datagram in datagrams:
        net.inject(datagram, PROBER, ADDRESS_B)
    net.run(seconds=20.0)
    assert net.link(ADDRESS_B, PROBER).n_sent == 0
    assert net.r.told[told:] == [], "a stranger makes no events"
    assert net.r.endpoint._admission.n_half_open == 0


@pytest.mark.spec("HS-35")
@pytest.mark.parametrize("probe", [random_lengths, bit_flipped, other_protocols])
def test_an_endpoint_that_does_not_listen_is_as_silent(
    probe: Callable[[LinkedEndpoints], Iterator[bytes]],
) -> None:
    net = network()
    for datagram in list(probe(net)):
        net.inject(datagram, PROBER, ADDRESS_A)
    net.run(seconds=1.0)
    assert net.link(ADDRESS_A, PROBER).n_sent == 0


@pytest.mark.spec("HS-35")
def test_probes_from_the_address_of_a_live_connection_do_not_hurt_it() -> None:
    net = network()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    accepted = net.r.incoming[0]
    for datagram in random_lengths(net):
        net.inject(datagram, ADDRESS_A, ADDRESS_B)
    assert connection.send_datagram(b"still here", net.now)
    net.run(seconds=2.0)
    assert not accepted.is_drained
    assert accepted.stats().received_packets > 0


@pytest.mark.spec("HS-13")
def test_forged_answers_do_not_end_a_connect() -> None:
    net = network()
    connection = net.dial()
    for n in (16, 600, 900, 1_200):
        for _ in range(20):
            net.inject(RNG.public_bytes(n), ADDRESS_B, ADDRESS_A)
    assert net.run_until_confirmed(connection)
