"""What end-to-end tests of the command line stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wraith.testing.two_homes import TwoHomes


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[TwoHomes]:
    """Two homes, a folder of sources and a destination; what still runs is killed at the end."""
    two = TwoHomes(tmp_path)
    yield two
    two.close()
