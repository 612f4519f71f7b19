"""Many connections behind one socket: fair, bounded, and no work for those that are idle."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest

from wraith.config import Budgets, EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.data.buffer_pool import BUFFER_BYTES, SMALL_BUFFER_BYTES, BufferPool
from wraith.connection.endpoint import CALL_BYTES, TRANSMITS_MAX
from wraith.connection.events import Closed, PathChanged, StreamReadable
from wraith.errors import LocalProtocolError
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import (
    ADDRESS_A,
    ADDRESS_B,
    EndpointHost,
    LinkedEndpoints,
    endpoint_host,
    linked,
)
from wraith.testing.netem import LinkConfig
from wraith.types import Address, NetworkPath, StreamId

OPEN = EndpointConfig(
    idle_timeout_s=600,
    datagram_bytes=1_200,
    budgets=Budgets(
        preauth_rate=1e6,
        preauth_burst=10**6,
        prefix_rate=1e6,
        prefix_burst=10**6,
        hello_full_rate=1e6,
        hello_full_burst=10**6,
        half_open_per_prefix=10**6,
    ),
)


def crowd(n: int) -> tuple[LinkedEndpoints, list[Connection]]:
    """``n`` initiators, each at its own address, connected to one responder."""
    clock = VirtualClock()
    i = endpoint_host(clock, "i", config=OPEN)
    r = endpoint_host(clock, "r", config=OPEN, listening=True)
    net = LinkedEndpoints(clock, i, r, link=LinkConfig(latency_s=0.001))
    hosts: list[EndpointHost] = []
    dialled: list[Connection] = []
    for number in range(n):
        host = endpoint_host(clock, f"h{number}", config=OPEN)
        net.add_host(
            host.endpoint, Address(bytes((10, number >> 8, number & 255, 1)), 5), host.service
        )
        dialled.append(host.endpoint.connect(net.record(), net.now))
        hosts.append(host)
    net.run(seconds=0.1)
    assert all(connection.confirmed for connection in dialled)
    assert len(r.endpoint.connections) == n
    return net, dialled


@pytest.mark.spec("HS-43")
def test_a_datagram_touches_one_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    net, dialled = crowd(60)
    net.run(seconds=1.0)
    asked: Counter[int] = Counter()
    original = Connection.next_timer

    def counting(self: Connection) -> float | None:
        if self.role.value == "r":
            asked[id(self)] += 1
        return original(self)

    monkeypatch.setattr(Connection, "next_timer", counting)
    dialled[7].send_datagram(b"x", net.now)
    net.run(seconds=0.2)
    assert 0 < len(asked) <= 1 and sum(asked.values()) < 12


COMMANDS: dict[str, Callable[[Connection, StreamId, float], object]] = {
    "open_stream": lambda c, _, now: c.open_stream(now=now),
    "stream_write": lambda c, sid, now: c.stream_write(sid, b"x", now=now),
    "stream_write_chunks": lambda c, sid, now: c.stream_write_chunks(sid, [b"x"], 1, now),
    "stream_finish": lambda c, sid, now: c.stream_finish(sid, now),
    "stream_reset": lambda c, sid, now: c.stream_reset(sid, 0, now),
    "stream_stop": lambda c, sid, now: c.stream_stop(sid, 0, now),
    "set_priority": lambda c, sid, now: c.set_priority(sid, 3, now),
    "send_datagram": lambda c, _, now: c.send_datagram(b"x", now),
    "ping": lambda c, _, now: c.ping(now),
    "rekey": lambda c, _, now: c.rekey(now),
    "close": lambda c, _, now: c.close(0, "", now),
    "go_away": lambda c, _, now: c.go_away(now),
    "end": lambda c, _, now: c.end("", now),
    "handle_mtu_exceeded": lambda c, _, now: c.handle_mtu_exceeded(c.path, 1_400, now),
}


@pytest.mark.spec("HS-43")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_to_a_connection_wakes_its_endpoint(name: str) -> None:
    net, _ = crowd(1)
    (incoming,) = net.r.endpoint.connections
    sid = incoming.open_stream(now=net.now)
    net.run(seconds=1.0)
    endpoint, now = net.r.endpoint, net.now
    timer = endpoint.next_timer()
    assert timer is None or timer > now, "nothing is due"
    COMMANDS[name](incoming, sid, now)
    timer = endpoint.next_timer()
    assert timer is not None and timer <= now


@pytest.mark.spec("HS-43")
@pytest.mark.parametrize("read", [Connection.stream_read, Connection.stream_read_chunks])
def test_reading_wakes_the_endpoint_when_it_opens_a_window(
    read: Callable[[Connection, StreamId, int, float], object],
) -> None:
    net, (dialled,) = crowd(1)
    (incoming,) = net.r.endpoint.connections
    sid = incoming.open_stream(now=net.now)
    incoming.stream_write(sid, b"x", now=net.now)
    net.run(seconds=1.0)
    n_bytes = dialled.stream_write(sid, bytes(1 << 20), now=net.now)
    net.run(seconds=1.0)
    endpoint, now = net.r.endpoint, net.now

    def is_due() -> bool:
        timer = endpoint.next_timer()
        return timer is not None and timer <= now

    read(incoming, sid, 1, now)
    assert not is_due(), "one byte opens nothing"
    read(incoming, sid, n_bytes, now)
    assert is_due()


def test_a_connection_that_is_closed_while_it_is_dialled_is_told_and_forgotten() -> None:
    net = linked()
    endpoint = net.i.endpoint
    connection = endpoint.connect(net.record(), net.now)
    while endpoint.datagrams_to_send(net.now):
        pass
    assert endpoint.next_event() is None and endpoint.next_timer() != net.now
    connection.close(7, "never mind", net.now)
    assert endpoint.next_event() == (connection, Closed(7, "never mind", False, None))
    assert endpoint.next_event() is None and endpoint.connections == ()


@pytest.mark.spec("HS-43")
def test_output_is_bounded_per_call_and_shared_in_turn() -> None:
    net, _ = crowd(TRANSMITS_MAX + 10)
    accepted = net.r.endpoint.connections
    for connection in accepted:
        sid = connection.open_stream(now=net.now)
        connection.stream_write(sid, bytes(50_000), fin=True, now=net.now)
    first = net.r.endpoint.datagrams_to_send(net.now)
    assert len(first) <= TRANSMITS_MAX + 4
    assert sum(len(transmit.data) for transmit in first) <= CALL_BYTES + 60_000
    served: Counter[Address] = Counter()
    transmits = first
    while transmits:
        for transmit in transmits:
            served[transmit.path.remote] += len(transmit.data)
            net.send(net.b, transmit)
        transmits = net.r.endpoint.datagrams_to_send(net.now)
    assert len(served) == TRANSMITS_MAX + 10
    assert max(served.values()) <= 1.5 * min(served.values())
    net.run(seconds=5)
    assert net.r.endpoint.next_timer() is not None


def test_a_path_on_hold_waits_and_the_others_are_served() -> None:
    net, _ = crowd(3)
    endpoint = net.r.endpoint
    held, *others = endpoint.connections
    for connection in endpoint.connections:
        sid = connection.open_stream(now=net.now)
        connection.stream_write(sid, bytes(30_000), fin=True, now=net.now)
    endpoint.hold(held.path)
    endpoint.hold(held.path)
    served: set[Address] = set()
    while transmits := endpoint.datagrams_to_send(net.now):
        served |= {transmit.path.remote for transmit in transmits}
    assert served == {connection.path.remote for connection in others}
    timer = endpoint.next_timer()
    assert timer is not None and timer > net.now, "what is held is not due"
    held.ping(net.now)
    assert endpoint.datagrams_to_send(net.now) == []
    endpoint.release(held.path)
    assert {t.path for t in endpoint.datagrams_to_send(net.now)} == {held.path}


@pytest.mark.slow
@pytest.mark.spec("HS-44")
def test_an_idle_connection_stays_below_50_kb() -> None:
    net, _ = crowd(10)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    n = 150
    for number in range(1_000, 1_000 + n):
        host = endpoint_host(net.clock, f"h{number}", config=OPEN)
        address = Address(bytes((11, number >> 8, number & 255, 1)), 5)
        net.add_host(host.endpoint, address, host.service)
        host.endpoint.connect(net.record(), net.now)
        net.run(seconds=0.05)
        net.remove_host(address)
        del host
    net.run(seconds=12)
    net.links.clear()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(net.r.endpoint.connections) >= n
    assert used / n < 50_000


@pytest.mark.spec("HS-44")
def test_handshake_state_is_gone_after_confirmation() -> None:
    net = linked()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    net.run(seconds=1)
    assert not net.i.endpoint._dials and not net.i.endpoint._dials_by_remote
    net.run(seconds=11)
    assert not connection.is_drained
    admission = net.r.endpoint._admission
    assert admission.n_half_open == 0 and admission._n_completed == 0 and len(admission._early) == 0


@pytest.mark.spec("HS-41")
def test_a_peer_whose_address_changed_is_found_by_connection_id() -> None:
    net = linked()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    net.run(seconds=1.0)
    moved = Address(ADDRESS_A.ip, 50_000)
    net.remove_host(ADDRESS_A)
    net.add_host(net.i.endpoint, moved, net.i.service)
    sid = connection.open_stream(now=net.now)
    connection.stream_write(sid, b"from elsewhere", fin=True, now=net.now)
    assert net.run(seconds=5, until=lambda: bool(net.r.events(StreamReadable)))
    (accepted,) = net.r.incoming
    assert accepted.stream_read(sid, 100, net.now) == b"from elsewhere"
    assert net.run(seconds=5, until=lambda: bool(net.r.events(PathChanged)))
    assert accepted.path.remote == moved
    assert len(net.r.incoming) == 1, "no new handshake"


def test_closed_connections_are_forgotten_with_their_routes() -> None:
    net = linked()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    connection.close(0, "bye", net.now)
    net.run(seconds=10)
    for host in (net.i, net.r):
        assert host.endpoint.connections == ()
        assert host.endpoint._routing.n_cids == 0 and host.endpoint._routing.n_paths == 0


def test_close_all_says_so_to_every_peer_and_answers_no_more_hellos() -> None:
    net = linked()
    first = net.dial()
    assert net.run_until_confirmed(first)
    net.r.endpoint.close_all(net.now)
    net.run(seconds=5)
    assert first.is_drained
    assert not net.run_until_confirmed(net.dial())
    assert net.link(ADDRESS_B, ADDRESS_A).n_sent < 30


@pytest.mark.spec("HS-43")
def test_the_deadline_is_exact_when_everything_is_quiet() -> None:
    net = linked()
    assert net.i.endpoint.next_timer() == pytest.approx(86_400.0)
    assert net.i.endpoint.datagrams_to_send(net.now) == []


def test_connections_are_bounded() -> None:
    clock = VirtualClock()
    config = EndpointConfig(budgets=Budgets(connections_max=1))
    i = endpoint_host(clock, "i")
    r = endpoint_host(clock, "r", config=config, listening=True)
    net = LinkedEndpoints(clock, i, r)
    assert net.run_until_confirmed(net.dial())
    assert not net.run_until_confirmed(net.dial())
    assert len(net.r.endpoint.connections) == 1


@pytest.mark.spec("HS-44")
def test_an_endpoint_that_is_idle_after_bulk_keeps_no_large_buffers() -> None:
    net = linked()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    pool = net.i.endpoint._pool
    assert not pool.owns_spare, "a handshake needs none"
    sid = connection.open_stream(now=net.now)
    connection.stream_write(sid, bytes(400_000), fin=True, now=net.now)
    net.run(seconds=1.5)
    assert pool.owns_spare
    net.run(seconds=5)
    assert not pool.owns_spare
    due = net.i.endpoint.next_timer()
    assert due is not None and due > net.now + 2, "and no timer looks on"


def test_the_short_runs_of_a_young_window_take_no_large_buffer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = linked()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    sizes: set[int] = set()
    original = BufferPool.take

    def take(pool: BufferPool, n_bytes: int) -> memoryview | None:
        buffer = original(pool, n_bytes)
        sizes.add(len(buffer or b""))
        return buffer

    monkeypatch.setattr(BufferPool, "take", take)
    sid = connection.open_stream(now=net.now)
    connection.stream_write(sid, bytes(64_000), fin=True, now=net.now)
    net.run(seconds=1)
    assert SMALL_BUFFER_BYTES < max(sizes) < BUFFER_BYTES


def test_what_follows_the_last_part_of_a_handshake_in_the_same_burst_is_not_lost() -> None:
    net = linked()
    net.dial()
    i, r = net.i, net.r
    to_r, to_i = NetworkPath(ADDRESS_B, ADDRESS_A), NetworkPath(ADDRESS_A, ADDRESS_B)
    for _ in range(4):
        transmits = i.endpoint.datagrams_to_send(net.now)
        *before, finish, packet = [b"", b"", *(bytes(transmit.data) for transmit in transmits)]
        is_last = 0 < len(packet) < 600  # parts of a handshake are longer
        for datagram in before if is_last else (*before, finish, packet):
            r.endpoint.receive_datagrams(datagram, len(datagram), to_r, net.now)
        if is_last:
            r.endpoint.receive_datagrams(finish + packet, len(finish), to_r, net.now)
            (connection,) = r.endpoint.connections
            assert connection.stats().received_packets == 1
            return
        r.service(net.now)
        for transmit in r.endpoint.datagrams_to_send(net.now):
            i.endpoint.receive_datagrams(transmit.data, transmit.segment_bytes, to_i, net.now)
        i.service(net.now)
    pytest.fail("no packet followed FINISH")


@pytest.mark.spec("HS-40")
def test_a_fifth_connection_between_two_sockets_is_refused_at_once() -> None:
    net = linked()
    connections = [net.dial() for _ in range(4)]
    with pytest.raises(LocalProtocolError, match="four connections"):
        net.dial()
    assert net.run(seconds=5, until=lambda: all(c.confirmed for c in connections))
    with pytest.raises(LocalProtocolError, match="four connections"):
        net.dial()
    connections[0].close(0, "", net.now)
    net.run(seconds=5)
    assert net.run_until_confirmed(net.dial())
