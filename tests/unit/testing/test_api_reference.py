"""docs/reference/api.md against the running code, in both directions: every public name, parameter,
default and raised exception is on the page, and nothing else is."""

from __future__ import annotations

import ast
import asyncio
import builtins
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import wraith
import wraith.aio
import wraith.connection.events
import wraith.mls
import wraith.types
from wraith.errors import WraithError

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "api.md").read_text("utf-8")
SETTINGS = (ROOT / "docs" / "reference" / "configuration.md").read_text("utf-8")

#: Where a name in CamelCase may come from.
PLACES = (
    *(wraith, wraith.aio, wraith.connection, wraith.connection.events, wraith.mls, wraith.types),
    *(asyncio, builtins),
)
#: Words in CamelCase that are no names of Python here.
WORDS = {"LogRecord"}

Parameters = list[tuple[str, bool, object]]
"""Name, keyword alone, default (``inspect.Parameter.empty`` for none)."""


def _default(node: ast.expr | None) -> object:
    return inspect.Parameter.empty if node is None else ast.literal_eval(node)


def read_signature(text: str) -> Parameters:
    """The parameters of ``name(a, *, b=1)`` as a page has it."""
    tree = ast.parse(f"def f{text[text.index('(') :]}: ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    plain = tree.args.args
    padding: list[ast.expr | None] = [None] * (len(plain) - len(tree.args.defaults))
    found: Parameters = [
        (each.arg, False, _default(default))
        for each, default in zip(plain, padding + list(tree.args.defaults), strict=True)
    ]
    return found + [
        (each.arg, True, _default(default))
        for each, default in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True)
    ]


def signature_of(thing: Any) -> Parameters:
    """The parameters of the running code, without ``self`` and ``cls``."""
    return [
        (each.name, each.kind is each.KEYWORD_ONLY, each.default)
        for each in inspect.signature(thing).parameters.values()
        if each.name not in ("self", "cls")
    ]


def public_names(cls: type) -> set[str]:
    """What a program sees of an object: methods, properties, fields, attributes."""
    base: set[str] = set(dir(tuple)) if issubclass(cls, tuple) else set()
    names = {name for name in dir(cls) if not name.startswith("_")} - base
    if dataclasses.is_dataclass(cls):
        names |= {field.name for field in dataclasses.fields(cls)}
    elif "__init__" in vars(cls):
        source = inspect.getsource(vars(cls)["__init__"])
        names |= set(re.findall(r"self\.([a-z]\w*)(?:: [^=\n]+)? = ", source))
    return names


def classes() -> dict[str, type]:
    """Public classes that have a table of their own."""
    found = {name: getattr(wraith, name) for name in wraith.__all__}
    return {
        name: cls
        for name, cls in found.items()
        if inspect.isclass(cls)
        and not issubclass(cls, WraithError | Enum)
        and name not in ("EndpointConfig", "Budgets")
    }


def tables(page: str) -> dict[str, list[str]]:
    """The code spans of the first column of each table whose first cell names a class."""
    found: dict[str, list[str]] = {}
    for head, rows in re.findall(r"^\| `(\w+)` \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE):
        spans: list[str] = []
        for row in rows.splitlines():
            spans += re.findall(r"`([^`]+)`", re.split(r"(?<!\\)\|", row)[1])
        found[head] = spans
    return found


def members(name: str, page: str = PAGE) -> dict[str, str]:
    """Member -> its code span, of the table of class ``name``."""
    found: dict[str, str] = {}
    for span in tables(page)[name]:
        text = span.removeprefix("await ").split(" -> ")[0]
        if iterated := re.fullmatch(r"async for \w+ in (.+)", text):
            text = iterated[1]
        member = re.match(r"\w+", text)
        assert member is not None, span
        if member[0] != name.lower():  # `async for stream in session` iterates the object itself
            found[member[0]] = text
    return found


def raised_by(thing: Any) -> set[str]:
    """The exceptions that a docstring lists under ``Raises``."""
    doc = inspect.getdoc(thing) or ""
    _, _, block = doc.partition("Raises:\n")
    names: set[str] = set()
    for line in block.split("\n\n")[0].splitlines():
        listed = re.match(r"    ((?:[\w.]+(?:, )?)+):", line)
        if listed is not None:
            names |= {each.split(".")[-1] for each in listed[1].split(", ")}
    return {name for name in names if name[:1].isupper()}


def callables() -> Iterator[tuple[str, Any]]:
    for name in wraith.__all__:
        thing = getattr(wraith, name)
        if inspect.isfunction(thing):
            yield name, thing
    for name, cls in classes().items():
        for member in public_names(cls):
            thing = getattr(cls, member, None)
            if callable(thing):
                yield f"{name}.{member}", thing


def every_exception() -> set[str]:
    found: set[str] = set()
    todo: list[type] = [WraithError]
    while todo:
        cls = todo.pop()
        found.add(cls.__name__)
        todo += cls.__subclasses__()
    return found


@pytest.mark.parametrize("name", [name for name in wraith.__all__ if name != "__version__"])
def test_every_public_name_is_on_the_page(name: str) -> None:
    assert re.search(rf"`(?:\w+\.)*{name}\b|wraith\.{name}\b", PAGE), name


@pytest.mark.parametrize("name", classes())
def test_a_class_has_a_table_of_exactly_its_members(name: str) -> None:
    assert set(members(name)) == public_names(getattr(wraith, name))


@pytest.mark.parametrize("name", classes())
def test_methods_are_shown_with_exactly_their_parameters_and_defaults(name: str) -> None:
    cls = getattr(wraith, name)
    for member, span in members(name).items():
        thing = getattr(cls, member, None)
        is_method = callable(thing) and not isinstance(
            inspect.getattr_static(cls, member), property
        )
        assert is_method == ("(" in span), f"{name}.{member}: a method is shown with its brackets"
        if is_method:
            assert read_signature(span) == signature_of(thing), f"{name}.{member}"


def fences() -> dict[str, str]:
    """Function -> its signature, of the blocks that show one."""
    found = {}
    for block in re.findall(r"^```\n((?:await )?wraith\.[^`]+?)```", PAGE, re.MULTILINE):
        text = " ".join(block.removeprefix("await ").split())
        found[text[: text.index("(")]] = text
    return found


def test_every_function_has_its_signature() -> None:
    functions = {f"wraith.{name}" for name, _ in callables() if "." not in name}
    assert set(fences()) == functions | {"wraith.aio.open_node"}


@pytest.mark.parametrize("name", fences())
def test_functions_are_shown_with_exactly_their_parameters_and_defaults(name: str) -> None:
    module, _, function = name.rpartition(".")
    thing = getattr(importlib.import_module(module), function)
    assert read_signature(fences()[name]) == signature_of(thing)


CALLABLES = dict(sorted(callables(), key=lambda named: named[0]))


@pytest.mark.parametrize("name", CALLABLES)
def test_what_a_call_raises_is_on_the_page(name: str) -> None:
    for raised in raised_by(CALLABLES[name]):
        assert f"`{raised}`" in PAGE, f"{name} raises {raised}"


def test_docstrings_name_what_they_raise() -> None:
    """The reader of docstrings above finds something, and what they name exists."""
    found = {raised for _, thing in callables() for raised in raised_by(thing)}
    assert {"CodeInvalid", "TransportError", "ConfigError", "StreamReset"} <= found
    known = every_exception() | set(dir(builtins)) | {"CancelledError"}
    assert found <= known, found - known


def test_nothing_else_is_on_the_page() -> None:
    """Whatever the page writes like a class is one."""
    spans = set(re.findall(r"`([A-Z][a-z]\w+)(?:[.(][^`]*)?`", PAGE))
    known = every_exception() | WORDS
    known |= {name for place in PLACES for name in dir(place)}
    assert spans <= known, spans - known


@pytest.mark.parametrize("kind", [wraith.SuiteId, wraith.CloseCode])
def test_every_value_is_named(kind: type[Enum]) -> None:
    for member in kind:
        assert f"`{member.name}`" in PAGE, member


@pytest.mark.parametrize("kind", [wraith.EndpointConfig, wraith.Budgets])
def test_every_setting_has_its_row(kind: Any) -> None:
    title = kind.__name__
    section = re.split(rf"^## `(?:wraith\.)?{title}`$", SETTINGS, flags=re.MULTILINE)[1]
    section = section.split("\n## ")[0]
    shown = {
        name
        for row in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert shown == {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("name", ["Session", "Stream", "Listener"])
def test_blocking_methods_have_the_same_parameters_but_time_outs(name: str) -> None:
    section = PAGE.split("## Blocking facade")[1].split("\n## ")[0]
    for member in public_names(getattr(wraith, name)) - {"connection", "allow"}:
        own, blocking = getattr(wraith, name, None), getattr(wraith.sync, name)
        thing, other = getattr(own, member, None), getattr(blocking, member, None)
        if not inspect.isfunction(thing) or other is None:
            continue
        shown = signature_of(other)
        waits = ("timeout_s", True, None) in shown
        assert [each for each in shown if each[0] != "timeout_s"] == signature_of(thing), member
        assert waits == bool(re.search(rf"`{member}`[^.]*take `timeout_s`", section)), member


def test_every_room_is_public_provisional_or_private() -> None:
    section = PAGE.split("## Stability")[1]
    for each in sorted((ROOT / "src" / "wraith").iterdir()):
        name = each.stem
        if not name.startswith("_") and (each.suffix == ".py" or (each / "__init__.py").exists()):
            assert f"`wraith.{name}`" in section, name


def test_dir_offers_what_is_public_and_nothing_else() -> None:
    importlib.import_module("wraith.wire")
    offered = {name for name in dir(wraith) if not name.startswith("__")}
    assert offered == {name for name in wraith.__all__ if name != "__version__"}


def test_a_name_that_is_missing_or_too_many_is_noticed() -> None:
    page = PAGE.replace("| `is_closed`, `close_error` |", "| `is_closed` |")
    assert "close_error" not in members("Session", page)
    page = PAGE.replace("`stats()`", "`stats()`, `nonsense()`")
    assert "nonsense" in members("Session", page)
    assert read_signature("f(a, *, b=1)") != read_signature("f(a, b=1)")
    assert read_signature("f(a, *, b=1)") != read_signature("f(a, *, b=2)")
