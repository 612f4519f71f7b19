"""Control messages have an order each, and what a peer can make us do with them is bounded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from types import FrameType

import pytest

from wraith.content.chunking import CHUNK_BYTES, DIGEST_BYTES, chunk_digest
from wraith.errors import CloseCode, RemoteProtocolError, StateViolation
from wraith.testing.transfer_pipe import PIPE_PEER, TransferPipe
from wraith.transfer.events import Accepted, Done
from wraith.transfer.journal_records import JournalHeader, encode_record, encode_verified
from wraith.transfer.listing import Entry, Kind, ListingIndex, ListingWriter
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.message_codec import encode_message
from wraith.transfer.messages import Answer, Have, HaveItem, Message, ProgressMessage, Reason, Skip
from wraith.transfer.sender import Outgoing, Sender
from wraith.transfer.wishes import CheckRanges, ReadPages

D = bytes(DIGEST_BYTES)
ZEROS = bytes(CHUNK_BYTES)


def outgoing(sizes: list[int]) -> Outgoing:
    """An offer of files with these sizes, page by page, without their names."""
    index = ListingIndex()
    for at in range(0, len(sizes), 2_000):
        page = [Entry(Kind.FILE, 0o644, 0, size, b"f") for size in sizes[at : at + 2_000]]
        index.add_page(b"x" * len(page), page)
    return Outgoing(index)


def hearing_sender(sizes: list[int]) -> Sender:
    """A sender whose offer was accepted: it hears what is there already."""
    sender = Sender(outgoing(sizes), count(1))
    while sender.state.value == "offering":
        sender.control_to_send()
        while (wish := sender.next_wish()) is not None:
            assert isinstance(wish, ReadPages)
            sender.io_done(wish.id, [b"x"] * wish.n)
    sender.receive_control(encode_message(Answer(True)))
    return sender


def have(entry: int, *ranges: tuple[int, int]) -> Have:
    return Have((HaveItem(entry, ranges, D),))


def n_lines(action: Callable[[], object]) -> int:
    """How many lines of Python ``action`` runs: a figure that does not depend on the machine."""
    n = 0

    def trace(frame: FrameType, event: str, arg: object) -> object:
        nonlocal n
        n += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        action()
    finally:
        sys.settrace(before)
    return n


# --- what honest peers say --------------------------------------------------------------------


class Zeros(MemorySource):
    """One large file of zeros, of which nothing is held in memory."""

    def __init__(self, n_chunks: int) -> None:
        super().__init__({b"f": b""})
        writer = ListingWriter()
        writer.add(Entry(Kind.FILE, 0o644, 0, n_chunks * CHUNK_BYTES, b"f"))
        page = writer.finish()
        assert page is not None
        self.pages, self.outgoing = [page], Outgoing(writer.index)

    def _chunk(self, entry: int, chunk: int) -> bytes:
        return ZEROS


@pytest.mark.spec("TR-103")
def test_a_file_in_three_thousand_ranges_is_told_and_gone_on_with() -> None:
    n = 3_000
    source = Zeros(2 * n)
    digest = chunk_digest(ZEROS)
    journal = encode_record(
        JournalHeader(PIPE_PEER.raw, bytes(16), source.outgoing.index.digest(), b"")
    ) + b"".join(encode_verified(0, 2 * i, digest) for i in range(n))
    held = {0: {2 * i: ZEROS for i in range(n)}}
    pipe = TransferPipe(source, MemoryTarget(journal=journal, data=held))
    pipe.run(stop=lambda: pipe.receiver.is_receiving)
    (accepted,) = [e for e in pipe.sent_events if isinstance(e, Accepted)]
    assert accepted.bytes_reused == n * CHUNK_BYTES


@pytest.mark.spec("TR-103")
def test_what_failed_on_an_earlier_connection_is_told_in_any_order() -> None:
    files: dict[bytes, bytes | None] = {b"f%02d" % i: b"x" for i in range(60)}
    source = MemorySource(files)
    for entry in (50, 10):  # in the order in which it was discovered
        source.outgoing.failed[entry] = Reason.SOURCE_CHANGED
    pipe = TransferPipe(source, target := MemoryTarget())
    pipe.run()
    for events in (pipe.sent_events, pipe.received_events):
        done = events[-1]
        assert isinstance(done, Done) and (done.n_files, done.n_failed) == (58, 2)
    assert set(target.placed) == set(files) - {b"f10", b"f50"}


@pytest.mark.spec("TR-103")
def test_progress_may_fall_but_not_what_was_consumed() -> None:
    pipe = TransferPipe(MemorySource({b"f": b"x" * 100}), MemoryTarget())
    sender = pipe.connect()
    pipe.run(stop=lambda: sender.has_started)
    sender.data_to_send(1 << 20)
    sender.receive_control(encode_message(ProgressMessage(100, 1, 50)))
    sender.receive_control(encode_message(ProgressMessage(0, 0, 50)))
    with pytest.raises(StateViolation):
        sender.receive_control(encode_message(ProgressMessage(100, 1, 49)))


# --- what others say --------------------------------------------------------------------------


@pytest.mark.spec("TR-103")
@pytest.mark.parametrize(
    "messages",
    [
        [have(3, (0, 1)), have(3, (0, 1))],
        [have(3, (0, 1)), have(2, (0, 1))],
        [have(3, (0, 2)), have(3, (1, 4))],
        [have(3, (0, 2)), have(3, (2, 4))],
        [Have((HaveItem(3, ((4, 1),), D), HaveItem(3, ((0, 1),), D)))],
        [Skip(((3, 1),)), Skip(((3, 1),))],
        [Skip(((3, 4),)), Skip(((5, 1),))],
        [Skip(((3, 4),)), Skip(((0, 1),))],
        [Skip(((3, 1),)), Skip(((4, 1),))],
    ],
    ids=[
        *("have twice", "have falls", "have overlaps", "have touches", "within one message"),
        *("skip twice", "skip overlaps", "skip falls", "skip touches"),
    ],
)
def test_what_is_there_is_told_once_and_in_order(messages: list[Message]) -> None:
    sender = hearing_sender([10 * CHUNK_BYTES] * 10)
    with pytest.raises(RemoteProtocolError) as breach:
        for message in messages:
            sender.receive_control(encode_message(message))
    assert breach.value.close_code == CloseCode.PROTOCOL_ERROR


@pytest.mark.spec("TR-103")
def test_ranges_that_go_on_behind_each_other_are_heard() -> None:
    sender = hearing_sender([10 * CHUNK_BYTES] * 10)
    told: list[Message] = [
        have(3, (0, 1), (2, 1)),
        have(3, (4, 1)),
        have(4, (0, 1)),
        Skip(((5, 1),)),
        Skip(((7, 2),)),
    ]
    for message in told:
        sender.receive_control(encode_message(message))


def test_a_skip_of_everything_is_no_loop_over_a_number_of_the_peer() -> None:
    n = 200_000
    sender = hearing_sender([3] * n)
    body = encode_message(Skip(((0, n),)))
    assert n_lines(lambda: sender.receive_control(body)) < n // 10
    with pytest.raises(StateViolation):
        sender.receive_control(body)


def test_what_is_skipped_is_not_counted_whatever_pages_it_lies_in() -> None:
    sizes = [i % 1_000 + 1 for i in range(9_000)]
    index = outgoing(sizes).index
    for first, n in [(0, 9_000), (0, 1), (1_999, 2), (1_500, 6_001), (2_000, 2_000), (8_999, 1)]:
        assert index.bytes_of(first, n) == sum(sizes[first : first + n])
    sender = hearing_sender(sizes)
    sender.receive_control(encode_message(Skip(((0, 3), (10, 7_000)))))
    assert sender._skipped_bytes == sum(sizes[:3]) + sum(sizes[10:7_010])


@pytest.mark.spec("TR-104")
def test_ranges_that_wait_for_the_disk_are_counted_and_not_their_items() -> None:
    ranges = tuple((2 * i, 1) for i in range(1_024))
    sender = hearing_sender([1 << 40] * 1_000)
    n_taken = 0
    while sender.wants_control and n_taken < 1_000:
        sender.receive_control(encode_message(have(n_taken, *ranges)))
        n_taken += 1
    assert n_taken <= 40  # 4 MiB of them
    while (wish := sender.next_wish()) is not None:
        assert isinstance(wish, CheckRanges)
        sender.io_done(wish.id, [True] * len(wish.items))
    assert sender.wants_control


def test_progress_that_nobody_has_looked_at_gives_way_to_what_is_newer() -> None:
    pipe = TransferPipe(MemorySource({b"f": b"x" * 100}), MemoryTarget())
    sender = pipe.connect()
    pipe.run(stop=lambda: sender.has_started)
    while sender.next_event() is not None:
        pass
    flood = b"".join(encode_message(ProgressMessage(i % 100, 0, 0)) for i in range(10_000))
    sender.receive_control(flood)
    n_events = 0
    while sender.next_event() is not None:
        n_events += 1
    assert n_events == 1
