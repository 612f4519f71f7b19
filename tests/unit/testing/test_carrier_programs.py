"""What is said of servers and proxies that are not there, and that none outlives its test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wraith.testing import proxies
from wraith.testing.bad_proxy import Fault
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


@pytest.mark.parametrize("ends", ["its deadline", "its stdin"])
def test_a_bad_proxy_ends_with(ends: str) -> None:
    seconds = "0.1" if ends == "its deadline" else "600"
    words = [sys.executable, "-m", "wraith.testing.bad_proxy", "http", Fault.NONE.value]
    with subprocess.Popen(
        [*words, "--seconds", seconds], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert int(process.stdout.readline()) > 0
        if ends == "its stdin":
            process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_a_proxy_ends_with_its_block_and_with_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with proxies.microsocks() as url:
        place = (proxies.HOST, int(url.rpartition(":")[2]))
        socket.create_connection(place, timeout=10).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=10)
    monkeypatch.setattr(proxies, "DEADLINE_S", 0.3)
    with proxies.microsocks() as url, pytest.raises(ConnectionRefusedError):
        for _ in range(3_000):
            socket.create_connection((proxies.HOST, int(url.rpartition(":")[2]))).close()
            time.sleep(0.01)


def test_a_program_that_ends_at_once_is_no_proxy() -> None:
    with (
        pytest.raises(AssertionError, match="ended with 1"),
        proxies.running(["false"], proxies.free_port()),
    ):
        pass
