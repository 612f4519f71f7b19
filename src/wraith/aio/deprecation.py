"""Names that go on for 2.x under another one."""

from __future__ import annotations

import warnings


def deprecated(name: str, instead: str | None) -> None:
    """Warns who called the caller that ``name`` will go with 3.0.

    Args:
        instead: what to use; ``None`` for what was never meant for programs.
    """
    rest = f"use {instead}" if instead else "it is internal"
    warnings.warn(f"{name} will go with wraith 3.0: {rest}", DeprecationWarning, stacklevel=3)
