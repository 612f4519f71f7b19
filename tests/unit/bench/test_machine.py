"""Which results are those of one machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
from machine import is_same

ONE: dict[str, Any] = {
    "cpu": "AMD EPYC",
    "cores": 2,
    "kernel": "6.18",
    "aes_256_gcm_mb_per_s": 9000,
    "udp_gso_mb_per_s": 4000,
}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"udp_gso_mb_per_s": 5900}, True),
        ({"udp_gso_mb_per_s": 11_700}, False),
        ({"aes_256_gcm_mb_per_s": 2300}, False),
        ({"aes_256_gcm_mb_per_s": None}, True),
        ({"cores": 4}, False),
    ],
)
def test_a_machine_at_another_speed_is_another(changes: dict[str, Any], same: bool) -> None:
    assert is_same(ONE, {**ONE, **changes}) is same
    assert is_same({**ONE, **changes}, ONE) is same
