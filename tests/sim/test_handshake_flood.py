"""Floods: garbage from everywhere, proven hellos from spoofed sources. Everything stays bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from wraith.config import Budgets, EndpointConfig
from wraith.connection.events import DatagramReceived
from wraith.connection.handshake.node_record import NodeRecord
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import (
    ADDRESS_A,
    ADDRESS_B,
    LinkedEndpoints,
    endpoint_host,
)
from wraith.testing.netem import LinkConfig
from wraith.testing.rng import SeededRng
from wraith.types import Address, NetworkPath

RNG = SeededRng("flood")


def source(n: int) -> Address:
    """A different /24 for each ``n``."""
    return Address(bytes((20 + (n >> 16 & 63), n >> 8 & 255, n & 255, 9)), 1_000)


def network(budgets: Budgets, *, link: LinkConfig | None = None) -> LinkedEndpoints:
    clock = VirtualClock()
    config = EndpointConfig(budgets=budgets)
    i = endpoint_host(clock, "i")
    r = endpoint_host(clock, "r", config=config, listening=True)
    return LinkedEndpoints(clock, i, r, link=link)


def proven_hello(net: LinkedEndpoints, record: NodeRecord, n: int) -> list[bytes]:
    """A first flight by someone who knows the access key."""
    host = endpoint_host(net.clock, f"flooder {n}")
    host.endpoint.connect(record, net.now)
    return [bytes(t.data) for t in host.endpoint.datagrams_to_send(net.now)]


def ask_for_cookies(net: LinkedEndpoints, on: bool) -> None:
    for door in net.r.endpoint._admission._doors:
        door.hello_full.cookie_mode = on


def receive(net: LinkedEndpoints, datagram: bytes, sender: Address) -> None:
    path = NetworkPath(ADDRESS_B, sender)
    net.r.endpoint.receive_datagrams(datagram, len(datagram), path, net.now)


def flood_prefix_of_i(net: LinkedEndpoints, *, seconds: float) -> None:
    """1.4 Mbit/s of garbage in the name of the dialler's neighbours."""
    garbage, rate = RNG.public_bytes(600), 300
    for n in range(int(seconds * rate)):
        neighbour = Address(bytes((*ADDRESS_A.ip[:3], 10 + n % 200)), 1_000)
        receive(net, garbage, neighbour)
        net.run(seconds=1 / rate)


class TestGarbage:
    budgets = Budgets(preauth_rate=40, preauth_burst=40, prefix_rate=20, prefix_burst=20)

    @pytest.mark.spec("HS-20")
    def test_work_is_bounded_by_the_budget_and_memory_too(self) -> None:
        net = network(self.budgets)
        garbage = [RNG.public_bytes(600 + n % 601) for n in range(50)]
        for n in range(5_000):
            receive(net, garbage[n % 50], source(n))
        counters = net.r.endpoint.counters
        assert counters["unproven"] <= 40
        assert counters["budget"] == 5_000 - counters["unproven"]
        admission = net.r.endpoint._admission
        assert admission.n_half_open == 0
        assert not admission.cookie_mode
        assert admission.n_remembered < 5_000 + 1_024 + 256
        net.settle()
        assert net.b.n_datagrams_sent == 0

    @pytest.mark.spec("HS-21")
    def test_a_prefix_that_completed_still_gets_in(self) -> None:
        net = network(self.budgets)
        assert net.run_until_confirmed(net.dial())
        garbage = RNG.public_bytes(900)
        for n in range(2_000):
            receive(net, garbage, source(n))
        assert net.run_until_confirmed(net.dial())
        assert net.now < 2.0

    @pytest.mark.spec("HS-80")
    def test_a_known_address_gets_in_while_its_own_prefix_is_flooded(self) -> None:
        net = network(Budgets())
        assert net.run_until_confirmed(net.dial())
        flood_prefix_of_i(net, seconds=2.0)
        for _ in range(6):
            connection = net.dial()
            flood_prefix_of_i(net, seconds=2.0)
            assert connection.confirmed
            connection.close(0, "", net.now)
            flood_prefix_of_i(net, seconds=0.5)

    def test_an_established_connection_does_not_notice(self) -> None:
        net = network(self.budgets)
        connection = net.dial()
        assert net.run_until_confirmed(connection)
        for n in range(500):
            receive(net, RNG.public_bytes(700), source(n))
            if n % 50 == 0:
                connection.send_datagram(b"%d" % n, net.now)
                net.run(seconds=0.1)
        assert len(net.r.events(DatagramReceived)) == 10


class TestProvenFlood:
    budgets = Budgets(
        preauth_rate=10_000,
        preauth_burst=10_000,
        hello_full_rate=10,
        hello_full_burst=10,
        half_open_max=40,
        half_open_per_prefix=8,
        cookie_half_open=30,
    )

    def flood(self, net: LinkedEndpoints, n: int, *, first: int = 0) -> dict[Address, int]:
        """``n`` complete hellos from different prefixes; bytes sent from each."""
        record = net.record()
        sent: dict[Address, int] = {}
        for number in range(first, first + n):
            for datagram in proven_hello(net, record, number):
                receive(net, datagram, source(number))
                sent[source(number)] = sent.get(source(number), 0) + len(datagram)
        net.settle()
        return sent

    @pytest.mark.spec("HS-22")
    def test_answers_are_bounded_by_hello_full(self) -> None:
        net = network(self.budgets)
        self.flood(net, 30)
        counters = net.r.endpoint.counters
        assert counters["hello_full"] == 20
        assert sum(link.n_sent for (a, _), link in net.links.items() if a == ADDRESS_B) == 20

    @pytest.mark.spec("HS-23")
    def test_half_open_state_is_bounded(self) -> None:
        net = network(self.budgets)
        record = net.record()
        for number in range(100):
            receive(net, proven_hello(net, record, number)[0], source(number))
            assert net.r.endpoint._admission.n_half_open <= 40
        for number in range(20):
            same_prefix = Address(bytes((99, 1, 1, number)), 1_000)
            receive(net, proven_hello(net, record, 1_000 + number)[0], same_prefix)
        assert net.r.endpoint._admission.n_half_open <= 40
        net.run(seconds=6)
        assert net.r.endpoint._admission.n_half_open == 0

    @pytest.mark.spec("HS-24")
    def test_nobody_is_sent_more_than_three_times_what_came_from_there(self) -> None:
        net = network(self.budgets)
        received = Counter(self.flood(net, 25))
        record = net.record()
        for number in range(25):
            # The tail again and again: RESPONSE may be repeated, within the same bound.
            head, tail = proven_hello(net, record, 500 + number)
            sender = source(500 + number)
            for datagram in (head, tail, tail, tail, tail, tail, tail):
                receive(net, datagram, sender)
                received[sender] += len(datagram)
            net.run(seconds=0.3)
        for (origin, target), link in net.links.items():
            if origin == ADDRESS_B:
                assert link.bytes_sent <= 3 * received[target]

    @pytest.mark.spec("HS-24")
    def test_half_a_hello_gets_no_response(self) -> None:
        net = network(Budgets())
        for number in range(20):
            receive(net, proven_hello(net, net.record(), number)[0], source(number))
        net.run(seconds=6)
        assert net.b.n_datagrams_sent == 0

    @pytest.mark.spec("HS-25")
    def test_response_is_repeated_at_most_three_times(self) -> None:
        net = network(Budgets())
        answers: list[bytes] = []
        net.link(ADDRESS_B, source(1)).taps.append(lambda d: answers.append(d))
        head, tail = proven_hello(net, net.record(), 1)
        for datagram in (head, *[tail] * 9):
            receive(net, datagram, source(1))
            net.settle()
        assert len(answers) <= 2 * 4
        assert len(set(answers)) == len(answers)

    @pytest.mark.spec("HS-26")
    @pytest.mark.spec("HS-27")
    def test_cookie_mode_is_entered_serves_cookie_bearers_and_is_left(self) -> None:
        net = network(self.budgets, link=LinkConfig(latency_s=0.005))
        number = 0
        while not net.r.endpoint._admission.cookie_mode:
            self.flood(net, 4, first=number)
            number += 4
            net.run(seconds=0.25)
            assert number < 100
        sent = self.flood(net, 10, first=1_000)
        counters = net.r.endpoint.counters
        assert counters["cookie_sent"] >= 10
        for n in range(1_000, 1_010):
            # No state for them, and one datagram no larger than HELLO/0.
            link = net.link(ADDRESS_B, source(n))
            assert link.n_sent == 1 and link.bytes_sent <= sent[source(n)]
        connection = net.dial()
        assert net.run_until_confirmed(connection)
        assert net.now < 12, "a cookie costs one round trip"
        net.run(seconds=20)
        assert net.run_until_confirmed(net.dial())
        assert not net.r.endpoint._admission.cookie_mode

    @pytest.mark.spec("HS-27")
    def test_neighbours_cannot_lock_out_who_has_shown_a_cookie(self) -> None:
        budgets = replace(self.budgets, prefix_rate=0.001, prefix_burst=12)
        net = network(budgets, link=LinkConfig(latency_s=0.005))
        ask_for_cookies(net, True)
        assert net.run_until_confirmed(net.dial()), "with a cookie by now"
        neighbour = Address(ADDRESS_A.ip[:3] + b"\x99", 9)
        for _ in range(40):
            receive(net, RNG.public_bytes(900), neighbour)
            net.run(seconds=0.01)
        spent = net.r.endpoint.counters["budget"]
        assert spent >= 30, "nothing is left of the prefix's tokens"
        ask_for_cookies(net, False)
        assert net.run_until_confirmed(net.dial())
        assert net.r.endpoint.counters["budget"] == spent

    @pytest.mark.spec("HS-27")
    def test_a_hello_that_got_a_cookie_is_spent(self) -> None:
        net = network(self.budgets)
        ask_for_cookies(net, True)
        head, _ = proven_hello(net, net.record(), 1)
        for _ in range(5):
            receive(net, head, source(1))
        net.settle()
        assert net.link(ADDRESS_B, source(1)).n_sent == 1

    @pytest.mark.spec("HS-20")
    def test_the_second_half_of_a_refused_hello_is_free(self) -> None:
        net = network(Budgets(prefix_rate=0.001, prefix_burst=1))
        receive(net, RNG.public_bytes(800), ADDRESS_A)
        head, tail = proven_hello(net, net.record(), 1)
        receive(net, head, ADDRESS_A)
        before = net.r.endpoint._admission._pre_auth.n_entries
        receive(net, tail, ADDRESS_A)
        assert net.r.endpoint.counters["budget"] == 2
        assert net.r.endpoint._admission._pre_auth.n_entries == before


@pytest.mark.spec("HS-28")
def test_garbage_before_finish_is_queued_bounded_and_then_forgotten() -> None:
    net = network(Budgets())
    numbers = iter(range(10**9))
    net.a_to_b.taps.append(lambda d: d if next(numbers) < 2 else None)
    net.dial()
    net.run(seconds=0.06)
    assert net.r.endpoint._admission.n_half_open == 1
    for n in range(100):
        receive(net, RNG.public_bytes(1_000 + n), ADDRESS_A)
    early = net.r.endpoint._admission._early
    assert early.n_bytes <= 16 * 1024
    assert early.n_dropped >= 80
    net.run(seconds=0.6)
    assert early.n_bytes == 0 and len(early) == 0
