"""The page of benchmark results: what it says of suites and of peers that are ahead."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
from page import FIRST, NOTES, behind

from wraith.config import EndpointConfig


def test_the_page_calls_the_first_suite_of_the_configuration_the_default() -> None:
    first, *others = (f"wraith {suite.name}" for suite in EndpointConfig().suites)
    assert NOTES[first].endswith("the default")
    assert FIRST[0] == first
    assert not any("default" in NOTES[other] for other in others)


def test_a_peer_ahead_of_the_default_suite_is_named() -> None:
    rates = {"quinn": 300.0, "wraith A": 200.0, "wraith B": 400.0}
    found = dict(behind({"veth": {"no offloads": rates}}))
    assert found["one stream, no offloads, quinn's rate to suite A's"] == 1.5
    assert found["one stream, no offloads, quinn's rate to suite B's"] == 0.75
