"""The code that a person copies."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from wraith.crypto.secret import Secret
from wraith.errors import CodeInvalid
from wraith.transfer.code import (
    MAX_CODE_CHARS,
    Code,
    _base32,
    _checksum,
    decode_code,
    encode_code,
)
from wraith.types import Address, Carrier, PeerKey, Road, SuiteId

V4 = Address(bytes([192, 0, 2, 1]), 4433)
V6 = Address(bytes.fromhex("20010db8000000000000000000000001"), 4434)


def sample(*addresses: Address, receives: bool = False) -> Code:
    return Code(
        suites=(SuiteId.A, SuiteId.B),
        access_key=b"\x01" * 32,
        peer=PeerKey(b"\x02" * 32),
        access_psk=Secret(b"\x03" * 32),
        addresses=addresses,
        maker_receives=receives,
    )


def body_of(text: str) -> bytes:
    body = text[3:-6].upper()
    return base64.b32decode(body + "=" * (-len(body) % 8))


def text_of(body: bytes) -> str:
    return "wr1" + _base32(body) + _checksum(body)


@pytest.mark.spec("TR-10")
def test_with_one_ipv4_address_it_is_short_enough_for_a_line() -> None:
    text = encode_code(sample(V4))
    assert len(text) == 176 <= 180
    assert text.startswith("wr1") and text.isalnum() and text == text.lower()


@pytest.mark.spec("TR-10")
@pytest.mark.parametrize("receives", [False, True])
@pytest.mark.parametrize(
    "addresses", [(), (V4,), (V6,), (V4, V6, V4, V4, V4, V6)], ids=["none", "v4", "v6", "all"]
)
def test_it_reads_back_as_it_was(addresses: tuple[Address, ...], receives: bool) -> None:
    code = sample(*addresses, receives=receives)
    assert decode_code(encode_code(code)) == code


@pytest.mark.spec("TR-10")
def test_the_layout_is_fixed() -> None:
    raw = body_of(encode_code(sample(V4)))
    assert raw[0] == 0b0011
    assert raw[1:97] == b"\x01" * 32 + b"\x02" * 32 + b"\x03" * 32
    assert raw[97:] == bytes([4, 192, 0, 2, 1]) + (4433).to_bytes(2, "big")


@pytest.mark.spec("TR-11")
def test_case_spaces_line_breaks_and_invisible_characters_do_not_matter() -> None:
    text = encode_code(sample(V4))
    mangled = "  " + text[:40].upper() + "\r\n\t" + text[40:90] + "\u200b\u00a0\ufeff" + text[90:]
    assert decode_code(mangled) == sample(V4)


@pytest.mark.spec("TR-12")
def test_every_single_slip_is_noticed() -> None:
    text = encode_code(sample(V4))
    for i in range(3, len(text)):
        other = "a" if text[i] != "a" else "b"
        with pytest.raises(CodeInvalid):
            decode_code(text[:i] + other + text[i + 1 :])
    for i in range(3, len(text) - 1):
        swapped = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
        if swapped != text:
            with pytest.raises(CodeInvalid):
                decode_code(swapped)


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 8, 9, 100, 175])
def test_a_part_of_a_code_is_no_code(cut: int) -> None:
    with pytest.raises(CodeInvalid):
        decode_code(encode_code(sample(V4))[:cut])


def test_a_later_version_says_so() -> None:
    text = encode_code(sample(V4))
    with pytest.raises(CodeInvalid, match="newer wraith"):
        decode_code("wr2" + text[3:])


def test_flags_of_a_later_version_say_so_only_with_a_good_checksum() -> None:
    with pytest.raises(CodeInvalid, match="newer wraith"):
        decode_code(text_of(bytes([0x83]) + bytes(96)))


@pytest.mark.parametrize(
    "text", ["", "hello", "wr", "wr1", "wr1!" + "a" * 180, "a" * 2000, "wr1" + "a" * 200]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(CodeInvalid):
        decode_code(text)


TCP_V4, TCP_V6 = Road(Carrier.TCP, V4), Road(Carrier.TCP, V6)
QUIC_V4 = Road(Carrier.QUIC, V4)
URL = Road(Carrier.WS, url="wss://example.com/prefix")


@pytest.mark.spec("TR-160")
def test_tcp_at_the_port_of_udp_costs_nothing() -> None:
    code = replace(sample(V4), has_tcp=True)
    text = encode_code(code)
    assert len(text) == 176
    assert body_of(text)[0] == 0b0010_0011
    assert decode_code(text) == code
    assert code.roads == (Road(Carrier.UDP, V4), TCP_V4)


@pytest.mark.spec("TR-160")
@pytest.mark.parametrize(
    ("suites", "flags"),
    [
        ((SuiteId.A, SuiteId.B), 0b0000_0011),
        ((SuiteId.B, SuiteId.A), 0b0100_0011),
        ((SuiteId.B, SuiteId.A, SuiteId.D), 0b0100_1011),
        ((SuiteId.B,), 0b0000_0010),
        ((SuiteId.B, SuiteId.D), 0b0000_1010),
    ],
)
def test_one_bit_says_that_suite_b_is_preferred(suites: tuple[SuiteId, ...], flags: int) -> None:
    code = replace(sample(V4), suites=suites)
    text = encode_code(code)
    assert body_of(text)[0] == flags
    assert decode_code(text).suites == suites


@pytest.mark.spec("TR-160")
@pytest.mark.parametrize("flags", [0x41, 0x42, 0x4A])
def test_a_preference_between_suites_that_are_not_there_is_refused(flags: int) -> None:
    with pytest.raises(CodeInvalid, match="prefers"):
        decode_code(text_of(bytes([flags]) + bytes(96)))


@pytest.mark.spec("TR-161")
@pytest.mark.parametrize(
    ("road", "place"),
    [
        (TCP_V4, "14 c0000201 1151"),
        (TCP_V6, "16 20010db8000000000000000000000001 1152"),
        (QUIC_V4, "24 c0000201 1151"),
        (Road(Carrier.QUIC, V6), "26 20010db8000000000000000000000001 1152"),
        (URL, "30 18" + b"wss://example.com/prefix".hex()),
    ],
    ids=["tcp4", "tcp6", "quic4", "quic6", "url"],
)
def test_the_layout_of_other_roads(road: Road, place: str) -> None:
    code = replace(sample(), other_roads=(road,))
    text = encode_code(code)
    assert body_of(text)[97:] == bytes.fromhex(place)
    assert decode_code(text) == code and code.roads == (road,)


@pytest.mark.spec("TR-161")
def test_all_that_a_code_can_name() -> None:
    v4 = [Address(bytes((192, 0, 2, i)), 4433) for i in range(4)]
    v6 = [Address(V6.ip[:15] + bytes((i,)), 4433) for i in range(2)]
    others = [Road(carrier, a) for carrier in (Carrier.TCP, Carrier.QUIC) for a in (*v4, *v6)]
    path = "/" + "x" * (120 - len("wss://1.example.com/"))
    urls = [Road(Carrier.WS, url=f"wss://{i}.example.com{path}") for i in range(2)]
    code = replace(sample(*v6, *v4), has_tcp=True, other_roads=(*others, *urls))
    text = encode_code(code)
    assert len(text) == 872 < MAX_CODE_CHARS
    assert decode_code(text) == code
    assert len(code.roads) == 6 + 6 + 6 + 2  # TCP alone at the same addresses is the same road


@pytest.mark.spec("TR-161")
def test_places_stand_in_the_order_of_carriers() -> None:
    mixed = replace(sample(V4), other_roads=(URL, QUIC_V4, TCP_V4))
    read = decode_code(encode_code(mixed))
    assert read.other_roads == (TCP_V4, QUIC_V4, URL)
    udp, tcp = bytes.fromhex("04c00002011151"), bytes.fromhex("14c00002011151")
    assert decode_code(text_of(bytes([3]) + bytes(96) + udp + tcp))
    with pytest.raises(CodeInvalid, match="broken address"):
        decode_code(text_of(bytes([3]) + bytes(96) + tcp + udp))


@pytest.mark.spec("TR-161")
@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("05 c0000201 1151", "newer wraith"),
        ("34 c0000201 1151", "newer wraith"),
        ("14 c0000201 0000", "broken address"),
        ("14 c0000201 11", "broken address"),
        ("30", "broken address"),
        ("30 00", "broken address"),
        ("30 05 61", "broken address"),
        ("30 13" + b"ftp://example.com/x".hex(), "broken address"),
        ("30 79" + (b"wss://example.com/" + b"x" * 103).hex(), "broken address"),
        (("30 12" + b"wss://example.com/".hex()) * 3, "too many"),
        ("14 c0000201 1151" * 5, "too many"),
        ("26 20010db8000000000000000000000001 1152" * 3, "too many"),
    ],
)
def test_places_that_are_refused(place: str, says: str) -> None:
    with pytest.raises(CodeInvalid, match=says):
        decode_code(text_of(bytes([3]) + bytes(96) + bytes.fromhex(place)))


INNER = [
    "ws://127.0.0.1:8080/x",
    "ws://192.168.1.1/x",
    "ws://10.0.0.1/",
    "ws://169.254.169.254/latest",
    "ws://[::1]/x",
    "ws://[fe80::1]/x",
    "ws://[fd00::1]/x",
    "ws://[::ffff:127.0.0.1]/x",
    "ws://0.0.0.0/",
    "ws://255.255.255.255/",
    "ws://224.0.0.1/",
]


@pytest.mark.spec("TR-162")
@pytest.mark.parametrize("url", INNER)
def test_the_url_of_a_code_leads_to_no_address_inside_a_network(url: str) -> None:
    with pytest.raises(ValueError, match="inside a network"):
        encode_code(replace(sample(), other_roads=(Road(Carrier.WS, url=url),)))
    place = bytes([0x30, len(url)]) + url.encode()
    with pytest.raises(CodeInvalid, match="inside a network"):
        decode_code(text_of(bytes([3]) + bytes(96) + place))


@pytest.mark.spec("TR-162")
@pytest.mark.parametrize("url", ["ws://192.0.2.1/x", "ws://[2001:db8::1]/x", "ws://localhost/"])
def test_other_literals_and_names_may_stand_there(url: str) -> None:
    code = replace(sample(), other_roads=(Road(Carrier.WS, url=url),))
    assert decode_code(encode_code(code)) == code


@pytest.mark.parametrize(
    "road",
    [
        Road(Carrier.UDP, V4),
        Road(Carrier.MEMORY, V4),
        Road(Carrier.TCP, V4, proxy="http://192.0.2.9:3128"),
        Road(Carrier.TCP, Address(V4.ip, 0)),
        Road(Carrier.WS, url="wss://example.com/?x"),
    ],
    ids=repr,
)
def test_a_road_that_has_no_form_in_a_code_cannot_be_written(road: Road) -> None:
    with pytest.raises(ValueError):
        encode_code(replace(sample(), other_roads=(road,)))


def test_too_many_addresses_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="at most 4"):
        encode_code(sample(V4, V4, V4, V4, V4))
    with pytest.raises(ValueError, match="at most 4"):
        encode_code(sample(V6, V6, V6))


def test_a_code_does_not_show_itself_by_accident() -> None:
    shown = f"{sample(V4)!r} {sample(V4)}"
    assert "\\x03" not in shown and "030303" not in shown
