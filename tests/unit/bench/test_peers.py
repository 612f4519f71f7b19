"""The programs that stand beside ours: equal socket buffers, and none of them spins."""

from __future__ import annotations

from pathlib import Path

import pytest

PEERS = Path(__file__).resolve().parents[3] / "bench" / "peers"
LIBRARIES = ("aioquic_", "qh3_", "raw_", "tls_")
FOREIGN = sorted(path for path in PEERS.glob("*.py") if path.name.startswith(LIBRARIES))


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.stem)
def test_a_foreign_peer_asks_for_the_buffers_of_all(path: Path) -> None:
    assert "enlarge(" in path.read_text()


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.stem)
def test_a_foreign_peer_waits_and_does_not_spin(path: Path) -> None:
    assert "sleep(0)" not in path.read_text()
