"""Whole nodes on bad networks: the files arrive, equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from wraith.connection.connection import Connection
from wraith.content.chunking import CHUNK_BYTES
from wraith.node.config import NodeConfig
from wraith.node.events import (
    ClockSkewSeen,
    Connected,
    Dialling,
    Finished,
    LinkLost,
    StillTrying,
    TurnedAway,
)
from wraith.node.link import UNSENT_BYTES_LOW, UNSENT_BYTES_MAX, WRITE_BYTES_MIN, TransferLink
from wraith.node.node import Node
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import ADDRESS_A, ADDRESS_B, NodeSimulation
from wraith.testing.rng import SeededRng
from wraith.transfer.events import Accepted, Done, PeerDeciding, Progress
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.messages import OfferKind
from wraith.types import Buffer, StreamId, Transmit

DATA = SeededRng("sim transfer").public_bytes(8 * CHUNK_BYTES)
TREE: dict[bytes, bytes | None] = {
    b"d": None,
    b"d/big": DATA[: 3 * CHUNK_BYTES + 1],
    b"d/empty": b"",
    b"d/small": b"small",
}
TOTAL = 3 * CHUNK_BYTES + 6


def transfer(link: LinkConfig, seed: int, seconds: float = 300.0) -> NodeSimulation:
    target = MemoryTarget()
    sim = NodeSimulation(MemorySource(TREE), seed=seed, link=link)
    receiver = sim.start_receiver(target)
    assert sim.run_until_finished(sim.sender, receiver, seconds=seconds), receiver.events
    assert target.placed == TREE
    for host in (sim.sender, receiver):
        assert host.finished is not None and host.finished.error is None
        assert host.finished.done is not None
        assert (host.finished.done.n_files, host.finished.done.bytes_total) == (3, TOTAL)
    return sim


def test_a_plain_network() -> None:
    sim = transfer(LinkConfig(latency_s=0.01), 1)
    assert sim.now < 2.0
    kinds = [type(event) for event in sim.sender.events]
    assert kinds[0] is Connected and PeerDeciding in kinds and Accepted in kinds
    assert kinds[-2:] == [Done, Finished]


def test_the_security_card_is_that_of_the_handshake() -> None:
    sim = transfer(LinkConfig(latency_s=0.01), 2)
    card = sim.sender.of(Connected)[0]
    assert isinstance(card, Connected)
    assert card.security.post_quantum and card.security.key_exchange == "X25519+ML-KEM-768"
    assert card.peer is not None and not card.is_this_machine and not card.again


@pytest.mark.parametrize("seed", [1, 2])
def test_a_fifth_of_all_datagrams_lost(seed: int) -> None:
    sim = transfer(LinkConfig(latency_s=0.005, loss=0.2), seed)
    n_sent = sum(link.n_sent for link in sim.links.values())
    n_lost = sum(link.n_lost for link in sim.links.values())
    assert 0.15 < n_lost / n_sent < 0.25


def test_two_hundred_milliseconds() -> None:
    sim = transfer(LinkConfig(latency_s=0.1), 3)
    assert sim.now < 10.0


def test_reordering_duplicates_and_jitter() -> None:
    link = LinkConfig(latency_s=0.01, jitter_s=0.01, duplicate=0.05, reorder=0.1, loss=0.01)
    sim = transfer(link, 4)
    assert sum(link.n_delivered for link in sim.links.values()) > sum(
        link.n_sent - link.n_lost for link in sim.links.values()
    ), "some came twice"


def test_a_thousand_small_files_over_a_long_path_take_no_round_trip_each() -> None:
    files: dict[bytes, bytes | None] = {b"f%04d" % i: b"x" * 512 for i in range(1000)}
    target = MemoryTarget()
    sim = NodeSimulation(MemorySource(files), link=LinkConfig(latency_s=0.05))
    receiver = sim.start_receiver(target)
    assert sim.run_until_finished(sim.sender, receiver)
    assert target.placed == files
    assert sim.now < 3.0  # thirty round trips; a thousand would be a hundred seconds


def test_a_stream_without_a_size() -> None:
    source = MemorySource({b"stdin": DATA}, kind=OfferKind.STREAM, size_is_known=False)
    target = MemoryTarget()
    sim = NodeSimulation(source)
    receiver = sim.start_receiver(target)
    assert sim.run_until_finished(sim.sender, receiver)
    assert target.placed == {b"stdin": DATA}


def test_a_rate_limit_is_kept() -> None:
    target = MemoryTarget()
    sim = NodeSimulation(
        MemorySource({b"f": DATA[: 4 * CHUNK_BYTES]}),
        sender_config=NodeConfig(limit_bytes_per_s=500_000),
    )
    receiver = sim.start_receiver(target)
    assert sim.run_until_finished(sim.sender, receiver)
    expected = 4 * CHUNK_BYTES / 500_000
    assert expected * 0.8 < sim.now < expected * 1.3 + 1


def test_the_connection_is_fed_little_by_little_and_never_runs_dry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The window would let it take far more than it can send soon; what it is given is still
    enough for full runs."""
    waiting: list[int] = []
    room: list[int] = []
    links: set[TransferLink] = set()
    data_streams: set[StreamId] = set()
    n_dry = 0
    write, pump = Connection.stream_write_chunks, TransferLink.pump

    def watched_write(
        self: Connection, sid: StreamId, chunks: Iterable[Buffer], n_max: int, now: float
    ) -> int:
        room.append(self.stream_room(sid))
        taken = write(self, sid, chunks, n_max, now)
        waiting.append(self.stream_unsent(sid))
        if taken >= WRITE_BYTES_MIN:
            data_streams.add(sid)
        return taken

    def watched_pump(self: TransferLink, now: float) -> None:
        links.add(self)
        pump(self, now)

    monkeypatch.setattr(Connection, "stream_write_chunks", watched_write)
    monkeypatch.setattr(TransferLink, "pump", watched_pump)
    data = DATA * 8
    target = MemoryTarget()
    sim = NodeSimulation(MemorySource({b"f": data}), link=LinkConfig(latency_s=0.002))
    send = Node.datagrams_to_send

    def watched_send(self: Node, now: float) -> list[Transmit]:
        nonlocal n_dry
        transmits = send(self, now)
        # What is left shows that the run was not cut short for want of bytes.
        n_dry += bool(transmits) and any(
            link.runs_dry and not link.connection.stream_unsent(sid)
            for link in links
            for sid in data_streams
        )
        return transmits

    monkeypatch.setattr(Node, "datagrams_to_send", watched_send)
    receiver = sim.start_receiver(target)
    assert sim.run_until_finished(sim.sender, receiver)
    assert target.placed == {b"f": data}
    assert UNSENT_BYTES_LOW < max(waiting) <= UNSENT_BYTES_MAX
    assert max(room) > 2 * UNSENT_BYTES_MAX
    assert n_dry == 0


# --- the peer vanishes ------------------------------------------------------------------------


def verified(host_events: Sequence[object]) -> int:
    return max([e.bytes_done for e in host_events if isinstance(e, Progress)] + [0])


SLOW = LinkConfig(latency_s=0.01, rate_bps=4_000_000, queue_bytes=60_000)


@pytest.mark.spec("TR-93")
def test_a_receiver_killed_and_started_again_is_served_at_once() -> None:
    source, target = MemorySource({b"f": DATA}), MemoryTarget()
    sim = NodeSimulation(source, link=SLOW)
    first = sim.start_receiver(target)
    assert sim.run(seconds=60, until=lambda: verified(first.events) >= 3 * CHUNK_BYTES)
    done = verified(first.events)
    sim.kill(ADDRESS_B)
    again = MemoryTarget(journal=bytes(target.journal), data=target.data)
    killed_at = sim.now
    second = sim.start_receiver(again)
    assert sim.run(seconds=5, until=lambda: bool(second.of(Accepted)))
    assert sim.now - killed_at < 1.0  # the old connection is not waited for
    assert sim.sender.of(TurnedAway) == []  # and it is replaced, not turned away as a stranger
    assert sim.run_until_finished(sim.sender, second)
    assert again.placed == {b"f": DATA}
    assert second.finished is not None and second.finished.done is not None
    assert second.finished.done.bytes_reused >= done - 1024 * 1024
    assert second.finished.done.bytes_transferred < len(DATA)


def test_a_sender_killed_and_started_again_is_found_by_the_waiting_receiver() -> None:
    source, target = MemorySource({b"f": DATA}), MemoryTarget()
    sim = NodeSimulation(source, link=SLOW)
    receiver = sim.start_receiver(target)
    assert sim.run(seconds=60, until=lambda: verified(receiver.events) >= 3 * CHUNK_BYTES)
    done = verified(receiver.events)
    sim.kill(ADDRESS_A)
    sim.run(seconds=5)
    assert receiver.finished is None
    sim.start_sender(MemorySource({b"f": DATA}))
    assert sim.run_until_finished(sim.sender, receiver, seconds=60)
    assert target.placed == {b"f": DATA}
    assert sim.sender.finished is not None and sim.sender.finished.done is not None
    assert sim.sender.finished.done.bytes_reused >= done - 1024 * 1024
    dialled = receiver.of(Dialling)
    assert len(dialled) >= 2 and any(isinstance(d, Dialling) and d.again for d in dialled)


@pytest.mark.spec("TR-95")
def test_a_receiver_gives_up_when_the_sender_does_not_come_back() -> None:
    sim = NodeSimulation(MemorySource({b"f": DATA}), link=SLOW)
    receiver = sim.start_receiver(MemoryTarget(), config=NodeConfig(wait_s=60))
    assert sim.run(seconds=60, until=lambda: verified(receiver.events) > 0)
    sim.kill(ADDRESS_A)
    lost_at = sim.now
    assert sim.run_until_finished(receiver, seconds=300)
    assert receiver.finished is not None and receiver.finished.error is not None
    assert receiver.finished.error.code == "connection-lost"
    assert 55 < sim.now - lost_at < 110
    assert receiver.of(LinkLost)


@pytest.mark.spec("TR-95")
def test_nobody_answers() -> None:
    sim = NodeSimulation(MemorySource(TREE))
    sim.kill(ADDRESS_A)
    receiver = sim.start_receiver(MemoryTarget())
    assert sim.run_until_finished(receiver, seconds=100)
    assert receiver.finished is not None and receiver.finished.error is not None
    assert receiver.finished.error.code == "handshake-timeout"
    assert 29.9 <= sim.now <= 31.0
    assert [type(event) for event in receiver.events].count(StillTrying) == 1


def test_a_sender_waits_without_limit_for_its_first_receiver() -> None:
    sim = NodeSimulation(MemorySource(TREE))
    sim.run(seconds=3600)
    assert sim.sender.finished is None
    receiver = sim.start_receiver(MemoryTarget())
    assert sim.run_until_finished(sim.sender, receiver)


def test_a_path_that_is_cut_for_a_while_is_bridged() -> None:
    target = MemoryTarget()
    sim = NodeSimulation(MemorySource({b"f": DATA}), link=SLOW)
    receiver = sim.start_receiver(target)
    assert sim.run(seconds=60, until=lambda: verified(receiver.events) > 0)
    sim.set_links(LinkConfig(latency_s=0.01, loss=1.0))
    sim.run(seconds=90)
    assert receiver.finished is None and sim.sender.finished is None
    sim.set_links(SLOW)
    assert sim.run_until_finished(sim.sender, receiver, seconds=60)
    assert target.placed == {b"f": DATA}


def test_a_receiver_with_a_wrong_clock_is_seen_at_the_sender() -> None:
    sim = NodeSimulation(MemorySource(TREE))
    sim.start_receiver(MemoryTarget(), skew_s=3600.0)
    sim.run(seconds=12)
    skews = [e for e in sim.sender.events if isinstance(e, ClockSkewSeen)]
    assert skews and 3590 < skews[0].skew_s < 3610


@pytest.mark.parametrize("seed", range(6))
def test_a_receiver_whose_questions_go_unanswered_dials_again_soon(seed: int) -> None:
    """Its own probes wait longer each time; questions in between would put them off for ever."""
    link = LinkConfig(latency_s=0.02 + 0.02 * seed, rate_bps=8e6, queue_bytes=100_000)
    sim = NodeSimulation(MemorySource({b"f": DATA}), seed=seed, link=link)
    receiver = sim.start_receiver(MemoryTarget())
    assert sim.run(seconds=10, until=lambda: verified(receiver.events) > 0)
    sim.set_links(LinkConfig(loss=1.0))
    n_dialled = len(receiver.of(Dialling))
    assert sim.run(seconds=10, until=lambda: len(receiver.of(Dialling)) > n_dialled)
