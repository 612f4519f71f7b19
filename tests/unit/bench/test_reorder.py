"""The emulated link of ``reorder`` is judged before what is measured on it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
from reorder import LINK_TITLE, mark, merged
from report import Report

BOUND = "the link: error of a round trip of 40 ms, median"
NOTE = "The link was not valid"
MACHINE: dict[str, object] = {"time": "2026-11-30T21:00:00Z"}


def link(error_ms: float) -> Report:
    report = Report("reorder", "Reordering", "How.")
    report.add(LINK_TITLE, ("", "measured"), [("error", error_ms)])
    report.need(BOUND, error_ms, 0.5, "ms", at_most=True)
    report.data["the link, 40 ms"] = {"ms": [error_ms]}
    mark(report)
    return report


def streams(error_ms: float) -> dict[str, object]:
    """A saved result with a link and what was measured on it."""
    report = link(error_ms)
    report.add("One stream", ("", "Mbit/s"), [("clean", 18.9)])
    report.need("5 % late, to TCP", 1.0, 0.9, "×")
    report.data["clean"] = {"wraith": [18.9]}
    return {"machine": {"cpu": "one"}, **asdict(report)}


def test_a_link_that_misses_a_bound_is_called_not_valid() -> None:
    assert NOTE in link(0.86).how
    assert NOTE not in link(0.1).how


def test_a_link_measured_anew_replaces_its_own_rows_alone() -> None:
    old = streams(0.86)
    new = merged(old, link(0.1), MACHINE)
    assert [t["title"] for t in new["tables"]] == [LINK_TITLE, "One stream"]
    assert new["tables"][0]["rows"] == [("error", 0.1)]
    assert [(b["what"], b["value"]) for b in new["bounds"]] == [
        (BOUND, 0.1),
        ("5 % late, to TCP", 1.0),
    ]
    assert new["data"]["clean"] == {"wraith": [18.9]}
    assert new["data"]["the link, 40 ms"] == {"ms": [0.1]}
    assert new["machine"] == {"cpu": "one"}
    assert NOTE not in new["how"] and str(MACHINE["time"]) in new["how"]


def test_merging_twice_leaves_one_note() -> None:
    once = merged(streams(0.1), link(0.9), MACHINE)
    twice = merged(once, link(0.9), MACHINE)
    assert twice["how"] == once["how"]
    assert once["how"].count(NOTE) == 1
