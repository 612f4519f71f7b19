"""The examples run as they stand, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_the_echo_of_the_readme() -> None:
    server = start("echo_server.py")
    try:
        assert server.stdout is not None
        code = server.stdout.readline().strip()
        assert code.startswith("wr1")
        for text in ("hello, world", "once more"):
            client = start("echo_client.py", code, text)
            out, err = client.communicate(timeout=30)
            assert client.returncode == 0, err
            assert out == f"{text}\n"
            assert "over X25519+ML-KEM-768" in err
        assert server.poll() is None, "the server outlives its clients"
    finally:
        server.kill()
        server.communicate()


def test_the_echo_is_ten_lines() -> None:
    for name in ("echo_server.py", "echo_client.py"):
        body = (EXAMPLES / name).read_text().split('"""', 2)[2]
        statements = [line for line in body.splitlines() if line.strip()]
        imports = [line for line in statements if line.startswith("import ")]
        assert len(statements) - len(imports) <= 10


def test_the_example_of_the_reference_page_runs() -> None:
    page = (EXAMPLES.parent / "docs" / "reference" / "api.md").read_text()
    program = page.split("```python\n", 2)[1].split("```", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stdout) == (0, "b'hello' X25519+ML-KEM-768\n"), done.stderr
