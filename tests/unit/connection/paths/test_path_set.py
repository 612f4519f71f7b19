"""The open paths of a session: what a new one begins with, and what a move takes along."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection.paths.open_path import UDP_IPV4, UDP_IPV6
from wraith.connection.paths.path_set import PathSet
from wraith.testing.one_path import one_path
from wraith.types import Address, NetworkPath

HERE = Address(bytes(4), 1)
FIRST = NetworkPath(HERE, Address(bytes([192, 0, 2, 1]), 1))
OTHER_PORT = NetworkPath(HERE, Address(bytes([192, 0, 2, 1]), 2))
OTHER_HOST = NetworkPath(HERE, Address(bytes([192, 0, 2, 9]), 1))
IPV6 = NetworkPath(Address(bytes(16), 1), Address(bytes(15) + b"\1", 1))


def paths(config: EndpointConfig | None = None) -> PathSet:
    return PathSet(
        FIRST,
        config=config or EndpointConfig(),
        max_udp_bytes=65_507,
        max_ack_delay_s=0.025,
        own_ack_delay_s=0.025,
        rtt_sample_s=0.04,
        now=0.0,
    )


@pytest.mark.spec("CN-32")
def test_a_move_to_another_host_begins_a_path_that_knows_the_datagram_size_alone() -> None:
    found = paths()
    first = found.main
    first.mtu.current = 1_400
    first.controller.window, first.bytes_in_flight, first.pto_count = 500_000, 9_000, 2
    first.is_suspect, first.n_probes = True, 2
    first.set_pace()
    rate = first.pacer.rate
    new = found.move(first, OTHER_HOST, keeps_estimates=False, now=5.0)
    assert new is found.main
    assert new is not first and found.open == [new] and new.network == OTHER_HOST
    assert (new.mtu.current, new.mtu.next_time) == (1_400, 5.0)
    assert new.rtt.latest_rtt == 0 and new.rtt.srtt == EndpointConfig().initial_rtt_s
    assert new.controller.window < 20_000
    assert (new.bytes_in_flight, new.pto_count, new.n_probes) == (0, 0, 0)
    assert not new.is_suspect
    assert new.pacer.rate < rate / 10
    assert first.network == FIRST and first.bytes_in_flight == 9_000


@pytest.mark.spec("CN-32")
def test_a_move_of_the_port_is_the_same_path_under_another_address() -> None:
    found = paths()
    first, window = found.main, found.main.controller.window
    assert found.move(first, OTHER_PORT, keeps_estimates=True, now=5.0) is first
    assert found.main is first and found.open == [first]
    assert first.network == OTHER_PORT
    assert (first.controller.window, first.rtt.srtt) == (window, 0.04)


def test_traits_follow_the_address_and_bound_the_search() -> None:
    found = paths(EndpointConfig(max_udp_bytes=9_000))
    assert found.main.traits is UDP_IPV4
    assert found.main.mtu.due(1.0) == 1_472, "what Ethernet carries beside IPv4 and UDP"
    found.move(found.main, IPV6, keeps_estimates=False, now=2.0)
    assert found.main.traits is UDP_IPV6
    assert found.main.mtu.due(2.0) == 1_452


@pytest.mark.spec("RC-39")
def test_what_waits_for_any_path_waits_for_the_slowest() -> None:
    found = paths()
    slow = one_path(found.main.controller, initial_rtt_s=2.0)
    for order in ([found.main, slow], [slow, found.main]):
        found.open[:] = order
        assert found.slowest_pto_s() == slow.rtt.pto_s() > found.main.rtt.pto_s()


def test_the_next_time_is_that_of_the_path_that_is_overdue_first() -> None:
    found = paths()
    other = one_path(found.main.controller, initial_rtt_s=0.01)
    found.open.append(other)
    assert found.next_time() is None
    found.main.on_sent(1, 1_200, 1_200, 1.0)
    assert found.next_time() == found.main.timer()
    other.on_sent(1, 1_200, 1_200, 1.0)
    assert found.next_time() == other.timer()
