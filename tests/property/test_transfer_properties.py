"""Laws of the transfer: total codecs, safe paths, resume after a loss at any moment."""

from __future__ import annotations

import contextlib
import posixpath
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wraith.content.chunking import CHUNK_BYTES
from wraith.crypto.secret import Secret
from wraith.errors import CodeInvalid, DecodeError, RemoteProtocolError, UnsafePath
from wraith.testing.rng import SeededRng
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.chunk_records import ChunkRecordParser
from wraith.transfer.code import Code, decode_code, encode_code
from wraith.transfer.events import Accepted, Done, Progress
from wraith.transfer.journal_records import encode_record, replay
from wraith.transfer.listing import Entry, Kind, ListingReader, decode_page, encode_entry
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.message_codec import MessageParser, decode_message, encode_message
from wraith.transfer.messages import Message
from wraith.transfer.path_rules import PathRules, check_link, check_path, display_path
from wraith.transfer.receiver import Receiver
from wraith.transfer.sender import Sender
from wraith.types import Address, Carrier, PeerKey, Road, SuiteId

DATA = SeededRng("transfer laws").public_bytes(7 * CHUNK_BYTES + 5)
TREE: dict[bytes, bytes | None] = {
    b"d": None,
    b"d/a": DATA[: 3 * CHUNK_BYTES + 9],
    b"d/b": b"tiny",
    b"d/c": DATA,
    b"e": b"",
}


# --- codecs -----------------------------------------------------------------------------------


@given(st.integers(0, 20), st.binary(max_size=200))
def test_decoding_a_message_is_total_and_canonical(kind: int, body: bytes) -> None:
    try:
        message = decode_message(kind, body)
    except DecodeError:
        return
    again = encode_message(message)
    if body[:1] and kind in (5, 9, 15):  # unknown reasons become OTHER: the one lossy field
        assert len(again) == len(body) + 4
    else:
        assert again[4:] == body and again[0] == kind


@given(st.binary(max_size=400), st.integers(1, 40))
def test_any_control_bytes_in_any_pieces_give_messages_or_a_decode_error(
    stream: bytes, cut: int
) -> None:
    def outcome(step: int) -> list[Message] | str:
        parser = MessageParser()
        try:
            pieces = (stream[at : at + step] for at in range(0, len(stream), step))
            return [message for piece in pieces for message in parser.feed(piece)]
        except DecodeError as error:
            return error.what

    assert outcome(cut) == outcome(len(stream) or 1), "however it is cut"


@given(st.binary(max_size=300))
def test_decoding_a_page_is_total_and_canonical(page: bytes) -> None:
    try:
        entries = decode_page(page)
    except DecodeError:
        return
    assert b"".join(encode_entry(entry) for entry in entries) == page


@given(st.binary(max_size=600))
def test_replaying_any_bytes_gives_whole_records_only(data: bytes) -> None:
    records = list(replay(data))
    end = records[-1][1] if records else 0
    assert b"".join(encode_record(record) for record, _ in records) == data[:end]


OTHER_ROADS = [
    Road(Carrier.TCP, Address(bytes([192, 0, 2, 1]), 443)),
    Road(Carrier.TCP, Address(bytes(range(16)), 443)),
    Road(Carrier.QUIC, Address(bytes([192, 0, 2, 1]), 443)),
    Road(Carrier.QUIC, Address(bytes(range(16)), 1)),
    Road(Carrier.WS, url="wss://example.com/prefix"),
    Road(Carrier.WS, url="http://example.com:8080"),
]


@given(
    suites=st.lists(st.sampled_from(list(SuiteId)), min_size=1, unique=True),
    keys=st.lists(st.binary(min_size=32, max_size=32), min_size=3, max_size=3),
    v4=st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(1, 65535)), max_size=4),
    v6=st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(1, 65535)), max_size=2),
    receives=st.booleans(),
    has_tcp=st.booleans(),
    others=st.lists(st.sampled_from(OTHER_ROADS), max_size=6, unique=True),
)
def test_every_code_reads_back(
    suites: list[SuiteId],
    keys: list[bytes],
    v4: list[tuple[bytes, int]],
    v6: list[tuple[bytes, int]],
    receives: bool,
    has_tcp: bool,
    others: list[Road],
) -> None:
    addresses = tuple(Address(ip, port) for ip, port in v4 + v6)
    code = Code(
        tuple(sorted(suites)),
        keys[0],
        PeerKey(keys[1]),
        Secret(keys[2]),
        addresses,
        receives,
        has_tcp,
        tuple(sorted(others, key=OTHER_ROADS.index)),
    )
    assert decode_code(encode_code(code)) == code


@given(st.text(max_size=300) | st.text("wr1abcdefghijklmnopqrstuvwxyz234567", max_size=300))
def test_any_text_is_a_code_or_invalid(text: str) -> None:
    for word in (text, "wr1" + text):
        try:
            code = decode_code(word)
        except CodeInvalid:
            continue
        assert decode_code(encode_code(code)) == code


# --- paths ------------------------------------------------------------------------------------

Part = st.sampled_from([b"a", b"b", b"..", b".", b"", b"l", b"\n", b".wraith-0", b"C:", b"\xff"])
Path = st.lists(Part, min_size=1, max_size=6).map(b"/".join)


@pytest.mark.spec("TR-20")
@given(Path)
def test_a_path_that_passes_stays_below_any_root(path: bytes) -> None:
    try:
        check_path(path, PathRules())
    except UnsafePath:
        return
    joined = posixpath.normpath(posixpath.join(b"/t/out", path))
    assert joined == b"/t/out/" + path
    assert display_path(path).isprintable()


@pytest.mark.spec("TR-23")
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"t/l1", b"t/a/l2", b"t/a/b/l3", b"t/a/b/l4", b"t/l5"]),
            st.lists(
                st.sampled_from([b"..", b".", b"a", b"b", b"l1", b"l2", b"l3", b"l4", b"l5"]),
                min_size=1,
                max_size=5,
            ).map(b"/".join),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda pair: pair[0],
    )
)
@settings(max_examples=300)
def test_links_that_pass_lead_nowhere_outside_however_they_are_chained(
    links: list[tuple[bytes, bytes]],
) -> None:
    """Resolved as a kernel would, step by step, through the other links."""
    allowed: dict[bytes, bytes] = {}
    for path, target in links:
        with contextlib.suppress(UnsafePath):
            check_link(path, target, PathRules())
            allowed[path] = target
    for path in allowed:
        resolved = _resolve(path, allowed, 40)
        assert resolved is None or resolved == b"t" or resolved.startswith(b"t/"), (path, resolved)


def _resolve(path: bytes, links: dict[bytes, bytes], depth: int) -> bytes | None:
    """The real path below ``/``, ``..`` allowed; ``None`` for a loop."""
    at: list[bytes] = []
    todo = path.split(b"/")
    while todo:
        part = todo.pop(0)
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not at:
                return b".."
            at.pop()
            continue
        at.append(part)
        here = b"/".join(at)
        if here in links:
            depth -= 1
            if depth < 0:
                return None
            at.pop()
            todo = links[here].split(b"/") + todo
    return b"/".join(at)


@pytest.mark.spec("TR-15")
@given(st.lists(st.tuples(st.sampled_from(list(Kind)), Path), max_size=8))
def test_a_listing_that_passes_is_a_tree_without_duplicates(
    items: list[tuple[Kind, bytes]],
) -> None:
    reader = ListingReader(PathRules())
    entries = [
        Entry(kind, 0, 0, 0, path, b"x" if kind is Kind.LINK else b"") for kind, path in items
    ]
    try:
        reader.add_page(b"".join(encode_entry(entry) for entry in entries))
    except RemoteProtocolError:
        return
    if reader.problems:
        return  # refused as a whole
    folders = {entry.path for entry in entries if entry.kind is Kind.FOLDER}
    assert len({entry.path for entry in entries}) == len(entries)
    for entry in entries:
        check_path(entry.path, PathRules())
        parent = entry.path.rpartition(b"/")[0]
        assert parent == b"" or parent in folders


# --- machines against anything ----------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 16), st.binary(max_size=120)), max_size=8))
def test_machines_refuse_any_dialogue_with_a_protocol_error_only(
    messages: list[tuple[int, bytes]],
) -> None:
    source = MemorySource(TREE)
    for machine in (Sender(source.outgoing, count(1)), Receiver(PathRules(), count(1))):
        try:
            for kind, body in messages:
                raw = bytes([kind]) + len(body).to_bytes(3, "big") + body
                if isinstance(machine, Sender):
                    machine.receive_control(raw)
                else:
                    machine.receive_control(raw, 0.0)
        except RemoteProtocolError as error:
            assert error.close_code, "the other side is told which rule it broke"


@given(st.binary(max_size=300))
def test_any_data_stream_gives_records_or_a_decode_error(stream: bytes) -> None:
    sizes = MemorySource(TREE).outgoing.index.sizes
    try:
        records = ChunkRecordParser(sizes).feed(stream)
    except DecodeError:
        return
    assert all(record.entry < len(sizes) for record in records)


# --- resume -----------------------------------------------------------------------------------


@pytest.mark.spec("TR-51")
@given(rounds=st.lists(st.integers(1, 40), max_size=4), torn=st.integers(0, 60))
@settings(max_examples=40)
def test_a_receiver_killed_at_any_moment_loses_at_most_a_mebibyte(
    rounds: list[int], torn: int
) -> None:
    """Killed after so many steps, each time with its journal cut off somewhere in its tail."""
    source = MemorySource(TREE)
    journal, data = b"", dict[int, dict[int, bytes]]()
    placed: dict[bytes, bytes | None] = {}  # what a disk would still hold
    done_before = 0
    for n_steps in rounds:
        target = MemoryTarget(journal=journal, data=data)
        target.placed = placed
        pipe = TransferPipe(source, target)
        pipe.connect()
        for _ in range(n_steps):
            if not pipe.step():
                break
        accepted = [e for e in pipe.received_events if isinstance(e, Accepted)]
        if accepted:
            assert accepted[0].bytes_reused >= done_before - 1024 * 1024
        progress = [e.bytes_done for e in pipe.received_events if isinstance(e, Progress)]
        done_before = max([*progress, done_before if not accepted else 0])
        if any(isinstance(e, Done) for e in pipe.received_events):
            assert target.placed == TREE
            return
        journal, data = bytes(target.journal), target.data
        cut = len(journal) - torn
        if torn and cut > 0:
            journal = journal[:cut]
            done_before = max(0, done_before - 1024 * 1024)
    target = MemoryTarget(journal=journal, data=data)
    target.placed = placed
    pipe = TransferPipe(source, target)
    pipe.run()
    assert target.placed == TREE
    done = pipe.received_events[-1]
    assert isinstance(done, Done)
    assert done.bytes_transferred + done.bytes_reused == done.bytes_total


@given(kills=st.lists(st.integers(1, 25), max_size=5))
@settings(max_examples=40)
def test_a_connection_lost_at_any_moment_costs_only_what_was_under_way(kills: list[int]) -> None:
    source, target = MemorySource(TREE), MemoryTarget()
    pipe = TransferPipe(source, target)
    for n_steps in kills:
        pipe.connect()
        for _ in range(n_steps):
            if pipe.receiver.is_done or not pipe.step():
                break
        if pipe.receiver.is_done:
            break
    if not pipe.receiver.is_done:
        pipe.connect()
    pipe.run()
    assert target.placed == TREE
    dones = [e for e in pipe.received_events if isinstance(e, Done)]
    assert len(dones) == 1 and dones[0].bytes_transferred == dones[0].bytes_total
