"""The code that a person copies."""

from __future__ import annotations

import pytest

from wraith.crypto.secret import Secret
from wraith.errors import CodeInvalid
from wraith.transfer.code import Code, decode_code, encode_code
from wraith.types import Address, PeerKey, SuiteId

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
    import base64

    text = encode_code(sample(V4))
    body = text[3:-6].upper()
    raw = base64.b32decode(body + "=" * (-len(body) % 8))
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
    from wraith.transfer.code import _base32, _checksum

    raw = bytes([0x43]) + bytes(96)
    with pytest.raises(CodeInvalid, match="newer wraith"):
        decode_code("wr1" + _base32(raw) + _checksum(raw))


@pytest.mark.parametrize(
    "text", ["", "hello", "wr", "wr1", "wr1!" + "a" * 180, "a" * 2000, "wr1" + "a" * 200]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(CodeInvalid):
        decode_code(text)


def test_too_many_addresses_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="at most 4"):
        encode_code(sample(V4, V4, V4, V4, V4))
    with pytest.raises(ValueError, match="at most 4"):
        encode_code(sample(V6, V6, V6))


def test_a_code_does_not_show_itself_by_accident() -> None:
    shown = f"{sample(V4)!r} {sample(V4)}"
    assert "\\x03" not in shown and "030303" not in shown
