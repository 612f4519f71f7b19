"""Every block of code in the documents runs, or says why it does not.

The recipes of the cookbook and the rows of "coming from" have tests of their own:
``test_cookbook.py``, ``test_coming_from.py``.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import operator
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import wraith
from wraith.testing.demo import DemoFailed
from wraith.testing.documents import LANGUAGES, Block, Running, World, blocks, script_of, shape

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench" / "README.md"])
COOKBOOK = ROOT / "docs" / "howto" / "cookbook.md"
ALL = [block for page in PAGES for block in blocks(page)]
HERE = [block for block in ALL if not block.not_run and not block.run_by]
TEXT = ("text", "mermaid")
#: Blocks that say why they are not run, by page: a new one is a decision, and stands here.
NOT_RUN = {
    "README.md": 2,
    "CONTRIBUTING.md": 1,
    "bench/README.md": 2,
    "docs/howto/behind-nginx.md": 1,
    "docs/howto/firewalls-and-ports.md": 1,
    "docs/howto/through-a-proxy.md": 1,
    "docs/security/audit-guide.md": 4,
}


def name_of(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "world")
    yield world
    world.close()


def output_of(block: Block) -> str | None:
    """What the page shows below a program; ``None`` if it shows nothing."""
    for other in ALL:
        if other.page == block.page and other.line > block.line:
            shown = other.follows and other.language == "text" and other.title == "output"
            return other.text if shown else None
    return None


# --- what a page may hold -----------------------------------------------------------------------


def test_there_are_blocks_of_every_kind() -> None:
    kinds = Counter(block.language for block in ALL)
    assert min(kinds[kind] for kind in ("python", "sh", "console", "toml", "text")) > 0
    assert len(ALL) > 50


@pytest.mark.parametrize("block", ALL, ids=name_of)
def test_each_block_says_what_it_is(block: Block) -> None:
    assert not (block.not_run and block.run_by)
    if not block.language:  # the signature of something public
        text = block.text.removeprefix("await ")
        assert text.startswith("wraith."), "is it code, or `text`?"
        name, _, rest = text.removeprefix("wraith.").partition("(")
        call = ast.parse(f"def f({rest.strip()}: ...").body[0]
        assert isinstance(call, ast.FunctionDef)
        shown = [each.arg for each in (*call.args.args, *call.args.kwonlyargs)]
        assert shown == list(inspect.signature(operator.attrgetter(name)(wraith)).parameters)
        return
    assert block.language in LANGUAGES


def test_blocks_that_are_not_run_are_counted_and_say_why() -> None:
    left_out = [block for block in ALL if block.not_run]
    assert Counter(str(block.page.relative_to(ROOT)) for block in left_out) == NOT_RUN
    assert [name_of(block) for block in left_out if len(block.not_run.split()) < 4] == []


@pytest.mark.parametrize("block", [each for each in ALL if each.run_by], ids=name_of)
def test_a_block_that_another_test_runs_names_one_that_exists(block: Block) -> None:
    file, _, name = block.run_by.partition("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    defined = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in defined


# --- blocks that need nobody --------------------------------------------------------------------


@pytest.mark.parametrize("block", [b for b in HERE if b.language == "python"], ids=name_of)
def test_programs_run_and_print_what_stands_below_them(block: Block, world: World) -> None:
    if block.page == COOKBOOK:
        return  # needs its other side
    script = script_of(block)
    if needs_a_code(block.text):
        script = given_a_code(block, world)
    done = world.start(script).end()
    assert output_of(block) in (None, done)


def needs_a_code(program: str) -> bool:
    """The program uses ``code`` and nothing in it says what that is."""
    nodes = list(ast.walk(ast.parse(program)))
    names = [node for node in nodes if isinstance(node, ast.Name) and node.id == "code"]
    is_given = any(isinstance(node, ast.arg) and node.arg == "code" for node in nodes)
    return bool(names) and not is_given and all(isinstance(n.ctx, ast.Load) for n in names)


def given_a_code(block: Block, world: World) -> str:
    """``code`` in a program that does not say what it is, is that of the echo server."""
    server = world.start(f"exec python {shlex.quote(str(ROOT / 'examples' / 'echo_server.py'))}")
    server.wait(lambda one: bool(one.code))
    return script_of(replace(block, text=f"code = {server.code!r}\n{block.text}"))


@pytest.mark.parametrize(
    "block", [b for b in HERE if b.language in ("sh", "console", "cron")], ids=name_of
)
def test_commands_run(block: Block, world: World) -> None:
    if block.title:
        assert block.page == COOKBOOK, "blocks of two sides stand in the cookbook"
        return
    world.play([block])


@pytest.mark.parametrize("block", [b for b in ALL if b.language in ("toml", "json")], ids=name_of)
def test_data_can_be_read(block: Block) -> None:
    assert tomllib.loads(block.text) if block.language == "toml" else json.loads(block.text)


# --- blocks that need somebody ------------------------------------------------------------------


def block_of(page: str, beginning: str) -> Block:
    found = [b for b in ALL if b.page == ROOT / page and b.text.startswith(beginning)]
    assert len(found) == 1
    return found[0]


def test_doctor_finds_nothing_wrong(world: World) -> None:
    """The page installs first; here that is done."""
    block = block_of("docs/tutorial/first-transfer.md", "pip install .\n")
    assert block.text.splitlines()[1:] == ["wraith doctor"]
    said = world.start("wraith doctor").end()
    assert [line for line in said.splitlines() if line.startswith("--")] == []


def test_a_peer_that_was_met_gets_a_name(world: World) -> None:
    block = block_of("docs/tutorial/first-transfer.md", "$ wraith peers name alice last")
    sender = world.start("wraith send notes.txt")
    sender.wait(lambda one: bool(one.code))
    world.code = sender.code
    world.start("wraith receive --yes CODE", "receiver").end()
    sender.end()
    [(command, shown)] = block.commands
    said = world.start(command, "receiver").end().splitlines()
    assert [shape(line) for line in said] == [shape(line) for line in shown]
    key = world.start("wraith id").end().strip()
    assert said == [f"wraith: alice is now {key}"]


def test_a_friend_waits_and_you_dial(world: World) -> None:
    """The lines of the page, each behind the prompt of its machine; `--yes` answers the question,
    and the code is pasted on stdin."""
    block = block_of("docs/howto/send-to-a-friend.md", "friend$ ")
    theirs, line, yours = block.text.splitlines()
    command = theirs.removeprefix("friend$ ")
    assert yours.startswith("you$ ")
    (world.home("receiver") / "inbox").mkdir()
    friend = world.start(f"{command} --yes", "receiver")
    friend.wait(lambda one: bool(one.code))
    assert shape(line) in [shape(each) for each in friend.said.splitlines()]
    world.code = friend.code
    typed = yours.removeprefix("you$ ").partition("#")[0].strip()
    world.start(f"echo CODE | {typed}").end()
    friend.end()
    assert (world.home("receiver") / "inbox" / "photos" / "img1.jpg").exists()


def test_nobody_answers_a_reach(world: World) -> None:
    block = block_of("docs/howto/firewalls-and-ports.md", "$ wraith doctor --to -")
    sender = world.start("wraith send --listen 127.0.0.1:0 notes.txt")
    sender.wait(lambda one: bool(one.code))
    world.code = sender.code
    sender.signal("SIGINT")
    sender.wait()
    [(command, shown)] = block.commands
    said = world.start(f"echo CODE | {command}").end(1).splitlines()
    assert [shape(line) for line in said] == [shape(line) for line in shown]


def test_the_quic_commands_say_what_the_page_shows(world: World) -> None:
    page = "docs/howto/libp2p-quic.md"
    [(listen, shown)] = block_of(page, "$ wraith quic listen").commands
    listener = world.start(listen)
    listener.wait(lambda one: one.said.endswith("\n"))
    assert [shape(line) for line in listener.said.splitlines()] == [shape(line) for line in shown]
    address = listener.said.split()[0]
    for command, lines in block_of(page, "$ wraith quic ping").commands:
        dialled = re.sub(r"/ip4/\S+", address, command)
        said = world.start(dialled, "receiver").end().splitlines()
        assert [shape(line) for line in said][: len(lines)] == [shape(line) for line in lines]
        assert lines or "sha256" in said[-1]
    listener.signal("SIGTERM")
    listener.end()


async def _ask(code: str, request: bytes) -> bytes:
    async with wraith.connect(code) as session, session.open_stream() as stream:
        await stream.write(request)
        stream.finish()
        return await stream.read_all()


def test_the_server_of_the_howto_serves_and_ends_in_good_order(tmp_path: Path) -> None:
    program = block_of("docs/howto/library-server.md", "import asyncio").text
    assert program.count("wraith.listen(4433,") == 1
    folder = tmp_path / "server"
    folder.mkdir()
    run = [sys.executable, "-c", program.replace("listen(4433,", 'listen("127.0.0.1:0",')]
    for _ in range(2):  # again with the identity that the first run has made
        server = subprocess.Popen(
            run,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            assert server.stdout is not None
            code = server.stdout.readline().strip()
            assert asyncio.run(_ask(code, b"how long?")) == b"9"
            server.terminate()
            _, said = server.communicate(timeout=30)
            assert server.returncode == 0, said
        finally:
            server.kill()
            server.communicate()


def test_the_vectors_are_replayed_as_the_audit_guide_says() -> None:
    block = block_of("docs/security/audit-guide.md", "python -m wraith.testing.vectors")
    words = block.text.replace("\\\n", " ").split()
    assert words[0] == "python"
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- the reader of blocks -----------------------------------------------------------------------


PAGE = """# A page

## First

<!-- not run: it would take too long -->
```sh
make everything
```

```console title="sender"
$ wraith id
abc
$ true
```

```text title="output"
three
```

More words.

```text
alone
```
"""


def test_the_reader_sees_languages_titles_markers_and_neighbours(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, "utf-8")
    first, second, third, last = blocks(page)
    assert (first.language, first.not_run, first.line) == ("sh", "it would take too long", 6)
    assert (second.title, second.not_run, second.heading) == ("sender", "", "First")
    assert second.commands == [("wraith id", ["abc"]), ("true", [])]
    assert (third.follows, last.follows) == (True, False)


@pytest.mark.parametrize("text", ["```sh\nnever closed\n", "```sh {.fancy}\nx\n```\n"])
def test_a_page_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    with pytest.raises(DemoFailed, match=r"page\.md:1"):
        blocks(page)


def test_a_script_that_fails_and_an_output_that_differs_are_noticed(
    tmp_path: Path, world: World
) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nfalse\n```\n\n```console\n$ echo a\nb\n```\n", "utf-8")
    failing, differing = blocks(page)
    with pytest.raises(DemoFailed, match="exit 1, not 0"):
        world.play([failing])
    with pytest.raises(DemoFailed, match="and it says\na"):
        world.play([differing])


def test_a_script_that_does_not_end_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wraith.testing.documents.DEADLINE_S", 0.3)
    running: Running = world.start("sleep 60")
    with pytest.raises(DemoFailed, match="no end within"):
        running.end()
