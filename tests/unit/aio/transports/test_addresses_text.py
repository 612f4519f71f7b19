"""Addresses as people and sockets write them."""

from __future__ import annotations

import pytest

from wraith.aio.transports.addresses import (
    format_address,
    from_sockaddr,
    parse_address,
    to_sockaddr,
)
from wraith.errors import ConfigError
from wraith.types import ANY_ADDRESS, Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:4433", Address(b"\x7f\0\0\1", 4433)),
        ("[2001:db8::1]:1", Address(b"\x20\x01\x0d\xb8" + bytes(11) + b"\1", 1)),
        ("[fe80::1%3]:9", Address(b"\xfe\x80" + bytes(13) + b"\1", 9, 3)),
    ],
)
def test_reading_and_writing_agree(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert format_address(address) == text
    assert from_sockaddr(to_sockaddr(address)) == address


@pytest.mark.parametrize("text", [":5", "*:5"])
def test_no_host_is_every_interface(text: str) -> None:
    assert parse_address(text) == Address(b"", 5)


@pytest.mark.parametrize("text", ["localhost:5", "LOCALHOST:5"])
def test_localhost_is_this_host_and_no_name_to_look_up(text: str) -> None:
    assert parse_address(text) == Address(b"\x7f\0\0\1", 5)


@pytest.mark.parametrize(
    "text",
    [
        *("", "127.0.0.1", "::1:4", "[::1]", "example.org:1", "1.2.3.4:65536", "1.2.3.4:-1"),
        *("1.2.3.4:x", "1.2.3.4:", "1.2.3:1", "[fe80::1%nosuchzone]:1", "1.2.3.4:\u0661"),
    ],
)
def test_everything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"accepted"):
        parse_address(text)


def test_a_source_that_is_no_ip_address_is_unknown() -> None:
    assert from_sockaddr(("/tmp/socket", 0)) == ANY_ADDRESS
