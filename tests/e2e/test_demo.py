"""What ``make demo`` shows, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wraith.testing.demo import compare_trees, make_tree
from wraith.testing.netns import refusal


@pytest.mark.parametrize("suite", ["A", "B"])
def test_the_demo_sends_a_file_and_a_folder_and_finds_them_equal(suite: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "wraith.testing.demo", "--mib", "2", "--suite", suite],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("X25519+ML-KEM-768 (post-quantum)") == 2
    assert run.stdout.count(f"  suite         {suite}\n") == 2
    assert run.stdout.count("every byte, mode, time and link is equal") == 2
    if why := refusal():
        assert f"not shown     {why}" in run.stdout
    else:
        assert "went on       over TCP" in run.stdout
        assert "every byte crossed once and was hashed once" in run.stdout


def test_its_comparison_finds_each_kind_of_difference(tmp_path: Path) -> None:
    expected, actual = tmp_path / "a", tmp_path / "b"
    make_tree(expected, 1)
    make_tree(actual, 1)
    assert any("modification time" in line for line in compare_trees(expected, actual))
    (actual / "a" / "run.sh").chmod(0o600)
    (actual / "a" / "link").unlink()
    (actual / "a" / "link").symlink_to("elsewhere")
    (actual / "extra").touch()
    (actual / "many" / "000.bin").write_bytes(b"changed")
    (actual / "many" / "001.bin").unlink()
    found = "\n".join(compare_trees(expected, actual))
    for words in ("has mode 600", "points elsewhere", "should not be there", "other bytes"):
        assert words in found
    assert "001.bin is missing" in found
