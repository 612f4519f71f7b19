"""What arrives in a benchmark is what was sent, and a receiver that does not say so fails."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))
from flood import stream_into
from harness import BulkPeer, PeerFailed, run_bulk
from throughput import run_once

SILENT = """
import json, sys
if sys.argv[1] == "recv":
    print(json.dumps({"port": 1}), flush=True)
    print(json.dumps({"bytes": MIB, "seconds": 1.0, "cpu_s": 0.1 EQUAL}), flush=True)
else:
    print(json.dumps({"cpu_s": 0.1}))
"""


def peer(tmp_path: Path, n_bytes: int, equal: object) -> BulkPeer:
    """A peer that says what a bulk peer says and moves nothing."""
    said = "" if equal is None else f', "equal": {equal}'
    script = tmp_path / "peer.py"
    script.write_text(SILENT.replace("MIB", str(n_bytes)).replace("EQUAL", said))
    return BulkPeer("peer", (sys.executable, str(script)), mib=1)


def test_a_peer_that_compares_nothing_fails(tmp_path: Path) -> None:
    silent = peer(tmp_path, 1 << 20, None)
    with pytest.raises(PeerFailed, match="compared by nobody"):
        run_bulk(silent, 1400)
    assert run_bulk(replace(silent, is_unchecked=True), 1400).mb_per_s > 1


@pytest.mark.parametrize(
    ("n_bytes", "equal", "why"),
    [(1 << 20, False, "others than were sent"), (1000, True, "1000 bytes arrived of 1048576")],
)
def test_other_bytes_or_fewer_fail(tmp_path: Path, n_bytes: int, equal: bool, why: str) -> None:
    with pytest.raises(PeerFailed, match=why):
        run_bulk(peer(tmp_path, n_bytes, equal), 1400)


def test_a_transfer_in_detail_and_one_under_a_flood_compare_what_arrives() -> None:
    one = run_once(["--suite", "A"], 1, 1400, parts=False)
    assert one["receiver"]["equal"] is True
    assert json.dumps(one)
    speed, _ = stream_into(0, 1)
    assert speed > 0
