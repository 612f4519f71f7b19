"""Options and fixtures that every test may use."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "wraith", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("wraith")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--spec-id", default=None, help="run only the tests that cite this spec id")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--spec-id")
    if wanted is None:
        return
    items[:] = [
        item for item in items if any(wanted in mark.args for mark in item.iter_markers("spec"))
    ]
