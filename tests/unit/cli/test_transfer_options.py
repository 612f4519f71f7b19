"""What the options of send and receive accept."""

from __future__ import annotations

import math

import click
import pytest

from wraith.cli.transfer_options import (
    Duration,
    Rate,
    chosen_config,
    local_address,
    no_limit,
    shown_addresses,
)
from wraith.config import EndpointConfig
from wraith.types import ANY_ADDRESS, Address, SuiteId

LOOPBACK = Address(bytes([127, 0, 0, 1]), 0)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1000", 1e3), ("500k", 5e5), ("2.5M", 2.5e6), ("1MiB", 2**20), ("1g", 1e9), ("3MB/s", 3e6)],
)
def test_rates(text: str, rate: float) -> None:
    assert Rate().convert(text, None, None) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1M", "1x", "999", "1e6"])
def test_other_rates_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Rate().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("1.5", 1.5), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_forever_is_no_limit() -> None:
    assert no_limit(Duration().convert("forever", None, None)) is None
    assert no_limit(5.0) == 5.0
    assert math.isinf(Duration().convert("inf", None, None))


@pytest.mark.parametrize("text", ["", "soon", "-3", "5w"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_strict_by_default() -> None:
    config, suite = chosen_config(None, True, 1472)
    assert SuiteId.D not in config.suites
    assert suite is None


def test_suite_d_must_be_asked_for_twice() -> None:
    with pytest.raises(click.UsageError, match="--no-require-pq"):
        chosen_config("D", True, 1472)
    config, suite = chosen_config("d", False, 1472)
    assert (config.suites, suite) == ((SuiteId.D,), SuiteId.D)


def test_one_suite_alone() -> None:
    config, suite = chosen_config("B", True, 1472)
    assert (config.suites, suite) == ((SuiteId.B,), SuiteId.B)


def test_datagrams_larger_than_ethernets_are_for_who_asks() -> None:
    config, _ = chosen_config(None, True, 8972)
    assert (config.max_udp_bytes, EndpointConfig().max_udp_bytes) == (8972, 1472)


def test_where_to_bind() -> None:
    assert local_address(None, None) == ANY_ADDRESS
    assert local_address(None, 4433) == Address(b"", 4433)
    assert local_address(LOOPBACK, None) == LOOPBACK
    with pytest.raises(click.UsageError):
        local_address(LOOPBACK, 4433)


def test_a_code_names_the_address_that_was_asked_for_alone() -> None:
    assert shown_addresses(LOOPBACK, 4433) == (LOOPBACK._replace(port=4433),)
    for address in shown_addresses(Address(bytes(4), 0), 4433):
        assert (len(address.ip), address.port) == (4, 4433)
        assert any(address.ip)
