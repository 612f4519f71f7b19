"""Who counts as a known peer before a datagram is opened."""

from __future__ import annotations

import pytest

from wraith.connection.routing import PACKET_BYTES_MIN
from wraith.testing.endpoints import ADDRESS_A, ADDRESS_B, LinkedEndpoints, linked, watch
from wraith.testing.rng import SeededRng
from wraith.types import Address, NetworkPath

PATH_TO_A = NetworkPath(ADDRESS_B, ADDRESS_A)
ELSEWHERE = NetworkPath(ADDRESS_B, Address(b"\xc6\x33\x64\x07", 9))
GARBAGE = memoryview(SeededRng("knows").public_bytes(1_200))


def established() -> LinkedEndpoints:
    net = linked()
    assert net.run_until_confirmed(net.dial())
    return net


@pytest.mark.spec("CN-80")
def test_a_peer_is_known_by_its_4_tuple_and_a_stranger_is_not() -> None:
    net = established()
    assert net.r.endpoint.knows(GARBAGE, PATH_TO_A)
    assert not net.r.endpoint.knows(GARBAGE, ELSEWHERE)
    assert not net.r.endpoint.knows(GARBAGE[: PACKET_BYTES_MIN - 1], ELSEWHERE)
    assert not net.r.endpoint.knows(memoryview(b""), ELSEWHERE)


@pytest.mark.spec("CN-80")
def test_a_peer_that_moved_is_known_by_its_connection_id() -> None:
    net = established()
    sent = watch(net.a_to_b)
    net.run(seconds=6.0)  # after five seconds of silence a packet shows its id [CN-41]
    net.i.endpoint.connections[0].ping(net.now)
    net.run(seconds=0.2)
    shown = [datagram for datagram in sent if net.r.endpoint.knows(memoryview(datagram), ELSEWHERE)]
    assert shown
    turned = bytes(reversed(shown[0]))
    assert not net.r.endpoint.knows(memoryview(turned), ELSEWHERE)


@pytest.mark.spec("CN-80")
def test_a_dial_and_a_handshake_are_known_while_they_last() -> None:
    net = linked()
    connection = net.dial()
    assert net.i.endpoint.knows(GARBAGE, NetworkPath(ADDRESS_A, ADDRESS_B))
    assert not net.r.endpoint.knows(GARBAGE, PATH_TO_A)
    net.run(seconds=0.03)  # one way: R has answered, I has not finished
    assert not connection.confirmed
    assert net.r.endpoint.knows(GARBAGE, PATH_TO_A)
