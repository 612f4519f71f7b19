"""A sender and a receiver joined by pipes: the whole dialogue, and where it goes wrong."""

from __future__ import annotations

import pytest

from wraith.content.chunking import CHUNK_BYTES
from wraith.errors import (
    HashMismatch,
    LimitExceeded,
    MissingChunk,
    NoSpace,
    OfferRefused,
    RemoteProtocolError,
    StateViolation,
    UnsafePath,
)
from wraith.testing.rng import SeededRng
from wraith.testing.transfer_pipe import PIPE_PEER, TransferPipe
from wraith.transfer import sender as sender_module
from wraith.transfer.events import (
    Aborted,
    Accepted,
    Declined,
    Done,
    FileFailed,
    OfferReceived,
    Placed,
    Progress,
    TransferEvent,
)
from wraith.transfer.intake import HELD_BYTES_MAX
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.message_codec import encode_message, offer_id_of
from wraith.transfer.messages import (
    AllSent,
    Answer,
    Failed,
    HaveEnd,
    Offer,
    OfferKind,
    Page,
    ProgressMessage,
    Reason,
    Receipt,
    Start,
)
from wraith.transfer.path_rules import PathRules
from wraith.transfer.receiver import Receiver
from wraith.transfer.sender import Sender
from wraith.transfer.state import ReceiverState, SenderState
from wraith.transfer.wishes import WritePieces
from wraith.types import PeerKey

RNG = SeededRng("transfer pipe")
BIG = RNG.public_bytes(5 * CHUNK_BYTES + 77)
TREE: dict[bytes, bytes | None] = {
    b"t": None,
    b"t/big": BIG,
    b"t/empty": b"",
    b"t/sub": None,
    b"t/sub/x": b"hello",
    b"z.txt": b"z" * CHUNK_BYTES,
}


def only(events: list[TransferEvent], kind: type) -> list[TransferEvent]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("cut", [1 << 20, 4099])
def test_everything_arrives_equal(cut: int) -> None:
    pipe = TransferPipe(MemorySource(TREE), target := MemoryTarget(), cut=cut)
    pipe.run()
    assert target.placed == TREE
    total = len(BIG) + 5 + CHUNK_BYTES
    done = Done(4, total, total, 0, 0, n_folders=2)
    assert pipe.sent_events[-1] == done and pipe.received_events[-1] == done
    assert target.is_removed
    offer = only(pipe.received_events, OfferReceived)[0]
    assert isinstance(offer, OfferReceived)
    assert offer.offer.n_files == 4 and offer.n_folders == 2
    assert [top.path for top in offer.tops] == [b"t", b"z.txt"]


def test_progress_never_runs_ahead_of_what_is_written() -> None:
    source, target = MemorySource({b"f": BIG}), MemoryTarget()
    pipe = TransferPipe(source, target)
    pipe.connect()
    seen = 0
    while pipe.step():
        for event in only(pipe.received_events, Progress)[seen:]:
            assert isinstance(event, Progress)
            seen += 1
            assert event.bytes_done <= sum(
                len(c) for held in target.data.values() for c in held.values()
            )
    assert seen >= 2


def test_many_small_files_need_few_wishes_and_no_round_trip_each() -> None:
    files: dict[bytes, bytes | None] = {b"f%04d" % i: b"x" * 4096 for i in range(2000)}
    pipe = TransferPipe(MemorySource(files), target := MemoryTarget())
    pipe.run()
    assert target.placed == files
    assert pipe.n_target_wishes < 60


def test_a_stream_of_unknown_size() -> None:
    source = MemorySource({b"stdin": BIG}, kind=OfferKind.STREAM, size_is_known=False)
    pipe = TransferPipe(source, target := MemoryTarget())
    pipe.run()
    assert target.placed == {b"stdin": BIG}
    accepted = only(pipe.received_events, Accepted)[0]
    assert accepted == Accepted(0, None)


@pytest.mark.parametrize("size", [0, CHUNK_BYTES, 2 * CHUNK_BYTES])
def test_a_stream_that_ends_at_a_chunk(size: int) -> None:
    source = MemorySource({b"s": BIG[:size]}, kind=OfferKind.STREAM, size_is_known=False)
    pipe = TransferPipe(source, target := MemoryTarget())
    pipe.run()
    assert target.placed == {b"s": BIG[:size]}
    assert pipe.receiver.state is ReceiverState.DONE


def test_a_text_comes_out_with_the_event() -> None:
    pipe = TransferPipe(MemorySource.text("grüße"), MemoryTarget())
    pipe.run()
    placed = only(pipe.received_events, Placed)[0]
    assert isinstance(placed, Placed) and placed.text == "grüße".encode()


def test_only_empty_things() -> None:
    files: dict[bytes, bytes | None] = {b"d": None, b"d/e": b""}
    pipe = TransferPipe(MemorySource(files), target := MemoryTarget())
    pipe.run()
    assert target.placed == files and pipe.sender is not None
    assert pipe.sender.state is SenderState.DONE


# --- what can go wrong ------------------------------------------------------------------------


@pytest.mark.spec("TR-56")
def test_a_corrupted_chunk_is_refused_with_file_and_chunk() -> None:
    n = 0

    def corrupt(buffer: bytes) -> bytes:
        nonlocal n
        n += len(buffer) == CHUNK_BYTES
        return b"\x00" * 8 + buffer[8:] if n == 3 and len(buffer) == CHUNK_BYTES else buffer

    pipe = TransferPipe(MemorySource(TREE), target := MemoryTarget(), tap=corrupt)
    pipe.run()
    aborted = only(pipe.received_events, Aborted)[0]
    assert isinstance(aborted, Aborted) and isinstance(aborted.error, HashMismatch)
    assert (aborted.error.file, aborted.error.chunk) == ("t/big", 2)
    told = only(pipe.sent_events, Aborted)[0]
    assert isinstance(told, Aborted) and told.by_peer and told.reason is Reason.HASH_MISMATCH
    assert "chunk 2" in str(told.error)
    assert target.placed == {}
    pipe.tap = None
    pipe.connect()
    pipe.run()
    assert target.placed == TREE


@pytest.mark.spec("TR-44")
def test_a_changed_file_fails_alone() -> None:
    source = MemorySource(TREE)
    source.changed.add(b"t/sub/x")
    pipe = TransferPipe(source, target := MemoryTarget())
    pipe.run()
    expected = {path: data for path, data in TREE.items() if path != b"t/sub/x"}
    assert target.placed == expected
    for events in (pipe.sent_events, pipe.received_events):
        assert [e.reason for e in only(events, FileFailed) if isinstance(e, FileFailed)] == [
            Reason.SOURCE_CHANGED
        ]
        done = events[-1]
        assert isinstance(done, Done) and done.n_failed == 1 and done.n_files == 3
    placed = only(pipe.received_events, Placed)[0]
    assert isinstance(placed, Placed) and placed.failed_paths == (b"t/sub/x",)


def test_a_full_disk_ends_the_attempt_and_keeps_what_is_there() -> None:
    source, target = MemorySource({b"f": BIG}), MemoryTarget()
    target.fail, target.fail_after = NoSpace(), 2
    pipe = TransferPipe(source, target)
    pipe.run()
    aborted = only(pipe.received_events, Aborted)[0]
    assert isinstance(aborted, Aborted) and isinstance(aborted.error, NoSpace)
    kept = sum(len(c) for held in target.data.values() for c in held.values())
    target.fail = None
    pipe.connect()
    pipe.run()
    assert target.placed == {b"f": BIG}
    done = pipe.sent_events[-1]
    assert isinstance(done, Done) and done.bytes_reused == 0  # of this run, all of it
    assert kept == 2 * CHUNK_BYTES
    assert only(pipe.received_events, Accepted)[-1] == Accepted(kept, len(BIG))


def test_too_little_space_is_refused_before_anything_is_sent() -> None:
    pipe = TransferPipe(MemorySource(TREE), MemoryTarget(free_bytes=1000))
    pipe.run()
    declined = only(pipe.received_events, Declined)[0]
    assert isinstance(declined, Declined) and isinstance(declined.error, NoSpace)
    assert "holes of sparse files are filled" in str(declined.error)
    assert pipe.data_bytes == 0
    told = only(pipe.sent_events, Declined)[0]
    assert isinstance(told, Declined) and "space" in str(told.error)


@pytest.mark.spec("TR-70")
def test_a_name_that_exists_is_refused_by_default() -> None:
    pipe = TransferPipe(MemorySource(TREE), MemoryTarget(existing=[b"t"]))
    pipe.run()
    declined = only(pipe.received_events, Declined)[0]
    assert isinstance(declined, Declined) and isinstance(declined.error, OfferRefused)
    assert "already there: t" in str(declined.error)
    assert pipe.sender is not None and pipe.sender.state is SenderState.DECLINED


def test_collisions_on_the_target_are_refused_with_their_names() -> None:
    pipe = TransferPipe(
        MemorySource({b"A": b"1", b"a": b"2"}),
        MemoryTarget(),
        rules=PathRules(case_insensitive=True),
    )
    pipe.run()
    declined = only(pipe.received_events, Declined)[0]
    assert isinstance(declined, Declined) and isinstance(declined.error, UnsafePath)
    assert "a is the same name as A" in str(declined.error)


def test_the_receiver_may_decline() -> None:
    pipe = TransferPipe(MemorySource(TREE), MemoryTarget(), accept=False)
    pipe.run()
    pipe.receiver.decline(OfferRefused())
    pipe.run()
    told = only(pipe.sent_events, Declined)[0]
    assert isinstance(told, Declined) and told.reason is Reason.DECLINED
    with pytest.raises(StateViolation):
        pipe.receiver.accept(offer_id_of(PIPE_PEER, pipe.source.outgoing.offer()))


@pytest.mark.spec("TR-100")
def test_an_answer_to_another_offer_leaves_this_one_pending() -> None:
    pipe = TransferPipe(MemorySource(TREE), target := MemoryTarget(), accept=False)
    pipe.run()
    (shown,) = only(pipe.received_events, OfferReceived)
    assert isinstance(shown, OfferReceived)
    # The same listing under another name is another offer.
    pipe.source = MemorySource(TREE, name=b"another")
    pipe.connect()
    pipe.run()
    with pytest.raises(StateViolation, match="that offer is gone"):
        pipe.receiver.accept(shown.offer_id)
    assert pipe.receiver.state is ReceiverState.DECIDING and target.placed == {}
    pending = only(pipe.received_events, OfferReceived)[-1]
    assert isinstance(pending, OfferReceived)
    pipe.receiver.accept(pending.offer_id)
    pipe.run()
    assert target.placed == TREE


@pytest.mark.spec("TR-100")
def test_only_the_offer_that_was_accepted_is_accepted_again_by_itself() -> None:
    pipe = TransferPipe(MemorySource(TREE), target := MemoryTarget())
    pipe.run(stop=lambda: pipe.receiver.is_receiving)
    pipe.accept = False
    pipe.connect()
    pipe.run(stop=lambda: pipe.receiver.is_receiving)
    assert pipe.receiver.is_receiving  # the same: nobody is asked
    pipe.source = MemorySource(TREE, name=b"another")
    pipe.connect()
    pipe.run()
    assert pipe.receiver.state is ReceiverState.DECIDING and target.placed == {}


def test_the_same_offer_of_another_peer_is_another_offer() -> None:
    offer = MemorySource(TREE).outgoing.offer()
    assert offer_id_of(PIPE_PEER, offer) != offer_id_of(PeerKey(b"\x02" * 32), offer)
    assert offer_id_of(PIPE_PEER, offer) != offer_id_of(None, offer)


# --- what a peer may not do -------------------------------------------------------------------


def offered() -> tuple[Receiver, MemorySource]:
    from itertools import count

    source = MemorySource(TREE)
    receiver = Receiver(PathRules(), count(1))
    receiver.begin(None)
    return receiver, source


@pytest.mark.spec("TR-41")
@pytest.mark.parametrize(
    "message", [Page(b"x"), Start(), Failed(0, Reason.OTHER), AllSent(0), HaveEnd(), Answer(True)]
)
def test_a_message_out_of_turn_is_a_violation(
    message: Page | Start | Failed | AllSent | HaveEnd | Answer,
) -> None:
    receiver, _ = offered()
    with pytest.raises(RemoteProtocolError):
        receiver.receive_control(encode_message(message), 0.0)


@pytest.mark.parametrize(
    "change", ["n_entries", "n_files", "total_bytes", "listing_bytes", "digest"]
)
def test_a_listing_that_is_not_the_announced_one_is_a_violation(change: str) -> None:
    receiver, source = offered()
    offer = source.outgoing.offer()
    wrong = Offer(
        kind=offer.kind,
        n_entries=offer.n_entries + (change == "n_entries"),
        n_files=offer.n_files + (change == "n_files"),
        total_bytes=(offer.total_bytes or 0) + (change == "total_bytes"),
        n_pages=offer.n_pages,
        listing_bytes=offer.listing_bytes + (change == "listing_bytes"),
        listing_digest=bytes(32) if change == "digest" else offer.listing_digest,
    )
    receiver.receive_control(encode_message(wrong), 0.0)
    with pytest.raises(LimitExceeded):
        receiver.receive_control(encode_message(Page(source.pages[0])), 0.0)


@pytest.mark.spec("TR-13")
@pytest.mark.parametrize(
    ("n_entries", "n_pages", "listing_bytes"),
    [(0, 1, 10), (1_000_001, 1, 10), (1, 0, 10), (1, 9_000, 10), (1, 1, (1 << 28) + 1)],
)
def test_an_offer_beyond_the_limits_is_refused_at_once(
    n_entries: int, n_pages: int, listing_bytes: int
) -> None:
    receiver, _ = offered()
    offer = Offer(OfferKind.FILES, n_entries, 0, 0, n_pages, listing_bytes, bytes(32))
    with pytest.raises(LimitExceeded):
        receiver.receive_control(encode_message(offer), 0.0)


@pytest.mark.spec("TR-136")
@pytest.mark.parametrize(("version", "where"), [(1, "at the sender"), (3, "here")])
def test_an_offer_of_another_version_is_declined_in_words_that_version_1_knows(
    version: int, where: str
) -> None:
    receiver, source = offered()
    offer = bytearray(encode_message(source.outgoing.offer()))
    offer[4] = version
    receiver.receive_control(bytes(offer), 0.0)
    assert receiver.control_to_send() == [encode_message(Answer(False, Reason.UNSUPPORTED))]
    declined = receiver.next_event()
    assert isinstance(declined, Declined) and not declined.by_peer
    assert f"newer wraith needed {where}" in str(declined.error)
    assert declined.error.exit_code == 2
    receiver.receive_control(encode_message(Page(source.pages[0])), 0.0)  # not read any more
    assert receiver.next_event() is None and receiver.next_wish() is None


@pytest.mark.spec("TR-136")
def test_a_sender_whose_offer_is_not_read_says_that_a_newer_wraith_is_needed() -> None:
    pipe = TransferPipe(MemorySource(TREE), MemoryTarget(), accept=False)
    sender = pipe.connect()
    pipe.run(stop=lambda: sender.state is SenderState.AWAITING_ANSWER)
    sender.receive_control(encode_message(Answer(False, Reason.UNSUPPORTED)))
    pipe.run()
    declined = only(pipe.sent_events, Declined)[0]
    assert isinstance(declined, Declined)
    assert "newer wraith needed" in str(declined.error) and declined.error.exit_code == 2


@pytest.mark.spec("TR-135")
def test_the_sender_hears_what_was_not_read_again() -> None:
    pipe = TransferPipe(MemorySource(TREE), MemoryTarget())
    sender = pipe.connect()
    pipe.run(stop=lambda: sender.state is SenderState.AWAITING_RECEIPT)
    digest = pipe.source.outgoing.index.digest()
    sender.receive_control(encode_message(Receipt(digest, 4, 1000, 0, 600)))
    done = sender.next_event()
    while not isinstance(done, Done):
        assert done is not None
        done = sender.next_event()
    assert (done.bytes_total, done.bytes_unread) == (1000, 600)


@pytest.mark.spec("TR-43")
def test_a_receipt_for_something_else_is_a_violation() -> None:
    pipe = TransferPipe(MemorySource(TREE), MemoryTarget())
    sender = pipe.connect()
    pipe.run(stop=lambda: sender.state is SenderState.AWAITING_RECEIPT)
    with pytest.raises(StateViolation):
        sender.receive_control(encode_message(Receipt(bytes(32), 4, 1, 0)))
    assert sender.state is SenderState.AWAITING_RECEIPT


@pytest.mark.spec("TR-42")
def test_data_before_start_is_not_taken() -> None:
    receiver, _ = offered()
    assert receiver.data_room() == 0
    receiver.receive_data(b"\x00" * 100, 0.0)
    assert receiver.next_wish() is None


def test_a_sender_that_ends_without_a_chunk_is_told_so() -> None:
    pipe = TransferPipe(MemorySource({b"f": b"data"}), MemoryTarget(), tap=lambda _: b"")
    pipe.run()
    assert only(pipe.received_events, Aborted) == []
    pipe.receiver.receive_data_end(pipe.now)
    pipe.run()
    aborted = only(pipe.received_events, Aborted)[0]
    assert isinstance(aborted, Aborted) and isinstance(aborted.error, MissingChunk)


@pytest.mark.spec("TR-45")
def test_what_is_held_unwritten_is_bounded_whatever_the_peer_sends() -> None:
    source = MemorySource({b"f": bytes(200 * CHUNK_BYTES)})
    pipe = TransferPipe(source, MemoryTarget())
    sender = pipe.connect()
    pipe.run(stop=lambda: pipe.receiver.state is ReceiverState.RECEIVING)
    taken = 0
    writes = 0
    while (room := pipe.receiver.data_room()) > 0:
        while (wish := sender.next_wish()) is not None:
            sender.io_done(wish.id, source.fulfil(wish))
        for buffer in sender.data_to_send(min(room, 1 << 18)):
            taken += len(buffer)
            pipe.receiver.receive_data(buffer, pipe.now)
        while (held := pipe.receiver.next_wish()) is not None:  # a disk that never answers
            writes += isinstance(held, WritePieces)
    assert writes == 2
    assert taken <= HELD_BYTES_MAX + 3 * CHUNK_BYTES


@pytest.mark.spec("TR-45")
def test_a_sender_stops_before_it_has_too_much_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "UNCONSUMED_BYTES_MAX", 4 * CHUNK_BYTES)
    out = bytes_out(*about_to_send())
    assert 4 * CHUNK_BYTES <= out <= 5 * CHUNK_BYTES + 200


def about_to_send() -> tuple[Sender, MemorySource]:
    """A sender of forty chunks that has been told to start, before its first byte."""
    source = MemorySource({b"f": bytes(40 * CHUNK_BYTES)})
    pipe = TransferPipe(source, MemoryTarget())
    sender = pipe.connect()
    pipe.run(stop=lambda: pipe.receiver.state is ReceiverState.AWAITING_START)
    for message in pipe.receiver.control_to_send():
        sender.receive_control(message)
    return sender, source


def bytes_out(sender: Sender, source: MemorySource) -> int:
    """All that it sends while nobody says that anything was consumed."""
    out = 0
    for _ in range(100):
        while (wish := sender.next_wish()) is not None:
            sender.io_done(wish.id, source.fulfil(wish))
        sender.control_to_send()
        out += sum(map(len, sender.data_to_send(1 << 30)))
    return out


def test_the_default_window_still_lets_everything_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "UNCONSUMED_BYTES_MAX", 2 * CHUNK_BYTES)
    pipe = TransferPipe(MemorySource(TREE), target := MemoryTarget())
    pipe.run()
    assert target.placed == TREE


def test_whole_chunks_of_a_lost_connection_are_kept() -> None:
    source = MemorySource({b"f": bytes(range(256)) * (3 * CHUNK_BYTES // 256)})
    target = MemoryTarget()
    pipe = TransferPipe(source, target)
    sender = pipe.connect()
    pipe.run(stop=lambda: pipe.receiver.state is ReceiverState.AWAITING_START)
    for message in pipe.receiver.control_to_send():
        sender.receive_control(message)
    while (wish := sender.next_wish()) is not None:
        sender.io_done(wish.id, source.fulfil(wish))
    for message in sender.control_to_send():
        pipe.receiver.receive_control(message, pipe.now)
    assert pipe.receiver.state is ReceiverState.RECEIVING
    stream = b"".join(sender.data_to_send(1 << 30))
    pipe.receiver.receive_data(stream[: 2 * CHUNK_BYTES + 200], pipe.now)  # the third is cut off
    assert target.n_written == 0
    pipe.receiver.connection_lost()
    pipe.connect()
    pipe.run()
    done = only(pipe.received_events, Done)[0]
    assert isinstance(done, Done)
    assert (done.bytes_transferred, done.bytes_total) == (3 * CHUNK_BYTES, 3 * CHUNK_BYTES)
    assert pipe.data_bytes < 2 * CHUNK_BYTES  # only the third crossed again


@pytest.mark.spec("TR-45")
def test_a_peer_cannot_widen_the_window_by_what_it_says_it_has_consumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender_module, "UNCONSUMED_BYTES_MAX", 4 * CHUNK_BYTES)
    sender, source = about_to_send()
    out = bytes_out(sender, source)
    sender.receive_control(encode_message(ProgressMessage(0, 0, 1 << 60)))
    more = bytes_out(sender, source)
    assert 4 * CHUNK_BYTES <= more <= out + CHUNK_BYTES, "as if all sent so far were consumed"


def test_another_listing_on_the_next_connection_is_received_as_its_own() -> None:
    first = MemorySource({b"f": BIG, b"g": b"g" * CHUNK_BYTES})
    target = MemoryTarget()
    pipe = TransferPipe(first, target)
    pipe.run(stop=lambda: target.n_written > 0)
    assert pipe.receiver.state is ReceiverState.RECEIVING
    pipe.receiver.connection_lost()
    content: dict[bytes, bytes | None] = {b"f": BIG[: 2 * CHUNK_BYTES], b"h": b"other"}
    pipe.source = MemorySource(content)
    pipe.connect()
    pipe.run()
    assert isinstance(pipe.received_events[-1], Done), pipe.received_events
    assert target.placed == content
