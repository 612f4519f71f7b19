"""Fuzzes what a transfer reads: messages, listings, chunk records, the journal, codes.

    python tests/fuzz/fuzz_transfer.py tests/fuzz/corpus/transfer
    python tests/fuzz/fuzz_transfer.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from wraith.crypto.secret import Secret
from wraith.testing.fuzz_targets import transfer
from wraith.testing.fuzzing import main
from wraith.transfer import journal_records
from wraith.transfer import messages as m
from wraith.transfer.chunk_records import ChunkRecordWriter
from wraith.transfer.code import Code, encode_code
from wraith.transfer.listing import Entry, Kind, encode_entry
from wraith.transfer.message_codec import encode_message
from wraith.types import Address, Carrier, PeerKey, Road, SuiteId

CORPUS = Path(__file__).parent / "corpus" / "transfer"


def samples() -> Iterator[bytes]:
    """One message of each kind, a listing, a file's records, a journal, a code as text and raw."""
    digest = bytes(range(32))
    every: list[m.Message] = [
        m.Offer(m.OfferKind.FILES, 3, 1, 5, 1, 100, digest, b"name"),
        m.UnknownOffer(3, b"of a later version"),
        m.Page(b"entries"),
        m.Drop((1, 2)),
        m.Start(),
        m.Failed(1, m.Reason.NO_SPACE),
        m.End(1, 5),
        m.AllSent(0),
        m.ReceiptOk(),
        m.Answer(True),
        m.Have((m.HaveItem(1, ((0, 3), (7, 9)), digest),)),
        m.HaveEnd(),
        m.Skip(((0, 3),)),
        m.ProgressMessage(5, 1, 5),
        m.Receipt(digest, 1, 5, 0, 5),
        m.Abort(m.Reason.OTHER, "why"),
    ]
    for message in every:
        encoded = encode_message(message)
        yield encoded
        yield encoded[:1] + encoded[4:]
    yield b"".join(map(encode_message, every))
    yield b"".join(
        encode_entry(entry)
        for entry in (
            Entry(Kind.FOLDER, 0o755, 0, 0, b"folder"),
            Entry(Kind.FILE, 0o644, 10**18, 5, b"folder/file"),
            Entry(Kind.LINK, 0, 0, 0, b"folder/link", b"file"),
        )
    )
    writer = ChunkRecordWriter()
    writer.add(1, 0, b"five!", digest)
    yield b"".join(writer.finish())
    journal: list[journal_records.JournalRecord] = [
        journal_records.JournalHeader(digest, digest[:16], digest, b"target"),
        journal_records.Verified(1, 0, digest * 2),
        journal_records.FileDone(1, 5, digest),
        journal_records.Dropped(2),
        journal_records.Placing(1, b"name"),
        journal_records.CompleteMark(),
    ]
    yield b"".join(map(journal_records.encode_record, journal))
    addresses = (Address(bytes((192, 0, 2, 1)), 4001), Address(bytes(15) + b"\1", 4001))
    code = Code((SuiteId.A, SuiteId.B), digest, PeerKey(digest), Secret(digest), addresses)
    yield encode_code(code).encode()
    others = (
        Road(Carrier.TCP, Address(bytes((192, 0, 2, 1)), 443)),
        Road(Carrier.QUIC, Address(bytes(15) + b"\1", 443)),
        Road(Carrier.WS, url="wss://example.com/prefix"),
    )
    roads = replace(code, suites=(SuiteId.B, SuiteId.A), has_tcp=True, other_roads=others)
    yield encode_code(roads).encode()
    yield bytes((3,)) + digest * 3 + b"\x04" + bytes((192, 0, 2, 1, 15, 161))


if __name__ == "__main__":
    main(transfer, CORPUS, samples)
