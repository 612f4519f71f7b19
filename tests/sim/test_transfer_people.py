"""Who gets the offer, and what happens when someone says no or breaks the rules."""

from __future__ import annotations

import pytest

from wraith.content.chunking import CHUNK_BYTES
from wraith.errors import (
    Busy,
    DecodeError,
    HashMismatch,
    NoSpace,
    NotAuthorised,
    OfferRefused,
    WraithError,
)
from wraith.node.config import NodeConfig
from wraith.node.events import Bound, Finished, TurnedAway
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import ADDRESS_B, ADDRESS_C, NodeHost, NodeSimulation
from wraith.testing.rng import SeededRng
from wraith.transfer import message_codec
from wraith.transfer.answers import PiecesRead
from wraith.transfer.events import (
    Aborted,
    Accepted,
    Declined,
    Done,
    FileFailed,
    OfferReceived,
    Progress,
)
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.messages import Message, MessageType, Reason
from wraith.transfer.wishes import AnswerT, Complete, ReadPieces, Wish
from wraith.types import PeerKey

DATA = SeededRng("sim people").public_bytes(8 * CHUNK_BYTES)
SLOW = LinkConfig(latency_s=0.01, rate_bps=8_000_000, queue_bytes=60_000)


def error_of(host: NodeHost) -> WraithError | None:
    assert host.finished is not None, host.events
    return host.finished.error


@pytest.mark.spec("TR-91")
@pytest.mark.spec("TR-94")
def test_a_second_receiver_is_told_that_the_code_is_in_use() -> None:
    target = MemoryTarget()
    sim = NodeSimulation(MemorySource({b"f": DATA}), link=SLOW)
    first = sim.start_receiver(target)
    assert sim.run(seconds=30, until=lambda: bool(first.of(Accepted)))
    second = sim.start_receiver(MemoryTarget(), name="other", address=ADDRESS_C)
    assert sim.run_until_finished(second, seconds=30)
    assert isinstance(error_of(second), Busy)
    assert any(isinstance(e, TurnedAway) and e.busy for e in sim.sender.events)
    assert sim.run_until_finished(sim.sender, first)
    assert target.placed == {b"f": DATA} and error_of(sim.sender) is None


@pytest.mark.spec("TR-136")
def test_a_sender_whose_receiver_cannot_read_its_offer_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver of version 1 closes 0x0002 at the first byte that it does not know."""

    def as_version_1(body: bytes) -> Message:
        raise DecodeError("OFFER version", body[0])

    monkeypatch.setitem(message_codec._DECODERS, MessageType.OFFER, as_version_1)
    sim = NodeSimulation(MemorySource({b"f": DATA}))
    receiver = sim.start_receiver(MemoryTarget())
    assert sim.run_until_finished(receiver, sim.sender, seconds=30)
    error = error_of(sim.sender)
    assert error is not None and "newer wraith needed" in str(error)
    assert error.exit_code == 2


@pytest.mark.spec("TR-92")
def test_of_two_who_look_the_first_to_accept_gets_it() -> None:
    sim = NodeSimulation(MemorySource({b"f": DATA}))
    first = sim.start_receiver(MemoryTarget(), answer=None)
    second = sim.start_receiver(
        target := MemoryTarget(), name="other", address=ADDRESS_C, answer=None
    )
    assert sim.run(
        seconds=30, until=lambda: bool(first.of(OfferReceived) and second.of(OfferReceived))
    )
    (offer,) = second.of(OfferReceived)
    assert isinstance(offer, OfferReceived)
    second.transfer.accept(offer.offer_id, sim.now)
    assert sim.run_until_finished(sim.sender, first, second)
    assert isinstance(error_of(first), Busy) and error_of(second) is None
    assert target.placed == {b"f": DATA}
    bound = sim.sender.of(Bound)
    assert len(bound) == 1


@pytest.mark.spec("TR-92")
def test_a_code_stays_bound_across_a_restart_of_the_sender() -> None:
    stranger = PeerKey(b"\x07" * 32)
    sim = NodeSimulation(MemorySource({b"f": DATA}), sender_config=NodeConfig(bound_to=stranger))
    receiver = sim.start_receiver(MemoryTarget())
    assert sim.run_until_finished(receiver, seconds=30)
    assert isinstance(error_of(receiver), Busy)


@pytest.mark.spec("TR-92")
def test_the_binding_ends_with_a_refusal() -> None:
    sim = NodeSimulation(
        MemorySource({b"f": DATA}), sender_config=NodeConfig(end_on_decline=False), link=SLOW
    )
    first = sim.start_receiver(MemoryTarget())
    assert sim.run(seconds=30, until=lambda: bool(first.of(Accepted)))
    sim.kill(ADDRESS_B)
    again = sim.start_receiver(MemoryTarget(), answer=Reason.DECLINED)
    assert sim.run_until_finished(again, seconds=30)
    assert sim.sender.transfer.bound_to is None
    other = sim.start_receiver(target := MemoryTarget(), name="other", address=ADDRESS_C)
    assert sim.run_until_finished(other, sim.sender)
    assert target.placed == {b"f": DATA}


@pytest.mark.spec("TR-91")
def test_only_the_named_receiver_is_served() -> None:
    sim = NodeSimulation(
        MemorySource({b"f": DATA}),
        sender_config=NodeConfig(expected_peers=frozenset({PeerKey(b"\x09" * 32)})),
    )
    receiver = sim.start_receiver(MemoryTarget())
    assert sim.run_until_finished(receiver, seconds=30)
    assert isinstance(error_of(receiver), NotAuthorised)
    assert any(isinstance(e, TurnedAway) and not e.busy for e in sim.sender.events)


def test_with_keep_one_receiver_after_the_other_is_served() -> None:
    sim = NodeSimulation(MemorySource({b"f": DATA}), sender_config=NodeConfig(keep=True))
    for name, address in (("one", ADDRESS_B), ("two", ADDRESS_C)):
        receiver = sim.start_receiver(target := MemoryTarget(), name=name, address=address)
        assert sim.run_until_finished(receiver, seconds=60)
        assert error_of(receiver) is None and target.placed == {b"f": DATA}
    assert len(sim.sender.of(Done)) == 2 and sim.sender.finished is None


def test_a_refusal_ends_both_sides_with_their_own_words() -> None:
    sim = NodeSimulation(MemorySource({b"f": DATA}))
    receiver = sim.start_receiver(MemoryTarget(), answer=Reason.DECLINED)
    assert sim.run_until_finished(sim.sender, receiver, seconds=30)
    for host in (sim.sender, receiver):
        assert isinstance(error_of(host), OfferRefused)
        assert error_of(host).exit_code == 16  # type: ignore[union-attr]


def test_looking_at_the_listing_leaves_the_offer_as_it_was() -> None:
    sim = NodeSimulation(MemorySource({b"f": DATA}))
    looker = sim.start_receiver(MemoryTarget(), answer=Reason.LIST_ONLY)
    assert sim.run_until_finished(looker, seconds=30)
    assert sim.sender.finished is None
    receiver = sim.start_receiver(target := MemoryTarget(), name="other", address=ADDRESS_C)
    assert sim.run_until_finished(sim.sender, receiver)
    assert target.placed == {b"f": DATA}


@pytest.mark.spec("TR-44")
def test_a_file_that_changes_while_it_is_sent_fails_alone_on_both_sides() -> None:
    source = MemorySource({b"a": DATA, b"b": DATA[::-1], b"c": b"end"})
    sim = NodeSimulation(source, link=SLOW)
    receiver = sim.start_receiver(target := MemoryTarget())
    source.changed.add(b"b")
    assert sim.run_until_finished(sim.sender, receiver)
    assert target.placed == {b"a": DATA, b"c": b"end"}
    for host in (sim.sender, receiver):
        done = host.finished.done if host.finished is not None else None
        assert done is not None and (done.n_files, done.n_failed) == (2, 1)
        assert len(host.of(FileFailed)) == 1


def test_a_full_disk_ends_the_receiver_and_the_next_one_goes_on() -> None:
    target = MemoryTarget()
    target.fail, target.fail_after = NoSpace(), 3
    sim = NodeSimulation(MemorySource({b"f": DATA}), link=SLOW)
    first = sim.start_receiver(target)
    assert sim.run_until_finished(first, seconds=60)
    assert isinstance(error_of(first), NoSpace)
    assert sim.sender.finished is None  # it waits for the receiver to come again
    (told,) = sim.sender.of(Aborted)
    assert isinstance(told, Aborted) and told.by_peer and told.reason is Reason.NO_SPACE
    again = MemoryTarget(journal=bytes(target.journal), data=target.data)
    second = sim.start_receiver(again)
    assert sim.run_until_finished(sim.sender, second)
    assert again.placed == {b"f": DATA}
    assert second.finished is not None and second.finished.done is not None
    assert second.finished.done.bytes_reused == 3 * CHUNK_BYTES


class LyingSource(MemorySource):
    """Corrupts one chunk after it was hashed."""

    def read_pieces(self, wish: ReadPieces) -> PiecesRead:
        result = super().read_pieces(wish)
        for i, buffer in enumerate(result.buffers):
            if len(buffer) == CHUNK_BYTES:
                result.buffers[i] = b"!" + buffer[1:]
                break
        return result


def test_a_chunk_corrupted_after_hashing_is_refused_with_file_and_chunk() -> None:
    sim = NodeSimulation(LyingSource({b"f": DATA}))
    receiver = sim.start_receiver(target := MemoryTarget())
    assert sim.run_until_finished(receiver, seconds=30)
    error = error_of(receiver)
    assert isinstance(error, HashMismatch) and (error.file, error.chunk) == ("f", 0)
    assert target.placed == {}
    told = sim.sender.of(Aborted)[0]
    assert isinstance(told, Aborted) and told.reason is Reason.HASH_MISMATCH


def test_an_interrupted_receiver_says_so_and_goes_on_later() -> None:
    target = MemoryTarget()
    sim = NodeSimulation(MemorySource({b"f": DATA}), link=SLOW)
    receiver = sim.start_receiver(target)
    assert sim.run(
        seconds=60,
        until=lambda: any(isinstance(e, Progress) and e.bytes_done for e in receiver.events),
    )
    receiver.transfer.stop(sim.now)
    assert sim.run_until_finished(receiver, seconds=5)
    assert error_of(receiver).exit_code == 130  # type: ignore[union-attr]
    sim.run(seconds=1)
    told = sim.sender.of(Aborted)[0]
    assert isinstance(told, Aborted) and told.by_peer and told.reason is Reason.INTERRUPTED
    assert sim.sender.finished is None
    again = sim.start_receiver(MemoryTarget(journal=bytes(target.journal), data=target.data))
    assert sim.run_until_finished(sim.sender, again)
    assert again.finished is not None and again.finished.done is not None
    assert again.finished.done.bytes_reused > 0


def test_an_interrupted_sender_leaves_the_receiver_trying() -> None:
    sim = NodeSimulation(MemorySource({b"f": DATA}), link=SLOW)
    receiver = sim.start_receiver(target := MemoryTarget())
    assert sim.run(seconds=60, until=lambda: bool(receiver.of(Accepted)))
    sim.sender.transfer.stop(sim.now)
    assert sim.run_until_finished(sim.sender, seconds=5)
    sim.run(seconds=5)
    assert receiver.finished is None
    sim.start_sender(MemorySource({b"f": DATA}))
    assert sim.run_until_finished(sim.sender, receiver, seconds=60)
    assert target.placed == {b"f": DATA}


def test_the_receipt_is_not_needed_for_the_receiver_to_end_well() -> None:
    sim = NodeSimulation(MemorySource({b"f": DATA}))

    class Severing(MemoryTarget):
        def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
            if isinstance(wish, Complete):
                sim.set_links(LinkConfig(latency_s=0.01, loss=1.0))
            return super().fulfil(wish)

    target = Severing()
    receiver = sim.start_receiver(target)
    assert sim.run_until_finished(receiver, seconds=60)
    assert error_of(receiver) is None
    assert isinstance(receiver.events[-1], Finished) and target.placed == {b"f": DATA}
    sim.set_links(LinkConfig(latency_s=0.01))
    assert sim.sender.finished is None
    again = sim.start_receiver(MemoryTarget(journal=bytes(target.journal), data=target.data))
    assert sim.run_until_finished(sim.sender, again, seconds=60)
    done = again.finished.done if again.finished is not None else None
    assert done is not None and done.bytes_transferred == 0 and done.bytes_reused == len(DATA)


def test_declined_offers_carry_their_reason_to_the_sender() -> None:
    sim = NodeSimulation(MemorySource({b"f": DATA}))
    receiver = sim.start_receiver(MemoryTarget(free_bytes=10))
    assert sim.run_until_finished(sim.sender, receiver, seconds=30)
    assert isinstance(error_of(receiver), NoSpace)
    declined = sim.sender.of(Declined)[0]
    assert isinstance(declined, Declined) and declined.reason is Reason.NO_SPACE
