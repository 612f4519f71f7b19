"""Refuses a forked child the use of its parent's sessions.

Two processes that seal with one ratchet would use each packet key twice, so after ``os.fork`` every
endpoint of the parent is poisoned in the child: its keys are wiped and using it raises. The parent
is not touched; the child's copies of the sockets are left alone, because the kernel's readiness
tables are shared and closing there would disturb the parent.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Poisonable(Protocol):
    """Something that holds keys which must not be used after a fork."""

    def poison(self) -> None: ...


_living: weakref.WeakSet[Poisonable] = weakref.WeakSet()
_registered = False


def poison_after_fork(thing: Poisonable) -> None:
    """Calls ``thing.poison()`` in every child that is forked while ``thing`` lives."""
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_poison_all)
        _registered = True
    _living.add(thing)


def _poison_all() -> None:
    for thing in list(_living):
        thing.poison()
