"""Every control message in a flood: legal ones are borne, repeated ones are refused."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from wraith.testing.control_floods import Flood, drown, floods

MIB = 1 << 20
N_BYTES = 16 * 1024
FLOODS = floods()
NAMES = [flood.name for flood in FLOODS]


@pytest.mark.spec("TR-103")
@pytest.mark.parametrize("flood", FLOODS, ids=NAMES)
def test_a_legal_flood_is_borne_and_a_repetition_refused(flood: Flood) -> None:
    drowned = drown(flood, N_BYTES, n_entries=600)
    assert drowned.is_closed is not flood.is_legal
    if flood.is_legal:
        assert drowned.n_bytes >= N_BYTES


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.spec("TR-104")
@pytest.mark.parametrize("flood", FLOODS, ids=NAMES)
def test_a_flood_of_sixteen_mebibytes_holds_less_than_64_more(flood: Flood) -> None:
    """In a process of its own, over a listing of a million files: the peak of what is resident.
    A legal flood is taken to its end, a breach refused."""
    program = [sys.executable, "-m", "wraith.testing.control_floods", flood.name, str(16 * MIB)]
    said = subprocess.run(program, capture_output=True, text=True, check=True, timeout=900).stdout
    found = re.search(r"n_bytes=(\d+).*is_closed=(True|False)\)", said)
    assert found is not None, said
    assert (found[2] == "True") is not flood.is_legal, said
    assert not flood.is_legal or int(found[1]) >= 16 * MIB, said
    assert int(said.rsplit(" ", 1)[1]) <= 64 * 1024, said
