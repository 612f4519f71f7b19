"""The journal's records and what a torn tail leaves."""

from __future__ import annotations

import zlib

import pytest

from wraith.transfer.journal_records import (
    EVERY_ENTRY,
    Choice,
    CompleteMark,
    Dropped,
    FileDone,
    JournalHeader,
    JournalRecord,
    OnExists,
    Placing,
    Verified,
    encode_record,
    encode_verified,
    replay,
)

RECORDS: list[JournalRecord] = [
    JournalHeader(b"p" * 32, b"b" * 16, b"l" * 32, b"/target"),
    Verified(3, 7, b"d" * 32 + b"e" * 32),
    FileDone(3, 12345, b"i" * 32),
    Dropped(4),
    Placing(0, b"name (1)"),
    CompleteMark(),
    OnExists(EVERY_ENTRY, Choice.RENAME),
]


def test_records_read_back() -> None:
    data = b"".join(encode_record(record) for record in RECORDS)
    got = list(replay(data))
    assert [record for record, _ in got] == RECORDS
    assert got[-1][1] == len(data)


def test_the_layout_is_fixed() -> None:
    assert encode_record(CompleteMark())[:3] == bytes([6, 0, 0])
    skip_all = encode_record(OnExists(EVERY_ENTRY, Choice.SKIP))
    assert skip_all[:8] == bytes([7, 0, 5, 255, 255, 255, 255, 3])
    assert encode_record(Verified(1, 2, b"\x07" * 32))[:11].hex() == "020028" + "0000000100000002"


@pytest.mark.spec("TR-50")
def test_a_record_speaks_of_at_most_one_mebibyte() -> None:
    data = encode_verified(9, 100, bytes(range(32)) * 11)
    got = [record for record, _ in replay(data)]
    assert [(r.first, r.n) for r in got if isinstance(r, Verified)] == [
        (100, 4),
        (104, 4),
        (108, 3),
    ]


@pytest.mark.spec("TR-51")
def test_a_tail_torn_at_any_byte_hides_only_itself() -> None:
    encoded = [encode_record(record) for record in RECORDS]
    data = b"".join(encoded)
    ends = [sum(map(len, encoded[: i + 1])) for i in range(len(encoded))]
    for cut in range(len(data)):
        whole = sum(end <= cut for end in ends)
        assert [record for record, _ in replay(data[:cut])] == RECORDS[:whole]


@pytest.mark.spec("TR-51")
def test_a_damaged_record_ends_the_replay() -> None:
    data = bytearray(b"".join(encode_record(record) for record in RECORDS))
    first = len(encode_record(RECORDS[0]))
    for i in range(first, first + len(encode_record(RECORDS[1]))):
        damaged = bytearray(data)
        damaged[i] ^= 0x10
        assert [record for record, _ in replay(bytes(damaged))] == RECORDS[:1]


def test_a_record_with_a_good_checksum_and_a_bad_body_ends_it_too() -> None:
    import struct
    import zlib

    framed = struct.pack(">BH", 2, 9) + bytes(9)
    data = encode_record(RECORDS[0]) + framed + struct.pack(">I", zlib.crc32(framed))
    assert [record for record, _ in replay(data)] == RECORDS[:1]


def test_a_journal_of_another_version_says_nothing() -> None:
    header = bytearray(encode_record(RECORDS[0]))
    assert header[3] == 1, "the version stands first in the body"
    for version in (0, 2, 255):
        header[3] = version
        header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "big")
        assert list(replay(bytes(header) + encode_record(CompleteMark()))) == []
