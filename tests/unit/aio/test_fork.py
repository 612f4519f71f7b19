"""A forked child must not be able to use its parent's endpoints."""

from __future__ import annotations

import os

import pytest

from wraith.aio.fork import poison_after_fork


class Holder:
    def __init__(self) -> None:
        self.poisoned = False

    def poison(self) -> None:
        self.poisoned = True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_the_child_is_poisoned_and_the_parent_is_not() -> None:
    one, other, gone = Holder(), Holder(), Holder()
    for holder in (one, other, gone):
        poison_after_fork(holder)
    del gone
    child = os.fork()
    if child == 0:
        os._exit(0 if one.poisoned and other.poisoned else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not one.poisoned and not other.poisoned
