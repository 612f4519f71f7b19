"""What a transfer may raise can be had from ``wraith``."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import wraith
from wraith.errors import WraithError

PACKAGE = Path(wraith.__file__).parent
ROOMS = ("aio/disk", "aio/files", "transfer", "node", "content")


def errors() -> list[type[WraithError]]:
    """Every exception that the rooms of a transfer define."""
    found = []
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            body = ast.parse(path.read_text("utf-8")).body
            names = [node.name for node in body if isinstance(node, ast.ClassDef)]
            module = "wraith." + path.relative_to(PACKAGE).with_suffix("").as_posix()
            module = module.replace("/", ".").removesuffix(".__init__")
            for name in (name for name in names if not name.startswith("_")):
                kind = getattr(import_module(module), name)
                if isinstance(kind, type) and issubclass(kind, WraithError):
                    found.append(kind)
    return found


def test_there_are_some() -> None:
    assert len(errors()) >= 11


@pytest.mark.parametrize("kind", errors(), ids=lambda kind: str(kind.__name__))
def test_it_is_importable_from_wraith(kind: type[WraithError]) -> None:
    assert getattr(wraith, kind.__name__) is kind
