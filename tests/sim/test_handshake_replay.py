"""Recordings: right away, later, after a restart with and without the file. Never an answer."""

from __future__ import annotations

import pytest

from wraith.connection.handshake.endpoint_keys import AccessKey, EndpointKeys
from wraith.connection.handshake.replay_cache import RECORD_BYTES
from wraith.crypto.elligator2 import DirtyPublicKey, decode, encode
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import (
    ADDRESS_A,
    ADDRESS_B,
    EndpointHost,
    LinkedEndpoints,
    endpoint_host,
    linked,
    watch,
)
from wraith.testing.netem import LinkConfig
from wraith.testing.rng import SeededRng
from wraith.types import Address

STRANGER = Address(bytes((198, 51, 100, 7)), 777)


def recorded(net: LinkedEndpoints) -> list[bytes]:
    """HELLO/0, HELLO/1 and FINISH of a handshake that completes."""
    sent = watch(net.a_to_b)
    assert net.run_until_confirmed(net.dial())
    net.run(seconds=0.2)
    return sent[:3]


def replay(net: LinkedEndpoints, datagrams: list[bytes], source: Address) -> int:
    """How many datagrams the responder sends back."""
    before = net.link(ADDRESS_B, source).n_sent
    for datagram in datagrams:
        net.inject(datagram, source, ADDRESS_B)
    net.run(seconds=0.4)
    return net.link(ADDRESS_B, source).n_sent - before


@pytest.mark.spec("HS-30")
@pytest.mark.parametrize("after_s", [0.0, 30.0, 59.0, 100.0, 250.0])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_recording_is_never_answered(after_s: float, n: int) -> None:
    net = linked()
    datagrams = recorded(net)
    net.run(seconds=after_s)
    assert replay(net, datagrams[:n], STRANGER) == 0
    assert len(net.r.incoming) == 1


@pytest.mark.spec("HS-30")
def test_a_recording_from_a_clock_that_is_ahead_stays_dead_for_120_s() -> None:
    clock = VirtualClock()
    i = endpoint_host(clock, "i", skew_s=58.0)
    r = endpoint_host(clock, "r", listening=True)
    net = LinkedEndpoints(clock, i, r)
    datagrams = recorded(net)
    for _ in range(12):
        net.run(seconds=10)
        assert replay(net, datagrams, STRANGER) == 0


@pytest.mark.spec("HS-30")
def test_another_representative_of_the_same_ephemeral_is_the_same_hello() -> None:
    net = linked()
    hello = recorded(net)[0]
    other = encode(DirtyPublicKey(decode(hello[:32])), 0xC1)
    assert other is not None and other != hello[:32]
    assert replay(net, [other + hello[32:]], STRANGER) == 0
    assert net.r.endpoint.counters["replay"] >= 1


class Restart:
    """A responder that dies and comes back with the same keys."""

    def __init__(self, *, persistent: bool = True) -> None:
        self.clock = VirtualClock()
        self.clock.advance(1_000.0)
        rng = SeededRng("restart")
        self.keys = EndpointKeys.generate(rng, listening=False)
        self.access = AccessKey(AccessKey.generate(rng).ak, persistent=persistent)
        self.i = endpoint_host(self.clock, "i")
        self.n = 0

    def responder(self, records: list[bytes] | None) -> EndpointHost:
        self.n += 1
        keys = EndpointKeys(self.keys.identity, self.keys.static, (self.access,))
        host = endpoint_host(self.clock, f"r{self.n}", keys=keys, listening=True)
        if records is not None:
            host.endpoint.load_replay_records(self.access.ak.public, records, self.clock.now)
        return host


@pytest.mark.spec("HS-33")
def test_records_are_handed_out_before_the_answer_leaves() -> None:
    world = Restart()
    host = world.responder([])
    net = LinkedEndpoints(world.clock, world.i, host)
    order: list[str] = []
    answers = watch(net.b_to_a)
    service = host.service

    def watched(now: float) -> bool:
        before = sum(map(len, host.stored.values()))
        busy = service(now)
        if sum(map(len, host.stored.values())) > before:
            order.append(f"stored before {len(answers)} answers")
        return busy

    net.b.service = watched
    assert net.run_until_confirmed(net.dial(net.record()))
    assert order[0] == "stored before 0 answers"
    assert answers
    (records,) = host.stored.values()
    assert [len(record) for record in records] == [RECORD_BYTES]


@pytest.mark.spec("HS-33")
def test_no_answer_leaves_while_nobody_stores() -> None:
    world = Restart()
    host = world.responder([])
    net = LinkedEndpoints(world.clock, world.i, host)
    net.b.service = None
    net.dial(net.record())
    net.run(seconds=1.5)
    assert net.b.n_datagrams_sent == 0
    assert host.endpoint.records_to_store()
    net.settle()
    assert net.b.n_datagrams_sent > 0


def test_a_key_of_this_process_needs_no_records() -> None:
    net = linked()
    recorded(net)
    assert net.r.stored == {}


@pytest.mark.spec("HS-32")
@pytest.mark.parametrize("file", ["kept", "missing"])
def test_restart(file: str) -> None:
    world = Restart()
    first = world.responder([])
    net = LinkedEndpoints(world.clock, world.i, first)
    datagrams = recorded(net)
    assert datagrams
    net.remove_host(ADDRESS_B)
    records = first.stored[world.access.ak.public]
    second = world.responder(records if file == "kept" else None)
    net.b = net.add_host(second.endpoint, ADDRESS_B, second.service)
    net.r = second
    assert replay(net, datagrams, STRANGER) == 0
    # An honest peer: at once where the file was kept, after the refusal window where it was not.
    connection = net.dial(net.record())
    assert net.run_until_confirmed(connection) is (file == "kept")
    net.run(seconds=70)
    assert net.run_until_confirmed(net.dial(net.record()))
    assert replay(net, datagrams, STRANGER) == 0


@pytest.mark.spec("HS-32")
def test_a_fresh_key_refuses_nobody() -> None:
    net = linked()
    assert net.run_until_confirmed(net.dial())


@pytest.mark.spec("HS-72")
@pytest.mark.parametrize("away_s", [0.0, 10.0, 50.0])
def test_a_key_that_comes_back_remembers_what_it_has_answered(away_s: float) -> None:
    net = linked()
    key = net.r.endpoint.keys.access[0]
    datagrams = recorded(net)
    net.r.endpoint.remove_access_key(key.ak.public)
    net.run(seconds=away_s)
    net.r.endpoint.add_access_key(key, net.now)
    assert replay(net, datagrams, STRANGER) == 0
    assert len(net.r.incoming) == 1
    assert net.run_until_confirmed(net.dial())


@pytest.mark.spec("HS-72")
@pytest.mark.parametrize("n_others", [0, 20])
def test_a_key_that_comes_back_after_long_answers_no_recording_under_a_clock_set_back(
    n_others: int,
) -> None:
    net = linked()
    endpoint = net.r.endpoint
    key = endpoint.keys.access[0]
    datagrams = recorded(net)
    endpoint.remove_access_key(key.ak.public)
    rng = SeededRng("others")
    for _ in range(n_others):
        other = AccessKey.generate(rng)
        endpoint.add_access_key(other, net.now)
        endpoint.remove_access_key(other.ak.public)
    net.run(seconds=300)
    net.r.calendar.skew_s = -300.0
    endpoint.add_access_key(key, net.now)
    assert replay(net, datagrams, STRANGER) == 0
    net.r.calendar.skew_s = 0.0
    assert net.run_until_confirmed(net.dial())


@pytest.mark.spec("HS-52")
def test_every_attempt_has_its_own_ephemeral() -> None:
    net = linked()
    sent = watch(net.a_to_b)
    net.set_links(LinkConfig(loss=1.0))
    net.dial()
    net.run(seconds=12, until=lambda: len(sent) >= 8)
    heads = {decode(datagram[:32]) for datagram in sent[::2]}
    assert len(heads) == 4
    assert ADDRESS_A in net.hosts
