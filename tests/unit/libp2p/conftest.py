"""The packet libraries under test; one that is not installed skips with that reason."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(params=["aioquic", "qh3"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (make setup installs it)")
    return name
