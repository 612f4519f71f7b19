"""Floods of every control message of a transfer: what an authorised peer may write without end.

``floods()`` names them: legal ones, which keep every order and only are many, and breaches, which
repeat what was said. ``Flood.blocks`` yields the encoded control bytes of one connection. ``drown``
brings a sender or a receiver to where a flood begins and feeds it so many bytes, as a link would.

For benchmarks and tests of memory and of work: nothing here is secure, on purpose. By hand:
``python -m wraith.testing.control_floods NAME BYTES [ENTRIES]`` prints the peak of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count, repeat

from wraith.content.chunking import DIGEST_BYTES, NO_SIZE_YET
from wraith.content.inventory import Inventory
from wraith.errors import RemoteProtocolError
from wraith.transfer.answers import StoreOpened, SurveyResult
from wraith.transfer.events import OfferReceived
from wraith.transfer.listing import Entry, Kind, ListingIndex, ListingWriter, decode_page
from wraith.transfer.message_codec import BODY_BYTES_MAX, RANGES_PER_ITEM, encode_message
from wraith.transfer.messages import (
    Answer,
    Drop,
    End,
    Failed,
    Have,
    HaveEnd,
    HaveItem,
    Message,
    MessageType,
    Page,
    ProgressMessage,
    Reason,
    Skip,
    Start,
)
from wraith.transfer.path_rules import PathRules
from wraith.transfer.receiver import Receiver
from wraith.transfer.sender import Outgoing, Sender
from wraith.transfer.state import ReceiverState, SenderState
from wraith.transfer.wishes import (
    CheckRanges,
    DropFiles,
    OpenStore,
    ReadPages,
    ReadPieces,
    Store,
    StorePages,
    SummariseRanges,
    Survey,
)
from wraith.types import PeerKey

N_ENTRIES = 1_000_000
"""As many as a listing may have."""

READ_BYTES = 256 * 1024
"""What a link reads of the control stream at a time."""

N_CHUNKS = 8_192
FILE_BYTES = NO_SIZE_YET.n_bytes(0, N_CHUNKS)
PEER = PeerKey(bytes(31) + b"\x07")
_D = bytes(DIGEST_BYTES)


@dataclass(frozen=True)
class Flood:
    """One flood. ``messages`` are those of one connection, for ever or until a listing of so many
    entries is used up; ``is_legal`` ones break no rule. ``state`` is where the dialogue has to be
    before the first of them."""

    name: str
    kind: MessageType
    is_legal: bool
    state: SenderState | ReceiverState
    messages: Callable[[int], Iterator[Message]]

    @property
    def victim(self) -> str:
        """``sender`` or ``receiver``."""
        return "sender" if isinstance(self.state, SenderState) else "receiver"

    def blocks(self, n_entries: int = N_ENTRIES) -> Iterator[bytes]:
        """The messages encoded, about ``READ_BYTES`` at a time."""
        block = bytearray()
        for message in self.messages(n_entries):
            block += encode_message(message)
            if len(block) >= READ_BYTES:
                yield bytes(block)
                block.clear()
        if block:
            yield bytes(block)


@dataclass(frozen=True)
class Drowned:
    """What became of a flood: bytes taken, connections that it needed, and whether the victim
    closed the last one."""

    n_bytes: int
    n_connections: int
    is_closed: bool


# --- what a receiver says ---------------------------------------------------------------------


def _haves_of_many_ranges(n: int) -> Iterator[Message]:
    """Every file in the 1,024 ranges of an item, and in as many behind them."""
    per_message = BODY_BYTES_MAX // (6 + 8 * RANGES_PER_ITEM + DIGEST_BYTES)
    items: list[HaveItem] = []
    for entry in range(1, n):
        for start in (0, 2 * RANGES_PER_ITEM):
            ranges = tuple((start + 2 * i, 1) for i in range(RANGES_PER_ITEM))
            items.append(HaveItem(entry, ranges, _D))
            if len(items) == per_message:
                yield Have(tuple(items))
                items.clear()


def _haves_of_files(n: int) -> Iterator[Message]:
    for at in range(1, n, 1_000):
        files = range(at, min(at + 1_000, n))
        yield Have(tuple(HaveItem(entry, ((0, N_CHUNKS),), _D) for entry in files))


def _haves_of_beginnings(n: int) -> Iterator[Message]:
    """Unfinished files, one range each."""
    for at in range(1, n, 1_000):
        files = range(at, min(at + 1_000, n))
        yield Have(tuple(HaveItem(entry, ((0, 1),), _D) for entry in files))


def _skips(n: int) -> Iterator[Message]:
    for at in range(0, n, 16_000):
        yield Skip(tuple((entry, 1) for entry in range(at, min(at + 16_000, n), 2)))


def _single_skips(n: int) -> Iterator[Message]:
    return (Skip(((entry, 1),)) for entry in range(0, n, 2))


def _progress(n: int) -> Iterator[Message]:
    return (ProgressMessage(i % 1_000, i % n, i) for i in count())


# --- what a sender says -----------------------------------------------------------------------


def _pages(n: int) -> Iterator[Message]:
    return (Page(page) for page in _written_pages(n))


def _drops(n: int) -> Iterator[Message]:
    step = BODY_BYTES_MAX // 4
    return (Drop(tuple(range(at, min(at + step, n)))) for at in range(0, n, step))


def _single_drops(n: int) -> Iterator[Message]:
    return (Drop((entry,)) for entry in range(1, n))


def _failed(n: int) -> Iterator[Message]:
    return (Failed(entry, Reason.SOURCE_CHANGED) for entry in range(n))


def _always(message: Message) -> Callable[[int], Iterator[Message]]:
    return lambda _: repeat(message)


def floods() -> list[Flood]:
    """All of them: for each control message that may come more than once the legal flood, and one
    that repeats what was said. Every other message is refused the second time by its state."""
    checking, sending = SenderState.CHECKING, SenderState.SENDING
    waiting, receiving = ReceiverState.AWAITING_START, ReceiverState.RECEIVING
    reading = ReceiverState.READING_LISTING
    have, skip = Have((HaveItem(7, ((0, 1),), _D),)), Skip(((0, 8),))
    of = MessageType
    return [
        Flood("have-ranges", of.HAVE, True, checking, _haves_of_many_ranges),
        Flood("have-files", of.HAVE, True, checking, _haves_of_files),
        Flood("have-beginnings", of.HAVE, True, checking, _haves_of_beginnings),
        Flood("have-again", of.HAVE, False, checking, _always(have)),
        Flood("skip", of.SKIP, True, checking, _skips),
        Flood("skip-single", of.SKIP, True, checking, _single_skips),
        Flood("skip-again", of.SKIP, False, checking, _always(skip)),
        Flood("progress", of.PROGRESS, True, sending, _progress),
        Flood("page", of.PAGE, True, reading, _pages),
        Flood("drop", of.DROP, True, waiting, _drops),
        Flood("drop-single", of.DROP, True, waiting, _single_drops),
        Flood("drop-again", of.DROP, False, waiting, _always(Drop((7,)))),
        Flood("failed", of.FAILED, True, receiving, _failed),
        Flood("failed-early", of.FAILED, True, waiting, _failed),
        Flood("failed-again", of.FAILED, False, receiving, _always(Failed(7, Reason.OTHER))),
        Flood("end-again", of.END, False, receiving, _always(End(0, 8))),
    ]


# --- the victims ------------------------------------------------------------------------------


def _written_pages(n_entries: int) -> Iterator[bytes]:
    writer = ListingWriter()
    for i in range(n_entries):
        file = Entry(Kind.FILE, 0o644, 0, FILE_BYTES, b"d/f%06d" % i)
        page = writer.add(file if i else Entry(Kind.FOLDER, 0o755, 0, 0, b"d"))
        if page is not None:
            yield page
    page = writer.finish()
    if page is not None:
        yield page


@cache
def index_of(n_entries: int) -> ListingIndex:
    """The index of the listing that floods speak of: a folder, and files of 2 GiB in it."""
    index = ListingIndex()
    for page in _written_pages(n_entries):
        index.add_page(page, decode_page(page))
    return index


class _Victim:
    """A machine with a disk that says yes to everything, over as many connections as it takes."""

    def __init__(self, flood: Flood, n_entries: int) -> None:
        self._flood = flood
        self._n_entries = n_entries
        self._ids = count(1)
        self._outgoing = Outgoing(index_of(n_entries))
        self._store = _QuickStore(has_all=flood.kind is MessageType.DROP)
        self._receiver = Receiver(PathRules(), self._ids)
        self._sender = Sender(self._outgoing, self._ids)

    @property
    def _machine(self) -> Sender | Receiver:
        return self._sender if self._flood.victim == "sender" else self._receiver

    @property
    def wants_control(self) -> bool:
        return self._machine.wants_control

    def connect(self) -> None:
        """A new connection, up to where the flood begins."""
        if self._flood.victim == "sender":
            self._sender = Sender(self._outgoing, self._ids)
            self._until(SenderState.AWAITING_ANSWER)
            self.hear(encode_message(Answer(True)))
            if self._flood.state is SenderState.SENDING:
                self.hear(encode_message(HaveEnd()))
            return
        self._receiver.begin(PEER)
        self.hear(encode_message(self._outgoing.offer()))
        if self._flood.state is ReceiverState.READING_LISTING:
            return
        for page in _written_pages(self._n_entries):
            self.hear(encode_message(Page(page)))
            self.work()
        self._until(ReceiverState.AWAITING_START)
        if self._flood.state is ReceiverState.RECEIVING:
            self.hear(encode_message(Start()))

    def hear(self, data: bytes) -> None:
        if self._flood.victim == "sender":
            self._sender.receive_control(data)
        else:
            self._receiver.receive_control(data, 0.0)

    def work(self) -> None:
        """The disk answers everything, the program looks at every event, the peer reads all."""
        self._machine.control_to_send()
        if self._flood.victim == "sender":
            while (asked := self._sender.next_wish()) is not None:
                if not isinstance(asked, ReadPieces):
                    self._sender.io_done(asked.id, self._store.fulfil(asked))
            while self._sender.next_event() is not None:
                pass
            return
        receiver = self._receiver
        while (wish := receiver.next_wish()) is not None:
            receiver.io_done(wish.id, self._store.fulfil(wish), 0.0)
        while (event := receiver.next_event()) is not None:
            if isinstance(event, OfferReceived):
                receiver.accept(event.offer_id)

    def _until(self, state: SenderState | ReceiverState) -> None:
        while self._machine.state is not state:
            self.work()


class _QuickStore(Store):
    """Answers everything at once, and has every chunk if it ``has_all``."""

    def __init__(self, *, has_all: bool) -> None:
        self._has_all = has_all

    def read_pages(self, wish: ReadPages) -> list[bytes]:
        return [b"x"] * wish.n

    def check_ranges(self, wish: CheckRanges) -> list[bool]:
        return [True] * len(wish.items)

    def store_pages(self, wish: StorePages) -> None: ...

    def survey(self, wish: Survey) -> SurveyResult:
        return SurveyResult()

    def open_store(self, wish: OpenStore) -> StoreOpened:
        held = Inventory(wish.sizes)
        if self._has_all:
            for entry in range(len(wish.sizes)):
                held.add_file(entry)
        return StoreOpened(held)

    def summarise_ranges(self, wish: SummariseRanges) -> list[bytes]:
        return [_D] * len(wish.items)

    def drop_files(self, wish: DropFiles) -> None: ...


def drown(flood: Flood, n_bytes: int, *, n_entries: int = N_ENTRIES) -> Drowned:
    """Feeds a victim ``n_bytes`` of ``flood`` as a link does: no more than it wants, and what it
    asks of the disk is answered when it wants no more. A legal flood goes on over new connections;
    one that is refused ends there."""
    victim = _Victim(flood, n_entries)
    taken = n_connections = 0
    while taken < n_bytes:
        victim.connect()
        n_connections += 1
        try:
            for block in flood.blocks(n_entries):
                if not victim.wants_control:
                    victim.work()
                victim.hear(block)
                taken += len(block)
                if taken >= n_bytes:
                    break
        except RemoteProtocolError:
            return Drowned(taken, n_connections, is_closed=True)
        victim.work()
    return Drowned(taken, n_connections, is_closed=False)


if __name__ == "__main__":  # NAME BYTES [ENTRIES]: peak of resident memory above idle, in KiB
    import resource
    import sys

    def _peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    _name, _n_bytes = sys.argv[1], int(sys.argv[2])
    _n = int(sys.argv[3]) if len(sys.argv) > 3 else N_ENTRIES
    (_flood,) = [flood for flood in floods() if flood.name == _name]
    index_of(_n)
    _idle = _peak()
    _result = drown(_flood, _n_bytes, n_entries=_n)
    print(_name, _result, "KiB above idle:", _peak() - _idle)
