"""A flood counts as borne only when it was taken to its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
import hostile
from report import Report

from wraith.testing.control_floods import Flood, floods

LEGAL = next(flood for flood in floods() if flood.is_legal)
BREACH = next(flood for flood in floods() if not flood.is_legal)


def said(n_bytes: int, *, is_closed: bool) -> str:
    drowned = f"Drowned(n_bytes={n_bytes}, n_connections=1, is_closed={is_closed})"
    return f"name {drowned} KiB above idle: 2048\n"


@pytest.mark.parametrize(
    ("flood", "words", "is_right"),
    [
        (LEGAL, said(1000, is_closed=False), True),
        (LEGAL, said(999, is_closed=False), False),
        (LEGAL, said(1000, is_closed=True), False),
        (LEGAL, "", False),
        (BREACH, said(10, is_closed=True), True),
        (BREACH, said(1000, is_closed=False), False),
        (BREACH, "", False),
    ],
)
def test_a_legal_flood_is_taken_whole_and_a_breach_refused(
    flood: Flood, words: str, is_right: bool
) -> None:
    assert hostile.judged(flood, 1000, words, "it died").is_right is is_right


def test_floods_that_do_not_end_miss_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "FLOOD_S", 0.01)
    report = Report("hostile", "Hostile", "How.")
    hostile.add_memory(report, quick=True)
    (bound,) = report.bounds
    assert not bound.is_met and bound.value == 0
