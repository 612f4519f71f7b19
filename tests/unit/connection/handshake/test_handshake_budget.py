"""Token buckets: who pays, in which order, and when cookie mode begins and ends."""

from __future__ import annotations

import pytest

from wraith.config import Budgets
from wraith.connection.handshake.budget import (
    PREFIX_ENTRIES_MAX,
    REFUSED_ENTRIES_MAX,
    HelloFull,
    PreAuth,
    TokenBucket,
    prefix_of,
)
from wraith.types import Address


def v4(a: int, b: int = 1, c: int = 1, d: int = 1, port: int = 1) -> Address:
    return Address(bytes((a, b, c, d)), port)


def test_bucket_refills_at_its_rate_up_to_its_burst() -> None:
    bucket = TokenBucket(rate=10.0, burst=3, now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(0.05)
    assert bucket.take(0.15)
    assert bucket.level(100.0) == 3


def test_time_never_takes_tokens_back() -> None:
    bucket = TokenBucket(rate=1.0, burst=2, now=10.0)
    bucket.take(10.0)
    assert bucket.level(10.0) == 1
    assert bucket.level(9.0) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (v4(10, 0, 0, 1), v4(10, 0, 0, 200), True),
        (v4(10, 0, 0, 1), v4(10, 0, 1, 1), False),
        (Address(b"\x20\x01" + bytes(14), 1), Address(b"\x20\x01" + bytes(13) + b"\x09", 1), True),
        (
            Address(bytes(6) + b"\x00" + bytes(9), 1),
            Address(bytes(6) + b"\x01" + bytes(9), 1),
            False,
        ),
        (
            Address(bytes(7) + b"\x00" + bytes(8), 1),
            Address(bytes(7) + b"\x01" + bytes(8), 1),
            True,
        ),
        (v4(10, 0, 0, 1), Address(b"\0" * 10 + b"\xff\xff\x0a\0\0\x09", 1), True),
    ],
)
def test_prefix_is_24_or_56_bits(one: Address, other: Address, same: bool) -> None:
    assert (prefix_of(one) == prefix_of(other)) is same


@pytest.mark.spec("HS-20")
def test_prefix_pays_first_and_its_refusal_costs_the_process_nothing() -> None:
    budgets = Budgets(preauth_rate=0.001, preauth_burst=10, prefix_rate=0.001, prefix_burst=2)
    gate = PreAuth(budgets, 0.0)
    assert [gate.take(v4(1), 0.0) for _ in range(50)] == [True] * 2 + [False] * 48
    # 7.5 general tokens: two are gone, five are left for other prefixes.
    assert [gate.take(v4(2 + i), 0.0) for i in range(6)] == [True] * 5 + [False]


@pytest.mark.spec("HS-21")
def test_quarter_of_the_rate_is_kept_for_prefixes_that_completed() -> None:
    budgets = Budgets(preauth_rate=0.001, preauth_burst=40, prefix_burst=1_000)
    gate = PreAuth(budgets, 0.0)
    gate.on_completed(v4(9), 0.0)
    while gate.take(v4(1), 0.0):
        pass
    assert not gate.take(v4(2), 0.0)
    assert [gate.take(v4(9), 0.0) for _ in range(11)] == [True] * 10 + [False]


@pytest.mark.spec("HS-21")
def test_prefix_is_known_for_a_day() -> None:
    budgets = Budgets(preauth_rate=0.001, preauth_burst=40, prefix_burst=1_000)
    gate = PreAuth(budgets, 0.0)
    gate.on_completed(v4(9), 0.0)
    day = 24 * 3600.0
    while gate.take(v4(1), day + 1):
        pass
    assert not gate.take(v4(9), day + 1)


@pytest.mark.spec("HS-20")
def test_refusal_is_remembered_for_250_ms_and_that_address_only() -> None:
    gate = PreAuth(Budgets(prefix_burst=1, prefix_rate=0.1), 0.0)
    assert gate.take(v4(1), 0.0)
    assert not gate.was_refused(v4(1), 0.0)
    assert not gate.take(v4(1), 0.0)
    assert gate.was_refused(v4(1), 0.2)
    assert not gate.was_refused(v4(1, port=2), 0.2)
    assert not gate.was_refused(v4(1), 0.26)


@pytest.mark.spec("HS-27")
def test_a_validated_address_has_a_second_burst_of_its_prefix_for_two_minutes() -> None:
    gate = PreAuth(Budgets(prefix_rate=0.001, prefix_burst=3), 0.0)
    assert [gate.take(v4(1, d=1), 0.0) for _ in range(4)] == [True, True, True, False]
    gate.on_validated(v4(1, d=2), 0.0)
    assert not gate.take(v4(1, d=3), 1.0), "another address of the prefix"
    assert [gate.take(v4(1, d=2), 1.0) for _ in range(4)] == [True, True, True, False]
    gate.on_validated(v4(1, d=4), 1.0)
    assert not gate.take(v4(1, d=4), 1.0), "one such bucket per prefix, not per address"
    late = PreAuth(Budgets(prefix_rate=0.001, prefix_burst=1), 0.0)
    late.on_validated(v4(1), 0.0)
    assert late.take(v4(1), 119.0) and late.take(v4(1), 119.5)
    expired = PreAuth(Budgets(prefix_rate=0.001, prefix_burst=1), 0.0)
    expired.on_validated(v4(1), 0.0)
    assert expired.take(v4(1), 121.0) and not expired.take(v4(1), 121.5)


@pytest.mark.spec("HS-80")
def test_a_known_address_has_a_bucket_of_its_own_when_its_prefix_has_nothing_left() -> None:
    gate = PreAuth(Budgets(prefix_rate=1e-9, prefix_burst=2), 0.0)
    gate.on_completed(v4(1, d=2), 0.0)
    gate.on_completed(v4(1, d=4), 0.0)
    assert [gate.take(v4(1, d=1), 1.0) for _ in range(3)] == [True, True, False]
    again = [gate.take(v4(1, d=2, port=7), 1.0) for _ in range(3)]
    assert again == [True, True, False], "the port of the next dial is another one"
    assert gate.take(v4(1, d=4), 1.0), "what one known address uses up is not another's"
    assert not gate.take(v4(1, d=3), 1.0), "an address that never connected"
    assert not gate.take(v4(1, d=4), 1.0 + 25 * 3600), "known for a day"


@pytest.mark.spec("HS-80")
def test_addresses_of_one_ipv6_subnet_are_one_known_host() -> None:
    def v6(last: int, subnet: int = 1) -> Address:
        return Address(b"\x20\x01\x0d\xb8" + bytes((0, 0, 0, subnet)) + bytes((*bytes(7), last)), 1)

    gate = PreAuth(Budgets(prefix_rate=0.001, prefix_burst=1), 0.0)
    gate.on_completed(v6(1), 0.0)
    assert gate.take(v6(9, subnet=2), 0.0), "the /56 pays once"
    assert gate.take(v6(5), 0.0), "privacy addresses change within the /64"
    assert not gate.take(v6(5, subnet=2), 0.0)


@pytest.mark.spec("HS-80")
def test_memory_of_known_hosts_is_bounded() -> None:
    gate = PreAuth(Budgets(known_prefixes=10), 0.0)
    for n in range(5_000):
        gate.on_completed(v4(n >> 8 & 255, n & 255), 0.0)
    assert gate.n_entries <= 20


@pytest.mark.spec("HS-27")
def test_memory_of_validated_addresses_is_bounded() -> None:
    gate = PreAuth(Budgets(), 0.0)
    for n in range(5_000):
        gate.on_validated(v4(n >> 8 & 255, n & 255), 0.0)
    assert gate.n_entries <= 1_024


def test_memory_of_sources_is_bounded() -> None:
    budgets = Budgets(preauth_rate=0.001, preauth_burst=1)
    gate = PreAuth(budgets, 0.0)
    for i in range(PREFIX_ENTRIES_MAX + 2_000):
        gate.take(v4(1 + (i >> 16), (i >> 8) & 255, i & 255), 0.0)
    for i in range(budgets.known_prefixes + 100):
        gate.on_completed(v4(1 + (i >> 16), (i >> 8) & 255, i & 255), 0.0)
    assert gate.n_entries <= PREFIX_ENTRIES_MAX + 2 * budgets.known_prefixes + REFUSED_ENTRIES_MAX


class TestCookieMode:
    budgets = Budgets(hello_full_rate=10, hello_full_burst=10, cookie_half_open=5)

    def drained(self) -> HelloFull:
        gate = HelloFull(self.budgets, 0.0)
        while gate.take(0.0, 0):
            pass
        return gate

    @pytest.mark.spec("HS-26")
    def test_a_short_dip_does_not_begin_it(self) -> None:
        gate = self.drained()
        assert not gate.update(0.49, 0)
        assert not gate.update(0.6, 0)
        assert not gate.update(5.0, 0)

    @pytest.mark.spec("HS-26")
    def test_a_second_below_half_begins_it(self) -> None:
        gate = self.drained()
        for i in range(1, 12):
            gate.take(i * 0.1, 0)
        assert gate.cookie_mode

    @pytest.mark.spec("HS-26")
    def test_the_mode_does_not_depend_on_how_often_it_is_asked(self) -> None:
        asked, unasked = self.drained(), self.drained()
        for gate in (asked, unasked):
            for i in range(1, 9):
                gate.take(i * 0.1, 0)
        for i in range(80, 400):
            asked.update(i / 100, 0)
        assert asked.update(4.0, 0) == unasked.update(4.0, 0)

    @pytest.mark.spec("HS-26")
    def test_it_ends_after_ten_seconds_above_ninety_percent(self) -> None:
        gate = self.drained()
        for i in range(1, 12):
            gate.take(i * 0.1, 0)
        assert gate.update(10.0, 0)
        assert not gate.update(12.5, 0)

    @pytest.mark.spec("HS-26")
    def test_too_many_half_open_begin_it_and_hold_it(self) -> None:
        gate = HelloFull(self.budgets, 0.0)
        assert not gate.update(0.0, 5)
        assert gate.update(0.0, 6)
        assert gate.update(60.0, 6)
        assert not gate.update(60.0, 5)
