"""What the documentation and the examples import stands where they import it from."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
#: Paths that programs hold on to whether or not a page happens to import them today.
PROMISED = (
    "wraith.connect",
    "wraith.listen",
    "wraith.sync.connect",
    "wraith.sync.listen",
    "wraith.send",
    "wraith.receive",
    "wraith.sync.send",
    "wraith.sync.receive",
    "wraith.events.ProgressEvent",
    "wraith.aio.connect",
    "wraith.aio.key_log.KeyLog",
    "wraith.aio.libp2p.Libp2pConnection",
    "wraith.aio.libp2p.Libp2pHost",
    "wraith.aio.libp2p.Libp2pStream",
    "wraith.connection.Connection",
    "wraith.connection.Endpoint",
    "wraith.libp2p.config.QuicTransportConfig",
    "wraith.mls.MlsGroup",
)


def programs() -> Iterator[tuple[str, str]]:
    """Every Python program of a page, and every example, with the file it is from."""
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            yield page.relative_to(ROOT).as_posix(), block
    for example in EXAMPLES:
        yield example.relative_to(ROOT).as_posix(), example.read_text("utf-8")


def names_of(program: str) -> set[str]:
    """The dotted names below ``wraith`` that ``program`` imports or reaches through an import."""
    tree = ast.parse(program)
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                found |= {f"{module}.{alias.name}" for alias in names}
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.Attribute():
                found.add(ast.unparse(node))
    return {name for name in found if re.fullmatch(r"wraith(\.\w+)+", name)}


def used() -> list[tuple[str, str]]:
    return sorted({(file, name) for file, program in programs() for name in names_of(program)})


def found(name: str) -> object:
    """The module or attribute that ``name`` leads to, as a program would reach it.

    Raises:
        AttributeError, ModuleNotFoundError: it leads nowhere.
    """
    module, _, attribute = name.rpartition(".")
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return getattr(import_module(module) if module else None, attribute)


def reached(name: str) -> object:
    """``found``, for names that go on below an attribute of a module (``wraith.sync.connect``)."""
    module, _, attribute = name.rpartition(".")
    try:
        return found(name)
    except ModuleNotFoundError:
        return getattr(reached(module), attribute)


def test_the_pages_and_the_examples_hold_programs() -> None:
    files = {file for file, _ in programs()}
    assert {"README.md", "docs/reference/api.md", "docs/howto/libp2p-quic.md"} <= files
    assert len(EXAMPLES) >= 2 and len(used()) >= 10


@pytest.mark.parametrize(("file", "program"), list(programs()))
def test_every_program_of_a_page_is_one(file: str, program: str) -> None:
    """It compiles as it stands: what may stand in a coroutine alone stands in one."""
    compile(program, file, "exec")


@pytest.mark.parametrize(("file", "name"), used())
def test_every_name_of_a_program_on_a_page_leads_somewhere(file: str, name: str) -> None:
    assert reached(name) is not None, file


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_path_leads_somewhere(name: str) -> None:
    assert reached(name) is not None


@pytest.mark.parametrize(
    "name", ["wraith.nobody", "wraith.aio.libp2p.Nobody", "wraith.sync.nobody"]
)
def test_a_name_that_is_not_there_is_noticed(name: str) -> None:
    with pytest.raises((AttributeError, ModuleNotFoundError)):
        reached(name)
