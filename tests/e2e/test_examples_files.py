"""The examples that move files run as they stand, in processes of their own.

The notebook's cells are executed one after the other in one namespace and on one loop, ``await``
at the top as IPython allows it. A kernel (nbclient) would execute the same lines, and two dozen
packages more would have to be locked for it.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wraith
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.entropy import OsRng

pytestmark = pytest.mark.timeout(120)
EXAMPLES = Path(__file__).parents[2] / "examples"
MIB = 1 << 20
CELLS = """
import ast, asyncio, json, sys
notebook = json.load(open(sys.argv[1], encoding="utf-8"))
names = {"__name__": "__main__"}
loop = asyncio.new_event_loop()
for number, cell in enumerate(notebook["cells"], 1):
    if cell["cell_type"] == "code":
        code = compile("".join(cell["source"]), f"cell {number}", "exec",
                       flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if asyncio.iscoroutine(result):
            loop.run_until_complete(result)
"""


@contextlib.contextmanager
def running(home: Path, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of an example, with a home of its own, killed at the end."""
    path = os.pathsep.join([str(EXAMPLES), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "WRAITH_HOME": str(home)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(holds: Callable[[], bool], process: subprocess.Popen[str], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.05)


# --- the notebook -----------------------------------------------------------------------------


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    with running(tmp_path / "home", tmp_path, "-c", CELLS, str(EXAMPLES / "files.ipynb")) as cells:
        out, err = cells.communicate(timeout=60)
    assert cells.returncode == 0, err
    size = (tmp_path / "results.csv").stat().st_size
    assert out.startswith("wr1") and out.endswith(f"sent {size} bytes\n")
    assert f"1 file, {size} bytes: results.csv" in out
    assert (tmp_path / "inbox/results.csv").stat().st_size == size


def test_the_notebook_is_one_and_holds_no_output() -> None:
    """Format 4.5, with nothing of a run in it: an output would hold a code."""
    notebook = json.loads((EXAMPLES / "files.ipynb").read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert {cell["cell_type"] for cell in notebook["cells"]} == {"code", "markdown"}


# --- the bridge -------------------------------------------------------------------------------


def asked(url: str, data: bytes | None = None) -> dict[str, Any]:
    method = "GET" if data is None else "PUT"
    request = urllib.request.Request(url, data=data, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def refused(url: str, data: bytes | None = None) -> int:
    with pytest.raises(urllib.error.HTTPError) as answer:
        asked(url, data)
    return answer.value.code


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[str]:
    """The bridge behind uvicorn; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ("-m", "uvicorn", "upload_bridge:app", "--port", str(port))
    with running(tmp_path / "home", tmp_path, *arguments) as server:

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        until(answers, server)
        yield f"http://127.0.0.1:{port}"
        server.send_signal(signal.SIGINT)
        assert "Traceback" not in server.communicate(timeout=30)[1]


def test_what_is_uploaded_can_be_fetched_once(bridge: str, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB)
    (tmp_path / "in").mkdir()
    offers = [asked(f"{bridge}/{name}", content) for name in ("photo.jpg", "photo.jpg")]
    assert offers[0]["code"] != offers[1]["code"], "the same name twice is two offers"
    status = f"{bridge}/status/{offers[0]['id']}"
    assert asked(status) == {"is_done": False, "bytes_done": 0}
    options: dict[str, Any] = {"accept": True, "state": tmp_path / "r", "timeout_s": 60}
    done = wraith.sync.receive(offers[0]["code"], tmp_path / "in", **options)
    assert done.paths == (str(tmp_path / "in/photo.jpg"),)
    assert (tmp_path / "in/photo.jpg").read_bytes() == content
    assert asked(status) == {"is_done": True, "bytes_done": 3 * MIB}
    assert asked(f"{bridge}/status/{offers[1]['id']}")["is_done"] is False


def test_names_that_are_none_are_refused_by_the_bridge(bridge: str) -> None:
    for name in ("..%2Fup", "%2e%2e", ".hidden", "a%00b", "a" * 200):
        assert refused(f"{bridge}/{name}", b"x") in (404, 405, 422), name
    assert refused(f"{bridge}/status/nobody") == 404


# --- the bot ----------------------------------------------------------------------------------


def test_two_bots_send_to_each_other_and_to_nobody_else(tmp_path: Path) -> None:
    """Anna's bot offers a file to Bert alone, and is killed and started again before he has it."""
    homes = {name: tmp_path / name for name in ("anna", "bert", "carl")}
    keys = {name: str(HomeFolder(home).identity(OsRng()).public) for name, home in homes.items()}
    for name in ("out", "in"):
        for who in homes:
            (tmp_path / f"{who}-{name}").mkdir()
    content = os.urandom(MIB)
    (tmp_path / "anna-out/plan.pdf").write_bytes(content)
    note = tmp_path / "anna-out/plan.pdf.code"

    def bot(who: str, *friends: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        folders = (str(tmp_path / f"{who}-out"), str(tmp_path / f"{who}-in"))
        program = str(EXAMPLES / "folder_bot.py")
        return running(homes[who], tmp_path, program, *folders, *(keys[one] for one in friends))

    def has_code() -> bool:
        return note.exists() and len(note.read_text()) > 100

    with bot("anna", "bert") as anna:
        until(has_code, anna)
        code = note.read_text()
        assert note.stat().st_mode & 0o077 == 0
    note.unlink()
    with bot("anna", "bert") as anna, bot("bert", "anna") as bert, bot("carl", "bert") as carl:
        until(has_code, anna)
        assert note.read_text() == code
        (tmp_path / "carl-in/plan.code").write_text(code)  # Anna is no friend of Carl
        with pytest.raises(wraith.WraithError):  # and Carl is none of Anna
            wraith.sync.receive(code, tmp_path, accept=True, state=homes["carl"])
        (tmp_path / "bert-in/plan.code").write_text(code)
        until(lambda: (tmp_path / "anna-out/sent/plan.pdf").exists(), anna)
        until(lambda: not (tmp_path / "bert-in/plan.code").exists(), bert)
        assert carl.stdout is not None
        assert carl.stdout.readline().startswith("failed: plan.code this code is from")
    assert (tmp_path / "bert-in/plan.pdf").read_bytes() == content
    assert not note.exists() and not (tmp_path / "carl-in/plan.pdf").exists()


# --- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["folder_bot.py", "upload_bridge.py", "files.ipynb"])
def test_an_example_is_about_thirty_lines(name: str) -> None:
    text = (EXAMPLES / name).read_text("utf-8")
    if name.endswith(".ipynb"):
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    code = compile(text, name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    lines = {
        node.lineno
        for node in ast.walk(code)
        if isinstance(node, ast.stmt)
        and not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    }
    assert len(lines) <= 40, len(lines)


# --- the pages --------------------------------------------------------------------------------

HOWTO = EXAMPLES.parent / "docs/howto/files-from-python.md"
API = EXAMPLES.parent / "docs/reference/api.md"


def programs(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def test_the_programs_of_the_page_move_a_file(tmp_path: Path) -> None:
    send, receive, go_on, send_blocking = programs(HOWTO)
    content = os.urandom(2 * MIB)
    (tmp_path / "a.bin").write_bytes(content)
    for n, (sender, receiver) in enumerate([(send, receive), (send_blocking, go_on)]):
        folder = tmp_path / f"in{n}"
        folder.mkdir()
        with running(tmp_path / "home-a", tmp_path, "-c", sender, "a.bin") as sends:
            assert sends.stdout is not None
            code = sends.stdout.readline().strip()
            arguments = ("-c", receiver, code, str(folder))
            with running(tmp_path / "home-b", tmp_path, *arguments) as receives:
                out, err = receives.communicate(timeout=60)
            assert (receives.returncode, err) == (0, "")
            assert f"received {folder / 'a.bin'}" in out
            out, err = sends.communicate(timeout=60)
        assert (sends.returncode, err) == (0, "") and "sent" in out
        assert (folder / "a.bin").read_bytes() == content


def test_the_program_of_the_reference_page_moves_a_file(tmp_path: Path) -> None:
    (program,) = [each for each in programs(API) if "wraith.send" in each]
    with running(tmp_path / "home", tmp_path, "-c", program) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "1 True\n", "")


def test_the_page_that_goes_on_pauses(tmp_path: Path) -> None:
    """With a sender that is slow enough for it."""
    (tmp_path / "a.bin").write_bytes(os.urandom(8 * MIB))
    (tmp_path / "in").mkdir()
    with wraith.sync.send(
        tmp_path / "a.bin", state=tmp_path / "s", local="127.0.0.1:0", limit_bytes_per_s=4e6
    ) as sending:
        arguments = ("-c", programs(HOWTO)[2], sending.code, str(tmp_path / "in"))
        with running(tmp_path / "home", tmp_path, *arguments) as process:
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "a pause\n" in out and int(out.rsplit(maxsplit=1)[1]) > MIB


@pytest.mark.parametrize(("name", "function"), [("send", wraith.send), ("receive", wraith.receive)])
def test_the_reference_page_has_every_argument(name: str, function: Callable[..., Any]) -> None:
    page = API.read_text("utf-8")
    block = page.split(f"### {name}\n")[1].split("```")[1]
    shown = re.findall(r"(\w+)(?:=[^,)]+)?(?=[,)])", block.split("(", 1)[1])
    asked_for = list(inspect.signature(function).parameters)
    assert [each for each in shown if each in asked_for] == asked_for
