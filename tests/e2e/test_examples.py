"""The examples run as they stand, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


PROGRAMS = {
    "reference/api.md": {
        "wraith.listen": "b'hello' X25519+ML-KEM-768\n",
        "wraith.sync": "b'HELLO'\n",
    },
    "howto/libp2p-quic.md": {"Libp2pHost": "X25519MLKEM768 True\nb'HELLO'\n"},
}


@pytest.mark.parametrize(
    ("page", "word"), [(page, word) for page, words in PROGRAMS.items() for word in words]
)
def test_the_program_of_a_page_runs_as_it_stands(page: str, word: str) -> None:
    if page.startswith("howto/libp2p"):
        pytest.importorskip("aioquic")
    text = (EXAMPLES.parent / "docs" / page).read_text()
    programs = [block.split("```", 1)[0] for block in text.split("```python\n")[1:]]
    program = next(each for each in programs if word in each)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stdout) == (0, PROGRAMS[page][word]), done.stderr
