"""Whoever reads a code reads the same out of it."""

from __future__ import annotations

import pytest

import wraith
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.secret import Secret
from wraith.errors import CodeInvalid, HandshakeTimeout
from wraith.node.codes import record_to_text
from wraith.transfer.code import Code, encode_code
from wraith.types import Address, PeerKey, SuiteId

pytestmark = pytest.mark.asyncio
NOBODY = (Address(bytes([127, 0, 0, 1]), 9),)


async def test_a_code_whose_secret_is_a_word_is_no_code_for_connect_either() -> None:
    code = Code((SuiteId.A,), b"\x01" * 32, PeerKey(b"\x02" * 32), Secret(b"password" * 4), NOBODY)
    with pytest.raises(CodeInvalid):
        await wraith.connect(encode_code(code))


async def test_a_code_without_a_secret_is_dialled() -> None:
    record = NodeRecord(
        access_key=b"\x09" + bytes(31), peer=PeerKey(b"\x02" * 32), addresses=NOBODY
    )
    config = wraith.EndpointConfig(handshake_timeout_s=1)
    with pytest.raises(HandshakeTimeout):
        await wraith.connect(record_to_text(record), config=config)
