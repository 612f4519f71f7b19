"""``tools/check.sh``: what it makes of the steps and of the time that they take."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "check.sh"
LIMITS = {"limit_s": 3600, "test_limit_s": 1500}


def checked(folder: Path, *, ci: str, over: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the script beside steps that do nothing; what takes 0 s is longer than ``over`` may."""
    text = SCRIPT.read_text("utf-8")
    for name, limit in LIMITS.items():
        assert name != over or f"\n{name}={limit}\n" in text
        text = text.replace(f"\n{name}={limit}\n", f"\n{name}={-1 if name == over else 3600}\n")
    (folder / "tools").mkdir(parents=True)
    (folder / "tools" / "check.sh").write_text(text, "utf-8")
    for name in ("build-native", "build-interop", "build-link", "check-native", "check-advisories"):
        (folder / "tools" / f"{name}.sh").touch()
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n", "utf-8")
    python.chmod(0o755)
    return subprocess.run(
        ["bash", str(folder / "tools" / "check.sh")],
        env=os.environ | {"MAKE": "true", "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("ci", ["true", ""])
def test_steps_in_time_are_no_failure(tmp_path: Path, ci: str) -> None:
    run = checked(tmp_path, ci=ci)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 failed" in run.stdout and "over the limit" not in run.stdout


@pytest.mark.parametrize("over", LIMITS)
def test_what_takes_too_long_fails_where_changes_are_gated(tmp_path: Path, over: str) -> None:
    gated = checked(tmp_path / "gated", ci="true", over=over)
    assert gated.returncode == 1 and "1 failed" in gated.stdout
    assert "over the limit of -1 s" in gated.stdout
    at_home = checked(tmp_path / "home", ci="", over=over)
    assert at_home.returncode == 0 and "over the limit of -1 s" in at_home.stdout
