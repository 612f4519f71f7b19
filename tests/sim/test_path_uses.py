"""PATH_USE and the paths that it names, in whatever order the two arrive: datagrams are carried by
hand here."""

from __future__ import annotations

import pytest

from wraith.connection.connection import Connection
from wraith.testing.endpoints import ADDRESS_A, ADDRESS_B
from wraith.testing.established import EstablishedPair
from wraith.types import Carrier, NetworkPath
from wraith.wire.frames import encode_frame
from wraith.wire.road_frames import PathRole, PathUse


def link(number: int) -> NetworkPath:
    """As the initiator sees it."""
    return NetworkPath(ADDRESS_A, ADDRESS_B, Carrier.TCP, number)


def seen_by_peer(path: NetworkPath) -> NetworkPath:
    return path._replace(local=path.remote, remote=path.local)


class ByHand:
    """Two sides that can have more than one path. What they send waits until it is delivered."""

    def __init__(self) -> None:
        self.pair = EstablishedPair()
        self.pair.run(seconds=1)
        self.i, self.r = self.pair.i.connection, self.pair.r.connection
        for connection in (self.i, self.r):
            parts = connection._shared.parts
            assert parts is not None
            parts.has_roads = True

    def sent_by(self, connection: Connection) -> list[tuple[NetworkPath, bytes]]:
        """What leaves now, as its receiver sees the path."""
        transmits = connection.datagrams_to_send(self.pair.now)
        return [(seen_by_peer(one.path), bytes(one.data)) for one in transmits]

    def deliver(self, target: Connection, sent: list[tuple[NetworkPath, bytes]]) -> None:
        for path, data in sent:
            target.receive_datagrams(data, len(data), path, self.pair.now)

    def exchange(self) -> None:
        """Carries both ways until nobody says anything, acknowledgements that wait included."""
        n_silent = 0
        while n_silent < 2:
            from_i, from_r = self.sent_by(self.i), self.sent_by(self.r)
            self.deliver(self.r, from_i)
            self.deliver(self.i, from_r)
            n_silent = 0 if from_i or from_r else n_silent + 1
            self.pair.net.clock.advance(self.pair.now + 0.025)
            for connection in (self.i, self.r):
                connection.handle_timer(self.pair.now)

    def join(self, path: NetworkPath) -> list[tuple[NetworkPath, bytes]]:
        """The first packet of the initiator on ``path``, which waits."""
        assert self.i.join(path, self.pair.now)
        return self.sent_by(self.i)


@pytest.mark.spec("CN-84", "CN-86")
def test_a_path_that_a_newer_one_has_overtaken_is_one_when_path_use_comes_there() -> None:
    """Its index is below that of the newer path: nothing but PATH_USE tells that it is a path."""
    by = ByHand()
    slow, quick = by.join(link(1)), by.join(link(2))
    by.deliver(by.r, quick)
    by.deliver(by.r, slow)
    by.exchange()
    assert {link(1), link(2)} <= set(by.i.paths)
    by.i.use(link(1), by.pair.now)
    by.exchange()
    assert by.i.path == link(1)
    assert by.r.path == seen_by_peer(link(1))


@pytest.mark.spec("CN-86")
def test_a_path_that_a_newer_one_has_overtaken_is_one_when_path_use_has_named_it() -> None:
    by = ByHand()
    slow, quick = by.join(link(1)), by.join(link(2))
    by.deliver(by.r, quick)
    by.pair.forge(by.pair.i, encode_frame(PathUse(2, 1, PathRole.ACTIVE)))
    by.deliver(by.r, slow)
    by.exchange()
    assert by.r.path == seen_by_peer(link(1))


@pytest.mark.spec("CN-86")
def test_a_path_use_that_comes_before_the_path_counts_when_the_path_comes() -> None:
    by = ByHand()
    joining = by.join(link(1))
    before = by.r.path
    by.pair.forge(by.pair.i, encode_frame(PathUse(2, 1, PathRole.ACTIVE)))
    assert by.r.path == before
    by.deliver(by.r, joining)
    assert by.r.path == before, "not before it is proven"
    by.exchange()
    assert by.r.path == seen_by_peer(link(1))


@pytest.mark.spec("CN-86")
@pytest.mark.parametrize("later", [PathUse(0, 2, PathRole.ACTIVE), PathUse(2, 2, PathRole.STANDBY)])
def test_a_newer_path_use_takes_the_place_of_one_that_waits_for_its_path(later: PathUse) -> None:
    by = ByHand()
    joining = by.join(link(1))
    before = by.r.path
    by.pair.forge(by.pair.i, encode_frame(PathUse(2, 1, PathRole.ACTIVE)))
    by.pair.forge(by.pair.i, encode_frame(later))
    by.deliver(by.r, joining)
    by.exchange()
    assert by.r.path == before


@pytest.mark.spec("CN-86")
def test_the_end_of_another_path_leaves_what_waits_for_its_path() -> None:
    by = ByHand()
    joining = by.join(link(1))
    by.pair.forge(by.pair.i, encode_frame(PathUse(2, 1, PathRole.ACTIVE)))
    by.pair.forge(by.pair.i, encode_frame(PathUse(8, 2, PathRole.CLOSING)))
    by.deliver(by.r, joining)
    by.exchange()
    assert by.r.path == seen_by_peer(link(1))


@pytest.mark.spec("CN-30")
def test_the_index_of_a_path_that_joins_counts_for_those_that_are_accepted() -> None:
    """Each link that is dialled takes an index, whether or not keys change meanwhile."""
    by = ByHand()
    for number in range(1, 13):
        joining = by.join(link(number))
        by.deliver(by.r, joining)
        by.exchange()
        assert link(number) in by.i.paths and seen_by_peer(link(number)) in by.r.paths
        by.i.use(link(number), by.pair.now)
        by.exchange()
        assert by.r.path == seen_by_peer(link(number))
    assert by.r.stats().dropped_packets == 0


@pytest.mark.spec("CN-32")
def test_a_known_index_on_another_link_is_no_path() -> None:
    by = ByHand()
    by.deliver(by.r, by.join(link(1)))
    by.exchange()
    n_paths = len(by.r.paths)
    by.i.probe(link(1), by.pair.now)
    ((_, again),) = by.sent_by(by.i)
    by.deliver(by.r, [(seen_by_peer(link(2)), again)])
    by.exchange()
    assert len(by.r.paths) == n_paths and seen_by_peer(link(2)) not in by.r.paths


@pytest.mark.spec("CN-84")
def test_a_path_opens_for_a_packet_that_newer_ones_have_overtaken_without_path_use() -> None:
    by = ByHand()
    joining = by.join(link(1))
    by.i.ping(by.pair.now)
    by.deliver(by.r, by.sent_by(by.i))
    by.deliver(by.r, joining)
    parts = by.r._shared.parts
    assert parts is not None
    assert parts.paths.find(seen_by_peer(link(1))) is not None, "not only for the next packet"
    by.exchange()
    assert seen_by_peer(link(1)) in by.r.paths
