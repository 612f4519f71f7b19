"""Cookies: good for one address, one access key, and the minute they were made in or the next."""

from __future__ import annotations

import pytest

from wraith.connection.handshake.cookies import COOKIE_BYTES, CookieJar
from wraith.crypto.secret import Secret
from wraith.types import Address

JAR = CookieJar(Secret(b"k" * 32))
HERE = Address(bytes((192, 0, 2, 1)), 4000)
AK = b"a" * 32
T = 60_000.0


@pytest.mark.spec("HS-27")
def test_it_is_good_in_its_own_and_the_next_minute() -> None:
    cookie = JAR.make(HERE, AK, T)
    assert len(cookie) == COOKIE_BYTES
    assert JAR.check(cookie, HERE, AK, T + 59)
    assert JAR.check(cookie, HERE, AK, T + 119)
    assert not JAR.check(cookie, HERE, AK, T + 120)
    assert not JAR.check(cookie, HERE, AK, T - 1)


@pytest.mark.spec("HS-27")
@pytest.mark.parametrize(
    ("address", "ak"),
    [
        (Address(bytes((192, 0, 2, 2)), 4000), AK),
        (Address(bytes((192, 0, 2, 1)), 4001), AK),
        (HERE, b"b" * 32),
    ],
)
def test_it_is_good_nowhere_else(address: Address, ak: bytes) -> None:
    assert not JAR.check(JAR.make(HERE, AK, T), address, ak, T)


@pytest.mark.spec("HS-27")
def test_another_process_makes_others() -> None:
    other = CookieJar(Secret(b"l" * 32))
    assert not other.check(JAR.make(HERE, AK, T), HERE, AK, T)


def test_mapped_and_plain_ipv4_are_one_address() -> None:
    mapped = Address(b"\0" * 10 + b"\xff\xff" + HERE.ip, HERE.port)
    assert JAR.check(JAR.make(HERE, AK, T), mapped, AK, T)


@pytest.mark.parametrize("at", range(0, COOKIE_BYTES, 5))
def test_every_byte_counts(at: int) -> None:
    cookie = bytearray(JAR.make(HERE, AK, T))
    cookie[at] ^= 1
    assert not JAR.check(bytes(cookie), HERE, AK, T)


@pytest.mark.parametrize("n", [0, 4, 31, 33])
def test_other_lengths_are_refused(n: int) -> None:
    assert not JAR.check(bytes(n), HERE, AK, T)
