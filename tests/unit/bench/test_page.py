"""The page of benchmark results: what it says of suites and of peers that are ahead."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
from behind import behind
from page import FIRST, NOTES, losses
from report import Report

from wraith.config import EndpointConfig


def test_the_page_calls_the_first_suite_of_the_configuration_the_default() -> None:
    first, *others = (f"wraith {suite.name}" for suite in EndpointConfig().suites)
    assert NOTES[first].endswith("the default")
    assert FIRST[0] == first
    assert not any("default" in NOTES[other] for other in others)


def test_a_peer_ahead_of_the_default_suite_is_named() -> None:
    rates = {"quinn": 300.0, "wraith A": 200.0, "wraith B": 400.0, "raw UDP with GSO": 9e9}
    found = dict(behind({"veth": {"no offloads": rates}}))
    assert found == {
        "one stream, no offloads, quinn to ours (wraith A)": 1.5,
        "one stream, no offloads, quinn to ours (wraith B)": 0.75,
    }


def seconds(figure: float) -> dict[str, Any]:
    return {"seconds": figure}


AHEAD: list[tuple[str, dict[str, Any], str]] = [
    (
        "files",
        {"Many files": {"wraith A": seconds(4.0), "rsync": seconds(2.0), "cp (limit)": seconds(1)}},
        "- many files, ours (wraith A) to rsync: 2.00 ×",
    ),
    (
        "libp2p",
        {"stream": {"ours on qh3": {"mb_per_s": 100.0}, "quic-go": {"mb_per_s": 150.0}}},
        "- libp2p, one stream, quic-go to ours on qh3: 1.50 ×",
    ),
    (
        "mls",
        {"groups": {"suite 1": {"open": {"ours_s": [3e-4, 1.0], "theirs_s": [1e-4, 0.4]}}}},
        "- groups, suite 1, open, time to OpenMLS's: 2.50 ×",
    ),
    (
        "reorder",
        {"clean": {"wraith": [{"mbit_per_s": 10.0}], "tcp": [{"mbit_per_s": 19.0}]}},
        "- one stream, emulated link, clean, kernel TCP's rate to ours: 1.90 ×",
    ),
]


@pytest.mark.parametrize(("name", "data", "line"), AHEAD, ids=[name for name, *_ in AHEAD])
def test_a_peer_that_is_ahead_stands_on_the_page(
    name: str, data: dict[str, Any], line: str
) -> None:
    report = Report(name, name, "How.", data=data)
    assert losses([report]).splitlines()[2:] == [line]


@pytest.mark.parametrize("name", ["libp2p", "mls"])
def test_a_result_too_old_to_tell_is_not_called_a_victory(name: str) -> None:
    assert f"not known of {name}" in losses([Report(name, name, "How.")])
