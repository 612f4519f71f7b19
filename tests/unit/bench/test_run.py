"""What ``bench/run.py`` ends with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
import run
from report import Report


@pytest.mark.parametrize(
    ("options", "value", "is_regression", "code"),
    [
        (["--only", "parts"], 1.0, False, 1),
        (["--only", "parts"], 1.0, True, 1),
        (["--only", "parts"], 3.0, False, 0),
        (["--only", "parts", "--quick"], 1.0, False, 0),
        ([], 1.0, False, 0),
    ],
)
def test_a_named_subject_that_misses_a_bound_fails(
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    value: float,
    is_regression: bool,
    code: int,
) -> None:
    def measured(name: str, *, quick: bool) -> Report:
        report = Report(name, name, "How.")
        report.need("figure", value, 2.0, is_regression=is_regression)
        return report

    monkeypatch.setattr(run, "measured", measured)
    monkeypatch.setattr(run, "build_peers", lambda: None)
    monkeypatch.setattr(run, "write_page", lambda order: None)
    monkeypatch.setattr(Report, "save", lambda self, *, quick: None)
    monkeypatch.setattr(sys, "argv", ["run.py", *options])
    assert run.main() == code
