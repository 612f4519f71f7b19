"""Options and fixtures that every test may use."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run of `make test`: a red build must mean a changed tree.
# `HYPOTHESIS_PROFILE=search` looks for new ones, as `make test-slow` does.
_SLOW = [HealthCheck.too_slow]
settings.register_profile(
    "repeat", deadline=None, max_examples=60, derandomize=True, suppress_health_check=_SLOW
)
settings.register_profile(
    "search", deadline=None, max_examples=300, suppress_health_check=_SLOW, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--spec-id", default=None, help="run only tests that cite one of these ids")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    option = config.getoption("--spec-id")
    if option is None:
        return
    wanted = set(option.split(","))
    items[:] = [
        item
        for item in items
        if any(wanted.intersection(mark.args) for mark in item.iter_markers("spec"))
    ]
