"""What the options of send and receive accept."""

from __future__ import annotations

import math
from dataclasses import replace

import click
import pytest

from wraith.cli.receive import receive
from wraith.cli.send import send
from wraith.cli.transfer_options import (
    CommonOptions,
    Duration,
    Rate,
    local_address,
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


GIVEN_NOTHING = CommonOptions(
    wait_for_network=False,
    port=None,
    carriers=None,
    proxy="auto",
    ws=None,
    ws_listen=None,
    suite=None,
    require_pq=True,
    max_datagram=1472,
    connect_timeout=30.0,
    history=True,
    json_events=False,
    quiet=False,
    verbose=False,
)


def test_forever_is_no_limit() -> None:
    forever = Duration().convert("forever", None, None)
    assert GIVEN_NOTHING.node_config(wait_s=forever).wait_s is None
    assert GIVEN_NOTHING.node_config(wait_s=5.0).wait_s == 5.0
    assert math.isinf(Duration().convert("inf", None, None))


@pytest.mark.parametrize("text", ["", "soon", "-3", "5w"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_strict_by_default() -> None:
    assert SuiteId.D not in GIVEN_NOTHING.endpoint_config().suites
    node = GIVEN_NOTHING.node_config(wait_s=1)
    assert node.require_pq and node.suite is None


def test_suite_d_must_be_asked_for_twice() -> None:
    with pytest.raises(click.UsageError, match="--no-require-pq"):
        replace(GIVEN_NOTHING, suite="D").endpoint_config()
    classical = replace(GIVEN_NOTHING, suite="d", require_pq=False)
    assert classical.endpoint_config().suites == (SuiteId.D,)
    node = classical.node_config(wait_s=1)
    assert node.suite is SuiteId.D and not node.require_pq


def test_one_suite_alone() -> None:
    only_b = replace(GIVEN_NOTHING, suite="B")
    assert only_b.endpoint_config().suites == (SuiteId.B,)
    assert only_b.node_config(wait_s=1).suite is SuiteId.B


def test_datagrams_larger_than_ethernets_are_for_who_asks() -> None:
    config = replace(GIVEN_NOTHING, max_datagram=8972).endpoint_config()
    assert (config.max_udp_bytes, EndpointConfig().max_udp_bytes) == (8972, 1472)


def test_where_to_bind() -> None:
    assert local_address(None, None) == ANY_ADDRESS
    assert local_address(None, 4433) == Address(b"", 4433)
    assert local_address(LOOPBACK, None) == LOOPBACK
    with pytest.raises(click.UsageError):
        local_address(LOOPBACK, 4433)


@pytest.mark.parametrize(
    ("command", "names", "value"),
    [
        (send, ("--to", "--dial", "--only"), "alice"),
        (send, ("--listen", "--bind"), "127.0.0.1:0"),
        (receive, ("--from", "--only"), "alice"),
        (receive, ("--listen", "--bind"), "127.0.0.1:0"),
    ],
)
def test_an_option_has_other_names_that_do_exactly_the_same(
    command: click.Command, names: tuple[str, ...], value: str
) -> None:
    parsed = []
    for name in names:
        context = command.make_context(str(command.name), [name, value, "x"])
        parsed.append({key: each for key, each in context.params.items() if key != "common"})
    assert all(each == parsed[0] for each in parsed)
    assert any(value in (each, str(each)) for each in parsed[0].values())
