"""One end of a link: its states, its loans, its bounds, and what it never does."""

from __future__ import annotations

from random import Random

import pytest

from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.links.link import (
    BUFFER_BYTES_MAX,
    BUFFER_BYTES_MIN,
    ROOM_BYTES_MIN,
    UNPROVEN_BYTES_MAX,
    LinkState,
    Runs,
    StreamLink,
)
from wraith.connection.links.preface import PREFACE_BYTES, LinkKeys, make_preface, open_preface
from wraith.crypto.secret import Secret
from wraith.testing.rng import SeededRng
from wraith.types import Carrier

KEY = AccessKey.generate(SeededRng("key"))
LARGEST = 16_384


def keys(outgoing: int = 1, incoming: int = 2) -> LinkKeys:
    return LinkKeys(Secret(bytes([outgoing] * 32)), Secret(bytes([incoming] * 32)), bytes(8))


def pair(seed: str = "link") -> tuple[StreamLink, StreamLink]:
    """The dialler's and the listener's end of a real preface."""
    preface, own = make_preface(
        KEY.ak.public, None, Carrier.TCP, rng=SeededRng(seed), unix_now=1_800_000_000
    )

    def prove(data: bytes) -> LinkKeys | None:
        opened = open_preface(KEY, data, Carrier.TCP)
        return None if opened is None else opened.keys

    return StreamLink.dialled(own, preface), StreamLink.accepted(prove)


def cut(runs: Runs) -> list[bytes]:
    return [bytes(data[i : i + n]) for data, n in runs for i in range(0, len(data), n)]


def put(link: StreamLink, data: bytes) -> list[bytes]:
    """As a socket does: into the room, as much as fits at a time. The packets that came out."""
    found: list[bytes] = []
    while data:
        room = link.receive_room()
        n = min(len(room), len(data))
        room[:n], data = data[:n], data[n:]
        found += cut(link.received(n))
    return found


def written(link: StreamLink, *packets: bytes) -> bytes:
    return b"".join(
        bytes(part) for packet in packets for part in link.frame(memoryview(packet), len(packet))
    )


@pytest.mark.spec("CA-1", "CA-12")
def test_packets_arrive_byte_for_byte_in_both_directions() -> None:
    dialler, listener = pair()
    rng = SeededRng("packets")
    there = [rng.public_bytes(n) for n in (1200, 900, 33, LARGEST)]
    data = written(dialler, *there)
    assert len(data) == PREFACE_BYTES + sum(18 + len(packet) for packet in there)
    assert put(listener, data) == there
    assert listener.state is LinkState.OPEN and listener.is_at_boundary
    back = [rng.public_bytes(n) for n in (64, 2000)]
    data = written(listener, *back)
    assert len(data) == sum(18 + len(packet) for packet in back), "no preface comes back"
    assert put(dialler, data) == back


@pytest.mark.spec("CA-12")
def test_the_preface_leaves_in_front_of_the_first_record_once() -> None:
    dialler, _ = pair()
    packets = memoryview(bytes(2 * 1400 + 100))
    first = dialler.frame(packets, 1400)
    assert [len(part) for part in first] == [88 + 18, 1400, 18, 1400, 18, 100]
    assert [len(part) for part in dialler.frame(packets[:1400], 1400)] == [18, 1400]


def test_packets_are_not_copied() -> None:
    link = StreamLink.dialled(keys(), b"")
    source = bytearray(100)
    parts = link.frame(memoryview(source), 60)
    source[:] = b"x" * 100
    assert bytes(parts[1]) == b"x" * 60 and bytes(parts[3]) == b"x" * 40


@pytest.mark.spec("CA-9")
def test_a_packet_of_a_size_that_no_link_takes_changes_nothing() -> None:
    link, other = (StreamLink.dialled(keys(), b"preface") for _ in range(2))
    for size in (32, LARGEST + 1):
        with pytest.raises(ValueError):
            link.frame(memoryview(bytes(size)), size)
    assert written(link, bytes(50)) == written(other, bytes(50))
    assert link.frame(memoryview(b""), 50) == []


@pytest.mark.spec("CA-10")
@pytest.mark.parametrize("seed", range(4))
def test_the_stream_may_be_cut_anywhere(seed: int) -> None:
    chance = Random(seed)
    dialler, listener = pair(str(seed))
    sent = [chance.randbytes(chance.choice((40, 1400, LARGEST))) for _ in range(40)]
    data = written(dialler, *sent)
    found: list[bytes] = []
    while data:
        n = min(chance.choice((1, 18, 88, 5_000, 60_000)), len(data))
        piece, data = data[:n], data[n:]
        if chance.random() < 0.5:
            found += cut(listener.feed(piece))
        else:
            found += put(listener, piece)
    assert found == sent and listener.is_at_boundary


def test_a_boundary_is_where_nothing_waits() -> None:
    dialler, listener = pair()
    data = written(dialler, bytes(100))
    for at in range(len(data)):
        assert listener.is_at_boundary == (at in (0, PREFACE_BYTES)), at
        listener.feed(data[at : at + 1])
    assert listener.is_at_boundary


@pytest.mark.spec("CA-13")
def test_the_proof_gets_exactly_88_bytes_once() -> None:
    asked: list[bytes] = []

    def prove(data: bytes) -> LinkKeys | None:
        asked.append(data)
        return None

    link = StreamLink.accepted(prove)
    data = bytes(range(200))
    for i in range(87):
        put(link, data[i : i + 1])
    assert asked == []
    put(link, data[87:])
    assert asked == [data[:88]] and link.state is LinkState.DISCARDING
    put(link, data)
    assert len(asked) == 1


@pytest.mark.spec("CA-13")
def test_no_more_than_4096_bytes_are_held_for_anybody_unproven() -> None:
    link = StreamLink.accepted(lambda _: None)
    assert len(link.receive_room()) <= UNPROVEN_BYTES_MAX == 4_096
    put(link, bytes(50))
    assert len(link.receive_room()) == UNPROVEN_BYTES_MAX - 50
    put(link, bytes(50))
    for _ in range(10):
        assert len(link.receive_room()) == UNPROVEN_BYTES_MAX
        assert put(link, bytes(10_000)) == [] and link.feed(bytes(60_000)) == []


@pytest.mark.spec("CA-10")
def test_an_open_link_always_has_room_and_grows_only_where_it_is_filled() -> None:
    dialler, listener = pair()
    packet = bytes(LARGEST)
    data = written(dialler, *[packet] * 400)
    listener.feed(data[:PREFACE_BYTES])
    data = data[PREFACE_BYTES:]
    for _ in range(8):  # reads that do not fill it
        room = listener.receive_room()
        assert ROOM_BYTES_MIN <= len(room) <= BUFFER_BYTES_MIN
        room[:1000], data = data[:1000], data[1000:]
        listener.received(1000)
    n_packets, sizes = 0, set()
    while data:
        room = listener.receive_room()
        assert len(room) >= ROOM_BYTES_MIN
        sizes.add(len(room) + LARGEST + 18 > BUFFER_BYTES_MAX - 1)
        n = min(len(room), len(data))
        room[:n], data = data[:n], data[n:]
        n_packets += len(cut(listener.received(n)))
    assert n_packets == 400 and sizes == {True, False}
    assert len(listener.receive_room()) <= BUFFER_BYTES_MAX


@pytest.mark.spec("CA-11", "CA-14")
def test_a_wrong_length_ends_the_link_in_silence() -> None:
    dialler, listener = pair()
    good = bytes(range(100))
    data = bytearray(written(dialler, good, bytes(100), bytes(100)))
    data[PREFACE_BYTES + 118] ^= 1
    assert put(listener, bytes(data)) == [good], "what came before it is delivered"
    assert listener.state is LinkState.DISCARDING and listener.is_at_boundary
    assert listener.frame(memoryview(bytes(100)), 100) == []
    assert put(listener, written(dialler, bytes(100))) == []


@pytest.mark.spec("CA-14")
def test_a_discarding_link_neither_reads_nor_writes_nor_keeps_keys() -> None:
    for link in pair():
        link.discard()
        link.discard()
        assert link.state is LinkState.DISCARDING
        assert link.frame(memoryview(bytes(100)), 100) == []
        assert put(link, bytes(20_000)) == [] and link.is_at_boundary
    own = keys()
    StreamLink.dialled(own, b"")
    assert own.key_in.is_wiped and own.key_out.is_wiped


def test_views_outlive_the_growth_of_the_buffer_until_they_are_given_back() -> None:
    dialler, listener = pair()
    first = bytes([1]) * 100
    runs = listener.feed(written(dialler, first))
    assert cut(runs) == [first]
    listener.discard()
    assert cut(runs) == [first], "discarding frees nothing that is on loan"


def test_more_than_64_kib_at_once_are_refused() -> None:
    with pytest.raises(ValueError):
        pair()[1].feed(bytes(ROOM_BYTES_MIN + 1))
