"""A request to end that comes as soon as the code stands there ends the command in good order.

What answers behind the code loads after it was shown; a service manager may be quicker.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "words", [("send", "notes.txt"), ("receive", "--listen", "--yes")], ids=lambda words: words[0]
)
def test_a_signal_right_after_the_code(
    words: tuple[str, ...], number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("a line\n", "utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "wraith", *words],
        cwd=tmp_path,
        env={
            **os.environ,
            "WRAITH_HOME": str(tmp_path / "home"),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "wr1" in process.stdout.readline()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, said
    assert "wraith: interrupted" in said and "Traceback" not in said
