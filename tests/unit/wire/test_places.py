"""Addresses and URLs of roads: their bytes, and what kind of address an address is."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.errors import DecodeError
from wraith.types import Address, Carrier, Road
from wraith.wire.places import (
    URL_BYTES_MAX,
    URL_TYPE,
    AddressKind,
    check_url,
    decode_place,
    encode_place,
    kind_of,
    literal_of,
)

FOUR = Address(bytes((192, 0, 2, 1)), 4433)
SIX = Address(bytes.fromhex("20010db8000000000000000000000001"), 4434)


@pytest.mark.parametrize(
    ("road", "type_"),
    [
        (Road(Carrier.UDP, FOUR), 0x04),
        (Road(Carrier.UDP, SIX), 0x06),
        (Road(Carrier.TCP, FOUR), 0x14),
        (Road(Carrier.TCP, SIX), 0x16),
        (Road(Carrier.QUIC, FOUR), 0x24),
        (Road(Carrier.QUIC, SIX), 0x26),
        (Road(Carrier.WS, url="wss://example.com/x"), 0x30),
    ],
)
def test_every_road_has_one_form(road: Road, type_: int) -> None:
    encoded = encode_place(road)
    assert encoded[0] == type_
    assert decode_place(*encoded) == road


def test_a_proxy_belongs_to_the_dialler_and_is_not_encoded() -> None:
    road = Road(Carrier.TCP, FOUR, proxy="http://user:secret@192.0.2.9")
    assert encode_place(road) == encode_place(Road(Carrier.TCP, FOUR))


@pytest.mark.parametrize(
    "road",
    [
        Road(Carrier.MEMORY, FOUR),
        Road(Carrier.WS, FOUR),
        Road(Carrier.UDP, Address(b"", 1)),
        Road(Carrier.UDP, Address(FOUR.ip, 0)),
        Road(Carrier.UDP, Address(FOUR.ip, 65_536)),
        Road(Carrier.TCP, url="wss://example.com/"),
        Road(Carrier.WS, url="ftp://example.com/"),
    ],
    ids=repr,
)
def test_other_roads_have_no_form(road: Road) -> None:
    with pytest.raises(ValueError):
        encode_place(road)


def test_unknown_types_are_told_from_broken_ones() -> None:
    assert decode_place(0x05, b"whatever") is None
    for type_, value in ((4, b""), (4, bytes(6)), (0x16, bytes(6)), (URL_TYPE, b"\xff://x")):
        with pytest.raises(DecodeError):
            decode_place(type_, value)


@given(st.integers(0, 255), st.binary(max_size=130))
def test_what_decodes_is_the_one_form_of_its_road(type_: int, value: bytes) -> None:
    try:
        road = decode_place(type_, value)
    except DecodeError:
        return
    assert road is None or encode_place(road) == (type_, value)


@pytest.mark.parametrize(
    "url",
    [
        "ws://example.com",
        "wss://example.com/",
        "http://example.com:8080/prefix/deep",
        "https://a-b.example.com:65535/~x/y_z.q",
        "wss://192.0.2.1/x",
        "wss://[2001:db8::1]:443/x",
        "ws://localhost:8080/x",
    ],
)
def test_urls_of_roads(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "WSS://example.com/",
        "wss:///x",
        "wss://user@example.com/",
        "wss://user:secret@example.com/",
        "wss://example.com/x?y=z",
        "wss://example.com/x#y",
        "wss://example.com/%2e",
        "wss://example.com/a b",
        "wss://example.com/\r\nHost: x",
        "wss://exämple.com/",
        "wss://example.com:0/",
        "wss://example.com:65536/",
        "wss://example.com:/",
        "wss://-example.com/",
        "wss://example.com./",
        "wss://127.1/",
        "wss://2130706433/",
        "wss://0x7f000001/",
        "wss://0x7f.1/",
        "wss://0177.0.0.1/",
        "wss://1.2.3.4.5/",
        "wss://example.127/",
        "wss://[::1/",
        "wss://[1.2.3.4]/",
        "wss://[fe80::1%25eth0]/",
        "wss://" + "a" * URL_BYTES_MAX,
    ],
)
def test_other_words_are_no_urls_of_roads(url: str) -> None:
    with pytest.raises(ValueError):
        check_url(url)
    with pytest.raises(DecodeError):
        decode_place(URL_TYPE, url.encode())


def test_the_literal_of_a_url() -> None:
    assert literal_of("wss://192.0.2.1:1/x") == FOUR.ip
    assert literal_of("wss://[2001:db8::1]/x") == SIX.ip
    assert literal_of("wss://example.com/x") is None
    assert literal_of("nonsense") is None


KINDS = {
    AddressKind.GLOBAL: [
        "192.0.2.1",
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "169.253.0.1",
        "223.255.255.255",
        "2001:db8::1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
    AddressKind.PRIVATE: [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "fc00::1",
        "fdff::1",
        "fec0::1",
        "64:ff9b:1::1",
    ],
    AddressKind.LOOPBACK: ["127.0.0.1", "127.255.255.254", "::1"],
    AddressKind.NEVER: [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:c0a8:101::1",
    ],
}


@pytest.mark.spec("RO-70")
@pytest.mark.parametrize(
    ("text", "kind"), [(text, kind) for kind, texts in KINDS.items() for text in texts]
)
def test_what_an_address_is_for(text: str, kind: AddressKind) -> None:
    assert kind_of(ip_address(text).packed) is kind


def test_what_has_no_length_of_an_address_is_for_nothing() -> None:
    assert kind_of(b"") is AddressKind.NEVER
