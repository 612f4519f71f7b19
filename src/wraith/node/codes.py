"""Between codes, which people copy, and node records, which endpoints dial.

Neither knows the other: ``transfer`` and ``connection`` stand side by side. This module alone
converts: a psk of zeros in a code is a record without one, and a psk that no program made makes
the code invalid, whoever reads it.

Spec: docs/reference/code-format.md.
"""

from __future__ import annotations

from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.secret import Secret
from wraith.errors import CodeInvalid, ConfigError, LocalProtocolError
from wraith.transfer.code import Code, decode_code, encode_code


def record_of(code: Code) -> NodeRecord:
    """The record with which an endpoint dials the maker of ``code``.

    Raises:
        CodeInvalid: its secret cannot be one that this program made.
    """
    psk = code.access_psk.reveal()
    try:
        return NodeRecord(
            access_key=code.access_key,
            peer=code.peer,
            suites=code.suites,
            access_psk=psk if any(psk) else None,
            addresses=code.addresses,
            has_tcp=code.has_tcp,
            other_roads=code.other_roads,
        )
    except ConfigError:
        raise CodeInvalid("this code holds no usable secret") from None


def code_of(record: NodeRecord, *, maker_receives: bool = False) -> Code:
    """The code of a record that has an identity.

    Raises:
        LocalProtocolError: the record names no identity, which a code must pin.
    """
    if record.peer is None:
        raise LocalProtocolError("a code names its maker's identity")
    return Code(
        suites=record.suites,
        access_key=record.access_key,
        peer=record.peer,
        access_psk=Secret(record.access_psk or bytes(32)),
        addresses=record.addresses,
        maker_receives=maker_receives,
        has_tcp=record.has_tcp,
        other_roads=record.other_roads,
    )


def record_to_text(record: NodeRecord) -> str:
    """A record as one word; ``text_to_record`` is its inverse."""
    return encode_code(code_of(record))


def text_to_record(text: str) -> NodeRecord:
    """Raises ``CodeInvalid`` when ``text`` is not a code."""
    return record_of(decode_code(text))


def to_record(code_or_record: str | NodeRecord) -> NodeRecord:
    """The record that a code stands for; a record is one already.

    Raises:
        CodeInvalid: it is text, and no code.
    """
    if isinstance(code_or_record, NodeRecord):
        return code_or_record
    if not isinstance(code_or_record, str):
        kind = type(code_or_record).__name__
        raise CodeInvalid(f"a code is text, and this is {kind}", hint="pass Listener.code")
    return text_to_record(code_or_record)
