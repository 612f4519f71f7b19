"""Resumption by tickets, between two whole endpoints in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.events import (
    Closed,
    Confirmed,
    DatagramReceived,
    Established,
    PeerAuthenticated,
)
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.state import SessionState
from wraith.connection.tickets.desk import ROTATION_S
from wraith.connection.tickets.store import MemoryTickets, Ticket, TicketName
from wraith.crypto.ed25519 import Identity
from wraith.crypto.secret import Secret
from wraith.errors import PolicyRefused
from wraith.testing.endpoints import ADDRESS_B, LinkedEndpoints, linked, watch
from wraith.testing.netem import LinkConfig
from wraith.testing.pipes import PipeConfig
from wraith.testing.rng import SeededRng
from wraith.types import Carrier, Road, SuiteId
from wraith.wire.control_records import NewTicket, TicketRequest
from wraith.wire.handshake import PartKind

A, B, D = SuiteId.A, SuiteId.B, SuiteId.D
TCP = Road(Carrier.TCP, ADDRESS_B)
DAY = 86_400.0


def with_tickets(
    net: LinkedEndpoints, store: MemoryTickets | None = None, **dial: object
) -> MemoryTickets:
    """A full handshake, whose tickets have come; the session has ended."""
    store = MemoryTickets() if store is None else store
    finished(net, net.dial(tickets=store, **dial))  # type: ignore[arg-type]
    return store


def finished(net: LinkedEndpoints, connection: Connection) -> Connection:
    """Confirmed, idle for a moment, and closed."""
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.3)
    connection.close(0, "", net.now)
    net.run(seconds=1)
    return connection


def name_of(net: LinkedEndpoints, suite: SuiteId = A) -> TicketName:
    return TicketName(net.i.endpoint.keys.identity.public.raw, net.record().access_key, suite)


def copy_of(ticket: Ticket) -> Ticket:
    return replace(ticket, secret=Secret(ticket.secret.reveal()))


def steal(store: MemoryTickets) -> MemoryTickets:
    """What somebody has who read the memory of the process."""
    copy = MemoryTickets()
    for name, tickets in store._by_name.items():
        for ticket in tickets:
            copy.add(name, copy_of(ticket))
    return copy


@pytest.mark.spec("HS-73", "HS-78")
def test_a_ticket_resumes_in_one_round_trip_without_finish() -> None:
    net = linked(link=LinkConfig(latency_s=0.02))
    store = with_tickets(net)
    assert len(store) == 2
    hellos, answers = watch(net.a_to_b), watch(net.b_to_a)
    began = net.now
    connection = net.dial(tickets=store)
    states = [connection.state]
    assert len(store) == 1, "it has left the store before anything was sent"
    net.run(seconds=0.041)
    states.append(connection.state)
    assert states == [SessionState.RESUMING, SessionState.ESTABLISHED]
    assert net.now - began < 0.045
    assert len(answers) == 2, "RESPONSE"
    assert net.run_until_confirmed(connection)
    for side in (connection, net.r.incoming[1]):
        assert side.security.authenticated_by == "ticket"
        assert side.security.post_quantum and side.security.suite is A
    assert net.r.incoming[1].peer == net.i.endpoint.keys.identity.public
    assert connection.peer == net.r.endpoint.keys.identity.public
    assert net.r.incoming[1].access_key == net.record().access_key
    assert all(600 <= len(hello) <= 1200 for hello in hellos[:2])
    assert not 600 <= len(hellos[2]) <= 1200, "no FINISH, a packet of the session"


@pytest.mark.spec("HS-73")
def test_a_session_that_was_resumed_gives_one_ticket_and_the_store_is_filled_up() -> None:
    net = linked()
    store = with_tickets(net)
    for _ in range(3):
        connection = finished(net, net.dial(tickets=store))
        assert connection.security.authenticated_by == "ticket"
        assert len(store) == 2
    store.take(name_of(net), net.i.calendar.unix_time())
    finished(net, net.dial(tickets=store))
    assert len(store) == 2, "the last one was used: one comes unasked, one was asked for"


@pytest.mark.spec("HS-78")
@pytest.mark.parametrize("suite", [A, B, D])
def test_each_suite_resumes_over_a_link_too(suite: SuiteId) -> None:
    config = EndpointConfig(suites=(suite,))
    net = linked(config=config)
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    require_pq = suite is not D
    store = with_tickets(net, require_pq=require_pq, roads=[TCP])
    connection = net.dial(tickets=store, require_pq=require_pq, roads=[TCP])
    assert net.run_until_confirmed(connection)
    assert connection.security.authenticated_by == "ticket"
    assert connection.security.suite is suite and connection.path.link
    copy = net.send_stream(net.i, connection, SeededRng("x").public_bytes(100_000))
    assert net.run(until=lambda: copy.is_equal)


@pytest.mark.spec("HS-79")
def test_the_responder_tells_and_sends_nothing_before_the_first_packet() -> None:
    net = linked()
    store = with_tickets(net)
    connection = net.dial(tickets=store)
    n_incoming = len(net.r.incoming)
    net.run(until=lambda: net.r.endpoint._admission.n_half_open == 1, seconds=1)
    net.run(seconds=0.01)
    answers = watch(net.b_to_a)
    net.a_to_b.config = LinkConfig(latency_s=0.02, loss=1.0)
    net.run(seconds=5)
    assert len(net.r.incoming) == n_incoming and not answers
    assert net.r.endpoint._tickets.n_used == 0, "and the ticket is not used up"
    net.a_to_b.config = LinkConfig(latency_s=0.02)
    assert net.run_until_confirmed(connection)
    (told,) = net.r.events(PeerAuthenticated, net.r.incoming[n_incoming])
    assert told.at > 5 and net.r.endpoint._tickets.n_used == 1


@pytest.mark.spec("HS-79")
def test_only_a_packet_under_the_keys_of_the_session_begins_it() -> None:
    net = linked()
    store = with_tickets(net)
    net.dial(tickets=store)
    net.run(until=lambda: bool(net.r.endpoint._admission.n_half_open), seconds=1)
    net.run(seconds=0.01)
    (entry,) = net.r.endpoint._admission._half_open
    rng = SeededRng("junk")
    for n_bytes in (1, 32, 40, 100, 599, 700, 1200, 1400):
        junk = rng.public_bytes(n_bytes)
        net.r.endpoint.receive_datagrams(junk, n_bytes, entry.path, net.now)
    assert len(net.r.incoming) == 1 and net.r.endpoint._tickets.n_used == 0
    assert net.r.endpoint._admission.n_half_open == 1


@pytest.mark.spec("HS-79")
def test_what_comes_with_the_first_packet_waits_for_accept() -> None:
    net = linked()
    store = with_tickets(net)
    net.r.accepts = None
    connection = net.dial(tickets=store)
    assert net.run(until=lambda: connection.state is SessionState.ESTABLISHED, seconds=1)
    connection.send_datagram(b"at once", net.now)
    net.run(seconds=1)
    incoming = net.r.incoming[1]
    assert not net.r.events(DatagramReceived) and len(net.r.events(PeerAuthenticated)) == 2
    incoming.accept(net.now)
    net.run(seconds=0.2)
    assert [told.event for told in net.r.events(DatagramReceived)] == [DatagramReceived(b"at once")]


@pytest.mark.spec("HS-65")
@pytest.mark.spec("HS-82")
def test_a_ticket_of_a_process_that_is_gone_costs_one_round_trip() -> None:
    net = linked(link=LinkConfig(latency_s=0.02))
    store = with_tickets(net)
    net.r.endpoint._tickets.wipe()
    hellos, answers = watch(net.a_to_b), watch(net.b_to_a)
    began = net.now
    connection = net.dial(tickets=store)
    net.run(seconds=0.045)
    assert connection.state is SessionState.CONNECTING
    assert len(answers) == 1 and len(answers[0]) <= len(hellos[0]), "one datagram, not larger"
    assert net.r.endpoint._admission.n_half_open == 0, "and no state"
    assert net.run_until_confirmed(connection)
    assert connection.security.authenticated_by == "static-key"
    assert net.now - began < 0.2, "one more round trip, no timer"
    assert hellos[0][:32] != hellos[2][:32], "a fresh ephemeral"
    assert net.r.incoming[1].access_key == net.record().access_key
    net.run(seconds=0.5)
    assert len(store) == 3, "the one that is of no use, and two new ones"


@pytest.mark.spec("HS-65")
def test_a_responder_that_sends_everything_back_makes_nobody_send_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = linked()
    store = with_tickets(net)
    admission = net.r.endpoint._admission
    hellos: list[bytes] = []

    def refuse(door, hello, entry_key, path, now):  # type: ignore[no-untyped-def]
        hellos.append(hello.representative)
        admission._reply(door, PartKind.RETRY_FULL, b"", hello, path)

    monkeypatch.setattr(admission, "_on_proven", refuse)
    connection = net.dial(tickets=store)
    assert not net.run_until_confirmed(connection)
    assert len(hellos) == 5, "four attempts by the timer, and one at once"
    assert connection.state is SessionState.CLOSED


@pytest.mark.spec("HS-65")
def test_where_no_ticket_is_answered_a_full_handshake_goes_beside_it_after_three_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = linked()
    store = with_tickets(net)
    admission = net.r.endpoint._admission
    proven = admission._on_proven

    def silent(door, hello, entry_key, path, now):  # type: ignore[no-untyped-def]
        if hello.ticket is None:
            proven(door, hello, entry_key, path, now)

    monkeypatch.setattr(admission, "_on_proven", silent)
    began = net.now
    connection = net.dial(tickets=store)
    assert net.run_until_confirmed(connection)
    assert connection.security.authenticated_by == "static-key"
    assert 2 < net.now - began < 4


@pytest.mark.spec("HS-65")
def test_refused_tickets_do_not_use_up_the_budget_for_full_hellos() -> None:
    net = linked()
    store = with_tickets(net)
    net.r.endpoint._tickets.wipe()
    (door,) = net.r.endpoint._admission._doors
    net.run(seconds=5)
    before = door.hello_full._bucket.level(net.now)
    net.dial(tickets=store)
    net.run(seconds=0.03)
    assert net.r.endpoint.counters["ticket_refused"] == 1
    assert door.hello_full._bucket.level(net.now) == before


@pytest.mark.spec("HS-65", "HS-77")
def test_a_ticket_that_was_used_is_not_used_again() -> None:
    net = linked()
    store = with_tickets(net)
    stolen = steal(store)
    finished(net, net.dial(tickets=store))
    connection = net.dial(tickets=stolen)
    assert net.run_until_confirmed(connection)
    assert connection.security.authenticated_by == "static-key"
    assert net.r.endpoint._tickets.n_used == 1


@pytest.mark.spec("HS-77")
def test_two_who_hold_one_ticket_at_the_same_time_get_in_once_by_it() -> None:
    net = linked()
    store = with_tickets(net)
    stolen = steal(store)
    first = net.dial(tickets=store)
    net.run(until=lambda: net.r.endpoint._tickets.n_held == 1, seconds=1)
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    second = net.dial(tickets=stolen, roads=[TCP])
    assert net.run_until_confirmed(first) and net.run_until_confirmed(second)
    assert first.security.authenticated_by == "ticket"
    assert second.security.authenticated_by == "static-key"
    assert net.r.endpoint._tickets.n_used == 1


@pytest.mark.spec("HS-77")
def test_an_attempt_that_dies_gives_its_ticket_back() -> None:
    net = linked()
    store = with_tickets(net)
    stolen = steal(store)
    connection = net.dial(tickets=store)
    net.run(until=lambda: net.r.endpoint._tickets.n_held == 1, seconds=1)
    connection.close(0, "", net.now)
    net.run(seconds=11)
    assert net.r.endpoint._tickets.n_held == net.r.endpoint._tickets.n_used == 0
    again = net.dial(tickets=stolen)
    assert net.run_until_confirmed(again)
    assert again.security.authenticated_by == "ticket"


@pytest.mark.spec("HS-79")
def test_lost_datagrams_do_not_cost_the_ticket() -> None:
    for seed in range(20):
        net = linked(seed=seed)
        store = with_tickets(net)
        net.a_to_b.config = net.b_to_a.config = LinkConfig(latency_s=0.02, loss=0.2)
        connection = net.dial(tickets=store)
        assert net.run_until_confirmed(connection), seed


@pytest.mark.spec("HS-73", "HS-76")
@pytest.mark.parametrize("days", [0.4, 1.1])
def test_a_ticket_lives_no_longer_than_the_certificates(days: float) -> None:
    # The static keys here are made anew by each process: their certificates last a day.
    net = linked()
    store = with_tickets(net)
    for host in (net.i, net.r):
        host.calendar.skew_s += days * DAY
    connection = net.dial(tickets=store)
    assert net.run_until_confirmed(connection)
    by = "ticket" if days < 1 else "static-key"
    assert connection.security.authenticated_by == by


@pytest.mark.spec("HS-73", "HS-76")
def test_a_chain_of_resumptions_ends_seven_days_after_its_full_handshake() -> None:
    net = linked()
    for host in (net.i, net.r):
        host.endpoint.keys.keeps_static = True
    store = with_tickets(net)
    ways = []
    for _ in range(17):  # half a day each
        for host in (net.i, net.r):
            host.calendar.skew_s += 0.5 * DAY
        ways.append(finished(net, net.dial(tickets=store)).security.authenticated_by)
    assert ways == ["ticket"] * 13 + ["static-key"] + ["ticket"] * 3


@pytest.mark.spec("HS-75")
def test_a_key_of_tickets_is_replaced_after_12_hours_and_erased_after_36() -> None:
    net = linked()
    for host in (net.i, net.r):
        host.endpoint.keys.keeps_static = True
    desk = net.r.endpoint._tickets
    store = with_tickets(net)
    (first,) = desk._keys
    net.clock.advance(net.now + ROTATION_S)
    with_tickets(net)
    assert desk._keys[0] is first and len(desk._keys) == 2
    kept = steal(store)
    net.clock.advance(net.now + ROTATION_S - 60)
    assert net.run_until_confirmed(old := net.dial(tickets=kept))
    assert old.security.authenticated_by == "ticket", "sealed under the key before"
    net.clock.advance(net.now + ROTATION_S + 120)
    net.run(seconds=1)
    assert first.stek.is_wiped and all(key.kid != first.kid for key in desk._keys)


@pytest.mark.spec("HS-74")
def test_no_ticket_without_identity_and_none_for_a_visit() -> None:
    config = EndpointConfig(require_client_identity=False)
    net = linked(config_r=config)
    store = with_tickets(net, anonymous=True)
    assert len(store) == 0
    with_tickets(net, store)
    connection = net.dial(tickets=store, anonymous=True)
    assert net.run_until_confirmed(connection)
    assert net.r.incoming[-1].peer is None and len(store) == 2


@pytest.mark.spec("HS-74")
def test_a_ticket_fits_its_identity_its_access_key_and_the_pinned_node() -> None:
    net = linked()
    store = with_tickets(net)
    record, extra = net.record(), AccessKey.generate(SeededRng("another key"))
    net.r.endpoint.add_access_key(extra, net.now)
    other_key = net.r.endpoint.node_record([ADDRESS_B], key=extra)
    other_node = replace(record, peer=Identity.generate(SeededRng("o")).public)
    for wrong in (other_key, other_node):
        connection = net.dial(wrong, tickets=store)
        assert connection.state is SessionState.CONNECTING
        connection.close(0, "", net.now)
    own = net.i.endpoint.keys.identity
    net.i.endpoint.keys.identity = Identity.generate(SeededRng("another self"))
    assert net.dial(record, tickets=store).state is SessionState.CONNECTING
    net.i.endpoint.keys.identity = own
    assert net.dial(record, tickets=store).state is SessionState.RESUMING


@pytest.mark.spec("HS-74", "HS-76")
def test_no_ticket_lowers_the_suite() -> None:
    both = EndpointConfig(suites=(A, D))
    net = linked(config=both)
    store = MemoryTickets()
    finished(net, net.dial(tickets=store, suite=D, require_pq=False))
    assert store.count(name_of(net, D)) == 2
    for require_pq in (True, False):  # a full handshake would begin with A
        connection = net.dial(tickets=store, require_pq=require_pq)
        assert connection.state is SessionState.CONNECTING
        connection.close(0, "", net.now)
    classical = EndpointConfig(suites=(D,))
    net = linked(config=both, config_r=classical)
    with_tickets(net, store := MemoryTickets(), require_pq=False)
    assert store.count(name_of(net, D)) == 2
    with pytest.raises(PolicyRefused):
        net.dial(tickets=store)  # post-quantum is required: the ticket of D is not even looked at
    assert store.count(name_of(net, D)) == 2


@pytest.mark.spec("HS-76")
def test_a_ticket_of_one_suite_does_not_resume_another() -> None:
    net = linked(config=EndpointConfig(suites=(A, D)))
    store = with_tickets(net)
    (tickets,) = store._by_name.values()
    moved = MemoryTickets()
    for ticket in tickets:
        moved.add(name_of(net, D), copy_of(ticket))
    record = replace(net.record(), suites=(D,))
    connection = net.dial(record, tickets=moved, suite=D, require_pq=False)
    net.run(seconds=0.045)
    assert net.r.endpoint.counters["ticket_refused"] == 1
    assert connection.state is SessionState.CONNECTING


@pytest.mark.spec("HS-76")
def test_a_responder_that_would_agree_on_something_else_asks_for_a_full_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = linked()
    store = with_tickets(net)
    monkeypatch.setattr("wraith.connection.handshake.negotiate.ROADS_VERSION", 2)
    connection = net.dial(tickets=store)
    assert net.run_until_confirmed(connection)
    assert connection.security.authenticated_by == "static-key"
    assert net.r.endpoint.counters["ticket_refused"] == 1


@pytest.mark.spec("HS-64")
def test_tickets_are_offered_only_by_who_keeps_some_and_issued_only_where_allowed() -> None:
    net = linked(config_r=EndpointConfig(tickets=False))
    assert len(with_tickets(net)) == 0
    net = linked()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    assert connection._shared.parts is not None
    assert connection._shared.parts.keys.resumption(0) is None
    assert net.r.endpoint._tickets._keys == []


@pytest.mark.spec("HS-73")
def test_a_peer_gets_no_more_than_sixteen_tickets_a_session() -> None:
    net = linked()
    store = MemoryTickets()
    connection = net.dial(tickets=store)
    assert net.run_until_confirmed(connection)
    parts = connection._shared.parts
    assert parts is not None
    for _ in range(100):
        parts.control.push(TicketRequest(4))
        connection.ping(net.now)
        net.run(seconds=0.1)
    issuing = net.r.incoming[0]._tickets
    assert issuing is not None and issuing._n_issued == 16  # type: ignore[attr-defined]
    assert len(store) == 8 and not net.r.events(Closed)


@pytest.mark.spec("HS-81")
def test_each_side_says_only_what_is_its_to_say_about_tickets() -> None:
    for record, from_initiator in (
        (NewTicket(0, bytes(16), 2**40, b"x"), True),
        (TicketRequest(1), False),
    ):
        net = linked()
        connection = net.dial(tickets=MemoryTickets())
        assert net.run_until_confirmed(connection)
        speaker = connection if from_initiator else net.r.incoming[0]
        parts = speaker._shared.parts
        assert parts is not None
        parts.control.push(record)
        speaker.ping(net.now)
        net.run(seconds=1)
        told = (net.r if from_initiator else net.i).events(Closed)
        assert [e.event.code for e in told] == [0x0002]  # type: ignore[union-attr]


@pytest.mark.spec("HS-81")
def test_a_ticket_of_a_later_epoch_resumes() -> None:
    net = linked()
    store = MemoryTickets()
    connection = net.dial(tickets=store)
    assert net.run_until_confirmed(connection)
    for epoch in (1, 2, 3):
        net.run(seconds=1.5)
        connection.rekey(net.now)
        net.run(until=lambda: connection.security.epoch == epoch, seconds=20)  # noqa: B023
    store.wipe()
    parts = connection._shared.parts
    assert parts is not None and sorted(parts.keys._resumption) == [2, 3]
    parts.control.push(TicketRequest(1))
    connection.ping(net.now)
    net.run(seconds=0.5)
    assert len(store) == 1
    again = net.dial(tickets=store)
    assert net.run_until_confirmed(again)
    assert again.security.authenticated_by == "ticket"


@pytest.mark.spec("HS-76")
def test_the_responder_asks_again_who_may_come_in() -> None:
    net = linked()
    store = with_tickets(net)
    net.r.accepts = False
    connection = net.dial(tickets=store)
    net.run(seconds=2)
    assert net.i.error_of(connection) is not None
    assert not net.r.events(Established, net.r.incoming[1])


@pytest.mark.spec("HS-76")
def test_a_clock_that_is_set_back_revives_no_ticket() -> None:
    net = linked()
    for host in (net.i, net.r):
        host.endpoint.keys.keeps_static = True
    store = with_tickets(net)
    stolen = steal(store)
    finished(net, net.dial(tickets=store))
    for host in (net.i, net.r):
        host.calendar.skew_s += 1.1 * DAY
    finished(net, net.dial(tickets=store))  # the desk forgets what has expired
    for host in (net.i, net.r):
        host.calendar.skew_s -= 1.05 * DAY
    connection = net.dial(tickets=stolen)
    assert net.run_until_confirmed(connection)
    assert connection.security.authenticated_by == "static-key"


@pytest.mark.spec("HS-74")
def test_secrets_of_tickets_are_not_shown_and_are_wiped() -> None:
    net = linked()
    store = with_tickets(net)
    (tickets,) = store._by_name.values()
    taken = tickets[-1]
    for text in (repr(store), repr(taken)):
        assert taken.secret.reveal().hex() not in text
        assert repr(taken.encrypted_params) not in text
    connection = net.dial(tickets=store)
    assert net.run_until_confirmed(connection)
    assert taken.secret.is_wiped, "it was used"
    left = tickets[0]
    store.wipe()
    assert left.secret.is_wiped and len(store) == 0


@pytest.mark.spec("HS-78")
@pytest.mark.parametrize("latency_ms", [5, 25, 100])
def test_the_first_byte_of_the_responder_is_there_after_a_round_trip(latency_ms: int) -> None:
    net = linked(link=LinkConfig(latency_s=latency_ms / 1000))
    store = with_tickets(net)
    began = net.now
    connection = net.dial(tickets=store)
    assert net.run(until=lambda: connection.state is SessionState.ESTABLISHED, seconds=2)
    assert net.now - began <= 2 * latency_ms / 1000 + 0.005
    assert net.run_until_confirmed(connection)
    assert net.i.events(Confirmed, connection)[0].at - began <= 4 * latency_ms / 1000 + 0.005
