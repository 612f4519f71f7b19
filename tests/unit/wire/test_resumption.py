"""Payloads of a resumption, and the content of a ticket: one encoding each, all else refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.errors import DecodeError
from wraith.types import PeerKey, SuiteId
from wraith.wire.extensions import Extension
from wraith.wire.handshake import HelloPayload, TransportParams
from wraith.wire.resumption import ResumeHello, ResumeResponse, TicketContent

HELLO = ResumeHello(
    HelloPayload((2,), (1, 2), (Extension(5), Extension(0x1A1A))), b"h" * 32, TransportParams(), 3
)
RESPONSE = ResumeResponse((Extension(5),), TransportParams(), 1_800_000_000)
CONTENT = TicketContent(
    SuiteId.B, 10, 20, 5, 30, b"s" * 32, PeerKey(b"p" * 32), (Extension(1), Extension(16, b"ab"))
)


@pytest.mark.spec("HB-4", "HB-5", "HB-9")
@pytest.mark.parametrize("value", [HELLO, replace(HELLO, ticket_request=None), RESPONSE, CONTENT])
def test_a_value_has_one_encoding_and_nothing_else_is_it(
    value: ResumeHello | ResumeResponse | TicketContent,
) -> None:
    encoded = value.encode()
    assert type(value).decode(encoded) == value
    for n in range(len(encoded)):
        try:
            other = type(value).decode(encoded[:n])
        except DecodeError:
            continue
        assert other != value and other.encode() == encoded[:n], "another list of extensions"


@pytest.mark.spec("HB-5")
def test_what_a_message_must_have_is_missed() -> None:
    plain = HELLO.hello.encode()
    with pytest.raises(DecodeError, match="HMK"):
        ResumeHello.decode(plain)
    with pytest.raises(DecodeError, match="EXT_ACCEPT"):
        ResumeResponse.decode(plain)


def test_at_most_four_tickets_can_be_asked_for() -> None:
    with pytest.raises(ValueError, match="4 tickets"):
        replace(HELLO, ticket_request=5).encode()
    encoded = bytearray(HELLO.encode())
    encoded[-1] = 5
    with pytest.raises(DecodeError, match="TICKET_REQUEST"):
        ResumeHello.decode(encoded)


@pytest.mark.spec("HB-9")
@pytest.mark.parametrize(("at", "value"), [(0, 0), (0, 2), (1, 0), (1, 9)])
def test_a_ticket_of_another_version_or_suite_is_refused(at: int, value: int) -> None:
    encoded = bytearray(CONTENT.encode())
    encoded[at] = value
    with pytest.raises(DecodeError):
        TicketContent.decode(encoded)


def test_no_secret_is_shown() -> None:
    for text in (repr(HELLO), repr(CONTENT)):
        assert "hhhh" not in text and "ssss" not in text
