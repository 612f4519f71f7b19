"""What ``bench/startup.py`` counts, and what it does not count."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
from harness import PeerFailed
from startup import Start, cpu_ms, program, starts, turns

BUSY = "import time\nwhile time.process_time() < 0.2: pass\n"


def test_processor_time_is_counted_and_waiting_is_not() -> None:
    environment = dict(os.environ)
    busy = cpu_ms(Start("busy", program(BUSY)), environment)
    idle = cpu_ms(Start("idle", program("import time; time.sleep(0.4)")), environment)
    assert busy >= 200 > idle


def test_what_comes_after_the_text_is_not_counted() -> None:
    code = f"print('ready', flush=True)\nimport time\ntime.sleep(0.05)\n{BUSY}"
    assert cpu_ms(Start("early", program(code), is_ready="ready"), dict(os.environ)) < 200


@pytest.mark.parametrize(
    "start",
    [
        Start("fails", program("raise SystemExit(3)")),
        Start("says something else", program("print('no')"), is_ready="ready"),
        Start("says nothing", program("pass"), is_ready="ready"),
    ],
    ids=lambda start: start.name,
)
def test_a_command_that_fails_has_no_figure(start: Start) -> None:
    with pytest.raises(PeerFailed, match=start.name):
        cpu_ms(start, dict(os.environ))
    left_out: list[str] = []
    runs = turns([start, Start("passes", program("pass"))], 2, dict(os.environ), left_out)
    assert set(runs) == {"passes"} and len(runs["passes"]) == 2
    assert len(left_out) == 1


def test_every_bound_has_something_beside_it(tmp_path: Path) -> None:
    found = starts(tmp_path / "notes.txt")
    names = {start.name for start in found}
    bounded = [start for start in found if start.beside]
    assert len(bounded) == 3 and all(start.beside in names for start in bounded)
