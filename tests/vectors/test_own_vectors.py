"""The published vectors of this protocol: the product agrees, and so does a second writing of the
specification that shares no code with it. A change here is a change of the protocol."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from wraith.testing.vectors import run_file

FOLDER = Path(__file__).parents[2] / "vectors" / "wraith"
FILES = sorted(path.name for path in FOLDER.glob("*.json"))

#: Values that were published before this code existed.
FIXED = {
    "combiner.json": "616244bfc7fa349bc06157cece90b16fa414f541913e350bba07f6f7d235b1e8",
    "key_schedule.json": "2c95ee0abb346c3d976ff42aa43eca7f2874dda10360ecf4d780661469eff899",
    "ratchet.json": "38a7588c895b40b46f963afe5f3d582de0e17fe9964447b93c3f948d5654e8b0",
}


def load_independent() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "independent", Path(__file__).with_name("independent.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.spec(
    "CR-1", "CR-2", "CR-4", "CR-11", "CR-18", "CR-19", "CR-21", "CR-22", "CR-23", "CR-24"
)
@pytest.mark.spec("CA-2", "CA-3", "CA-6", "CA-7", "CA-8")
@pytest.mark.spec("CR-25", "CR-26", "CR-27", "CR-28", "CR-29", "CR-30", "CR-31", "CR-32")
@pytest.mark.spec("CR-33", "CR-34", "HB-9")
@pytest.mark.parametrize("name", FILES)
def test_the_product_computes_the_published_values(name: str) -> None:
    report = run_file(FOLDER / name).report
    assert report is not None
    assert report.failures == []
    assert report.passed == len(json.loads((FOLDER / name).read_text())["cases"]) > 0


@pytest.mark.parametrize("name", FILES)
def test_a_second_writing_of_the_specification_computes_them_too(name: str) -> None:
    data = json.loads((FOLDER / name).read_text())
    compute = load_independent().KINDS[data["wraith_vectors"]]
    for case in data["cases"]:
        assert compute(case) == case["out"]


def test_the_second_writing_does_not_import_the_product() -> None:
    source = Path(__file__).with_name("independent.py").read_text()
    assert "from wraith" not in source and "import wraith" not in source
    assert "independent" not in sys.modules


@pytest.mark.parametrize("name", FIXED)
def test_values_from_before_this_code_are_among_them(name: str) -> None:
    first = json.loads((FOLDER / name).read_text())["cases"][0]["out"]
    assert FIXED[name] in first.values()


def test_every_kind_is_published() -> None:
    kinds = {json.loads((FOLDER / name).read_text())["wraith_vectors"] for name in FILES}
    assert kinds == load_independent().KINDS.keys()
