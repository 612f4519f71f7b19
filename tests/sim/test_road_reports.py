"""What the two ends of a session tell each other about roads, in virtual time."""

from __future__ import annotations

import pytest

from wraith.connection.connection import Connection
from wraith.connection.events import Established, RoadFailed, RoadsSeen
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.visits import Visits
from wraith.connection.links.wishes import WatchNetwork
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.crypto.ed25519 import Identity
from wraith.testing.endpoints import ADDRESS_A, ADDRESS_B, EndpointHost, LinkedEndpoints, linked
from wraith.testing.netem import LinkConfig
from wraith.testing.pipes import PipeConfig
from wraith.testing.rng import SeededRng
from wraith.types import Address, Carrier, PeerKey, Road
from wraith.wire.road_frames import RoadSeen, RoadTried

UDP = Road(Carrier.UDP, ADDRESS_B)
TCP = Road(Carrier.TCP, ADDRESS_B)
OPEN = LinkConfig(latency_s=0.01)
BLOCKED = LinkConfig(latency_s=0.01, loss=1.0)


class Silent:
    """A dial whose UDP goes by ``out`` and ``back``, and whose TCP works."""

    def __init__(
        self,
        out: LinkConfig,
        back: LinkConfig,
        *,
        accepts: bool | None = True,
        tcp: Road = TCP,
        latency_s: float = 0.025,
    ) -> None:
        self.net = net = linked()
        net.a_to_b.config, net.b_to_a.config = out, back
        net.r.accepts = accepts
        net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(latency_s=latency_s)
        self.connection = net.dial(roads=[UDP, tcp])
        assert net.run(seconds=5, until=lambda: bool(net.i.events(Established)))

    @property
    def failures(self) -> list[RoadFailure]:
        told = [one.event for one in self.net.i.events(RoadFailed, self.connection)]
        return [one.failure for one in told if isinstance(one, RoadFailed)]


@pytest.mark.spec("RO-61", "RO-62", "RO-63")
@pytest.mark.parametrize("accepts", [True, None])
def test_silent_udp_gets_its_reason_from_the_peer_before_anybody_accepts(
    accepts: bool | None,
) -> None:
    run = Silent(BLOCKED, OPEN, accepts=accepts)
    assert not run.failures, "a person hears once, with the better reason"
    run.net.run(seconds=0.1)
    assert run.failures == [RoadFailure(RoadReason.UDP_BLOCKED, 1)]
    run = Silent(OPEN, BLOCKED, accepts=accepts)
    run.net.run(seconds=2)
    assert run.failures == [RoadFailure(RoadReason.UDP_ONEWAY, 1)]


@pytest.mark.spec("RO-63")
def test_without_an_answer_in_time_udp_is_silent() -> None:
    run = Silent(OPEN, BLOCKED)
    run.net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(is_silent=True)
    run.net.run(seconds=0.5)
    assert run.failures == [RoadFailure(RoadReason.UDP_SILENT)]


@pytest.mark.spec("RO-63")
def test_a_proxy_that_answers_says_nothing_about_udp_to_the_host() -> None:
    run = Silent(BLOCKED, OPEN, tcp=Road(Carrier.TCP, ADDRESS_B, proxy="socks5://192.0.2.9:1080"))
    run.net.run(seconds=2)
    assert run.failures == [RoadFailure(RoadReason.UDP_SILENT)]


@pytest.mark.spec("RO-63")
def test_a_hello_whose_answer_may_be_on_its_way_is_no_evidence() -> None:
    """The first hello is lost; the second one has come when the link wins, a moment later."""
    net = linked()
    net.set_links(LinkConfig(latency_s=0.4))
    net.a_to_b.config = BLOCKED
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(latency_s=0.3)
    connection = net.dial(roads=[UDP, TCP])
    net.run(seconds=0.5)
    net.a_to_b.config = LinkConfig(latency_s=0.4)
    assert net.run_until_confirmed(connection)
    net.run(seconds=2)
    (told,) = net.i.events(RoadFailed, connection)
    assert told.event == RoadFailed(UDP, RoadFailure(RoadReason.UDP_SILENT))


def established(net: LinkedEndpoints) -> tuple[Connection, Connection]:
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    return connection, net.r.incoming[-1]


@pytest.mark.spec("RO-62")
def test_a_session_is_told_of_flights_that_proved_its_own_key() -> None:
    net = linked()
    other_key = AccessKey.generate(SeededRng("other"))
    net.r.endpoint.add_access_key(other_key, net.now)
    connection, _ = established(net)
    theirs, ours = net.r.endpoint._admission._doors
    (own_id,) = ours._seen
    theirs.note_seen(b"8 bytes!")
    assert connection.road_reports.ask([own_id, b"8 bytes!", b"unheard "])
    net.run(seconds=0.2)
    (told,) = net.i.events(RoadsSeen, connection)
    assert told.event == RoadsSeen(frozenset({own_id}))


@pytest.mark.spec("RO-62")
def test_the_last_thousand_and_twenty_four_flights_of_a_key_are_remembered() -> None:
    net = linked()
    (door,) = net.r.endpoint._admission._doors
    for n in range(1_025):
        door.note_seen(n.to_bytes(8))
    assert not door.has_seen(bytes(8)) and len(door._seen) == 1_024
    assert all(door.has_seen(n.to_bytes(8)) for n in range(1, 1_025))


@pytest.mark.spec("RO-61", "RO-62")
def test_a_preface_is_a_first_flight_too() -> None:
    net = linked()
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    connection = net.dial(roads=[TCP])
    assert net.run_until_confirmed(connection)
    (door,) = net.r.endpoint._admission._doors
    assert len(door._seen) == 2, "the preface of the link, and the hello that came on it"


@pytest.mark.spec("RO-62")
def test_questions_to_the_initiator_and_answers_to_the_responder_mean_nothing() -> None:
    net = linked()
    connection, other = established(net)
    connection.road_reports.on_frame(RoadTried((bytes(8),)))
    assert not connection.road_reports.questions
    connection.road_reports.on_frame(RoadSeen(((bytes(8), True),)))  # nothing was asked
    other.road_reports.on_frame(RoadSeen(((bytes(8), True),)))
    net.run(seconds=0.2)
    assert not net.i.events(RoadsSeen) and not net.r.events(RoadsSeen)


@pytest.mark.spec("RO-62")
def test_who_asks_again_and_again_is_answered_from_bounded_memory() -> None:
    net = linked()
    connection, other = established(net)
    net.a_to_b.config = BLOCKED
    for n in range(100):
        other.road_reports.on_frame(RoadTried((n.to_bytes(8),) * 16))
        if n % 3:
            other.road_reports.answer(lambda _: False)
    parts = other._shared.parts
    assert parts is not None
    assert len(other.road_reports.questions) <= 4 and len(parts.mux.notes) == 1
    assert connection.path.remote == ADDRESS_B != ADDRESS_A


PUBLIC = Address(bytes([198, 51, 100, 7]), 4433)
LATER = Address(bytes([198, 51, 100, 8]), 4433)
INNER = Address(bytes([10, 0, 0, 7]), 4433)


def tcp(address: Address) -> Road:
    return Road(Carrier.TCP, address)


def listens_at(net: LinkedEndpoints, *roads: Road) -> None:
    (key,) = net.r.endpoint.keys.access
    net.r.endpoint.listens_at(key.ak.public, roads, net.now)


def known_to(host: EndpointHost, connection: Connection) -> set[Road]:
    return {one.road for one in host.endpoint.roads_of(connection)}


@pytest.mark.spec("RO-64", "RO-65", "RO-70")
def test_a_peer_that_was_accepted_hears_where_the_responder_listens_and_of_each_change() -> None:
    net = linked()
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    listens_at(net, UDP, TCP, tcp(PUBLIC), tcp(INNER))
    connection = net.dial(roads=[UDP, TCP])
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.2)
    assert known_to(net.i, connection) == {UDP, TCP, tcp(PUBLIC)}, "and no inner address"
    listens_at(net, UDP, tcp(LATER))
    net.run(seconds=0.2)
    assert known_to(net.i, connection) == {UDP, tcp(LATER)}
    net.i.endpoint.migrate(connection, tcp(LATER), net.now)


@pytest.mark.spec("RO-64")
def test_nobody_hears_of_roads_before_accept() -> None:
    net = linked()
    net.r.accepts = None
    listens_at(net, UDP, TCP)
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.5)
    (other,) = net.r.incoming
    parts = other._shared.parts
    assert parts is not None and not parts.mux.notes
    assert connection.road_reports.named is None


@pytest.mark.spec("RO-65")
def test_a_session_with_one_road_gets_more_if_its_settings_allow() -> None:
    net = linked()
    net.i.endpoint.choose_roads = tuple
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    listens_at(net, UDP, TCP)
    connection = net.dial(roads=[UDP])
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.2)
    assert known_to(net.i, connection) == {UDP, TCP}
    net.set_links(BLOCKED)
    assert net.run(seconds=10, until=lambda: connection.path.carrier is Carrier.TCP)


@pytest.mark.spec("RO-65")
def test_carriers_that_were_not_dialled_are_not_used_unasked() -> None:
    net = linked()
    listens_at(net, UDP, TCP)
    connection = net.dial(roads=[UDP])
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.2)
    assert known_to(net.i, connection) == set()


def visit(net: LinkedEndpoints) -> Connection:
    return net.i.endpoint.connect(net.record(), net.now, is_visit=True)


@pytest.mark.spec("RO-66")
def test_a_visit_is_shown_to_nobody_and_ends_by_itself() -> None:
    net = linked()
    connection = visit(net)
    assert net.run_until_confirmed(connection)
    assert not net.r.told and not net.r.endpoint.connections
    connection.load(1_000_000)
    assert net.run(
        seconds=5,
        until=lambda: not connection.load_left and not connection.stats().bytes_in_flight,
    )
    net.run(seconds=25)
    assert connection.is_drained and not net.r.told


@pytest.mark.spec("RO-66")
def test_one_visitor_of_a_prefix_is_served_in_ten_seconds() -> None:
    visits, (first, other) = Visits(), (peer(1), peer(2))
    here, there = Address(bytes([192, 0, 2, 1]), 1), Address(bytes([198, 51, 100, 1]), 1)
    assert all(visits.admit(here, first, 0.1 * n) for n in range(16))
    assert not visits.admit(here, first, 2.0), "sixteen sessions"
    assert not visits.admit(here, other, 9.9)
    assert visits.admit(there, other, 9.9) and visits.admit(here, other, 10.0)
    assert not visits.admit(Address(bytes([203, 0, 113, 1]), 1), None, 0.0)


@pytest.mark.spec("RO-66")
def test_visits_are_remembered_for_so_many_prefixes_and_no_more() -> None:
    visits = Visits()
    admitted = [visits.admit(Address(bytes([10, 0, n, 1]), 1), peer(n), 0.0) for n in range(100)]
    assert admitted == [True] * 64 + [False] * 36
    assert visits.admit(Address(bytes([10, 0, 99, 1]), 1), peer(99), 10.0)


def peer(n: int) -> PeerKey:
    return Identity.generate(SeededRng(f"peer {n}")).public


@pytest.mark.spec("RO-64")
def test_the_network_is_watched_while_a_peer_could_hear_of_changes() -> None:
    net = linked()
    wishes: list[bool] = []
    net.pipes.on_other_wish = lambda wish: (
        wishes.append(wish.is_on) if isinstance(wish, WatchNetwork) else None
    )
    listens_at(net, UDP)
    connection = net.dial(roads=[UDP])  # and this side has no other road
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.5)
    assert wishes == [True]
    connection.close(0, "", net.now)
    net.run(seconds=10)
    assert wishes == [True, False]


@pytest.mark.spec("RO-64", "RO-65")
def test_a_session_that_is_idle_hears_of_a_change_at_once() -> None:
    net = linked()
    net.i.endpoint.choose_roads = tuple
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    listens_at(net, UDP)
    connection = net.dial(roads=[UDP])
    assert net.run_until_confirmed(connection)
    net.run(seconds=3)
    assert known_to(net.i, connection) == set()
    listens_at(net, UDP, TCP)
    net.run(seconds=0.2)
    assert known_to(net.i, connection) == {UDP, TCP}
