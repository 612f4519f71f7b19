"""What is said of servers and proxies that are not there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from wraith.testing.foreign_peers import require_program

ROOT = Path(__file__).parents[3]


def test_setup_names_what_it_may_not_install_and_succeeds(tmp_path: Path) -> None:
    for tool in ("id", "sh"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    done = subprocess.run(
        ["sh", str(ROOT / "tools" / "setup-carriers.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("carriers: not there, and what needs it will say so:")
    assert "microsocks" in done.stdout and "tinyproxy-bin" in done.stdout


def test_continuous_integration_requires_all_of_them() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    line = next(line for line in script.splitlines() if line.startswith("carriers="))
    required = set(line.removeprefix("carriers=").split(","))
    assert required == {"nginx", "microsocks", "tinyproxy", "conntrack", "netns", "link"}


def test_a_program_is_found_skipped_or_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_program("sh").name == "sh"
    monkeypatch.setenv("WRAITH_REQUIRE_INTEROP", "other")
    with pytest.raises(pytest.skip.Exception, match=r"no-such-proxy: .*setup-carriers"):
        require_program("no-such-proxy")
    monkeypatch.setenv("WRAITH_REQUIRE_INTEROP", "other,no-such-proxy")
    with pytest.raises(pytest.fail.Exception, match="no-such-proxy"):
        require_program("no-such-proxy")
