"""Sessions over stream connections, in virtual time."""

from __future__ import annotations

import random

import pytest

from wraith.connection.connection import Connection
from wraith.connection.events import Closed, PathChanged, PathRecovered, PathSuspect, RoadFailed
from wraith.connection.links.wishes import ExplainSilence
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.state import SessionState
from wraith.testing.endpoints import ADDRESS_A, ADDRESS_B, LinkedEndpoints, linked
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig
from wraith.testing.pipes import ROOM_BYTES, SHORT_ROOM_BYTES, PipeConfig
from wraith.testing.rng import SeededRng
from wraith.types import Address, Carrier, NetworkPath, Road
from wraith.wire.frames import encode_frame
from wraith.wire.road_frames import PathRole, PathUse

UDP = Road(Carrier.UDP, ADDRESS_B)
TCP = Road(Carrier.TCP, ADDRESS_B)
BLOCKED = LinkConfig(latency_s=0.01, loss=1.0)
MIB = 1024 * 1024
DATA = SeededRng("links").public_bytes(4 * MIB)


def over_tcp(net: LinkedEndpoints, config: PipeConfig | None = None) -> Connection:
    """A session whose only road is a stream connection."""
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = config if config is not None else PipeConfig()
    connection = net.dial(roads=[TCP])
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.2)
    return connection


@pytest.mark.parametrize("is_upload", [True, False])
def test_a_session_lives_on_a_link_alone(is_upload: bool) -> None:
    net = linked()
    connection = over_tcp(net)
    n_before = net.a_to_b.n_sent
    source = net.i if is_upload else net.r
    copy = net.send_stream(source, connection if is_upload else net.r.incoming[0], DATA)
    assert net.run(until=lambda: copy.is_equal)
    assert net.a_to_b.n_sent == n_before == 0, "nothing over UDP"
    for one in (connection, net.r.incoming[0]):
        stats = one.stats()
        assert stats.lost_packets == stats.retransmitted_bytes == stats.dropped_packets == 0


@pytest.mark.spec("RC-43")
def test_a_link_is_acknowledged_every_sixty_four_packets() -> None:
    net = linked()
    connection = over_tcp(net, PipeConfig(rate_bps=1e9))
    copy = net.send_stream(net.i, connection, DATA)
    before = net.r.incoming[0].stats().sent_packets
    assert net.run(until=lambda: copy.is_equal)
    n_data = len(DATA) / 16_384
    n_sent = net.r.incoming[0].stats().sent_packets - before
    assert n_data / 64 <= n_sent <= n_data / 32, "what updates a window acknowledges too"


def test_a_slow_link_is_filled_and_never_overfilled() -> None:
    net = linked()
    connection = over_tcp(net, PipeConfig(latency_s=0.05, rate_bps=80e6))
    began = net.now
    copy = net.send_stream(net.i, connection, DATA)
    assert net.run(until=lambda: copy.is_equal)
    assert net.now - began < 1.15 * (len(DATA) * 8 / 80e6) + 0.3
    assert connection.stats().retransmitted_bytes == 0


@pytest.mark.spec("CA-28")
def test_a_link_is_kept_short_while_urgent_flows_are_there() -> None:
    net = linked()
    connection = over_tcp(net)
    (end,) = [end for end in net.pipes.ends.values() if end.machine is net.i.endpoint]
    assert end.room_bytes == ROOM_BYTES
    bulk = connection.open_stream(now=net.now)
    connection.stream_write(bulk, b"bulk", now=net.now)
    net.run(seconds=0.1)
    assert end.room_bytes == ROOM_BYTES, "a stream of middling priority is not urgent"
    connection.set_priority(bulk, 31, net.now)
    net.run(seconds=0.1)
    assert end.room_bytes == SHORT_ROOM_BYTES
    connection.set_priority(bulk, 32, net.now)
    net.run(seconds=0.1)
    assert end.room_bytes == ROOM_BYTES
    urgent = connection.open_stream(expedited=True, now=net.now)
    connection.stream_write(urgent, b"now", now=net.now)
    net.run(seconds=0.1)
    assert end.room_bytes == SHORT_ROOM_BYTES
    (theirs,) = net.r.incoming
    for one in (connection, theirs):
        one.stream_write(urgent, b"", fin=True, now=net.now)
    net.run(seconds=0.5)
    for one in (connection, theirs):
        one.stream_read(urgent, 100, net.now)
    net.run(seconds=0.5)
    assert end.room_bytes == ROOM_BYTES, "it is over"


@pytest.mark.spec("CA-28")
def test_a_link_is_kept_short_for_a_while_after_each_message() -> None:
    net = linked()
    connection = over_tcp(net)
    (end,) = [end for end in net.pipes.ends.values() if end.machine is net.i.endpoint]
    assert connection.send_datagram(b"message", net.now)
    net.run(seconds=0.1)
    assert end.room_bytes == SHORT_ROOM_BYTES
    net.run(seconds=2.5)
    bulk = connection.open_stream(now=net.now)
    connection.stream_write(bulk, b"bulk", now=net.now)
    net.run(seconds=0.1)
    assert end.room_bytes == ROOM_BYTES


def test_udp_wins_where_everything_is_open() -> None:
    net = linked()
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    connection = net.dial(roads=[UDP, TCP])
    assert net.run_until_confirmed(connection)
    assert connection.path.carrier is Carrier.UDP and net.pipes.n_opened == 0


def test_a_link_takes_over_where_udp_is_dropped() -> None:
    net = linked(link=BLOCKED)
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(latency_s=0.025)
    began = net.now
    connection = net.dial(roads=[UDP, TCP])
    assert net.run_until_confirmed(connection)
    assert net.now - began <= 0.25 + 4 * 0.05 + 0.001
    assert connection.path.carrier is Carrier.TCP
    (failed,) = net.i.events(RoadFailed, connection)
    assert isinstance(failed.event, RoadFailed)
    assert (failed.event.road, failed.event.failure.reason) == (UDP, RoadReason.UDP_BLOCKED)


def with_a_missing_number(n: int) -> tuple[LinkedEndpoints, Connection, list[bytes]]:
    """A session that has moved from UDP to TCP, and ``n`` packets over UDP that have not come."""
    net = linked()
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    connection = net.dial(roads=[UDP, TCP])
    assert net.run_until_confirmed(connection)
    on_udp = connection.path
    net.i.endpoint.migrate(connection, TCP, net.now)
    assert net.run(seconds=2, until=lambda: connection.path.carrier is Carrier.TCP)
    net.run(seconds=0.5)
    missing: list[bytes] = []
    net.a_to_b.taps.append(missing.append)
    for _ in range(n):
        connection.probe(on_udp, net.now)
        net.run(seconds=0.1)
    net.a_to_b.taps.clear()
    assert len(missing) >= n
    connection.ping(net.now)
    net.run(seconds=0.1)
    return net, connection, missing


@pytest.mark.spec("CN-49")
def test_keys_of_missing_numbers_are_kept_while_a_link_is_open_and_a_while_after() -> None:
    net, connection, missing = with_a_missing_number(3)

    def opens(datagram: bytes) -> bool:
        before = net.r.incoming[0].stats()
        net.inject(datagram, ADDRESS_A, ADDRESS_B)
        after = net.r.incoming[0].stats()
        n_opened = after.received_packets - before.received_packets
        assert n_opened + after.dropped_packets - before.dropped_packets == 1
        return n_opened == 1

    net.run(seconds=15)
    assert opens(missing[0]), "it might have been in the link"
    net.pipes.reset(net.i.endpoint, connection.path.link, net.now)
    net.pipes.configs.clear()
    net.run(seconds=0.9)
    assert opens(missing[1]), "the time counts from the end of the link"
    net.run(seconds=2)
    assert not opens(missing[2])


@pytest.mark.spec("RC-42")
def test_a_bit_that_is_flipped_on_a_link_costs_nothing_but_that_packet_or_link() -> None:
    for at in range(0, 40, 3):
        net = linked(seed=at + 1)
        connection = over_tcp(net)
        copy = net.send_stream(net.i, connection, DATA[:MIB])
        state = {"n": 0}

        def flip(local: object, data: bytes, state: dict[str, int] = state, at: int = at) -> bytes:
            if local != ADDRESS_A:
                return data
            state["n"] += 1
            if state["n"] != 2 or not data:
                return data
            changed = bytearray(data)
            changed[(at * 4_099) % len(changed)] ^= 1
            return bytes(changed)

        net.pipes.tap = flip
        assert net.run(seconds=6, until=lambda c=copy: c.is_equal), at  # type: ignore[misc]
        assert not net.i.events(Closed), at


def test_a_link_that_is_reset_gives_back_what_was_under_way() -> None:
    net = linked()
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(latency_s=0.01, rate_bps=80e6)
    connection = net.dial(roads=[UDP, TCP])
    assert net.run_until_confirmed(connection)
    assert not net.i.events(PathChanged)


class Switching:
    """A session with UDP and TCP, and a stream from one side that meets trouble."""

    def __init__(
        self, seed: int, *, is_upload: bool, n_bytes: int = 4 * MIB, is_udp_blocked: bool = False
    ) -> None:
        link = LinkConfig(latency_s=0.025, rate_bps=40e6, queue_bytes=400_000)
        self.net = net = linked(seed=seed, link=link)
        net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(latency_s=0.025, rate_bps=40e6)
        if is_udp_blocked:
            self.block_udp()
        self.connection = net.dial(roads=[UDP, TCP])
        assert net.run_until_confirmed(self.connection)
        net.run(seconds=0.3)
        self.other = net.r.incoming[0]
        source = net.i if is_upload else net.r
        sender = self.connection if is_upload else self.other
        self.copy = net.send_stream(source, sender, DATA[:n_bytes])
        self.gap_s = 0.0

    def run(self, seconds: float) -> bool:
        """Runs until everything has arrived, and notes the longest time without news."""
        net, copy = self.net, self.copy
        last_at, n_last = net.now, len(copy.received)

        def until() -> bool:
            nonlocal last_at, n_last
            if len(copy.received) != n_last:
                self.gap_s = max(self.gap_s, net.now - last_at)
                last_at, n_last = net.now, len(copy.received)
            return copy.is_equal

        return net.run(seconds=seconds, until=until)

    def run_until_a_link_is_dialled(self) -> None:
        pipes = self.net.pipes
        assert self.net.run(seconds=10, until=lambda: pipes.is_opening)

    def block_udp(self) -> None:
        self.net.set_links(LinkConfig(latency_s=0.025, loss=1.0))

    def open_udp(self) -> None:
        self.net.set_links(LinkConfig(latency_s=0.025, rate_bps=40e6, queue_bytes=400_000))


@pytest.mark.spec("CN-86")
@pytest.mark.spec("CN-89")
@pytest.mark.parametrize("is_upload", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_udp_that_is_dropped_in_the_middle_is_replaced_within_two_seconds(
    seed: int, is_upload: bool
) -> None:
    run = Switching(seed, is_upload=is_upload)
    assert not run.run(0.2 + 0.1 * seed)
    run.block_udp()
    assert run.run(30)
    assert run.connection.path.carrier is Carrier.TCP
    assert run.other.path.carrier is Carrier.TCP
    assert run.gap_s <= 2.0
    assert not run.net.i.events(Closed) and not run.net.r.events(Closed)


@pytest.mark.parametrize("is_upload", [True, False])
def test_back_on_udp_when_it_works_again(is_upload: bool) -> None:
    run = Switching(7, is_upload=is_upload)
    assert not run.run(0.2)
    run.block_udp()
    assert run.run(30)
    run.open_udp()
    began = run.net.now
    back = run.net.run(seconds=40, until=lambda: run.connection.path.carrier is Carrier.UDP)
    assert back and run.net.now - began <= 35
    run.net.run(seconds=1)
    assert run.other.path.carrier is Carrier.UDP
    more = run.net.send_stream(run.net.i, run.connection, DATA[:MIB])
    assert run.net.run(seconds=10, until=lambda: more.is_equal)


def test_a_change_of_the_network_brings_udp_back_at_once() -> None:
    run = Switching(8, is_upload=True)
    assert not run.run(0.2)
    run.block_udp()
    assert run.run(30)
    run.net.run(seconds=20)
    run.open_udp()
    run.net.i.endpoint.network_changed(run.net.now)
    assert run.net.run(seconds=2.5, until=lambda: run.connection.path.carrier is Carrier.UDP)


@pytest.mark.spec("CN-88")
@pytest.mark.parametrize("is_upload", [True, False])
def test_a_link_that_is_reset_while_udp_works_costs_half_a_second(is_upload: bool) -> None:
    run = Switching(9, is_upload=is_upload)
    run.net.i.endpoint.migrate(run.connection, TCP, run.net.now)
    assert not run.run(0.4)
    assert [one.path.carrier for one in (run.connection, run.other)] == 2 * [Carrier.TCP]
    run.gap_s = 0.0
    run.net.pipes.reset(run.net.i.endpoint, run.connection.path.link, run.net.now)
    assert run.run(20)
    assert run.gap_s <= 0.5
    assert run.connection.path.carrier is Carrier.UDP


@pytest.mark.spec("RO-67")
def test_who_drives_the_machine_is_asked_why_a_link_is_silent() -> None:
    net = linked()
    connection = over_tcp(net)
    path = connection.path
    asked: list[ExplainSilence] = []
    net.pipes.on_other_wish = lambda wish: (
        asked.append(wish) if isinstance(wish, ExplainSilence) else None
    )
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(is_silent=True)
    connection.ping(net.now)
    assert net.run(seconds=10, until=lambda: bool(asked))
    assert asked == [ExplainSilence(path)]
    failure = RoadFailure(RoadReason.FROZEN, 16_384)
    net.i.endpoint.link_silent(path, failure, net.now)
    net.i.endpoint.link_silent(path._replace(link=77), RoadFailure(RoadReason.RESET_LATER), net.now)
    assert [road.failure for road in net.i.endpoint.roads_of(connection)] == [failure]


@pytest.mark.spec("CN-84")
def test_a_path_opens_for_a_packet_that_others_have_overtaken() -> None:
    """The first packet on a slow link comes long after newer ones over UDP."""
    run = Switching(10, is_upload=True)
    run.net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(latency_s=0.15)
    run.net.i.endpoint.migrate(run.connection, TCP, run.net.now)
    assert run.run(20)
    assert run.connection.path.carrier is Carrier.TCP
    assert not run.net.i.events(Closed)


@pytest.mark.spec("CN-85")
def test_data_do_not_go_where_a_copied_packet_came_from() -> None:
    """Who holds the code can open a link and send a copy of somebody's first packet on it. The
    responder asks there, and sends nothing else before its own challenge has come back."""
    pair = EstablishedPair()
    pair.run(seconds=1)
    for side in (pair.i, pair.r):
        parts = side.connection._shared.parts
        assert parts is not None
        parts.has_roads = True
    before = pair.r.connection.path
    assert pair.i.connection.join(NetworkPath(ADDRESS_A, ADDRESS_B, Carrier.TCP, 1), pair.now)
    (joining,) = pair.i.connection.datagrams_to_send(pair.now)
    theirs = NetworkPath(ADDRESS_B, ADDRESS_A, Carrier.TCP, 2)
    data = bytes(joining.data)
    pair.r.connection.receive_datagrams(data, len(data), theirs, pair.now)
    pair.forge(pair.i, encode_frame(PathUse(2, 1, PathRole.ACTIVE)))
    pair.send(DATA[:100_000], source=pair.r)
    for transmit in pair.r.connection.datagrams_to_send(pair.now):
        if transmit.path == theirs:
            assert len(transmit.data) <= 3 * len(data)
    assert pair.r.connection.path == before and theirs not in pair.r.connection.paths


@pytest.mark.spec("CN-84")
@pytest.mark.parametrize("is_given_up", [False, True])
def test_a_path_whose_first_packet_was_copied_opens_for_its_next_one(is_given_up: bool) -> None:
    """The copy came first, on a link of somebody else, who does not answer there. What the session
    itself sends next on its own link opens the path there, whether he is still waited for or
    not."""
    pair = EstablishedPair()
    pair.run(seconds=1)
    i, r = pair.i.connection, pair.r.connection
    for connection in (i, r):
        parts = connection._shared.parts
        assert parts is not None
        parts.has_roads = True
    own = NetworkPath(ADDRESS_A, ADDRESS_B, Carrier.TCP, 1)
    thief = NetworkPath(ADDRESS_B, ADDRESS_A, Carrier.TCP, 2)
    theirs = NetworkPath(ADDRESS_B, ADDRESS_A, Carrier.TCP, 3)
    now = pair.now
    assert i.join(own, now)
    (joining,) = i.datagrams_to_send(now)
    for place in (thief, theirs):
        data = bytes(joining.data)
        r.receive_datagrams(data, len(data), place, now)
    pair.forge(pair.i, encode_frame(PathUse(2, 1, PathRole.ACTIVE)))
    for _ in range(4 * is_given_up):
        now += 1.0
        r.handle_timer(now)
        r.datagrams_to_send(now)
    for _ in range(3):
        i.probe(own, now)
        for transmit in i.datagrams_to_send(now):
            data = bytes(transmit.data)
            r.receive_datagrams(data, transmit.segment_bytes, theirs, now)
        for transmit in r.datagrams_to_send(now):
            if transmit.path == theirs:
                data = bytes(transmit.data)
                i.receive_datagrams(data, transmit.segment_bytes, own, now)
        now += 0.1
    assert theirs in r.paths and thief not in r.paths
    assert r.path == theirs, "it is the path that the peer uses"
    i.probe(own, now)
    (newest,) = i.datagrams_to_send(now)
    r.receive_datagrams(bytes(newest.data), newest.segment_bytes, thief, now)
    assert theirs in r.paths and r.path == theirs
    sent = [one for one in r.datagrams_to_send(now) if one.path == thief]
    assert len(sent) <= 1, "an answer to the challenge that was copied, and no challenge"


@pytest.mark.spec("CN-87")
def test_a_nat_that_moves_a_session_in_the_moment_of_a_new_epoch_loses_it_nothing() -> None:
    """The initiator does not know that its address has changed, and its new epoch has a new index:
    to the responder it is a join, and data that are the newest of all take it along."""
    net = linked(link=LinkConfig(latency_s=0.02))
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.3)
    moved = ADDRESS_A._replace(port=9_999)
    connection.rekey(net.now)
    net.run(seconds=0.03)
    net.a_to_b.taps.append(lambda datagram: None)  # the first packets of the new epoch are lost
    parts = connection._shared.parts
    assert parts is not None
    assert net.run(seconds=1, until=lambda: parts.keys.send == 1 and parts.paths.main.index == 2)
    host = net.hosts.pop(ADDRESS_A)
    host.address = moved
    net.hosts[moved] = host
    copy = net.send_stream(net.i, connection, DATA[:MIB])
    assert net.run(seconds=20, until=lambda: copy.is_equal)
    assert net.r.incoming[0].path.remote == moved
    back = net.send_stream(net.r, net.r.incoming[0], DATA[:MIB])
    assert net.run(seconds=20, until=lambda: back.is_equal)


def test_a_challenge_that_was_lost_is_sent_again_when_its_road_is_needed() -> None:
    """UDP is asked when the session stands, in vain; a moment later it is all there is."""
    run = Switching(12, is_upload=True, is_udp_blocked=True)
    assert not run.run(0.2)
    run.open_udp()
    run.gap_s = 0.0
    link = run.connection.path.link
    assert link
    run.net.pipes.reset(run.net.i.endpoint, link, run.net.now)
    run.net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(is_refused=True)
    assert run.run(20)
    assert run.gap_s <= 0.5
    assert run.connection.path.carrier is Carrier.UDP


def test_udp_that_was_away_for_minutes_is_gone_back_to() -> None:
    """Tries that nobody answers do not use up what names a path."""
    run = Switching(14, is_upload=True)
    assert not run.run(0.2)
    run.block_udp()
    assert run.run(30)
    for _ in range(18):
        word = run.net.send_stream(run.net.i, run.connection, b"still here")
        assert run.net.run(seconds=5, until=lambda w=word: w.is_equal)  # type: ignore[misc]
        run.net.run(seconds=10)
    run.open_udp()
    assert run.net.run(seconds=35, until=lambda: run.connection.path.carrier is Carrier.UDP)


def test_who_is_told_of_silence_is_told_that_it_has_ended_with_the_switch() -> None:
    run = Switching(13, is_upload=True)
    assert not run.run(0.2)
    run.block_udp()
    assert run.run(30)
    for host in (run.net.i, run.net.r):
        told = [one for one in host.told if isinstance(one.event, PathSuspect | PathRecovered)]
        kinds = [type(one.event) for one in told]
        assert kinds == [PathSuspect, PathRecovered] * (len(kinds) // 2), kinds
    assert run.net.i.events(PathRecovered)


@pytest.mark.parametrize("closer", ["dialling", "dialled"])
def test_a_session_that_ends_while_roads_are_tried_leaves_nothing_to_do(closer: str) -> None:
    run = Switching(10, is_upload=True)
    assert not run.run(0.2)
    run.block_udp()
    assert run.run(30)
    side = run.connection if closer == "dialling" else run.other
    side.close(0, "", run.net.now)
    run.net.run(seconds=60)
    for host, connection in ((run.net.i, run.connection), (run.net.r, run.other)):
        assert connection.is_drained
        assert not host.endpoint.connections


def test_a_link_that_opens_after_the_session_has_ended_is_closed() -> None:
    run = Switching(11, is_upload=True)
    assert not run.run(0.2)
    run.block_udp()
    run.run_until_a_link_is_dialled()
    run.connection.close(0, "", run.net.now)
    run.net.run(seconds=60)
    assert run.connection.is_drained
    assert not run.net.pipes.ends


MOVED = Address(bytes([203, 0, 113, 9]), 4001)


def move(net: LinkedEndpoints, link: LinkConfig) -> None:
    """The initiator is in another network: its old address is gone, with all that comes there."""
    host = net.hosts[ADDRESS_A]
    net.add_host(host.machine, MOVED, host.service)
    net.remove_host(ADDRESS_A)
    net.link(MOVED, ADDRESS_B).config = net.link(ADDRESS_B, MOVED).config = link


@pytest.mark.spec("RO-44", "CN-41")
@pytest.mark.parametrize("is_upload", [True, False])
def test_a_session_over_udp_goes_on_from_another_address_as_soon_as_the_host_tells(
    is_upload: bool,
) -> None:
    run = Switching(11, is_upload=is_upload)
    assert not run.run(0.3)
    move(run.net, LinkConfig(latency_s=0.025, rate_bps=40e6, queue_bytes=400_000))
    run.net.i.endpoint.network_changed(run.net.now)
    run.gap_s = 0.0
    assert run.run(20)
    assert run.gap_s <= 0.5
    assert run.other.path.remote == MOVED and run.connection.path.carrier is Carrier.UDP


@pytest.mark.spec("RO-44")
@pytest.mark.parametrize("is_upload", [True, False])
def test_a_link_whose_local_address_is_gone_is_left_at_once(is_upload: bool) -> None:
    """Nobody resets it: the kernel sends on from an address that is not there."""
    run = Switching(12, is_upload=is_upload)
    run.net.i.endpoint.migrate(run.connection, TCP, run.net.now)
    assert not run.run(0.4)
    on_tcp = run.connection.path.carrier is Carrier.TCP
    assert on_tcp
    run.net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(is_silent=True)
    run.net.i.endpoint.network_changed(run.net.now, frozenset({MOVED.ip}))
    run.gap_s = 0.0
    assert run.run(30)
    assert run.gap_s <= 0.6
    assert run.connection.path.carrier is Carrier.UDP


@pytest.mark.parametrize(
    "seed",
    [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 50))],
)
def test_a_switch_at_any_point_sends_no_more_twice_than_was_under_way(seed: int) -> None:
    draw = random.Random(seed)
    run = Switching(100 + seed, is_upload=draw.random() < 0.5)
    sender = run.connection if run.net.i.sides[run.connection].transfers else run.other
    assert not run.run(draw.uniform(0.02, 0.7))
    run.block_udp()
    n_before = sender.stats().retransmitted_bytes
    n_in_flight = 0

    def watch() -> bool:
        nonlocal n_in_flight
        if sender.path.carrier is Carrier.UDP:
            n_in_flight = max(n_in_flight, sender.stats().bytes_in_flight)
        return run.copy.is_equal

    assert run.net.run(seconds=30, until=watch)
    assert run.connection.path.carrier is Carrier.TCP
    n_probes = 6 * 1_472  # two for each of three timeouts go out twice before anything is given up
    assert sender.stats().retransmitted_bytes - n_before <= n_in_flight + n_probes
    assert not run.net.i.events(Closed) and not run.net.r.events(Closed)


@pytest.mark.spec("CN-30")
@pytest.mark.parametrize("is_upload", [True, False])
def test_a_session_whose_only_link_was_reset_goes_on_for_many_epochs(is_upload: bool) -> None:
    """The path that is gone, and one that stands by, do not hold back the ids that are accepted."""
    net = linked()
    connection = over_tcp(net)
    other = net.r.incoming[0]
    net.pipes.reset(net.i.endpoint, connection.path.link, net.now)
    assert net.run(seconds=10, until=lambda: connection.path.link == 2 and other.path.link == 2)
    for _ in range(12):
        connection.rekey(net.now)
        net.run(seconds=5)
    assert connection.security.epoch == 12
    sender = connection if is_upload else other
    copy = net.send_stream(net.i if is_upload else net.r, sender, DATA[:MIB])
    assert net.run(seconds=10, until=lambda: copy.is_equal)
    for one in (connection, other):
        parts = one._shared.parts
        assert parts is not None and [path.network.link for path in parts.paths.open] == [2]
        assert one.stats().dropped_packets == 0


@pytest.mark.spec("CN-30", "CN-31")
def test_a_path_that_stands_by_for_many_epochs_is_still_understood() -> None:
    net = linked()
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    connection = net.dial(roads=[UDP, TCP])
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.3)
    udp = connection.path
    net.i.endpoint.migrate(connection, TCP, net.now)
    net.run(seconds=3)
    assert connection.path.carrier is Carrier.TCP and udp in connection.paths
    for _ in range(12):
        connection.rekey(net.now)
        net.run(seconds=3)
    assert connection.security.epoch == 12 and udp in connection.paths
    connection.probe(udp, net.now)
    connection.use(udp, net.now)
    net.run(seconds=1)
    copy = net.send_stream(net.r, net.r.incoming[0], DATA[:MIB])
    assert net.run(seconds=10, until=lambda: copy.is_equal)
    assert net.r.incoming[0].path.carrier is Carrier.UDP
    assert connection.stats().dropped_packets == net.r.incoming[0].stats().dropped_packets == 0


@pytest.mark.spec("CN-32")
def test_a_move_of_a_path_that_is_given_up_is_over() -> None:
    """A session does not stay Migrating for an answer that nobody waits for any more."""
    pair = EstablishedPair()
    pair.run(seconds=1)
    parts = pair.r.connection._shared.parts
    assert parts is not None
    parts.has_roads = True
    moved = NetworkPath(ADDRESS_B, ADDRESS_A._replace(port=9_999))
    pair.i.connection.ping(pair.now)
    (ping,) = pair.i.connection.datagrams_to_send(pair.now)
    data = bytes(ping.data)
    pair.r.connection.receive_datagrams(data, len(data), moved, pair.now)
    states = [pair.r.connection.state]
    link = parts.paths.join(NetworkPath(ADDRESS_B, ADDRESS_A, Carrier.TCP, 1), 2, pair.now)
    link.is_proven = True
    pair.forge(pair.i, encode_frame(PathUse(2, 1, PathRole.ACTIVE)))
    pair.forge(pair.i, encode_frame(PathUse(0, 2, PathRole.CLOSING)))
    assert parts.paths.open == [link]
    states.append(pair.r.connection.state)
    assert states == [SessionState.MIGRATING, SessionState.ESTABLISHED]
