"""The one fixture that runs a test on both implementations of the hot path."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest


@pytest.fixture(params=["python", "native"])
def hotpath(request: pytest.FixtureRequest) -> ModuleType:
    """A module with ``Sealer`` and ``Opener``."""
    if request.param == "python":
        return importlib.import_module("wraith.hotpath._python")
    native: ModuleType = pytest.importorskip(
        "wraith_native", reason="the native part is not installed"
    )
    return native
