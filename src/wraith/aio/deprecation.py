"""Names that go on for 2.x: under another name, or though they were never meant for programs."""

from __future__ import annotations

import warnings
from collections.abc import Set


def deprecated(name: str, instead: str | None = None, *, stacklevel: int = 3) -> None:
    """Warns who called the caller that ``name`` will go with 3.0.

    Args:
        instead: what to use; ``None`` for what was never meant for programs.
        stacklevel: as ``warnings.warn`` has it, counted from here.
    """
    rest = f"use {instead}" if instead else "it is internal"
    text = f"{name} will go with wraith 3.0: {rest}"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel)


def internal(thing: object, name: str, names: Set[str]) -> object:
    """For ``__getattr__`` of a class: one of ``names``, which have an underscore now.

    Raises:
        AttributeError: ``name`` is none of them.
    """
    kind = type(thing).__name__
    if name not in names:
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")
    deprecated(f"{kind}.{name}", stacklevel=4)
    found: object = getattr(thing, f"_{name}")
    return found
