"""What a sender says of files that differ or fail: once each, in few wishes, in little memory."""

from __future__ import annotations

import pytest

from wraith.content.chunking import UNKNOWN_SIZE, chunk_digest
from wraith.errors import CloseCode, LimitExceeded, RemoteProtocolError
from wraith.testing.transfer_pipe import PIPE_PEER, TransferPipe
from wraith.transfer.events import FileFailed, Placed
from wraith.transfer.journal_records import (
    Dropped,
    JournalHeader,
    encode_record,
    encode_verified,
    replay,
)
from wraith.transfer.listing import Entry, Kind, ListingReader, encode_entry
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.message_codec import encode_message
from wraith.transfer.messages import AllSent, Drop, End, Failed, Message, OfferKind, Reason, Start
from wraith.transfer.path_rules import PathRules
from wraith.transfer.receiver import Receiver
from wraith.transfer.state import ReceiverState
from wraith.transfer.wishes import DropFiles

N = 3_000


def waiting(n_files: int = N) -> tuple[TransferPipe, MemoryTarget]:
    """A receiver that has ``n_files`` files of an earlier run, told of them, and awaits START."""
    files: dict[bytes, bytes | None] = {b"f%05d" % i: b"x" for i in range(n_files)}
    source = MemorySource(files)
    digest = source.outgoing.offer().listing_digest
    journal = encode_record(JournalHeader(PIPE_PEER.raw, bytes(16), digest, b"")) + b"".join(
        encode_verified(i, 0, chunk_digest(b"x")) for i in range(n_files)
    )
    target = MemoryTarget(journal=journal, data={i: {0: b"x"} for i in range(n_files)})
    pipe = TransferPipe(source, target)
    pipe.run(stop=lambda: pipe.receiver.state is ReceiverState.AWAITING_START)
    assert pipe.receiver.state is ReceiverState.AWAITING_START
    return pipe, target


def hear(receiver: Receiver, *messages: Message) -> None:
    receiver.receive_control(b"".join(encode_message(message) for message in messages), 0.0)


def wishes(receiver: Receiver) -> list[object]:
    return list(iter(receiver.next_wish, None))


@pytest.mark.spec("TR-103")
@pytest.mark.parametrize(
    "messages",
    [
        [Drop((3,)), Drop((3,))],
        [Drop((3,)), Drop((2,))],
        [Drop((3, 3))],
        [Drop((3, 2))],
        [Failed(3, Reason.OTHER), Failed(3, Reason.OTHER)],
    ],
    ids=["drop twice", "drop falls", "twice in one", "falls in one", "failed twice"],
)
def test_what_a_sender_takes_back_is_named_once(messages: list[Message]) -> None:
    pipe, _ = waiting(10)
    with pytest.raises(RemoteProtocolError) as breach:
        hear(pipe.receiver, *messages)
    assert breach.value.close_code == CloseCode.PROTOCOL_ERROR


@pytest.mark.spec("TR-103")
def test_the_end_of_a_stream_is_told_once() -> None:
    source = MemorySource({b"s": b"x" * 100}, kind=OfferKind.STREAM, size_is_known=False)
    pipe = TransferPipe(source, MemoryTarget())
    pipe.run(stop=lambda: pipe.receiver.state is ReceiverState.AWAITING_START)
    hear(pipe.receiver, Start(), End(0, 100))
    with pytest.raises(RemoteProtocolError):
        hear(pipe.receiver, End(0, 100))


@pytest.mark.spec("TR-104")
def test_drops_are_joined_into_one_wish_and_failures_need_none() -> None:
    pipe, target = waiting()
    hear(pipe.receiver, *(Drop((entry,)) for entry in range(0, N, 2)))
    hear(pipe.receiver, *(Failed(entry, Reason.SOURCE_CHANGED) for entry in range(1, N, 2)))
    asked = wishes(pipe.receiver)
    assert len(asked) == 1 and isinstance(asked[0], DropFiles)
    for wish in asked:
        pipe.receiver.io_done(wish.id, target.fulfil(wish), 0.0)  # type: ignore[attr-defined,arg-type]
    dropped = [r.entry for r, _ in replay(target.journal) if isinstance(r, Dropped)]
    assert sorted(dropped) == list(range(0, N, 2))


@pytest.mark.spec("TR-104")
def test_a_sender_that_makes_work_for_the_disk_is_not_read_meanwhile() -> None:
    pipe, target = waiting()
    n = 0
    while pipe.receiver.wants_control and n < N:
        hear(pipe.receiver, Drop((n,)))
        n += 1
    assert n <= 64
    for wish in wishes(pipe.receiver):
        pipe.receiver.io_done(wish.id, target.fulfil(wish), 0.0)  # type: ignore[attr-defined,arg-type]
    assert pipe.receiver.wants_control


def test_what_is_dropped_goes_before_anything_that_is_sent_again() -> None:
    pipe, target = waiting(10)
    source = pipe.source
    assert isinstance(source, MemorySource)
    source.contents = [b"y"] * 10  # the content differs, the listing does not
    pipe.connect()
    pipe.run()
    assert set(target.placed.values()) == {b"y"}


def test_a_drop_of_what_is_not_here_makes_no_work() -> None:
    pipe, _ = waiting(10)
    hear(pipe.receiver, Failed(4, Reason.OTHER))
    hear(pipe.receiver, Drop((4,)))
    assert wishes(pipe.receiver) == []


def test_of_many_failures_the_first_are_told_at_once_and_all_in_the_end() -> None:
    pipe, _ = waiting()
    hear(pipe.receiver, *(Failed(entry, Reason.SOURCE_CHANGED) for entry in range(N)))
    hear(pipe.receiver, Start(), AllSent(N))
    while (wish := pipe.receiver.next_wish()) is not None:
        pipe.receiver.io_done(wish.id, pipe.target.fulfil(wish), 0.0)
    events = list(iter(pipe.receiver.next_event, None))
    assert 0 < sum(isinstance(event, FileFailed) for event in events) <= 1_000
    (placed,) = [event for event in events if isinstance(event, Placed)]
    assert len(placed.failed_paths) == N
    assert placed.failed_reasons == (Reason.SOURCE_CHANGED,) * N


@pytest.mark.spec("TR-109")
def test_an_offer_of_more_streams_than_anybody_sends_is_refused() -> None:
    def page(n: int) -> bytes:
        return b"".join(
            encode_entry(Entry(Kind.FILE, 0o644, 0, UNKNOWN_SIZE, b"s%02d" % i)) for i in range(n)
        )

    assert ListingReader(PathRules()).add_page(page(16))
    with pytest.raises(LimitExceeded):
        ListingReader(PathRules()).add_page(page(17))


def test_what_is_here_is_told_no_faster_than_it_is_taken() -> None:
    pipe, target = waiting(N)
    receiver = pipe.receiver
    pipe.connect()
    pipe.run(stop=lambda: receiver.state is ReceiverState.TELLING)
    for _ in range(100):  # nobody takes what is said
        for wish in wishes(receiver):
            receiver.io_done(wish.id, target.fulfil(wish), 0.0)  # type: ignore[attr-defined,arg-type]
    said = sum(map(len, receiver.control_to_send()))
    assert said < N * 46 // 2
