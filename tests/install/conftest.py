"""What the tests of the artefacts stand on: what ``make dist`` made, and empty systems.

They take minutes and are no part of `make test`: ``make dist-check`` makes the artefacts and runs
them, and `.ci/run` does. What is missing fails there and is named elsewhere."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wraith.testing.two_homes import TwoHomes

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tools"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.install)
            item.add_marker(pytest.mark.timeout(900))  # the first one fetches a whole Debian


@pytest.fixture(scope="session")
def cannot() -> Callable[[str], None]:
    """What a test says that lacks something."""

    def say(reason: str) -> None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    return say


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Another run of ``make dist``, into an empty folder, at the time of the first."""
    dist_build = importlib.import_module("dist_build")
    out, scratch = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("scratch")
    epoch = dist_build.source_epoch()
    return dist_build.Build(out, scratch, Path(sys.executable), epoch, (ROOT / "dist").as_uri())


@pytest.fixture(scope="session")
def made() -> Callable[[str], Path]:
    """Finds the one artefact that a pattern names."""

    def find(pattern: str) -> Path:
        found = sorted((ROOT / "dist").glob(pattern))
        assert len(found) == 1, f"dist/ holds {[p.name for p in found]} for {pattern}: make dist"
        return found[0]

    return find


@pytest.fixture
def debian(build: Any, tmp_path: Path, cannot: Callable[[str], None]) -> Callable[..., Any]:
    """Makes an empty Debian of the test's own, with Python or without."""
    roots = importlib.import_module("dist_roots")
    reason = roots.why_not()
    if reason is not None:
        cannot(reason)

    def make(*, with_python: bool = True) -> Any:
        base = roots.with_python(build) if with_python else roots.bare(build)
        root = roots.copied(base, tmp_path / "debian")
        assert root.compilers() == []
        return root

    return make


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[TwoHomes]:
    two = TwoHomes(tmp_path)
    yield two
    two.close()
