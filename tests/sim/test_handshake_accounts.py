"""What the front door keeps account of: bytes sent to the unproven, events told, attempts kept."""

from __future__ import annotations

import pytest

from wraith.config import Budgets, EndpointConfig
from wraith.connection.endpoint_events import ClockSkew
from wraith.connection.handshake.admission import SKEW_EVENT_S
from wraith.connection.handshake.node_record import NodeRecord
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import (
    ADDRESS_A,
    ADDRESS_B,
    LinkedEndpoints,
    endpoint_host,
    linked,
)
from wraith.types import Address, NetworkPath

STRANGER = Address(bytes((203, 0, 113, 7)), 1_000)
PATH = NetworkPath(ADDRESS_B, STRANGER)


def listening() -> LinkedEndpoints:
    clock = VirtualClock()
    i = endpoint_host(clock, "i")
    config = EndpointConfig(budgets=Budgets())
    return LinkedEndpoints(clock, i, endpoint_host(clock, "r", config=config, listening=True))


def first_flight(net: LinkedEndpoints, record: NodeRecord, *, skew_s: float = 0.0) -> list[bytes]:
    host = endpoint_host(net.clock, f"dialler {net.now} {skew_s}", skew_s=skew_s)
    host.endpoint.connect(record, net.now)
    return [bytes(t.data) for t in host.endpoint.datagrams_to_send(net.now)]


def receive(net: LinkedEndpoints, datagram: bytes) -> list[bytes]:
    """What comes back for one datagram of the stranger."""
    answers: list[bytes] = []
    tap = net.link(ADDRESS_B, STRANGER).taps
    tap.append(answers.append)
    net.r.endpoint.receive_datagrams(datagram, len(datagram), PATH, net.now)
    net.settle()
    tap.clear()
    return answers


@pytest.mark.spec("HS-24")
def test_repeats_of_an_answer_count_towards_three_times_what_came() -> None:
    net = listening()
    head, tail = first_flight(net, net.record())
    receive(net, head)
    sent = sum(map(len, receive(net, tail)))
    assert sent
    (entry,) = net.r.endpoint._admission._half_open.on_path(PATH)
    sent += sum(map(len, receive(net, tail)))
    assert entry.bytes_sent == sent, "the second answer is added to the first"
    # As after a hello so small that a third answer would be too much.
    entry.bytes_received = sent // 3 - len(tail)
    assert receive(net, tail) == []
    assert entry.bytes_sent == sent
    entry.bytes_received += sent
    assert receive(net, tail), "with more received the third repeat is due"


@pytest.mark.spec("HS-34")
def test_wrong_clocks_are_told_at_most_once_in_ten_seconds() -> None:
    net = listening()
    record = net.record()
    for _ in range(20):
        for datagram in first_flight(net, record, skew_s=3_600.0):
            receive(net, datagram)
        net.run(seconds=0.4)
    assert net.r.endpoint.counters["clock_skew"] == 20
    assert len(net.r.events(ClockSkew)) == 1
    net.run(seconds=SKEW_EVENT_S)
    for datagram in first_flight(net, record, skew_s=3_600.0):
        receive(net, datagram)
    net.run(seconds=0.1)
    assert len(net.r.events(ClockSkew)) == 2


@pytest.mark.spec("HS-23")
def test_a_completed_handshake_takes_the_other_attempts_of_its_address_with_it() -> None:
    net = linked()
    lost = iter([True, True])
    net.b_to_a.taps.append(lambda datagram: None if next(lost, False) else datagram)
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    (accepted,) = net.r.incoming
    assert accepted.path.remote == ADDRESS_A
    assert net.r.endpoint._admission.n_half_open == 0
    net.run(seconds=30)
    assert "half_open_expired" not in net.r.endpoint.counters
