"""No change sends another datagram than before without saying so.

``goldens.json`` holds, for each scenario, how many datagrams were sent and a digest of them all.
Where a change is meant to alter them, keep the new ones in a commit that names the scenarios that
the command prints, and why:

    python -m wraith.testing.goldens tests/sim/goldens.json --write
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from wraith import hotpath
from wraith.testing import goldens
from wraith.testing.golden_scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("goldens.json")
CHANGES: list[dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("golden_changes.toml").read_text(encoding="utf-8")
)["change"]


def compare(*options: str, environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of the command that compares, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", "wraith.testing.goldens", str(FILE), *options],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=500,
    )  # fmt: skip
    assert run.returncode in (0, 1), run.stderr
    return run.returncode, run.stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize("hot_path", ["native", "python"])
def test_every_datagram_of_every_scenario_is_as_before(hot_path: str) -> None:
    if hot_path == "native" and hotpath.NAME != "native":
        pytest.skip("the native part is not installed")
    pure = "1" if hot_path == "python" else "0"
    code, text = compare(environment={"WRAITH_PURE_PYTHON": pure})
    assert code == 0, f"other datagrams than before:\n{text}{__doc__}"


def test_the_digests_are_those_of_the_scenarios_and_each_sends_something() -> None:
    kept = goldens.read(FILE)
    assert set(kept) == set(SCENARIOS) and len(SCENARIOS) >= 40
    assert min(golden.n_datagrams for golden in kept.values()) >= 10
    assert len({golden.digest for golden in kept.values()}) == len(kept)


@pytest.mark.parametrize("change", CHANGES, ids=[change["what"] for change in CHANGES])
def test_a_planted_change_names_a_line_that_exists(change: dict[str, str]) -> None:
    assert (ROOT / change["file"]).read_text(encoding="utf-8").count(change["old"]) == 1
    assert any(change["scenario"] in name for name in SCENARIOS)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=[change["what"] for change in CHANGES])
def test_a_planted_change_is_noticed(change: dict[str, str], tmp_path: Path) -> None:
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / change["file"]
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(change["old"], change["new"]), encoding="utf-8")
    code, text = compare(
        "--only", change["scenario"], "--first", environment={"PYTHONPATH": str(source)}
    )
    assert code == 1 and change["scenario"] in text
