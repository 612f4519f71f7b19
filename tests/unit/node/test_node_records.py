"""Codes and node records hold the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.secret import Secret
from wraith.errors import CodeInvalid, LocalProtocolError
from wraith.node.codes import code_of, record_of, record_to_text, text_to_record
from wraith.transfer.code import Code
from wraith.types import Address, Carrier, PeerKey, Road, SuiteId

RECORD = NodeRecord(
    access_key=b"\x01" * 32,
    peer=PeerKey(b"\x02" * 32),
    suites=(SuiteId.A, SuiteId.B),
    access_psk=bytes(range(100, 132)),
    addresses=(Address(bytes([127, 0, 0, 1]), 4000),),
)


def test_a_record_goes_through_a_code_unchanged() -> None:
    assert record_of(code_of(RECORD)) == RECORD
    assert text_to_record(record_to_text(RECORD)) == RECORD


def test_all_roads_go_through_a_code() -> None:
    others = (
        Road(Carrier.TCP, Address(bytes([127, 0, 0, 1]), 443)),
        Road(Carrier.WS, url="wss://example.com/prefix"),
    )
    record = replace(RECORD, suites=(SuiteId.B, SuiteId.A), has_tcp=True, other_roads=others)
    assert text_to_record(record_to_text(record)) == record
    assert text_to_record(record_to_text(record)).roads == record.roads


def test_a_code_pins_an_identity() -> None:
    with pytest.raises(LocalProtocolError):
        code_of(NodeRecord(access_key=b"\x01" * 32))


def test_a_code_whose_secret_is_a_word_is_refused() -> None:
    code = Code((SuiteId.A,), b"\x01" * 32, PeerKey(b"\x02" * 32), Secret(b"password" * 4), ())
    with pytest.raises(CodeInvalid):
        record_of(code)
