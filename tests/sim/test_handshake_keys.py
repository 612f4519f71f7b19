"""Several access keys at one endpoint: whose peer somebody is, and that the keys do not disturb
each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.config import Budgets, EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.endpoint_events import ClockSkew
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.x25519 import X25519Key
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import ADDRESS_B, LinkedEndpoints, endpoint_host
from wraith.testing.netem import LinkConfig
from wraith.testing.rng import SeededRng
from wraith.types import Address, NetworkPath, SuiteId

RNG = SeededRng("handshake keys")
KEYS = tuple(AccessKey.generate(RNG, with_psk=True) for _ in range(4))
ELSEWHERE = Address(bytes((198, 51, 100, 1)), 4_003)
TIGHT = Budgets(
    preauth_rate=10_000,
    preauth_burst=10_000,
    hello_full_rate=20,
    hello_full_burst=20,
    half_open_max=40,
    cookie_half_open=40,
)


def network(
    *keys: AccessKey, budgets: Budgets | None = None, suites: tuple[SuiteId, ...] = ()
) -> LinkedEndpoints:
    """``r`` listens with ``keys``; its suites are ``suites`` if there are any."""
    clock = VirtualClock()
    config = EndpointConfig(budgets=budgets or Budgets(), suites=suites or (SuiteId.A, SuiteId.B))
    r = endpoint_host(clock, "r", config=config, access=keys, listening=True)
    return LinkedEndpoints(clock, endpoint_host(clock, "i"), r)


def record(net: LinkedEndpoints, key: AccessKey) -> NodeRecord:
    return net.r.endpoint.node_record((ADDRESS_B,), key=key)


def accepted(net: LinkedEndpoints, key: AccessKey) -> Connection:
    """The responder's half of a connection that ``i`` dials now with ``key``."""
    before = len(net.r.incoming)
    assert net.run_until_confirmed(net.dial(record(net, key)))
    (connection,) = net.r.incoming[before:]
    return connection


def from_elsewhere(net: LinkedEndpoints, key: AccessKey, n: int) -> None:
    """A complete hello of ``key`` from a prefix of its own."""
    host = endpoint_host(net.clock, f"flooder {n}")
    host.endpoint.connect(record(net, key), net.now)
    path = NetworkPath(ADDRESS_B, Address(bytes((20, n >> 8 & 255, n & 255, 9)), 1_000))
    for transmit in host.endpoint.datagrams_to_send(net.now):
        net.r.endpoint.receive_datagrams(transmit.data, len(transmit.data), path, net.now)


@pytest.mark.spec("HS-82")
def test_a_connection_knows_which_key_its_hello_proved() -> None:
    net = network(*KEYS)
    for key in KEYS:
        assert accepted(net, key).access_key == key.ak.public
    assert [c.access_key for c in net.i.endpoint.connections] == [None] * 4


@pytest.mark.spec("HS-82")
def test_also_after_a_cookie() -> None:
    net = network(*KEYS)
    for door in net.r.endpoint._admission._doors:
        door.hello_full.cookie_mode = True
    for key in KEYS:
        assert accepted(net, key).access_key == key.ak.public
    assert net.r.endpoint.counters["cookie_sent"] == 4


@pytest.mark.spec("HS-82")
def test_also_after_a_refused_suite() -> None:
    net = network(*KEYS, suites=(SuiteId.B,))
    wanted = replace(record(net, KEYS[2]), suites=(SuiteId.A, SuiteId.B))
    assert net.run_until_confirmed(net.dial(wanted))
    assert net.r.endpoint.counters["unsupported"] == 1
    assert net.r.incoming[0].access_key == KEYS[2].ak.public


@pytest.mark.spec("HS-33")
def test_a_lost_record_ends_the_attempts_of_its_own_key_alone() -> None:
    lost, kept = (AccessKey(X25519Key.generate(RNG), None, persistent=True) for _ in range(2))
    net = network(lost, kept)
    for key in (lost, kept):
        net.r.endpoint.load_replay_records(key.ak.public, [], net.now)
    stored: list[bytes] = []

    def service(now: float) -> bool:
        records = net.r.endpoint.records_to_store()
        for public, _ in records:
            if public == lost.ak.public:
                net.r.endpoint.records_lost(public)
            else:
                stored.append(public)
        return net.r.service(now) or bool(records)

    net.b.service = service
    other = endpoint_host(net.clock, "other")
    net.add_host(other.endpoint, ELSEWHERE, other.service)
    first = net.dial(record(net, kept))
    net.settle()  # its hello is half open when the other one's arrives
    second = other.endpoint.connect(record(net, lost), net.now)
    net.run(seconds=0.5)
    assert net.i.is_confirmed(first) and not other.is_confirmed(second)
    net.run(seconds=12)
    assert not other.is_confirmed(second)
    assert [c.access_key for c in net.r.incoming] == [kept.ak.public]
    assert net.r.endpoint.counters["attempt_ended"] >= 3
    assert set(stored) == {kept.ak.public}


@pytest.mark.spec("HS-22")
def test_the_peers_of_one_key_do_not_use_up_the_answers_for_another() -> None:
    net = network(*KEYS[:2], budgets=TIGHT)
    for n in range(60):
        from_elsewhere(net, KEYS[0], n)
    assert net.r.endpoint.counters["hello_full"] >= 40, "nothing is left for the first key"
    connection = net.dial(record(net, KEYS[1]))
    net.run(seconds=0.5)
    assert net.i.is_confirmed(connection)


@pytest.mark.spec("HS-23")
def test_the_half_open_attempts_of_one_key_do_not_push_out_those_of_another() -> None:
    net = network(*KEYS[:2], budgets=replace(TIGHT, hello_full_rate=1e6, hello_full_burst=10**6))
    net.set_links(LinkConfig(latency_s=0.2))
    connection = net.dial(record(net, KEYS[1]))
    for n in range(300):  # from before the hello arrives until after FINISH has
        from_elsewhere(net, KEYS[0], n)
        net.run(seconds=0.003)
    assert net.r.endpoint.counters["half_open_replaced"] >= 200
    assert net.i.is_confirmed(connection)


@pytest.mark.spec("HS-23")
def test_two_keys_are_dialled_from_one_address_at_once() -> None:
    net = network(*KEYS)
    connections = [net.dial(record(net, key)) for key in KEYS]
    net.run(seconds=0.5)
    assert all(map(net.i.is_confirmed, connections)), "none waits for its second attempt"
    assert {c.access_key for c in net.r.incoming} == {key.ak.public for key in KEYS}


@pytest.mark.spec("HS-34")
def test_a_clock_that_is_off_is_told_for_each_key() -> None:
    net = network(*KEYS[:2])
    net.i.calendar.skew_s = 3_600
    for key in KEYS[:2]:
        net.dial(record(net, key))
    net.run(seconds=5)
    told = [told.event for told in net.r.events(ClockSkew)]
    assert [e.access_key for e in told if isinstance(e, ClockSkew)] == [
        key.ak.public for key in KEYS[:2]
    ]
