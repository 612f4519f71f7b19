"""A road changes nothing of what a session is: the policy, the suite and the identities are the
same on each, and so is the error where they are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.config import EndpointConfig
from wraith.crypto.ed25519 import Identity
from wraith.errors import NotAuthorised, PeerKeyMismatch, PolicyRefused
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import ADDRESS_B, LinkedEndpoints, endpoint_host
from wraith.testing.pipes import PipeConfig
from wraith.testing.rng import SeededRng
from wraith.types import Carrier, Road, SuiteId

A, B, _, D = SuiteId
CARRIERS = [Carrier.UDP, Carrier.TCP, Carrier.QUIC]
PAIRS = [(one, other) for one in CARRIERS for other in CARRIERS if one is not other]


def network(
    *,
    config_i: EndpointConfig | None = None,
    config_r: EndpointConfig | None = None,
    accepts: bool = True,
) -> LinkedEndpoints:
    clock = VirtualClock()
    i = endpoint_host(clock, "i", config=config_i)
    r = endpoint_host(clock, "r", config=config_r, listening=True, accepts=accepts)
    net = LinkedEndpoints(clock, i, r)
    for carrier in CARRIERS[1:]:
        net.pipes.configs[carrier, ADDRESS_B] = PipeConfig()
    return net


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("suite", [A, B])
def test_the_suite_and_the_identity_are_the_same_on_each_road(
    carrier: Carrier, suite: SuiteId
) -> None:
    net = network(config_r=EndpointConfig(suites=(suite,)))
    connection = net.dial(roads=[Road(carrier, ADDRESS_B)])
    assert net.run_until_confirmed(connection)
    assert connection.path.carrier is carrier
    assert connection.security.suite is suite and connection.security.post_quantum
    assert connection.peer == net.r.endpoint.keys.identity.public
    assert net.r.incoming[0].peer == net.i.endpoint.keys.identity.public


@pytest.mark.parametrize("carrier", CARRIERS)
def test_no_road_makes_do_with_less_than_post_quantum(carrier: Carrier) -> None:
    net = network(config_i=EndpointConfig(suites=(A, B, D)), config_r=EndpointConfig(suites=(D,)))
    with pytest.raises(PolicyRefused):
        net.dial(roads=[Road(carrier, ADDRESS_B)])


@pytest.mark.parametrize("carriers", PAIRS)
def test_another_identity_ends_in_the_same_error_on_each_road(
    carriers: tuple[Carrier, Carrier],
) -> None:
    errors = []
    for carrier in carriers:
        net = network()
        record = replace(net.record(), peer=Identity.generate(SeededRng("other")).public)
        connection = net.dial(record, roads=[Road(carrier, ADDRESS_B)])
        net.run(seconds=40)
        errors.append((net.i.error_of(connection), net.r.incoming))
    (one, at_one), (other, at_other) = errors
    assert isinstance(one, PeerKeyMismatch) and isinstance(other, PeerKeyMismatch)
    assert str(one) == str(other)
    assert not at_one and not at_other


@pytest.mark.parametrize("carriers", PAIRS)
def test_a_refused_peer_hears_the_same_error_on_each_road(
    carriers: tuple[Carrier, Carrier],
) -> None:
    errors = []
    for carrier in carriers:
        net = network(accepts=False)
        connection = net.dial(roads=[Road(carrier, ADDRESS_B)])
        net.run(seconds=40)
        errors.append(net.i.error_of(connection))
    one, other = errors
    assert isinstance(one, NotAuthorised) and isinstance(other, NotAuthorised)
    assert str(one) == str(other)
