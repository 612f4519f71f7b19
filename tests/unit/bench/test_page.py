"""The page of benchmark results: what it opens with, and what it says of peers that are ahead."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
import run
from behind import behind
from page import FIRST, NOTES, PAGE, TABLES, losses, measured, opening, pages, three_figures
from plots import DARK, LIGHT, Palette, Panel, bar_chart, described
from report import Report

from wraith.config import EndpointConfig

SVG = "{http://www.w3.org/2000/svg}"


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


# --- the first screen -----------------------------------------------------------------------------


def test_the_pages_and_the_plots_are_those_of_the_results() -> None:
    """``python bench/page.py`` writes them anew."""
    files = pages(measured(), list(run.SUBJECTS))
    assert {PAGE, TABLES} < set(files)
    stale = [path.name for path, text in files.items() if path.read_text("utf-8") != text]
    assert stale == []
    drawn = {path.name for path in files if path.suffix == ".svg"}
    assert {path.name for path in PAGE.parent.glob("performance-*.svg")} == drawn


def test_the_page_opens_for_a_reader_and_keeps_the_tables_behind() -> None:
    text = PAGE.read_text("utf-8")
    first = text.split("## ")[0]
    paragraph, figures = first.split("Three figures:")
    assert len(paragraph.split()) > 50 and "|" not in paragraph
    lines = re.findall(r"^- \*\*.*`make bench ONLY=(\w+)`$", figures, re.MULTILINE)
    assert len(lines) == 3 and set(lines) <= set(run.SUBJECTS)
    assert len(re.findall(r"^!\[[^]]{100,}\]\(performance-\w+\.svg\)$", figures, re.MULTILINE)) == 2
    assert "reached" not in text.replace("reached or missed", "")
    assert "## What must be reached" in TABLES.read_text("utf-8")


def stream(**mb_per_s: float) -> dict[str, Report]:
    names = {"ours": "wraith A", "quinn": "quinn", "tls": "TLS 1.3 (blocking sockets)"}
    data = {"1400": {names[key]: {"mb_per_s": rate} for key, rate in mb_per_s.items()}}
    return {"throughput": Report("throughput", "Streams", "How.", data=data)}


def test_the_first_paragraph_says_what_was_measured_and_nothing_else() -> None:
    assert "times" not in opening({})
    assert "loses" not in opening(stream(ours=200.0, quinn=100.0))
    said = opening(stream(ours=300.0, quinn=100.0, tls=400.0)).replace("\n", " ")
    assert "3.00 times the rate of quinn" in said
    assert "0.75 times the rate of TLS over blocking sockets" in said


def test_one_of_the_three_figures_is_where_we_are_worst() -> None:
    reports = stream(ours=300.0, quinn=100.0, tls=400.0)
    rates = {
        "wraith A": {"median_ms": 8.0},
        "wraith B": {"median_ms": 9.0},
        "quinn": {"median_ms": 1},
    }
    reports["handshake"] = Report("handshake", "Handshake", "How.", data=rates)
    assert three_figures(reports)[-1] == (
        "**8.00 times** is how far a peer is ahead where we are worst: handshake, median, ours "
        "(wraith A) to quinn. `make bench ONLY=handshake`"
    )
    assert "worst" not in "".join(three_figures(stream(ours=300.0, quinn=100.0)))


# --- plots ----------------------------------------------------------------------------------------

PANEL = Panel("Rates", {"quinn": 5.0, "wraith A": 10.0, "raw UDP with GSO": 99.0}, "MB/s")


def test_a_plot_stands_in_order_without_limits_and_says_every_figure() -> None:
    assert PANEL.ordered() == [("wraith A", 10.0), ("quinn", 5.0)]
    fastest = Panel("Times", {"scp": 5.0, "wraith A": 10.0}, "seconds", least=True)
    assert [name for name, _ in fastest.ordered()] == ["scp", "wraith A"]
    told = "Rates, MB/s: wraith A 10.0, quinn 5.00. Times, seconds: scp 5.00, wraith A 10.0."
    assert described([PANEL, fastest]) == told
    drawn = ElementTree.fromstring(bar_chart("A title & more", [PANEL, fastest]))
    assert [one.text for one in drawn.iter(f"{SVG}desc")] == [told]
    bars = [(one.get("class"), one.get("width")) for one in drawn.iter(f"{SVG}rect")][1:]
    assert bars == [("ours", "420.0"), ("others", "210.0"), ("others", "210.0"), ("ours", "420.0")]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_a_plot_can_be_read_in_both_modes(palette: Palette) -> None:
    """WCAG 2.1: 4.5 for text, 3 for what a figure consists of."""
    assert contrast(palette.text, palette.ground) >= 4.5
    assert contrast(palette.ours, palette.ground) >= 3
    assert contrast(palette.others, palette.ground) >= 3
    style = bar_chart("T", [PANEL])
    assert all(colour in style for colour in (palette.ground, palette.text, palette.ours))


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
