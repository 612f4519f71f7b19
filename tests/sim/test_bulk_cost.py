r"""A bulk transfer costs no more calls, allocations and datagrams than ``bulk_cost.json`` says.

Numbers that no machine decides, so they gate. Where a change needs more and is worth it, keep its
numbers with the change (allocations only with the counter preloaded, on the Python named below):

    cc -shared -fPIC -o counted_malloc.so tests/sim/counted_malloc.c
    LD_PRELOAD=./counted_malloc.so PYTHONMALLOC=malloc \
        python -m wraith.testing.bulk_cost --update tests/sim/bulk_cost.json

and once more with WRAITH_PURE_PYTHON=1.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

BUDGETS: dict[str, dict[str, float]] = json.loads(
    Path(__file__).with_name("bulk_cost.json").read_text(encoding="utf-8")
)
MARGIN = 1.02
COUNTED_ON = (3, 11)
"""The Python whose allocations ``bulk_cost.json`` has. Others allocate in their own way."""
CASES = [(path, what) for path, costs in BUDGETS.items() for what in costs]


@cache
def measured(hot_path: str) -> dict[str, float]:
    """Costs on one hot path, in a process of its own; empty where it is not installed."""
    environment = {**os.environ, "WRAITH_PURE_PYTHON": "1" if hot_path == "python" else "0"}
    compiler = shutil.which("cc") if sys.platform == "linux" else None
    with tempfile.TemporaryDirectory() as folder:
        if compiler is not None and sys.version_info[:2] == COUNTED_ON:
            counter = Path(folder) / "counted_malloc.so"
            source = Path(__file__).with_name("counted_malloc.c")
            subprocess.run([compiler, "-shared", "-fPIC", "-o", counter, source], check=True)
            environment |= {"LD_PRELOAD": str(counter), "PYTHONMALLOC": "malloc"}
        run = subprocess.run(
            [sys.executable, "-m", "wraith.testing.bulk_cost"],
            capture_output=True, text=True, env=environment, check=True, timeout=110,
        )  # fmt: skip
    found: dict[str, dict[str, float]] = json.loads(run.stdout)
    return found.get(hot_path, {})


@pytest.mark.xdist_group("bulk-cost")
@pytest.mark.parametrize(("hot_path", "what"), CASES)
def test_a_mebibyte_costs_no_more_than_it_did(hot_path: str, what: str) -> None:
    costs = measured(hot_path)
    if not costs:
        pytest.skip("the native part is not installed")
    if what not in costs:
        pytest.skip("allocations are counted on Linux with a C compiler and one Python only")
    assert costs[what] <= BUDGETS[hot_path][what] * MARGIN, __doc__


def test_both_hot_paths_have_budgets_for_the_same_things() -> None:
    assert set(BUDGETS) == {"native", "python"}
    assert set(BUDGETS["native"]) == set(BUDGETS["python"])
    # Work in runs: three dozen calls seal what is eight hundred packets.
    assert BUDGETS["native"]["seal_run"] < BUDGETS["native"]["datagrams_out"] / 15
